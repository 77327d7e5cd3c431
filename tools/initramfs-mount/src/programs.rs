// SPDX-License-Identifier: GPL-2.0

//! What people run in an initramfs, and what it comes to without the feature and with it. Each is a
//! file `programs/GROUP/NAME.sh` with a head that says what it is:
//!
//! - `title:` for readers;
//! - `says:` a line that it must say to have worked;
//! - `stock:` what it fails with without the feature, where there is no nullfs;
//! - `always:` what it fails with, with the feature, too;
//! - `native:` that it takes what is there for this machine's architecture alone: the helper that
//!   lists mounts, or Charliecloud;
//! - `image:`, `append:`, `type:` which image of Debian's tools is booted, with what on the command
//!   line, and what is typed there behind what it asks.

use crate::{
    arch,
    archive::{noise, padded, Archive},
    base::Base,
    containers, debian, disk,
    files::{files, read, read_bytes, write},
    guest,
    harness::{Fixture, Seen},
    kernel::{Kernel, BOOT, DISTRIBUTION},
    machine::{Boot, Initrd, Machine, ROOT_MOUNT},
    once::lock,
    packages, paths, virtme,
};
use anyhow::{bail, ensure, Result};
use libtest_mimic::Trial;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// How many MiB an archive has that have to come back.
const BALLAST: usize = 64;

/// Runs it and returns what is worth telling.
type How = fn(&Run) -> Result<String>;

/// A program, or something that is done with it.
struct Program {
    group: &'static str,
    name: String,
    text: String,
    run: How,
}

impl Program {
    /// What its head says of something, which may be several lines.
    fn head(&self, key: &str) -> Vec<&str> {
        let lines = self.text.lines().filter_map(|line| {
            line.strip_prefix("# ")?.strip_prefix(key)?.strip_prefix(':').map(str::trim)
        });
        lines.collect()
    }
}

/// A program that is run, without the feature or with it.
struct Run<'a> {
    fixture: &'a Fixture,
    program: &'a Program,
    on: bool,
}

/// The groups, what they are for, and how one of their programs is run.
const GROUPS: &[(&str, &str, How)] = &[
    ("container", "Containers in a small initramfs, and what pivot_root is for", |run| {
        run.in_small_initramfs()
    }),
    ("leave", "Leaving for a disk", |run| run.leave()),
    ("debian", "A whole Debian in its initramfs, systemd as /init", |run| run.in_debian()),
    ("kexec", "kexec", |run| run.kexec()),
    ("image", "Debian on a disk, with the images that its tools make", |run| run.image()),
    ("virtme", "virtme-ng", |run| run.virtme()),
];

/// Those that `make test` leaves to `make test-all`.
const SLOW: &[&str] = &["debian", "image"];

/// What a group is for.
pub fn heading(group: &str) -> &str {
    GROUPS.iter().find(|(name, ..)| *name == group).map_or(group, |(_, heading, _)| heading)
}

fn all() -> Result<Vec<Program>> {
    let mut all = Vec::new();
    for (group, _, run) in GROUPS {
        for file in files(&paths::tool("programs").join(group))? {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if name != "lib" {
                all.push(Program { group, name, text: read(&file)?, run: *run });
            }
        }
    }
    Ok(all)
}

/// What a program came to.
pub struct Outcome {
    pub base: String,
    /// Where it stands among all programs.
    pub position: usize,
    pub group: &'static str,
    pub title: String,
    pub on: bool,
    /// What is worth telling, or what went wrong, in the first line.
    pub result: Result<String, String>,
    pub expected: bool,
    pub log: PathBuf,
}

/// Returns the tests of a base: those of `make test`, or all. What each comes to goes to `outcomes`.
pub fn trials(
    fixture: &Arc<Fixture>,
    everything: bool,
    outcomes: &Arc<Mutex<Vec<Outcome>>>,
) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    let arch = arch::current();
    let here = |program: &Program| match program.group {
        "kexec" => arch.kexec,
        "container" => !arch.is_foreign() || program.head("native").is_empty(),
        // There is no whole Debian of another architecture.
        _ => !arch.is_foreign(),
    };
    for (position, program) in all()?.into_iter().enumerate().filter(|(_, program)| here(program)) {
        let program = Arc::new(program);
        for on in [true, false] {
            if !everything && SLOW.contains(&program.group) {
                continue;
            }
            let (program, outcomes) = (Arc::clone(&program), Arc::clone(outcomes));
            let off = if on { "" } else { "_when_off" };
            let name = format!("{}::{}{off}", program.group, program.name);
            trials.push(fixture.trial(&name, move |fixture| {
                let run = Run { fixture, program: &program, on };
                let result = (program.run)(&run).map_err(|e| format!("{e:#}"));
                let judged = program.judge(&fixture.base, on, &result);
                let outcome = Outcome {
                    base: fixture.base.name.clone(),
                    position,
                    group: program.group,
                    title: program.head("title").join(" "),
                    on,
                    result,
                    expected: judged.is_ok(),
                    log: run.log(),
                };
                lock(&outcomes).push(outcome);
                judged
            }));
        }
    }
    Ok(trials)
}

impl Program {
    /// Makes sure that a result is what is expected.
    fn judge(&self, base: &Base, on: bool, result: &Result<String, String>) -> Result<()> {
        let (stock, always) = (self.head("stock").pop(), self.head("always").pop());
        match (stock.filter(|_| !on && !base.has_nullfs()).or(always), result) {
            (None, Ok(_)) => Ok(()),
            (None, Err(e)) => bail!(e.clone()),
            (Some(what), Ok(_)) => bail!("works, and its head says that it fails with {what:?}"),
            (Some(what), Err(e)) => {
                let brief = e.lines().next().unwrap_or_default().to_lowercase();
                let brief = brief.replace("pivot root", "pivot_root");
                ensure!(
                    brief.contains(what),
                    "fails otherwise than with {what:?}, as its head says: {e}"
                );
                Ok(())
            }
        }
    }
}

impl Run<'_> {
    /// The name of the boot that it is run in.
    fn boot_name(&self) -> String {
        match self.program.group {
            group @ ("container" | "debian" | "installed") => group.to_owned(),
            group => format!("{group}-{}", self.program.name),
        }
    }

    /// Where what was said in that boot is kept.
    fn log(&self) -> PathBuf {
        let value = if self.on { "on" } else { "off" };
        self.fixture.base.log(&format!("programs/{}-{value}.log", self.boot_name()))
    }

    /// What turns the feature on or off.
    fn feature(&self) -> String {
        format!("initramfs_mount={}", u8::from(self.on))
    }

    fn machine(&self, kernel: &'static Kernel) -> Result<Machine> {
        Ok(self.fixture.machine(kernel)?.append(&self.feature()))
    }

    /// Boots a machine, once however many ask for it.
    fn boot(&self, machine: impl FnOnce() -> Result<Machine>) -> Result<Arc<Boot>> {
        let key = format!("{} {}", self.boot_name(), self.on);
        self.fixture.boots.get(key, || {
            // That of an earlier run.
            let _ = fs::remove_file(self.log());
            let boot = machine()?.boot()?;
            write(&self.log(), boot.text())?;
            boot.check()?;
            Ok(Arc::new(boot))
        })
    }

    /// Finds out in what a guest has said how its part went.
    fn part(&self, boot: &Boot) -> Result<String> {
        let name = &self.program.name;
        let Some((_, rest)) = boot.guest.rsplit_once(&format!("== {name}\n")) else {
            bail!("not reached\n{}", boot.text());
        };
        let (said, status) = rest.split_once(&format!("== {name}: ")).unwrap_or((rest, "no end"));
        let status = status.lines().next().unwrap_or_default();
        let wanted = self.program.head("says");
        let missing = wanted.iter().find(|line| !said.lines().any(|said| said == **line));
        let lines = || said.lines().rev().filter(|line| !line.trim().is_empty());
        let telling = ["pivot", "busy", "denied", "rror"];
        let line = telling
            .iter()
            .find_map(|word| lines().find(|line| line.to_lowercase().contains(word)))
            .or_else(|| lines().next());
        match (status, line, missing) {
            ("0", _, None) => Ok(String::new()),
            ("0", _, Some(missing)) => bail!("does not say {missing:?}\n{said}\n{}", boot.text()),
            (_, Some(line), _) => bail!("{}\n{}", line.trim(), boot.text()),
            (status, ..) => bail!("fails, with status {status}\n{}", boot.text()),
        }
    }

    fn in_small_initramfs(&self) -> Result<String> {
        let boot = self.boot(|| {
            let archive = Archive::running("containers")?.programs(&[
                ("runc", "runc"),
                ("crun", "crun"),
                ("bwrap", "bubblewrap"),
                ("setpriv", "util-linux"),
                ("wipefs", "util-linux"),
                ("ip", "iproute2"),
            ])?;
            let mut archive = containers::add(archive)?;
            if !arch::current().is_foreign() {
                archive = add_mounts(add_mounts(archive, "")?, "c/rootfs/")?;
                archive = archive.programs(&[("ch-run", "charliecloud-runtime")])?;
            }
            let archive = archive.scripts("programs/container", "programs")?;
            Ok(Machine {
                initrd: Some(archive.finish().into()),
                disk: Some(self.fixture.disk()?),
                mib: 512,
                seconds: 300,
                ..self.machine(&BOOT)?
            })
        })?;
        self.part(&boot)
    }

    fn leave(&self) -> Result<String> {
        let seen = Seen(self.boot_leave(self.on)?);
        seen.says("init: disk")?;
        let mounts = |when: &str| -> BTreeSet<&str> {
            let prefix = format!("{when} mount: ");
            let lines = seen.0.guest.lines();
            lines.filter_map(|line| line.strip_prefix(&prefix)?.split(' ').next()).collect()
        };
        let (before, after) = (mounts("before"), mounts("after"));
        seen.check(!after.is_empty(), "the mounts are not told")?;
        let new: Vec<_> = after.difference(&before).collect();
        seen.check(new.is_empty(), format!("there are new mounts: {new:?}"))?;
        if self.on {
            // But for what a mount and the kernel's own lists of free pages come to.
            as_free_as(&seen, &Seen(self.boot_leave(false)?), 1 << 10)?;
        }
        Ok(format!("{} MiB free", seen.number("free")? >> 10))
    }

    fn boot_leave(&self, on: bool) -> Result<Arc<Boot>> {
        let run = Run { on, ..*self };
        run.boot(|| {
            let disk = self.fixture.image("arrive.img", |image| {
                let init = ("sbin/init", "exec /guest/arrive.sh");
                let fill = |root: &Path| add_mounts(Archive::new(), "")?.unpack(root);
                disk::make(image, "ext4", 64, init, fill)
            })?;
            let archive = Archive::system()?
                .programs(&[
                    ("switch_root", "util-linux"),
                    ("/usr/lib/klibc/bin/run-init", "klibc-utils"),
                ])?
                .scripts("programs/leave", "programs")?
                .script("init", &format!("exec /programs/{}.sh", self.program.name))
                .file("ballast", 0o644, &noise(BALLAST << 20));
            Ok(Machine {
                initrd: Some(add_mounts(archive, "")?.finish().into()),
                disk: Some(disk),
                mib: 512,
                ..run.machine(&BOOT)?
            })
        })
    }

    fn in_debian(&self) -> Result<String> {
        let boot = self.boot(|| self.debian(self.machine(&DISTRIBUTION)?, "", &[]))?;
        self.part(&boot)
    }

    fn kexec(&self) -> Result<String> {
        let boot = self.boot(|| {
            let machine = self.machine(&BOOT)?.append("retain_initrd");
            let programs = [("runc", "runc"), ("kexec", guest::KEXEC)];
            let archive = containers::add(Archive::running("containers")?.programs(&programs)?)?
                .scripts("programs/kexec", "programs")?
                .copy(&machine.kernel, "vmlinuz")?;
            let initrd = Some(archive.finish().into());
            Ok(Machine { initrd, mib: 512, seconds: 300, ..machine })
        })?;
        let roots = boot.console.matches(ROOT_MOUNT).count();
        ensure!(
            roots == if self.on { 2 } else { 0 },
            "{roots} of the two kernels have a root mount\n{}",
            boot.text()
        );
        self.part(&boot)
    }

    /// A machine with the small Debian as its initramfs, which runs these programs, or all if none is named, with
    /// the archive of its kernel's modules, and a disk.
    fn debian(&self, machine: Machine, programs: &str, modules: &[u8]) -> Result<Machine> {
        let initrd = self.fixture.image("debian.cpio", |initrd| {
            fs::copy(debian::archive()?, initrd)?;
            let mut file = File::options().append(true).open(initrd)?;
            file.write_all(&debian_addition()?.finish())?;
            Ok(file.write_all(modules)?)
        })?;
        Ok(Machine {
            initrd: Some(Initrd::File(initrd)),
            disk: Some(self.fixture.disk()?),
            mib: 4096,
            cpus: 2,
            seconds: 900,
            ..machine.append(&format!("programs={programs} {NO_GETTY}"))
        })
    }

    /// Boots an image of Debian's tools to a login on a disk.
    fn image(&self) -> Result<String> {
        let file = self.program.head("image").join(" ");
        let append = self.program.head("append").join(" ");
        let log_in = ["login: | root", "# | sh /guest/logged_in.sh"];
        let stops = self.program.head("type");
        let talk = stops.iter().chain(&log_in).filter_map(|line| line.split_once('|'));
        let talk =
            talk.map(|(asked, typed)| (asked.trim().to_owned() + " ", typed.trim().to_owned()));
        let talk: Vec<_> = talk.collect();
        let boot = |on: bool| {
            let run = Run { on, ..*self };
            run.boot(|| {
                let kernel = self.fixture.machine(&DISTRIBUTION)?.kernel;
                let dir = debian::install(&self.fixture.base, &kernel)?;
                let archive = Archive::new().scripts("guest", "guest")?;
                // Behind what the tools make, as people add files to that.
                let mut initrd = padded(read_bytes(&dir.join(&file))?, 4);
                initrd.extend(archive.file("ballast", 0o644, &noise(BALLAST << 20)).finish());
                Ok(Machine {
                    initrd: Some(initrd.into()),
                    disk: Some(dir.join("disk.img")),
                    talk: talk.clone(),
                    mib: 1024,
                    cpus: 2,
                    seconds: 600,
                    ..run
                        .machine(&DISTRIBUTION)?
                        .append(&format!("root=/dev/vda rw {NO_GETTY} {append}"))
                })
            })
        };
        let seen = Seen(boot(self.on)?);
        seen.says("running")?.says("ext4")?;
        if !stops.is_empty() {
            let root = |line: &&str| line.starts_with("stop: ") && line.contains(" / / ");
            let root = seen.0.guest.lines().find(root).unwrap_or_default();
            let is_one =
                [" - tmpfs ", " - ramfs ", " - rootfs "].iter().any(|fs| root.contains(fs));
            seen.check(is_one, format!("the shell's root is {root:?}"))?;
        }
        // The types of the mounts below the disk, which were all there before. systemd, in dracut's
        // image, leaves with pivot_root and unmounts what it came from. run-init moves the disk over
        // what it came from, which stays as an empty mount: with the feature a ramfs, as root= is
        // given. What that covers, or what it has taken the place of, is rootfs.
        let (nullfs, dracut) = (self.fixture.base.has_nullfs(), file == "dracut.img");
        let mut wanted = vec![
            ("nullfs", nullfs),
            ("rootfs", !nullfs || !self.on && !dracut),
            ("ramfs", self.on && !dracut),
        ];
        wanted.retain(|(_, wanted)| *wanted);
        let wanted: Vec<_> = wanted.iter().map(|(fs, _)| *fs).collect();
        let mounts = seen.0.guest.lines().filter(|line| line.starts_with("mount: "));
        // No path leads to them.
        let below = mounts.filter_map(|line| line.strip_suffix(' ')?.split(' ').nth(4));
        let below: Vec<_> = below.collect();
        let what = format!("below the root there are {below:?}, and not {wanted:?}");
        seen.check(below == wanted, what)?;
        if self.on {
            // A whole system is never twice the same: half of what a root that stays would take.
            as_free_as(&seen, &Seen(boot(false)?), (BALLAST as u64) << 9)?;
        }
        Ok(format!("{} MiB free, below it {}", seen.number("free")? >> 10, below.join(", ")))
    }

    fn virtme(&self) -> Result<String> {
        let log = self.log();
        let kernel = self.fixture.machine(&BOOT)?.kernel;
        let feature = self.feature();
        if self.program.name == "shell" {
            let works = self.on || self.fixture.base.has_nullfs();
            virtme::check_shell(&self.fixture.base, &kernel, &feature, &log, works)?;
        } else {
            virtme::check_force_initramfs(&kernel, &feature, &log)?;
        }
        Ok(String::new())
    }
}

/// systemd would ask for a login at the port that the guest says things on.
const NO_GETTY: &str = "systemd.mask=serial-getty@hvc0.service";

/// What comes behind the archive of the small Debian.
fn debian_addition() -> Result<Archive> {
    let service = read(&paths::tool("guest/debian.service"))?;
    let unit = "etc/systemd/system/programs.service";
    let wants = "etc/systemd/system/multi-user.target.wants";
    let dockerfile = "FROM local/test\nRUN echo built here > /tmp/built\n\
                      CMD [\"/bin/cat\", \"/tmp/built\"]\n";
    Ok(add_mounts(containers::add(Archive::new())?, "c/rootfs/")?
        .scripts("guest", "guest")?
        .scripts("programs/debian", "programs")?
        // Debian has its libraries.
        .copy(&debian::mounts()?, "usr/local/bin/mounts")?
        .dir("images")
        .dir("images/build")
        .file("images/build/Dockerfile", 0o644, dockerfile.as_bytes())
        .file(unit, 0o644, service.as_bytes())
        .symlink(&format!("{wants}/programs.service"), "../programs.service"))
}

/// Adds the helper that lists mounts, with its libraries, to an archive in the folder `root`.
fn add_mounts(archive: Archive, root: &str) -> Result<Archive> {
    let mounts = debian::mounts()?;
    archive
        .parents(&format!("{root}bin/"))
        .copy(&mounts, &format!("{root}bin/mounts"))?
        .at_their_places(root, guest::with_libraries(&mounts)?.into_iter().skip(1))
}

/// Makes sure that as much memory is free as without the feature, but for `slack` KiB.
fn as_free_as(seen: &Seen, stock: &Seen, slack: u64) -> Result<()> {
    let (free, stock) = (seen.number("free")?, stock.number("free")?);
    let what = format!("{free} KiB are free, and {stock} KiB without the feature");
    seen.check(free + slack >= stock, what).map(drop)
}

/// Has apt install the packages that [`packages::build`] makes, of a kernel with Debian's configuration, and
/// boots it: with the image that initramfs-tools has made to a login on a disk, where a module loads that
/// DKMS has built, and with a whole Debian as its initramfs, where podman runs.
pub fn installed(fixture: &Fixture) -> Result<()> {
    let built = packages::build(&fixture.base)?;
    let wanted = ["linux-image-", "linux-headers-"].map(|start| packages::named(&built, start));
    let dir = debian::install_kernel(&fixture.base, wanted.into_iter().flatten())?;
    let machine = Machine::new(&dir.join("vmlinuz"));
    let talk = [("login: ", "root"), ("# ", "sh /guest/installed.sh")];
    let boot = Machine {
        initrd: Some(Initrd::File(dir.join("initrd.img"))),
        disk: Some(dir.join("disk.img")),
        talk: talk.map(|(asked, typed)| (asked.to_owned(), typed.to_owned())).to_vec(),
        mib: 2048,
        cpus: 2,
        seconds: 900,
        ..machine.clone().append(&format!("root=/dev/vda rw {NO_GETTY}"))
    };
    println!("Debian on a disk, through the image of initramfs-tools");
    Seen::of(&boot)?
        .logs(ROOT_MOUNT)?
        .says("running")?
        .says("ext4")?
        .says("CONFIG_INITRAMFS_MOUNT=y")?
        .says("trial: loaded")?;
    let modules = read_bytes(&dir.join("modules.cpio"))?;
    let mut programs = all()?;
    programs.retain(|program| program.group == "debian" && INSTALLED.contains(&&*program.name));
    ensure!(programs.len() == INSTALLED.len(), "programs/debian/ has not all of {INSTALLED:?}");
    for program in &mut programs {
        // So that its log is another one.
        program.group = "installed";
        println!("{}, in a whole Debian as the initramfs", program.name);
        for on in [true, false] {
            let run = Run { fixture, program, on };
            let feature = run.feature();
            let boot = run.boot(|| {
                let machine = machine.clone().append(&feature);
                run.debian(machine, &INSTALLED.join(","), &modules)
            })?;
            ensure!(
                boot.console.contains(ROOT_MOUNT) == on,
                "the archive is in a root mount, or it is not, against {feature}\n{}",
                boot.text()
            );
            let result = run.part(&boot).map_err(|e| format!("{e:#}"));
            program.judge(&fixture.base, on, &result)?;
        }
    }
    println!("All of it comes to what it should, with the option and without.");
    Ok(())
}

/// The programs of the group debian that [`installed`] runs.
const INSTALLED: &[&str] = &["podman", "runc", "systemd"];
