// SPDX-License-Identifier: GPL-2.0

//! Builds and boots each commit of the series, so that a bisection can end up at any of them.

use crate::{
    base::Base,
    check::{about, files},
    guest,
    kernel::{self, Build},
    qemu::Machine,
    source::{self, Git, PRISTINE},
    toolchain::Toolchain,
};
use anyhow::{ensure, Context, Result};
use std::fs;

/// Does so without the option and, from the commit on that brings it, with the option.
pub fn run(base: &Base) -> Result<()> {
    source::prepare(base)?;
    let toolchain = Toolchain::find()?;
    let there = base.beside("bisect", PRISTINE)?;
    let range = format!("{PRISTINE}..HEAD");
    let commits = Git(&base.sources).run(&["log", "--reverse", "--format=%H %s", &range])?;
    let count = commits.lines().count();
    for (i, line) in commits.lines().enumerate() {
        let (commit, subject) = line.split_once(' ').context("a commit without a subject")?;
        println!("[{}/{count}] {subject}", i + 1);
        Git(&there.sources).run(&["checkout", "-q", "-f", "--detach", commit])?;
        let has_option = there.sources.join("init/Kconfig.initramfs_mount").is_file();
        step(&there, &toolchain, false)
            .with_context(|| format!("without the option: {subject}"))?;
        if has_option {
            step(&there, &toolchain, true)
                .with_context(|| format!("with the option: {subject}"))?;
        }
    }
    println!("Each of {count} commits builds without warnings and boots.");
    Ok(())
}

fn step(base: &Base, toolchain: &Toolchain, on: bool) -> Result<()> {
    let (name, extra) = if on {
        (
            "on",
            "CONFIG_INITRAMFS_MOUNT=y\nCONFIG_KUNIT=y\nCONFIG_KUNIT_ALL_TESTS=y\n\
             # CONFIG_KUNIT_DEFAULT_ENABLED is not set\n",
        )
    } else {
        ("off", "# CONFIG_INITRAMFS_MOUNT is not set\n")
    };
    let build = Build::new(base, toolchain, &format!("obj-{name}"));
    build.configure(&kernel::fragments(base), extra)?;
    let log = format!("{name}.log");
    build.build(&format!("building it, option {name}"), &log, &["bzImage"])?;
    about(&fs::read_to_string(base.log(&log))?, &files(base)?)?;

    let boot = Machine {
        initrd: Some(guest::reporter("archive")?.finish().into()),
        ..Machine::new(&build.objects.join("arch/x86/boot/bzImage"))
    }
    .boot()?;
    let complaint = boot.complaint()?;
    let root = boot.console.contains("initramfs_mount: / is the initramfs");
    ensure!(
        boot.ended && complaint.is_none() && boot.guest.contains("init: archive\n") && root == on,
        "it does not boot as it should ({complaint:?}):\n{}\n{}",
        boot.guest,
        boot.console
    );
    Ok(())
}
