// SPDX-License-Identifier: GPL-2.0

//! Disk images, made without the rights of root.

use crate::{
    archive::scripts,
    cmd::{make_dir, output, program},
    guest,
};
use anyhow::{Context, Result};
use std::{
    fs::{self, Permissions},
    os::unix::fs::{symlink, PermissionsExt},
    path::Path,
    process::Command,
};

/// A file system image that holds a small system.
pub struct Disk<'a> {
    pub fs: &'a str,
    pub mib: u32,
    /// A program of it, and the script that this is.
    pub init: (&'a str, &'a str),
}

impl Disk<'_> {
    /// Makes it in `image`, with what `fill` puts there.
    pub fn make(&self, image: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let dir = tempfile::tempdir().context("can't make a folder for a disk image")?;
        let root = dir.path();
        system(root, self.init.0, self.init.1)?;
        fill(root)?;
        output(
            Command::new(program("mke2fs", "e2fsprogs")?)
                .args(["-q", "-F", "-t", self.fs, "-E", "root_owner=0:0", "-d"])
                .arg(root)
                .arg(image)
                .arg(format!("{}M", self.mib)),
        )?;
        Ok(())
    }
}

/// Puts a small system into a folder, with a script as a program of it.
pub fn system(root: &Path, name: &str, script: &str) -> Result<()> {
    for sub in ["bin", "sbin", "dev", "proc", "sys", "tmp", "mnt", "etc", "initrd", "guest"] {
        make_dir(&root.join(sub))?;
    }
    copy(&guest::busybox()?, &root.join("bin/busybox"))?;
    for applet in guest::applets()? {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    for script in scripts("guest")? {
        copy(&script, &root.join("guest").join(script.file_name().unwrap_or_default()))?;
    }
    fs::write(root.join(name), script)?;
    fs::set_permissions(root.join(name), Permissions::from_mode(0o755))
        .with_context(|| format!("can't make {name} a program"))
}

/// Copies a file, with the folders that it is in.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    make_dir(to.parent().unwrap_or(Path::new("/")))?;
    fs::copy(from, to).with_context(|| format!("can't copy {}", from.display()))?;
    Ok(())
}
