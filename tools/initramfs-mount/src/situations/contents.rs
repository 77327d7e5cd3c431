// SPDX-License-Identifier: GPL-2.0

//! All that an archive says of its files is so in the root, be their names relative or absolute.

use super::setup::*;
use crate::archive::{compress, COMPRESSIONS};
use cpio::newc::Builder;

/// Sizes at which something may change: of words, of blocks, of pages, of decompressors' windows.
const SIZES: &[usize] =
    &[0, 1, 3, 4, 110, 512, 4095, 4096, 4097, 32767, 32768, 32769, 65536, 300_003];

pub fn all() -> Vec<Situation> {
    let mut all: Vec<Situation> = COMPRESSIONS
        .iter()
        .map(|(how, ..)| contents(how, move |archive| compress(how, &archive.finish())))
        .collect();
    all.push(contents("plain", |archive| Ok(archive.finish())));
    all
}

fn contents(
    name: &str,
    finish: impl Fn(Archive) -> Result<Vec<u8>> + Send + Sync + 'static,
) -> Situation {
    let image = move |_: &Fixture| {
        let Listed { archive, expected, .. } = files()?;
        finish(archive.file("expected", 0o644, expected.as_bytes()))
    };
    let compared = format!("compared: {}", 6 * SIZES.len());
    boot(name, image).says(compared).never_says("differs: ").logs(ROOT_MOUNT).into()
}

/// An archive with a list of what is to be expected of its files.
struct Listed {
    archive: Archive,
    expected: String,
    /// What the files are told apart by: their owners and times.
    number: u32,
}

impl Listed {
    /// Adds an entry with a name of its kind. Its contents are `size` bytes of lines with `word`, and those of
    /// the file that it is another name of are those that come last.
    fn add(&mut self, kind: &str, mode: u32, (inode, links): (u32, u32), size: usize, word: &str) {
        let start = ["", "./", "/"][(self.number as usize + kind.len()) % 3];
        let name = &format!("{start}{kind}{}", self.number);
        let (uid, gid, time) =
            (100 + self.number, 70_000 + self.number, 1_000_000_000 + self.number);
        // What is no device has none.
        let device = if mode & 0o170_000 == 0o060_000 { 7 } else { 0 };
        let builder = Builder::new(name).mode(mode).uid(uid).gid(gid).mtime(time);
        let builder = builder.ino(inode).nlink(links).rdev_major(device).rdev_minor(device);
        let data: Vec<u8> = match word.strip_prefix("link:") {
            Some(target) => target.into(),
            None => word.bytes().chain(*b"\n").cycle().take(size).collect(),
        };
        self.archive = std::mem::take(&mut self.archive).entry(builder, &data);
        self.expected += &format!(
            "{name} {mode:x}:{uid}:{gid}:{links}:{time}:{device}:{device} {size} {word}\n"
        );
    }
}

/// The archive, and what is to be expected of it.
fn files() -> Result<Listed> {
    let archive = Archive::running("contents")?.dir(".");
    let mut all = Listed { archive, expected: String::new(), number: 0 };
    for &size in SIZES {
        all.number += 1;
        let (i, alone) = (all.number, (0, 1));
        let link = format!("link:{}", "l".repeat(size.clamp(1, 4095)));
        all.add("dir", 0o042_700 + i, (0, 2), 0, "");
        all.add("file", 0o104_700 + i, alone, size, &format!("word{i}"));
        all.add("link", 0o120_777, alone, 0, &link);
        all.add("device", 0o060_600 + i, alone, 0, "");
        // The last of the names brings the contents.
        all.add("first", 0o100_600 + i, (i, 2), 0, "");
        all.add("second", 0o100_600 + i, (i, 2), size, &format!("both{i}"));
    }
    Ok(all)
}
