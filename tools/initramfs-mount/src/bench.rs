// SPDX-License-Identifier: GPL-2.0

//! What the feature costs at boot, in guest instructions.

use crate::{archive::Archive, base::Base, qemu::Machine};
use anyhow::{ensure, Context, Result};
use regex::Regex;

/// The cost that `make bench` and `make test` allow.
const LIMIT: u64 = 25_000;

/// Measures populate_rootfs for a small archive without the feature and with it.
///
/// QEMU counts instructions, and time goes by with them: a microsecond that initcall_debug shows is
/// a thousand. It repeats exactly, on the same QEMU.
pub fn run(base: &Base) -> Result<()> {
    let off = instructions(base, "initramfs_mount=0")?;
    let on = instructions(base, "")?;
    let cost = on.saturating_sub(off);
    println!(
        "populate_rootfs on {}, small archive, guest instructions:",
        base.name
    );
    println!("  initramfs_mount=0  {off:>9}");
    println!("  initramfs_mount=1  {on:>9}");
    println!("  difference         {cost:>9} (limit {LIMIT})");
    ensure!(
        cost <= LIMIT,
        "the feature costs {cost} instructions, more than {LIMIT}"
    );
    Ok(())
}

fn instructions(base: &Base, append: &str) -> Result<u64> {
    // Nothing in it can be run: the kernel panics, long after what is measured.
    let archive = Archive::new()
        .dir("dev")
        .char_device("dev/console", 5, 1)
        .file("init", 0o755, &[0; 100])
        .finish();
    let machine = Machine {
        initrd: Some(archive.into()),
        append: format!("loglevel=8 initcall_debug initramfs_async=0 {append}"),
        icount: true,
        ..Machine::new(&base.vmlinuz())
    };
    let boot = machine.boot()?;
    let found = Regex::new(r"initcall populate_rootfs\+\S+ returned 0 after (\d+) usecs")?
        .captures(&boot.console)
        .with_context(|| format!("no populate_rootfs on the console:\n{}", boot.console))?[1]
        .parse::<u64>()?;
    Ok(found * 1000)
}
