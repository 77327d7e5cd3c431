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
mod files;
mod fuzz;
mod gates;
mod guest;
mod harness;
mod kernel;
mod kunit;
mod machine;
mod measure;
mod once;
mod outgoing;
mod packages;
mod paths;
mod programs;
mod report;
mod selftests;
mod series;
mod situations;
mod suite;
mod toolchain;
mod tree;
mod user_tree;
mod virtme;

use anyhow::{ensure, Result};
use base::Base;
use clap::{Parser, Subcommand};
use deps::For;
use harness::Fixture;
use libtest_mimic::Arguments;
use std::{process::ExitCode, sync::Arc};
use suite::{gates, Tests};

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
            files::write(&file, svg)?;
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
        Task::Test { all, bases, pick } => return suite::test(&bases.get()?, *all, pick),
        Task::Report(bases) => return suite::report(&bases.get()?),
    }
    Ok(ExitCode::SUCCESS)
}
