// SPDX-License-Identifier: GPL-2.0

//! What `initramfs_errors=` says of a broken archive.

use super::{
    broken::{flipped, half_of_big, microcode_and_noise},
    setup::*,
};
use crate::{
    archive::{compress, noise, padded},
    cmd::{output, program, read, write},
    paths,
};
use anyhow::Context;
use flate2::{write::GzEncoder, Compression};
use std::{fs, io::Write, path::Path, process::Command};

const PANIC: &str = "initramfs_errors=panic";

/// GRUB is this machine's.
pub fn slots() -> Vec<Situation> {
    vec![
        code("the_first_comes_up", |fixture| slot(fixture, 1.0, PANIC, "slot: a")),
        code("the_other_comes_up_for_a_cut", |fixture| slot(fixture, 0.7, PANIC, "slot: b")),
        code("the_other_comes_up_for_a_stub", |fixture| slot(fixture, 0.001, PANIC, "slot: b")),
        code("none_comes_up_without_panic", |fixture| slot(fixture, 0.7, "", "slot: the disk")),
    ]
}

/// Boots GRUB with two slots, of which the first has this part of its image. The machine resets itself
/// until one of them comes up, or its disk.
fn slot(fixture: &Fixture, part: f64, errors: &str, comes_up: &str) -> Result<()> {
    let whole = compress("zstd", &Archive::running("slot")?.finish())?;
    let cut = &whole[..(whole.len() as f64 * part) as usize];
    let dir = tempfile::tempdir()?;
    let (core, loader, disk) =
        (dir.path().join("core.img"), dir.path().join("loader.img"), dir.path().join("disk.img"));
    let mut grub = Command::new(program("grub-mkimage", "grub-common")?);
    grub.args(["-O", "i386-pc", "-p", "(hd1)/grub", "-o"]).arg(&core);
    output(grub.args(["biosdisk", "ext2", "normal", "linux", "loadenv", "test"]))?;
    // The boot sector loads what is behind it.
    let boot_sector = read_bytes(Path::new("/usr/lib/grub/i386-pc/boot.img"))
        .context("GRUB is missing: install the package grub-pc-bin, or run `make deps`")?;
    write(&loader, padded([boot_sector, read_bytes(&core)?].concat(), 1 << 20))?;
    let machine = fixture.machine(&BOOT)?;
    Disk { fs: "ext2", mib: 64, init: ("sbin/init", "exec /guest/slot.sh") }.make(
        &disk,
        |root| {
            fs::copy(&machine.kernel, root.join("vmlinuz"))?;
            let menu = format!("set errors={errors}\n{}", read(&paths::tool("guest/grub.cfg"))?);
            write(&root.join("grub/grub.cfg"), menu)?;
            write(&root.join("a.cpio"), cut)?;
            write(&root.join("b.cpio"), &whole)?;
            let mut env = Command::new(program("grub-editenv", "grub-common")?);
            output(env.arg(root.join("grub/grubenv")).arg("create")).map(drop)
        },
    )?;
    let machine = Machine { loader: Some(loader), disk: Some(disk), ..machine };
    let seen = Seen::of(&machine)?;
    let panics = seen.0.console.matches("VFS: initramfs unpacking failed: ").count();
    seen.says(comes_up)?
        .says("roots: 1")?
        .check((comes_up == "slot: b") == (panics > 0), format!("{panics} panics"))
        .map(drop)
}

pub fn all() -> Vec<Situation> {
    situations([
        panics(boot("panic", |_| broken())),
        panics(boot("panic_with_a_root", |_| broken()).disk()),
        panics(boot("panic_with_a_root_and_xz", |_| compress("xz", &broken()?)).disk()),
        // Nothing comes out of it.
        panics(
            boot("panic_without_any_of_it", |_| Ok(compress("zstd", &broken()?)?[..1000].to_vec()))
                .disk(),
        ),
        // The first bit of what comes out of it.
        panics(boot("panic_for_a_flipped_bit", |_| Ok(flipped(stored(&whole()?)?, 15, 1))).disk()),
        panics(boot("panic_when_off", |_| broken()).with(OFF).disk()),
        panics(boot("panic_after_microcode", |_| Ok(microcode_and_noise())).disk()),
        panics(
            boot("panic_after_microcode_when_off", |_| Ok(microcode_and_noise())).with(OFF).disk(),
        ),
        boot("no_panic_for_junk_when_off", |fixture| Ok([&archive(fixture)?[..], JUNK].concat()))
            .with(PANIC)
            .with(OFF)
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
        boot("no_panic_for_junk", |fixture| Ok([&archive(fixture)?[..], JUNK].concat()))
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
