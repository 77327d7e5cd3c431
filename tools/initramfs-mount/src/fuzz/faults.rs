// SPDX-License-Identifier: GPL-2.0

//! Boots user-mode Linux with one allocation failing, in turn each of those from the start of unpacking
//! to the first process.

use super::{boot, for_each, Boot};
use crate::{
    archive::{busybox_program, Archive},
    base::Base,
    cmd::{read, write},
    kunit, paths, tree,
};
use anyhow::{bail, ensure, Context, Result};
use std::{collections::BTreeMap, ops::Range, path::Path, sync::Mutex};

/// What fails allocations: the kernel's parameter, and where its defaults are.
const KINDS: [(&str, &str); 2] =
    [("failslab", "mm/failslab.c"), ("fail_page_alloc", "mm/fail_page_alloc.c")];

/// Between these lines of a console are the allocations that are to fail.
const START: &str = "calling  populate_rootfs+";
const END: &str = "Run /init as init process";
const FAILURE: &str = "FAULT_INJECTION: forcing a failure";

/// What an archive is booted with. What the kernel calls is timed by a clock of user-mode Linux, so that
/// nothing happens at another time in another boot.
const WORDS: &[&str] = &["initcall_debug", "loglevel=8", "initramfs_async=0", "time-travel"];

/// Boots a whole archive and a broken one, with each allocation failing in turn.
///
/// # Errors
///
/// If the kernel complains, the root is half an archive, or something of a broken one is run.
pub fn sweep(base: &Base) -> Result<()> {
    tree::prepare(base)?;
    let there = base.beside("faults", base.git(&["rev-parse", "HEAD"])?.trim())?;
    for (_, file) in KINDS {
        // By default only those fail that can't wait, and only debugfs changes that.
        let file = there.sources.join(file);
        let text = read(&file)?
            .replace(".ignore_gfp_reclaim = true", ".ignore_gfp_reclaim = false")
            .replace(".min_order = 1", ".min_order = 0");
        ensure!(text.contains(".ignore_gfp_reclaim = false"), "{} is another", file.display());
        write(&file, text)?;
    }
    let kernel = kunit::build_user_mode_with(&there, Some(paths::tool("configs/faults.config")))?;
    let archive = archive()?;
    let whole = archive.finish();
    let broken = whole[..archive.open().len() - 1].to_vec();
    let sane = boot(&kernel, &whole, WORDS)?;
    let files =
        files(&sane).with_context(|| format!("the archive does not run:\n{}", sane.said))?;
    for (kind, _) in KINDS {
        for (name, image, files) in [("whole", &whole, Some(files)), ("broken", &broken, None)] {
            let range = range(&kernel, image, kind)?;
            let tally = Mutex::new(BTreeMap::new());
            let what = format!(
                "booting a {name} archive, {kind}: {} to {}, each failing in turn",
                range.start, range.end
            );
            for_each(&what, range, |n| {
                let boot = fail(&kernel, image, kind, n)?;
                let end = end(&boot, files)
                    .with_context(|| format!("{name}, {kind}={n},100,0,1:\n{}", boot.said))?;
                if let Ok(mut tally) = tally.lock() {
                    *tally.entry(end.clone()).or_insert(0) += 1;
                }
                Ok(end)
            })?;
            for (end, count) in tally.into_inner().unwrap_or_default() {
                println!("  {count:>6}  {end}");
            }
        }
    }
    Ok(())
}

/// One of each kind of file, with an init that tells what there is, and a last one to be cut off.
fn archive() -> Result<Archive> {
    let init = "#!/busybox sh\n/busybox echo \"files: $(/busybox find / -xdev -type f -exec \
                /busybox cksum {} + | /busybox sort | /busybox cksum) $(/busybox find / -xdev | \
                /busybox sort | /busybox cksum)\"\n/busybox poweroff -f\n";
    let archive = Archive::new()
        .dir("dev")
        .char_device("dev/console", 5, 1)
        .copy(&busybox_program()?, "busybox")?
        .file("init", 0o755, init.as_bytes())
        .dir("d")
        .symlink("d/link", "../init")
        .hard_links(&["d/a", "d/b"], 0o644, b"shared");
    Ok(archive.file("last", 0o644, &[b'x'; 5000]))
}

fn fail(kernel: &Path, image: &[u8], kind: &str, n: u32) -> Result<Boot> {
    boot(kernel, image, &[WORDS, &[&format!("{kind}={n},100,0,1")]].concat())
}

/// The line with what the init has told.
fn files(boot: &Boot) -> Option<&str> {
    boot.said.lines().find(|line| line.starts_with("files: "))
}

/// Finds the first allocation after [`START`] and the first after [`END`].
fn range(kernel: &Path, image: &[u8], kind: &str) -> Result<Range<u32>> {
    let first = |is_after: &dyn Fn(&str) -> bool| -> Result<u32> {
        let (mut low, mut high) = (1, 1 << 20);
        while low < high {
            let n = low + (high - low) / 2;
            let boot = fail(kernel, image, kind, n)?;
            // One that has not come to fail comes later.
            let before = boot.said.split(FAILURE).next().unwrap_or_default();
            if is_after(before) {
                high = n;
            } else {
                low = n + 1;
            }
        }
        Ok(low)
    };
    let start = first(&|before| before.contains(START))?;
    let end = first(&|before| before.contains(END) || before.contains("Kernel panic"))?;
    ensure!(start < end, "no allocation of {kind} is between {START:?} and {END:?}");
    Ok(start..end)
}

/// What a boot came to. `files` is what a whole archive has.
fn end(boot: &Boot, whole: Option<&str>) -> Result<String> {
    if let Some(complaint) = crate::machine::complaint(&boot.said) {
        bail!("the console has {complaint:?}");
    }
    ensure!(boot.ended, "it hangs");
    let told = files(boot);
    ensure!(told.is_none() || told == whole, "half an archive is the root");
    if told.is_some() {
        let root = if boot.is_root() { "the root mount" } else { "rootfs, as without the option" };
        return Ok(format!("the archive is the root, in {root}"));
    }
    let panic = boot.said.lines().find(|line| line.contains("Kernel panic"));
    let panic = panic.context("neither a root nor a panic")?;
    Ok(panic.split(" - not syncing: ").last().unwrap_or(panic).to_owned())
}
