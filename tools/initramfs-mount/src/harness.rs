// SPDX-License-Identifier: GPL-2.0

//! What tests share: the kernels of a base, built when the first test wants them, and what is said
//! of a boot.

use crate::{
    arch,
    archive::{tell, Archive},
    base::Base,
    disk,
    files::write,
    kernel::Kernel,
    machine::{Boot, Machine, ROOT_MOUNT},
    once::{lock, MadeOnce},
    paths,
};
use anyhow::{anyhow, bail, Context, Error, Result};
use libtest_mimic::{Failed, Trial};
use std::{
    fmt::Display,
    fs,
    panic::{catch_unwind, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// What has failed until now, a line each.
static FAILED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps an error in a file, and its first line for the end, which is hours after it. Returns all of it.
pub fn failed(name: &str, error: &Error) -> String {
    let mut error = format!("{error:#}");
    let brief = error.lines().next().unwrap_or_default().to_owned();
    if let Err(e) = write(&failure(name), &error) {
        error += &format!("\n{e:#}");
    }
    lock(&FAILED).push(format!("{name}: {brief}"));
    error
}

/// Where the error of a test is kept.
fn failure(name: &str) -> PathBuf {
    paths::top().join("build/logs/failed").join(name)
}

/// Prints what `failed` has kept.
pub fn print_failed() {
    let failed = lock(&FAILED);
    for brief in failed.iter() {
        println!("failed: {brief}");
    }
    if !failed.is_empty() {
        println!("All that was said is in build/logs/failed/.");
    }
}

/// What the tests of a base share.
pub struct Fixture {
    pub base: Base,
    /// Whether kernels are under sanitizers.
    pub debug: bool,
    kernels: MadeOnce<&'static str, PathBuf>,
    pub boots: MadeOnce<String, Arc<Boot>>,
    images: MadeOnce<String, PathBuf>,
    dir: tempfile::TempDir,
}

impl Fixture {
    pub fn new(base: &Base, debug: bool) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            base: base.clone(),
            debug,
            kernels: MadeOnce::new(),
            boots: MadeOnce::new(),
            images: MadeOnce::new(),
            dir: tempfile::tempdir().context("can't make a folder for disk images")?,
        }))
    }

    /// A machine with a kernel, which is built if need be.
    pub fn machine(&self, kernel: &'static Kernel) -> Result<Machine> {
        let machine = self.build(if self.debug { kernel.debug()? } else { kernel })?;
        Ok(Machine { debug: self.debug, ..machine })
    }

    /// The folder that a kernel is built in. It is built if need be.
    pub fn built(&self, kernel: &'static Kernel) -> Result<PathBuf> {
        self.machine(kernel)?;
        Ok(kernel.dir(&self.base))
    }

    fn build(&self, kernel: &'static Kernel) -> Result<Machine> {
        if let Some(first) = kernel.copy_of {
            self.build(first)?;
        }
        let image = self.kernels.get(kernel.name, || kernel.build(&self.base))?;
        Ok(Machine::new(&image).append(kernel.words()))
    }

    /// An image, which `make` makes in the place it is given.
    pub fn image(&self, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        self.images.get(name.to_owned(), || {
            let image = self.dir.path().join(name);
            make(&image)?;
            Ok(image)
        })
    }

    /// A disk with a small system, the init of which runs these lines.
    pub fn disk_running(&self, name: &str, lines: &str) -> Result<PathBuf> {
        self.image(name, |image| disk::make(image, "ext4", 16, ("sbin/init", lines), |_| Ok(())))
    }

    /// A disk that reports, as `disk`.
    pub fn disk(&self) -> Result<PathBuf> {
        self.disk_running("disk.img", &tell("disk"))
    }

    /// A test of this base.
    pub fn trial(
        self: &Arc<Self>,
        name: &str,
        test: impl Fn(&Self) -> Result<()> + Send + 'static,
    ) -> Trial {
        let fixture = Arc::clone(self);
        let debug = if self.debug { "-debug" } else { "" };
        let base = arch::current().dir_name(&self.base.name);
        let name = format!("{base}{debug}::{name}");
        Trial::test(name.clone(), move || {
            // That of an earlier run.
            let _ = fs::remove_file(failure(&name));
            let tested = catch_unwind(AssertUnwindSafe(|| test(&fixture)));
            tested
                .unwrap_or_else(|_| Err(anyhow!("it has panicked: see above")))
                .map_err(|e| Failed::from(failed(&name, &e)))
        })
    }
}

/// What a guest has reported, with the console for the message of a failure.
pub struct Seen(pub Arc<Boot>);

impl Seen {
    /// Boots a machine to its end, and makes sure that the kernel has nothing to complain of.
    pub fn of(machine: &Machine) -> Result<Self> {
        let boot = machine.boot()?;
        boot.check()?;
        Ok(Self(Arc::new(boot)))
    }

    /// The same with the smallest archive that reports, as `archive`.
    pub fn of_archive(machine: Machine) -> Result<Self> {
        let initrd = Some(Archive::telling("archive")?.finish().into());
        Self::of(&Machine { initrd, ..machine })
    }

    /// Makes sure of something, and otherwise fails with all that was said.
    pub fn check(&self, ok: bool, what: impl Display) -> Result<&Self> {
        if ok {
            return Ok(self);
        }
        bail!("{what}\n{}", self.0.text())
    }

    /// Makes sure that the guest has said this line.
    pub fn says(&self, line: &str) -> Result<&Self> {
        let is_there = self.0.guest.lines().any(|l| l == line);
        self.check(is_there, format!("the guest does not say {line:?}"))
    }

    /// Makes sure that no line of the guest's has this in it.
    pub fn never_says(&self, part: &str) -> Result<&Self> {
        let is_there = self.0.guest.contains(part);
        self.check(!is_there, format!("the guest says {part:?}"))
    }

    /// Makes sure that the console has this.
    pub fn logs(&self, part: &str) -> Result<&Self> {
        let is_there = self.0.console.contains(part);
        self.check(is_there, format!("the console has no {part:?}"))
    }

    /// Makes sure that the console does not have this.
    pub fn never_logs(&self, part: &str) -> Result<&Self> {
        let is_there = self.0.console.contains(part);
        self.check(!is_there, format!("the console has {part:?}"))
    }

    /// What the guest says of something.
    pub fn value(&self, key: &str) -> Result<&str> {
        let prefix = format!("{key}: ");
        let mut lines = self.0.guest.lines();
        match lines.find_map(|line| line.strip_prefix(&prefix)) {
            Some(value) => Ok(value),
            None => bail!("the guest does not say its {key:?}\n{}", self.0.text()),
        }
    }

    /// A number that the guest says of something.
    pub fn number(&self, key: &str) -> Result<u64> {
        let value = self.value(key)?;
        value.trim().parse().with_context(|| format!("{key} of the guest is no number"))
    }

    /// The archive is the root, in a mount of a type and with options, that can be left behind.
    pub fn is_root_mount(&self, name: &str, fs: &str) -> Result<&Self> {
        let fs_type = fs.split(' ').next().unwrap_or_default();
        self.says(&format!("init: {name}"))?
            .says("roots: 1")?
            .says("console: yes")?
            .says("working directory: /")?
            .says("pivot_root: ok")?
            .says("umount: ok")?;
        let line = format!("{ROOT_MOUNT}, {fs}");
        let is_said = self.0.console.lines().any(|said| said.ends_with(&line));
        self.check(is_said, format!("the console does not say {line:?}"))?;
        let root = self.value("root")?;
        self.check(root.starts_with(&format!("{fs_type} rw")), format!("the root is {root:?}"))
    }

    /// The archive is in rootfs, as without the feature.
    pub fn is_rootfs(&self, name: &str, has_nullfs: bool) -> Result<&Self> {
        self.never_logs("initramfs_mount: / is")?
            .says(&format!("init: {name}"))?
            .says("roots: 1")?
            .says(if has_nullfs { "pivot_root: ok" } else { "pivot_root: failed" })?;
        let root = self.value("root")?;
        self.check(root.starts_with("rootfs"), format!("the root is {root:?}"))
    }

    /// The disk is the root, and nothing of an archive is in sight.
    pub fn is_disk(&self) -> Result<&Self> {
        self.says("init: disk")?
            .says("roots: 1")?
            .never_logs("initramfs_mount: / is")?
            .never_says("file: ")?;
        let root = self.value("root")?;
        self.check(root.starts_with("ext4"), format!("the root is {root:?}"))
    }

    /// The kernel gave up, and said that it was for the archive.
    pub fn is_panic_of_the_initramfs(&self) -> Result<&Self> {
        let names_it = self.0.panic().is_some_and(|panic| panic.contains("initramfs"));
        self.check(self.0.guest.is_empty(), "something of the archive was run")?
            .check(names_it, "no panic that names the initramfs")
    }
}
