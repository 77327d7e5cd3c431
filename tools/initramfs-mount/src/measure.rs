// SPDX-License-Identifier: GPL-2.0

//! What the feature costs at boot, and what memory it takes to have a root that can be left: with
//! the feature, and with what people have done without.

use crate::{
    archive::{noise, Archive},
    cmd::Progress,
    harness::Fixture,
    kernel::BOOT,
    machine::{Boot, Machine, ROOT_MOUNT},
};
use anyhow::{ensure, Context, Result};
use regex::Regex;

/// The cost that `make bench`, `make check` and `make test` allow.
const LIMIT: u64 = 40_000;

/// Measures populate_rootfs for a small archive without the feature and with it.
///
/// QEMU counts instructions, and time goes by with them: a microsecond that initcall_debug shows is
/// a thousand. It repeats exactly, on the same QEMU.
///
/// # Errors
///
/// If it costs too much.
pub fn cost(fixture: &Fixture) -> Result<()> {
    let [off, on] = [instructions(fixture, 0)?, instructions(fixture, 1)?];
    let cost = on.saturating_sub(off);
    println!("populate_rootfs on {}, small archive, guest instructions:", fixture.base.name);
    println!("  initramfs_mount=0  {off:>9}");
    println!("  initramfs_mount=1  {on:>9}");
    println!("  difference         {cost:>9} (limit {LIMIT})");
    ensure!(cost <= LIMIT, "the feature costs {cost} instructions, more than {LIMIT}");
    Ok(())
}

fn instructions(fixture: &Fixture, feature: u8) -> Result<u64> {
    // Nothing in it can be run: the kernel panics, long after what is measured.
    let archive = Archive::new().console().file("init", 0o755, &[0; 100]).finish();
    let machine = fixture.machine(&BOOT)?;
    // While instructions are counted, finding out how fast the APIC's timer is would take half a minute.
    let machine = machine.append("loglevel=8 initcall_debug initramfs_async=0 noapictimer");
    let machine = machine.append(&format!("initramfs_mount={feature}"));
    let boot = Machine { initrd: Some(archive.into()), icount: true, ..machine }.boot()?;
    let found = Regex::new(r"initcall populate_rootfs\+\S+ returned 0 after (\d+) usecs")?;
    let found = found.captures(&boot.console);
    let found = found.with_context(|| format!("no populate_rootfs:\n{}", boot.text()))?;
    let is_on = boot.console.contains(ROOT_MOUNT);
    ensure!(is_on == (feature == 1), "initramfs_mount={feature} does not hold:\n{}", boot.text());
    Ok(found[1].parse::<u64>()? * 1000)
}

/// Ways to a root that can be left: what a guest calls them, and readers.
pub const WAYS: [(&str, &str); 3] =
    [("copy", "copy + switch_root"), ("bind", "bind + move"), ("mount", "initramfs_mount=1")];

/// How many MiB the archive has, and the machine: enough for the archive and two copies of it.
pub const ARCHIVE: usize = 256;
const MACHINE: u32 = 1024;

/// Memory in use over a boot.
pub struct Memory {
    /// Seconds and MiB: as the kernel starts, in the initramfs, and once it has been left.
    pub samples: Vec<(f64, f64)>,
    /// When the initramfs was left.
    pub left: f64,
}

/// Measures it for each of [`WAYS`].
///
/// # Errors
///
/// If the initramfs is not left, or does not give its memory back where it should.
pub fn memory(fixture: &Fixture) -> Result<Vec<Memory>> {
    let progress = Progress::new(&format!("measuring memory on {}", fixture.base.name));
    let disk = fixture.disk_running("measured.img", "exec /guest/measure_after.sh")?;
    let archive = Archive::running("measure")?.file("ballast", 0o644, &noise(ARCHIVE << 20));
    let archive = archive.finish();
    let ways = WAYS.map(|(way, title)| -> Result<Memory> {
        progress.line(title);
        let feature = u8::from(way == "mount");
        let words = format!("initramfs_async=0 initramfs_mount={feature} way={way}");
        let machine = Machine {
            initrd: Some(archive.clone().into()),
            disk: Some(disk.clone()),
            mib: MACHINE,
            seconds: 300,
            ..fixture.machine(&BOOT)?.append(&words)
        };
        let boot = machine.boot()?;
        boot.check()?;
        let memory = samples(&boot)?;
        let most = memory.samples.iter().map(|(_, used)| *used).fold(0.0, f64::max);
        let back = most - memory.samples.last().map_or(most, |(_, used)| *used);
        ensure!(
            way == "bind" || back > ARCHIVE as f64 / 2.0,
            "{title}: of an archive of {ARCHIVE} MiB {back:.1} MiB came back:\n{}",
            boot.text()
        );
        Ok(memory)
    });
    let ways = ways.into_iter().collect::<Result<_>>();
    progress.done(ways.is_ok());
    ways
}

/// Returns how much memory was in use, and when the initramfs was left.
fn samples(boot: &Boot) -> Result<Memory> {
    let all = f64::from(MACHINE);
    let first = Regex::new(r"\[ *(\d+\.\d+)\] Memory: (\d+)K/")?;
    let first = first.captures(&boot.console);
    let first = first.context("the kernel does not say how much memory it has")?;
    let mut samples = vec![(first[1].parse()?, all - first[2].parse::<f64>()? / 1024.0)];
    let mut left = None;
    for line in boot.guest.lines() {
        if let Some(at) = line.strip_prefix("left: ") {
            left = Some(at.parse()?);
        } else if let Some((at, free)) = line.split_once(' ') {
            samples.push((at.parse()?, all - free.parse::<f64>()? / 1024.0));
        }
    }
    ensure!(samples.len() > 5, "only {} samples\n{}", samples.len(), boot.text());
    let left = left.with_context(|| format!("the initramfs was not left:\n{}", boot.text()))?;
    Ok(Memory { samples, left })
}
