// SPDX-License-Identifier: GPL-2.0

//! Kernel sources from Debian's packages, and on top of them, as commits, what is in this repo.

use crate::{
    apt,
    base::{git, kernel_version, Base, PRISTINE},
    cmd::{output, watch, Progress},
    files::{make_dir, write},
    once::MadeOnce,
    paths,
    series::{self, Identity, Patch},
};
use anyhow::{ensure, Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

/// What the sources and the kernel that is booted take, in MiB.
const SPACE_MIB: u64 = 4000;

/// Makes the patched tree of a base, or brings it up to date, the first time that it is asked for. Files that
/// are as they should be keep their times, so that make builds only what has changed.
///
/// # Errors
///
/// If there are no sources to be had, changes in them that would be lost, or a patch that does not
/// apply.
pub fn prepare(base: &Base) -> Result<()> {
    static PREPARED: LazyLock<MadeOnce<PathBuf, ()>> = LazyLock::new(MadeOnce::new);
    PREPARED.get(base.sources.clone(), || bring_up_to_date(base))
}

fn bring_up_to_date(base: &Base) -> Result<()> {
    base.lock()?;
    if base.own {
        println!("Sources: {} ({}), as they are", base.sources.display(), base.name);
        return Ok(());
    }
    fetch(base)?;
    let dirty = base.uncommitted()?;
    let stopped = base.sources.with_file_name("changing-files");
    ensure!(
        dirty.is_empty() || stopped.is_file(),
        "{} has changes that would be lost: commit them there, and run `make refresh BASE={}`, or undo \
         them:\n{}",
        base.sources.display(),
        base.name,
        dirty.trim_end()
    );
    let who = Identity::of(&paths::top()).unwrap_or_else(Identity::nobody);
    let commit = series::made(base, &Patch::series(base)?, &who)?;
    let head = base.git(&["rev-parse", "HEAD"])?;
    if head.trim() != commit || stopped.is_file() {
        let known =
            [PRISTINE, "series"].map(|name| base.git(&["rev-parse", "-q", "--verify", name]));
        ensure!(
            known[1].is_err() || known.iter().flatten().any(|known| *known == head),
            "{} has commits of its own that would be lost: run `make refresh BASE={}`, or `git reset --hard \
             series` there",
            base.sources.display(),
            base.name
        );
        write(&stopped, "")?;
        base.git(&["reset", "-q", "--hard", &commit])?;
        base.git(&["branch", "-q", "-f", "series", &commit])?;
        fs::remove_file(&stopped)?;
        let range = format!("{PRISTINE}..HEAD");
        let patches = base.git(&["log", "--format=  %s", &range, "--reverse"])?;
        let version = kernel_version(&base.sources)?;
        println!("Patches on {version}:\n{}", patches.trim_end());
    }
    Ok(())
}

/// Gets the sources of a base as a git repository, unless they are there.
///
/// # Errors
///
/// If they can't be had, or there is no room for them.
pub fn fetch(base: &Base) -> Result<()> {
    base.lock()?;
    let sources = &base.sources;
    let is_there = sources.join(".git").is_dir();
    if base.own || is_there && base.git(&["rev-parse", "-q", "--verify", PRISTINE]).is_ok() {
        return Ok(());
    }
    unpack(base)
}

fn unpack(base: &Base) -> Result<()> {
    let sources = &base.sources;
    let dir = sources.parent().unwrap_or(sources);
    let free = fs4::available_space(dir)
        .with_context(|| format!("can't tell how much room is in {}", dir.display()))?
        >> 20;
    ensure!(
        free >= SPACE_MIB,
        "{} has room for {free} MiB, and the sources and a kernel take {SPACE_MIB}: make \
         room, or clone this repo to where there is some",
        paths::top().display()
    );
    let log = base.log("fetch.log");
    let tarball = tarball(base, &log)?;
    if sources.exists() {
        let progress = Progress::new("removing half-made sources");
        fs::remove_dir_all(sources)
            .with_context(|| format!("can't remove the half-made {}", sources.display()))?;
        progress.done(true);
    }
    make_dir(sources)?;
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(sources);
    tar.args(["--strip-components=1", "--no-same-owner", "-xf"]).arg(&tarball);
    watch(&format!("unpacking {}", base.package()), &log, &mut tar)?;
    let progress = Progress::new("making a git repository of the sources");
    let done = import(base);
    progress.done(done.is_ok());
    done
}

fn import(base: &Base) -> Result<()> {
    base.git(&["init", "-q", "-b", "master"])?;
    // A rebase is not to take the branch `series` with it, which tells what somebody has changed.
    base.git(&["config", "rebase.updateRefs", "false"])?;
    // Debian's .gitignore leaves out everything; the rest of it keeps what is built out of sight.
    base.git(&["-c", "core.looseCompression=1", "add", "-A", "-f"])?;
    let message = format!("Linux {}, as Debian has it", kernel_version(&base.sources)?);
    let tree = base.git(&["write-tree"])?;
    // Not `git commit`, which signs and runs hooks as its user likes.
    let commit = output(
        git(&base.sources)
            .args(["-c", "user.name=Debian"])
            .args(["-c", "user.email=debian-kernel@lists.debian.org"])
            .env("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z")
            .env("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")
            .args(["commit-tree", "-m", &message, tree.trim()]),
    )?;
    base.git(&["update-ref", "HEAD", commit.trim()])?;
    base.git(&["branch", PRISTINE]).map(drop)
}

/// Returns the tarball in Debian's package of a base, which is downloaded if need be.
fn tarball(base: &Base, log: &Path) -> Result<PathBuf> {
    let package = base.package();
    let installed = PathBuf::from(format!("/usr/src/{package}.tar.xz"));
    if installed.is_file() {
        return Ok(installed);
    }
    let tarball = apt::unpacked_alone(&package, log)?.join(format!("usr/src/{package}.tar.xz"));
    ensure!(
        tarball.is_file(),
        "the package {package} has no {}: if Debian calls it otherwise now, change that name in tree.rs",
        tarball.display()
    );
    Ok(tarball)
}
