// SPDX-License-Identifier: GPL-2.0

//! Boots user-mode Linux, which takes a moment, with thousands of archives, and compares what the
//! kernel makes of them with what they are.

pub mod faults;
mod generate;
pub mod oracle;
mod systematic;
mod um;

use crate::{
    apt,
    archive::{noise, Archive},
    base::Base,
    cmd::{output, program},
    files::{files, make_dir, read_bytes, section_size, write},
    kunit,
    machine::{complaint, Boot},
    once::{cached, lock},
    paths,
};
use anyhow::{bail, ensure, Context, Result};
use generate::Plan;
use oracle::{judge, Verdict};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};
use tempfile::TempDir;
use um::{boot, difference, for_each, UNTRACKED};

#[derive(clap::Args)]
pub struct Options {
    /// How many archives to make
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
    /// What they come from: the same ones for the same number. Another one each time unless given
    #[arg(long)]
    pub seed: Option<u32>,
    /// A folder with archives of others, which some of them begin with: those of libarchive's tests unless given
    #[arg(long, num_args = 0..=1)]
    pub corpus: Option<Option<PathBuf>>,
    /// Boots this image alone
    #[arg(long)]
    pub case: Option<PathBuf>,
    /// Boots a whole archive, broken ones and one that is in the kernel, with each allocation failing in turn
    #[arg(long)]
    pub faults: bool,
}

/// Boots what the options say.
///
/// # Errors
///
/// If the kernel takes an archive for what it is not, complains, or hangs.
pub fn run(base: &Base, options: &Options) -> Result<()> {
    if options.faults {
        return faults::sweep(base);
    }
    if let Some(case) = &options.case {
        let image = read_bytes(case)?;
        let kernel = kunit::build_user_mode(base)?;
        let (boot, verdict, wrong) = examine(&kernel, &HostRoot::new(&kernel)?, &image)?;
        println!("{}", boot.console.trim_end());
        println!("{}: {verdict:?}", case.display());
        return match wrong {
            None => Ok(()),
            Some(wrong) => bail!("{}: {wrong}", case.display()),
        };
    }
    let seed = options.seed.unwrap_or_else(|| fastrand::u32(..));
    println!("SEED={seed}");
    let corpus = options.corpus.clone().map(|dir| dir.map_or_else(libarchive, Ok)).transpose()?;
    generated(base, options.count, seed, corpus.as_deref())
}

/// Boots compressed archives: whole, with something after them, and cut off at many places.
pub fn systematic(base: &Base) -> Result<()> {
    let kernel = kunit::build_user_mode(base)?;
    let cases = systematic::cases()?;
    for_each(&format!("booting {} compressed archives", cases.len()), cases, |case| {
        let verdict = judge(&case.image);
        let is_whole = matches!(verdict, Verdict::Whole { .. });
        let what = &case.what;
        ensure!(is_whole == case.whole, "the oracle takes an archive ({what}) for {verdict:?}");
        let boot = boot(&kernel, &case.image, UNTRACKED)?;
        match difference(&boot, &verdict) {
            None => Ok(case.what),
            Some(wrong) => {
                let file = base.dir.join(format!("fuzz/{}.cpio", what.replace([' ', ','], "-")));
                write(&file, &case.image)?;
                bail!("{}: {wrong}\n{}", file.display(), boot.console)
            }
        }
    })
}

/// What is in the files of a folder.
fn corpus(dir: &Path) -> Result<Vec<Vec<u8>>> {
    let files = files(dir)?;
    ensure!(!files.is_empty(), "{} has no files: put archives there", dir.display());
    files.iter().map(|file| read_bytes(file)).collect()
}

/// Returns a folder in the cache with the archives of libarchive's tests, out of Debian's source package.
pub fn libarchive() -> Result<PathBuf> {
    let done = paths::cache().join("libarchive");
    cached(&done, |archives| {
        let source = archives.with_file_name("source");
        make_dir(&source)?;
        make_dir(archives)?;
        let (what, log) = (["source", "--download-only"], paths::cache().join("libarchive.log"));
        apt::apt_get("deb-src", &what, "libarchive", &source, &log)?;
        let all = files(&source)?;
        let sources = all.iter().find(|file| file.to_string_lossy().contains(".orig.tar."));
        let sources = sources.context("Debian's source package libarchive has no sources in it")?;
        let mut tar = Command::new("tar");
        tar.current_dir(&source).args(["--wildcards", "--transform=s,.*/,,", "-xf"]).arg(sources);
        output(tar.args(["*/cpio/test/*.uu", "*/libarchive/test/*_cpio*.uu"]))?;
        for file in files(&source)?.iter().filter(|file| file.extension() == Some("uu".as_ref())) {
            let to = archives.join(file.file_stem().unwrap_or_default());
            let mut busybox = Command::new(program("busybox", "busybox-static")?);
            output(busybox.arg("uudecode").arg("-o").arg(to).arg(file))?;
        }
        Ok(())
    })?;
    Ok(done)
}

/// With so many findings, more of them tell nothing new.
const ENOUGH: usize = 10;

/// Boots so many archives that come from a seed. Findings are left in `build/<base>/fuzz/`, as small as
/// they can be made; with [`ENOUGH`] of them it stops. Some begin with a file of the folder `others`.
pub fn generated(base: &Base, count: u32, seed: u32, others: Option<&Path>) -> Result<()> {
    let corpus = others.map_or_else(|| Ok(Vec::new()), corpus)?;
    let kernel = &kunit::build_user_mode(base)?;
    let root = &HostRoot::new(kernel)?;
    let tally = Mutex::new(BTreeMap::new());
    let findings = Mutex::new(Vec::new());
    let what = format!("booting {count} generated archives");
    let found = || lock(&findings).len();
    let done = for_each(&what, 0..count, |i| {
        if found() >= ENOUGH {
            return Ok("left out".to_owned());
        }
        // Neighbouring numbers are to have nothing in common.
        let own = (u64::from(seed) << 32 | u64::from(i)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let plan = Plan::new(own, &corpus);
        let (image, _) = plan.image()?;
        let (boot, verdict, wrong) = examine(kernel, root, &image)?;
        let kind = format!("{verdict:?}");
        *lock(&tally).entry((kind.clone(), boot.is_root())).or_insert(0) += 1;
        if let Some(wrong) = wrong {
            let image = shrink(kernel, root, plan, &wrong)?;
            let file = base.dir.join(format!("fuzz/{seed}-{i}.cpio"));
            write(&file, &image)?;
            let line = format!("{}: {:?}, {wrong}", file.display(), judge(&image));
            eprintln!("    {line}");
            lock(&findings).push(line);
        }
        Ok(format!("{} findings, {kind}", found()))
    });
    let tally = tally.into_inner().unwrap_or_default();
    let booted: u32 = tally.values().sum();
    for ((kind, is_root), count) in tally {
        let is_root = if is_root { "the root" } else { "dropped" };
        println!("  {count:>6} {is_root:8}  {kind}");
    }
    done?;
    let findings = findings.into_inner().unwrap_or_default();
    ensure!(
        findings.is_empty(),
        "{} of {booted} archives (SEED={seed}) come to what they should not; \
         `make fuzz BASE={} CASE=file` repeats one:\n{}",
        findings.len(),
        base.name,
        findings.join("\n")
    );
    Ok(())
}

/// A smaller image that shows the same.
fn shrink(kernel: &Path, root: &HostRoot, mut plan: Plan, wrong: &str) -> Result<Vec<u8>> {
    let (mut image, pieces) = plan.image()?;
    // What can go may depend on what has gone.
    loop {
        let before = plan.clone();
        for piece in 1..=pieces {
            let smaller = plan.without(piece);
            let (new, _) = smaller.image()?;
            if new != image && examine(kernel, root, &new)?.2.as_deref() == Some(wrong) {
                (plan, image) = (smaller, new);
            }
        }
        if plan == before {
            return Ok(image);
        }
    }
}

/// A root of the host's, for when an archive is not run. Its init is no program: user-mode Linux 6.12 runs none
/// where the CPU has AMX. Before it is mounted, kmemleak looks.
struct HostRoot {
    dir: TempDir,
    /// What is unpacked first: more than [`Self::SLACK`].
    ballast: Vec<u8>,
    /// How many KiB are free when there was next to nothing to unpack.
    free: u64,
}

impl HostRoot {
    /// How many KiB may be missing: KASAN keeps a while what has been freed, as what bunzip2 works in.
    const SLACK: u64 = 1400;
    const UNTOLD: &str = "the kernel does not say that the disk is the root and how much is free";
    const WORDS: &[&str] = &[
        "root=/dev/root",
        "rootfstype=hostfs",
        // kmemleak looks after a minute (SECS_FIRST_SCAN) and after ten more (SECS_SCAN_WAIT); only then it tells. With
        // a clock of its own the kernel need not sleep.
        "rootdelay=700",
        "time-travel",
        "kmemleak.verbose=1",
    ];
    /// As much as there is (mem=) is to be kept free. So the init gets none, and the kernel says how much is free.
    const TELL_FREE: &str = "sysctl.vm.min_free_kbytes=65536";

    fn new(kernel: &Path) -> Result<Self> {
        let dir = tempfile::tempdir().context("can't make a folder for a root")?;
        Archive::new().dir("sbin").file("sbin/init", 0o755, b"no program").unpack(dir.path())?;
        let ballast = Archive::new().file("ballast", 0o644, &noise(2 << 20)).finish();
        let mut new = Self { dir, ballast, free: 0 };
        let boot = new.boot(kernel, &Archive::new().dir("dev").finish(), &[Self::TELL_FREE])?;
        ensure!(
            section_size(kernel, ".lbss")? <= 1 << 10,
            "{} has data where kmemleak does not look",
            kernel.display()
        );
        boot.check().context("with next to nothing to unpack")?;
        new.free = free(&boot).with_context(|| format!("{}:\n{}", Self::UNTOLD, boot.console))?;
        let kept = new.boot(kernel, &new.ballast, &[Self::TELL_FREE, "initramfs_mount=0"])?;
        ensure!(
            free(&kept).is_some_and(|free| new.is_short(free)),
            "an archive that stays in rootfs is not seen:\n{}",
            kept.console
        );
        Ok(new)
    }

    fn boot(&self, kernel: &Path, image: &[u8], words: &[&str]) -> Result<Boot> {
        let dir = format!("rootflags={}", self.dir.path().display());
        boot(kernel, image, &[Self::WORDS, &[&dir], words].concat())
    }

    fn is_short(&self, free: u64) -> bool {
        free + Self::SLACK < self.free
    }

    /// Boots a broken archive behind a whole one, and returns what is left of them.
    fn leftover(&self, kernel: &Path, image: &[u8]) -> Result<Option<(Boot, String)>> {
        let image = [&self.ballast, image].concat();
        if !matches!(judge(&image), Verdict::Broken(_)) {
            return Ok(None);
        }
        let boot = self.boot(kernel, &image, &[Self::TELL_FREE])?;
        let wrong = match (complaint(&boot.console), free(&boot)) {
            (Some(complaint), _) => format!("the console has {complaint:?}, with a disk"),
            (None, None) => Self::UNTOLD.to_owned(),
            (None, Some(free)) if self.is_short(free) => "memory is not given back".to_owned(),
            _ => return Ok(None),
        };
        Ok(Some((boot, wrong)))
    }
}

/// How many KiB are free, on the lists of the CPU, too, once kmemleak has looked and the disk is the root.
fn free(boot: &Boot) -> Option<u64> {
    let (_, said) = after_a_look(boot)?.split_once("Mounted root (hostfs filesystem)")?;
    let (_, said) = said.split_once(" free:")?;
    let (free, said) = said.split_once(" free_pcp:")?;
    let (cached, _) = said.split_once(' ')?;
    Some(4 * (free.parse::<u64>().ok()? + cached.parse::<u64>().ok()?))
}

/// What is said of the disk once kmemleak has looked.
fn after_a_look(boot: &Boot) -> Option<&str> {
    // The thread may be as late as to say so while the kernel waits.
    let looks = boot.console.contains("kmemleak: Automatic memory scanning thread started");
    if !boot.ended || !looks || boot.console.contains("Kernel memory leak detector disabled") {
        return None;
    }
    let (_, said) = boot.console.split_once("Waiting 700 sec before mounting root device")?;
    Some(said.split_once("VFS: ")?.1)
}

/// Boots an image, and returns what it is, and in what its boots differ from that, the last of which is returned.
fn examine(
    kernel: &Path,
    root: &HostRoot,
    image: &[u8],
) -> Result<(Boot, Verdict, Option<String>)> {
    let (boot, verdict) = (boot(kernel, image, UNTRACKED)?, judge(image));
    if let Some(wrong) = difference(&boot, &verdict) {
        return Ok((boot, verdict, Some(wrong)));
    }
    Ok(match root.leftover(kernel, image)? {
        Some((boot, wrong)) => (boot, verdict, Some(wrong)),
        None => (boot, verdict, None),
    })
}
