// SPDX-License-Identifier: GPL-2.0

//! Boots that must fail, or else none of the others says anything.

use super::setup::*;
use crate::archive::noise;
use anyhow::{bail, ensure};

pub fn all() -> Vec<Situation> {
    vec![
        code("machine_that_cannot_start", |fixture| {
            let kernel =
                fixture.image("no-kernel", |image| Ok(std::fs::write(image, noise(100_000))?))?;
            // Counting, it does not try what accelerates QEMU here.
            let machine = Machine { seconds: 5, icount: true, ..Machine::new(&kernel) };
            fails(Seen::of(&machine), "and QEMU says: ")
        }),
        code("image_that_is_not_there", |fixture| {
            let machine =
                Machine { initrd: Some(Initrd::File("/nosuch".into())), ..fixture.machine(&BOOT)? };
            fails(Seen::of(&machine), "/nosuch")
        }),
        fails_as("guest_that_hangs", guest("hang").seconds(10).says(""), "did not switch off"),
        fails_as("guest_that_says_nothing", guest("silent").says("init: archive"), "does not say"),
        fails_as(
            "another_root_mount",
            boot("", archive).with("rootfstype=ramfs").boots_root("archive", "tmpfs"),
            "the console does not say",
        ),
        fails_as("not_a_panic", boot("", archive).panics(), "something of the archive was run"),
        fails_as("not_a_disk", boot("", archive).boots_disk(), "does not say \"init: disk\""),
        fails_as(
            "not_rootfs",
            boot("", archive).boots_rootfs("archive"),
            "the console has \"initramfs_mount: / is\"",
        ),
        fails_as(
            "no_disk_but_a_root",
            alone("").disk().boots_root("archive", "tmpfs"),
            "init: archive",
        ),
        fails_as(
            "no_number",
            guest("silent").comes_to(|seen, _| seen.number("free").map(drop)),
            "its \"free\"",
        ),
        fails_as("not_logged", boot("", archive).with(OFF).logs(ROOT_MOUNT), "the console has no"),
        fails_as(
            "warning_on_the_console",
            guest("warn").says("init: archive"),
            "the console has \"WARNING: \"",
        ),
    ]
}

fn guest(script: &'static str) -> Setup {
    boot("", move |_| Ok(Archive::running(script)?.finish()))
}

/// A situation in which another one fails.
fn fails_as(name: &'static str, expectation: Expectation, with: &'static str) -> Situation {
    let test = Situation::from(expectation).test;
    code(name, move |fixture| fails(test(fixture), with))
}

fn fails<T>(expectation: Result<T>, with: &str) -> Result<()> {
    let Err(e) = expectation else {
        bail!("it passes");
    };
    let said = format!("{e:#}");
    ensure!(said.contains(with), "it fails, but not with {with:?}:\n{said}");
    Ok(())
}
