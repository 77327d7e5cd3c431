// SPDX-License-Identifier: GPL-2.0

//! Compressed archives, whole, with something after them, and cut off at many places, on user-mode
//! Linux, which boots in a moment.

use crate::{
    archive::{compress, pad, Archive, COMPRESSIONS},
    base::Base,
    cmd::Progress,
    guest, kunit,
};
use anyhow::{bail, ensure, Context, Result};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Mutex,
};

struct Case {
    what: String,
    archive: Vec<u8>,
    /// Whether it is to become the root.
    whole: bool,
}

/// Boots each of them with the kernel that the KUnit tests have been built into.
pub fn boot(base: &Base) -> Result<()> {
    let kernel = kunit::build_user_mode(base)?;
    let cases = cases()?;
    let count = cases.len();
    let progress = Progress::new(&format!("booting {count} compressed archives"));
    let cases = Mutex::new(cases.into_iter().enumerate());
    let boots = || -> Result<()> {
        let dir = tempfile::tempdir().context("can't make a folder for archives")?;
        loop {
            let next = cases.lock().ok().and_then(|mut cases| cases.next());
            let Some((i, case)) = next else { return Ok(()) };
            progress.line(&format!("{} of {count}: {}", i + 1, case.what));
            case.check(&kernel, dir.path())?;
        }
    };
    let done = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..crate::toolchain::jobs())
            .map(|_| scope.spawn(boots))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a thread died")))
    });
    progress.done(done.is_ok());
    done
}

fn cases() -> Result<Vec<Case>> {
    let archive = Archive::new()
        .file("noise", 0o644, &guest::noise(5000))
        .file("text", 0o644, &b"a line\n".repeat(2000))
        .file("init", 0o755, b"no program");
    let open = archive.clone().open_with("last", b"unpadded");
    let archive = archive.finish();
    // Decompressors hand out blocks: the trailer in the last one of them, and before.
    let mut padded = archive.clone();
    pad(&mut padded, 8192);

    let mut cases = Vec::new();
    for (how, ..) in COMPRESSIONS {
        cases.push(Case {
            what: format!("{how}, without trailer"),
            archive: compress(how, &open)?,
            whole: true,
        });
        let mut junk = archive.clone();
        junk.extend(b"this is no archive");
        cases.push(Case {
            what: format!("{how}, junk in it"),
            archive: compress(how, &junk)?,
            whole: true,
        });
        for len in [open.len() - 4, open.len() - 50] {
            cases.push(Case {
                what: format!("{how}, whole, of {len} bytes"),
                archive: compress(how, &open[..len])?,
                whole: false,
            });
        }
    }
    for (how, ..) in COMPRESSIONS {
        for (kind, archive) in [("", &archive), (", padded", &padded)] {
            let packed = compress(how, archive)?;
            let len = packed.len();
            let mut add = |what: String, archive: Vec<u8>, whole| {
                let what = format!("{how}{kind}{what}");
                cases.push(Case {
                    what,
                    archive,
                    whole,
                });
            };
            for after in [
                &b""[..],
                &[0; 100],
                b"this is no archive, and no zeros",
                &[0xff; 40],
            ] {
                let what = format!(", then {} bytes", after.len());
                add(what, [&packed, after].concat(), true);
            }
            // What begins as an archive must be one.
            for after in [&b"0707010"[..], b"\x1f\x8b\x08\0", b"\x02\x21\x4c\x18\xff"] {
                let mut bytes = packed.clone();
                pad(&mut bytes, 4);
                bytes.extend(after);
                add(format!(", then {after:02x?}"), bytes, false);
            }
            let mut twice = packed.clone();
            pad(&mut twice, 4);
            let second = twice.len();
            twice.extend(&packed);
            add(", twice".to_owned(), twice.clone(), true);
            for cut in [2, 3, 5, 6, 7, 8, 9, len / 2, len - 9, len - 1] {
                let cut = second + cut;
                add(
                    format!(", twice, {cut} of it"),
                    twice[..cut].to_vec(),
                    false,
                );
            }
            let spread = (1..12).map(|i| len * i / 12);
            for cut in spread.chain(len - 32..len) {
                add(format!(", {cut} of {len}"), packed[..cut].to_vec(), false);
            }
        }
    }
    Ok(cases)
}

impl Case {
    fn check(&self, kernel: &Path, dir: &Path) -> Result<()> {
        let file = dir.join("initrd");
        fs::write(&file, &self.archive)?;
        // A kernel that panics ends with an abort, which is as well here.
        let said = Command::new(kernel)
            .current_dir(dir)
            // Without root=, user-mode Linux would add one of its own.
            .args(["mem=64M", "kunit.enable=0", "console=tty", "root="])
            .arg(format!("initrd={}", file.display()))
            // What it leaves behind when it panics.
            .arg(format!("uml_dir={}/", dir.display()))
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("can't run {}", kernel.display()))?;
        let said = String::from_utf8_lossy(&said.stdout);
        let (wanted, other) = if self.whole {
            ("/ is the initramfs", "Kernel panic - not syncing: VFS")
        } else {
            (", initramfs: ", "/ is the initramfs")
        };
        ensure!(
            said.contains(wanted) && !said.contains(other),
            "an archive ({}) should make the kernel say {wanted:?}:\n{said}",
            self.what
        );
        Ok(())
    }
}
