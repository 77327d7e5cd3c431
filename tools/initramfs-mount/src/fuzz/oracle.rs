// SPDX-License-Identifier: GPL-2.0

//! Tells what an image is: a reading of `buffer-format.rst` and of what the guide promises, which owes
//! nothing to the kernel's unpacker. Decompression is that of crates, with their checksums.

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read},
};

/// What an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An archive, or several, of which all is there; and whether there is an `init` among it.
    Whole { init: bool },
    /// Begun as an archive, and not whole, for this reason.
    Broken(&'static str),
    /// Nothing of an archive. It may be an initrd.
    Foreign,
    /// The format does not tell, or leaves it to the decompressor, for this reason.
    Unsure(&'static str),
}

use Verdict::{Broken, Foreign, Unsure, Whole};

/// Tells what an image is.
pub fn judge(image: &[u8]) -> Verdict {
    let mut reader = Reader::default();
    match reader.read(without_bootconfig(image), false) {
        Ok(_) => Whole { init: reader.init },
        Err(verdict) => verdict,
    }
}

/// Without what the kernel takes for its bootconfig, which has a header behind it, and up to 3 bytes of
/// padding behind that.
fn without_bootconfig(image: &[u8]) -> &[u8] {
    let config = (0..4).find_map(|padding| {
        let rest =
            image.get(..image.len().checked_sub(padding)?)?.strip_suffix(b"#BOOTCONFIG\n")?;
        let (rest, sum) = rest.split_last_chunk()?;
        let (rest, size) = rest.split_last_chunk()?;
        let start = rest.len().checked_sub(u32::from_le_bytes(*size) as usize)?;
        (sum_of(&rest[start..]) == u32::from_le_bytes(*sum)).then_some(start)
    });
    config.map_or(image, |start| &image[..start])
}

/// The checksum of cpio and of a bootconfig.
fn sum_of(data: &[u8]) -> u32 {
    data.iter().fold(0, |sum, byte| sum.wrapping_add((*byte).into()))
}

/// What has come last.
#[derive(Clone, Copy, Default, PartialEq)]
enum Last {
    #[default]
    Nothing,
    Entry,
    Trailer,
}

/// What has been read so far. What it can't go on behind is an `Err`.
#[derive(Default)]
struct Reader {
    last: Last,
    init: bool,
    dirs: BTreeSet<Vec<u8>>,
}

const HEADER_LEN: usize = 110;
const PATH_MAX: u64 = 4096;

/// File types of `st_mode`.
const DIRECTORY: u32 = 0o040000;
const REGULAR: u32 = 0o100000;
const SYMLINK: u32 = 0o120000;
const OTHERS: [u32; 4] = [0o010000, 0o020000, 0o060000, 0o140000];

impl Reader {
    /// Reads archives, and returns whether there is nothing but these, up to the end.
    fn read(&mut self, data: &[u8], is_unpacked: bool) -> Result<bool, Verdict> {
        let mut at = 0;
        while at < data.len() {
            let rest = &data[at..];
            let len = match (rest[0], method(rest)) {
                (0, _) => Some(1),
                (b'0', _) if at % 4 == 0 => self.entry(rest)?,
                (_, Some(unpack)) if !is_unpacked => self.packed(rest, unpack)?,
                (_, Some(_)) if self.last == Last::Trailer => {
                    return Err(Unsure("a compressed archive in a compressed one"));
                }
                _ => self.stranger(rest).map(|()| None)?,
            };
            match len {
                Some(len) => at += len,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Reads a compressed archive and returns its length, unless there is junk in it.
    fn packed(&mut self, rest: &[u8], unpack: Unpack) -> Result<Option<usize>, Verdict> {
        let mut data = Vec::new();
        let len = unpack(rest, &mut data)?;
        // One more archive has begun, unless there is nothing in it.
        if self.last == Last::Trailer && data.iter().any(|byte| *byte != 0) {
            self.last = Last::Entry;
        }
        Ok(self.read(&data, true)?.then_some(len))
    }

    /// What is no archive is junk, if it comes behind one.
    fn stranger(&self, rest: &[u8]) -> Result<(), Verdict> {
        if rest.starts_with(b"07070") {
            return Err(Broken("begins as an archive and is none"));
        }
        match self.last {
            Last::Trailer => Ok(()),
            Last::Entry => Err(Broken("no archive, and not behind the end of one")),
            Last::Nothing => Err(Foreign),
        }
    }

    /// Reads an entry and returns its length. What is none may be junk, and then nothing comes of it.
    fn entry(&mut self, rest: &[u8]) -> Result<Option<usize>, Verdict> {
        let has_sum = rest.starts_with(b"070702");
        if rest.len() < HEADER_LEN || !(has_sum || rest.starts_with(b"070701")) {
            return self.stranger(rest).map(|()| None);
        }
        self.last = Last::Entry;
        let mut fields = [0; 13];
        for (field, digits) in fields.iter_mut().zip(rest[6..HEADER_LEN].chunks(8)) {
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return Err(Broken("a header with what is no number"));
            }
            let digits = String::from_utf8_lossy(digits);
            *field = u32::from_str_radix(&digits, 16).unwrap_or_default();
        }
        let [_, mode, _, _, links, _, size, _, _, _, _, name_size, sum] = fields;
        let (kind, size, name_size) = (mode & 0o170000, u64::from(size), u64::from(name_size));
        let name_end = HEADER_LEN as u64 + name_size;
        let data_at = name_end.next_multiple_of(4);
        let data_end = if size == 0 { name_end } else { data_at + size };
        // There may be no padding at the very end.
        if (rest.len() as u64) < data_end {
            return Err(Broken("ends within an entry"));
        }
        let len = Some((data_at + size).next_multiple_of(4) as usize);
        if name_size == 0 {
            return Err(Broken("an entry without a name"));
        }
        if name_size > PATH_MAX {
            return Ok(len);
        }
        let name = &rest[HEADER_LEN..name_end as usize];
        let is_passed_over = match kind {
            REGULAR => false,
            SYMLINK => size > PATH_MAX,
            _ => size > 0,
        };
        let is_trailer = name.starts_with(b"TRAILER!!!\0");
        let is_padded = name.iter().skip_while(|byte| **byte != 0).all(|byte| *byte == 0);
        if name.last() != Some(&0) || !is_padded {
            return Err(if kind == SYMLINK && is_passed_over {
                Unsure("a name that is none, and that nobody reads")
            } else {
                Broken("a name without NUL, or with more behind it")
            });
        }
        if is_trailer && kind != SYMLINK {
            if size > 0 {
                return Err(Broken("a trailer with data"));
            }
            self.last = Last::Trailer;
            return Ok(len);
        }
        let types = [DIRECTORY, REGULAR, SYMLINK];
        if !types.iter().chain(&OTHERS).any(|known| kind == *known) {
            return Err(Broken("a type that there is not"));
        }
        if is_passed_over {
            return Ok(len);
        }
        if kind == SYMLINK && size == 0 {
            return Err(Unsure("a symbolic link to nothing"));
        }
        let path = Path::of(name);
        if has_sum && kind == REGULAR {
            let data = &rest[data_at.min(data_end) as usize..data_end as usize];
            let is = sum_of(data);
            if is != sum && (links > 1 || !self.can_be_made(&path)) {
                return Err(Unsure("a wrong checksum of what may not be unpacked"));
            }
            if is != sum {
                return Err(Broken("a wrong checksum of cpio"));
            }
        }
        self.make(&path, kind, links)?;
        Ok(len)
    }

    fn can_be_made(&self, path: &Path) -> bool {
        path.is_plain
            && !path.parts.is_empty()
            && !self.dirs.contains(&path.parts.join(&b'/'))
            && (1..path.parts.len()).all(|n| self.dirs.contains(&path.parts[..n].join(&b'/')))
    }

    fn make(&mut self, path: &Path, kind: u32, links: u32) -> Result<(), Verdict> {
        if path.parts.last() == Some(&&b"init"[..]) && (path.parts.len() == 1 || !path.is_plain) {
            if !path.is_plain || kind == SYMLINK || links > 1 {
                return Err(Unsure("an init that may not be there"));
            }
            self.init = true;
        }
        if kind == DIRECTORY && self.can_be_made(path) {
            self.dirs.insert(path.parts.join(&b'/'));
        } else {
            self.dirs.remove(&path.parts.join(&b'/'));
        }
        Ok(())
    }
}

/// A name, up to its first NUL, in parts.
struct Path<'a> {
    parts: Vec<&'a [u8]>,
    /// Without `..`, and not longer than file systems take.
    is_plain: bool,
}

impl<'a> Path<'a> {
    fn of(name: &'a [u8]) -> Self {
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let parts = name.split(|byte| *byte == b'/');
        let parts: Vec<_> = parts.filter(|part| !part.is_empty() && *part != b".").collect();
        let is_plain = parts.iter().all(|part| part.len() < 256 && *part != b"..");
        Self { parts, is_plain }
    }
}

/// Decompresses what is at the start of a slice, up to where it ends, and returns how long that is.
type Unpack = fn(&[u8], &mut Vec<u8>) -> Result<usize, Verdict>;

/// How to decompress something, by its magic, of which two bytes count.
fn method(rest: &[u8]) -> Option<Unpack> {
    Some(match rest.get(..2)? {
        b"\x1f\x8b" | b"\x1f\x9e" => gzip,
        b"BZ" => bzip2,
        b"\x5d\0" => lzma,
        b"\xfd7" => xz,
        b"\x89L" => lzo,
        b"\x02\x21" => lz4,
        b"\x28\xb5" => zstd,
        _ => return None,
    })
}

/// More than any archive has that comes from here.
const MOST: usize = 32 << 20;

const CUT: Verdict = Broken("compressed data that is cut off");
const DAMAGED: Verdict = Broken("compressed data that is damaged");
const WRONG_SUM: Verdict = Broken("a wrong checksum of compressed data");
const TOO_LARGE: Verdict = Unsure("needs more memory than there may be");
const NO_SUM: Verdict = Unsure("damaged, where decompressors have no checksum to go by");

fn gzip(input: &[u8], data: &mut Vec<u8>) -> Result<usize, Verdict> {
    let (text, name) = (1, 8);
    if input.get(3).is_some_and(|flags| flags & !(text | name) != 0) {
        return Err(Unsure("gzip with more than a name in its header"));
    }
    let mut left = input;
    read_all(flate2::bufread::GzDecoder::new(&mut left), data)?;
    Ok(input.len() - left.len())
}

fn bzip2(input: &[u8], data: &mut Vec<u8>) -> Result<usize, Verdict> {
    let mut left = input;
    read_all(bzip2::bufread::BzDecoder::new(&mut left), data)?;
    Ok(input.len() - left.len())
}

/// Has a decoder decompress all.
fn read_all(decoder: impl Read, data: &mut Vec<u8>) -> Result<(), Verdict> {
    match decoder.take(MOST as u64 + 1).read_to_end(data) {
        Ok(_) if data.len() > MOST => Err(TOO_LARGE),
        Ok(_) => Ok(()),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Err(CUT),
        Err(_) => Err(DAMAGED),
    }
}

/// Has a stream of lzma_rust2 decompress all.
fn sans_io(
    input: &[u8],
    data: &mut Vec<u8>,
    mut process: impl FnMut(&[u8], &mut [u8]) -> std::io::Result<lzma_rust2::StreamResult>,
    damaged: Verdict,
) -> Result<usize, Verdict> {
    let (mut at, mut block) = (0, vec![0; 1 << 16]);
    loop {
        let done = process(&input[at..], &mut block).map_err(|e| match e.kind() {
            ErrorKind::OutOfMemory => TOO_LARGE,
            _ => damaged.clone(),
        })?;
        at += done.bytes_consumed;
        data.extend(&block[..done.bytes_produced]);
        match done.status {
            lzma_rust2::Status::StreamEnd => return Ok(at),
            _ if data.len() > MOST => return Err(TOO_LARGE),
            _ if done.bytes_produced == 0 && done.bytes_consumed == 0 => return Err(CUT),
            lzma_rust2::Status::Ok => (),
        }
    }
}

const MEMORY_KIB: u32 = 10 << 10;

fn lzma(input: &[u8], data: &mut Vec<u8>) -> Result<usize, Verdict> {
    let before = data.len();
    let mut stream = lzma_rust2::LzmaStream::new_mem_limit(MEMORY_KIB, None);
    let process =
        |input: &[u8], out: &mut [u8]| stream.process(input, out, lzma_rust2::Action::Run);
    let read = match sans_io(input, data, process, NO_SUM) {
        // The mark at the end may have been read before the last byte, which the kernel then does not miss.
        Err(CUT) if !needs_more(&mut stream) => return Err(Unsure("lzma without its last byte")),
        read => read?,
    };
    let len = read - stream.unused_input().len();
    // With a size in place of a mark at its end, decoders are not at one about its last byte.
    let has_mark = input[5..13] == [0xff; 8];
    if !has_mark && input[len..].iter().take(8).any(|byte| *byte != 0) {
        return Err(Unsure("where lzma ends"));
    }
    // No encoder writes less. Decoders are to take 4 KiB then; the kernel takes what is said.
    let dictionary: [u8; 4] = input[1..5].try_into().unwrap_or_default();
    if data.len() > before && u32::from_le_bytes(dictionary) < 4 << 10 {
        return Err(Unsure("an lzma dictionary of less than 4 KiB"));
    }
    Ok(len)
}

/// Whether the stream goes on after one byte more. It does not if that was the last one: then it ends, or the
/// byte is a wrong one.
fn needs_more(stream: &mut lzma_rust2::LzmaStream) -> bool {
    let done = stream.process(&[0], &mut [0; 1 << 10], lzma_rust2::Action::Run);
    done.is_ok_and(|done| done.status == lzma_rust2::Status::Ok)
}

fn xz(input: &[u8], data: &mut Vec<u8>) -> Result<usize, Verdict> {
    let mut stream = lzma_rust2::XzStream::new_mem_limit(false, MEMORY_KIB);
    let process =
        |input: &[u8], out: &mut [u8]| stream.process(input, out, lzma_rust2::Action::Run);
    let done = sans_io(input, data, process, DAMAGED);
    match stream.check_type() {
        None | Some(lzma_rust2::CheckType::Crc32) => done,
        _ => Err(Unsure("xz with another check than CRC32")),
    }
}

/// The number at a place.
fn be32(input: &[u8], at: usize) -> Result<u32, Verdict> {
    let bytes = input.get(at..at + 4).ok_or(CUT)?;
    Ok(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

fn lzo(input: &[u8], data: &mut Vec<u8>) -> Result<usize, Verdict> {
    let start = b"\x89LZO\0\r\n\x1a\n";
    if !input.starts_with(&start[..start.len().min(input.len())]) {
        return Err(DAMAGED);
    }
    let is_new = be32(input, 9)? >> 16 >= 0x940;
    let mut at = if is_new { 17 } else { 14 };
    let flags = be32(input, at)?;
    let (with_filter, sums, one_sum) = (0x800, 0x303, 1);
    at += if flags & with_filter == 0 { 4 } else { 8 };
    at += if is_new { 12 } else { 8 };
    at += 1 + usize::from(*input.get(at).ok_or(CUT)?) + 4;
    if flags & sums != one_sum {
        return Err(Unsure("lzop with other checksums than the usual one"));
    }
    loop {
        let size = be32(input, at)? as usize;
        if size == 0 {
            return Ok(at + 4);
        }
        if size > 256 << 10 {
            return Err(Unsure("lzop with larger blocks than the usual ones"));
        }
        let packed_size = be32(input, at + 4)? as usize;
        if packed_size == 0 || packed_size > size {
            return Err(DAMAGED);
        }
        at += 12;
        let packed = input.get(at..at + packed_size).ok_or(CUT)?;
        let mut block = vec![0; size];
        if packed_size == size {
            block.copy_from_slice(packed);
        } else {
            lzo1x::decompress(packed, &mut block).map_err(|_| NO_SUM)?;
            // Others read other ends, too. The kernel does not.
            if !packed.ends_with(b"\x11\0\0") {
                return Err(NO_SUM);
            }
        }
        data.extend(block);
        at += packed_size;
    }
}

/// What `lz4 -l` makes has no end: behind its first block it goes on for as long as blocks come.
fn lz4(input: &[u8], data: &mut Vec<u8>) -> Result<usize, Verdict> {
    const MAGIC: u32 = 0x0221_4c18;
    if input.len() >= 4 && be32(input, 0)? != MAGIC {
        return Err(DAMAGED);
    }
    let (mut at, mut first, mut block) = (0, true, vec![0; 8 << 20]);
    loop {
        let Ok(size) = be32(input, at) else {
            // What is zeros may follow.
            let is_cut = at == 0 || first && input[at..].iter().any(|byte| *byte != 0);
            return if is_cut { Err(CUT) } else { Ok(at) };
        };
        if size == MAGIC {
            (at, first) = (at + 4, true);
            continue;
        }
        let size = size.swap_bytes() as usize;
        if size == 0 {
            return Ok(at);
        }
        let Some(packed) = input.get(at + 4..at + 4 + size) else {
            return if first { Err(CUT) } else { Ok(at) };
        };
        let len = match lz4_flex::block::decompress_into(packed, &mut block) {
            Ok(len) => len,
            Err(_) if first => return Err(NO_SUM),
            Err(_) => return Ok(at),
        };
        data.extend(&block[..len]);
        if data.len() > MOST {
            return Err(TOO_LARGE);
        }
        (at, first) = (at + 4 + size, false);
    }
}

fn zstd(input: &[u8], data: &mut Vec<u8>) -> Result<usize, Verdict> {
    use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
    let [_, _, _, _, descriptor, window, ..] = *input else {
        return Err(CUT);
    };
    let (single_segment, has_sum) = (descriptor & 0x20 != 0, descriptor & 4 != 0);
    if !single_segment && (window >> 3) + 10 > 23 {
        return Err(TOO_LARGE);
    }
    let (mut left, mut decoder) = (input, FrameDecoder::new());
    let damaged = |left: &[u8]| match (left.is_empty(), has_sum) {
        (true, _) => CUT,
        (false, true) => DAMAGED,
        (false, false) => NO_SUM,
    };
    decoder.init(&mut left).map_err(|_| damaged(left))?;
    if decoder.content_size() > MOST as u64 {
        return Err(TOO_LARGE);
    }
    loop {
        let done = decoder.decode_blocks(&mut left, BlockDecodingStrategy::UptoBlocks(1));
        let is_last = done.map_err(|_| damaged(left))?;
        data.extend(decoder.collect().unwrap_or_default());
        if data.len() > MOST {
            return Err(TOO_LARGE);
        }
        if is_last {
            break;
        }
    }
    let size = decoder.content_size();
    let is_right = decoder.get_checksum_from_data() == decoder.get_calculated_checksum();
    if has_sum && !is_right || size != 0 && size != data.len() as u64 {
        return Err(WRONG_SUM);
    }
    Ok(input.len() - left.len())
}

#[cfg(test)]
mod tests {
    use super::{judge, sum_of, Verdict, CUT};
    use crate::archive::{compress, noise, Archive};
    use anyhow::Result;

    const WHOLE: Verdict = Verdict::Whole { init: true };

    fn archive() -> Archive {
        Archive::new().dir("d").file("d/f", 0o644, b"5 byt").file("init", 0o755, b"init")
    }

    fn is_broken(image: &[u8]) -> bool {
        matches!(judge(image), Verdict::Broken(_))
    }

    #[test]
    fn what_the_format_allows_is_whole() {
        let (whole, open) = (archive().finish(), archive().open());
        let first = Archive::new().dir("d").file("d/f", 0o644, b"5 byt").open();
        let unpadded = archive().open_with("last", b"unpadded!");
        assert_eq!(judge(b""), Verdict::Whole { init: false });
        assert_eq!(judge(&first), Verdict::Whole { init: false });
        for image in [
            whole.clone(),
            open.clone(),
            unpadded,
            [vec![0; 8], open.clone(), whole.clone()].concat(),
            [&whole[..], b"junk"].concat(),
            [&whole[..], b"0707"].concat(),
            // All behind junk is junk.
            [&whole[..], b"junk", &whole[..99]].concat(),
            // A gzip of nothing.
            [&whole[..], b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0junk"].concat(),
            Archive::new().symlink("TRAILER!!!", "x").script("./init", "").finish(),
        ] {
            assert_eq!(judge(&image), WHOLE, "{}", image.escape_ascii());
        }
    }

    #[test]
    fn a_cut_breaks_an_archive_but_between_entries() {
        let (mut archive, mut ends) = (Archive::new(), vec![]);
        for (name, data) in [("empty", 0), ("init", 3), ("d", 0), ("last", 8)] {
            let name_end = archive.open().len() + 110 + name.len() + 1;
            archive = archive.file(name, 0o755, &vec![b'x'; data]);
            let data_end = if data == 0 { name_end } else { name_end.next_multiple_of(4) + data };
            // Padding may be missing.
            ends.extend(data_end..=archive.open().len());
        }
        let image = archive.open();
        for len in 5..=image.len() {
            let verdict = judge(&image[..len]);
            let is_whole = matches!(verdict, Verdict::Whole { .. });
            assert_eq!(is_whole, ends.contains(&len), "{len}: {verdict:?}");
        }
    }

    #[test]
    fn bootconfig_is_not_looked_at() {
        let config = b"init=x\0";
        let (size, sum) = ((config.len() as u32).to_le_bytes(), sum_of(config).to_le_bytes());
        // Behind it, the archive may end without a trailer.
        let image = [&archive().open()[..], config, &size, &sum, b"#BOOTCONFIG\n\0\0"].concat();
        assert_eq!(judge(&image), WHOLE);
        let image = [&archive().open()[..], config, &size, &size, b"#BOOTCONFIG\n"].concat();
        assert!(is_broken(&image));
    }

    #[test]
    fn what_begins_as_an_archive_has_to_be_one() {
        let whole = archive().finish();
        for more in [
            &b"07070"[..],
            b"0707070000",
            b"\x1f\x8b\x08",
            b"BZ",
            b"\x02\x21\x4c\x18\x09",
            b"\x02\x21\x4c\x18\0\x10",
        ] {
            assert!(is_broken(&[&whole[..], more].concat()), "{}", more.escape_ascii());
        }
        assert!(is_broken(&[&archive().open()[..], b"junk"].concat()));
        assert!(is_broken(&archive().file_with_sum("sum", b"summed", false).finish()));
        // An archive is aligned.
        assert!(is_broken(&[&whole[..], b"\0", &whole].concat()));
        assert_eq!(judge(b"no archive"), Verdict::Foreign);
    }

    #[test]
    fn a_name_ends_in_nuls_and_a_trailer_has_no_data() {
        let with = |name: &str, data| judge(&Archive::new().file(name, 0o644, data).open());
        assert_eq!(with("name\0\0", b"data"), Verdict::Whole { init: false });
        assert!(matches!(with("name\0x", b"data"), Verdict::Broken(_)));
        assert!(matches!(with("TRAILER!!!", b"data"), Verdict::Broken(_)));
    }

    #[test]
    fn numbers_are_hexadecimal() {
        for (at, digit) in [(6, b'g'), (14, b'+'), (109, b' ')] {
            let mut image = archive().finish();
            image[at] = digit;
            assert!(is_broken(&image), "{at}");
        }
        let mut image = Archive::new().file("init", 0o755, &[b'x'; 0xa]).finish();
        let size = image.windows(8).position(|digits| digits.eq_ignore_ascii_case(b"0000000a"));
        // Small letters for large ones, or the other way round.
        image[size.unwrap_or_default() + 7] ^= 0x20;
        assert_eq!(judge(&image), WHOLE);
    }

    #[test]
    fn a_dictionary_that_no_encoder_has_is_left_open() -> Result<()> {
        let mut packed = compress("lzma", &archive().finish())?;
        assert_eq!(judge(&packed), WHOLE);
        packed[1..5].fill(0);
        assert!(matches!(judge(&packed), Verdict::Unsure(_)));
        Ok(())
    }

    #[test]
    fn the_last_byte_of_lzma_is_left_open() -> Result<()> {
        let packed = compress("lzma", &archive().finish())?;
        assert!(matches!(judge(&packed[..packed.len() - 1]), Verdict::Unsure(_)));
        for cut in 2..20 {
            assert_eq!(judge(&packed[..packed.len() - cut]), CUT, "{cut} bytes");
        }
        Ok(())
    }

    #[test]
    fn another_end_of_lzo_is_left_open() -> Result<()> {
        let mut packed = compress("lzop", &archive().finish())?;
        assert_eq!(judge(&packed), WHOLE);
        // In front of the size of a block, which is 0 there.
        let end = packed.len() - 4 - 3;
        packed[end] ^= 2;
        assert!(matches!(judge(&packed), Verdict::Unsure(_)));
        Ok(())
    }

    #[test]
    fn checksums_hold() -> Result<()> {
        let whole = Archive::new().file("init", 0o755, &noise(999)).finish();
        // The others have none, or none that the kernel looks at.
        for how in ["gzip", "bzip2", "xz", "zstd"] {
            let packed = compress(how, &whole)?;
            for at in packed.len() / 2..packed.len() * 3 / 4 {
                let mut image = packed.clone();
                image[at] ^= 4;
                // Of bzip2, nothing may be left that looks like an archive.
                let is_dropped = is_broken(&image) || judge(&image) == Verdict::Foreign;
                assert!(is_dropped, "{how}, {at} of {}", packed.len());
            }
        }
        Ok(())
    }
}
