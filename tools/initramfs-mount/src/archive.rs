// SPDX-License-Identifier: GPL-2.0

//! cpio archives, as a kernel unpacks them.

use crate::{
    cmd::{output, program},
    guest,
};
use anyhow::{ensure, Context, Result};
use cpio::newc;
use regex::bytes::Regex;
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A cpio archive that is being made, entry by entry.
#[derive(Clone, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    pub fn new() -> Self {
        Self::default()
    }

    fn entry(mut self, builder: newc::Builder, data: &[u8]) -> Self {
        self.inode += 1;
        let builder = builder.ino(self.inode);
        self.bytes = write(builder.write(self.bytes, data.len() as u32), data);
        self
    }

    pub fn dir(self, name: &str) -> Self {
        self.entry(newc::Builder::new(name).mode(0o040755).nlink(2), &[])
    }

    pub fn file(self, name: &str, mode: u32, data: &[u8]) -> Self {
        self.entry(newc::Builder::new(name).mode(0o100000 | mode), data)
    }

    /// A file with a checksum, the right one or a wrong one.
    pub fn file_with_sum(mut self, name: &str, data: &[u8], right: bool) -> Self {
        self.inode += 1;
        let sum = data
            .iter()
            .fold(0u32, |sum, byte| sum.wrapping_add((*byte).into()));
        let sum = if right { sum } else { sum ^ 1 };
        let builder = newc::Builder::new(name).mode(0o100644).ino(self.inode);
        self.bytes = write(builder.write_crc(self.bytes, data.len() as u32, sum), data);
        self
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(newc::Builder::new(name).mode(0o120777), target.as_bytes())
    }

    /// Several names of one file. The last one brings the data, as cpio's do.
    pub fn hard_links(mut self, names: &[&str], mode: u32, data: &[u8]) -> Self {
        self.inode += 1;
        for (i, name) in names.iter().enumerate() {
            let data = if i + 1 == names.len() { data } else { &[] };
            let builder = newc::Builder::new(name)
                .mode(0o100000 | mode)
                .ino(self.inode)
                .nlink(names.len() as u32);
            self.bytes = write(builder.write(self.bytes, data.len() as u32), data);
        }
        self
    }

    pub fn char_device(self, name: &str, major: u32, minor: u32) -> Self {
        let builder = newc::Builder::new(name).mode(0o020600);
        self.entry(builder.rdev_major(major).rdev_minor(minor), &[])
    }

    /// A file of the host, or all that is in a folder of it.
    pub fn copy(self, from: &Path, to: &str) -> Result<Self> {
        let data = fs::read(from).with_context(|| format!("can't read {}", from.display()))?;
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(from)?.permissions());
        Ok(self.file(to, mode & 0o7777, &data))
    }

    /// A program of the host with the libraries that it loads, at the same paths.
    pub fn program(mut self, path: &Path) -> Result<Self> {
        for file in with_libraries(path)? {
            let name = file.to_string_lossy().trim_start_matches('/').to_owned();
            self = self.parents(&name).copy(&file, &name)?;
        }
        Ok(self)
    }

    /// The folders that `name` is in.
    pub fn parents(mut self, name: &str) -> Self {
        for (end, _) in name.match_indices('/') {
            self = self.dir(&name[..end]);
        }
        self
    }

    /// What has been written so far, without an end.
    pub fn open(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// The same with one more file, after the data of which there is no padding.
    pub fn open_with(self, name: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = self.file(name, 0o644, data).bytes;
        bytes.truncate(bytes.len() - (data.len().next_multiple_of(4) - data.len()));
        bytes
    }

    /// The whole archive.
    pub fn finish(&self) -> Vec<u8> {
        match newc::trailer(self.bytes.clone()) {
            Ok(mut bytes) => {
                // As cpio and gen_init_cpio do.
                pad(&mut bytes, 512);
                bytes
            }
            Err(e) => unreachable!("a Vec can always be written to: {e}"),
        }
    }
}

/// Returns a program and the libraries that it loads, with what loads them.
pub fn with_libraries(path: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![path.to_path_buf()];
    let bytes = fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    // ldd does not know of klibc's.
    if let Some(loader) = Regex::new(r"/lib/klibc-\w+\.so\x00")?.find(&bytes) {
        let name = String::from_utf8_lossy(&loader.as_bytes()[..loader.len() - 1]);
        files.push(name.into_owned().into());
    }
    let said = Command::new(program("ldd", "libc-bin")?)
        .arg(path)
        .output()?;
    files.extend(
        String::from_utf8_lossy(&said.stdout)
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
            .map(Into::into),
    );
    Ok(files)
}

fn write(mut writer: newc::Writer<Vec<u8>>, data: &[u8]) -> Vec<u8> {
    let done = writer.write_all(data).and_then(|()| writer.finish());
    match done {
        Ok(bytes) => bytes,
        Err(e) => unreachable!("a Vec can always be written to: {e}"),
    }
}

/// Adds zeros up to a multiple of `size`.
pub fn pad(bytes: &mut Vec<u8>, size: usize) {
    bytes.resize(bytes.len().next_multiple_of(size), 0);
}

/// The ways to compress an archive that the kernel knows, each with a program, its arguments and
/// the Debian package that has it.
pub const COMPRESSIONS: &[(&str, &[&str], &str)] = &[
    ("gzip", &["-n", "-6"], "gzip"),
    ("bzip2", &["-6"], "bzip2"),
    ("lzma", &["-3"], "xz-utils"),
    ("xz", &["--check=crc32", "-3"], "xz-utils"),
    ("lzop", &["-3"], "lzop"),
    ("lz4", &["-l", "-3"], "lz4"),
    ("zstd", &["-3", "-q"], "zstd"),
];

/// Compresses with one of [`COMPRESSIONS`].
pub fn compress(how: &str, data: &[u8]) -> Result<Vec<u8>> {
    let (name, args, package) = COMPRESSIONS
        .iter()
        .find(|(name, ..)| *name == how)
        .with_context(|| format!("{how} is no way to compress that the kernel knows"))?;
    let mut child = Command::new(program(name, package)?)
        .args(*args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't run {name}"))?;
    let mut input = child.stdin.take().context("there is no pipe to write to")?;
    let data = data.to_owned();
    let writer = std::thread::spawn(move || input.write_all(&data));
    let done = child.wait_with_output()?;
    ensure!(
        done.status.success() && writer.join().is_ok_and(|written| written.is_ok()),
        "{name} failed to compress an archive"
    );
    Ok(done.stdout)
}

/// Returns where busybox is, one that needs no libraries.
pub fn busybox_program() -> Result<PathBuf> {
    let busybox = program("busybox", "busybox-static")?;
    let kind = output(Command::new("ldd").arg(&busybox)).unwrap_or_default();
    ensure!(
        !kind.contains("libc.so"),
        "{} needs libraries: install the package busybox-static",
        busybox.display()
    );
    Ok(busybox)
}

/// busybox, and links to it for those of its programs that scripts use.
pub fn busybox() -> Result<Archive> {
    let mut archive = Archive::new();
    for dir in ["bin", "dev", "proc", "sys", "tmp", "mnt", "etc"] {
        archive = archive.dir(dir);
    }
    archive = archive.copy(&busybox_program()?, "bin/busybox")?;
    for applet in [
        "awk",
        "cat",
        "chmod",
        "chroot",
        "cmp",
        "cp",
        "cut",
        "dd",
        "df",
        "dmesg",
        "echo",
        "find",
        "grep",
        "head",
        "id",
        "ln",
        "ls",
        "mkdir",
        "mknod",
        "mount",
        "mv",
        "nsenter",
        "pivot_root",
        "poweroff",
        "printf",
        "ps",
        "readlink",
        "rm",
        "sed",
        "sh",
        "sha256sum",
        "sleep",
        "sort",
        "stat",
        "switch_root",
        "sync",
        "tail",
        "test",
        "timeout",
        "touch",
        "tr",
        "uniq",
        "umount",
        "unshare",
        "wc",
        "yes",
        "su",
        "ip",
        "hexdump",
    ] {
        archive = archive.symlink(&format!("bin/{applet}"), "busybox");
    }
    Ok(archive
        .file("bin/free-kib", 0o755, guest::FREE.as_bytes())
        .file(
            "etc/passwd",
            0o644,
            b"root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n",
        )
        .file("etc/group", 0o644, b"root:x:0:\nuser:x:1000:\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpio_reads_what_was_written() -> Result<()> {
        let archive = Archive::new()
            .dir("d")
            .file("d/f", 0o640, b"text")
            .symlink("l", "d/f")
            .hard_links(&["a", "b"], 0o600, b"shared")
            .finish();
        let dir = tempfile::tempdir()?;
        let mut cpio = Command::new("cpio")
            .args(["-i", "--quiet"])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .spawn()?;
        cpio.stdin.take().context("no pipe")?.write_all(&archive)?;
        assert!(cpio.wait()?.success());
        assert_eq!(fs::read(dir.path().join("l"))?, b"text");
        assert_eq!(fs::read(dir.path().join("a"))?, b"shared");
        assert_eq!(fs::read(dir.path().join("b"))?, b"shared");
        Ok(())
    }

    #[test]
    fn every_compression_works() -> Result<()> {
        for (name, ..) in COMPRESSIONS {
            let packed = compress(name, &[b'x'; 4096])?;
            assert!(packed.len() < 4096, "{name}");
        }
        Ok(())
    }
}
