// SPDX-License-Identifier: GPL-2.0

//! Runs the KUnit tests with the kernel's kunit.py: on user-mode Linux, and in QEMU.

use crate::{
    base::Base,
    cmd::{output, program, watch},
    kernel::{build_variant, kunitconfig, Variant},
    qemu::Machine,
    toolchain::Toolchain,
};
use anyhow::{bail, ensure, Context, Result};
use std::{fs, process::Command};

/// Runs them on user-mode Linux, which builds and boots fast.
pub fn user_mode(base: &Base) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let objects = base.dir.join("obj-um");
    fs::create_dir_all(&objects).with_context(|| format!("can't make {}", objects.display()))?;
    let log = base.log("kunit-um.log");
    let mut kunit = kunit_py(base)?;
    kunit
        .args(["run", "--arch=um", "--raw_output=kunit", "--build_dir"])
        .arg(&objects)
        .arg("--kunitconfig")
        .arg(kunitconfig(base))
        .arg(format!("--jobs={}", crate::toolchain::jobs()));
    let make = toolchain.make(&base.sources, &objects);
    for (key, value) in make.get_envs() {
        match value {
            Some(value) => kunit.env(key, value),
            None => kunit.env_remove(key),
        };
    }
    for arg in make.get_args().filter_map(|arg| arg.to_str()) {
        if arg.contains('=') && !arg.starts_with("O=") {
            kunit.args(["--make_options", arg]);
        }
    }
    watch(
        &format!("KUnit on user-mode Linux {}", base.name),
        &log,
        &mut kunit,
    )?;
    let said = fs::read_to_string(&log)?;
    let start = said
        .find("KTAP version")
        .context("kunit.py has shown no results")?;
    parse(base, "um", &said[start..])
}

/// Runs them inside the x86_64 kernel.
pub fn qemu(base: &Base) -> Result<()> {
    build_variant(base, Variant::KUnit)?;
    let machine = Machine::new(&base.variant(Variant::KUnit));
    let boot = machine.boot()?;
    if let Some(complaint) = boot.complaint()? {
        bail!("the console has {complaint:?}:\n{}", boot.console);
    }
    parse(base, "x86_64", &boot.console)
}

/// Has kunit.py read the results, and makes sure that our suite is among them.
fn parse(base: &Base, what: &str, results: &str) -> Result<()> {
    let file = base.log(&format!("kunit-{what}.results"));
    fs::write(&file, results).with_context(|| format!("can't write {}", file.display()))?;
    let parsed = output(kunit_py(base)?.arg("parse").arg(&file))
        .with_context(|| format!("KUnit tests failed ({what}), see {}", file.display()))?;
    let suite = results
        .split("# Subtest: initramfs_mount\n")
        .nth(1)
        .and_then(|suite| {
            suite
                .lines()
                .find_map(|line| line.split_once("# initramfs_mount: "))
        })
        .map(|(_, totals)| totals.to_owned());
    let totals =
        suite.with_context(|| format!("no suite initramfs_mount in {}", file.display()))?;
    ensure!(
        totals.contains("fail:0 ") && !totals.starts_with("pass:0 "),
        "the suite initramfs_mount ({what}): {totals}, see {}",
        file.display()
    );
    let summary = parsed
        .lines()
        .find(|line| line.contains("Testing complete"))
        .unwrap_or_default();
    println!("  {what}: {totals} in initramfs_mount. {summary}");
    Ok(())
}

fn kunit_py(base: &Base) -> Result<Command> {
    let mut kunit = Command::new(program("python3", "python3")?);
    kunit
        .current_dir(&base.sources)
        .arg(base.sources.join("tools/testing/kunit/kunit.py"));
    Ok(kunit)
}
