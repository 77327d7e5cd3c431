// SPDX-License-Identifier: GPL-2.0

//! Debian packages, and what of them is missing.

use crate::{
    cmd::{output, watch, which},
    paths,
};
use anyhow::{bail, Context, Result};
use std::{fs, path::PathBuf, process::Command};

/// Returns the code name of this Debian, for instance `bookworm`.
pub fn debian_codename() -> String {
    fs::read_to_string("/etc/os-release")
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .unwrap_or_default()
        .to_owned()
}

/// Packages, and why they are needed; `all` are also those of `make test-all`.
fn packages(all: bool) -> Vec<(&'static str, &'static [&'static str])> {
    let rust: &[&str] = if debian_codename() == "bookworm" {
        // Debian 12 has its newer compiler under another name.
        &[
            "rustc-web",
            "rust-web-src",
            "rustfmt-web",
            "rust-web-clippy",
        ]
    } else {
        &["rustc", "rust-src", "rustfmt", "rust-clippy"]
    };
    let browser: &[&str] = if all { &["chromium"] } else { &[] };
    vec![
        ("the kernel's Rust", rust),
        (
            "the kernel's C, and bindgen",
            &[
                "clang-19",
                "lld-19",
                "llvm-19",
                "libclang-19-dev",
                "gcc",
                "libc6-dev",
            ],
        ),
        (
            "building a kernel",
            &[
                "make",
                "flex",
                "bison",
                "bc",
                "libelf-dev",
                "libssl-dev",
                "kmod",
                "cpio",
                "rsync",
                "git",
                "python3",
                "perl",
                "ccache",
                "sparse",
                "dwarves",
            ],
        ),
        (
            "archives, in each compression that the kernel knows",
            &["gzip", "bzip2", "xz-utils", "lzop", "lz4", "zstd"],
        ),
        ("Debian packages of a kernel", &["debhelper", "dpkg-dev"]),
        ("its documentation", &["python3-sphinx", "graphviz"]),
        ("booting", &["qemu-system-x86", "e2fsprogs"]),
        (
            "virtme-ng",
            &[
                "python3-venv",
                "bsdutils",
                "bsdextrautils",
                "util-linux",
                "busybox-static",
            ],
        ),
        (
            "what runs in an initramfs",
            &[
                "runc",
                "crun",
                "bubblewrap",
                "libcap2-bin",
                "iproute2",
                "klibc-utils",
            ],
        ),
        (
            "a small Debian in an initramfs, and on a disk",
            &["mmdebstrap", "uidmap"],
        ),
        ("looking at the report", browser),
    ]
}

fn installed(package: &str) -> bool {
    output(Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}", package]))
        .is_ok_and(|status| status == "installed")
}

/// Installs what is missing of Debian's packages and of PyPI's, having said what and why.
pub fn install(all: bool) -> Result<()> {
    let mut missing = Vec::new();
    for (why, packages) in packages(all) {
        let these: Vec<_> = packages.iter().copied().filter(|p| !installed(p)).collect();
        if !these.is_empty() {
            println!("For {why}: {}", these.join(" "));
            missing.extend(these);
        }
    }
    if missing.is_empty() {
        println!("All of Debian's packages are there.");
    } else {
        apt(&missing)?;
    }
    let rust = crate::toolchain::Toolchain::find()?;
    println!("{}", rust.describe()?);
    println!("virtme-ng: {}", vng()?.display());
    Ok(())
}

fn apt(packages: &[&str]) -> Result<()> {
    let log = paths::cache().join("apt.log");
    let sudo: &[&str] = if output(Command::new("id").arg("-u"))?.trim() == "0" {
        &[]
    } else if which(&["sudo"]).is_some() {
        &["sudo"]
    } else {
        bail!(
            "packages are missing and only root can install them: apt-get install {}",
            packages.join(" ")
        );
    };
    let apt = |args: &[&str]| {
        let mut words = sudo
            .iter()
            .chain(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        let mut command = Command::new(words.next().unwrap_or(&"env"));
        command.args(words).args(args);
        command
    };
    watch("apt-get update", &log, &mut apt(&["update"]))?;
    watch(
        "apt-get install",
        &log,
        apt(&["install", "-y", "--no-install-recommends"]).args(packages),
    )
}

/// Returns virtme-ng's program, from PyPI if it isn't there.
pub fn vng() -> Result<PathBuf> {
    if let Some(vng) = which(&["vng"]) {
        return Ok(vng);
    }
    let venv = paths::cache().join("virtme-ng");
    let vng = venv.join("bin/vng");
    if !vng.is_file() {
        let log = paths::cache().join("virtme-ng.log");
        let python = which(&["/usr/bin/python3", "python3"])
            .context("python3 is missing: install the package python3, or run `make deps`")?;
        watch(
            "making a folder for virtme-ng",
            &log,
            Command::new(python).args(["-m", "venv"]).arg(&venv),
        )?;
        watch(
            "installing virtme-ng",
            &log,
            Command::new(venv.join("bin/pip")).args(["install", "virtme-ng==1.42"]),
        )?;
    }
    Ok(vng)
}
