// SPDX-License-Identifier: GPL-2.0

//! With any amount of memory, an archive is there as a whole, or not run.

use super::setup::*;
use crate::archive::{compress, noise, COMPRESSIONS};
use anyhow::{ensure, Context};

/// How many MiB the archive has, which compression makes no smaller.
const SIZE: usize = 32;

pub fn all() -> Vec<Situation> {
    on_each_fs([None, Some("zstd")])
}

/// The same of the other compressions.
pub fn more() -> Vec<Situation> {
    on_each_fs(COMPRESSIONS.iter().map(|(how, ..)| Some(*how)).filter(|how| *how != Some("zstd")))
}

fn on_each_fs(all: impl IntoIterator<Item = Option<&'static str>>) -> Vec<Situation> {
    let file_systems = [("tmpfs", ""), ("ramfs", "rootfstype=ramfs")];
    let all = all.into_iter().flat_map(|how| {
        file_systems.map(|(fs, words)| {
            let name = how.unwrap_or("plain");
            code(format!("{name}_{fs}_from_too_little_to_plenty"), move |fixture| {
                from_too_little_to_plenty(fixture, how, fs, words)
            })
        })
    });
    all.collect()
}

fn from_too_little_to_plenty(
    fixture: &Fixture,
    how: Option<&str>,
    fs: &str,
    words: &str,
) -> Result<()> {
    let archive = Archive::telling("archive")?.file("big", 0o644, &noise(SIZE << 20));
    let plain = archive.file("marker-last", 0o644, b"1").finish();
    let image = how.map_or(Ok(plain.clone()), |how| compress(how, &plain))?;
    let mut outcomes = Vec::new();
    // With less than that, the image lies where the kernel unpacks itself.
    for mib in (SIZE as u32 + 48..=SIZE as u32 + 144).step_by(24) {
        let machine = fixture.machine(&BOOT)?.append(words);
        let initrd = Some(image.clone().into());
        // On a busy machine, that much bzip2 takes minutes.
        let seen = Seen::of(&Machine { initrd, mib, seconds: 300, ..machine })
            .with_context(|| format!("with {mib} MiB"))?;
        let why = seen.0.panic();
        if let Some(why) = why {
            // The OOM killer's, where there is no limit.
            let is_full = fs == "ramfs" && why.contains("System is deadlocked on memory");
            let is_known = is_full || why.contains("initramfs: ");
            seen.check(is_known && seen.0.guest.is_empty(), format!("with {mib} MiB: {why}"))?;
        } else {
            seen.is_root_mount("archive", fs)?.says("file: /marker-last")?;
        }
        outcomes.push(why.is_some());
        let comes_to =
            why.map_or("the root", |why| why.rsplit(" - not syncing: ").next().unwrap_or(why));
        println!("  {SIZE} MiB, {}, in {mib} MiB, {fs}: {comes_to}", how.unwrap_or("plain"));
    }
    // Sanitizers have memory of their own on top.
    let both =
        (fixture.debug || outcomes.first() == Some(&true)) && outcomes.last() == Some(&false);
    ensure!(both, "of these steps, the first has to panic and the last not: {outcomes:?}");
    Ok(())
}
