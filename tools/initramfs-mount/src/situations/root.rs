// SPDX-License-Identifier: GPL-2.0

//! A whole archive is the root, in a mount of its own.

use super::{broken::half_of_big, setup::*};
use crate::{
    archive::{compress, noise, padded},
    cmd::output,
    guest, paths,
    toolchain::without_our_make,
};
use std::{path::PathBuf, process::Command};

pub fn all() -> Vec<Situation> {
    let mut all = situations([
        boot("pivots", archive).boots_root("archive", "tmpfs").logs("Unpacking initramfs..."),
        boot("is_rootfs_when_off", archive)
            .with(OFF)
            .boots_rootfs("archive")
            .never_logs("initramfs_mount: "),
        boot("gives_memory_back", |_| {
            let big = Archive::telling("archive")?.file("big", 0o644, &noise(BIG_MIB << 20));
            Ok(big.finish())
        })
        .with("tell=memory")
        .mib(5 * BIG_MIB as u32)
        .boots_root("archive", "tmpfs")
        .and(|seen, _| {
            let back = seen.number("pivoted")?.saturating_sub(seen.number("free")?);
            let enough = back > (BIG_MIB as u64 - 4) << 10;
            seen.check(enough, format!("only {back} KiB came back")).map(drop)
        }),
        boot("has_a_console_of_its_own", |_| {
            let archive = Archive::new().dir("bin").copy(&guest::busybox()?, "bin/busybox")?;
            Ok(archive.copy(&paths::tool("guest/console.sh"), "init")?.finish())
        })
        .logs("guest: console works")
        .never_logs("unable to open an initial console"),
        boot("of_several_archives", |_| {
            let first = Archive::new().dir("early").file("early/marker-1", 0o644, b"1").finish();
            let second = Archive::new().file("marker-2", 0o644, b"2").finish();
            let last = Archive::telling("last")?.finish();
            Ok([padded(first, 4096), second, vec![0; 12], last].concat())
        })
        .boots_root("last", "tmpfs")
        .says("file: /early/marker-1")
        .says("file: /marker-2"),
        boot("of_several_compressions", |_| {
            let mut all = Archive::new().file("marker-0", 0o644, b"0").finish();
            // Not LZ4, whose end the kernel can't tell.
            for (i, how) in ["gzip", "xz", "zstd", "bzip2"].iter().enumerate() {
                let archive = Archive::new().file(&format!("marker-{}", i + 1), 0o644, b"x");
                all.extend(padded(compress(how, &archive.finish())?, 4));
            }
            all.extend(Archive::telling("last")?.finish());
            Ok(all)
        })
        .boots_root("last", "tmpfs")
        .says("file: /marker-0")
        .says("file: /marker-1")
        .says("file: /marker-2")
        .says("file: /marker-3")
        .says("file: /marker-4"),
        boot("by_rdinit", |_| {
            let archive = Archive::telling("init")?.dir("sbin");
            Ok(archive.script("sbin/other", &tell("other")).finish())
        })
        .with("rdinit=/sbin/other")
        .boots_root("other", "tmpfs"),
        boot("without_retained_initrd", |_| Ok(Archive::running("initrd")?.finish()))
            .says("initrd: gone"),
        boot("with_retained_initrd", |_| Ok(Archive::running("initrd")?.finish()))
            .with("retain_initrd")
            .logs(ROOT_MOUNT)
            .and(|seen, _| {
                let len = Archive::running("initrd")?.finish().len();
                seen.says(&format!("initrd: {len}")).map(drop)
            }),
        // The kernel starts programs in the root mount, and not below it.
        boot("is_what_usermode_helpers_see", |_| Ok(Archive::running("core_pattern")?.finish()))
            .says("helper: yes"),
        boot("is_what_findmnt_shows", |_| {
            let archive = Archive::running("findmnt")?;
            Ok(archive.programs(&[("findmnt", "util-linux")])?.finish())
        })
        .says("root: rootfs tmpfs private")
        .says("tops: / 1")
        .says("ids: differ"),
        // They share the root of the first process, but for where they have nullfs.
        boot(
            "leaves_kernel_threads_where_they_are",
            |_| Ok(Archive::running("kthreadd")?.finish()),
        )
        .comes_to(|seen, fixture| {
            let (nullfs, tmpfs) = ("4e554c4c", "1021994");
            let magic = if fixture.base.has_nullfs() { nullfs } else { tmpfs };
            seen.says(&format!("kthreadd: {magic}")).map(drop)
        }),
        boot("is_left_by_the_selftest", selftest)
            .says("ok 1 one mount is the root")
            .says("ok 2 pivot_root out of the initramfs")
            .says("ok 3 umount of the old root")
            .never_says("initramfs_mount_test."),
        boot("is_not_left_by_the_selftest_when_off", selftest).with(OFF).comes_to(
            |seen, fixture| {
                let pivots = if fixture.base.has_nullfs() { "ok" } else { "not ok" };
                seen.says(&format!("{pivots} 2 pivot_root out of the initramfs")).map(drop)
            },
        ),
    ]);
    for (before, after) in [(0, 1), (0, 3), (512, 4096), (4, 100_001)] {
        let name = format!("between_{before}_and_{after}_zeros");
        let padded = boot(name, move |fixture| {
            Ok([vec![0; before], archive(fixture)?, vec![0; after]].concat())
        });
        all.push(padded.boots_root("archive", "tmpfs").never_logs(BROKEN).into());
    }
    for (is_async, cpus) in [(0, 1), (0, 2), (1, 1), (1, 2)] {
        let words = format!("initramfs_async={is_async}");
        let name = format!("async{is_async}_cpus{cpus}");
        let whole = boot(&name, |_| {
            let archive = Archive::telling("archive")?.file("marker", 0o644, &noise(1 << 20));
            compress("zstd", &archive.finish())
        });
        all.push(whole.with(&words).cpus(cpus).boots_root("archive", "tmpfs").into());
        let cut = boot(format!("{name}_cut_off"), half_of_big);
        all.push(cut.with(&words).cpus(cpus).disk().boots_disk().logs(BROKEN).into());
    }
    all
}

/// The series' own selftest, which tells on any kernel.
fn selftest(fixture: &Fixture) -> Result<Vec<u8>> {
    let name = "initramfs_mount_test";
    let built: PathBuf = fixture.image("selftest", |dir| {
        let mut make = Command::new("make");
        make.arg("-C")
            .arg(fixture.base.sources.join("tools/testing/selftests/initramfs_mount"))
            .arg(format!("OUTPUT={}", dir.display()))
            .arg(format!("CC={}", guest::compiler()?));
        std::fs::create_dir(dir)?;
        output(without_our_make(&mut make)).map(drop)
    })?;
    let archive = Archive::running("selftest")?.copy(&built.join(name), "selftest")?;
    Ok(archive.finish())
}
