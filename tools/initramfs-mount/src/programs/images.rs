// SPDX-License-Identifier: GPL-2.0

//! Initramfs images as Debian's own tools make them, booting a Debian on a disk.

use super::{Case, Expect, Lab};
use crate::{
    archive::{pad, Archive},
    boots::Report,
    guest,
    qemu::{Boot, Machine},
};
use anyhow::{Context, Result};
use std::{fs, path::Path, sync::Arc};

/// How many MiB the archive has that have to come back.
const BALLAST: usize = 64;

/// How many KiB less may be free than without the feature, in a whole system, which is never twice
/// the same: half of what a root that stays would take at the least.
const SLACK: u64 = (BALLAST as u64) << 9;

struct Image {
    name: &'static str,
    title: &'static str,
    /// Which of the installed images it is.
    dracut: bool,
    append: &'static str,
    /// What is typed in a shell before the disk is the root, and what it asks before that.
    stop: &'static [(&'static str, &'static str)],
}

const IMAGES: &[Image] = &[
    Image {
        name: "initramfs_tools",
        title: "initramfs-tools (klibc run-init) to a login on a disk",
        dracut: false,
        append: "",
        stop: &[],
    },
    Image {
        name: "initramfs_tools_break",
        title: "initramfs-tools with break=premount: a shell, then the login",
        dracut: false,
        // With a number there it would reboot.
        append: "break=premount panic=",
        stop: &[("(initramfs) ", IN_BETWEEN), ("(initramfs) ", "exit")],
    },
    Image {
        name: "dracut",
        title: "dracut (systemd switch-root) to a login on a disk",
        dracut: true,
        append: "",
        stop: &[],
    },
    Image {
        name: "dracut_break",
        title: "dracut with rd.break: a shell, then the login",
        dracut: true,
        append: "rd.break",
        stop: &[
            ("or press Control-D to continue): ", ""),
            ("# ", IN_BETWEEN),
            ("# ", "exit"),
        ],
    },
];

/// What is typed once somebody has logged in.
const LOGGED_IN: &str = "exec > /dev/ttyS1 2>&1; systemctl is-system-running --wait; \
    findmnt -n -o FSTYPE /; systemctl --failed --no-legend --plain --no-pager; \
    sync; echo 3 > /proc/sys/vm/drop_caches; sleep 1; \
    awk '$1 ~ /^(nr_free_pages|count:)$/ { pages += $2 } END { print \"free: \" pages * 4 }' \
    /proc/zoneinfo; mounts; \
    systemctl poweroff -ff";

/// What is typed in the shell before that.
const IN_BETWEEN: &str =
    "while read -r l; do echo \"stop: $l\"; done < /proc/self/mountinfo > /dev/ttyS1";

impl Image {
    fn boot(&self, lab: &Lab, on: bool) -> Result<Arc<Boot>> {
        lab.boot(self.name, on, || {
            let installed = lab.installed()?;
            let image: &Path = if self.dracut {
                &installed.dracut
            } else {
                &installed.initramfs_tools
            };
            let ballast = guest::noise(BALLAST << 20);
            let mut initrd = Archive::new().file("ballast", 0o644, &ballast).finish();
            pad(&mut initrd, 4);
            initrd.extend(
                fs::read(image).with_context(|| format!("can't read {}", image.display()))?,
            );

            let log_in = [("login: ", "root"), ("# ", LOGGED_IN)];
            let talk = self.stop.iter().chain(&log_in);
            let machine = lab.machine(on);
            Ok(Machine {
                initrd: Some(initrd.into()),
                disk: Some(installed.disk.clone()),
                append: format!("{} root=/dev/vda rw {}", machine.append, self.append),
                talk: talk
                    .map(|(question, answer)| (*question, (*answer).to_owned()))
                    .collect(),
                mib: 1024,
                cpus: 2,
                seconds: 600,
                ..machine
            })
        })
    }

    fn run(&self, lab: &Lab, on: bool) -> Result<String> {
        let report = Report(self.boot(lab, on)?);
        report.says("running")?.says("ext4")?;
        if !self.stop.is_empty() {
            let root = |line: &&str| line.starts_with("stop: ") && line.contains(" / / ");
            let root = report.0.guest.lines().find(root).unwrap_or_default();
            report.check(
                root.contains(" - tmpfs ")
                    || root.contains(" - ramfs ")
                    || root.contains(" - rootfs "),
                format!("the shell's root is {root:?}"),
            )?;
        }
        let free = report.number("free")?;
        let below = below(&report);
        let wanted = self.wanted_below(lab.base.has_nullfs(), on);
        report.check(
            below == wanted,
            format!("below the root there are {below:?}, and not {wanted:?}"),
        )?;
        if on {
            super::as_free_as(&report, &Report(self.boot(lab, false)?), SLACK)?;
        }
        Ok(format!(
            "{} MiB free, below it {}",
            free >> 10,
            below.join(", ")
        ))
    }

    /// The types of the mounts that there should be below the disk, which were all there before.
    /// systemd, in dracut's image, leaves with pivot_root and unmounts what it came from. run-init
    /// moves the disk over what it came from, which stays as an empty mount: with the feature a
    /// ramfs, as root= is given.
    fn wanted_below(&self, nullfs: bool, on: bool) -> Vec<&'static str> {
        let all = [
            ("nullfs", nullfs),
            ("rootfs", on || !nullfs || !self.dracut),
            ("ramfs", on && !self.dracut),
        ];
        let wanted = all.iter().filter(|(_, wanted)| *wanted);
        wanted.map(|(name, _)| *name).collect()
    }
}

/// The types of the mounts below the root, from the lowest one: no path leads to them.
fn below(report: &Report) -> Vec<&str> {
    let mounts = report
        .0
        .guest
        .lines()
        .filter(|line| line.starts_with("mount: "));
    mounts
        .filter_map(|line| line.strip_suffix(' ')?.split(' ').nth(4))
        .collect()
}

pub fn cases() -> Vec<Case> {
    let case = |image: &'static Image| Case {
        group: "image",
        name: image.name,
        title: image.title,
        off: Expect::Works,
        on: Expect::Works,
        fast: &[],
        boot: image.name,
        run: Box::new(|lab, on| image.run(lab, on)),
    };
    IMAGES.iter().map(case).collect()
}
