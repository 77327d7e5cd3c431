// SPDX-License-Identifier: GPL-2.0

//! Security modules, in a kernel that has all of them: what each says of an initramfs root, of programs
//! on other file systems, and of a disk that becomes the root, with the option and without.

use super::setup::*;
use crate::{
    cmd::{output, program},
    files::{read, write},
    kernel::SECURITY,
    paths,
};
use regex::Regex;
use std::{collections::BTreeSet, path::PathBuf, process::Command};

/// What precedes the type in a label.
const LABEL: &str = "user_u:object_r:";

/// All types. They may do anything.
const ALL: &str = "{ base_t rootfs_t tmpfs_t }";

pub fn all() -> Vec<Situation> {
    let modules = ["selinux", "smack", "apparmor", "ipe", "ima"];
    let all = modules.map(|module| code(module, move |fixture| compare(fixture, module)));
    all.into()
}

fn compare(fixture: &Fixture, module: &str) -> Result<()> {
    let (on, off) = (boot(fixture, module, "")?, boot(fixture, module, OFF)?);
    on.logs("initramfs_mount: / is the initramfs, tmpfs")?;
    off.never_logs("initramfs_mount: / is")?;
    // What depends on the name of a file system is not the same.
    match module {
        "selinux" => {
            on.says(&format!("archive, label: {LABEL}tmpfs_t"))?;
            off.says(&format!("archive, label: {LABEL}rootfs_t"))?;
        }
        "ima" => {
            on.says("archive, measured as rootfs: 0")?.says("archive, measured as tmpfs: 1")?;
            off.says("archive, measured as rootfs: 1")?.says("archive, measured as tmpfs: 0")?;
        }
        _ => {}
    }
    let (refused, before) = (refusals(&on)?, refusals(&off)?);
    on.check(refused == before, format!("refused: {refused:?}; with the option off: {before:?}"))?;
    // Those have something to refuse here. The policy of SELinux allows all.
    let refuses = ["apparmor", "ipe"].contains(&module);
    off.check(before.is_empty() != refuses, format!("refused: {before:?}"))?;
    for seen in [on, off] {
        seen.check(seen.value("archive, modules")?.contains(module), "the module is off")?
            .says("archive, from root: runs")?;
        if module == "ipe" {
            seen.says("archive, from tmpfs: refused")?
                .says("archive, from disk: refused")?
                .says("disk: refused")?;
            continue;
        }
        for name in ["archive", "disk"].iter().filter(|_| module == "selinux") {
            seen.says(&format!("{name}, enforcing: 1"))?;
        }
        seen.says("archive, from tmpfs: runs")?
            .says("archive, from disk: runs")?
            .check(seen.value("disk, modules")?.contains(module), "the module is off")?;
        for name in ["archive", "disk"].iter().filter(|_| module == "apparmor") {
            seen.says(&format!("{name}, allowed: read"))?
                .says(&format!("{name}, denied: not read"))?;
        }
        if module == "ima" {
            seen.says("disk, measured as ext4: 1")?;
        }
    }
    Ok(())
}

/// What was refused, by the kernel's messages, without what differs from boot to boot.
fn refusals(seen: &Seen) -> Result<BTreeSet<String>> {
    let differs = Regex::new(r"^.*audit\([\d.:]*\)|\b(pid|ino)=\d+")?;
    let words = ["denied", "DENIED", "DENY"];
    let lines = seen.0.console.lines().filter(|line| words.iter().any(|word| line.contains(word)));
    Ok(lines.map(|line| differs.replace_all(line, "").replace("rootfs", "tmpfs")).collect())
}

fn boot(fixture: &Fixture, module: &str, words: &str) -> Result<Seen> {
    let archive = Archive::system()?.script("init", "export NAME=archive\nexec /guest/security.sh");
    let machine = fixture.machine(&SECURITY)?;
    let archive = match module {
        "selinux" => {
            archive.programs(&[("ls", "coreutils")])?.copy(&selinux_policy(fixture)?, "policy")?
        }
        "apparmor" => archive.copy(&apparmor_profile(fixture)?, "profile")?,
        _ => archive,
    };
    let init = "export NAME=disk\nexec /guest/security.sh";
    let disk = fixture.disk_running("security.img", init)?;
    Seen::of(&Machine {
        initrd: Some(Initrd::Bytes(archive.finish())),
        disk: Some(disk),
        ..machine.append(&format!("lsm={module} {words}"))
    })
}

/// The policy that the kernel's own mdp makes up, with labels of their own for what may be the root.
fn selinux_policy(fixture: &Fixture) -> Result<PathBuf> {
    fixture.image("selinux.policy", |policy| {
        let dir = tempfile::tempdir()?;
        let conf = dir.path().join("policy.conf");
        let mdp = SECURITY.dir(&fixture.base).join("scripts/selinux/mdp/mdp");
        output(Command::new(mdp).arg(&conf).arg(dir.path().join("contexts")))?;
        let text = read(&conf)?;
        // Debian's checkpolicy may not know the newest capabilities.
        let lines = text.lines().filter(|line| !line.starts_with("policycap "));
        let text = lines.collect::<Vec<_>>().join("\n");
        let text = text
            .replace("type base_t;", "type base_t;\ntype rootfs_t;\ntype tmpfs_t;")
            .replace("allow base_t base_t:", &format!("allow {ALL} {ALL}:"))
            .replace(&format!(" tmpfs {LABEL}base_t"), &format!(" tmpfs {LABEL}tmpfs_t"));
        let text = format!("{text}\ngenfscon rootfs / {LABEL}rootfs_t\n");
        write(&conf, text)?;
        let mut checkpolicy = Command::new(program("checkpolicy", "checkpolicy")?);
        checkpolicy.args(["-U", "allow", "-o"]).arg(policy).arg(&conf);
        output(&mut checkpolicy).map(drop)
    })
}

/// A profile for one program, compiled.
fn apparmor_profile(fixture: &Fixture) -> Result<PathBuf> {
    fixture.image("apparmor.profile", |profile| {
        let mut parser = Command::new(program("apparmor_parser", "apparmor")?);
        parser.args(["--skip-kernel-load", "--skip-cache", "--ofile"]).arg(profile);
        output(parser.arg(paths::tool("configs/apparmor.profile"))).map(drop)
    })
}
