// SPDX-License-Identifier: GPL-2.0

//! Images as boot loaders could hand them over: archives of all kinds of files, one after the other, in
//! each compression, and then bent in places.

use crate::archive::{compress, noise, padded, Archive, COMPRESSIONS};
use anyhow::Result;
use fastrand::Rng;
use std::sync::Arc;

/// An image that is to be made. It can be made smaller, piece by piece.
#[derive(Clone, Debug)]
pub struct Plan {
    members: Vec<Member>,
    bends: Vec<Bend>,
}

/// An archive in an image.
#[derive(Clone, Debug)]
struct Member {
    /// How many zeros come before it. If not compressed, it is aligned nevertheless.
    zeros: usize,
    /// An archive of somebody else's that it begins with.
    given: Option<Arc<[u8]>>,
    entries: Vec<Entry>,
    end: End,
    /// What is done to it before it is compressed.
    bends: Vec<Bend>,
    how: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Nothing,
    Trailer,
    Blocks,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    kind: Kind,
    data: Data,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Dir,
    File,
    /// With a checksum, right or wrong.
    FileWithSum(bool),
    Symlink,
    /// A symlink to the folder that it is in: what follows may go through it.
    LinkToDir,
    HardLinks,
    /// With this mode.
    Node(u32),
}

#[derive(Clone, Copy, Debug)]
struct Data {
    len: usize,
    of: Content,
}

#[derive(Clone, Copy, Debug)]
enum Content {
    Zeros,
    Text,
    Noise,
}

/// A place, as a part of the whole in units of `2^-32`, so that it stays about there when the whole is
/// made smaller.
type Place = u32;

/// Something that happens to bytes.
#[derive(Clone, Debug)]
enum Bend {
    Cut(Place),
    Flip(Place, u8),
    /// Writes into a field of the header of one of the entries.
    Field {
        entry: usize,
        field: usize,
        value: String,
    },
    Delete(Place, usize),
    Double(Place, usize),
    Zero(Place, usize),
    Move(Place, usize, Place),
    Insert(Place, Vec<u8>),
    Append(Vec<u8>),
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

/// Lengths at which something may change: of words, of blocks, of pages, of decompressors' windows.
const EDGES: &[usize] = &[0, 4, 110, 512, 4096, 32 << 10, 64 << 10];

fn choose<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())]
}

/// Around one of [`EDGES`].
fn edge(rng: &mut Rng) -> usize {
    (choose(rng, EDGES) + rng.usize(..4)).saturating_sub(2)
}

impl Plan {
    /// A plan of its own for each seed. Some members begin with one of `corpus`, if there is any.
    pub fn new(seed: u64, corpus: &[Arc<[u8]>]) -> Self {
        let mut rng = Rng::with_seed(seed);
        let count = choose(&mut rng, &[1, 1, 1, 2, 2, 3, 4]);
        let mut members: Vec<_> = (0..count).map(|i| Member::new(&mut rng, i)).collect();
        let with_init = rng.usize(..count);
        let entries = &mut members[with_init].entries;
        let at = rng.usize(..=entries.len());
        let data = Data { len: 10, of: Content::Text };
        entries.insert(at, Entry { name: "init".to_owned(), kind: Kind::File, data });
        let mut plan = Self { members, bends: Vec::new() };
        for _ in 0..choose(&mut rng, &[0, 0, 0, 1, 1, 1, 1, 2, 2, 3]) {
            let bend = Bend::new(&mut rng);
            if rng.bool() {
                let member = rng.usize(..count);
                plan.members[member].bends.push(bend);
            } else {
                plan.bends.push(bend);
            }
        }
        for member in plan.members.iter_mut().filter(|_| !corpus.is_empty()) {
            member.given = rng.bool().then(|| Arc::clone(&corpus[rng.usize(..corpus.len())]));
        }
        plan
    }

    /// The image.
    pub fn image(&self) -> Result<Vec<u8>> {
        let (mut image, mut headers) = (Vec::new(), Vec::new());
        for member in &self.members {
            let (bytes, within) = member.bytes()?;
            image.resize(image.len() + member.zeros, 0);
            if member.how.is_none() {
                image = padded(image, 4);
                headers.extend(within.iter().map(|header| image.len() + header));
            }
            image.extend(bytes);
        }
        for bend in &self.bends {
            bend.apply(&mut image, &headers);
        }
        Ok(image)
    }

    /// The same with something left out or made shorter, in each way that there is.
    pub fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let mut add = |change: &dyn Fn(&mut Self)| {
            let mut plan = self.clone();
            change(&mut plan);
            all.push(plan);
        };
        for i in 0..self.members.len() {
            add(&|plan| drop(plan.members.remove(i)));
        }
        for i in 0..self.bends.len() {
            add(&|plan| drop(plan.bends.remove(i)));
        }
        for (i, member) in self.members.iter().enumerate() {
            for n in 0..member.bends.len() {
                add(&|plan| drop(plan.members[i].bends.remove(n)));
            }
            for n in 0..member.entries.len() {
                add(&|plan| drop(plan.members[i].entries.remove(n)));
            }
            if member.how.is_some() {
                add(&|plan| plan.members[i].how = None);
            }
            if member.given.is_some() {
                add(&|plan| plan.members[i].given = None);
            }
            if member.zeros > 0 {
                add(&|plan| plan.members[i].zeros = 0);
            }
            for (n, entry) in member.entries.iter().enumerate() {
                if entry.data.len > 0 {
                    add(&|plan| plan.members[i].entries[n].data.len /= 2);
                }
                if entry.name.len() > 8 {
                    let half = entry.name.len() / 2;
                    add(&|plan| plan.members[i].entries[n].name.truncate(half));
                }
            }
        }
        all
    }
}

impl Member {
    fn new(rng: &mut Rng, number: usize) -> Self {
        let mut dirs = vec![String::new()];
        let count = choose(rng, &[0, 1, 1, 2, 3, 5, 8, 12]);
        let mut names: Vec<String> = Vec::new();
        let entries = (0..count).map(|i| {
            let mut entry = Entry::new(rng, &dirs, number * 100 + i);
            // Something there already, of the same type or of another.
            if !names.is_empty() && rng.u8(..12) == 0 {
                entry.name.clone_from(&names[rng.usize(..names.len())]);
            }
            let may_have_files = [Kind::Dir, Kind::LinkToDir].contains(&entry.kind);
            if may_have_files && entry.name.len() < 2000 {
                dirs.push(format!("{}/", entry.name));
            }
            names.push(entry.name.clone());
            entry
        });
        let entries = entries.collect();
        let (how, ..) = COMPRESSIONS[rng.usize(..COMPRESSIONS.len())];
        Self {
            zeros: if rng.u8(..3) == 0 { edge(rng) } else { 0 },
            given: None,
            entries,
            end: choose(rng, &[End::Nothing, End::Trailer, End::Blocks, End::Blocks]),
            bends: Vec::new(),
            how: rng.bool().then_some(how),
        }
    }

    /// The bytes of the archive, and, as long as they are not compressed, where its headers are.
    fn bytes(&self) -> Result<(Vec<u8>, Vec<usize>)> {
        let given = self.given.as_deref().unwrap_or_default();
        let (mut archive, mut headers) = (Archive::after(given), Vec::new());
        for entry in &self.entries {
            headers.push(archive.open().len());
            archive = entry.add_to(archive);
        }
        let mut bytes = archive.open();
        if !matches!(self.end, End::Nothing) {
            headers.push(bytes.len());
            let blocks = archive.finish();
            let trailer = (bytes.len() + 124).min(blocks.len());
            bytes =
                if matches!(self.end, End::Trailer) { blocks[..trailer].to_vec() } else { blocks };
        }
        for bend in &self.bends {
            bend.apply(&mut bytes, &headers);
        }
        Ok((self.how.map_or(Ok(bytes.clone()), |how| compress(how, &bytes))?, headers))
    }
}

impl Entry {
    fn new(rng: &mut Rng, dirs: &[String], number: usize) -> Self {
        let kinds =
            [Kind::Dir, Kind::FileWithSum(true), Kind::Symlink, Kind::LinkToDir, Kind::HardLinks];
        let nodes = [0o010644, 0o020644, 0o060644, 0o140644].map(Kind::Node);
        let kind = match rng.u8(..12) {
            0..=5 => Kind::File,
            6 => choose(rng, &nodes),
            7 if rng.u8(..4) == 0 => Kind::FileWithSum(false),
            _ => choose(rng, &kinds),
        };
        let dir = &dirs[rng.usize(..dirs.len())];
        let start = choose(rng, &["", "", "", "./", "/"]);
        let len = match rng.u8(..20) {
            0 => 3900 + rng.usize(..220),
            1 | 2 => 200 + rng.usize(..100),
            _ => rng.usize(..12),
        };
        let mut name = format!("{start}{dir}{number}{}", "n".repeat(len));
        if rng.u8(..60) == 0 {
            name = "TRAILER!!!".to_owned();
        }
        let most = if kind == Kind::Symlink { 4200 } else { 200_000 };
        let len = match rng.u8(..10) {
            0 => rng.usize(..most),
            1..=4 => edge(rng).min(most),
            _ => rng.usize(..100),
        };
        let of = choose(rng, &[Content::Zeros, Content::Text, Content::Noise]);
        Self { name, kind, data: Data { len, of } }
    }

    fn add_to(&self, archive: Archive) -> Archive {
        let (name, data) = (self.name.as_str(), self.data.bytes());
        match self.kind {
            Kind::Dir => archive.dir(name),
            Kind::File => archive.file(name, 0o755, &data),
            Kind::FileWithSum(right) => archive.file_with_sum(name, &data, right),
            Kind::Symlink => archive.symlink(name, &"t".repeat(self.data.len.max(1))),
            Kind::LinkToDir => {
                let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir.trim_start_matches('.'));
                archive.symlink(name, &format!("/{dir}"))
            }
            Kind::HardLinks => {
                let other = format!("{name}-2");
                archive.hard_links(&[name, &other], 0o644, &data)
            }
            Kind::Node(mode) => archive.node(name, mode, 1, 3),
        }
    }
}

impl Data {
    fn bytes(self) -> Vec<u8> {
        match self.of {
            Content::Zeros => vec![0; self.len],
            Content::Text => b"a line of text\n".iter().copied().cycle().take(self.len).collect(),
            Content::Noise => noise(self.len),
        }
    }
}

impl Bend {
    fn new(rng: &mut Rng) -> Self {
        // Where things begin and end is worth more than where they go on.
        let place = |rng: &mut Rng| match rng.u8(..4) {
            0 => rng.u32(..1 << 24),
            1 => u32::MAX - rng.u32(..1 << 24),
            _ => rng.u32(..),
        };
        let at = place(rng);
        match rng.u8(..12) {
            0..=2 => Self::Cut(at),
            3 | 4 => Self::Flip(at, 1 << rng.u8(..8)),
            5 | 6 => {
                let nonsense = ["00000000", "00000001", "00000002", "ffffffff", "7FFFFFFF"];
                let nonsense = [&nonsense[..], &["80000000", "00001000", "00001001", "+0000001"]];
                let value = choose(rng, &nonsense.concat()).to_owned();
                let random = format!("{:08x}", rng.u32(..) >> rng.u8(..32));
                Self::Field {
                    entry: rng.usize(..20),
                    field: rng.usize(..13),
                    value: if rng.bool() { value } else { random },
                }
            }
            7 => Self::Delete(at, edge(rng)),
            8 => Self::Double(at, edge(rng)),
            9 => Self::Zero(at, edge(rng)),
            10 => match place(rng) {
                to if rng.bool() => Self::Move(at, edge(rng), to),
                _ => Self::Insert(at, noise(edge(rng).min(600))),
            },
            _ => {
                let (zeros, tail) = (rng.usize(..9), choose(rng, TAILS));
                Self::Append([&vec![0; zeros], tail].concat())
            }
        }
    }

    fn apply(&self, bytes: &mut Vec<u8>, headers: &[usize]) {
        let find = |at: Place, len: usize| ((u64::from(at) * (len as u64 + 1)) >> 32) as usize;
        let at = |at: Place| find(at, bytes.len());
        let range = |place: Place, len: usize| at(place)..(at(place) + len).min(bytes.len());
        match self {
            Self::Cut(place) => bytes.truncate(at(*place)),
            Self::Flip(place, bits) => {
                let at = at(*place);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bits;
                }
            }
            Self::Field { entry, field, value } => {
                if headers.is_empty() {
                    return;
                }
                let at = headers[entry % headers.len()] + 6 + 8 * field;
                if let Some(digits) = bytes.get_mut(at..at + 8) {
                    digits.copy_from_slice(value.as_bytes());
                }
            }
            Self::Delete(place, len) => drop(bytes.drain(range(*place, *len))),
            Self::Double(place, len) => {
                let block = bytes[range(*place, *len)].to_vec();
                let at = at(*place);
                drop(bytes.splice(at..at, block));
            }
            Self::Zero(place, len) => {
                let range = range(*place, *len);
                bytes[range].fill(0);
            }
            Self::Move(place, len, to) => {
                let block: Vec<_> = bytes.drain(range(*place, *len)).collect();
                let to = find(*to, bytes.len());
                drop(bytes.splice(to..to, block));
            }
            Self::Insert(place, block) => {
                let at = at(*place);
                drop(bytes.splice(at..at, block.iter().copied()));
            }
            Self::Append(block) => bytes.extend(block),
        }
    }
}
