// SPDX-License-Identifier: GPL-2.0

//! Finds compilers that can build a kernel with Rust in it.

use crate::{
    cmd::{self, output, program, watch, which},
    paths,
};
use anyhow::{bail, Context, Result};
use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What a kernel is built with.
#[derive(Clone, Debug)]
pub struct Toolchain {
    rustc: PathBuf,
    bindgen: PathBuf,
    /// What follows `LLVM=`: 1, or the suffix of the programs' names.
    llvm: String,
    libclang: PathBuf,
    ccache: bool,
}

impl Toolchain {
    /// Finds the programs. Builds bindgen, should there be none that is new enough.
    pub fn find() -> Result<Self> {
        let rustc = rustc()?;
        let llvm = llvm()?;
        let libclang = PathBuf::from(
            output(Command::new(llvm_program("llvm-config", &llvm)).arg("--libdir"))?.trim(),
        );
        Ok(Self {
            bindgen: bindgen()?,
            rustc,
            llvm,
            libclang,
            ccache: which(&["ccache"]).is_some(),
        })
    }

    /// Returns a make that builds the kernel sources in `src` into `objects`.
    pub fn make(&self, src: &Path, objects: &Path) -> Command {
        let mut make = Command::new("make");
        make.arg("-C").arg(src);
        if src != objects {
            make.arg(format!("O={}", objects.display()));
        }
        make.arg(format!("LLVM={}", self.llvm))
            .arg(format!("RUSTC={}", self.rustc.display()))
            .arg(format!("HOSTRUSTC={}", self.rustc.display()))
            .arg(format!(
                "RUSTDOC={}",
                self.beside_rustc("rustdoc").display()
            ))
            .arg(format!(
                "RUSTFMT={}",
                self.beside_rustc("rustfmt").display()
            ))
            .arg(format!(
                "CLIPPY_DRIVER={}",
                self.beside_rustc("clippy-driver").display()
            ))
            .arg(format!("BINDGEN={}", self.bindgen.display()))
            .arg(format!("-j{}", jobs()));
        if self.ccache {
            make.arg(format!("CC=ccache {}", self.program("clang").display()))
                .env("CCACHE_DIR", paths::cache().join("ccache"))
                // Trees of different checkouts have the same sources.
                .env("CCACHE_BASEDIR", src)
                .env("CCACHE_NOHASHDIR", "1");
        }
        make.env("LIBCLANG_PATH", &self.libclang)
            // What the kernel prints of itself, the same for each build.
            .env("KBUILD_BUILD_TIMESTAMP", "@0")
            .env("KBUILD_BUILD_USER", "initramfs-mount")
            .env("KBUILD_BUILD_HOST", "localhost")
            .env_remove("MAKEFLAGS")
            .env_remove("MAKELEVEL")
            .env_remove("MFLAGS")
            .env_remove("RUSTFLAGS");
        make
    }

    /// Returns a program that comes with the compiler.
    pub fn beside_rustc(&self, name: &str) -> PathBuf {
        let path = self.rustc.with_file_name(name);
        if path.is_file() {
            path
        } else {
            name.into()
        }
    }

    /// Returns one of the LLVM programs.
    pub fn program(&self, name: &str) -> PathBuf {
        llvm_program(name, &self.llvm)
    }

    /// Returns what was found, for people.
    pub fn describe(&self) -> Result<String> {
        let version = |command: &mut Command| -> Result<String> {
            Ok(output(command.arg("--version"))?
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned())
        };
        Ok(format!(
            "{} ({})\n{} ({})\n{} ({}){}",
            version(&mut Command::new(&self.rustc))?,
            self.rustc.display(),
            version(&mut Command::new(&self.bindgen))?,
            self.bindgen.display(),
            version(&mut Command::new(self.program("clang")))?,
            self.program("clang").display(),
            if self.ccache { "\nccache" } else { "" },
        ))
    }
}

pub fn jobs() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// Returns all programs of that name in `PATH`, in order.
fn all(name: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/bin".into()])
        .map(|dir| dir.join(name))
        .filter(|file| file.is_file())
        .collect()
}

/// Finds a compiler that comes with the sources of its library, and is new enough for 6.12.
///
/// Which one that is can't be told by its name or place: rustup's and Debian's may be there both,
/// with the sources or without.
fn rustc() -> Result<PathBuf> {
    let mut why = String::new();
    for rustc in env::var_os("RUSTC")
        .map(PathBuf::from)
        .into_iter()
        .chain(all("rustc"))
    {
        match usable_rustc(&rustc) {
            Ok(()) => return Ok(rustc),
            Err(e) => why.push_str(&format!("\n  {}: {e:#}", rustc.display())),
        }
    }
    bail!(
        "no rustc can build a kernel: install {}, or run `make deps`{why}",
        if crate::deps::debian_codename() == "bookworm" {
            "the packages rustc-web and rust-web-src"
        } else {
            "the packages rustc and rust-src, or rustup's component rust-src"
        }
    )
}

fn usable_rustc(rustc: &Path) -> Result<()> {
    let version = output(Command::new(rustc).arg("--version"))?;
    if version_of(&version) < (1, 78) {
        bail!("older than 1.78");
    }
    let sysroot = output(Command::new(rustc).args(["--print", "sysroot"]))?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    if !core.is_file() {
        bail!(
            "the sources of its library are missing ({})",
            core.display()
        );
    }
    Ok(())
}

/// Returns the first two numbers of the first version in `text`.
fn version_of(text: &str) -> (u32, u32) {
    let number = regex::Regex::new(r"(\d+)\.(\d+)").ok();
    number
        .and_then(|number| {
            let found = number.captures(text)?;
            Some((found[1].parse().ok()?, found[2].parse().ok()?))
        })
        .unwrap_or_default()
}

fn llvm_program(name: &str, llvm: &str) -> PathBuf {
    if llvm == "1" {
        name.into()
    } else {
        format!("{name}{llvm}").into()
    }
}

/// Returns the newest complete LLVM that is known to build these kernels.
fn llvm() -> Result<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let versions: BTreeSet<u32> = env::split_paths(&path)
        .chain(["/usr/bin".into()])
        .filter_map(|dir| fs::read_dir(dir).ok())
        .flatten()
        .flatten()
        .filter_map(|file| {
            let name = file.file_name();
            name.to_str()?.strip_prefix("clang-")?.parse().ok()
        })
        .collect();
    versions
        .iter()
        .rev()
        .map(|version| format!("-{version}"))
        .chain(["1".to_owned()])
        .find(|llvm| {
            let complete = ["clang", "ld.lld", "llvm-nm", "llvm-objcopy", "llvm-config"]
                .iter()
                .all(|name| which(&[&llvm_program(name, llvm).to_string_lossy()]).is_some());
            complete
                && output(Command::new(llvm_program("clang", llvm)).arg("--version"))
                    .is_ok_and(|version| version_of(&version) >= (17, 0))
        })
        .context(
            "no LLVM from 17 on with clang, lld, llvm-config and the others: install the packages \
             clang-19, lld-19 and llvm-19, or run `make deps`",
        )
}

/// Finds a bindgen from 0.71 on, or builds one into the cache folder.
fn bindgen() -> Result<PathBuf> {
    let own = paths::cache().join("cargo/bin/bindgen");
    for bindgen in env::var_os("BINDGEN")
        .map(PathBuf::from)
        .into_iter()
        .chain(all("bindgen"))
        .chain([own.clone()])
    {
        if output(Command::new(&bindgen).arg("--version")).is_ok_and(|v| version_of(&v) >= (0, 71))
        {
            return Ok(bindgen);
        }
    }
    let cargo = env::var_os("CARGO").map_or_else(|| program("cargo", "cargo"), |c| Ok(c.into()))?;
    watch(
        "building bindgen, of which there is none from 0.71 on",
        &paths::cache().join("bindgen.log"),
        Command::new(cargo)
            .args(["install", "--locked", "--root"])
            .arg(paths::cache().join("cargo"))
            .arg("bindgen-cli@0.72.1"),
    )?;
    cmd::output(Command::new(&own).arg("--version"))?;
    Ok(own)
}
