// SPDX-License-Identifier: GPL-2.0

//! Disk images, made without the rights of root.

use crate::{
    archive::busybox_program,
    cmd::{output, program},
    guest,
};
use anyhow::{Context, Result};
use std::{
    fs::{self, Permissions},
    os::unix::fs::{symlink, PermissionsExt},
    path::Path,
    process::Command,
};

/// Makes a file system image in `image`, of the type `fs` and with so many MiB, that holds busybox
/// and runs `init` as `name`.
pub fn make(image: &Path, fs: &str, mib: u32, name: &str, init: &str) -> Result<()> {
    make_with(image, fs, mib, (name, init), |_| Ok(()))
}

/// The same, with what `fill` puts there.
pub fn make_with(
    image: &Path,
    fs: &str,
    mib: u32,
    (name, init): (&str, &str),
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let dir = tempfile::tempdir().context("can't make a folder for a disk image")?;
    let root = dir.path();
    for sub in [
        "bin", "sbin", "dev", "proc", "sys", "tmp", "mnt", "etc", "initrd",
    ] {
        fs::create_dir(root.join(sub))?;
    }
    let busybox = busybox_program()?;
    fs::copy(&busybox, root.join("bin/busybox"))
        .with_context(|| format!("can't copy {}", busybox.display()))?;
    for applet in output(Command::new(&busybox).arg("--list"))?.lines() {
        if applet != "busybox" {
            symlink("busybox", root.join("bin").join(applet))?;
        }
    }
    for (name, script) in [(name, init), ("bin/free-kib", guest::FREE)] {
        let path = root.join(name);
        fs::write(&path, script)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    }
    fill(root)?;
    output(
        Command::new(program("mke2fs", "e2fsprogs")?)
            .args(["-q", "-F", "-t", fs, "-E", "root_owner=0:0", "-d"])
            .arg(root)
            .arg(image)
            .arg(format!("{mib}M")),
    )?;
    Ok(())
}
