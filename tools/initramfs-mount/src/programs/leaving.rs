// SPDX-License-Identifier: GPL-2.0

//! Programs that leave a small initramfs for a disk.

use super::{Case, Expect, Lab};
use crate::{
    archive::with_libraries,
    boots::Report,
    disk, guest,
    qemu::{Boot, Machine},
};
use anyhow::{Context, Result};
use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

/// How many MiB the archive has that have to come back.
const BALLAST: usize = 64;

/// How many KiB less may be free than without the feature: what a mount and the kernel's own lists
/// of free pages come to.
const SLACK: u64 = 1 << 10;

struct Way {
    name: &'static str,
    title: &'static str,
    /// The program and the package that has it, but for busybox.
    programs: &'static [(&'static str, &'static str)],
    command: &'static str,
}

const WAYS: &[Way] = &[
    Way {
        name: "busybox",
        title: "busybox switch_root to a disk",
        programs: &[],
        command: "move_mounts; exec switch_root -c /dev/console /mnt /sbin/init",
    },
    Way {
        name: "util_linux",
        title: "util-linux switch_root to a disk",
        programs: &[("switch_root", "util-linux")],
        command: "exec /real/switch_root /mnt /sbin/init",
    },
    Way {
        name: "klibc",
        title: "klibc run-init to a disk",
        programs: &[("/usr/lib/klibc/bin/run-init", "klibc-utils")],
        command: "move_mounts; exec /real/run-init -c /dev/console /mnt /sbin/init",
    },
];

const LEAVE: &str = r#"
move_mounts() {
	for dir in proc sys dev; do mount --move /$dir /mnt/$dir; done
}
mount -t ext4 /dev/vda /mnt
mounts | sed 's/^/before /' > /dev/ttyS1
"#;

const ARRIVE: &str = r#"#!/bin/sh
export PATH=/bin
[ -e /proc/self ] || mount -t proc proc /proc
[ -e /dev/ttyS1 ] || mount -t devtmpfs dev /dev
exec > /dev/ttyS1 2>&1
echo "init: disk"
mounts | sed 's/^/after /'
echo "free: $(free-kib)"
echo end
poweroff -f
"#;

/// Puts the helper on a disk.
fn add_mounts(root: &Path) -> Result<()> {
    let helper = super::mounts()?;
    for file in with_libraries(&helper)? {
        let to = if file == helper {
            root.join("bin/mounts")
        } else {
            root.join(file.strip_prefix("/").unwrap_or(&file))
        };
        if let Some(dir) = to.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::copy(&file, &to).with_context(|| format!("can't copy {}", file.display()))?;
    }
    Ok(())
}

impl Way {
    fn boot(&self, lab: &Lab, on: bool) -> Result<Arc<Boot>> {
        lab.boot(self.name, on, || {
            let image = lab.dir.path().join(format!("{}-{on}.img", self.name));
            disk::make_with(&image, "ext4", 64, ("sbin/init", ARRIVE), add_mounts)?;
            let init = format!("{LEAVE}{}\n", self.command);
            let ballast = guest::noise(BALLAST << 20);
            let archive = guest::on_console(self.programs, &init)?;
            let archive = super::with_mounts(archive.file("ballast", 0o644, &ballast), "")?;
            let machine = lab.machine(on);
            Ok(Machine {
                initrd: Some(archive.finish().into()),
                disk: Some(image),
                mib: 512,
                ..machine
            })
        })
    }

    fn run(&self, lab: &Lab, on: bool) -> Result<String> {
        let report = Report(self.boot(lab, on)?);
        report.says("init: disk")?;
        let mounts = |when: &str| -> BTreeSet<&str> {
            let prefix = format!("{when} mount: ");
            let lines = report.0.guest.lines();
            lines
                .filter_map(|line| line.strip_prefix(&prefix)?.split(' ').next())
                .collect()
        };
        let (before, after) = (mounts("before"), mounts("after"));
        report.check(!after.is_empty(), "the mounts are not told")?;
        let new: Vec<_> = after.difference(&before).collect();
        report.check(new.is_empty(), format!("there are new mounts: {new:?}"))?;

        let free = report.number("free")?;
        if on {
            super::as_free_as(&report, &Report(self.boot(lab, false)?), SLACK)?;
        }
        Ok(format!("{} MiB free", free >> 10))
    }
}

pub fn cases() -> Vec<Case> {
    let case = |way: &'static Way| Case {
        group: "leaving",
        name: way.name,
        title: way.title,
        off: Expect::Works,
        on: Expect::Works,
        fast: &[true, false],
        boot: way.name,
        run: Box::new(|lab, on| way.run(lab, on)),
    };
    WAYS.iter().map(case).collect()
}
