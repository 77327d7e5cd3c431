// SPDX-License-Identifier: GPL-2.0

//! Programs that the kernel starts while it unpacks run in the root that it comes to be.

use super::setup::*;
use crate::{archive::noise, files::read, paths};

pub fn all() -> Vec<Situation> {
    let mut all = Vec::new();
    for cpus in [1, 2] {
        let broken = boot(format!("of_a_broken_archive_never_run_cpus{cpus}"), |_| {
            let whole = with_helper(Archive::telling("half")?)?;
            Ok(whole[..whole.len() - 4096].to_vec())
        });
        let broken = many(broken, cpus).boots_root("builtin", "tmpfs").logs(BROKEN);
        all.push(broken.never_logs("helper in").into());
        all.push(run(&format!("of_a_whole_one_run_in_its_root_cpus{cpus}"), cpus, "", 1));
    }
    // On 6.12, more of them wait than work items may run at a time, and it comes to an end.
    all.push(run("are_many", 2, "loop.max_loop=600 initramfs_async=1", 600));
    all
}

fn run(name: &str, cpus: u32, words: &str, least: u64) -> Situation {
    let boot = boot(name, |_| with_helper(Archive::running("helpers")?));
    let expectation = many(boot, cpus).with(words).comes_to(move |seen, _| {
        let helped = seen.logs("helper in archive")?.number("helped")?;
        seen.check(helped >= least, format!("only {helped} helpers")).map(drop)
    });
    expectation.into()
}

/// Hundreds of programs at a time.
fn many(setup: Setup, cpus: u32) -> Setup {
    setup.built_in().cpus(cpus).mib(768).seconds(400)
}

fn with_helper(archive: Archive) -> Result<Vec<u8>> {
    let hotplug = read(&paths::tool("guest/hotplug.sh"))?;
    let archive = archive
        .dir("sbin")
        .file("sbin/hotplug", 0o755, hotplug.as_bytes())
        .file("name", 0o644, b"archive")
        .char_device("dev/kmsg", 1, 11)
        .file("big", 0o644, &noise(32 << 20));
    Ok(archive.finish())
}
