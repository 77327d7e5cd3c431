// SPDX-License-Identifier: GPL-2.0

//! Disk images, made without the rights of root.

use crate::{
    archive::Archive,
    cmd::{output, program},
};
use anyhow::{Context, Result};
use std::{path::Path, process::Command};

/// Makes a file system in `image` that holds a small system, with a script of these lines as the program
/// `name` of it, and with what `fill` puts there.
pub fn make(
    image: &Path,
    fs: &str,
    mib: u32,
    (name, lines): (&str, &str),
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let dir = tempfile::tempdir().context("can't make a folder for a disk image")?;
    Archive::system()?.dir("sbin").dir("initrd").script(name, lines).unpack(dir.path())?;
    fill(dir.path())?;
    let mut mke2fs = Command::new(program("mke2fs", "e2fsprogs")?);
    mke2fs.args(["-q", "-F", "-t", fs, "-E", "root_owner=0:0", "-d"]).arg(dir.path());
    output(mke2fs.arg(image).arg(format!("{mib}M"))).map(drop)
}
