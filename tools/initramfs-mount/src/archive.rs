// SPDX-License-Identifier: GPL-2.0

//! cpio archives, as a kernel unpacks them, and what is in those that are booted here.

use crate::{
    cmd::{output, output_bytes, program},
    files::{files, read, read_bytes, script},
    guest, paths,
};
use anyhow::{Context, Result};
use cpio::newc;
use std::{
    fs,
    io::{Seek, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
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

    /// One that goes on behind these bytes.
    pub fn after(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), inode: 0 }
    }

    /// An entry with an inode of its own.
    fn single(mut self, builder: newc::Builder, data: &[u8]) -> Self {
        self.inode += 1;
        let builder = builder.ino(self.inode);
        self.entry(builder, data)
    }

    /// An entry just as it is.
    pub fn entry(mut self, builder: newc::Builder, data: &[u8]) -> Self {
        self.bytes = put(builder.write(self.bytes, data.len() as u32), data);
        self
    }

    pub fn dir(self, name: &str) -> Self {
        self.single(newc::Builder::new(name).mode(0o040755).nlink(2), &[])
    }

    pub fn file(self, name: &str, mode: u32, data: &[u8]) -> Self {
        self.single(newc::Builder::new(name).mode(0o100000 | mode), data)
    }

    /// A file with a checksum, the right one or a wrong one.
    pub fn file_with_sum(mut self, name: &str, data: &[u8], right: bool) -> Self {
        self.inode += 1;
        let sum = data.iter().fold(0u32, |sum, byte| sum.wrapping_add((*byte).into()));
        let sum = if right { sum } else { sum ^ 1 };
        let builder = newc::Builder::new(name).mode(0o100644).ino(self.inode);
        self.bytes = put(builder.write_crc(self.bytes, data.len() as u32, sum), data);
        self
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.single(newc::Builder::new(name).mode(0o120777), target.as_bytes())
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
            self = self.entry(builder, data);
        }
        self
    }

    pub fn char_device(self, name: &str, major: u32, minor: u32) -> Self {
        self.node(name, 0o020600, major, minor)
    }

    /// What the first process talks to.
    pub fn console(self) -> Self {
        self.dir("dev").char_device("dev/console", 5, 1)
    }

    /// A file of a type that has no data.
    pub fn node(self, name: &str, mode: u32, major: u32, minor: u32) -> Self {
        let builder = newc::Builder::new(name).mode(mode);
        self.single(builder.rdev_major(major).rdev_minor(minor), &[])
    }

    /// A file of the host.
    pub fn copy(self, from: &Path, to: &str) -> Result<Self> {
        let data = read_bytes(from)?;
        let mode = fs::metadata(from)?.permissions().mode();
        Ok(self.file(to, mode & 0o7777, &data))
    }

    /// Files that a guest has where they are here, as programs and the libraries that they load, below
    /// `root`.
    pub fn at_their_places(
        self,
        root: &str,
        files: impl IntoIterator<Item = PathBuf>,
    ) -> Result<Self> {
        files.into_iter().try_fold(self, |archive, file| {
            let name = format!("{root}{}", file.to_string_lossy().trim_start_matches('/'));
            archive.parents(&name).copy(&guest::here(&file)?, &name)
        })
    }

    /// Programs, each with the package that has it. busybox prefers programs of its own; these are in
    /// `/real`, too, wherever they are otherwise.
    pub fn programs(self, programs: &[(&str, &str)]) -> Result<Self> {
        programs.iter().try_fold(self.dir("real"), |archive, (name, package)| {
            let path = guest::find(name, package)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let link = format!("real/{name}");
            Ok(archive
                .at_their_places("", guest::with_libraries(&path)?)?
                .symlink(&link, &path.to_string_lossy()))
        })
    }

    /// The folders that `name` is in.
    pub fn parents(mut self, name: &str) -> Self {
        for (end, _) in name.match_indices('/') {
            self = self.dir(&name[..end]);
        }
        self
    }

    /// The scripts of a folder of this tool, in another folder.
    pub fn scripts(mut self, from: &str, to: &str) -> Result<Self> {
        self = self.dir(to);
        for file in files(&paths::tool(from))? {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            self = self.file(&format!("{to}/{name}"), 0o755, read(&file)?.as_bytes());
        }
        Ok(self)
    }

    /// busybox, with links to it for all of its programs, below `root`.
    pub fn add_busybox(mut self, root: &str) -> Result<Self> {
        let busybox = guest::busybox()?;
        for dir in ["bin", "dev", "proc", "sys", "tmp", "mnt", "etc", "run"] {
            self = self.dir(&format!("{root}{dir}"));
        }
        self = self.copy(&busybox, &format!("{root}bin/busybox"))?;
        for applet in guest::applets()? {
            self = self.symlink(&format!("{root}bin/{applet}"), "busybox");
        }
        Ok(self)
    }

    /// A small system, with a script of `guest/` as its `/init`.
    pub fn running(script: &str) -> Result<Self> {
        Ok(Self::system()?.script("init", &format!("exec /guest/{script}.sh")))
    }

    /// A small system that says who it is, and leaves its root with pivot_root.
    pub fn telling(name: &str) -> Result<Self> {
        Ok(Self::system()?.script("init", &tell(name)))
    }

    /// A small system without an init.
    pub fn system() -> Result<Self> {
        Self::new().add_busybox("")?.scripts("guest", "guest")
    }

    /// A script of a line or two as a program.
    pub fn script(self, name: &str, lines: &str) -> Self {
        self.file(name, 0o755, script(lines).as_bytes())
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
            // As cpio and gen_init_cpio do.
            Ok(bytes) => padded(bytes, 512),
            Err(e) => unreachable!("a Vec can always be written to: {e}"),
        }
    }

    /// Has cpio put all of it into a folder.
    pub fn unpack(&self, dir: &Path) -> Result<()> {
        let mut file =
            tempfile::NamedTempFile::new().context("can't make a file for an archive")?;
        file.write_all(&self.finish())?;
        let mut cpio = Command::new(program("cpio", "cpio")?);
        cpio.args(["-i", "-u", "--quiet", "-F"]).arg(file.path()).current_dir(dir);
        output(&mut cpio).map(drop)
    }
}

fn put(mut writer: newc::Writer<Vec<u8>>, data: &[u8]) -> Vec<u8> {
    let done = writer.write_all(data).and_then(|()| writer.finish());
    match done {
        Ok(bytes) => bytes,
        Err(e) => unreachable!("a Vec can always be written to: {e}"),
    }
}

/// The lines that say who it is, and leave its root with pivot_root.
pub fn tell(name: &str) -> String {
    format!("export NAME={name}\nexec /guest/tell.sh")
}

/// Adds zeros up to a multiple of `size`.
pub fn padded(mut bytes: Vec<u8>, size: usize) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(size), 0);
    bytes
}

/// Returns so many bytes that no compression makes smaller, always the same ones.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
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
    let mut input = tempfile::tempfile().context("can't make a file for an archive")?;
    input.write_all(data)?;
    input.rewind()?;
    output_bytes(Command::new(program(name, package)?).args(*args).stdin(input))
}
