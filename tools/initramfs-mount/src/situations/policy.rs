// SPDX-License-Identifier: GPL-2.0

//! What `initramfs_errors=` says of a broken archive.

use super::{
    broken::{half_of_big, microcode_and_noise},
    *,
};
use crate::archive::{compress, noise};

const PANIC: &str = "initramfs_errors=panic";

pub fn all() -> Vec<Situation> {
    situations([
        panics("panic", |_| broken()),
        panics_on_disk("panic_with_a_root", |_| broken()),
        panics_on_disk("panic_with_a_root_and_xz", |_| compress("xz", &broken()?)),
        // Nothing comes out of it.
        panics_on_disk("panic_without_any_of_it", |_| {
            Ok(compress("zstd", &broken()?)?[..1000].to_vec())
        }),
        panics_on_disk("panic_after_microcode", |_| Ok(microcode_and_noise())),
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
        boot("no_panic_for_junk", |fixture| Ok([&archive(fixture)?[..], JUNK].concat()))
            .with(PANIC)
            .boots_root("archive", "tmpfs"),
        alone("no_panic_for_a_disk").with(PANIC).disk().boots_disk(),
        boot("drop", half_of_big).with("initramfs_errors=drop").disk().boots_disk().logs(BROKEN),
        boot("unknown", half_of_big)
            .with("initramfs_errors=ignore")
            .disk()
            .boots_disk()
            .logs(BROKEN),
    ])
}

fn panics(
    name: &str,
    image: impl Fn(&Fixture) -> Result<Vec<u8>> + Send + Sync + 'static,
) -> Expectation {
    says_why(boot(name, image))
}

fn panics_on_disk(
    name: &str,
    image: impl Fn(&Fixture) -> Result<Vec<u8>> + Send + Sync + 'static,
) -> Expectation {
    says_why(boot(name, image).disk())
}

fn says_why(setup: Setup) -> Expectation {
    let why = "Kernel panic - not syncing: VFS: initramfs unpacking failed: ";
    setup.with(PANIC).panics().logs(why)
}

fn broken() -> Result<Vec<u8>> {
    Ok(half(&Archive::telling("half")?.finish()))
}
