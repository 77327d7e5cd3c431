// SPDX-License-Identifier: GPL-2.0

//! Builds, boots and checks kernels with `CONFIG_INITRAMFS_MOUNT`. The Makefile calls it.

mod apply;
mod archive;
mod base;
mod bench;
mod bisect;
mod boots;
mod check;
mod cmd;
mod cuts;
mod debian;
mod deps;
mod disk;
mod dist;
mod guest;
mod kernel;
mod kunit;
mod measure;
mod paths;
mod programs;
mod qemu;
mod report;
mod series;
mod source;
mod toolchain;
mod vng;

use anyhow::{ensure, Result};
use base::Base;
use clap::{Parser, Subcommand};
use libtest_mimic::{Arguments, Failed, Trial};
use std::{
    process::ExitCode,
    sync::{Arc, Mutex},
};

#[derive(Parser)]
struct Cli {
    /// The kernel release, 6.12 or 7.3
    #[arg(long, global = true, default_value = "6.12")]
    base: String,
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
    Shell,
    /// Build the kernel
    Kernel,
    /// Write the patch series
    Series(series::Options),
    /// Apply the series to a tree of your own, KDIR=
    Patch,
    /// Take the series out of a tree of your own, KDIR=
    Unpatch,
    /// Write patches for distributions, and how to use them
    Dist,
    /// Build and boot each commit of the series
    Bisect,
    /// Build Debian packages
    Deb,
    /// Measure the cost at boot
    Bench,
    /// Run the gates: format, lints, checkpatch, sizes
    Check {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run the tests
    Test {
        /// Also those that CI has no time for
        #[arg(long)]
        all: bool,
        /// The kernel releases to test
        #[arg(long, value_delimiter = ' ', default_value = "6.12 7.3")]
        bases: Vec<String>,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run programs in an initramfs and out of it, measure, and write a report
    Report {
        /// The kernel releases to run them on
        #[arg(long, value_delimiter = ' ', default_value = "6.12 7.3")]
        bases: Vec<String>,
    },
    /// Run programs in an initramfs and out of it
    Programs {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run the KUnit tests on user-mode Linux and in QEMU
    Kunit,
    /// Boot it in each situation
    Boot {
        /// Arguments of libtest, for instance a part of the tests' names
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let base = || Base::from_env(&cli.base);
    match &cli.command {
        Task::Deps { all } => deps::install(*all)?,
        Task::Tree => source::prepare(&base()?)?,
        Task::Run => {
            let base = base()?;
            kernel::build(&base)?;
            vng::demonstrate(&base)?;
        }
        Task::Shell => {
            let base = base()?;
            kernel::build(&base)?;
            vng::shell(&base)?;
        }
        Task::Kernel => {
            let base = base()?;
            kernel::build(&base)?;
            println!(
                "{}, with System.map and config beside it",
                base.vmlinuz().display()
            );
        }
        Task::Kunit => {
            let base = base()?;
            source::prepare(&base)?;
            kunit::user_mode(&base)?;
            cuts::boot(&base)?;
            kunit::without_option(&base)?;
            kunit::qemu(&base)?;
            check::instrumented(&base)?;
        }
        Task::Series(options) => series::write(&base()?, options)?,
        Task::Patch => apply::patch()?,
        Task::Unpatch => apply::unpatch()?,
        Task::Dist => dist::write()?,
        Task::Bisect => bisect::run(&base()?)?,
        Task::Deb => {
            for package in kernel::packages(&base()?)? {
                println!("{}", package.display());
            }
        }
        Task::Bench => {
            let base = base()?;
            kernel::build(&base)?;
            bench::run(&base)?;
        }
        Task::Check { args } => {
            let base = base()?;
            kernel::build(&base)?;
            return run_some(args, Some(1), gates(&base));
        }
        Task::Boot { args } => {
            let base = base()?;
            kernel::build(&base)?;
            kernel::build_variant(&base, kernel::Variant::BuiltIn)?;
            return run_some(args, None, boots::trials(&base)?);
        }
        Task::Programs { args } => {
            let base = base()?;
            kernel::build(&base)?;
            let trials = programs::trials(&base, true, &Arc::default())?;
            return run_some(args, None, trials);
        }
        Task::Report { bases } => {
            let bases = all_of(bases)?;
            let outcomes = Arc::default();
            let mut failed = false;
            for base in &bases {
                kernel::build(base)?;
                let trials = programs::trials(base, true, &outcomes)?;
                failed |= libtest_mimic::run(&arguments(&[], None), trials).has_failed();
            }
            report(&bases, &outcomes)?;
            if failed {
                return Ok(ExitCode::FAILURE);
            }
        }
        Task::Test { bases, all, args } => return test(bases, *all, args),
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs those of the tests that the arguments pick, which must be some.
fn run_some(args: &[String], threads: Option<usize>, trials: Vec<Trial>) -> Result<ExitCode> {
    let arguments = arguments(args, threads);
    let conclusion = libtest_mimic::run(&arguments, trials);
    ensure!(
        arguments.list || conclusion.num_passed + conclusion.num_failed > 0,
        "{}",
        no_test(args)
    );
    Ok(conclusion.exit_code())
}

fn no_test(args: &[String]) -> String {
    format!(
        "no test has {:?} in its name: T=--list shows all",
        args.join(" ")
    )
}

/// Returns the bases of these names.
fn all_of(names: &[String]) -> Result<Vec<Base>> {
    names.iter().map(|name| Base::from_env(name)).collect()
}

/// Writes the report with what the programs came to, and opens it.
fn report(bases: &[Base], outcomes: &Mutex<Vec<programs::Outcome>>) -> Result<()> {
    let outcomes = outcomes
        .lock()
        .map_err(|_| anyhow::anyhow!("a test panicked"))?;
    let index = report::write(bases, &outcomes)?;
    println!("{}", index.display());
    report::check(&index, &outcomes)
}

/// Runs the tests on each of these bases. The last line says how it went.
fn test(bases: &[String], all: bool, args: &[String]) -> Result<ExitCode> {
    let (mut passed, mut failed) = (0, 0);
    let mut ran = arguments(args, None).list;
    let bases = all_of(bases)?;
    let outcomes = Arc::default();
    for base in &bases {
        let name = &base.name;
        println!("\n=== Linux {name} ===");
        if let Err(e) = kernel::build(base) {
            eprintln!("error: {e:#}");
            failed += 1;
            continue;
        }
        passed += 1;
        let mut trials = gates(base);
        trials.push(trial(base, "kunit", "user_mode", kunit::user_mode));
        trials.push(trial(base, "kunit", "cuts", cuts::boot));
        if all && kunit::neighbours(base).is_some() {
            trials.push(trial(
                base,
                "kunit",
                "without_option",
                kunit::without_option,
            ));
        }
        // It takes a kernel of its own, for which CI has the time on one of the bases.
        if all || name == "7.3" {
            trials.push(trial(base, "kunit", "x86_64", |base| {
                kunit::qemu(base)?;
                check::instrumented(base)
            }));
        }
        trials.push(trial(base, "kernel", "built_in", |base| {
            kernel::build_variant(base, kernel::Variant::BuiltIn)
        }));
        if all && name == "6.12" {
            trials.push(trial(base, "kernel", "packages", boots::packages));
        }
        for conclusion in [
            // Builds use all CPUs by themselves.
            libtest_mimic::run(&arguments(args, Some(1)), trials),
            libtest_mimic::run(&arguments(args, None), boots::trials(base)?),
            libtest_mimic::run(
                &arguments(args, None),
                programs::trials(base, all, &outcomes)?,
            ),
        ] {
            ran |= conclusion.num_passed + conclusion.num_failed > 0;
            passed += conclusion.num_passed;
            failed += conclusion.num_failed;
        }
    }
    if all && args.is_empty() {
        match report(&bases, &outcomes).and_then(|()| report::agrees_with_readme()) {
            Ok(()) => passed += 1,
            Err(e) => {
                eprintln!("error: {e:#}");
                failed += 1;
            }
        }
    }
    if !ran && failed == 0 {
        eprintln!("error: {}", no_test(args));
        failed += 1;
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn gates(base: &Base) -> Vec<Trial> {
    check::GATES
        .iter()
        .map(|(name, gate)| trial(base, "check", name, gate))
        .collect()
}

fn trial(
    base: &Base,
    group: &str,
    name: &str,
    test: impl Fn(&Base) -> Result<()> + Send + 'static,
) -> Trial {
    let name = format!("{}::{group}::{name}", base.name);
    let base = base.clone();
    Trial::test(name, move || {
        test(&base).map_err(|e| Failed::from(format!("{e:#}")))
    })
}

fn arguments(args: &[String], threads: Option<usize>) -> Arguments {
    let args = Arguments::from_iter(std::iter::once(&"tests".to_owned()).chain(args));
    Arguments {
        test_threads: args.test_threads.or(threads),
        ..args
    }
}
