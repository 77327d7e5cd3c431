// SPDX-License-Identifier: GPL-2.0

//! The kernel's own selftests of what an initramfs has to do with, run in one: those that pass without
//! the option pass with it.

use crate::{
    archive::Archive,
    base::Base,
    cmd::{output, watch},
    files::read_bytes,
    guest,
    harness::{Fixture, Seen},
    kernel::SECURITY,
    machine::{Initrd, Machine},
    toolchain::Toolchain,
};
use anyhow::{ensure, Result};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

/// A base may not have all.
const TARGETS: &[&str] = &[
    "mount",
    "mount_setattr",
    "move_mount_set_group",
    "filesystems",
    "filesystems/statmount",
    "filesystems/nsfs",
    "filesystems/empty_mntns",
    "filesystems/fsmount_ns",
    "filesystems/mntns_unbindable",
    "filesystems/move_mount",
    "filesystems/open_tree_ns",
    "filesystems/umount_propagation",
    "nsfs",
    "pidfd",
    "namespaces",
    "landlock",
];

/// Runs them without the option and with it.
///
/// # Errors
///
/// If one that has passed without it does not with it, not even once more.
pub fn compare(fixture: &Fixture) -> Result<()> {
    let machine = fixture.machine(&SECURITY)?;
    let image = archive(&build(&fixture.base)?)?;
    let run = |words| -> Result<BTreeSet<String>> {
        let machine = machine.clone().append(words);
        let initrd = Some(Initrd::Bytes(image.clone()));
        let seen = Seen::of(&Machine { initrd, mib: 1024, seconds: 1200, ..machine })?;
        seen.says("init: kselftests")?;
        Ok(passed(&seen.0.guest))
    };
    let (off, mut on) = (run("initramfs_mount=0")?, run("")?);
    println!("  {} selftests pass without the option, {} with it.", off.len(), on.len());
    let lost = |on: &BTreeSet<String>| &off - on;
    if !lost(&on).is_empty() {
        // Some are races, which a busy machine loses.
        on.append(&mut run("")?);
    }
    let lost: Vec<_> = lost(&on).into_iter().collect();
    ensure!(lost.is_empty(), "these pass without the option alone:\n{}", lost.join("\n"));
    ensure!(off.len() > 100, "only {} pass at all", off.len());
    Ok(())
}

/// The lines of TAP that say so, without their numbers. Of a program without any, the script says it.
fn passed(said: &str) -> BTreeSet<String> {
    let line = |line: &str| {
        let (program, result) = line.split_once(": ok ")?;
        let (_, name) = result.split_once(' ')?;
        (!name.contains("# SKIP")).then(|| format!("{program} {name}"))
    };
    said.lines().filter_map(line).collect()
}

/// Builds what of [`TARGETS`] the base has, and returns where it is.
fn build(base: &Base) -> Result<PathBuf> {
    let objects = SECURITY.dir(base);
    let installed = objects.join("selftests");
    let sources = base.sources.join("tools/testing/selftests");
    let toolchain = Toolchain::find()?;
    let mut headers = toolchain.make(&base.sources, &objects);
    watch("exporting headers", &base.log("headers.log"), headers.arg("headers"))?;
    let targets = TARGETS.iter().filter(|target| sources.join(target).join("Makefile").is_file());
    let targets: Vec<_> = targets.copied().collect();
    let mut make = toolchain.make(&sources, &objects);
    // Without this, one that can't be built is left out.
    make.arg("FORCE_TARGETS=1").arg(format!("TARGETS={}", targets.join(" ")));
    make.arg(format!("INSTALL_PATH={}", installed.display())).arg("install");
    watch("building selftests", &base.log("selftests.log"), &mut make)?;
    Ok(installed)
}

/// An archive that runs them.
fn archive(dir: &Path) -> Result<Vec<u8>> {
    let files = output(Command::new("find").arg(dir).args(["-type", "f", "-printf", "%P\\n"]))?;
    let mut archive = Archive::running("kselftests")?
        .programs(&[("bash", "bash")])?
        .symlink("bin/bash", "/real/bash");
    let mut libraries = BTreeSet::new();
    for name in files.lines() {
        let file = dir.join(name);
        let to = format!("selftests/{name}");
        archive = archive.parents(&to).copy(&file, &to)?;
        if read_bytes(&file)?.starts_with(b"\x7fELF") {
            libraries.extend(guest::with_libraries(&file)?.into_iter().filter(|lib| *lib != file));
        }
    }
    Ok(archive.at_their_places("", libraries)?.finish())
}
