// SPDX-License-Identifier: GPL-2.0

//! Boots user-mode Linux with one allocation failing, in turn each of those that the initramfs takes, of
//! the slab allocator and of pages: from before it is unpacked until it is the root, or is not.

use super::{
    after_a_look,
    um::{boot, for_each, UNTRACKED},
    HostRoot,
};
use crate::{
    archive::{compress, Archive},
    base::Base,
    files::{read, write},
    guest, kunit,
    machine::Boot,
    once::{hash, lock},
    paths, tree,
};
use anyhow::{bail, ensure, Context, Result};
use cpio::newc::Builder;
use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
    slice,
    sync::Mutex,
};

/// What is changed of how allocations fail, which no parameter does.
const CHANGES: [(&str, &str, &str); 7] = [
    // Otherwise only what can't wait fails, no page of a file, and no single page.
    ("mm/failslab.c", ".ignore_gfp_reclaim = true", ".ignore_gfp_reclaim = false"),
    ("mm/fail_page_alloc.c", ".ignore_gfp_reclaim = true", ".ignore_gfp_reclaim = false"),
    ("mm/fail_page_alloc.c", ".ignore_gfp_highmem = true", ".ignore_gfp_highmem = false"),
    ("mm/fail_page_alloc.c", ".min_order = 1", ".min_order = 0"),
    // [`range`] looks for the message.
    ("mm/failslab.c", "flags |= FAULT_NOWARN", "flags |= 0"),
    ("mm/fail_page_alloc.c", "flags |= FAULT_NOWARN", "flags |= 0"),
    // User-mode Linux dies of the dump of a stack there.
    ("include/linux/fault-inject.h", ".verbose = 2", ".verbose = 1"),
];

/// The parameters of what fails: objects of the slab allocator, and pages.
const FAULTS: [&str; 2] = ["failslab", "fail_page_alloc"];

/// Between these lines of a console are the allocations that are to fail.
const START: &str = "calling  populate_rootfs+";
const END: &str = "initcall populate_rootfs+";
/// What is said where there is no root mount, so that a broken archive is run as it always was.
const NO_ROOT_MOUNT: [&str; 2] = [", unpacking into rootfs", "initramfs_mount: built-in archive: "];
/// How the unpacker panics, as ever, where it has no memory for itself.
const UNPACKER: &str = "can't allocate ";
const FAILURE: &str = "FAULT_INJECTION: forcing a failure";

/// What an archive is booted with. What the kernel calls is timed by a clock of user-mode Linux, so that
/// nothing happens at another time in another boot.
const COMMAND_LINE: &[&str] = &["initcall_debug", "loglevel=8", "initramfs_async=0", "time-travel"];

/// What the init says once kmemleak has looked.
const LOOKED: &str = "kmemleak has looked";

/// Boots a whole archive, broken ones and one that is in the kernel, with each allocation failing in turn.
///
/// # Errors
///
/// If the kernel complains or loses memory, a panic does not say what it is about, or the root is half an archive,
/// but where the kernel has said that there is no root mount; or if kmemleak does not see what is lost on purpose.
pub fn sweep(base: &Base) -> Result<()> {
    tree::prepare(base)?;
    let there = base.checkout("faults", base.git(&["rev-parse", "HEAD"])?.trim())?;
    for (file, default, other) in CHANGES {
        change(&there, file, default, other)?;
    }
    // Without room for the registers of a CPU with AMX, 6.12 runs no program there. 7.3 asks the host for their size.
    let file = there.sources.join("arch/x86/um/user-offsets.c");
    write(&file, read(&file)?.replace("(HOST_FP_SIZE, 2696)", "(HOST_FP_SIZE, 11008)"))?;
    let config = paths::tool("configs/faults.config");
    let archive = archive()?;
    let whole = archive.finish();
    let broken = &whole[..archive.open().len() - 1];
    let packed = compress("gzip", &whole)?;
    let broken_packed = &packed[..packed.len() - 100];

    let kernel = kunit::build_user_mode_with(&there, slice::from_ref(&config))?;
    let root = HostRoot::new(&kernel)?;
    sweep_one("a whole archive", &kernel, &root, &whole, true)?;
    sweep_one("a broken archive", &kernel, &root, broken, false)?;
    sweep_one("a broken archive, compressed", &kernel, &root, broken_packed, false)?;

    sees_what_is_lost(&there, &config, &root, archive)?;

    // Named for what is in it, as that of [`crate::kernel::TEST`] is.
    let file = there.dir.join(format!("faults-{:016x}.cpio", hash(&whole)));
    let built_in = there.dir.join("built-in.config");
    write(&file, &whole)?;
    write(&built_in, format!("CONFIG_INITRAMFS_SOURCE=\"{}\"\n", file.display()))?;
    let kernel = kunit::build_user_mode_with(&there, &[config, built_in])?;
    // [`boot`] passes an image in any case. Zeros are one without entries.
    let nothing = [0; 512];
    sweep_one("the archive in the kernel", &kernel, &root, &nothing, true)
}

/// Canaries: with a kernel that loses what the unpacker keeps of each folder, kmemleak sees it, be the archive run
/// or dropped. Of a few objects, it may find pointers that are left on a stack, so there are many.
fn sees_what_is_lost(
    there: &Base,
    config: &PathBuf,
    root: &HostRoot,
    archive: Archive,
) -> Result<()> {
    let archive = (0..100).fold(archive, |archive, i| archive.dir(&format!("folder{i}")));
    let archive = archive.file("to be cut", 0o644, b"off");
    let (whole, end) = (archive.finish(), archive.open().len());
    let (kept, lost) = ("kfree(de);", "(void)de;");
    change(there, "init/initramfs.c", kept, lost)?;
    let kernel = kunit::build_user_mode_with(there, slice::from_ref(config))?;
    for (image, is_whole) in [(&whole[..], true), (&whole[..end - 4], false)] {
        let boot = root.boot(&kernel, image, COMMAND_LINE)?;
        let is_seen = leaks(&boot).is_err_and(|e| e.to_string().contains("unreferenced object"));
        ensure!(
            boot.is_root() == is_whole && is_seen,
            "kmemleak does not see what is lost:\n{}",
            boot.console
        );
    }
    change(there, "init/initramfs.c", lost, kept)
}

/// Changes a file of the sources.
fn change(base: &Base, file: &str, default: &str, other: &str) -> Result<()> {
    let file = base.sources.join(file);
    let text = read(&file)?;
    ensure!(text.contains(default), "{} has no {default}", file.display());
    write(&file, text.replace(default, other))
}

/// Boots one of them, with each of [`FAULTS`] in turn. kmemleak, which has allocations of its own, is off. Then
/// with objects failing once more, and kmemleak on: the archive's init has it look, or it does so by itself
/// before a root of the host's is mounted.
fn sweep_one(
    name: &str,
    kernel: &Path,
    root: &HostRoot,
    image: &[u8],
    is_whole: bool,
) -> Result<()> {
    let plain = |words: &[&str]| boot(kernel, image, &[COMMAND_LINE, UNTRACKED, words].concat());
    let all = plain(&[])?;
    let files = files(&all).map(str::to_owned);
    ensure!(
        files.is_some() == is_whole && all.is_root() == is_whole,
        "{name} comes to something else:\n{}",
        all.console
    );
    for fault in FAULTS {
        sweep_fault(name, fault, &plain, |boot| end(boot, files.as_deref()))?;
    }
    let tracked = |words: &[&str]| root.boot(kernel, image, &[COMMAND_LINE, words].concat());
    sweep_fault(&format!("{name}, kmemleak on"), "failslab", &tracked, leaks)
}

/// Boots with each allocation of a kind failing in turn. `end` says what a boot came to.
fn sweep_fault(
    name: &str,
    fault: &str,
    boot: &(dyn Fn(&[&str]) -> Result<Boot> + Sync),
    end: impl Fn(&Boot) -> Result<String> + Sync,
) -> Result<()> {
    let fail = |n: u32| boot(&[&format!("{fault}={n},100,0,1")]);
    let range = range(&fail)?;
    let tally = Mutex::new(BTreeMap::new());
    let what = format!("booting {name}, {fault} from {} to {}", range.start, range.end - 1);
    for_each(&what, range, |n| {
        let boot = fail(n)?;
        let end = end(&boot)
            .with_context(|| format!("{name}, {fault}={n},100,0,1:\n{}", boot.console))?;
        *lock(&tally).entry(end.clone()).or_insert(0) += 1;
        Ok(end)
    })?;
    for (end, count) in tally.into_inner().unwrap_or_default() {
        println!("  {count:>6}  {end}");
    }
    Ok(())
}

/// Files of several kinds, some of them somebody else's than root's, a link that replaces a file, an init
/// that tells what there is, and a last file to be cut off. With the end of the init, the kernel panics, which
/// ends a boot.
fn archive() -> Result<Archive> {
    let owned = |name, mode| Builder::new(name).mode(mode).uid(1).gid(2);
    let archive = Archive::new()
        .dir("dev")
        .char_device("dev/console", 5, 1)
        .copy(&guest::busybox()?, "busybox")?
        .copy(&paths::tool("guest/faults.sh"), "init")?
        .entry(owned("d", 0o042_750), b"")
        .entry(owned("d/setuid", 0o104_750), b"of somebody else")
        .entry(owned("d/fifo", 0o010_640), b"")
        .file("d/link", 0o644, b"to be replaced")
        .entry(owned("d/link", 0o120_777), b"../init")
        .hard_links(&["d/a", "d/b"], 0o644, b"shared");
    Ok(archive.file("last", 0o644, &[b'x'; 5000]))
}

/// The line with what the init has told.
fn files(boot: &Boot) -> Option<&str> {
    boot.console.lines().find(|line| line.starts_with("files: "))
}

/// Finds the first allocation after [`START`] and the first after [`END`].
fn range(fail: &dyn Fn(u32) -> Result<Boot>) -> Result<Range<u32>> {
    let first = |is_after: &dyn Fn(&str) -> bool| -> Result<u32> {
        let (mut low, mut high) = (1, 1 << 20);
        while low < high {
            let n = low + (high - low) / 2;
            let boot = fail(n)?;
            // One that has not come to fail comes later.
            let before = boot.console.split(FAILURE).next().unwrap_or_default();
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
    ensure!(start < end, "no allocation is between {START:?} and {END:?}");
    Ok(start..end)
}

/// Whether the kernel has said that there is no root mount.
fn has_no_root_mount(boot: &Boot) -> bool {
    NO_ROOT_MOUNT.iter().any(|words| boot.console.contains(words))
}

/// What a boot came to. `whole` is what an archive has that is whole.
fn end(boot: &Boot, whole: Option<&str>) -> Result<String> {
    boot.check()?;
    if let Some(files) = files(boot) {
        return Ok(match (boot.is_root(), whole == Some(files)) {
            (true, true) => "the archive is the root, in the root mount",
            (false, true) if has_no_root_mount(boot) => {
                "the archive is the root, in rootfs, as without the option"
            }
            (false, false) if has_no_root_mount(boot) && whole.is_none() => {
                "what there is of it is in rootfs, as without the option"
            }
            _ => bail!("half an archive is the root"),
        }
        .to_owned());
    }
    let panic = boot.panic().context("neither a root nor a panic")?;
    let panic = panic.split(" - not syncing: ").last().unwrap_or(panic);
    let is_named = panic.contains("initramfs") || panic.starts_with(UNPACKER);
    ensure!(is_named, "the panic does not say what it is about: {panic:?}");
    Ok(panic.to_owned())
}

/// What a boot came to where kmemleak is on.
fn leaks(boot: &Boot) -> Result<String> {
    boot.check()?;
    Ok(if boot.console.contains(LOOKED) {
        "run, and nothing is lost"
    } else if after_a_look(boot).is_some() {
        "dropped, and nothing is lost"
    } else {
        let is_known = boot.panic().is_some_and(|panic| panic.contains(UNPACKER));
        ensure!(is_known, "kmemleak has not looked");
        "the unpacker panics"
    }
    .to_owned())
}
