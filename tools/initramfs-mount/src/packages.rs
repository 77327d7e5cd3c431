// SPDX-License-Identifier: GPL-2.0

//! Debian packages of a kernel, with Debian's configuration or another one, and the option.

use crate::{
    apt, arch,
    base::Base,
    cmd::{output, program, watch},
    disk,
    files::{files, read, write},
    harness::{Fixture, Seen},
    kernel::{missing, BOOT, DEB},
    machine::Machine,
    paths,
    toolchain::Toolchain,
    tree,
};
use anyhow::{bail, ensure, Context, Result};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What the option takes.
const OURS: &str = "CONFIG_RUST=y\nCONFIG_INITRAMFS_MOUNT=y\n";

/// A name by which the kernel lies beside Debian's.
const NAME: &str = "CONFIG_LOCALVERSION=\"-initramfs-mount\"\n";

/// Debian has it, and until 6.14 it excludes Rust.
const MODVERSIONS: &str = "# CONFIG_MODVERSIONS is not set\n";

/// The variable by which somebody says what dpkg builds. Unless it is set, the symbols for debuggers, of a
/// gigabyte, are left out.
const PROFILES: &str = "DEB_BUILD_PROFILES";

/// What settings begin with that say which compilers there are.
const COMPILERS: &[&str] = &["AS_", "CC_", "CLANG_", "GCC_", "HAVE_", "LD_", "LLD_", "RUSTC_"];

/// Builds packages with the configuration that `CONFIG=` names, or else with Debian's.
///
/// # Errors
///
/// If there is no such configuration, it does not go together with the option, or the build fails.
pub fn build(base: &Base) -> Result<Vec<PathBuf>> {
    let given = paths::given("CONFIG").map(|config| read(&config));
    let given = given.transpose().context("CONFIG= names no configuration")?;
    tree::prepare(base)?;
    let (config, name) = match given {
        Some(config) => (config, ""),
        None => (debians(base)?, NAME),
    };
    let by_gcc = !arch::current().is_foreign();
    if by_gcc {
        // As Debian's kernels are, so that what builds modules for those builds them for this one.
        program("gcc", "gcc")?;
    }
    build_in(base, &base.dir.join("deb/obj"), by_gcc, &config, &format!("{OURS}{name}"))
}

/// Builds packages of the kernel that is booted in tests.
fn build_for_test(base: &Base) -> Result<Vec<PathBuf>> {
    BOOT.build(base)?;
    DEB.start(base)?;
    build_in(base, &DEB.dir(base), false, &read(&BOOT.dir(base).join(".config"))?, OURS)
}

/// Makes sure that Debian's own configuration takes the option.
pub fn take_debians(fixture: &Fixture) -> Result<()> {
    let base = &fixture.base;
    tree::prepare(base)?;
    configure(base, &base.dir.join("deb/configured"), true, &debians(base)?, OURS)
}

fn make(base: &Base, dir: &Path, by_gcc: bool) -> Result<Command> {
    let toolchain = Toolchain::find()?;
    let make = if by_gcc { Toolchain::make_by_gcc } else { Toolchain::make };
    Ok(make(&toolchain, &base.sources, dir))
}

fn build_in(
    base: &Base,
    dir: &Path,
    by_gcc: bool,
    config: &str,
    ours: &str,
) -> Result<Vec<PathBuf>> {
    program("dpkg-buildpackage", "dpkg-dev")?;
    program("dh_builddeb", "debhelper")?;
    configure(base, dir, by_gcc, config, ours)?;
    // They come to lie beside the folder that they are built in.
    let beside = dir.parent().unwrap_or(dir);
    for old in apt::debs(beside)? {
        fs::remove_file(&old).with_context(|| format!("can't remove {}", old.display()))?;
    }
    let what = format!("building packages of Linux {}", base.name);
    let mut make = make(base, dir, by_gcc)?;
    // What it builds with is what was found, and not what Debian's packages would have.
    make.args(["bindeb-pkg", "DPKG_FLAGS=-d"]);
    if env::var_os(PROFILES).is_none() {
        make.env(PROFILES, "pkg.linux-upstream.nokerneldbg");
    }
    watch(&what, &base.log("deb.log"), &mut make)?;
    let built = apt::debs(beside)?;
    ensure!(!built.is_empty(), "there are no packages in {}", beside.display());
    Ok(built)
}

/// Those of these packages whose names begin so, but for symbols for debuggers.
pub fn named<'a>(packages: &'a [PathBuf], start: &'a str) -> impl Iterator<Item = &'a PathBuf> {
    packages.iter().filter(move |package| {
        let name = package.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(start) && !name.contains("-dbg")
    })
}

/// Boots the kernel of a Debian package from a disk that the package has been unpacked to, and with
/// an archive.
pub fn boot(fixture: &Fixture) -> Result<()> {
    let built = build_for_test(&fixture.base)?;
    let image = named(&built, "linux-image-").next();
    let package = image.context("there is no package linux-image-*")?;
    let unpack = |root: &Path| {
        let dpkg = program("dpkg-deb", "dpkg")?;
        output(Command::new(dpkg).arg("-x").arg(package).arg(root)).map(drop)
    };
    let dir = tempfile::tempdir()?;
    unpack(dir.path())?;
    let kernel = dir.path().join("boot").read_dir()?.flatten().map(|file| file.path());
    let kernel = kernel.filter(|path| path.to_string_lossy().contains("/vmlinuz-")).max();
    let kernel = kernel.context("the package has no kernel")?;
    let disk = fixture.image("package.img", |image| {
        let init = ("sbin/init", "exec /guest/debian_package.sh");
        disk::make(image, "ext4", 128, init, unpack)
    })?;
    let machine = Machine::new(&kernel).append("root=/dev/vda");
    let machine = Machine { disk: Some(disk), ..machine };
    Seen::of(&machine)?
        .says("init: disk")?
        .says("CONFIG_INITRAMFS_MOUNT=y")?
        .says("kernel: there")?;
    Seen::of_archive(machine)?.is_root_mount("archive", "ramfs").map(drop)
}

/// Debian's own configuration, of the flavour that `FLAVOUR=` names.
fn debians(base: &Base) -> Result<String> {
    let flavour = env::var("FLAVOUR").ok().filter(|flavour| !flavour.is_empty());
    let arch = arch::current();
    let flavour = flavour.unwrap_or_else(|| arch.debian.to_owned());
    ensure!(
        !arch.is_foreign(),
        "the mirror's lists are those of this machine, without Debian's configuration for {}: name one \
         with CONFIG=",
        arch.name
    );
    let package = format!("linux-config-{}", base.release());
    let dir = apt::unpacked_alone(&package, &base.log("config.log"))?;
    let configs = dir.join("usr/src").join(&package);
    let start = format!("config.{}_", arch.debian);
    // For instance none_cloud-amd64: with a patch of Debian's, as rt, or without.
    let mut flavours = Vec::new();
    for file in files(&configs)? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let known = name.strip_prefix(&start).and_then(|name| name.strip_suffix(".xz"));
        if let Some(known) = known.map(|name| name.trim_start_matches("none_")) {
            if known == flavour {
                println!("Configuration: Debian's, {}", file.display());
                return output(Command::new(program("xz", "xz-utils")?).arg("-dc").arg(file));
            }
            flavours.push(known.to_owned());
        }
    }
    bail!(
        "{package} has no FLAVOUR={flavour}: use {}, or name a file with CONFIG=",
        flavours.join(", ")
    )
}

/// Takes a configuration with the option in addition, and says what has changed.
fn configure(base: &Base, dir: &Path, by_gcc: bool, given: &str, ours: &str) -> Result<()> {
    let file = dir.join(".config");
    let take = |wanted: &str| -> Result<String> {
        write(&file, format!("{given}\n{wanted}"))?;
        output(make(base, dir, by_gcc)?.arg("olddefconfig"))?;
        read(&file)
    };
    let mut got = take(ours)?;
    if !missing(ours, &got).is_empty() && got.contains("CONFIG_MODVERSIONS=y\n") {
        println!(
            "Without CONFIG_MODVERSIONS, which CONFIG_RUST does not go together with here, a module is \
             checked by the kernel's version alone: build those of others anew for this kernel."
        );
        got = take(&format!("{ours}{MODVERSIONS}"))?;
    }
    let refused = missing(ours, &got);
    ensure!(
        refused.is_empty(),
        "the configuration does not go together with {}: see what they depend on, in init/Kconfig and \
         init/Kconfig.initramfs_mount of {}",
        refused.join(", "),
        base.sources.display()
    );
    let btf = "CONFIG_DEBUG_INFO_BTF=y\n";
    ensure!(
        !given.contains(btf) || got.contains(btf),
        "CONFIG_DEBUG_INFO_BTF would be lost without pahole: install the package dwarves"
    );
    write(&dir.join("given.config"), given)?;
    let mut diff = Command::new(base.sources.join("scripts/diffconfig"));
    let changes = output(diff.arg(dir.join("given.config")).arg(&file))?;
    println!("Changed, but for what says which compilers there are:");
    for change in changes.lines() {
        let name = change.trim_start_matches(['+', '-', ' ']);
        if !COMPILERS.iter().any(|start| name.starts_with(start)) {
            println!("  {change}");
        }
    }
    Ok(())
}
