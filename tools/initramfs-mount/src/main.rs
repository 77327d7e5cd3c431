// SPDX-License-Identifier: GPL-2.0

//! Builds, boots and checks kernels with `CONFIG_INITRAMFS_MOUNT`. The Makefile calls it.

mod apt;
mod arch;
mod archive;
mod base;
mod cmd;
mod containers;
mod debian;
mod deps;
mod disk;
mod fuzz;
mod gates;
mod guest;
mod harness;
mod kernel;
mod kunit;
mod machine;
mod measure;
mod outgoing;
mod packages;
mod paths;
mod programs;
mod report;
mod selftests;
mod series;
mod situations;
mod toolchain;
mod tree;
mod user_tree;
mod virtme;

use anyhow::{ensure, Result};
use base::Base;
use clap::{Parser, Subcommand};
use deps::For;
use gates::{When, GATES};
use harness::Fixture;
use libtest_mimic::{Arguments, Trial};
use std::{
    env,
    process::{Command, ExitCode},
    sync::{Arc, Mutex},
};

#[derive(Parser)]
struct Cli {
    /// The kernel release, as in patches/
    #[arg(long, global = true, default_value = "6.12")]
    base: String,
    /// What the kernel runs on, for instance arm64, or `um` with `kernel --debug` for user-mode Linux. This
    /// machine's architecture unless given
    #[arg(long, global = true)]
    arch: Option<String>,
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing
    Deps {
        /// Also what only `make test-all` and `make report` take
        #[arg(long)]
        all: bool,
    },
    /// Get the sources and patch them
    Tree,
    /// Show pivot_root and a container, without the feature and with it
    Run,
    /// Open a shell in an initramfs
    Shell {
        /// What else the kernel's command line has
        words: Vec<String>,
    },
    /// Build the kernel
    Kernel {
        /// The one under sanitizers
        #[arg(long)]
        debug: bool,
    },
    /// Write the patch series
    Series(outgoing::Options),
    /// Apply the series to a tree of your own, KDIR=
    Patch,
    /// Take the series out of a tree of your own, KDIR=
    Unpatch,
    /// Bring commits of the series, changed in build/<base>/linux, back into patches/
    Refresh,
    /// Write patches for distributions, and how to use them
    Dist,
    /// Build and boot each commit of the series
    Bisect,
    /// Build Debian packages
    Deb,
    /// Install those packages in a Debian on a disk, and boot it
    DebBoot,
    /// Measure what it costs at boot, and memory in use over a boot
    Bench,
    /// Run the KUnit tests on user-mode Linux and in QEMU
    Kunit,
    /// Boot generated archives, and compare what comes of them with what they are
    Fuzz(fuzz::Options),
    /// Run the gates: format, lints, checkpatch, sizes
    Check(Arguments),
    /// Boot it in each situation
    Boot {
        /// The kernel under sanitizers
        #[arg(long)]
        debug: bool,
        #[command(flatten)]
        pick: Arguments,
    },
    /// Run programs in an initramfs and out of it
    Programs(Arguments),
    /// Run the tests
    Test {
        /// Also those that CI has no time for
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        bases: Bases,
        #[command(flatten)]
        pick: Arguments,
    },
    /// Run programs in an initramfs and out of it, measure, and write a report
    Report(Bases),
}

impl Task {
    /// Whether it is for this machine's architecture alone.
    fn is_native(&self) -> bool {
        use Task::*;
        let under_sanitizers = matches!(self, Kernel { debug: true } | Boot { debug: true, .. });
        under_sanitizers
            || matches!(self, Fuzz(_) | Check(_) | Bench | Bisect | DebBoot | Report(_))
    }
}

#[derive(clap::Args)]
struct Bases {
    /// The kernel releases, all of them unless given
    #[arg(long, value_delimiter = ' ')]
    bases: Vec<String>,
}

impl Bases {
    fn get(&self) -> Result<Vec<Base>> {
        if paths::given("KDIR").is_some() {
            // That tree, once.
            return Ok(vec![Base::find("")?]);
        }
        let names: Vec<_> = self.bases.iter().filter(|name| !name.is_empty()).collect();
        if names.is_empty() {
            return Base::all();
        }
        names.into_iter().map(|name| Base::find(name)).collect()
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = cmd::stop_on_signals().and_then(|_temporary| run(&cli));
    cmd::go_on_unless_stopping();
    done.unwrap_or_else(|e| {
        eprintln!("error: {e:#}");
        ExitCode::FAILURE
    })
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let user_mode = cli.arch.as_deref() == Some("um");
    if let Some(arch) = cli.arch.as_ref().filter(|_| !user_mode) {
        arch::choose(arch)?;
    }
    ensure!(
        !user_mode || matches!(cli.command, Task::Kernel { debug: true }),
        "user-mode Linux is built for tests alone, by `make kernel ARCH=um DEBUG=1`"
    );
    ensure!(
        !arch::current().is_foreign() || !cli.command.is_native(),
        "this is for this machine's architecture alone: leave out ARCH={}",
        arch::current().name
    );
    ensure!(
        arch::current().in_vng || !matches!(cli.command, Task::Run | Task::Shell { .. }),
        "virtme-ng does not know {0}: use `make boot ARCH={0}`, which boots it without",
        arch::current().name
    );
    let base = || Base::find(&cli.base);
    let fixture = || Fixture::new(&base()?, false);
    match &cli.command {
        Task::Deps { all } => deps::install(if *all { For::All } else { For::Test }, &[])?,
        Task::Tree => tree::prepare(&base()?)?,
        Task::Run => {
            let base = base()?;
            deps::install(For::Run, std::slice::from_ref(&base))?;
            virtme::demonstrate(&base, &kernel::build(&base, false)?)?;
        }
        Task::Shell { words } => {
            virtme::has_terminal()?;
            let base = base()?;
            let image = kernel::build(&base, false)?;
            base.unlock();
            virtme::shell(&base, &image, &words.join(" "))?;
        }
        Task::Kernel { debug } => {
            let base = base()?;
            let image = if user_mode {
                let image = kunit::build_user_mode(&base)?;
                let objects = image.parent().unwrap_or(&image);
                kernel::leave(objects, &image, &base.beside_with("-um-debug"))?
            } else {
                kernel::build(&base, *debug)?
            };
            println!("{}, with System.map and config beside it", image.display());
        }
        Task::Kunit => {
            let base = base()?;
            if arch::current().is_foreign() {
                kunit::in_small_kernel(&*fixture()?)?;
            } else {
                kunit::user_mode(&base)?;
                fuzz::systematic(&base)?;
                kunit::without_option(&base)?;
                kunit::in_qemu(&*fixture()?, &kernel::KUNIT)?;
            }
        }
        Task::Fuzz(options) => fuzz::run(&base()?, options)?,
        Task::Series(options) => outgoing::series(&base()?, options)?,
        Task::Patch => user_tree::patch()?,
        Task::Unpatch => user_tree::unpatch()?,
        Task::Refresh => series::refresh(&base()?)?,
        Task::Dist => outgoing::distribute()?,
        Task::Bisect => gates::bisect(&*fixture()?)?,
        Task::Deb => {
            for package in packages::build(&base()?)? {
                println!("{}", package.display());
            }
        }
        Task::DebBoot => {
            deps::install(For::Deb, &[base()?])?;
            programs::installed(&*fixture()?)?;
        }
        Task::Bench => {
            let fixture = fixture()?;
            measure::cost(&fixture)?;
            let svg = report::plot(&fixture.base, &measure::memory(&fixture)?)?;
            let file = fixture.base.dir.join("memory.svg");
            cmd::write(&file, svg)?;
            println!("{}", file.display());
        }
        Task::Check(pick) => {
            return Tests::new(pick).run(Some(1), gates(&fixture()?, true, true)).end();
        }
        Task::Boot { debug, pick } => {
            let fixture = Fixture::new(&base()?, *debug)?;
            return Tests::new(pick).run(None, situations::trials(&fixture)).end();
        }
        Task::Programs(pick) => {
            let trials = programs::trials(&fixture()?, true, &Arc::default())?;
            return Tests::new(pick).run(None, trials).end();
        }
        Task::Test { all, bases, pick } => return test(&bases.get()?, *all, pick),
        Task::Report(bases) => return report(&bases.get()?),
    }
    Ok(ExitCode::SUCCESS)
}

/// What has been run of the tests that the arguments pick.
struct Tests {
    arguments: Arguments,
    passed: u64,
    failed: u64,
}

impl Tests {
    fn new(arguments: &Arguments) -> Self {
        Self { arguments: arguments.clone(), passed: 0, failed: 0 }
    }

    /// Runs tests, so many at a time, or else one on each CPU. Builds use all CPUs by themselves.
    fn run(mut self, threads: Option<usize>, trials: Vec<Trial>) -> Self {
        if self.arguments.list {
            // Whoever reads it may have seen enough, as head does.
            sigpipe::reset();
        }
        let test_threads = self.arguments.test_threads.or(threads);
        let arguments = Arguments { test_threads, ..self.arguments.clone() };
        let conclusion = libtest_mimic::run(&arguments, trials);
        self.passed += conclusion.num_passed;
        self.failed += conclusion.num_failed;
        self
    }

    /// The last line says how it went. That none has run is an error.
    fn end(self) -> Result<ExitCode> {
        let Self { passed, failed, arguments } = self;
        if arguments.list {
            return Ok(ExitCode::SUCCESS);
        }
        let filter = arguments.filter.unwrap_or_default();
        ensure!(passed + failed > 0, "no test is left by T={filter}: T=--list shows all");
        harness::print_failed();
        println!("{passed} passed, {failed} failed");
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The gates of a base. Those that are about no base are run on the first one, and those that are about
/// what is mailed on the newest.
fn gates(fixture: &Arc<Fixture>, first: bool, newest: bool) -> Vec<Trial> {
    let base = &fixture.base;
    let gates = GATES.iter().filter(|(_, when, _)| match when {
        When::Always => true,
        When::Host => first && !base.own,
        When::Ours => !base.own,
        When::Mailed => newest && !base.own,
    });
    let trials = gates.map(|&(name, when, gate)| {
        fixture.trial(&format!("check::{name}"), move |fixture| {
            if when != When::Host {
                tree::prepare(&fixture.base)?;
            }
            gate(fixture)
        })
    });
    trials.collect()
}

/// Runs the tests on each of these bases.
fn test(bases: &[Base], all: bool, pick: &Arguments) -> Result<ExitCode> {
    let mut tests = Tests::new(pick);
    let everything = pick.filter.is_none() && pick.skip.is_empty() && !pick.list;
    if everything {
        // Whoever picks tests has installed the packages before.
        deps::install(if all { For::All } else { For::Test }, bases)?;
    }
    let newest = Base::all()?.pop().map(|base| base.name);
    let outcomes = Arc::default();
    let mut fixtures = Vec::new();
    for (i, base) in bases.iter().enumerate() {
        println!("\n=== Linux {} ===", base.name);
        let fixture = Fixture::new(base, false)?;
        let newest = newest.as_ref() == Some(&base.name);
        let here = !arch::current().is_foreign();
        let mut builds = vec![
            fixture.trial("kernel::boot", |f| f.machine(&kernel::BOOT).map(drop)),
            fixture.trial("kernel::test", |f| f.machine(&kernel::TEST).map(drop)),
        ];
        let mut others = vec![fixture.trial("kunit::qemu", |f| kunit::in_qemu(f, &kernel::KUNIT))];
        if here {
            builds.insert(1, fixture.trial("kunit::user_mode", |f| kunit::user_mode(&f.base)));
            others.extend([
                fixture.trial("fuzz::systematic", |f| fuzz::systematic(&f.base)),
                fixture.trial("fuzz::generated", move |f| {
                    fuzz::generated(&f.base, if all { 10_000 } else { 500 }, 0, None)
                }),
            ]);
        }
        if here && newest && !all && arch::others().any(|arch| arch.name == "arm64") {
            others.push(fixture.trial("kunit::arm64", |f| for_arch("arm64", &f.base, "kunit")));
        }
        if here && all {
            others.extend(arch::others().map(|arch| {
                let name = arch.name;
                fixture.trial(name, |f| for_arch(name, &f.base, arch.in_test_all))
            }));
            others.extend([
                fixture.trial("kunit::without_option", |f| kunit::without_option(&f.base)),
                fixture.trial("kunit::qemu_debug", |f| {
                    kunit::in_qemu(f, &kernel::DEBUG)?;
                    kunit::leaves_no_memory(f)?;
                    gates::instrumented_debug(f)
                }),
                fixture.trial("kernel::gcc", gates::gcc),
                fixture.trial("kernel::debian_13", gates::debian_13),
                fixture.trial("selftests", selftests::compare),
                fixture.trial("packages::boot", packages::boot),
                fixture.trial("fuzz::libarchive", |f| {
                    fuzz::generated(&f.base, 1_000, 1, Some(&fuzz::libarchive()?))
                }),
            ]);
            if !base.own {
                // These take checkouts of their own, or are about a release of Debian's.
                others.extend([
                    fixture.trial("packages::take_debians", packages::take_debians),
                    fixture.trial("fresh_clone", |f| in_fresh_clone(&f.base)),
                    fixture.trial("fuzz::faults", |f| fuzz::faults::sweep(&f.base)),
                    fixture.trial("user_tree", |f| user_tree::with_virtme(&f.base)),
                ]);
            }
        }
        let failed = tests.failed;
        // Two at a time, since there are stretches where a build keeps but one CPU busy.
        tests = tests.run(Some(2), builds);
        if tests.failed > failed {
            eprintln!("Without these, the other tests of {} are left out.", base.name);
            continue;
        }
        tests = tests
            .run(None, situations::trials(&fixture))
            .run(None, programs::trials(&fixture, all, &outcomes)?)
            .run(Some(1), others);
        if here && all {
            tests = tests
                .run(None, situations::more_trials(&fixture))
                .run(None, situations::trials(&Fixture::new(base, true)?));
        }
        if here {
            tests = tests.run(Some(1), gates(&fixture, i == 0, newest));
        }
        fixtures.push(fixture);
    }
    if all && everything && !arch::current().is_foreign() {
        let is_documented = fixtures.len() == Base::all()?.len();
        tests = tests.run(None, report_trial(fixtures, outcomes, is_documented));
    }
    tests.end()
}

/// Has this program do something for another architecture.
fn for_arch(arch: &str, base: &Base, what: &str) -> Result<()> {
    base.lock()?;
    let mut tool = Command::new(env::current_exe()?);
    tool.args(["--arch", arch, "--base", &base.name, what]).env(base::LOCKED, "1");
    if what == "test" {
        tool.args(["--bases", &base.name]);
    }
    let what = format!("{what} for {arch}, Linux {}", base.name);
    cmd::watch(&what, &base.log(&format!("{arch}.log")), &mut tool)
}

/// Has this program get the sources in a clone of this repo, with nothing in the cache.
fn in_fresh_clone(base: &Base) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let clone = dir.path().join("clone");
    cmd::output(base::git(&paths::top()).args(["clone", "-q", "."]).arg(&clone))?;
    let mut tool = Command::new(env::current_exe()?);
    tool.args(["--base", &base.name, "tree"]);
    tool.env("TOP", &clone).env("XDG_CACHE_HOME", dir.path().join("cache"));
    let what = format!("sources of Linux {} in a fresh clone", base.name);
    cmd::watch(&what, &base.log("fresh-clone.log"), &mut tool)
}

/// Runs all of the programs, and writes the report.
fn report(bases: &[Base]) -> Result<ExitCode> {
    deps::install(For::All, bases)?;
    let mut tests = Tests::new(&Arguments::default());
    let outcomes = Arc::default();
    let fixtures =
        bases.iter().map(|base| Fixture::new(base, false)).collect::<Result<Vec<_>>>()?;
    for fixture in &fixtures {
        tests = tests.run(None, programs::trials(fixture, true, &outcomes)?);
    }
    tests.run(None, report_trial(fixtures, outcomes, false)).end()
}

/// A test that writes the report with what the programs came to, opens it and, on demand, compares it
/// with the documentation. Where no base could be built, there is none.
fn report_trial(
    fixtures: Vec<Arc<Fixture>>,
    outcomes: Arc<Mutex<Vec<programs::Outcome>>>,
    is_documented: bool,
) -> Vec<Trial> {
    let bases: Vec<_> = fixtures.iter().map(|fixture| fixture.base.clone()).collect();
    let trial = fixtures.first().map(|fixture| {
        fixture.trial("report", move |fixture| {
            let outcomes = cmd::lock(&outcomes);
            let index = report::write_page(&bases, &outcomes, &measure::memory(fixture)?)?;
            println!("{}", index.display());
            report::check(&index, &outcomes)?;
            if is_documented {
                report::agrees_with_documentation()?;
            }
            Ok(())
        })
    });
    trial.into_iter().collect()
}
