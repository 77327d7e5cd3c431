// SPDX-License-Identifier: GPL-2.0

//! Debian packages of a kernel, with Debian's configuration or another one, and the option.

use crate::{
    apt, arch,
    base::Base,
    cmd::{output, program, read, watch, write},
    kernel::{missing, BOOT, DEB},
    paths,
    toolchain::Toolchain,
    tree,
};
use anyhow::{ensure, Context, Result};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What the option takes, and a name by which the kernel lies beside Debian's.
const OURS: &str =
    "CONFIG_RUST=y\nCONFIG_INITRAMFS_MOUNT=y\nCONFIG_LOCALVERSION=\"-initramfs-mount\"\n";

/// Debian has it, and until 6.14 it excludes Rust.
const MODVERSIONS: &str = "# CONFIG_MODVERSIONS is not set\n";

/// Builds packages with the configuration that `CONFIG=` names, or else with Debian's.
///
/// # Errors
///
/// If there is no such configuration, it does not go together with the option, or the build fails.
pub fn build(base: &Base) -> Result<Vec<PathBuf>> {
    tree::prepare(base)?;
    let config = match paths::given("CONFIG") {
        Some(config) => read(&config).context("CONFIG= names no configuration")?,
        None => debians(base)?,
    };
    build_with(base, &base.dir.join("obj-deb-own"), &config)
}

/// Builds packages of the kernel that is booted in tests.
pub fn build_small(base: &Base) -> Result<Vec<PathBuf>> {
    BOOT.build(base)?;
    DEB.start(base)?;
    build_with(base, &DEB.dir(base), &read(&BOOT.dir(base).join(".config"))?)
}

fn build_with(base: &Base, dir: &Path, config: &str) -> Result<Vec<PathBuf>> {
    let toolchain = Toolchain::find()?;
    configure(base, &toolchain, dir, config)?;
    // They come to lie beside the folder that they are built in.
    for old in debs(&base.dir)? {
        fs::remove_file(&old).with_context(|| format!("can't remove {}", old.display()))?;
    }
    let what = format!("building packages of Linux {}", base.name);
    let mut make = toolchain.make(&base.sources, dir);
    // What it builds with is what was found, and not what Debian's packages would have.
    watch(&what, &base.log("deb.log"), make.args(["bindeb-pkg", "DPKG_FLAGS=-d"]))?;
    let built = debs(&base.dir)?;
    ensure!(!built.is_empty(), "there are no packages in {}", base.dir.display());
    Ok(built)
}

/// Debian's own configuration, of the flavour that `FLAVOUR=` names.
fn debians(base: &Base) -> Result<String> {
    let flavour = env::var("FLAVOUR").ok().filter(|flavour| !flavour.is_empty());
    let arch = arch::current().debian;
    let flavour = flavour.unwrap_or_else(|| arch.to_owned());
    let package = format!("linux-config-{}", base.name);
    let dir = paths::cache().join("config").join(&base.name);
    let configs = dir.join("usr/src").join(&package);
    if !configs.is_dir() {
        let log = base.log("config.log");
        let deb = apt::download(&package, &dir, &log)?;
        output(Command::new(program("dpkg-deb", "dpkg")?).arg("-x").arg(&deb).arg(&dir))?;
        fs::remove_file(&deb)?;
    }
    let config = configs.join(format!("config.{arch}_none_{flavour}.xz"));
    let all = configs.read_dir()?.flatten().map(|file| file.file_name());
    let all: Vec<_> = all.filter_map(|name| name.into_string().ok()).collect();
    ensure!(
        config.is_file(),
        "{package} has nothing for FLAVOUR={flavour} and {arch}: it has {}",
        all.join(", ")
    );
    println!("Configuration: Debian's, {}", config.display());
    output(Command::new(program("xz", "xz-utils")?).arg("-dc").arg(config))
}

/// Takes a configuration with the option in addition, and says what has changed for that.
fn configure(base: &Base, toolchain: &Toolchain, dir: &Path, given: &str) -> Result<()> {
    let file = dir.join(".config");
    let take = |wanted: &str| -> Result<String> {
        write(&file, format!("{given}\n{wanted}"))?;
        output(toolchain.make(&base.sources, dir).arg("olddefconfig"))?;
        read(&file)
    };
    // What it comes to with these compilers alone.
    write(&dir.join("given.config"), take("")?)?;
    let mut got = take(OURS)?;
    if !missing(OURS, &got).is_empty() && got.contains("CONFIG_MODVERSIONS=y\n") {
        println!(
            "CONFIG_MODVERSIONS has to go, since CONFIG_RUST does not go together with it here: modules \
             that were built for another kernel are told by its version alone, and modules of others \
             have to be built for this one."
        );
        got = take(&format!("{OURS}{MODVERSIONS}"))?;
    }
    let refused = missing(OURS, &got);
    ensure!(
        refused.is_empty(),
        "the configuration does not go together with {}: see what they depend on, in init/Kconfig and \
         init/Kconfig.initramfs_mount of {}",
        refused.join(", "),
        base.sources.display()
    );
    let mut diff = Command::new(base.sources.join("scripts/diffconfig"));
    let changes = output(diff.arg(dir.join("given.config")).arg(&file))?;
    println!("Changed for the option:\n  {}", changes.trim_end().replace('\n', "\n  "));
    Ok(())
}

fn debs(dir: &Path) -> Result<Vec<PathBuf>> {
    let files = dir.read_dir()?.flatten().map(|file| file.path());
    Ok(files.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect())
}
