// SPDX-License-Identifier: GPL-2.0

//! Boot loaders themselves, as this machine's Debian has them, which load the kernel and what is beside it.

use super::{policy::PANIC, setup::*};
use crate::{
    archive::{compress, padded},
    cmd::{output, program},
    disk,
    files::{read, write},
    machine::Loader,
    paths,
};
use anyhow::{ensure, Context};
use std::{fs, path::Path, process::Command};

/// What a loader tells the kernel.
const WORDS: &str = "console=ttyS0 no_timer_check panic=-1";

pub fn all() -> Vec<Situation> {
    vec![
        code("grub_takes_the_first_slot", |fixture| slot(fixture, 1.0, PANIC, "slot: a")),
        code("grub_takes_the_other_for_a_cut", |fixture| slot(fixture, 0.7, PANIC, "slot: b")),
        code("grub_takes_the_other_for_a_stub", |fixture| slot(fixture, 0.001, PANIC, "slot: b")),
        code("grub_takes_none_without_panic", |fixture| slot(fixture, 0.7, "", "slot: the disk")),
        code("grub_adds_a_file", grub_adds_a_file),
        code("ipxe_adds_a_file", ipxe_adds_a_file),
    ]
}

/// Those that take a kernel with more in it.
pub fn more() -> Vec<Situation> {
    vec![code("systemd_stub_adds_a_credential", systemd_stub_adds_a_credential)]
}

/// Boots GRUB with two slots, of which the first has this part of its image. The machine resets itself
/// until one of them comes up, or its disk.
fn slot(fixture: &Fixture, part: f64, errors: &str, comes_up: &str) -> Result<()> {
    let seen = by_grub(fixture, part, &format!("set errors={errors}"))?;
    let panics = seen.0.console.matches("VFS: initramfs unpacking failed: ").count();
    seen.says(comes_up)?
        .says("roots: 1")?
        .check((comes_up == "slot: b") == (panics > 0), format!("{panics} panics"))
        .map(drop)
}

/// With `newc:`. The kernel refuses the names that GRUB gives before 2.12.
fn grub_adds_a_file(fixture: &Fixture) -> Result<()> {
    let version = output(Command::new(program("grub-mkimage", "grub-common")?).arg("--version"))?;
    let seen = by_grub(fixture, 1.0, "set newc=newc:etc/marker:/grub/grubenv")?;
    if version.contains(" 2.06") {
        seen.says("slot: the disk")?.logs("malformed archive")?.logs(BROKEN).map(drop)
    } else {
        seen.says("slot: a")?.says("file: /etc/marker")?.logs(ROOT_MOUNT).map(drop)
    }
}

/// Boots GRUB with these lines in front of its menu, and slots.
fn by_grub(fixture: &Fixture, part: f64, lines: &str) -> Result<Seen> {
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
    disk::make(&disk, "ext2", 64, ("sbin/init", "exec /guest/slot.sh"), |root| {
        fs::copy(&machine.kernel, root.join("vmlinuz"))?;
        let menu = format!("{lines}\n{}", read(&paths::tool("guest/grub.cfg"))?);
        write(&root.join("grub/grub.cfg"), menu)?;
        write(&root.join("a.cpio"), cut)?;
        write(&root.join("b.cpio"), &whole)?;
        let mut env = Command::new(program("grub-editenv", "grub-common")?);
        output(env.arg(root.join("grub/grubenv")).arg("create")).map(drop)
    })?;
    Seen::of(&Machine { loader: Some(Loader::Disk(loader)), disk: Some(disk), ..machine })
}

/// From the network, by the iPXE in the card's ROM.
fn ipxe_adds_a_file(fixture: &Fixture) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let machine = fixture.machine(&BOOT)?;
    fs::copy(&machine.kernel, dir.path().join("vmlinuz"))?;
    write(&dir.path().join("initrd"), archive(fixture)?)?;
    write(&dir.path().join("conf"), "12345")?;
    let script =
        format!("#!ipxe\nkernel vmlinuz {WORDS}\ninitrd initrd\ninitrd conf /etc/marker\nboot\n");
    write(&dir.path().join("boot.ipxe"), script)?;
    let loader = Some(Loader::Network(dir.path().to_owned()));
    let seen = Seen::of(&Machine { loader, ..machine })?;
    seen.is_root_mount("archive", "tmpfs")?.says("file: /etc/marker").map(drop)
}

/// In a unified kernel image, which is that stub with a kernel, an initramfs and a command line in it.
fn systemd_stub_adds_a_credential(fixture: &Fixture) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (part, esp) = (|name: &str| dir.path().join(name), dir.path().join("esp"));
    let machine = fixture.machine(&DISTRIBUTION)?;
    write(&part("initrd"), archive(fixture)?)?;
    write(&part("cmdline"), WORDS)?;
    let image = esp.join("EFI/BOOT/BOOTX64.EFI");
    write(&esp.join("EFI/BOOT/BOOTX64.EFI.extra.d/marker.cred"), "12345")?;
    let mut objcopy = Command::new(program("objcopy", "binutils")?);
    for (section, file, address) in [
        (".cmdline", part("cmdline"), "0x30000"),
        (".linux", machine.kernel.clone(), "0x2000000"),
        (".initrd", part("initrd"), "0x4000000"),
    ] {
        objcopy.arg("--add-section").arg(format!("{section}={}", file.display()));
        objcopy.arg("--change-section-vma").arg(format!("{section}={address}"));
    }
    let stub = Path::new("/usr/lib/systemd/boot/efi/linuxx64.efi.stub");
    ensure!(
        stub.is_file(),
        "systemd-stub is missing: install the package systemd-boot-efi, or run `make deps ARGS=--all`"
    );
    output(objcopy.arg(stub).arg(image))?;
    let loader = Some(Loader::Uefi(esp));
    let seen = Seen::of(&Machine { loader, mib: 512, ..machine })?;
    let is_there = seen.is_root_mount("archive", "tmpfs")?;
    is_there.says("file: /.extra/credentials/marker.cred").map(drop)
}
