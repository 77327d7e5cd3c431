// SPDX-License-Identifier: GPL-2.0

//! Disk images, made without the rights of root.

use crate::{
    archive::Archive,
    cmd::{output, program},
};
use anyhow::{Context, Result};
use std::{path::Path, process::Command};

/// A file system image that holds a small system.
pub struct Disk<'a> {
    pub fs: &'a str,
    pub mib: u32,
    /// A program of it, and the lines of the script that this is.
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
        )
        .map(drop)
    }
}

/// Puts a small system into a folder, with the lines of a script as a program of it.
pub fn system(root: &Path, name: &str, lines: &str) -> Result<()> {
    Archive::system()?.dir("sbin").dir("initrd").script(name, lines).unpack(root)
}
