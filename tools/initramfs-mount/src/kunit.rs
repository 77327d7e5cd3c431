// SPDX-License-Identifier: GPL-2.0

//! Runs the KUnit tests with the kernel's kunit.py, on user-mode Linux and in QEMU.

use crate::{
    arch,
    base::Base,
    cmd::{program, watch},
    files::{make_dir, read, write_script},
    harness::{Fixture, Seen},
    kernel::{for_base, kunit_config, Kernel, DEBUG, SMALL, UBSAN_EXCEPTION},
    machine::{accelerator, complaint, Machine},
    paths,
    toolchain::{self, Toolchain},
    tree,
};
use anyhow::{ensure, Context, Result};
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// Our suite.
const OURS: &str = "initramfs_mount";

/// Suites that a base has around this path, if it has any.
const NEIGHBOURS: &[&str] = &["initramfs", "binfmt_elf", "exec"];

/// clang from 18 on has most data of `-mcmodel=large`, which user-mode Linux is built with, in sections that
/// its linker scripts don't know, and where kmemleak does not look. What is built with another model is not
/// to fail for this.
const SMALL_DATA: &str =
    "KCFLAGS=-mlarge-data-threshold=2147483647 -Wno-unused-command-line-argument";

/// What user-mode Linux is built in, with our tests and, of 7.3, without the option.
pub const USER_MODE: &str = "obj-um";
const USER_MODE_OFF: &str = "obj-um-off";

/// Runs them on user-mode Linux, which builds and boots fast, together with the neighbours.
pub fn user_mode(base: &Base) -> Result<()> {
    let suites =
        if neighbours(base).is_some() { [&[OURS], NEIGHBOURS].concat() } else { vec![OURS] };
    tree::prepare(base)?;
    let log = user_mode_kunit(base, USER_MODE, "run", &configs(base))?;
    judge(&log, &base.dir.join(USER_MODE), &suites)
}

/// Builds user-mode Linux with the tests in it. Returns where it is.
pub fn build_user_mode(base: &Base) -> Result<PathBuf> {
    tree::prepare(base)?;
    user_mode_kunit(base, USER_MODE, "build", &configs(base))?;
    Ok(base.dir.join(USER_MODE).join("linux"))
}

/// The same of a checkout, as it is, with other configurations in place of the tests.
pub fn build_user_mode_with(base: &Base, configs: &[PathBuf]) -> Result<PathBuf> {
    user_mode_kunit(base, USER_MODE, "build", &[&debug_configs(), configs].concat())?;
    Ok(base.dir.join(USER_MODE).join("linux"))
}

/// Runs the neighbours without our option, where there are any.
pub fn without_option(base: &Base) -> Result<()> {
    let Some(config) = neighbours(base) else {
        return Ok(());
    };
    tree::prepare(base)?;
    let log = user_mode_kunit(base, USER_MODE_OFF, "run", &[config])?;
    let config = read(&base.dir.join(USER_MODE_OFF).join(".config"))?;
    ensure!(!config.contains("CONFIG_INITRAMFS_MOUNT=y"), "the option is on in {USER_MODE_OFF}");
    judge(&log, &base.dir.join(USER_MODE_OFF), NEIGHBOURS)
}

/// The configurations of our suite and of the neighbours, under KASAN.
fn configs(base: &Base) -> Vec<PathBuf> {
    let ours = [kunit_config(base)].into_iter().chain(debug_configs());
    ours.chain(neighbours(base)).collect()
}

fn debug_configs() -> [PathBuf; 2] {
    ["debug", "arch/um-debug"].map(|name| paths::tool(&format!("configs/{name}.config")))
}

/// The configuration of the neighbours.
fn neighbours(base: &Base) -> Option<PathBuf> {
    for_base("kunit", base)
}

/// Has kunit.py do something for user-mode Linux, and returns its log.
fn user_mode_kunit(base: &Base, name: &str, task: &str, configs: &[PathBuf]) -> Result<PathBuf> {
    let toolchain = Toolchain::find()?;
    let objects = base.dir.join(name);
    make_dir(&objects)?;
    let log = base.log(&format!("kunit-{name}-{task}.log"));
    let mut kunit = kunit_py(base)?;
    kunit
        .args([task, "--arch=um", "--build_dir"])
        .arg(&objects)
        .arg(format!("--jobs={}", toolchain::jobs()));
    for config in configs {
        kunit.arg("--kunitconfig").arg(config);
    }
    let mut make = toolchain.make(&base.sources, &objects);
    make.args([UBSAN_EXCEPTION, SMALL_DATA]);
    for (key, value) in make.get_envs() {
        match value {
            Some(value) => kunit.env(key, value),
            None => kunit.env_remove(key),
        };
    }
    let args = make.get_args().filter_map(|arg| arg.to_str()).filter(|arg| arg.contains('='));
    for arg in args.filter(|arg| !arg.starts_with("O=") && !arg.starts_with("ARCH=")) {
        kunit.args(["--make_options", arg]);
    }
    let what = format!("KUnit, {task}, on user-mode Linux {}", base.name);
    watch(&what, &log, &mut kunit)?;
    Ok(log)
}

/// Runs ours inside a kernel in QEMU, where the base's kunit.py knows that.
pub fn in_qemu(fixture: &Fixture, kernel: &'static Kernel) -> Result<()> {
    let base = &fixture.base;
    let image = fixture.machine(kernel)?.kernel;
    let name = arch::current().kunit;
    if !base.sources.join(format!("tools/testing/kunit/qemu_configs/{name}.py")).is_file() {
        println!("  kunit.py of {} does not know {}: no tests.", base.name, arch::current().qemu);
        return Ok(());
    }
    let log = base.log(&format!("kunit-{}.log", kernel.name));
    let mut kunit = kunit_py(base)?;
    kunit
        .args(["exec", "--arch", name, "--timeout=300"])
        .args(["--kernel_args", &format!("kunit.autorun=1 {}", kernel.words()), "--build_dir"])
        .arg(kernel.dir(base))
        .arg(OURS);
    let what = format!("KUnit in QEMU, Linux {}, kernel {}", base.name, kernel.name);
    let _dir = with_accelerator(&image, &mut kunit)?;
    watch(&what, &log, &mut kunit)?;
    judge(&log, &kernel.dir(base), &[OURS])
}

/// Runs ours inside a kernel under sanitizers at boot, after which kmemleak looks for what they have lost.
pub fn leaves_no_memory(fixture: &Fixture) -> Result<()> {
    let words = format!("kunit.enable=1 kunit.autorun=1 kunit.filter_glob={OURS}");
    let machine = fixture.machine(&DEBUG)?.append(&words);
    Seen::of_archive(Machine { debug: true, ..machine })?
        .logs(&format!("ok 1 {OURS}"))?
        .never_logs("not ok ")?
        .logs("leaks: 0")
        .map(drop)
}

/// Runs ours inside a kernel that builds fast, and boots that with an archive.
pub fn in_small_kernel(fixture: &Fixture) -> Result<()> {
    in_qemu(fixture, &SMALL)?;
    Seen::of_archive(fixture.machine(&SMALL)?)?.is_root_mount("archive", "tmpfs")?;
    println!("  An archive is the root, and can be left.");
    Ok(())
}

/// kunit.py has QEMU take KVM wherever there is a `/dev/kvm`, be it of use or not. Puts a QEMU into a
/// folder that takes what works, and the folder into the command's `PATH`.
fn with_accelerator(image: &Path, command: &mut Command) -> Result<TempDir> {
    let qemu = arch::current().qemu()?;
    let dir = tempfile::tempdir().context("can't make a folder for QEMU")?;
    let script = dir.path().join(arch::current().qemu);
    // The first one that is named is tried first.
    let line = format!("exec {} -accel {} \"$@\"", qemu.display(), accelerator(image));
    write_script(&script, &line)?;
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = [dir.path().to_owned()].into_iter().chain(env::split_paths(&path));
    command.env("PATH", env::join_paths(dirs)?);
    Ok(dir)
}

/// Makes sure that these suites have passed, by the log of a kunit.py that has found no failure, and that the
/// kernel, whose console kunit.py leaves where it was built, has nothing to complain of on the way. What it has
/// to complain of a neighbour does not count: with DEBUG_VFS, that is how 7.3's own suite ends, which leaves the
/// fs_struct that it has borrowed in another thread.
fn judge(log: &Path, objects: &Path, suites: &[&str]) -> Result<()> {
    let said = read(log)?;
    for suite in suites {
        let has_passed = said.contains(&format!("[PASSED] {suite} ="));
        ensure!(has_passed, "the suite {suite} has not passed: see {}", log.display());
    }
    let console = objects.join("test.log");
    for part in read(&console)?.split("# Subtest: ") {
        let suite = part.lines().next().unwrap_or_default().trim();
        let complaint = complaint(part).filter(|_| !NEIGHBOURS.contains(&suite));
        ensure!(complaint.is_none(), "the console has {complaint:?}: see {}", console.display());
    }
    let summary = said.lines().find(|line| line.contains("Testing complete"));
    println!("  {}: {}", suites.join(", "), summary.unwrap_or_default());
    Ok(())
}

fn kunit_py(base: &Base) -> Result<Command> {
    let mut kunit = Command::new(program("python3", "python3")?);
    kunit.current_dir(&base.sources).arg(base.sources.join("tools/testing/kunit/kunit.py"));
    Ok(kunit)
}
