// SPDX-License-Identifier: GPL-2.0

//! A kernel with an archive in it.

use super::{broken::microcode_and_noise, policy::PANIC, setup::*};
use crate::archive::{compress, noise};

pub fn all() -> Vec<Situation> {
    situations([
        alone("is_the_root")
            .built_in()
            .boots_root("builtin", "tmpfs")
            .says("file: /marker-builtin")
            .says("file: /marker-link"),
        alone("is_in_rootfs_when_off").built_in().with(OFF).boots_rootfs("builtin"),
        alone("is_larger_than_rootfs_when_off")
            .built_in()
            .with(OFF)
            .with("initramfs_options=nr_inodes=20")
            .logs("Built-in initramfs is not whole: no space left"),
        boot("and_external", |_| {
            let external = Archive::telling("external")?.file("marker-external", 0o644, b"x");
            Ok(external.finish())
        })
        .built_in()
        .boots_root("external", "tmpfs")
        .says("file: /marker-builtin")
        .says("file: /marker-external"),
        is_left("and_broken_external", |_| {
            let open = external()?;
            Ok(open[..open.len() - 512].to_vec())
        }),
        is_left("and_broken_gzip", |_| Ok(compress("gzip", &external()?)?[..2000].to_vec())),
        is_left("and_what_nothing_comes_out_of", |_| Ok([&b"\x28\xb5"[..], &noise(2000)].concat())),
        // It may be an initrd, and is there for the init.
        boot("and_what_is_no_archive", |_| Ok(noise(8192)))
            .built_in()
            .boots_rootfs("builtin")
            .logs("looks like an initrd"),
        // There is an rdinit, so that what follows microcode is junk.
        boot("and_microcode_and_noise", |_| Ok(microcode_and_noise()))
            .built_in()
            .with(PANIC)
            .boots_root("builtin", "tmpfs")
            .logs("Initramfs: ignored what follows: "),
        // There is no way back for what is in the kernel but into rootfs, as ever.
        alone("larger_than_the_mount")
            .built_in()
            .with("rootflags=size=256k")
            .boots_rootfs("builtin")
            .says("console: yes")
            .logs("initramfs_mount: built-in archive: "),
        // Nothing is broken there.
        alone("larger_than_the_mount_with_panic")
            .built_in()
            .with("rootflags=size=256k")
            .with(PANIC)
            .boots_rootfs("builtin"),
    ])
}

/// Its links have the inode number of those in the kernel: nothing of them is to be remembered.
fn external() -> Result<Vec<u8>> {
    let names = ["marker-external", "link-external"];
    Ok(Archive::telling("external")?.hard_links(&names, 0o644, &noise(4096)).open())
}

/// With a broken external one.
fn is_left(name: &str, broken: impl Makes) -> Expectation {
    boot(name, broken)
        .built_in()
        .boots_root("builtin", "tmpfs")
        .says("file: /marker-builtin")
        .says("file: /marker-link")
        .never_says("external")
        .logs(BROKEN)
}
