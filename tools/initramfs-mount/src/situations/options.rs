// SPDX-License-Identifier: GPL-2.0

//! What the command line says of the mount.

use super::setup::*;
use crate::archive::{noise, padded};

pub fn all() -> Vec<Situation> {
    situations([
        boot("initramfs_options", archive)
            .with("initramfs_options=size=64M,mode=750")
            .boots_root("archive", "tmpfs size=64M,mode=750")
            .has_option("size=65536k")
            .has_option("mode=750"),
        boot("rootflags", archive)
            .with("rootflags=size=48M,nr_inodes=5k")
            .boots_root("archive", "tmpfs size=48M,nr_inodes=5k")
            .has_option("size=49152k")
            .has_option("nr_inodes=5120"),
        boot("initramfs_options_come_first", archive)
            .with("rootflags=size=48M initramfs_options=size=64M")
            .boots_root("archive", "tmpfs size=64M")
            .has_option("size=65536k"),
        // With root=, rootflags= are for that one, be they good for tmpfs or not.
        boot("rootflags_belong_to_a_root", archive)
            .with("rootflags=data=journal")
            .disk()
            .boots_root("archive", "ramfs")
            .never_logs(" refused"),
        alone("rootflags_hold_for_a_disk")
            .with("rootflags=data=journal")
            .disk()
            .boots_disk()
            .has_option("data=journal"),
        boot("rootfstype_ramfs", archive).with("rootfstype=ramfs").boots_root("archive", "ramfs"),
        boot("rootfstype_tmpfs", archive).with("rootfstype=tmpfs").boots_root("archive", "tmpfs"),
        boot("unknown", archive)
            .with("initramfs_options=nosuchoption")
            .boots_root("archive", "tmpfs")
            .logs("rootfs: Unknown parameter 'nosuchoption'")
            .logs("rootfs: options refused, mounted without: nosuchoption")
            // Once is enough.
            .never_logs("initramfs_mount: options refused"),
        boot("unknown_when_off", archive)
            .with("initramfs_options=nosuchoption")
            .with(OFF)
            .boots_rootfs("archive")
            .logs("rootfs: options refused, mounted without: nosuchoption"),
        boot("unknown_rootflags", archive)
            .with("rootflags=nosuchoption=5")
            .boots_root("archive", "tmpfs")
            .logs("Unknown parameter 'nosuchoption'")
            .logs("initramfs_mount: options refused, mounted without: nosuchoption=5"),
        boot("unknown_and_known", archive)
            .with("rootflags=size=64M,nosuchoption")
            .boots_root("archive", "tmpfs")
            .logs("Unknown parameter 'nosuchoption'")
            .logs("initramfs_mount: options refused, mounted without: size=64M,nosuchoption"),
        boot("ignored_when_off", archive)
            .with("rootflags=size=48M initramfs_mount=0")
            .boots_rootfs("archive")
            .never_says("49152k"),
        boot("in_bootconfig_that_is_not_asked_for", bootconfig).boots_root("archive", "tmpfs"),
        boot("from_bootconfig", bootconfig)
            .with("bootconfig")
            .boots_rootfs("archive")
            .never_logs("initramfs_mount: "),
        // What is no bool is as if it were not there.
        boot("maybe", archive).with("initramfs_mount=maybe").boots_root("archive", "tmpfs"),
        boot("on", archive).with("initramfs_mount=on").boots_root("archive", "tmpfs"),
        boot("off", archive).with("initramfs_mount=off").boots_rootfs("archive"),
    ])
}

/// On a machine with two nodes of memory.
pub fn numa() -> Vec<Situation> {
    situations([
        boot("default", big).nodes().comes_to(|seen, _| fills(seen, |less| less < 8 << 10)),
        boot("interleaved", big)
            .nodes()
            .with("initramfs_options=mpol=interleave")
            .comes_to(|seen, _| fills(seen, |less| less > 24 << 10))
            .logs("initramfs_mount: / is the initramfs, tmpfs mpol=interleave"),
    ])
}

fn big(_: &Fixture) -> Result<Vec<u8>> {
    Ok(Archive::running("numa")?.file("big", 0o644, &noise(BIG_MIB << 20)).finish())
}

/// All of the archive is in memory, and so much of it in the node that has less.
fn fills(seen: &Seen, is_right: fn(u64) -> bool) -> Result<()> {
    let (a, b) = (seen.number("node 0")?, seen.number("node 1")?);
    let is_there = a + b >= (BIG_MIB as u64) << 10;
    let what = format!("{a} KiB are in one node, {b} in the other");
    seen.check(is_there && is_right(a.min(b)), what).map(drop)
}

/// An archive with what turns the feature off, where a boot loader puts it.
fn bootconfig(fixture: &Fixture) -> Result<Vec<u8>> {
    let config = padded(b"kernel.initramfs_mount = 0\n".to_vec(), 4);
    let sum: u32 = config.iter().map(|byte| u32::from(*byte)).sum();
    let len = (config.len() as u32).to_le_bytes();
    Ok([&archive(fixture)?[..], &config, &len, &sum.to_le_bytes(), b"#BOOTCONFIG\n"].concat())
}
