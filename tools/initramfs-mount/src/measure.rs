// SPDX-License-Identifier: GPL-2.0

//! What it takes to have a root that can be left, in memory and in instructions, for an archive of
//! some size: with the feature, and with what people have done without.

use crate::{
    base::Base,
    cmd::Progress,
    disk, guest,
    qemu::{Boot, Machine},
};
use anyhow::{ensure, Context, Result};
use regex::Regex;

/// A way to a root that can be left.
#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    Copy,
    BindAndMove,
    Ours,
}

impl Way {
    pub const ALL: [Self; 3] = [Self::Copy, Self::BindAndMove, Self::Ours];

    pub fn title(self) -> &'static str {
        match self {
            Self::Copy => "copy + switch_root",
            Self::BindAndMove => "bind + move",
            Self::Ours => "initramfs_mount=1",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::BindAndMove => "bind",
            Self::Ours => "ours",
        }
    }
}

/// How many MiB the archives have.
pub const SIZES: [usize; 3] = [64, 128, 256];

/// What was measured for an archive of a size and a way.
pub struct Measured {
    pub mib: usize,
    pub way: Way,
    /// From the begin of what a boot without any of this does to a root that can be left.
    pub instructions: u64,
    /// Seconds and MiB in use: as the kernel starts, in the initramfs, and once it has been left.
    pub memory: Vec<(f64, f64)>,
    /// When the initramfs was left.
    pub left: f64,
}

/// What all scripts begin with.
const START: &str = r#"#!/bin/busybox sh
mark() {
	echo "mark: $1" > /dev/kmsg
}
sample() {
	! grep -q memory /proc/cmdline ||
		echo "$(cut -d' ' -f1 /proc/uptime) $(awk '$1 ~ /^(nr_free_pages|count:)$/ { pages += $2 } END { print pages * 4 }' /proc/zoneinfo)" > /dev/ttyS1
}
"#;

/// The `/init` of the archive: gets a root that can be left, and goes on there.
const GET_A_ROOT: &str = r#"
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
way=$(sed -n 's/.*\bway=\([^ ]*\).*/\1/p' /proc/cmdline)
if grep -q memory /proc/cmdline; then
	while [ ! -e /dev/stop ]; do sample; sleep 0.05; done &
fi
mark begin
case $way in
copy)
	mkdir /new
	mount -t tmpfs new /new
	for file in /*; do
		case $file in /new|/dev|/proc) ;; *) cp -a $file /new/ ;; esac
	done
	touch /dev/stop; wait
	mkdir /new/dev /new/proc
	mount --move /dev /new/dev
	mount --move /proc /new/proc
	exec switch_root -c /dev/console /new /leave
	;;
bind)
	mkdir /new
	mount --bind / /new
	touch /dev/stop; wait
	mount --move /dev /new/dev
	mount --move /proc /new/proc
	cd /new
	mount --move . /
	exec chroot . /leave
	;;
*)
	# It is one already. The first mark counts.
	mark pivotable
	touch /dev/stop; wait
	exec /leave
	;;
esac
"#;

/// Leaves for the disk with pivot_root, and lets go of the console that was opened before.
const LEAVE: &str = r#"
mark pivotable
export PATH=/bin
sample
[ -e /dev/vda ] || poweroff -f
mount -t ext4 /dev/vda /mnt
mount --move /dev /mnt/dev
mount --move /proc /mnt/proc
cd /mnt
pivot_root . initrd && exec chroot . /sbin/init < dev/console > dev/console 2>&1
mark "no pivot_root"
poweroff -f
"#;

/// The `/sbin/init` of the disk: unmounts the old root.
const AFTER: &str = r#"
export PATH=/bin
umount -l /initrd
echo "left: $(cut -d' ' -f1 /proc/uptime)" > /dev/ttyS1
for i in 1 2 3 4 5 6 7 8; do sample; sleep 0.1; done
poweroff -f
"#;

/// Measures all sizes and ways.
pub fn all(base: &Base) -> Result<Vec<Measured>> {
    let progress = Progress::new(&format!("measuring on {}", base.name));
    let dir = tempfile::tempdir().context("can't make a folder for a disk image")?;
    let image = dir.path().join("disk.img");
    let init = format!("{START}{AFTER}");
    disk::make(&image, "ext4", 16, "sbin/init", &init)?;

    let mut all = Vec::new();
    for mib in SIZES {
        let archive = crate::archive::busybox()?
            .file("init", 0o755, format!("{START}{GET_A_ROOT}").as_bytes())
            .file("leave", 0o755, format!("{START}{LEAVE}").as_bytes())
            .file("ballast", 0o644, &guest::noise(mib << 20))
            .finish();
        let machine = |way: Way| Machine {
            initrd: Some(archive.clone().into()),
            append: format!(
                "loglevel=8 initramfs_async=0 initramfs_mount={} way={}",
                u8::from(way == Way::Ours),
                way.name()
            ),
            mib: MACHINE,
            seconds: 300,
            ..Machine::new(&base.vmlinuz())
        };
        let counted = |way: Way| {
            let machine = machine(way);
            Machine {
                icount: true,
                ..machine
            }
            .boot()
        };
        let stock = mark(&counted(Way::BindAndMove)?, "begin")?;
        for way in Way::ALL {
            progress.line(&format!("{mib} MiB, {}", way.title()));
            let instructions = mark(&counted(way)?, "pivotable")?.saturating_sub(stock);
            let machine = machine(way);
            let boot = Machine {
                disk: Some(image.clone()),
                append: format!("{} memory", machine.append),
                ..machine
            }
            .boot()?;
            let (memory, left) = samples(&boot)?;
            let most = memory.iter().map(|(_, used)| *used).fold(0.0, f64::max);
            let back = most - memory.last().map_or(most, |(_, used)| *used);
            ensure!(
                way == Way::BindAndMove || back > mib as f64 / 2.0,
                "{}: of an archive of {mib} MiB {back:.1} MiB came back:\n{}",
                way.title(),
                boot.console
            );
            all.push(Measured {
                mib,
                way,
                instructions,
                memory,
                left,
            });
        }
    }
    progress.done(true);
    Ok(all)
}

/// How many MiB of memory the machine has: enough for the archive and two copies of it.
const MACHINE: u32 = 1024;

/// Returns how many instructions it took until the guest said that, to the thousand.
fn mark(boot: &Boot, what: &str) -> Result<u64> {
    let found = Regex::new(&format!(r"\[ *(\d+)\.(\d+)\] mark: {what}"))?;
    let found = found
        .captures(&boot.console)
        .with_context(|| format!("no {what:?} on the console:\n{}", boot.console))?;
    let (seconds, micros): (u64, u64) = (found[1].parse()?, found[2].parse()?);
    Ok((seconds * 1_000_000 + micros) * 1000)
}

/// Returns how much memory was in use, and when the initramfs was left.
fn samples(boot: &Boot) -> Result<(Vec<(f64, f64)>, f64)> {
    let all = f64::from(MACHINE);
    let first = Regex::new(r"\[ *(\d+\.\d+)\] Memory: (\d+)K/")?;
    let first = first
        .captures(&boot.console)
        .context("the kernel does not say how much memory it has")?;
    let mut samples = vec![(first[1].parse()?, all - first[2].parse::<f64>()? / 1024.0)];
    let mut left = None;
    for line in boot.guest.lines() {
        if let Some(at) = line.strip_prefix("left: ") {
            left = Some(at.parse()?);
        } else if let Some((at, free)) = line.split_once(' ') {
            samples.push((at.parse()?, all - free.parse::<f64>()? / 1024.0));
        }
    }
    let left = left.with_context(|| format!("the initramfs was not left:\n{}", boot.console))?;
    ensure!(samples.len() > 5, "only {} samples", samples.len());
    Ok((samples, left))
}
