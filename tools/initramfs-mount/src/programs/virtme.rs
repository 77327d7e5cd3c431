// SPDX-License-Identifier: GPL-2.0

//! virtme-ng: the shell of `make shell`, and its own initramfs.

use super::{Case, Expect, Lab};
use crate::{
    qemu::{converse, read},
    vng,
};
use anyhow::{bail, ensure, Context, Result};
use std::{
    fs::{self, File},
    process::{Command, Stdio},
    time::Duration,
};

const SECRET: &str = "what only the host knows";

/// A file of the host, which the guest reads, and where what the guest says goes.
fn host_file(lab: &Lab, name: &str, on: bool) -> Result<String> {
    let path = lab.log(name, on).with_extension("host");
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(&path, SECRET).with_context(|| format!("can't write {}", path.display()))?;
    Ok(path.to_string_lossy().into_owned())
}

/// Runs a command in a terminal and answers it. Returns what it said.
fn talk(
    lab: &Lab,
    name: &str,
    on: bool,
    command: &Command,
    talk: &[(&str, String)],
) -> Result<String> {
    let log = lab.log(name, on);
    let file = File::create(&log).with_context(|| format!("can't write {}", log.display()))?;
    let child = vng::in_terminal(command)?
        .stdin(Stdio::piped())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .context("can't run script")?;
    let ended = converse(child, &log, talk, Duration::from_secs(190))?;
    let said = read(&log);
    ensure!(ended.is_some(), "virtme-ng did not end\n{said}");
    Ok(said)
}

fn says(said: &str, line: &str) -> Result<()> {
    // The kernel's own messages may come right behind it.
    if said.contains(line) {
        return Ok(());
    }
    bail!("does not say {line:?}\n{said}")
}

/// Somebody sits down at `make shell`.
fn shell(lab: &Lab, on: bool) -> Result<String> {
    let file = host_file(lab, "shell", on)?;
    let command = vng::shell_command(&lab.base, &format!("initramfs_mount={}", u8::from(on)))?;
    let typed = [
        ("~ # ", format!("echo \"host: $(cat /host{file})\"")),
        ("~ # ", "runc run -b /c name".to_owned()),
        ("~ # ", "exit".to_owned()),
    ];
    let said = talk(lab, "shell", on, &command, &typed)?;
    says(&said, &format!("host: {SECRET}"))?;
    if on || lab.base.has_nullfs() {
        says(&said, "container: runs")?;
    }
    Ok(String::new())
}

/// virtme-ng boots with its own initramfs, which leaves for the host's file system.
fn force_initramfs(lab: &Lab, on: bool) -> Result<String> {
    let file = host_file(lab, "force_initramfs", on)?;
    let mut command = vng::command(&lab.base, &format!("initramfs_mount={}", u8::from(on)))?;
    command
        .args(["--verbose", "--force-initramfs", "--exec"])
        // When virtme-ng has the console for its answer, the last of it takes a moment.
        .arg(format!(
            "echo \"host: $(cat {file})\"; echo \"root: $(findmnt -n -o FSTYPE /)\"; sleep 2"
        ));
    let said = talk(lab, "force_initramfs", on, &command, &[])?;
    says(&said, &format!("host: {SECRET}"))?;
    says(&said, "root: 9p")?;
    Ok(String::new())
}

pub fn cases() -> Vec<Case> {
    let case = |name, title, run: fn(&Lab, bool) -> Result<String>| Case {
        group: "virtme",
        name,
        title,
        off: Expect::Works,
        on: Expect::Works,
        fast: &[true, false],
        boot: name,
        run: Box::new(run),
    };
    vec![
        case("shell", "make shell, the host's files in /host", shell),
        case(
            "force_initramfs",
            "vng --force-initramfs, to the host's files",
            force_initramfs,
        ),
    ]
}
