// SPDX-License-Identifier: GPL-2.0

//! A system that has its root elsewhere.

use super::{broken::flipped, setup::*};
use crate::archive::{compress, noise};
use anyhow::ensure;

pub fn all() -> Vec<Situation> {
    let mut all = situations([
        boot("with_an_empty_archive", |_| Ok(Archive::new().finish()))
            .disk()
            .boots_disk()
            .never_logs("initramfs_mount: "),
        // What rootfs has no space for by itself, as the root mount, it has with the same options.
        boot("without_init_and_with_more_than_half_of_memory", larger_than_half)
            .mib(512)
            .disk()
            .with("rootfstype=ext4,tmpfs initramfs_options=size=90%")
            .boots_disk()
            .never_logs(BROKEN)
            .never_logs("not whole"),
        boot("without_init_and_without_space", larger_than_half)
            .mib(512)
            .disk()
            .with("rootfstype=ext4,tmpfs")
            .boots_disk()
            .logs(BROKEN),
        boot("with_missing_rdinit", archive).disk().with("rdinit=/nosuch").boots_disk(),
        legacy("legacy_initrd", initrd),
        legacy("legacy_initrd_compressed", |fixture| compress("gzip", &initrd(fixture)?)),
        // Nobody compares it of a RAM disk.
        legacy("legacy_initrd_with_a_wrong_checksum", initrd_with_a_wrong_checksum),
        // As a file system with 93 inodes in some unit has it.
        legacy("legacy_initrd_with_what_lzma_begins_with", |fixture| {
            let mut image = initrd(fixture)?;
            image[512..514].copy_from_slice(b"\x5d\0");
            Ok(image)
        }),
        alone("finds_no_firmware_without_archive")
            .disk()
            .boots_disk()
            .never_logs("regulatory.db is malformed"),
    ]);
    for (when, words) in [("", ""), ("_when_off", OFF)] {
        let none = alone(format!("without_archive{when}"));
        let no_init = boot(format!("without_init{when}"), |_| Ok(without_init()));
        for boot in [none, no_init] {
            all.push(boot.with(words).disk().boots_disk().never_logs("initramfs_mount: ").into());
        }
        // cfg80211 asks for its database while the disk isn't the root yet. This one is none.
        let firmware = boot(format!("finds_firmware{when}"), |_| {
            let archive = Archive::new().parents("lib/firmware/regulatory.db");
            Ok(archive.file("lib/firmware/regulatory.db", 0o644, b"no database").finish())
        });
        all.push(
            firmware.with(words).disk().boots_disk().logs("regulatory.db is malformed").into(),
        );
        // There is an archive in this kernel, but not that program in it.
        let linuxrc = boot(format!("linuxrc{when}"), |fixture| {
            ext2(fixture, "linuxrc", "exec /guest/linuxrc.sh")
        });
        let linuxrc = linuxrc.built_in().with("rdinit=/nosuch").with(words);
        let linuxrc = linuxrc.disk().boots_disk().and(|seen, fixture| {
            // It has gone with 7.0.
            let has_run = seen.0.console.contains("guest: linuxrc");
            let what = format!("linuxrc has run: {has_run}");
            seen.check(has_run != fixture.base.has_nullfs(), what).map(drop)
        });
        all.push(linuxrc.into());
    }
    // What is in rootfs stays there, or not: as without the option.
    all.push(code("without_init_takes_no_more_memory", |fixture| {
        let big = |_: &Fixture| {
            let archive = Archive::new().console();
            Ok(archive.file("marker", 0o644, &noise(BIG_MIB << 20)).finish())
        };
        let off = free_memory(fixture, boot("", big).with(OFF))?;
        let on = free_memory(fixture, boot("", big))?;
        ensure!(on + (4 << 10) >= off, "{on} KiB are free, and {off} when it is off");
        Ok(())
    }));
    all
}

pub fn initrd_with_a_wrong_checksum(fixture: &Fixture) -> Result<Vec<u8>> {
    with_a_wrong_checksum(&initrd(fixture)?)
}

/// In gzip, with one bit of its checksum changed.
pub fn with_a_wrong_checksum(data: &[u8]) -> Result<Vec<u8>> {
    let packed = compress("gzip", data)?;
    let at = packed.len() - 8;
    Ok(flipped(packed, at, 1))
}

fn without_init() -> Vec<u8> {
    Archive::new().dir("lib").file("lib/marker", 0o644, b"x").finish()
}

/// Small until it is unpacked.
fn larger_than_half(_: &Fixture) -> Result<Vec<u8>> {
    let archive = Archive::new().console();
    compress("zstd", &archive.file("zeros", 0o644, &vec![0; 380 << 20]).finish())
}

fn legacy(name: &str, image: impl Makes) -> Expectation {
    boot(name, image).with("root=/dev/ram0 rw").says("init: initrd").says("roots: 1").and(
        |seen, _| {
            let root = seen.value("root")?;
            seen.check(root.starts_with("ext"), format!("the root is {root:?}")).map(drop)
        },
    )
}
