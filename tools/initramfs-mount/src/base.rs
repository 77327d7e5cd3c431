// SPDX-License-Identifier: GPL-2.0

//! The kernels that the series applies to: each folder of `patches/` with a `series` in it is one.

use crate::{
    arch,
    cmd::output,
    files::{make_dir, read},
    once::lock,
    paths,
};
use anyhow::{ensure, Context, Result};
use fs4::FileExt;
use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

/// The locks that this process has.
static HELD: Mutex<Vec<(PathBuf, File)>> = Mutex::new(Vec::new());

/// The variable that says that whoever has started this program has the lock.
pub const LOCKED: &str = "INITRAMFS_MOUNT_LOCKED";

/// The branch with the sources as they came.
pub const PRISTINE: &str = "pristine";

/// A kernel to build: where its sources and its results are.
#[derive(Clone, Debug)]
pub struct Base {
    /// The release, for instance 6.12; of a user's own tree, the whole version.
    pub name: String,
    pub sources: PathBuf,
    pub dir: PathBuf,
    /// Whether the sources are a user's own, as they are.
    pub own: bool,
}

impl Base {
    /// All that there are patches for, the oldest first.
    pub fn all() -> Result<Vec<Self>> {
        let patches = paths::top().join("patches");
        let dirs = fs::read_dir(&patches)
            .with_context(|| format!("can't read {}", patches.display()))?
            .flatten()
            .filter(|dir| dir.path().join("series").is_file());
        let mut all: Vec<_> = dirs
            .map(|dir| {
                let name = dir.file_name().to_string_lossy().into_owned();
                let build = paths::top().join("build");
                let sources = build.join(&name).join("linux");
                let dir = build.join(arch::current().dir_name(&name));
                Self { name, sources, dir, own: false }
            })
            .collect();
        all.sort_by_key(|base| base.numbers());
        Ok(all)
    }

    /// The base of that name, or the tree that `KDIR=` names.
    ///
    /// # Errors
    ///
    /// If there is no such base, or the tree is none that can be built here.
    pub fn find(name: &str) -> Result<Self> {
        can_build_in(&paths::top())?;
        if let Some(kdir) = paths::given("KDIR") {
            return Self::of_tree(&kdir);
        }
        let all = Self::all()?;
        let known: Vec<_> = all.iter().map(|base| base.name.clone()).collect();
        all.into_iter().find(|base| base.name == name).with_context(|| {
            format!("there is no base {name}: BASE is one of {}", known.join(", "))
        })
    }

    fn of_tree(kdir: &Path) -> Result<Self> {
        let sources = canonical(kdir)?;
        can_build_in(&sources)?;
        let name = kernel_version(&sources)?;
        let kdir = kdir.display();
        ensure!(
            sources.join("init/initramfs_mount.rs").is_file(),
            "KDIR={kdir} is {name} without CONFIG_INITRAMFS_MOUNT: run `make patch KDIR={kdir}` first"
        );
        ensure!(
            !sources.join(".config").exists(),
            "KDIR={kdir} has been configured in place, so that nothing can be built elsewhere: move its \
             .config away, and run `make mrproper` in it"
        );
        Ok(Self {
            dir: paths::top().join("build").join(arch::current().dir_name(&format!("kdir-{name}"))),
            name,
            sources,
            own: true,
        })
    }

    /// The numbers in its name.
    pub fn numbers(&self) -> Vec<u32> {
        let numbers = self.name.split(['.', '-']);
        numbers.map_while(|number| number.parse().ok()).collect()
    }

    /// The release that the sources are of, or come from, for instance 6.12 for 6.12.117.
    pub fn release(&self) -> String {
        let numbers: Vec<_> = self.numbers().iter().take(2).map(u32::to_string).collect();
        numbers.join(".")
    }

    /// Whether pivot_root works in an initramfs without the option.
    pub fn has_nullfs(&self) -> bool {
        self.numbers() >= vec![7]
    }

    /// The Debian package with its sources.
    pub fn package(&self) -> String {
        format!("linux-source-{}", self.name)
    }

    /// The folder with what changes in files that it has.
    pub fn patches(&self) -> PathBuf {
        paths::top().join("patches").join(&self.name)
    }

    /// The folder for what else is left of it.
    pub fn beside_with(&self, suffix: &str) -> PathBuf {
        let name = self.dir.file_name().unwrap_or_default().to_string_lossy();
        self.dir.with_file_name(format!("{name}{suffix}"))
    }

    /// Another checkout of the same repository, at `commit` to begin with, in a folder of its own.
    /// It lies there as this one does here, so that a compiler cache can't tell the two apart.
    ///
    /// # Errors
    ///
    /// If git can't make it, or the sources are a user's own, where nothing is to be made.
    pub fn checkout(&self, name: &str, commit: &str) -> Result<Self> {
        ensure!(!self.own, "this takes checkouts of its own, which are not made in KDIR=");
        let dir = self.dir.join(name);
        let sources = dir.join("linux");
        if !sources.join(".git").is_file() {
            let path = sources.to_string_lossy();
            self.git(&["worktree", "prune"])?;
            self.git(&["worktree", "add", "-q", "--detach", "--no-checkout", "-f", &path, commit])?;
        }
        // Also what an earlier run has left half-way.
        output(git(&sources).args(["checkout", "-q", "-f", "--detach", commit]))?;
        Ok(Self { sources, dir, ..self.clone() })
    }

    /// Runs git on the sources.
    pub fn git(&self, args: &[&str]) -> Result<String> {
        output(git(&self.sources).args(args))
    }

    /// The files of the sources that differ from the last commit, as git lists them.
    pub fn uncommitted(&self) -> Result<String> {
        self.git(&["status", "--porcelain", "--untracked-files=no"])
    }

    /// All files that the series makes or changes.
    pub fn files(&self) -> Result<BTreeSet<String>> {
        let changed = self.git(&["diff", "--name-only", PRISTINE, "HEAD"])?;
        Ok(changed.lines().map(str::to_owned).collect())
    }

    /// Where a log of this base is, by its name.
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(name)
    }

    /// Waits until no other `make` works on this base, and keeps others off until this one ends.
    pub fn lock(&self) -> Result<()> {
        let mut held = lock(&HELD);
        let path = self.lock_file();
        if env::var_os(LOCKED).is_some() || held.iter().any(|(locked, _)| *locked == path) {
            return Ok(());
        }
        make_dir(path.parent().unwrap_or(&path))?;
        let file =
            File::create(&path).with_context(|| format!("can't write {}", path.display()))?;
        if FileExt::try_lock(&file).is_err() {
            eprintln!("Waiting for another make, which has {}.", path.display());
            FileExt::lock(&file)?;
        }
        held.push((path, file));
        Ok(())
    }

    /// All architectures have the sources in common.
    fn lock_file(&self) -> PathBuf {
        if self.own {
            self.dir.join("lock")
        } else {
            self.sources.with_file_name("lock")
        }
    }

    /// Lets others work on it.
    pub fn unlock(&self) {
        let path = self.lock_file();
        lock(&HELD).retain(|(locked, _)| *locked != path);
    }
}

/// The kernel's makefiles take no other paths.
fn can_build_in(dir: &Path) -> Result<()> {
    let ok = !dir.to_string_lossy().contains(|c: char| c.is_whitespace() || c == ':');
    ensure!(
        ok,
        "no kernel can be built in {}: move it to a path without spaces and colons",
        dir.display()
    );
    Ok(())
}

/// Where the tree is that `KDIR=` names.
pub fn canonical(kdir: &Path) -> Result<PathBuf> {
    fs::canonicalize(kdir)
        .with_context(|| format!("KDIR={} is not there: name a kernel tree", kdir.display()))
}

/// git in a folder, whoever owns it.
pub fn git(dir: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C")
        .arg(dir)
        .args(["-c", "safe.directory=*", "-c", "gc.auto=0"])
        .args(["-c", "core.autocrlf=false"])
        .env_remove("GIT_DIR")
        .env_remove("GIT_INDEX_FILE");
    git
}

/// Returns what `make kernelversion` would, for instance 6.12.117.
pub fn kernel_version(sources: &Path) -> Result<String> {
    let text = read(&sources.join("Makefile"))
        .with_context(|| format!("{} is no kernel tree: name the top of one", sources.display()))?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='))
            .map(str::trim)
            .with_context(|| {
                format!("{}/Makefile is no kernel's, without {name}", sources.display())
            })
    };
    Ok(format!(
        "{}.{}.{}{}",
        field("VERSION")?,
        field("PATCHLEVEL")?,
        field("SUBLEVEL")?,
        field("EXTRAVERSION")?
    ))
}
