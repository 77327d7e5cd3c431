// SPDX-License-Identifier: GPL-2.0

//! Images as boot loaders could hand them over: archives of all kinds of files, one after the other, in
//! each compression, and then bent in places.

use crate::archive::{compress, noise, padded, Archive, COMPRESSIONS};
use anyhow::Result;
use cpio::newc::Builder;
use fastrand::Rng;
use std::collections::BTreeSet;

/// An image that comes from a seed. It can be made smaller, piece by piece.
#[derive(Clone, PartialEq)]
pub struct Plan<'a> {
    seed: u64,
    /// Archives of others, which some of its archives begin with.
    corpus: &'a [Vec<u8>],
    /// The numbers of the pieces that are left out.
    left_out: BTreeSet<u32>,
}

impl<'a> Plan<'a> {
    /// A plan of its own for each seed.
    pub fn new(seed: u64, corpus: &'a [Vec<u8>]) -> Self {
        Self { seed, corpus, left_out: BTreeSet::new() }
    }

    /// The image, and how many pieces it has.
    pub fn image(&self) -> Result<(Vec<u8>, u32)> {
        let mut maker = Maker { plan: self, rng: Rng::with_seed(self.seed), pieces: 0 };
        Ok((maker.image()?, maker.pieces))
    }

    /// The same without a piece.
    pub fn without(&self, piece: u32) -> Self {
        let mut plan = self.clone();
        plan.left_out.insert(piece);
        plan
    }
}

enum Kind {
    File,
    FileWithSum,
    FileWithWrongSum,
    Dir,
    Symlink,
    /// A symlink to the folder that it is in: what follows may go through it.
    LinkToDir,
    HardLinks,
    Node,
}

/// What is found behind archives, or might be.
const TAILS: &[&[u8]] = &[
    b"\0",
    b"0",
    b"0707",
    b"07070",
    b"0707010",
    b"070707",
    b"no archive",
    b"\x1f\x8b",
    b"\x1f\x8b\x08\0",
    b"BZh",
    b"\x5d\0\0",
    b"\xfd7zXZ\0",
    b"\x89LZO",
    b"\x02\x21\x4c\x18",
    b"\x28\xb5\x2f\xfd",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"#BOOTCONFIG\n",
];

/// What a field of a header may hold that it should not.
const NONSENSE: &[&str] = &[
    "00000000", "00000001", "00000002", "ffffffff", "7FFFFFFF", "80000000", "00001000", "00001001",
    "+0000001",
];

/// Lengths at which something may change: of words, of blocks, of pages, of decompressors' windows.
const EDGES: &[usize] = &[0, 4, 110, 512, 4096, 32 << 10, 64 << 10];

/// Makes the image of a plan. It draws the same numbers whatever is left out.
struct Maker<'a> {
    plan: &'a Plan<'a>,
    rng: Rng,
    pieces: u32,
}

impl Maker<'_> {
    /// Begins a piece, and returns whether it is to be there.
    fn piece(&mut self) -> bool {
        self.pieces += 1;
        !self.plan.left_out.contains(&self.pieces)
    }

    fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.usize(..from.len())]
    }

    /// Around one of [`EDGES`].
    fn edge(&mut self) -> usize {
        (self.choose(EDGES) + self.rng.usize(..4)).saturating_sub(2)
    }

    fn image(&mut self) -> Result<Vec<u8>> {
        let count = self.choose(&[1, 1, 1, 2, 2, 3, 4]);
        let with_init = self.rng.usize(..count);
        // Each in one of the archives, or in all of the image.
        let bends = self.choose(&[0, 0, 0, 1, 1, 1, 1, 2, 2, 3]);
        let bends =
            (0..bends).map(|_| if self.rng.bool() { self.rng.usize(..count) } else { count });
        let places: Vec<_> = bends.collect();
        let bends = |number: usize| places.iter().filter(|place| **place == number).count();
        let (mut image, mut headers) = (Vec::new(), Vec::new());
        for number in 0..count {
            let is_there = self.piece();
            if self.rng.u8(..3) == 0 {
                let zeros = self.edge();
                if self.piece() && is_there {
                    image.resize(image.len() + zeros, 0);
                }
            }
            let (mut bytes, within) = self.archive(number, number == with_init);
            (0..bends(number)).for_each(|_| self.bend(&mut bytes, &within));
            let (how, ..) = self.choose(COMPRESSIONS);
            if self.rng.bool() && self.piece() {
                bytes = compress(how, &bytes)?;
            } else if is_there {
                image = padded(image, 4);
                headers.extend(within.iter().map(|header| image.len() + header));
            }
            if is_there {
                image.extend(bytes);
            }
        }
        (0..bends(count)).for_each(|_| self.bend(&mut image, &headers));
        Ok(image)
    }

    /// An archive, and where its headers are.
    fn archive(&mut self, number: usize, has_init: bool) -> (Vec<u8>, Vec<usize>) {
        let mut archive = Archive::new();
        if !self.plan.corpus.is_empty() && self.rng.bool() {
            let given = self.rng.usize(..self.plan.corpus.len());
            if self.piece() {
                archive = Archive::after(&self.plan.corpus[given]);
            }
        }
        let (mut headers, mut dirs, mut names) = (Vec::new(), vec![String::new()], Vec::new());
        let count = self.choose(&[0, 1, 1, 2, 3, 5, 8, 12]) + usize::from(has_init);
        let init = if has_init { self.rng.usize(..count) } else { count };
        for i in 0..count {
            let is_there = self.piece();
            let header = archive.open().len();
            let new = if i == init {
                archive.clone().file("init", 0o755, b"no program")
            } else {
                self.entry(archive.clone(), number * 100 + i, &mut dirs, &mut names)
            };
            if is_there {
                headers.push(header);
                archive = new;
            }
        }
        let (mut bytes, end) = (archive.open(), self.rng.u8(..4));
        if end > 0 && self.piece() {
            headers.push(bytes.len());
            let trailer = bytes.len() + 124;
            bytes = archive.finish();
            if end == 1 {
                bytes.truncate(trailer);
            }
        }
        (bytes, headers)
    }

    /// Adds an entry. `dirs` are the folders that it may be in, and `names` all that there are.
    fn entry(
        &mut self,
        archive: Archive,
        number: usize,
        dirs: &mut Vec<String>,
        names: &mut Vec<String>,
    ) -> Archive {
        let kind = match self.rng.u8(..49) {
            0..=23 => Kind::File,
            24..=27 => Kind::FileWithSum,
            28 => Kind::FileWithWrongSum,
            29..=32 => Kind::Dir,
            33..=36 => Kind::Symlink,
            37..=40 => Kind::LinkToDir,
            41..=44 => Kind::HardLinks,
            _ => Kind::Node,
        };
        let start = self.choose(&["", "", "", "./", "/"]);
        let dir = &dirs[self.rng.usize(..dirs.len())];
        let len = match self.rng.u8(..20) {
            0 => 3900 + self.rng.usize(..220),
            1 | 2 => 200 + self.rng.usize(..100),
            _ => self.rng.usize(..12),
        };
        let long = if self.piece() { "n".repeat(len) } else { String::new() };
        let mut name = format!("{start}{dir}{number}{long}");
        // Something there already, of the same type or of another.
        if !names.is_empty() && self.rng.u8(..12) == 0 {
            name.clone_from(&names[self.rng.usize(..names.len())]);
        }
        if self.rng.u8(..60) == 0 {
            name = "TRAILER!!!".to_owned();
        }
        names.push(name.clone());
        let may_have_files = matches!(kind, Kind::Dir | Kind::LinkToDir);
        if may_have_files && name.len() < 2000 {
            dirs.push(format!("{name}/"));
        }
        let data = self.data(if matches!(kind, Kind::Symlink) { 4200 } else { 200_000 });
        let mode = self.choose(&[0o010644, 0o020644, 0o060644, 0o140644]);
        match kind {
            Kind::File => archive.file(&name, 0o755, &data),
            Kind::FileWithSum => archive.file_with_sum(&name, &data, true),
            Kind::FileWithWrongSum => archive.file_with_sum(&name, &data, false),
            Kind::Dir => archive.dir(&name),
            Kind::Symlink => archive.symlink(&name, &"t".repeat(data.len().max(1))),
            Kind::LinkToDir => {
                let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir.trim_start_matches('.'));
                archive.symlink(&name, &format!("/{dir}"))
            }
            Kind::HardLinks => {
                // cpio has the data come last.
                let (first, last) =
                    if self.rng.bool() { (&data[..], &b""[..]) } else { (&b""[..], &data[..]) };
                let link = |name: &str| {
                    Builder::new(name).mode(0o100644).ino(1000 + number as u32).nlink(2)
                };
                archive
                    .entry(link(&name), first)
                    .dir(&format!("{name}-between"))
                    .entry(link(&format!("{name}-2")), last)
            }
            Kind::Node => archive.node(&name, mode, 1, 3),
        }
    }

    /// What a file holds, in pieces.
    fn data(&mut self, most: usize) -> Vec<u8> {
        let len = match self.rng.u8(..10) {
            0 => self.rng.usize(..most),
            1..=4 => self.edge().min(most),
            _ => self.rng.usize(..100),
        };
        let parts = [len / 2, len / 4, len - len / 2 - len / 4];
        let len = parts.into_iter().filter(|_| self.piece()).sum();
        match self.rng.u8(..3) {
            0 => vec![0; len],
            1 => b"a line of text\n".iter().copied().cycle().take(len).collect(),
            _ => noise(len),
        }
    }

    /// A place, as a part of the whole in units of `2^-32`, so that it stays about there when the whole is
    /// made smaller. Where things begin and end is worth more than where they go on.
    fn place(&mut self) -> u32 {
        match self.rng.u8(..4) {
            0 => self.rng.u32(..1 << 24),
            1 => u32::MAX - self.rng.u32(..1 << 24),
            _ => self.rng.u32(..),
        }
    }

    /// Has something happen to bytes.
    fn bend(&mut self, bytes: &mut Vec<u8>, headers: &[usize]) {
        let (how, from, to, len) = (self.rng.u8(..13), self.place(), self.place(), self.edge());
        let (bit, zeros, tail) = (self.rng.u8(..8), self.rng.usize(..9), self.choose(TAILS));
        let (entry, field) = (self.rng.usize(..20), self.rng.usize(..13));
        // The end of one entry, and the header and the name of the next.
        let around = if self.rng.bool() { 0..8 } else { 8..140 };
        let around = self.rng.usize(around);
        let random = format!("{:08x}", self.rng.u32(..) >> self.rng.u8(..32));
        let value = if self.rng.bool() { self.choose(NONSENSE) } else { &random };
        if !self.piece() {
            return;
        }
        let find = |place: u32, len: usize| ((u64::from(place) * (len as u64 + 1)) >> 32) as usize;
        let at = find(from, bytes.len());
        let range = at..(at + len).min(bytes.len());
        let header = headers.get(entry % headers.len().max(1));
        match how {
            0 | 1 => bytes.truncate(at),
            2 => bytes.truncate(header.map_or(at, |header| (header + around).saturating_sub(8))),
            3 | 4 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            5 | 6 => {
                let digits = header.and_then(|header| {
                    let at = header + 6 + 8 * field;
                    bytes.get_mut(at..at + 8)
                });
                if let Some(digits) = digits {
                    digits.copy_from_slice(value.as_bytes());
                }
            }
            7 => drop(bytes.drain(range)),
            8 => {
                let block = bytes[range].to_vec();
                drop(bytes.splice(at..at, block));
            }
            9 => bytes[range].fill(0),
            10 => {
                let block: Vec<_> = bytes.drain(range).collect();
                let to = find(to, bytes.len());
                drop(bytes.splice(to..to, block));
            }
            11 => drop(bytes.splice(at..at, noise(len.min(600)))),
            _ => bytes.extend([&vec![0; zeros], tail].concat()),
        }
    }
}
