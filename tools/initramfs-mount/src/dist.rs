// SPDX-License-Identifier: GPL-2.0

//! What distributions and build systems take: patches, a configuration, and how to use them.

use crate::{
    base::{Base, Release},
    paths, series,
    source::{self, Git, Patch},
};
use anyhow::{Context, Result};
use std::{fs, path::Path};

/// A page each, in `pages/`.
const PAGES: &[&str] = &["debian", "buildroot", "yocto", "nixos", "openwrt"];

/// What a kernel's configuration needs.
const CONFIG: &str = "CONFIG_RUST=y\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_INITRAMFS_MOUNT=y\n";

/// Leaves it all in `dist/`, for each base.
pub fn write() -> Result<()> {
    let who = source::identity(&paths::top()).context(source::NO_IDENTITY)?;
    let dist = paths::top().join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist).with_context(|| format!("can't empty {}", dist.display()))?;
    }
    for release in Release::ALL
        .into_iter()
        .filter(|release| release.has_series())
    {
        patches(&Base::new(release.name(), None)?, release, &dist, &who)?;
    }
    put(&dist.join("initramfs-mount.config"), CONFIG)?;
    for page in PAGES {
        let name = format!("{page}.md");
        let path = paths::top().join("tools/initramfs-mount/pages").join(&name);
        let text =
            fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
        put(&dist.join(name), &text)?;
    }
    Ok(())
}

/// One file with the series of a base, and a folder for quilt.
fn patches(base: &Base, release: Release, dist: &Path, who: &(String, String)) -> Result<()> {
    source::prepare(base)?;
    let git = Git(&base.sources);
    let commit = git.commit_series(&Patch::series(release)?, who, Some(&[]))?;
    let quilt = dist.join(format!("quilt-{}", base.name));
    let no_numbers = ["--no-numbered".to_owned(), "--zero-commit".to_owned()];
    let mut list = String::new();
    let mut all = String::new();
    for mail in series::format(&git, &commit, &quilt, who, &no_numbers)? {
        all += &fs::read_to_string(&mail)?;
        let name = mail.file_name().unwrap_or_default().to_string_lossy();
        list += &format!("{name}\n");
    }
    put(&quilt.join("series"), &list)?;
    put(
        &dist.join(format!("initramfs-mount-{}.patch", base.name)),
        &all,
    )
}

fn put(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("can't write {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}
