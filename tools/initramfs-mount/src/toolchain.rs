// SPDX-License-Identifier: GPL-2.0

//! Finds compilers that can build a kernel with Rust in it.

use crate::{
    apt, arch,
    cmd::{all, output, program, watch, which},
    paths,
};
use anyhow::{bail, ensure, Context, Result};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// What builds a kernel in Debian 13, and what comes with it.
const DEBIAN_13_PACKAGES: &[&str] = &[
    "gcc",
    "rustc",
    "rust-src",
    "bindgen",
    "make",
    "flex",
    "bison",
    "bc",
    "libelf-dev",
    "libssl-dev",
    "cpio",
    "kmod",
    "perl",
    "python3-minimal",
    "rsync",
    "xz-utils",
    // What each Debian has, and is not asked for elsewhere.
    "bash",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "grep",
    "gzip",
    "mawk",
    "sed",
    "tar",
];

/// What the kernel prints of itself, the same for each build.
const PRINTED: [(&str, &str); 3] = [
    ("KBUILD_BUILD_TIMESTAMP", "@0"),
    ("KBUILD_BUILD_USER", "initramfs-mount"),
    ("KBUILD_BUILD_HOST", "localhost"),
];

/// What a kernel is built with.
#[derive(Clone, Debug)]
pub struct Toolchain {
    rustc: PathBuf,
    bindgen: PathBuf,
    /// What follows `LLVM=`: 1, or the suffix of the programs' names.
    llvm: String,
    pub libclang: PathBuf,
    ccache: bool,
}

impl Toolchain {
    /// Finds the programs. Builds bindgen, should there be none that is new enough.
    ///
    /// # Errors
    ///
    /// If one is missing: which, and in what package it is.
    pub fn find() -> Result<Self> {
        let rustc = rustc()?;
        let llvm = llvm()?;
        let libdir = output(Command::new(llvm_program("llvm-config", &llvm)).arg("--libdir"))?;
        Ok(Self {
            bindgen: bindgen()?,
            rustc,
            llvm,
            libclang: PathBuf::from(libdir.trim()),
            ccache: which("ccache").is_some(),
        })
    }

    /// What make is to be told of it.
    pub fn variables(&self) -> Vec<String> {
        let variables = [
            ("LLVM", self.llvm.clone().into()),
            ("RUSTC", self.rustc.clone()),
            ("HOSTRUSTC", self.rustc.clone()),
            ("RUSTDOC", self.beside_rustc("rustdoc")),
            ("RUSTFMT", self.beside_rustc("rustfmt")),
            ("CLIPPY_DRIVER", self.beside_rustc("clippy-driver")),
            ("BINDGEN", self.bindgen.clone()),
        ];
        variables.iter().map(|(name, value)| format!("{name}={}", value.display())).collect()
    }

    /// Returns a make that builds the kernel sources in `src` into `objects`.
    pub fn make(&self, src: &Path, objects: &Path) -> Command {
        let mut make = Command::new("make");
        make.arg("-C").arg(src);
        make.arg(format!("O={}", objects.display()))
            .args(self.variables())
            .arg(format!("ARCH={}", arch::current().kernel))
            .arg(format!("-j{}", jobs()));
        if self.ccache {
            make.arg(format!("CC=ccache {}", self.program("clang").display()))
                .env("CCACHE_DIR", paths::cache().join("ccache"))
                // Trees of different checkouts have the same sources.
                .env("CCACHE_BASEDIR", src)
                .env("CCACHE_NOHASHDIR", "1")
                // The compiler lists what it has read, so that nothing need be preprocessed for it.
                .env("CCACHE_DEPEND", "1");
        }
        make.env("LIBCLANG_PATH", &self.libclang).envs(PRINTED);
        without_our_make(&mut make);
        make
    }

    /// The same by GCC and GNU ld.
    pub fn make_by_gcc(&self, src: &Path, objects: &Path) -> Command {
        let mut make = self.make(src, objects);
        // Of two settings, the last one holds.
        make.args(["LLVM=", if self.ccache { "CC=ccache gcc" } else { "CC=gcc" }]);
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
        let programs = [&self.rustc, &self.bindgen, &self.program("clang")];
        let lines = programs.map(|program| -> Result<String> {
            let said = output(Command::new(program).arg("--version"))?;
            let version = said.lines().next().unwrap_or_default();
            Ok(format!("{version} ({})\n", program.display()))
        });
        lines.into_iter().collect()
    }
}

/// Returns a make as [`Toolchain::make`], with the tools of Debian 13 in place of this machine's: GCC, which
/// Debian's kernels are built with, and rustc 1.85 and bindgen 0.71, the oldest that 7.3 takes.
pub fn make_by_debian_13(src: &Path, objects: &Path) -> Result<Command> {
    let root = apt::unpacked(apt::TRIXIE, arch::current().debian, DEBIAN_13_PACKAGES)?;
    let mut make = Command::new(program("bwrap", "bubblewrap")?);
    make.args(["--die-with-parent", "--unshare-pid", "--dev", "/dev", "--proc", "/proc"])
        .args(["--tmpfs", "/tmp", "--clearenv", "--setenv", "PATH", "/bin:/sbin:/opt"])
        // Its package is not configured, and has no other name.
        .args(["--symlink", "/bin/mawk", "/opt/awk"])
        .arg("--ro-bind")
        .args([&root.join("usr"), Path::new("/usr")]);
    for dir in ["bin", "lib", "lib64", "sbin"] {
        make.args(["--symlink", &format!("usr/{dir}"), &format!("/{dir}")]);
    }
    for (name, value) in PRINTED {
        make.args(["--setenv", name, value]);
    }
    make.arg("--ro-bind").args([src, src]).arg("--bind").args([objects, objects]);
    make.args(["make", "-C"])
        .arg(src)
        .arg(format!("O={}", objects.display()))
        .args([format!("ARCH={}", arch::current().kernel), format!("-j{}", jobs())]);
    Ok(make)
}

/// Keeps what `make` has told this program from another make that it calls.
pub fn without_our_make(command: &mut Command) -> &mut Command {
    for variable in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS", "RUSTFLAGS"] {
        command.env_remove(variable);
    }
    command
}

/// How many compilers a make may run at a time.
pub fn jobs() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// Finds a compiler that comes with the sources of its library, and is new enough for 6.12.
///
/// Which one that is can't be told by its name or place: rustup's and Debian's may be there both,
/// with the sources or without.
fn rustc() -> Result<PathBuf> {
    let mut why = String::new();
    for rustc in paths::given("RUSTC").into_iter().chain(all("rustc")) {
        match usable_rustc(&rustc) {
            Ok(()) => return Ok(rustc),
            Err(e) => why += &format!("\n  {}: {e:#}", rustc.display()),
        }
    }
    bail!(
        "no rustc can build a kernel: install {}, or run `make deps`{why}",
        if apt::codename() == "bookworm" {
            "the packages rustc-web and rust-web-src"
        } else {
            "the packages rustc and rust-src, or rustup's component rust-src"
        }
    )
}

fn usable_rustc(rustc: &Path) -> Result<()> {
    ensure!(version(rustc) >= (1, 78), "older than 1.78");
    let sysroot = output(Command::new(rustc).args(["--print", "sysroot"]))?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    ensure!(core.is_file(), "the sources of its library are missing ({})", core.display());
    let clippy = rustc.with_file_name("clippy-driver");
    ensure!(version(&clippy) > (0, 0), "there is no clippy with it");
    Ok(())
}

/// Returns the first two numbers of a program's version, or zeros if it says none.
fn version(program: &Path) -> (u32, u32) {
    let said = output(Command::new(program).arg("--version")).unwrap_or_default();
    let number = regex::Regex::new(r"(\d+)\.(\d+)").ok();
    number
        .and_then(|number| {
            let found = number.captures(&said)?;
            Some((found[1].parse().ok()?, found[2].parse().ok()?))
        })
        .unwrap_or_default()
}

fn llvm_program(name: &str, llvm: &str) -> PathBuf {
    let suffix = if llvm == "1" { "" } else { llvm };
    format!("{name}{suffix}").into()
}

/// Returns the newest complete LLVM that is known to build these kernels.
fn llvm() -> Result<String> {
    let complete = |llvm: &str| {
        ["clang", "ld.lld", "llvm-nm", "llvm-objcopy", "llvm-config"]
            .iter()
            .all(|name| which(&llvm_program(name, llvm).to_string_lossy()).is_some())
    };
    // Those that there will be while this is of use to anyone.
    let names = (18..60).rev().map(|version| format!("-{version}"));
    names
        .chain(["1".to_owned()])
        .find(|llvm| complete(llvm) && version(&llvm_program("clang", llvm)) >= (18, 0))
        .context(
            "no LLVM from 18 on with clang, lld, llvm-config and the others: install the packages \
             clang-19, lld-19 and llvm-19, or run `make deps`",
        )
}

/// Finds a bindgen from 0.71 on, or builds one into the cache folder.
pub fn bindgen() -> Result<PathBuf> {
    let own = paths::cache().join("cargo/bin/bindgen");
    let there = paths::given("BINDGEN").into_iter().chain(all("bindgen"));
    for bindgen in there.chain([own.clone()]) {
        if version(&bindgen) >= (0, 71) {
            return Ok(bindgen);
        }
    }
    let cargo = paths::given("CARGO").map_or_else(|| program("cargo", "cargo"), Ok)?;
    watch(
        "building bindgen, of which there is none from 0.71 on",
        &paths::cache().join("bindgen.log"),
        // To optimize all of it takes two minutes more of CPU, and saves a few seconds a kernel.
        Command::new(cargo)
            .args(["install", "--locked", "--config", "profile.release.opt-level=0"])
            .args(["--config", "profile.release.package.bindgen.opt-level=1", "--root"])
            .arg(paths::cache().join("cargo"))
            .arg("bindgen-cli@0.72.1"),
    )
    .context("bindgen could not be built: is there a network, and crates.io?")?;
    Ok(own)
}
