// SPDX-License-Identifier: GPL-2.0

//! What people run in an initramfs, and what it comes to without the feature and with it:
//! container engines, the ways to leave, and whole distributions.

mod containers;
mod debian_system;
mod images;
mod leaving;
mod virtme;

use crate::{
    archive::{with_libraries, Archive},
    base::Base,
    boots::Report,
    debian::{self, Installed},
    qemu::{Boot, Machine},
};
use anyhow::{anyhow, bail, ensure, Context, Result};
use libtest_mimic::{Failed, Trial};
use std::{
    collections::HashMap,
    env, fs,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
};

/// What a case comes to.
#[derive(Clone, Copy)]
pub enum Expect {
    Works,
    /// It fails, and says this in the first line.
    Fails(&'static str),
    /// It fails where rootfs is the lowest mount, and says this.
    FailsWithoutNullfs(&'static str),
}

/// What a case is said to come to where pivot_root(2) is what fails.
pub const NO_PIVOT: Expect = Expect::FailsWithoutNullfs("pivot_root");

type Run = Box<dyn Fn(&Lab, bool) -> Result<String> + Send + Sync>;

/// Boots the machine that cases share, with the feature on or off.
type BootShared = fn(&Lab, bool) -> Result<Arc<Boot>>;

/// A program, or something that is done with it.
pub struct Case {
    pub group: &'static str,
    pub name: &'static str,
    /// For readers.
    pub title: &'static str,
    pub off: Expect,
    pub on: Expect,
    /// With which values of `initramfs_mount=` it is in `make test`. `make test-all` has both.
    fast: &'static [bool],
    /// The name of the boot that it is run in.
    boot: &'static str,
    /// Runs it and returns what is worth telling.
    run: Run,
}

/// A case that is a script: it works if the script succeeds and says these lines.
struct Script {
    name: &'static str,
    title: &'static str,
    script: &'static str,
    says: &'static [&'static str],
    off: Expect,
    on: Expect,
}

impl Script {
    /// One that works with the feature, and without it as far as pivot_root does.
    const fn new(
        name: &'static str,
        title: &'static str,
        script: &'static str,
        says: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            title,
            script,
            says,
            off: NO_PIVOT,
            on: Expect::Works,
        }
    }

    const fn off(self, off: Expect) -> Self {
        Self { off, ..self }
    }

    const fn on(self, on: Expect) -> Self {
        Self { on, ..self }
    }

    fn case(
        &'static self,
        group: &'static str,
        fast: &'static [bool],
        (name, boot): (&'static str, BootShared),
    ) -> Case {
        Case {
            group,
            name: self.name,
            title: self.title,
            off: self.off,
            on: self.on,
            fast,
            boot: name,
            run: Box::new(move |lab, on| self.outcome(&*boot(lab, on)?)),
        }
    }

    /// Finds out in what a guest has said how its part went.
    fn outcome(&self, boot: &Boot) -> Result<String> {
        let start = format!("== {}\n", self.name);
        let Some((_, rest)) = boot.guest.rsplit_once(&start) else {
            bail!("not reached\n{}", both(boot));
        };
        let end = format!("== {}: ", self.name);
        let (said, status) = rest.split_once(&end).unwrap_or((rest, "no end"));
        let status = status.lines().next().unwrap_or_default();
        let missing = self
            .says
            .iter()
            .find(|line| !said.lines().any(|said| said == **line));
        if status == "0" && missing.is_none() {
            return Ok(String::new());
        }
        let telling = ["pivot", "busy", "denied", "rror"];
        let lines = || said.lines().rev().filter(|line| !line.trim().is_empty());
        let line = telling
            .iter()
            .find_map(|word| lines().find(|line| line.to_lowercase().contains(word)))
            .or_else(|| lines().next());
        match (line, missing) {
            (Some(line), _) if status != "0" => bail!("{}\n{}", line.trim(), both(boot)),
            (_, Some(missing)) => bail!("does not say {missing:?}\n{said}\n{}", both(boot)),
            _ => bail!("fails, with status {status}\n{}", both(boot)),
        }
    }
}

fn both(boot: &Boot) -> String {
    format!(
        "--- guest ---\n{}\n--- console ---\n{}",
        boot.guest.trim_end(),
        boot.console.trim_end()
    )
}

/// Runs the scripts in `/cases`, or those that the command line names, and says how each went.
const RUN_CASES: &str = r#"
wanted=$(sed -n 's/.*\bcases=\([^ ]*\).*/\1/p' /proc/cmdline)
for name in $(cat /cases/list); do
	case ",$wanted," in *,$name,*|,,) ;; *) continue ;; esac
	echo "== $name"
	timeout 150 sh /cases/$name < /dev/null 2>&1
	echo "== $name: $?"
done
"#;

/// Adds what [`RUN_CASES`] runs.
fn with_cases(archive: Archive, scripts: &[&Script]) -> Archive {
    let (mut archive, mut list) = (archive.dir("cases"), String::new());
    for Script { name, script, .. } in scripts {
        list += &format!("{name}\n");
        archive = archive.file(&format!("cases/{name}"), 0o755, script.as_bytes());
    }
    archive.file("cases/list", 0o644, list.as_bytes())
}

/// The helper that was built beside this program.
fn mounts() -> Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name("mounts"))
}

/// Adds the helper in the folder `root`.
fn with_mounts(mut archive: Archive, root: &str) -> Result<Archive> {
    archive = archive.copy(&mounts()?, &format!("{root}bin/mounts"))?;
    for file in with_libraries(&mounts()?)?.iter().skip(1) {
        let name = format!("{root}{}", file.to_string_lossy().trim_start_matches('/'));
        archive = archive.parents(&name).copy(file, &name)?;
    }
    Ok(archive)
}

/// Makes sure that as much memory is free as without the feature, but for `slack` KiB.
fn as_free_as(report: &Report, stock: &Report, slack: u64) -> Result<()> {
    let (free, stock) = (report.number("free")?, stock.number("free")?);
    let what = format!("{free} KiB are free, and {stock} KiB without the feature");
    report.check(free + slack >= stock, what).map(drop)
}

/// What is made once, or the message of what failed.
type Once<T> = OnceLock<std::result::Result<T, String>>;

/// What the cases of a base share.
pub struct Lab {
    pub base: Base,
    boots: Mutex<HashMap<String, Arc<Once<Arc<Boot>>>>>,
    installed: Once<Installed>,
    debian: Once<()>,
    /// Whether all cases of a boot are run, or those of `make test`.
    all: bool,
    dir: tempfile::TempDir,
}

impl Lab {
    pub fn new(base: &Base, all: bool) -> Result<Self> {
        Ok(Self {
            all,
            base: base.clone(),
            boots: Mutex::default(),
            installed: OnceLock::new(),
            debian: OnceLock::new(),
            dir: tempfile::tempdir().context("can't make a folder for images")?,
        })
    }

    fn machine(&self, on: bool) -> Machine {
        Machine {
            append: format!("initramfs_mount={}", u8::from(on)),
            ..Machine::new(&self.base.vmlinuz())
        }
    }

    /// Where what was said in a boot is kept.
    pub fn log(&self, name: &str, on: bool) -> PathBuf {
        let value = if on { "on" } else { "off" };
        self.base.log(&format!("programs/{name}-{value}.log"))
    }

    /// Boots a machine, once however many ask for it, and makes sure that the kernel has nothing to
    /// complain of.
    fn boot(
        &self,
        name: &str,
        on: bool,
        machine: impl FnOnce() -> Result<Machine>,
    ) -> Result<Arc<Boot>> {
        let cell = {
            let mut boots = self.boots.lock().map_err(|_| anyhow!("a test panicked"))?;
            Arc::clone(boots.entry(format!("{name} {on}")).or_default())
        };
        let booted = cell.get_or_init(|| {
            self.boot_now(name, on, machine)
                .map(Arc::new)
                .map_err(|e| format!("{e:#}"))
        });
        booted.clone().map_err(|e| anyhow!(e))
    }

    fn boot_now(
        &self,
        name: &str,
        on: bool,
        machine: impl FnOnce() -> Result<Machine>,
    ) -> Result<Boot> {
        let boot = machine()?.boot()?;
        self.keep(name, on, &both(&boot))?;
        ensure!(
            boot.ended,
            "the machine did not switch off\n{}",
            both(&boot)
        );
        if let Some(complaint) = boot.complaint()? {
            bail!("the console has {complaint:?}\n{}", both(&boot));
        }
        Ok(boot)
    }

    fn keep(&self, name: &str, on: bool, said: &str) -> Result<()> {
        let log = self.log(name, on);
        if let Some(dir) = log.parent() {
            fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
        }
        fs::write(&log, said).with_context(|| format!("can't write {}", log.display()))
    }

    fn installed(&self) -> Result<&Installed> {
        self.installed
            .get_or_init(|| {
                let install = || debian::install(&self.base, &mounts()?);
                install().map_err(|e| format!("{e:#}"))
            })
            .as_ref()
            .map_err(|e| anyhow!(e.clone()))
    }
}

/// Returns the cases of all groups.
pub fn cases() -> Vec<Case> {
    let mut cases = containers::cases();
    cases.extend(leaving::cases());
    cases.extend(debian_system::cases());
    cases.extend(images::cases());
    cases.extend(virtme::cases());
    cases
}

impl Case {
    /// Makes sure that a result is what is expected.
    fn judge(
        &self,
        base: &Base,
        on: bool,
        result: &std::result::Result<String, String>,
    ) -> Result<()> {
        let expect = match if on { self.on } else { self.off } {
            Expect::FailsWithoutNullfs(_) if base.has_nullfs() => Expect::Works,
            expect => expect,
        };
        match (expect, result) {
            (Expect::Works, Ok(_)) => Ok(()),
            (Expect::Works, Err(e)) => bail!(e.clone()),
            (Expect::Fails(what) | Expect::FailsWithoutNullfs(what), Ok(_)) => {
                bail!("works, and should fail with {what:?}")
            }
            (Expect::Fails(what) | Expect::FailsWithoutNullfs(what), Err(e)) => {
                let brief = e.lines().next().unwrap_or_default().to_lowercase();
                ensure!(
                    brief.replace("pivot root", "pivot_root").contains(what),
                    "fails otherwise than with {what:?}: {e}"
                );
                Ok(())
            }
        }
    }
}

/// What a case came to.
pub struct Outcome {
    pub base: String,
    /// Where it stands among all cases.
    pub position: usize,
    pub group: &'static str,
    pub title: &'static str,
    pub on: bool,
    /// What is worth telling, or what went wrong, in the first line.
    pub result: std::result::Result<String, String>,
    pub expected: bool,
    pub log: PathBuf,
}

/// Returns the tests of a base: those of `make test`, or `all`. What each comes to goes to
/// `outcomes`.
pub fn trials(base: &Base, all: bool, outcomes: &Arc<Mutex<Vec<Outcome>>>) -> Result<Vec<Trial>> {
    let lab = Arc::new(Lab::new(base, all)?);
    let mut trials = Vec::new();
    for (position, case) in cases().into_iter().enumerate() {
        let case = Arc::new(case);
        for on in [true, false] {
            if !all && !case.fast.contains(&on) {
                continue;
            }
            let (lab, case, outcomes) = (Arc::clone(&lab), Arc::clone(&case), Arc::clone(outcomes));
            let off = if on { "" } else { "_when_off" };
            let name = format!("{}::{}::{}{off}", base.name, case.group, case.name);
            trials.push(Trial::test(name, move || {
                let result = (case.run)(&lab, on).map_err(|e| format!("{e:#}"));
                let judged = case.judge(&lab.base, on, &result);
                if let Ok(mut outcomes) = outcomes.lock() {
                    outcomes.push(Outcome {
                        base: lab.base.name.clone(),
                        position,
                        group: case.group,
                        title: case.title,
                        on,
                        result,
                        expected: judged.is_ok(),
                        log: lab.log(case.boot, on),
                    });
                }
                judged.map_err(|e| Failed::from(format!("{e:#}")))
            }));
        }
    }
    Ok(trials)
}
