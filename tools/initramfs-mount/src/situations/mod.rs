// SPDX-License-Identifier: GPL-2.0

//! Situations that a kernel is booted in: what archives, what command line, and what must come of it.
//! Each file is a subject. A situation is data; the few that have to compare boots are functions.

mod broken;
mod built_in;
mod canary;
mod composite;
mod contents;
mod disk;
mod helpers;
mod memory;
mod options;
mod policy;
mod root;
mod security;
mod whole;

use crate::{
    arch,
    archive::{script, tell, Archive},
    cmd::read_bytes,
    disk::Disk,
    harness::{Fixture, Seen},
    kernel::{Kernel, BOOT, DISTRIBUTION, TEST},
    machine::{Initrd, Machine},
};
use anyhow::Result;
use libtest_mimic::Trial;
use std::{path::Path, sync::Arc};

type Test = Box<dyn Fn(&Fixture) -> Result<()> + Send + Sync>;
type Image = Box<dyn Fn(&Fixture) -> Result<Vec<u8>> + Send + Sync>;

/// What makes an image.
trait Makes: Fn(&Fixture) -> Result<Vec<u8>> + Send + Sync + 'static {}

impl<F: Fn(&Fixture) -> Result<Vec<u8>> + Send + Sync + 'static> Makes for F {}

/// A name, and what has to hold.
pub struct Situation {
    name: String,
    test: Test,
}

/// All of them as tests of a base.
pub fn trials(fixture: &Arc<Fixture>) -> Vec<Trial> {
    // GRUB has a command line of its own, without what a kernel under sanitizers wants there.
    let has_slots = !arch::current().is_foreign() && !fixture.debug;
    let groups = [
        ("root", root::all()),
        ("options", options::all()),
        ("broken", broken::all()),
        ("whole", whole::all()),
        ("composite", composite::all()),
        ("contents", contents::all()),
        ("policy", policy::all()),
        ("slots", if has_slots { policy::slots() } else { Vec::new() }),
        ("memory", memory::all()),
        ("helpers", helpers::all()),
        ("disk", disk::all()),
        ("built_in", built_in::all()),
        ("canary", canary::all()),
    ];
    trials_of(fixture, groups)
}

/// Those whose kernels `make test-all` alone builds.
pub fn more_trials(fixture: &Arc<Fixture>) -> Vec<Trial> {
    trials_of(fixture, [("security", security::all()), ("numa", options::numa())])
}

fn trials_of<'a>(
    fixture: &Arc<Fixture>,
    groups: impl IntoIterator<Item = (&'a str, Vec<Situation>)>,
) -> Vec<Trial> {
    let named = groups.into_iter().flat_map(|(group, situations)| {
        situations.into_iter().map(move |it| (format!("{group}::{}", it.name), it.test))
    });
    named.map(|(name, test)| fixture.trial(&name, test)).collect()
}

/// A boot. It becomes a situation with what must come of it.
struct Setup {
    name: String,
    kernel: &'static Kernel,
    image: Option<Image>,
    has_disk: bool,
    /// All else, and words for the command line.
    machine: Machine,
}

/// A boot with an image beside the kernel.
fn boot(name: impl Into<String>, image: impl Makes) -> Setup {
    Setup { image: Some(Box::new(image)), ..alone(name) }
}

/// A boot with nothing beside the kernel.
fn alone(name: impl Into<String>) -> Setup {
    let machine = Machine::new(Path::new(""));
    Setup { name: name.into(), kernel: &BOOT, image: None, has_disk: false, machine }
}

/// A situation that is a function.
fn code(
    name: impl Into<String>,
    test: impl Fn(&Fixture) -> Result<()> + Send + Sync + 'static,
) -> Situation {
    Situation { name: name.into(), test: Box::new(test) }
}

impl Setup {
    /// With these words on the kernel's command line.
    fn with(self, words: &str) -> Self {
        Self { machine: self.machine.append(words), ..self }
    }

    /// With a disk as the root, if it comes to that.
    fn disk(mut self) -> Self {
        self.has_disk = true;
        self.with("root=/dev/vda")
    }

    /// With the kernel that has an archive in it.
    fn built_in(self) -> Self {
        Self { kernel: &TEST, ..self }
    }

    /// With memory of two nodes, and a kernel that knows them.
    fn nodes(mut self) -> Self {
        self.kernel = &DISTRIBUTION;
        self.machine.numa = true;
        self.mib(8 * BIG_MIB as u32)
    }

    fn mib(mut self, mib: u32) -> Self {
        self.machine.mib = mib;
        self
    }

    fn cpus(mut self, cpus: u32) -> Self {
        self.machine.cpus = cpus;
        self
    }

    fn seconds(mut self, seconds: u64) -> Self {
        self.machine.seconds = seconds;
        self
    }

    fn machine(&self, fixture: &Fixture) -> Result<Machine> {
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

    fn comes_to(
        self,
        expectation: impl Fn(&Seen, &Fixture) -> Result<()> + Send + Sync + 'static,
    ) -> Expectation {
        self.expecting().and(expectation)
    }

    fn expecting(self) -> Expectation {
        Expectation { setup: self, checks: Vec::new() }
    }

    /// The archive is the root, in a mount of this type and with these options.
    fn boots_root(self, name: &'static str, fs: &'static str) -> Expectation {
        self.comes_to(move |seen, _| seen.is_root_mount(name, fs).map(drop))
    }

    /// The archive is in rootfs, as without the feature.
    fn boots_rootfs(self, name: &'static str) -> Expectation {
        self.comes_to(move |seen, fixture| {
            seen.is_rootfs(name, fixture.base.has_nullfs()).map(drop)
        })
    }

    /// The disk is the root.
    fn boots_disk(self) -> Expectation {
        self.comes_to(|seen, _| seen.is_disk().map(drop))
    }

    /// A panic names the initramfs, of which nothing was run.
    fn panics(self) -> Expectation {
        self.comes_to(|seen, _| seen.is_panic_of_the_initramfs().map(drop))
    }

    /// A script of the guest's says this.
    fn says(self, line: impl Into<String>) -> Expectation {
        self.expecting().says(line)
    }

    /// The console has this.
    fn logs(self, part: &'static str) -> Expectation {
        self.expecting().logs(part)
    }
}

type Condition = Box<dyn Fn(&Seen, &Fixture) -> Result<()> + Send + Sync>;

/// A boot and what must come of it.
struct Expectation {
    setup: Setup,
    checks: Vec<Condition>,
}

impl Expectation {
    fn and(
        mut self,
        check: impl Fn(&Seen, &Fixture) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    fn says(self, line: impl Into<String>) -> Self {
        let line = line.into();
        self.and(move |seen, _| seen.says(&line).map(drop))
    }

    fn never_says(self, part: &'static str) -> Self {
        self.and(move |seen, _| seen.never_says(part).map(drop))
    }

    fn logs(self, part: &'static str) -> Self {
        self.and(move |seen, _| seen.logs(part).map(drop))
    }

    fn never_logs(self, part: &'static str) -> Self {
        self.and(move |seen, _| seen.never_logs(part).map(drop))
    }

    /// The mount that is the root has this among its options.
    fn has_option(self, option: &'static str) -> Self {
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

/// Those that are data.
fn situations<const N: usize>(expectations: [Expectation; N]) -> Vec<Situation> {
    expectations.into_iter().map(Situation::from).collect()
}

/// What the unpacker says of a broken archive that it has begun with.
const BROKEN: &str = "Initramfs unpacking failed: ";

/// What comes after an archive and is none.
const JUNK: &[u8] = b"this is no archive, and no zeros";

/// The size of archives whose memory is looked for.
const BIG_MIB: usize = 64;

fn archive(_: &Fixture) -> Result<Vec<u8>> {
    Ok(Archive::telling("archive")?.finish())
}

fn half(whole: &[u8]) -> Vec<u8> {
    whole[..whole.len() / 2].to_vec()
}

/// An ext2 image that runs a script as one of its programs.
fn ext2(fixture: &Fixture, init: &str, lines: &str) -> Result<Vec<u8>> {
    let image = fixture.image(&format!("{}.img", init.replace('/', "-")), |image| {
        let disk = Disk { fs: "ext2", mib: 8, init: (init, &script(lines)) };
        disk.make(image, |_| Ok(()))
    })?;
    read_bytes(&image)
}

/// A legacy initrd.
fn initrd(fixture: &Fixture) -> Result<Vec<u8>> {
    ext2(fixture, "sbin/init", &tell("initrd"))
}

/// KiB that are free on the disk in the end.
fn free_on_disk(fixture: &Fixture, setup: Setup) -> Result<u64> {
    let machine = setup.disk().with("tell=memory").mib(5 * BIG_MIB as u32).machine(fixture)?;
    Seen::of(&machine)?.is_disk()?.number("free")
}
