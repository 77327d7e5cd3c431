// SPDX-License-Identifier: GPL-2.0

//! What the format allows is no broken archive.

use super::setup::*;
use crate::archive::{compress, noise, padded};
use cpio::newc::Builder;

pub fn all() -> Vec<Situation> {
    let mut all = situations([
        // As iPXE injects files.
        boots_whole("without_padding_or_trailer", |_| open()).says("file: /marker-last"),
        boots_whole("without_padding_of_the_trailer", |_| without_padding_of_the_trailer()),
        boots_whole("without_padding_of_the_trailer_in_a_gzip", |_| {
            compress("gzip", &without_padding_of_the_trailer()?)
        }),
        boots_whole("without_padding_of_a_name", |_| without_padding_of_a_name())
            .says("file: /marker-empty"),
        boots_whole("without_padding_of_a_name_in_an_xz", |_| {
            compress("xz", &without_padding_of_a_name()?)
        })
        .says("file: /marker-empty"),
        boots_whole("entries_replaced_by_another_type", |_| {
            let archive = Archive::telling("archive")?
                .dir("marker-dir")
                .file("marker-dir", 0o644, b"")
                .symlink("marker-link", "bin")
                .dir("marker-link")
                .file("marker-link/marker-within", 0o644, b"");
            Ok(archive.finish())
        })
        .says("file: /marker-link/marker-within"),
        // They have room one after the other.
        boot("files_replaced_by_links", |_| {
            let add = |archive: Archive, _| {
                archive.file("marker-big", 0o644, &noise(2 << 20)).symlink("marker-big", "init")
            };
            Ok((0..20).fold(Archive::telling("archive")?, add).finish())
        })
        .with("rootflags=size=10M")
        .boots_root("archive", "tmpfs size=10M"),
        // Nobody reads from it.
        boots_whole("link_to_what_a_fifo_has_replaced", |_| {
            let entry = |name, mode, inode| Builder::new(name).mode(mode).ino(inode).nlink(2);
            let archive = Archive::telling("archive")?
                .entry(entry("marker-file", 0o100_644, 1000), b"")
                .entry(entry("marker-file", 0o010_644, 1001), b"")
                .entry(entry("marker-link", 0o100_644, 1000), b"data")
                // Nor from a device, which would take it.
                .entry(entry("marker-full", 0o100_644, 1002), b"")
                .entry(entry("marker-full", 0o020_644, 1003).rdev_major(1).rdev_minor(7), b"")
                .entry(entry("marker-other", 0o100_644, 1002), b"data");
            Ok(archive.file("marker-last", 0o644, b"1").finish())
        })
        .says("file: /marker-last"),
        // Only what is not compressed is aligned.
        boots_whole("with_any_number_of_zeros", |fixture| {
            Ok([archive(fixture)?, vec![0; 3], compress("xz", &second())?].concat())
        })
        .says("file: /marker-2"),
        // As GRUB and systemd-stub append archives.
        boots_whole("lz4_then_cpio", |fixture| {
            Ok([padded(compress("lz4", &archive(fixture)?)?, 4), second()].concat())
        })
        .says("file: /marker-2"),
        boots_whole("lz4_then_junk", |fixture| {
            Ok([compress("lz4", &archive(fixture)?)?, JUNK.to_vec()].concat())
        }),
        boots_whole("lz4_then_what_could_be_a_short_chunk", |fixture| {
            let junk = [5, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff];
            Ok([&compress("lz4", &archive(fixture)?)?[..], &junk].concat())
        }),
        boots_whole("before_an_lz4_of_nothing", |fixture| {
            Ok([&archive(fixture)?, &b"\x02\x21\x4c\x18\0"[..]].concat())
        }),
        boots_whole("before_a_gzip_of_nothing_and_junk", |fixture| {
            let nothing = padded(compress("gzip", b"")?, 4);
            Ok([&archive(fixture)?[..], &nothing, JUNK].concat())
        }),
        boots_whole("then_junk_like_a_number", |fixture| {
            Ok([&archive(fixture)?[..], b"0x10"].concat())
        })
        .logs("Initramfs: ignored what follows: no cpio magic"),
        boots_whole("with_junk_in_a_gzip", |fixture| {
            compress("gzip", &[&archive(fixture)?[..], JUNK].concat())
        }),
        boots_whole("with_much_junk_in_a_zstd", |fixture| {
            compress("zstd", &[archive(fixture)?, JUNK.to_vec(), noise(1 << 20)].concat())
        }),
        // With a size in its header, and that is 0.
        boots_whole("after_an_lzma_of_nothing", |fixture| {
            Ok([&b"\x5d"[..], &[0; 31], &archive(fixture)?].concat())
        }),
        boots_whole("with_a_symlink_named_trailer", |_| with_a_symlink_named_trailer())
            .says("file: /marker-last"),
        boot("with_a_symlink_named_trailer_when_off", |_| with_a_symlink_named_trailer())
            .with(OFF)
            .boots_rootfs("archive")
            .says("file: /marker-last"),
        // Such an entry is skipped, and nothing else, wherever its header comes in two pieces.
        boots_whole("with_a_name_that_is_too_long", |_| {
            let archive = Archive::telling("archive")?;
            let len = archive.open().len();
            // gunzip hands out 32 KiB at a time.
            let header = len.next_multiple_of(32 << 10) - 50;
            let archive = archive
                .file("pad", 0o644, &vec![0; header - len - 116])
                .file(&"n".repeat(5000), 0o644, b"")
                .file("marker-last", 0o644, b"1");
            compress("gzip", &archive.finish())
        })
        .says("file: /marker-last"),
        boots_whole("ends_in_a_name_that_is_too_long", |_| {
            let open = Archive::telling("archive")?.file(&"n".repeat(5000), 0o644, b"").open();
            // Without the padding behind it.
            Ok(open[..open.len() - 1].to_vec())
        }),
    ]);
    // What is unpacked twice, since there is no init in it, is never there twice.
    for (name, words) in [("in_little_memory", ""), ("in_little_memory_when_off", OFF)] {
        let boot = boot(name, |_| {
            let archive = Archive::new().console();
            Ok(archive.file("big", 0o644, &noise(BIG_MIB << 20)).finish())
        });
        // The initrd, what is in it, and the kernel.
        let boot = boot.disk().with(words).mib(2 * BIG_MIB as u32 + 72);
        all.push(boot.boots_disk().into());
    }
    all
}

fn boots_whole(name: &str, image: impl Makes) -> Expectation {
    boot(name, image).boots_root("archive", "tmpfs").never_logs(BROKEN)
}

fn open() -> Result<Vec<u8>> {
    Ok(Archive::telling("archive")?.open_with("marker-last", b"9 bytes.."))
}

fn second() -> Vec<u8> {
    Archive::new().file("marker-2", 0o644, b"2").finish()
}

fn with_a_symlink_named_trailer() -> Result<Vec<u8>> {
    let archive = Archive::telling("archive")?.symlink("TRAILER!!!", &"x".repeat(4000));
    Ok(archive.file("marker-last", 0o644, b"1").finish())
}

fn without_padding_of_the_trailer() -> Result<Vec<u8>> {
    let archive = Archive::telling("archive")?;
    let len = archive.open().len() + 110 + "TRAILER!!!\0".len();
    Ok(archive.finish()[..len].to_vec())
}

/// An empty file has nothing but its name.
fn without_padding_of_a_name() -> Result<Vec<u8>> {
    let archive = Archive::telling("archive")?;
    let len = archive.open().len() + 110 + "marker-empty\0".len();
    Ok(archive.file("marker-empty", 0o644, b"").open()[..len].to_vec())
}
