// SPDX-License-Identifier: GPL-2.0

//! What `initramfs_errors=` says of a broken archive.

use super::{
    broken::{flipped, half_of_big, microcode_and, microcode_and_noise},
    disk::{initrd_with_a_wrong_checksum, with_a_wrong_checksum},
    setup::*,
};
use crate::archive::{compress, noise};
use flate2::{write::GzEncoder, Compression};
use std::io::Write;

pub const PANIC: &str = "initramfs_errors=panic";

pub fn all() -> Vec<Situation> {
    situations([
        panics(boot("panic", |_| broken())),
        panics(boot("panic_with_a_root", |_| broken()).disk()),
        panics(boot("panic_with_a_built_in", |_| broken()).built_in()),
        panics(boot("panic_with_a_root_and_xz", |_| compress("xz", &broken()?)).disk()),
        // Nothing comes out of it.
        panics(
            boot("panic_without_any_of_it", |_| Ok(compress("zstd", &broken()?)?[..1000].to_vec()))
                .disk(),
        ),
        // It begins as an archive does.
        panics(
            boot("panic_for_what_may_be_an_initrd", initrd_with_a_wrong_checksum)
                .with("root=/dev/ram0 rw"),
        ),
        // Too short for an entry, so that it may have been anything.
        panics(boot("panic_for_a_short_one", |_| with_a_wrong_checksum(b"too short for an entry"))),
        panics(boot("panic_for_a_wrong_one_then_junk", |_| {
            Ok([&with_a_wrong_checksum(b"")?, JUNK].concat())
        })),
        // The first bit of what comes out of it.
        panics(boot("panic_for_a_flipped_bit", |_| Ok(flipped(stored(&whole()?)?, 15, 1))).disk()),
        panics(without_space("panic_for_a_built_in_without_space")),
        panics(without_space("panic_for_a_built_in_without_space_when_off").with(OFF)),
        panics(boot("panic_when_off", |_| broken()).with(OFF).disk()),
        panics(boot("panic_after_microcode", |_| Ok(microcode_and_noise())).disk()),
        panics(
            boot("panic_after_microcode_when_off", |_| Ok(microcode_and_noise())).with(OFF).disk(),
        ),
        // Too short for an entry.
        panics(boot("panic_for_junk_like_a_number", |_| Ok(microcode_and(b"0x10"))).disk()),
        panics(
            boot("panic_for_junk_like_a_number_when_off", |_| Ok(microcode_and(b"0x10")))
                .with(OFF)
                .disk(),
        ),
        boot("no_panic_for_junk_when_off", then_junk).with(PANIC).with(OFF).boots_rootfs("archive"),
        // The root mount takes nothing, and rootfs does.
        boot("no_panic_for_junk_behind_what_is_in_rootfs", then_junk)
            .with(PANIC)
            .with("rootflags=ro")
            .boots_rootfs("archive"),
        boot("no_panic_for_an_initrd", initrd)
            .with("root=/dev/ram0 rw")
            .with(PANIC)
            .says("init: initrd"),
        boot("no_panic_for_a_compressed_initrd", |fixture| compress("gzip", &initrd(fixture)?))
            .with("root=/dev/ram0 rw")
            .with(PANIC)
            .says("init: initrd"),
        boot("no_panic_for_what_is_no_archive", |_| Ok(noise(8192)))
            .with(PANIC)
            .disk()
            .boots_disk(),
        boot("no_panic_for_junk", then_junk)
            .with(PANIC)
            .boots_root("archive", "tmpfs")
            .logs("Initramfs: ignored what follows: "),
        alone("no_panic_for_a_disk").with(PANIC).disk().boots_disk(),
        boot("drop", half_of_big).with("initramfs_errors=drop").disk().boots_disk().logs(BROKEN),
        boot("unknown", half_of_big)
            .with("initramfs_errors=ignore")
            .disk()
            .boots_disk()
            .logs(BROKEN),
    ])
}

fn panics(setup: Setup) -> Expectation {
    let why = "Kernel panic - not syncing: VFS: initramfs unpacking failed: ";
    setup.with(PANIC).panics().logs(why)
}

fn without_space(name: &str) -> Setup {
    alone(name).built_in().with("initramfs_options=nr_inodes=20")
}

/// An archive with junk behind it.
fn then_junk(fixture: &Fixture) -> Result<Vec<u8>> {
    Ok([&archive(fixture)?[..], JUNK].concat())
}

fn whole() -> Result<Vec<u8>> {
    Ok(Archive::telling("half")?.finish())
}

fn broken() -> Result<Vec<u8>> {
    Ok(half(&whole()?))
}

/// A gzip of it, not made any smaller, in which a bit is a bit.
fn stored(data: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    gzip.write_all(data)?;
    Ok(gzip.finish()?)
}
