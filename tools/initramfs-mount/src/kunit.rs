// SPDX-License-Identifier: GPL-2.0

//! Runs the KUnit tests with the kernel's kunit.py: on user-mode Linux, and in QEMU.

use crate::{
    base::Base,
    cmd::{output, program, watch},
    kernel::{build_variant, Build, Variant},
    paths,
    qemu::Machine,
    toolchain::Toolchain,
};
use anyhow::{bail, ensure, Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Our suite.
const OURS: &str = "initramfs_mount";

/// Suites that a base has around this path.
const NEIGHBOURS: &[&str] = &["initramfs", "binfmt_elf", "exec"];

/// What user-mode Linux is built in, with our tests.
const USER_MODE: &str = "obj-um";

/// Runs them on user-mode Linux, which builds and boots fast, together with the neighbours.
pub fn user_mode(base: &Base) -> Result<()> {
    let log = user_mode_kunit(base, USER_MODE, "run", &configs(base))?;
    parse(base, "um", &results(&log)?, &suites(base))
}

/// Builds user-mode Linux with the tests in it, and returns where it is.
pub fn build_user_mode(base: &Base) -> Result<PathBuf> {
    user_mode_kunit(base, USER_MODE, "build", &configs(base))?;
    Ok(base.dir.join(USER_MODE).join("linux"))
}

/// Runs the neighbours without our option, where there are any.
pub fn without_option(base: &Base) -> Result<()> {
    let Some(neighbours) = neighbours(base) else {
        return Ok(());
    };
    let toolchain = Toolchain::find()?;
    let name = "obj-um-off";
    Build::new(base, &toolchain, name).copy_of(base, USER_MODE)?;
    let log = user_mode_kunit(base, name, "run", &[neighbours])?;
    let config = fs::read_to_string(base.dir.join(name).join(".config"))?;
    ensure!(
        !config.contains("CONFIG_INITRAMFS_MOUNT=y"),
        "the option is on in {name}"
    );
    parse(base, "um-off", &results(&log)?, NEIGHBOURS)
}

/// The configuration of the suites that a base has around this path, if it has any.
pub fn neighbours(base: &Base) -> Option<PathBuf> {
    let config = paths::config(&format!("kunit-{}.config", base.release_name()));
    config.is_file().then_some(config)
}

/// The configurations of our suite and of its neighbours.
pub fn configs(base: &Base) -> Vec<PathBuf> {
    let ours = base
        .sources
        .join("tools/testing/kunit/configs/initramfs_mount.config");
    [ours].into_iter().chain(neighbours(base)).collect()
}

fn suites(base: &Base) -> Vec<&'static str> {
    let neighbours = if neighbours(base).is_some() {
        NEIGHBOURS
    } else {
        &[]
    };
    [&[OURS], neighbours].concat()
}

/// What kunit.py has passed on of a kernel's console.
fn results(log: &Path) -> Result<String> {
    let said = fs::read_to_string(log)?;
    let start = said
        .find("KTAP version")
        .context("kunit.py has shown no results")?;
    Ok(said[start..].to_owned())
}

/// Has kunit.py do something for user-mode Linux, and returns what it has printed.
fn user_mode_kunit(base: &Base, name: &str, task: &str, configs: &[PathBuf]) -> Result<PathBuf> {
    let toolchain = Toolchain::find()?;
    let objects = base.dir.join(name);
    fs::create_dir_all(&objects).with_context(|| format!("can't make {}", objects.display()))?;
    let log = base.log(&format!("kunit-{name}-{task}.log"));
    let mut kunit = kunit_py(base)?;
    kunit
        .args([task, "--arch=um", "--build_dir"])
        .arg(&objects)
        .arg(format!("--jobs={}", crate::toolchain::jobs()));
    if task == "run" {
        kunit.arg("--raw_output=kunit");
    }
    for config in configs {
        kunit.arg("--kunitconfig").arg(config);
    }
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
        &format!("KUnit, {task}, on user-mode Linux {}", base.name),
        &log,
        &mut kunit,
    )?;
    Ok(log)
}

/// Runs ours inside the x86_64 kernel, which may have nothing to complain of on the way. That of
/// 7.3 does have of its own suite, with DEBUG_VFS, which leaves the fs_struct that it has borrowed
/// in another thread.
pub fn qemu(base: &Base) -> Result<()> {
    build_variant(base, Variant::KUnit)?;
    let boot = Machine {
        append: format!("kunit.filter_glob={OURS}"),
        ..Machine::new(&base.variant(Variant::KUnit))
    }
    .boot()?;
    if let Some(complaint) = boot.complaint()? {
        bail!("the console has {complaint:?}:\n{}", boot.console);
    }
    parse(base, "x86_64", &boot.console, &[OURS])
}

/// Has kunit.py read the results, and makes sure that these suites are among them.
fn parse(base: &Base, what: &str, results: &str, suites: &[&str]) -> Result<()> {
    let file = base.log(&format!("kunit-{what}.results"));
    fs::write(&file, results).with_context(|| format!("can't write {}", file.display()))?;
    let parsed = output(kunit_py(base)?.arg("parse").arg(&file))
        .with_context(|| format!("KUnit tests failed ({what}), see {}", file.display()))?;
    for suite in suites {
        // A line at the left is what a suite as a whole has come to.
        let end = results.lines().find(|line| {
            let mut words = line.trim_start_matches("not ").split(' ');
            words.next() == Some("ok") && words.nth(1) == Some(suite)
        });
        let end = end.with_context(|| format!("no suite {suite} in {}", file.display()))?;
        ensure!(
            end.starts_with("ok ") && !end.contains("# SKIP"),
            "the suite {suite} ({what}): {end}, see {}",
            file.display()
        );
        println!("  {what}: {end}");
    }
    let summary = parsed
        .lines()
        .find(|line| line.contains("Testing complete"))
        .unwrap_or_default();
    println!("  {summary}");
    Ok(())
}

fn kunit_py(base: &Base) -> Result<Command> {
    let mut kunit = Command::new(program("python3", "python3")?);
    kunit
        .current_dir(&base.sources)
        .arg(base.sources.join("tools/testing/kunit/kunit.py"));
    Ok(kunit)
}
