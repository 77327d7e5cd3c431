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
mod loaders;
mod memory;
mod options;
mod policy;
mod root;
mod security;
mod setup;
mod whole;

use crate::{arch, harness::Fixture};
use libtest_mimic::Trial;
use setup::Situation;
use std::sync::Arc;

/// All of them as tests of a base.
pub fn trials(fixture: &Arc<Fixture>) -> Vec<Trial> {
    // Loaders have a command line of their own, without what a kernel under sanitizers wants there.
    let has_loaders = has_loaders() && !fixture.debug;
    let groups = [
        ("root", root::all()),
        ("options", options::all()),
        ("broken", broken::all()),
        ("whole", whole::all()),
        ("composite", composite::all()),
        ("contents", contents::all()),
        ("policy", policy::all()),
        ("loaders", if has_loaders { loaders::all() } else { Vec::new() }),
        ("memory", memory::all()),
        ("helpers", helpers::all()),
        ("disk", disk::all()),
        ("built_in", built_in::all()),
        ("canary", canary::all()),
    ];
    trials_of(fixture, groups)
}

/// Those of `make test-all`, which has other kernels, and more time.
pub fn more_trials(fixture: &Arc<Fixture>) -> Vec<Trial> {
    let groups = [
        ("composite", if fixture.base.own { Vec::new() } else { composite::on_stock() }),
        ("memory", memory::more()),
        ("security", security::all()),
        ("numa", options::numa()),
        ("loaders", if has_loaders() { loaders::more() } else { Vec::new() }),
    ];
    trials_of(fixture, groups)
}

/// Whether it is a PC, whose loaders those are.
fn has_loaders() -> bool {
    let arch = arch::current();
    arch.name == "x86_64" && !arch.is_foreign()
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
