// SPDX-License-Identifier: GPL-2.0

//! Boots through virtme-ng: the demonstration of `make run`, and the shell of `make shell`.

use crate::{
    arch,
    archive::{noise, Archive},
    base::Base,
    cmd::{program, watch},
    containers, deps,
    files::{read, write},
    guest,
    machine::{complaint, converse, said, ROOT_MOUNT},
    once::lock,
    paths,
    toolchain::without_our_make,
};
use anyhow::{ensure, Context, Result};
use std::{
    env,
    fs::File,
    io::IsTerminal,
    path::Path,
    process::{Command, Stdio},
    sync::Mutex,
    time::Duration,
};

/// How many MiB the archive of the demonstration has on top of its programs.
const BALLAST: usize = 64;

/// What the script says of itself for the table, and what that is there.
const CELLS: [(&str, &str); 5] = [
    ("root", "/ is a"),
    ("runc", "runc run"),
    ("pivot_root", "pivot_root(2)"),
    ("umount", "umount of the old root"),
    ("back", "memory given back"),
];

/// Boots twice with the same archive, without the feature and with it, and compares.
///
/// # Errors
///
/// If a boot fails, or not all of it works with the feature.
pub fn demonstrate(base: &Base, kernel: &Path) -> Result<()> {
    let archive = containers::add(Archive::running("demo")?.programs(&[("runc", "runc")])?)?;
    let archive = archive.file("ballast", 0o644, &noise(BALLAST << 20)).finish();
    let initrd = base.dir.join("demo.cpio");
    write(&initrd, &archive)?;

    let mut columns = Vec::new();
    for feature in ["initramfs_mount=0", "initramfs_mount=1"] {
        let log = base.log(&format!("run-{feature}.log"));
        println!("\n=== {feature} ===\n");
        let vng = with_initrd(kernel, &initrd, feature)?;
        let what = format!("booting Linux {} in virtme-ng", base.name);
        watch(&what, &log, &mut in_terminal(&vng)?)?;
        let said = read(&log)?.replace('\r', "");
        let mut column = CELLS.map(|_| "?".to_owned());
        for line in said.lines().skip(1).filter(|line| !line.starts_with("Script ")) {
            let cell = line.split_once('=').and_then(|(key, value)| {
                Some((CELLS.iter().position(|(cell, _)| *cell == key)?, value))
            });
            match cell {
                Some((i, value)) => column[i] = value.to_owned(),
                None => println!("  {line}"),
            }
        }
        if column[4].parse::<u32>().is_ok() {
            column[4] += &format!(" MiB, of {} MiB in the archive", archive.len() >> 20);
        }
        columns.push(column);
    }

    let width = columns[0].iter().map(String::len).max().unwrap_or(0).clamp(17, 76);
    println!("\n{:24}{:width$}  initramfs_mount=1", "", "initramfs_mount=0");
    for (i, (_, row)) in CELLS.iter().enumerate() {
        println!("{row:24}{:width$}  {}", columns[0][i], columns[1][i]);
    }
    println!("\nLogs: {}", base.log("run-initramfs_mount=*.log").display());
    let works = |cell: usize| ["works", "container runs"].contains(&columns[1][cell].as_str());
    ensure!((1..=3).all(works), "not all of it worked with initramfs_mount=1: see the second log");
    Ok(())
}

/// Makes sure that there is something to type at.
pub fn has_terminal() -> Result<()> {
    ensure!(
        std::io::stdin().is_terminal(),
        "standard input is no terminal, which a shell needs: run it from one, or under `script -qec`"
    );
    Ok(())
}

/// Opens a shell in an initramfs, with these words on the kernel's command line.
pub fn shell(base: &Base, kernel: &Path, words: &str) -> Result<()> {
    let status = shell_command(base, kernel, words)?.status().context("can't run vng")?;
    ensure!(status.success(), "vng failed ({status})");
    Ok(())
}

fn shell_command(base: &Base, kernel: &Path, words: &str) -> Result<Command> {
    let archive = containers::add(Archive::running("shell")?.programs(&[("runc", "runc")])?)?;
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = lock(&ONE_AT_A_TIME);
    let initrd = base.dir.join("shell.cpio");
    write(&initrd, archive.finish())?;
    with_initrd(kernel, &initrd, words)
}

fn with_initrd(kernel: &Path, initrd: &Path, words: &str) -> Result<Command> {
    let mut vng = command(kernel, &format!("rdinit=/init {words}"))?;
    vng.arg(format!("--qemu-opts=-no-reboot -initrd {}", initrd.display()));
    Ok(vng)
}

/// virtme-ng with a kernel.
fn command(kernel: &Path, words: &str) -> Result<Command> {
    arch::current().qemu()?;
    let dirs = deps::vng()?.parent().map(Path::to_path_buf).into_iter();
    let old = env::var_os("PATH").unwrap_or_default();
    let mut vng = Command::new("vng");
    // It finds those that come with it there.
    vng.env("PATH", env::join_paths(dirs.chain(env::split_paths(&old)))?)
        .arg("--run")
        .arg(kernel)
        .args(["--disable-kvm", "--disable-microvm", "--force-9p", "--memory", "768M"])
        .args(["--append", words]);
    if arch::current().is_foreign() {
        vng.args(["--arch", arch::current().debian, "--root"]).arg(guest::root()?);
    }
    Ok(vng)
}

/// Gives a command a terminal, which virtme-ng wants whoever watches, and no more than 180 seconds.
fn in_terminal(command: &Command) -> Result<Command> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> =
        words.map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"))).collect();
    let mut script = Command::new(program("script", "bsdutils")?);
    script
        .arg("-qec")
        // In the background it could not be typed at.
        .arg(format!("timeout --foreground 180 {}", words.join(" ")))
        .arg("/dev/null");
    if let Some(dir) = command.get_current_dir() {
        script.current_dir(dir);
    }
    let set = command.get_envs().filter_map(|(key, value)| Some((key, value?)));
    script.envs(set);
    Ok(script)
}

const SECRET: &str = "what only the host knows";

/// Somebody sits down at `make shell`, reads a file of the host and, if that works, runs a container.
pub fn check_shell(base: &Base, kernel: &Path, words: &str, log: &Path, works: bool) -> Result<()> {
    let file = host_file(log)?;
    let look = format!("echo \"host: $(cat /host{file})\"");
    let typed = [look.as_str(), "runc run -b /c name", "exit"];
    let typed = typed.map(|line| ("# ".to_owned(), line.to_owned()));
    let mut lines = vec![format!("host: {SECRET}")];
    if works {
        lines.push("container: runs".to_owned());
    }
    talk(&shell_command(base, kernel, words)?, log, &typed, &lines)
}

/// virtme-ng boots with its own initramfs, which leaves for the host's file system.
pub fn check_force_initramfs(kernel: &Path, words: &str, log: &Path) -> Result<()> {
    let file = host_file(log)?;
    let mut vng = command(kernel, words)?;
    // When virtme-ng has the console for its answer, the last of it takes a moment.
    vng.args(["--verbose", "--force-initramfs", "--exec"]).arg(format!(
        "echo \"host: $(cat {file})\"; echo \"root: $(findmnt -n -o FSTYPE /)\"; sleep 2"
    ));
    talk(&vng, log, &[], &[format!("host: {SECRET}"), "root: 9p".to_owned()])
}

/// The lines that README has for a tree of one's own with the series in it: virtme-ng configures it, builds
/// it, and boots what it has built.
pub fn check_own_tree(kdir: &Path, log: &Path) -> Result<()> {
    let readme = read(&paths::top().join("README.md"))?;
    let lines = readme.find("    cache=").map(|at| &readme[at..]);
    let (lines, _) = lines.and_then(|lines| lines.split_once("\n\n")).context(NOT_IN_README)?;
    let (set_up, lines) = lines.split_once("    vng --build").context(NOT_IN_README)?;
    let (build, boot) = lines.split_once("    vng --verbose").context(NOT_IN_README)?;
    deps::vng()?;
    let shell = |line: String| {
        let mut shell = Command::new("sh");
        shell.current_dir(kdir).args(["-ec", &(set_up.to_owned() + &line)]);
        shell
    };
    let mut build = shell(format!("vng --build{build}"));
    watch("vng --build", &log.with_extension("build.log"), without_our_make(&mut build))?;
    // There may be a /dev/kvm that is of no use.
    let boot = shell(format!("vng --disable-kvm --verbose{boot}"));
    talk(&boot, log, &[], &[ROOT_MOUNT.to_owned()])
}

const NOT_IN_README: &str = "README.md has no lines for a tree of one's own any more";

/// A file of the host, which the guest reads.
fn host_file(log: &Path) -> Result<String> {
    let path = log.with_extension("host");
    write(&path, SECRET)?;
    Ok(path.to_string_lossy().into_owned())
}

/// Runs a command in a terminal, answers it, and makes sure that it says these lines.
fn talk(command: &Command, log: &Path, talk: &[(String, String)], lines: &[String]) -> Result<()> {
    let file = File::create(log).with_context(|| format!("can't write {}", log.display()))?;
    let mut script = in_terminal(command)?;
    script.stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(file);
    let child = script.spawn().context("can't run script")?;
    let ended = converse(child, log, talk, Duration::from_secs(190))?;
    let said = said(log);
    // That is how timeout ends if it had to stop it.
    let in_time = ended.is_some_and(|status| status.code() != Some(124));
    ensure!(in_time, "virtme-ng did not end\n{said}");
    let complaint = complaint(&said);
    ensure!(complaint.is_none(), "the console has {complaint:?}\n{said}");
    for line in lines {
        // The kernel's own messages may come right behind it.
        ensure!(said.contains(line), "does not say {line:?}\n{said}");
    }
    Ok(())
}
