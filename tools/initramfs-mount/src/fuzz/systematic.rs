// SPDX-License-Identifier: GPL-2.0

//! Compressed archives, whole, with something after them, and cut off at many places.

use crate::archive::{compress, noise, padded, Archive, COMPRESSIONS};
use anyhow::Result;

/// An archive, and whether it is whole.
pub struct Case {
    pub what: String,
    pub image: Vec<u8>,
    pub whole: bool,
}

/// All of them.
pub fn cases() -> Result<Vec<Case>> {
    let archive = Archive::new()
        .file("noise", 0o644, &noise(5000))
        .file("text", 0o644, &b"a line\n".repeat(2000))
        .file("init", 0o755, b"no program");
    let open = archive.clone().open_with("last", b"unpadded");
    let archive = archive.finish();
    let mut cases = Vec::new();
    let mut add = |what: String, image: Vec<u8>, whole| cases.push(Case { what, image, whole });
    for (how, ..) in COMPRESSIONS {
        add(format!("{how}, without trailer"), compress(how, &open)?, true);
        let nothing = compress(how, b"")?;
        // Of LZ4, that is no more than a magic, behind which anything may be a cut block.
        if *how != "lz4" {
            let image = [padded(nothing.clone(), 4), archive.clone()].concat();
            add(format!("nothing in {how}"), image, true);
        }
        for cut in 2..nothing.len() {
            add(format!("nothing in {how}, {cut} of it"), nothing[..cut].to_vec(), false);
        }
        let junk = [&archive[..], b"this is no archive"].concat();
        add(format!("{how}, junk in it"), compress(how, &junk)?, true);
        for len in [open.len() - 4, open.len() - 50] {
            let what = format!("{how}, whole, of {len} bytes");
            add(what, compress(how, &open[..len])?, false);
        }
        // Decompressors hand out blocks: the trailer in the last one of them, and before.
        for (kind, archive) in [("", archive.clone()), (", padded", padded(archive.clone(), 8192))]
        {
            let packed = compress(how, &archive)?;
            let len = packed.len();
            let aligned = padded(packed.clone(), 4);
            for after in [&b""[..], &[0; 100], b"this is no archive, and no zeros", &[0xff; 40]] {
                let what = format!("{how}{kind}, then {} bytes", after.len());
                add(what, [&packed, after].concat(), true);
            }
            // What begins as an archive must be one.
            for after in [&b"0707010"[..], b"\x1f\x8b\x08\0", b"\x02\x21\x4c\x18\xff"] {
                let what = format!("{how}{kind}, then {after:02x?}");
                add(what, [&aligned, after].concat(), false);
            }
            let twice = [&aligned[..], &packed].concat();
            add(format!("{how}{kind}, twice"), twice.clone(), true);
            for cut in [2, 3, 5, 6, 7, 8, 9, len / 2, len - 9, len - 1] {
                let what = format!("{how}{kind}, twice, {cut} of it");
                add(what, twice[..aligned.len() + cut].to_vec(), false);
            }
            let spread = (1..12).map(|i| len * i / 12);
            for cut in spread.chain(len - 32..len) {
                add(format!("{how}{kind}, {cut} of {len}"), packed[..cut].to_vec(), false);
            }
        }
    }
    Ok(cases)
}
