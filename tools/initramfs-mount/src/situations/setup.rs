// SPDX-License-Identifier: GPL-2.0

//! What situations are written in: a boot, and what must come of it.

pub use crate::{
    archive::{tell, Archive},
    files::read_bytes,
    harness::{Fixture, Seen},
    kernel::{Kernel, BOOT, DISTRIBUTION, STOCK, TEST},
    machine::{Initrd, Machine, ROOT_MOUNT},
    once::hash,
};
use crate::{
    disk,
    fuzz::oracle::{judge, Verdict},
};
use anyhow::ensure;
pub use anyhow::Result;
use std::path::Path;

/// What boots kernels of a base and judges what it has seen.
pub type Test = Box<dyn Fn(&Fixture) -> Result<()> + Send + Sync>;
type Image = Box<dyn Fn(&Fixture) -> Result<Vec<u8>> + Send + Sync>;

/// What makes an image.
pub trait Makes: Fn(&Fixture) -> Result<Vec<u8>> + Send + Sync + 'static {}

impl<F: Fn(&Fixture) -> Result<Vec<u8>> + Send + Sync + 'static> Makes for F {}

/// A name, and what has to hold.
pub struct Situation {
    pub name: String,
    pub test: Test,
}

/// A boot. It becomes a situation with what must come of it.
pub struct Setup {
    name: String,
    kernel: &'static Kernel,
    image: Option<Image>,
    has_disk: bool,
    /// All else, and words for the command line.
    machine: Machine,
}

/// A boot with an image beside the kernel.
pub fn boot(name: impl Into<String>, image: impl Makes) -> Setup {
    Setup { image: Some(Box::new(image)), ..alone(name) }
}

/// A boot with nothing beside the kernel.
pub fn alone(name: impl Into<String>) -> Setup {
    let machine = Machine::new(Path::new(""));
    Setup { name: name.into(), kernel: &BOOT, image: None, has_disk: false, machine }
}

/// A situation that is a function.
pub fn code(
    name: impl Into<String>,
    test: impl Fn(&Fixture) -> Result<()> + Send + Sync + 'static,
) -> Situation {
    Situation { name: name.into(), test: Box::new(test) }
}

impl Setup {
    /// With an image that by its format, too, is what it is meant to be.
    pub fn judged(self, is_right: fn(&Verdict) -> bool) -> Self {
        let judged = |image: Image| -> Image {
            Box::new(move |fixture| {
                let image = image(fixture)?;
                let verdict = judge(&image);
                ensure!(is_right(&verdict), "the oracle takes it for {verdict:?}");
                Ok(image)
            })
        };
        Self { image: self.image.map(judged), ..self }
    }

    /// With these words on the kernel's command line.
    pub fn with(self, words: &str) -> Self {
        Self { machine: self.machine.append(words), ..self }
    }

    /// With a disk as the root, if it comes to that.
    pub fn disk(mut self) -> Self {
        self.has_disk = true;
        self.with("root=/dev/vda")
    }

    /// With the kernel that has an archive in it.
    pub fn built_in(self) -> Self {
        Self { kernel: &TEST, ..self }
    }

    /// With a kernel that lacks the series.
    pub fn stock(self) -> Self {
        Self { kernel: &STOCK, ..self }
    }

    /// With memory of two nodes, and a kernel that knows them.
    pub fn nodes(mut self) -> Self {
        self.kernel = &DISTRIBUTION;
        self.machine.numa = true;
        self.mib(8 * BIG_MIB as u32)
    }

    /// With this many MiB of memory; sanitizers get theirs on top.
    pub fn mib(mut self, mib: u32) -> Self {
        self.machine.mib = mib;
        self
    }

    /// With this many CPUs, of which there is one otherwise.
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.machine.cpus = cpus;
        self
    }

    /// With this long to end in; sanitizers get four times that.
    pub fn seconds(mut self, seconds: u64) -> Self {
        self.machine.seconds = seconds;
        self
    }

    /// What is booted; builds the kernel if need be.
    pub fn machine(&self, fixture: &Fixture) -> Result<Machine> {
        let image = self.image.as_ref().map(|image| image(fixture)).transpose()?;
        let built = fixture.machine(self.kernel)?;
        Ok(Machine {
            kernel: built.kernel,
            initrd: image.map(Initrd::Bytes),
            disk: self.has_disk.then(|| fixture.disk()).transpose()?,
            append: built.append + &self.machine.append,
            debug: built.debug,
            ..self.machine.clone()
        })
    }

    /// What must hold of the boot, as code.
    pub fn comes_to(
        self,
        expectation: impl Fn(&Seen, &Fixture) -> Result<()> + Send + Sync + 'static,
    ) -> Expectation {
        self.expecting().and(expectation)
    }

    /// For conditions to be added, all of which must hold.
    fn expecting(self) -> Expectation {
        Expectation { setup: self, checks: Vec::new() }
    }

    /// The archive is the root, in a mount of this type and with these options. Unless it is that in the kernel,
    /// the image must be whole by its format.
    pub fn boots_root(self, name: &'static str, fs: &'static str) -> Expectation {
        let judged = match name {
            "builtin" => self,
            _ => self.judged(|verdict| *verdict == Verdict::Whole { init: true }),
        };
        judged.comes_to(move |seen, _| seen.is_root_mount(name, fs).map(drop))
    }

    /// The archive is in rootfs, as without the feature.
    pub fn boots_rootfs(self, name: &'static str) -> Expectation {
        self.comes_to(move |seen, fixture| {
            seen.is_rootfs(name, fixture.base.has_nullfs()).map(drop)
        })
    }

    /// The disk is the root.
    pub fn boots_disk(self) -> Expectation {
        self.comes_to(|seen, _| seen.is_disk().map(drop))
    }

    /// A panic names the initramfs, of which nothing was run.
    pub fn panics(self) -> Expectation {
        self.comes_to(|seen, _| seen.is_panic_of_the_initramfs().map(drop))
    }

    /// A script of the guest's says this.
    pub fn says(self, line: impl Into<String>) -> Expectation {
        self.expecting().says(line)
    }

    /// The console has this.
    pub fn logs(self, part: &'static str) -> Expectation {
        self.expecting().logs(part)
    }
}

type Condition = Box<dyn Fn(&Seen, &Fixture) -> Result<()> + Send + Sync>;

/// A boot and what must come of it.
pub struct Expectation {
    setup: Setup,
    checks: Vec<Condition>,
}

impl Expectation {
    /// A condition in addition.
    pub fn and(
        mut self,
        check: impl Fn(&Seen, &Fixture) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    /// A script of the guest's says this line.
    pub fn says(self, line: impl Into<String>) -> Self {
        let line = line.into();
        self.and(move |seen, _| seen.says(&line).map(drop))
    }

    /// No line of the guest's has this in it.
    pub fn never_says(self, part: &'static str) -> Self {
        self.and(move |seen, _| seen.never_says(part).map(drop))
    }

    /// The console has this.
    pub fn logs(self, part: &'static str) -> Self {
        self.and(move |seen, _| seen.logs(part).map(drop))
    }

    /// The console does not have this.
    pub fn never_logs(self, part: &'static str) -> Self {
        self.and(move |seen, _| seen.never_logs(part).map(drop))
    }

    /// The mount that is the root has this among its options.
    pub fn has_option(self, option: &'static str) -> Self {
        self.and(move |seen, _| {
            let has = seen.value("root")?.contains(option);
            seen.check(has, format!("{option} does not hold")).map(drop)
        })
    }
}

impl From<Expectation> for Situation {
    fn from(expectation: Expectation) -> Self {
        let Expectation { setup, checks } = expectation;
        code(setup.name.clone(), move |fixture| {
            let seen = Seen::of(&setup.machine(fixture)?)?;
            checks.iter().try_for_each(|check| check(&seen, fixture))
        })
    }
}

/// Boots, and what must come of each.
pub fn situations<const N: usize>(expectations: [Expectation; N]) -> Vec<Situation> {
    expectations.into_iter().map(Situation::from).collect()
}

/// What the unpacker says of a broken archive that it has begun with.
pub const BROKEN: &str = "Initramfs unpacking failed: ";

/// What turns the feature off.
pub const OFF: &str = "initramfs_mount=0";

/// What comes after an archive and is none.
pub const JUNK: &[u8] = b"this is no archive, and no zeros";

/// The size of archives whose memory is looked for.
pub const BIG_MIB: usize = 64;

/// The smallest archive that reports, as `archive`.
pub fn archive(_: &Fixture) -> Result<Vec<u8>> {
    Ok(Archive::telling("archive")?.finish())
}

/// The first half of an archive, or of anything.
pub fn half(whole: &[u8]) -> Vec<u8> {
    whole[..whole.len() / 2].to_vec()
}

/// An ext2 image that runs a script as one of its programs.
pub fn ext2(fixture: &Fixture, init: &str, lines: &str) -> Result<Vec<u8>> {
    let image = fixture.image(&format!("{:016x}.img", hash((init, lines))), |image| {
        disk::make(image, "ext2", 8, (init, lines), |_| Ok(()))
    })?;
    read_bytes(&image)
}

/// A legacy initrd.
pub fn initrd(fixture: &Fixture) -> Result<Vec<u8>> {
    ext2(fixture, "sbin/init", &tell("initrd"))
}

/// KiB of memory that are free once the disk is the root.
pub fn free_memory(fixture: &Fixture, setup: Setup) -> Result<u64> {
    let machine = setup.disk().with("tell=memory").mib(5 * BIG_MIB as u32).machine(fixture)?;
    Seen::of(&machine)?.is_disk()?.number("free")
}
