// SPDX-License-Identifier: GPL-2.0

//! Images as boot loaders and Debian put them together, each without the option, too.

use super::*;
use crate::{
    archive::{compress, padded},
    cmd::{program, write},
};
use anyhow::{ensure, Context};
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// A name, an image, and the files that must be there.
type Composite = (&'static str, fn() -> Result<Vec<u8>>, &'static [&'static str]);

const COMPOSITES: &[Composite] = &[
    ("microcode_then_compressed", microcode_then_compressed, &["/kernel/x86/microcode/marker"]),
    (
        "then_an_overlay",
        || {
            then(
                padded(microcode_then_compressed()?, 4),
                Archive::new().file("marker-2", 0o644, b"2").finish(),
            )
        },
        &["/marker-2"],
    ),
    ("of_initramfs_tools_in_debian_13", of_initramfs_tools, &["/usr/lib/firmware/marker.zst"]),
    ("with_credentials_by_systemd_stub", by_systemd_stub, &["/.extra/credentials/marker.cred"]),
    ("with_newc_by_grub", || then(main()?, by_grub(1)), &["/etc/marker-grub"]),
    ("with_newc_by_grub_in_front", || then(by_grub(1), main()?), &["/etc/marker-grub"]),
    ("with_a_file_by_ipxe", by_ipxe, &["/etc/marker-ipxe"]),
    ("lz4_then_zeros", || Ok(padded(compress("lz4", &archive()?)?, 4096)), &[]),
    ("of_many_small_files", of_many_small_files, &["/small/marker"]),
    ("with_long_names", with_long_names, &["n-marker"]),
];

pub fn all() -> Vec<Situation> {
    let mut all = Vec::new();
    for (name, image, files) in COMPOSITES {
        let has = |expectation: Expectation| {
            files.iter().fold(expectation, |all, file| {
                all.and(move |seen, _| {
                    let is_it = |line: &str| line.starts_with("file: /") && line.ends_with(file);
                    let there = seen.0.guest.lines().any(is_it);
                    seen.check(there, format!("there is no {file}")).map(drop)
                })
            })
        };
        let on = boot(*name, |_| image()).mib(512).seconds(120).boots_root("archive", "tmpfs");
        let off = boot(format!("{name}_when_off"), |_| image()).mib(512).seconds(120);
        let off = off.with("initramfs_mount=0").boots_rootfs("archive");
        all.extend([has(on.never_logs(BROKEN)).into(), has(off).into()]);
    }
    // Before 2.12, GRUB does not count the NUL at the end of a name, and the kernel wants one.
    let old = boot("with_newc_by_an_old_grub", |_| then(main()?, by_grub(0)));
    all.push(old.panics().logs("malformed archive").into());
    let old = boot("with_newc_by_an_old_grub_when_off", |_| then(main()?, by_grub(0)));
    let old = old.with("initramfs_mount=0").boots_rootfs("archive");
    all.push(old.logs("malformed archive").into());
    all
}

fn archive() -> Result<Vec<u8>> {
    Ok(Archive::telling("archive")?.finish())
}

fn main() -> Result<Vec<u8>> {
    compress("zstd", &archive()?)
}

fn then(first: Vec<u8>, second: Vec<u8>) -> Result<Vec<u8>> {
    Ok([padded(first, 4), second].concat())
}

/// An archive that GNU cpio makes.
fn gnu_cpio(files: &[&str]) -> Result<Vec<u8>> {
    let dir = tempfile::tempdir().context("can't make a folder for an archive")?;
    let mut list = String::new();
    for file in files {
        write(&dir.path().join(file), file)?;
        let dirs = Path::new(file).ancestors().skip(1).filter(|dir| dir.parent().is_some());
        let dirs: Vec<_> = dirs.map(|dir| format!("{}\n", dir.display())).collect();
        list.extend(dirs.into_iter().rev().chain([format!("{file}\n")]));
    }
    let names = dir.path().join(".names");
    write(&names, list)?;
    let done = Command::new(program("cpio", "cpio")?)
        .args(["-o", "-H", "newc", "-R", "0:0", "--reproducible", "--quiet"])
        .current_dir(dir.path())
        .stdin(Stdio::from(std::fs::File::open(&names)?))
        .output()?;
    ensure!(done.status.success(), "cpio failed: {}", String::from_utf8_lossy(&done.stderr));
    Ok(done.stdout)
}

fn microcode_then_compressed() -> Result<Vec<u8>> {
    then(gnu_cpio(&["kernel/x86/microcode/marker"])?, main()?)
}

/// What is compressed already comes apart, without more compression.
fn of_initramfs_tools() -> Result<Vec<u8>> {
    let early = gnu_cpio(&["kernel/x86/microcode/GenuineIntel.bin"])?;
    let modules = gnu_cpio(&["usr/lib/firmware/marker.zst", "usr/lib/modules/x.ko.xz"])?;
    Ok([early, modules, main()?].concat())
}

/// The header of an entry as boot loaders write it, all with the same inode, and its name.
fn header(name: &str, mode: u32, len: usize, nul: usize) -> String {
    let size = name.len() + nul;
    let header = format!("070701{:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{len:08x}", 0, 0, 0, 1, 0);
    format!("{header}{:032x}{size:08x}{:08x}{name}{}", 0, 0, "\0".repeat(nul))
}

fn entries(entries: &[(&str, u32, &str)], nul: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, mode, data) in entries {
        bytes.extend(header(name, *mode, data.len(), nul).bytes());
        bytes = padded(bytes, 4);
        bytes.extend(data.bytes());
        bytes = padded(bytes, 4);
    }
    bytes
}

fn by_grub(nul: usize) -> Vec<u8> {
    let all = [("etc", 0o40777, ""), ("etc/marker-grub", 0o100777, "12345"), ("TRAILER!!!", 0, "")];
    entries(&all, nul)
}

/// One archive for each kind of file, each with the same folder.
fn by_systemd_stub() -> Result<Vec<u8>> {
    let credentials = [
        (".extra", 0o40555, ""),
        (".extra/credentials", 0o40500, ""),
        (".extra/credentials/marker.cred", 0o100400, "secret"),
        ("TRAILER!!!", 0, ""),
    ];
    let key = [
        (".extra", 0o40555, ""),
        (".extra/tpm2-pcr-public-key.pem", 0o100444, "a key"),
        ("TRAILER!!!", 0, ""),
    ];
    then(main()?, [entries(&credentials, 1), entries(&key, 1)].concat())
}

/// It has no trailer, and what comes last has no padding.
fn by_ipxe() -> Result<Vec<u8>> {
    let file = entries(&[("etc", 0o40755, ""), ("/etc/marker-ipxe", 0o100644, "12345")], 1);
    Ok([padded(main()?, 4096), file[..file.len() - 3].to_vec()].concat())
}

fn of_many_small_files() -> Result<Vec<u8>> {
    let add = |all: Archive, i| all.file(&format!("small/{i}"), 0o644, b"some text");
    let all = (0..30_000).fold(Archive::telling("archive")?.dir("small"), add);
    compress("xz", &all.file("small/marker", 0o644, b"some text").finish())
}

/// As long as a part of a path may be, and as long as a path may be.
fn with_long_names() -> Result<Vec<u8>> {
    let mut name = String::new();
    let mut archive = Archive::telling("archive")?;
    while name.len() + 256 + "-marker".len() < 4096 {
        name += &"n".repeat(255);
        archive = archive.dir(&name);
        name.push('/');
    }
    // The guest looks for it with a slash in front.
    let end = "-marker";
    name += &"n".repeat(4096 - "/\0".len() - end.len() - name.len());
    name += end;
    Ok(archive.file(&name, 0o644, b"long").finish())
}
