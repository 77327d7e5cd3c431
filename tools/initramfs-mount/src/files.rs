// SPDX-License-Identifier: GPL-2.0

//! Files and folders, with errors that name them.

use anyhow::{Context, Result};
use goblin::elf::Elf;
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Makes a folder, and those that it is in.
pub fn make_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))
}

/// Reads a text file.
pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))
}

/// Reads a file.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("can't read {}", path.display()))
}

/// Writes a file, unless it is just that already.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes.as_ref()) {
        return Ok(());
    }
    make_dir(path.parent().unwrap_or(Path::new(".")))?;
    fs::write(path, bytes).with_context(|| format!("can't write {}", path.display()))
}

/// Returns lines as a script.
pub fn script(lines: &str) -> String {
    format!("#!/bin/sh\n{lines}\n")
}

/// Writes lines as a script that can be run.
pub fn write_script(path: &Path, lines: &str) -> Result<()> {
    write(path, script(lines))?;
    let mode = Permissions::from_mode(0o755);
    fs::set_permissions(path, mode).with_context(|| format!("can't make {} run", path.display()))
}

/// Reads the headers of an ELF file.
pub fn elf<'a>(file: &Path, bytes: &'a [u8]) -> Result<Elf<'a>> {
    Elf::parse(bytes).with_context(|| format!("{} is no ELF file", file.display()))
}

/// The size of a section of an ELF file, or 0 if it has none of that name.
pub fn section_size(file: &Path, name: &str) -> Result<u64> {
    let bytes = read_bytes(file)?;
    let elf = elf(file, &bytes)?;
    let mut sections = elf.section_headers.iter();
    let section = sections.find(|head| elf.shdr_strtab.get_at(head.sh_name) == Some(name));
    Ok(section.map_or(0, |head| head.sh_size))
}

/// The files of a folder, always in the same order.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(dir).with_context(|| format!("can't read {}", dir.display()))?;
    let mut files: Vec<_> = files.flatten().map(|file| file.path()).collect();
    files.retain(|file| file.is_file());
    files.sort();
    Ok(files)
}
