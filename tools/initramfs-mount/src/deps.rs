// SPDX-License-Identifier: GPL-2.0

//! What has to be on this machine, and gets there by `make deps`.

use crate::{
    apt, arch,
    base::Base,
    cmd::{program, watch, which},
    paths,
    toolchain::{self, Toolchain},
    tree,
};
use anyhow::{anyhow, Context, Result};
use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::Command,
    thread::{self, ScopedJoinHandle},
};

/// What is to be done on this machine.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub enum For {
    /// `make run`.
    Run,
    /// `make test`, too.
    Test,
    /// `make deb-boot`, too.
    Deb,
    /// All else.
    All,
}

/// Packages, what they are for, and why they are needed.
#[rustfmt::skip]
fn packages() -> Vec<(For, &'static str, Vec<&'static str>)> {
    let rust = if apt::codename() == "bookworm" {
        // Debian 12 has its newer compiler under another name, and an older bindgen.
        vec!["rustc-web", "rust-web-src", "rustfmt-web", "rust-web-clippy"]
    } else {
        vec!["rustc", "rust-src", "rustfmt", "rust-clippy", "bindgen"]
    };
    let c = vec!["clang-19", "lld-19", "llvm-19", "libclang-19-dev", "gcc", "libc6-dev"];
    vec![
        (For::Run, "the kernel's Rust", rust),
        (For::Run, "the kernel's C, and bindgen", c),
        (For::Run, "building a kernel", vec![
            "make", "flex", "bison", "bc", "libelf-dev", "libssl-dev", "kmod", "cpio", "rsync", "git",
            "python3", "perl", "ccache", "xz-utils",
        ]),
        (For::Run, "booting", [arch::current().qemu_packages, &["busybox-static", "runc"]].concat()),
        (For::Run, "guests of another architecture", if arch::current().is_foreign() {
            vec!["mmdebstrap", "uidmap", "bubblewrap"]
        } else {
            vec![]
        }),
        (For::Run, "virtme-ng", vec!["python3-venv", "bsdutils", "util-linux"]),
        (For::Test, "archives, in each compression that the kernel knows", vec![
            "gzip", "bzip2", "xz-utils", "lzop", "lz4", "zstd",
        ]),
        (For::Test, "disks that are booted", vec!["e2fsprogs", "grub-common", "grub-pc-bin"]),
        (For::Test, "what runs in an initramfs", vec![
            "crun", "bubblewrap", "charliecloud-runtime", "iproute2", "klibc-utils",
        ]),
        (For::Test, "kexec, and a boot on arm64", vec!["qemu-system-arm", "mmdebstrap", "uidmap"]),
        (For::Test, "the gates", vec!["sparse", "python3-sphinx", "graphviz", "shellcheck"]),
        (For::Deb, "Debian packages of a kernel", vec!["debhelper", "dpkg-dev", "dwarves"]),
        (For::All, "systemd-stub", vec!["ovmf", "systemd-boot-efi", "binutils"]),
        (For::All, "policies of security modules", vec!["checkpolicy", "apparmor"]),
        (For::All, "the kernel's selftests", vec!["libcap-dev"]),
        (For::All, "boots on other architectures", {
            let packages: BTreeSet<_> = arch::others().flat_map(|arch| arch.qemu_packages).collect();
            packages.into_iter().copied().collect()
        }),
        (For::All, "looking at the report", vec!["chromium"]),
    ]
}

/// Installs what is missing, having said what and why: Debian's packages, bindgen, virtme-ng, and
/// the sources of these bases.
pub fn install(what_for: For, bases: &[Base]) -> Result<()> {
    let mut missing = Vec::new();
    for (_, why, packages) in packages().into_iter().filter(|(level, ..)| *level <= what_for) {
        let these = packages.into_iter().filter(|package| !apt::is_installed(package));
        let these: Vec<_> = these.collect();
        if !these.is_empty() {
            println!("For {why}: {}", these.join(" "));
            missing.extend(these);
        }
    }
    if !missing.is_empty() {
        apt::may_install(&missing)?;
    }
    // What waits for the network and what waits for the CPUs need not wait for each other.
    let early = ["git", "xz", "dpkg-deb"].iter().all(|name| which(name).is_some());
    let sources = || bases.iter().try_for_each(tree::fetch);
    thread::scope(|scope| {
        // Where there is a package, it comes with the others.
        let wanted = apt::codename() == "bookworm";
        let bindgen =
            scope.spawn(move || if wanted { toolchain::bindgen().map(drop) } else { Ok(()) });
        let fetched = scope.spawn(|| if early { sources() } else { Ok(()) });
        let installed = if missing.is_empty() { Ok(()) } else { apt::install(&missing) };
        let end = |thread: ScopedJoinHandle<Result<()>>| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("a thread died")))
        };
        let (fetched, bindgen) = (end(fetched), end(bindgen));
        installed.and(fetched).and(bindgen)
    })?;
    if !early {
        sources()?;
    }
    print!("{}", Toolchain::find()?.describe()?);
    println!("virtme-ng: {}", vng()?.display());
    Ok(())
}

/// Returns virtme-ng's program, from PyPI if it isn't there.
pub fn vng() -> Result<PathBuf> {
    if let Some(vng) = which("vng") {
        return Ok(vng);
    }
    let venv = paths::cache().join("virtme-ng");
    let vng = venv.join("bin/vng");
    if !vng.is_file() {
        let log = paths::cache().join("virtme-ng.log");
        let python = match PathBuf::from("/usr/bin/python3") {
            // Debian's, which has a package with venv.
            python if python.is_file() => python,
            _ => program("python3", "python3")?,
        };
        let mut make = Command::new(python);
        watch(
            "making a folder for virtme-ng",
            &log,
            make.args(["-m", "venv", "--clear"]).arg(&venv),
        )?;
        let mut pip = Command::new(venv.join("bin/pip"));
        watch("installing virtme-ng", &log, pip.args(["install", "virtme-ng==1.42"]))
            .context("virtme-ng could not be installed: is there a network, and PyPI?")?;
    }
    Ok(vng)
}
