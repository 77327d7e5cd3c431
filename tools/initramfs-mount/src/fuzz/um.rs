// SPDX-License-Identifier: GPL-2.0

//! Boots of user-mode Linux, as many at a time as there are CPUs.

use super::oracle::Verdict;
use crate::{
    cmd::{go_on_unless_stopping, program, Progress},
    machine::{complaint, Boot},
    once::lock,
    toolchain,
};
use anyhow::{bail, ensure, Context, Result};
use rustix::process::Signal;
use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    sync::Mutex,
};

/// What it is told where kmemleak is not asked, which takes half of a boot.
pub const UNTRACKED: &[&str] = &["kmemleak=off"];

/// Boots it with an image, and these words on its command line.
pub fn boot(kernel: &Path, image: &[u8], words: &[&str]) -> Result<Boot> {
    let dir = tempfile::tempdir().context("can't make a folder for an archive")?;
    let file = dir.path().join("initrd");
    fs::write(&file, image)?;
    go_on_unless_stopping();
    // -R, since 6.12 loses as much memory as the host shuffles addresses by.
    let done = Command::new(program("setarch", "util-linux")?)
        .current_dir(dir.path())
        .args(["-R", "timeout", "--kill-after=5", "60"])
        .arg(kernel)
        // Without root=, user-mode Linux would add one of its own.
        .args(["mem=64M", "kunit.enable=0", "console=tty", "page_poison=1", "root="])
        .arg(format!("initrd={}", file.display()))
        // What it leaves behind when it panics.
        .arg(format!("uml_dir={}/", dir.path().display()))
        .args(words)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("can't run {}", kernel.display()))?;
    go_on_unless_stopping();
    let console = String::from_utf8_lossy(&done.stdout).into_owned();
    ensure!(console.contains("Linux version "), "{} did not start: {console}", kernel.display());
    // timeout kills what does not end when it is told to, and itself.
    let killed = done.status.signal() == Some(Signal::KILL.as_raw());
    let ended = !killed && done.status.code() != Some(124);
    Ok(Boot { console, guest: String::new(), ended })
}

/// Returns in what a boot differs from what an image is.
pub fn difference(boot: &Boot, verdict: &Verdict) -> Option<String> {
    if let Some(complaint) = complaint(&boot.console) {
        return Some(format!("the console has {complaint:?}"));
    }
    let Some(panic) = boot.panic().filter(|_| boot.ended) else {
        return Some("it hangs".to_owned());
    };
    let names_it = panic.contains("initramfs: ");
    let why = boot.console.split_once("Initramfs unpacking failed: ").map(|(_, why)| why);
    let wrong = match (verdict, boot.is_root()) {
        (Verdict::Whole { init: true }, false) => "a whole archive is dropped",
        (Verdict::Whole { .. }, false) if why.is_some_and(|why| !is_of_junk(why)) => {
            "a whole archive is said to be broken"
        }
        (Verdict::Whole { init: false }, true) => "an archive without init is the root",
        (Verdict::Broken(_), true) => "a broken archive is the root",
        (Verdict::Foreign, true) => "what is no archive is the root",
        (_, true) if why.is_some() || names_it => "what is the root is said to be broken",
        (Verdict::Broken(_), false) if !names_it => "the panic does not name the initramfs",
        _ => return None,
    };
    Some(wrong.to_owned())
}

/// Whether this may be about what follows a whole archive. Without RAM disks, the kernel says it in the same words,
/// and whether there is something is not asked here.
fn is_of_junk(why: &str) -> bool {
    let reasons = [
        "no cpio magic",
        "invalid magic at start of compressed archive",
        "junk at the end of compressed archive",
    ];
    reasons.iter().any(|reason| why.starts_with(reason))
}

/// Does something with each of many, as many at a time as there are CPUs, up to the first error. What it
/// returns is shown.
pub fn for_each<T: Send>(
    what: &str,
    all: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator + Send>,
    f: impl Fn(T) -> Result<String> + Sync,
) -> Result<()> {
    let all = all.into_iter();
    let count = all.len();
    let progress = Progress::new(what);
    let all = Mutex::new(all.enumerate());
    let work = || -> Result<()> {
        loop {
            let next = lock(&all).next();
            let Some((i, item)) = next else { return Ok(()) };
            // The other threads are to end, too.
            let done = f(item).inspect_err(|_| lock(&all).by_ref().for_each(drop))?;
            progress.line(&format!("{} of {count}: {done}", i + 1));
        }
    };
    let done = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..toolchain::jobs()).map(|_| scope.spawn(work)).collect();
        let mut threads = threads.into_iter();
        threads.try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a thread died")))
    });
    progress.done(done.is_ok());
    done
}
