// SPDX-License-Identifier: GPL-2.0

//! Images as boot loaders and Debian put them together. Each is booted without the option and without the series, too.

use super::setup::*;
use crate::{
    arch,
    archive::{compress, padded},
    cmd::{output_bytes, program},
    files::write,
};
use anyhow::Context;
use cpio::newc::Builder;
use std::process::Command;

/// A name, an image, and the files that must be there.
type Composite = (&'static str, fn() -> Result<Vec<u8>>, &'static [&'static str]);

const COMPOSITES: &[Composite] = &[
    ("microcode_then_compressed", microcode_then_compressed, &["/kernel/x86/microcode/marker"]),
    (
        "then_an_overlay",
        || {
            let overlay = Archive::new().file("marker-2", 0o644, b"2").finish();
            then(microcode_then_compressed()?, overlay)
        },
        &["/marker-2"],
    ),
    ("of_initramfs_tools_in_debian_13", of_initramfs_tools, &["/usr/lib/firmware/marker.zst"]),
    ("with_credentials_by_systemd_stub", by_systemd_stub, &["/.extra/credentials/marker.cred"]),
    ("with_newc_by_grub", || then(main()?, by_grub()), &["/etc/marker-grub"]),
    ("with_newc_by_grub_in_front", || then(by_grub(), main()?), &["/etc/marker-grub"]),
    ("with_a_file_by_ipxe", by_ipxe, &["/etc/marker-ipxe"]),
    ("lz4_then_zeros", lz4_then_zeros, &[]),
    ("of_many_small_files", of_many_small_files, &["/small/marker"]),
    ("with_long_names", with_long_names, &["n-marker"]),
];

const SMALL_FILES: u32 = 30_000;

pub fn all() -> Vec<Situation> {
    let mut all = Vec::new();
    for composite in COMPOSITES {
        let name = composite.0;
        let on = boots(composite, name.to_owned()).boots_root("archive", "tmpfs");
        let off = boots(composite, format!("{name}_when_off")).with(OFF).boots_rootfs("archive");
        all.extend([on.never_logs(BROKEN), off].map(|it| has_files(composite, it).into()));
    }
    // The kernel wants that NUL.
    let old = boot("with_newc_by_an_old_grub", |_| then(main()?, by_an_old_grub()));
    all.push(old.panics().logs("malformed archive").into());
    let old = boot("with_newc_by_an_old_grub_when_off", |_| then(main()?, by_an_old_grub()));
    let old = old.with(OFF).boots_rootfs("archive");
    all.push(old.logs("malformed archive").into());
    all
}

/// The same without the series.
pub fn on_stock() -> Vec<Situation> {
    let on_stock = |composite: &Composite| {
        let boots = boots(composite, format!("{}_on_stock", composite.0)).stock();
        has_files(composite, boots.boots_rootfs("archive")).into()
    };
    COMPOSITES.iter().map(on_stock).collect()
}

fn boots((_, image, _): &Composite, name: String) -> Setup {
    let image = *image;
    // Each small file takes a page, and a tmpfs takes half of the memory.
    let mib = 512 + 2 * SMALL_FILES * arch::current().page_kib / 1024;
    boot(name, move |_| image()).mib(mib).seconds(300)
}

fn has_files((.., files): &Composite, expectation: Expectation) -> Expectation {
    files.iter().fold(expectation, |all, file| {
        all.and(move |seen, _| {
            let is_it = |line: &str| line.starts_with("file: /") && line.ends_with(file);
            let there = seen.0.guest.lines().any(is_it);
            seen.check(there, format!("there is no {file}")).map(drop)
        })
    })
}

fn main() -> Result<Vec<u8>> {
    compress("zstd", &Archive::telling("archive")?.finish())
}

fn then(first: Vec<u8>, second: Vec<u8>) -> Result<Vec<u8>> {
    Ok([padded(first, 4), second].concat())
}

/// An archive that GNU cpio makes.
fn gnu_cpio(files: &[&str]) -> Result<Vec<u8>> {
    program("cpio", "cpio")?;
    let dir = tempfile::tempdir().context("can't make a folder for an archive")?;
    files.iter().try_for_each(|file| write(&dir.path().join(file), file))?;
    let pack = "find * | sort | cpio -o -H newc -R 0:0 --reproducible --quiet";
    output_bytes(Command::new("sh").args(["-ec", pack]).current_dir(dir.path()))
}

fn microcode_then_compressed() -> Result<Vec<u8>> {
    then(gnu_cpio(&["kernel/x86/microcode/marker"])?, main()?)
}

fn lz4_then_zeros() -> Result<Vec<u8>> {
    Ok(padded(compress("lz4", &Archive::telling("archive")?.finish())?, 4096))
}

/// What is compressed already comes apart, without more compression.
fn of_initramfs_tools() -> Result<Vec<u8>> {
    let early = gnu_cpio(&["kernel/x86/microcode/GenuineIntel.bin"])?;
    let modules = gnu_cpio(&["usr/lib/firmware/marker.zst", "usr/lib/modules/x.ko.xz"])?;
    Ok([early, modules, main()?].concat())
}

/// Entries as boot loaders write them, all with the same inode and one link.
fn entries(entries: &[(&str, u32, &str)]) -> Vec<u8> {
    let add = |all: Archive, (name, mode, data): &(&str, u32, &str)| {
        all.entry(Builder::new(name).nlink(1).mode(*mode), data.as_bytes())
    };
    entries.iter().fold(Archive::new(), add).open()
}

fn by_grub() -> Vec<u8> {
    entries(&[("etc", 0o40777, ""), ("etc/marker-grub", 0o100777, "12345"), ("TRAILER!!!", 0, "")])
}

/// Before 2.12, GRUB does not count the NUL at the end of a name.
fn by_an_old_grub() -> Vec<u8> {
    let mut bytes = by_grub();
    // The size of the first name, "etc".
    bytes[94..102].copy_from_slice(b"00000003");
    bytes
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
    then(main()?, [entries(&credentials), entries(&key)].concat())
}

/// It has no trailer, and what comes last has no padding.
fn by_ipxe() -> Result<Vec<u8>> {
    let file = entries(&[("etc", 0o40755, ""), ("/etc/marker-ipxe", 0o100644, "12345")]);
    Ok([padded(main()?, 4096), file[..file.len() - 3].to_vec()].concat())
}

fn of_many_small_files() -> Result<Vec<u8>> {
    let add = |all: Archive, i| all.file(&format!("small/{i}"), 0o644, b"some text");
    let all = (0..SMALL_FILES).fold(Archive::telling("archive")?.dir("small"), add);
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
