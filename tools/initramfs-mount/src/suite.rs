// SPDX-License-Identifier: GPL-2.0

//! What `make test`, `make test-all` and `make report` are made of, and how tests are run.

use crate::{
    arch,
    base::{self, Base},
    cmd,
    deps::{self, For},
    fuzz,
    gates::{self, When, GATES},
    harness::{self, Fixture},
    kernel, kunit, measure, once, packages, paths, programs, report, selftests, situations, tree,
    user_tree,
};
use anyhow::{ensure, Result};
use libtest_mimic::{Arguments, Trial};
use std::{
    env,
    process::{Command, ExitCode},
    sync::{Arc, Mutex},
};

/// What has been run of the tests that the arguments pick.
pub struct Tests {
    arguments: Arguments,
    passed: u64,
    failed: u64,
}

impl Tests {
    pub fn new(arguments: &Arguments) -> Self {
        Self { arguments: arguments.clone(), passed: 0, failed: 0 }
    }

    /// Runs tests, so many at a time, or else one on each CPU. Builds use all CPUs by themselves.
    pub fn run(mut self, threads: Option<usize>, trials: Vec<Trial>) -> Self {
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
    pub fn end(self) -> Result<ExitCode> {
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
pub fn gates(fixture: &Arc<Fixture>, first: bool, newest: bool) -> Vec<Trial> {
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
pub fn test(bases: &[Base], all: bool, pick: &Arguments) -> Result<ExitCode> {
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
pub fn report(bases: &[Base]) -> Result<ExitCode> {
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
            let outcomes = once::lock(&outcomes);
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
