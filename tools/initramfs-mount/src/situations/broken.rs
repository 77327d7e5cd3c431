// SPDX-License-Identifier: GPL-2.0

//! A broken archive is not run, and nothing of it stays.

use super::setup::*;
use crate::{
    archive::{compress, noise, padded, COMPRESSIONS},
    fuzz::oracle::Verdict,
};
use anyhow::ensure;

pub fn all() -> Vec<Situation> {
    let mut all = situations([
        breaks("compressed", |_| Ok(half(&compress("gzip", &big(4)?)?))),
        boot("larger_than_the_mount", |_| big(16)).with("rootflags=size=8M").panics().logs(BROKEN),
        boot("larger_than_the_mount_compressed", |_| compress("zstd", &big(16)?))
            .with("rootflags=size=8M")
            .panics()
            .logs(BROKEN),
        boot("more_files_than_the_mount_may_have", |_| {
            let add = |archive: Archive, i| archive.file(&format!("file{i}"), 0o644, b"");
            Ok((0..2000).fold(Archive::telling("half")?, add).finish())
        })
        .with("initramfs_options=nr_inodes=1k")
        .panics(),
        breaks("plain", half_of_big),
        breaks("second_of_two", |_| Ok([first()?, half(&second())].concat())),
        breaks("second_of_two_compressed", |_| {
            let first = padded(compress("gzip", &first()?)?, 4);
            Ok([first, half(&compress("xz", &second())?)].concat())
        }),
        breaks("second_of_two_lz4", |_| {
            // The kernel decompresses them as one.
            let second = Archive::new().file("x", 0o644, &[b'x'; 99]).finish();
            let second = compress("lz4", &second)?;
            Ok([&compress("lz4", &first()?)?, &second[..second.len() - 9]].concat())
        }),
        // Zeros may follow a stream of nothing, and this length is 0x1000.
        breaks("second_is_lz4_in_its_first_length", |_| {
            Ok([&first()?[..], b"\x02\x21\x4c\x18\x00\x10"].concat())
        }),
        breaks("second_of_two_in_its_header", |_| cut_in_its_header()),
        // Its folder is missing, so that it is passed over.
        breaks("ends_in_a_file_that_is_skipped", |_| {
            let open = Archive::telling("half")?.file("no/such", 0o644, b"12345678").open();
            Ok(open[..open.len() - 1].to_vec())
        }),
        // Zeros for padding would be the rest of it.
        breaks("ends_in_a_name_without_padding", |_| {
            let open = Archive::telling("half")?.dir("thirteen-long").open();
            Ok(open[..open.len() - 2].to_vec())
        }),
        // What was cut off may have been an archive.
        breaks("gzip_that_ends_in_its_junk", |_| {
            let packed = compress("gzip", &[first()?, noise(4096)].concat())?;
            Ok(packed[..packed.len() - 100].to_vec())
        })
        .logs("Initramfs unpacking failed: decompressor failed"),
        breaks("second_of_two_in_one_gzip", |_| compress("gzip", &cut_in_its_header()?)),
        broken("bzip2_in_its_tables", |_| {
            // An image that ends with a page has the end of memory behind it, where QEMU puts it.
            let cut = compress("bzip2", &noise(60_000))?[..860].to_vec();
            Ok([vec![0; 4096 - cut.len()], cut].concat())
        })
        .panics(),
        // All of it can be had, and is looked at only then.
        boot("bzip2_in_its_checksum_when_off", |_| {
            let packed = compress("bzip2", &first()?)?;
            Ok(packed[..packed.len() - 1].to_vec())
        })
        .with(OFF)
        .boots_rootfs("first")
        .logs("Data integrity error when decompressing"),
        // A size, a larger dictionary, and then as many ones as it takes to repeat what is in front of the first byte.
        boot("lzma_that_repeats_nothing", |_| {
            let header = [0x5d, 0, 0, 0, 0x40, 100, 0, 0, 0, 0, 0, 0, 0];
            Ok([&header[..], &[0], &[0xff; 60]].concat())
        })
        .panics()
        .logs("LZMA data is corrupt"),
        breaks("checksum_of_xz", |_| {
            let packed = compress("xz", &first()?)?;
            // The index and the footer are the last 28 bytes or so; the block's CRC32 precedes them.
            let at = packed.len() - 36;
            Ok((at..at + 12).fold(packed, |packed, at| flipped(packed, at, 0x55)))
        }),
        breaks("checksum_of_cpio", |_| {
            Ok(Archive::telling("half")?.file_with_sum("sum", b"summed", false).finish())
        }),
        broken("header_with_no_number", |_| {
            let mut image = first()?;
            // The inode of the first entry.
            image[6] = b'+';
            Ok(image)
        })
        .panics()
        .logs("damaged header"),
        broken("symlink_whose_name_has_no_nul", |_| {
            let mut image = Archive::telling("half")?.open();
            let nul = image.len() + 110 + "link".len();
            image.extend(Archive::new().symlink("link", "target").finish());
            image[nul] = b'x';
            Ok(image)
        })
        .panics()
        .logs("malformed archive"),
        // It is as long as with its name, which passes for padding.
        breaks("entry_without_a_name", |_| {
            let mut image = Archive::telling("half")?.open();
            let size_of_name = image.len() + 94;
            image.extend(one_file());
            image[size_of_name..][..8].fill(b'0');
            Ok(image)
        })
        .logs("damaged header"),
        breaks("entry_of_no_type", |_| {
            Ok(Archive::telling("half")?.node("folder", 0o755, 0, 0).finish())
        })
        .logs("damaged header"),
        breaks("trailer_with_data", |_| trailer_with_data()).logs("damaged header"),
        boot("trailer_with_data_when_off", |_| trailer_with_data())
            .with(OFF)
            .boots_rootfs("half")
            .logs("Initramfs is not whole: damaged header"),
        // It ends with the NUL of the next one's first name. What is left passes for junk.
        breaks("trailer_with_a_longer_name", |_| trailer_up_to(112, 94, 110))
            .logs("malformed archive"),
        // It begins as an archive does, and is one of those that the kernel never took.
        broken("older_cpio", |_| Ok([first()?, b"070707".repeat(30)].concat()))
            .panics()
            .logs("incorrect cpio method used"),
        // Zeros may come before an archive, but so many that it begins at a multiple of 4.
        breaks("misaligned", |_| misaligned()),
        breaks("misaligned_in_gzip", |_| compress("gzip", &misaligned()?)),
        // gunzip hands out 32 KiB at a time, of which the first byte of its header is the last.
        breaks("misaligned_in_two_parts_of_gzip", |_| {
            let first = first()?;
            let first = padded(first, 32 << 10);
            compress("gzip", &[&first[..first.len() - 1], &one_file()].concat())
        }),
        // Each would be mounted, and empty.
        breaks_with("and_a_tmpfs_is_no_root", "rootfstype=tmpfs"),
        breaks_with("and_a_ramfs_is_no_root", "rootfstype=ext4,ramfs root=/dev/nosuch"),
        boot("is_run_when_off", half_of_big).with(OFF).boots_rootfs("half"),
        // As when a bit of its magic number has changed. The panic is that there is no root.
        boot("not_an_archive_after_microcode", |_| Ok(microcode_and_noise())).panics(),
        boot("not_an_archive_after_microcode_then_the_disk", |_| Ok(microcode_and_noise()))
            .disk()
            .boots_disk()
            .logs("rootfs image is not initramfs ("),
        broken("not_an_archive", |_| Ok(noise(8192))).disk().boots_disk(),
        // The kernel with the built-in archive has no LZ4.
        boot("not_configured", |_| compress("lz4", &first()?))
            .built_in()
            .boots_root("builtin", "tmpfs")
            .logs("compression method lz4 not configured"),
        boot("second_not_configured", |_| Ok([first()?, compress("lz4", &one_file())?].concat()))
            .built_in()
            .boots_root("builtin", "tmpfs")
            .logs("compression method lz4 not configured"),
    ]);
    for from_end in [1, 4, 5, 8] {
        let bent = broken(format!("gzip_bit_flipped_{from_end}_from_its_end"), move |_| {
            let packed = compress("gzip", &first()?)?;
            let at = packed.len() - from_end;
            Ok(flipped(packed, at, 1))
        });
        all.push(bent.panics().logs(BROKEN).into());
    }
    // Wherever an archive ends, but for between two entries, since there need not be a trailer.
    for (name, from_header) in [
        ("in_the_last_files_data", -1),
        ("in_its_name", -7),
        ("in_its_header", -60),
        ("behind_the_first_byte_of_the_trailers_header", 1),
        ("in_the_trailers_header", 50),
        ("in_the_trailers_name", 115),
        ("before_the_nul_of_that", 120),
    ] {
        let cut = broken(format!("ends_{name}"), move |_| cut_at(from_header));
        all.push(cut.panics().logs(BROKEN).into());
    }
    for (name, from_header) in [("the_trailer", 0), ("padding", 121), ("a_zero", 124)] {
        let name = format!("ends_before_{name}_and_is_whole");
        let cut = boot(name, move |_| cut_at(from_header));
        all.push(cut.boots_root("half", "tmpfs").into());
    }
    for (how, ..) in COMPRESSIONS {
        let cut = broken(format!("{how}_half"), move |_| Ok(half(&compress(how, &big(1)?)?)));
        all.push(cut.disk().boots_disk().and(|seen, _| says_what_is_broken(seen)).into());
    }
    all.push(code("memory_comes_back", |fixture| {
        let without = free_memory(fixture, alone(""))?;
        let archive = big(BIG_MIB)?;
        let cut = archive[..archive.len() - 1024].to_vec();
        let with = free_memory(fixture, boot("", move |_| Ok(cut.clone())))?;
        ensure!(
            with + (4 << 10) >= without,
            "{with} KiB are free, and {without} without an archive"
        );
        Ok(())
    }));
    all
}

/// Without another root, a panic names the initramfs, and what was unpacked has begun as an archive.
fn breaks(name: impl Into<String>, image: impl Makes) -> Expectation {
    broken(name, image).panics().logs(BROKEN)
}

/// The same of an archive that is cut off, with these words.
fn breaks_with(name: &str, words: &str) -> Expectation {
    broken(name, half_of_big).with(words).panics().logs(BROKEN)
}

/// A boot with an image that is broken by its format, too.
fn broken(name: impl Into<String>, image: impl Makes) -> Setup {
    boot(name, image).judged(|verdict| matches!(verdict, Verdict::Broken(_) | Verdict::Foreign))
}

/// The message of today: which one depends on if anything was unpacked.
fn says_what_is_broken(seen: &Seen) -> Result<()> {
    let messages = [BROKEN, "rootfs image is not initramfs ("];
    let found = messages.iter().any(|message| seen.0.console.contains(message));
    seen.check(found, "the console does not say that the archive is broken")?.never_says("half")?;
    Ok(())
}

/// Whole up to the init, and then enough for it to be seen when it is there.
fn big(mib: usize) -> Result<Vec<u8>> {
    let archive = Archive::telling("half")?.file("marker-whole", 0o644, &noise(mib << 20));
    Ok(archive.finish())
}

/// That, cut off behind its init.
pub fn half_of_big(_: &Fixture) -> Result<Vec<u8>> {
    // Half of it is more than any architecture's busybox.
    Ok(half(&big(4)?))
}

fn first() -> Result<Vec<u8>> {
    Ok(Archive::telling("first")?.finish())
}

fn second() -> Vec<u8> {
    Archive::new().file("second", 0o644, &noise(1 << 20)).finish()
}

fn cut_in_its_header() -> Result<Vec<u8>> {
    Ok([&first()?, &one_file()[..60]].concat())
}

fn misaligned() -> Result<Vec<u8>> {
    Ok([first()?, vec![0], one_file()].concat())
}

/// All of the next archive passes for the data of the trailer.
fn trailer_with_data() -> Result<Vec<u8>> {
    trailer_up_to(one_file().len(), 54, 124)
}

/// Two archives. A size in the header of the first one's trailer, at `field`, says that what begins at `start`
/// in the trailer goes on up to `end` in the second archive.
fn trailer_up_to(end: usize, field: usize, start: usize) -> Result<Vec<u8>> {
    let archive = Archive::telling("half")?;
    let (trailer, first) = (archive.open().len(), archive.finish());
    let size = first.len() + end - (trailer + start);
    let mut image = [first, one_file()].concat();
    image[trailer + field..][..8].copy_from_slice(format!("{size:08X}").as_bytes());
    Ok(image)
}

fn one_file() -> Vec<u8> {
    Archive::new().file("x", 0o644, b"x").finish()
}

/// An archive up to so far from where its trailer begins.
fn cut_at(from_header: isize) -> Result<Vec<u8>> {
    let archive = Archive::telling("half")?.file("last", 0o644, b"last");
    let header = archive.open().len();
    Ok(archive.finish()[..header.saturating_add_signed(from_header)].to_vec())
}

/// With these bits of a byte changed.
pub fn flipped(mut bytes: Vec<u8>, at: usize, bits: u8) -> Vec<u8> {
    bytes[at] ^= bits;
    bytes
}

/// What a flipped bit in the magic of the main archive leaves.
pub fn microcode_and_noise() -> Vec<u8> {
    microcode_and(&noise(8192))
}

/// An archive without an init, and what follows it.
pub fn microcode_and(rest: &[u8]) -> Vec<u8> {
    let microcode = Archive::new().dir("kernel").file("kernel/microcode", 0o644, &noise(1000));
    [&microcode.finish(), rest].concat()
}
