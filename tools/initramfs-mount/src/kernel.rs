// SPDX-License-Identifier: GPL-2.0

//! Configures and builds kernels.

use crate::{
    base::Base,
    cmd::{output, watch},
    guest, kunit, paths, source,
    toolchain::Toolchain,
};
use anyhow::{ensure, Context, Result};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The fragments of the kernel that is booted here, on top of `allnoconfig`.
pub const FRAGMENTS: &[&str] = &[
    "small.config",
    "boot.config",
    "containers.config",
    "distributions.config",
];

/// Kernels of a base besides the one that `make kernel` leaves.
#[derive(Clone, Copy, PartialEq)]
pub enum Variant {
    /// The same with an archive in it, without LZ4, and with a helper that it calls for devices.
    BuiltIn,
    /// A very small one with the KUnit tests.
    KUnit,
}

impl Variant {
    fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => "builtin",
            Self::KUnit => "kunit",
        }
    }

    fn fragments(self, base: &Base) -> Result<(Vec<PathBuf>, String)> {
        Ok(match self {
            Self::BuiltIn => {
                let archive = base.dir.join("builtin.cpio");
                // What a disk is mounted on is there, too.
                let bytes = guest::reporter("builtin")?
                    .dir("root")
                    .char_device("dev/console", 5, 1)
                    .file("marker-builtin", 0o644, b"")
                    .finish();
                write_if_changed(&archive, &bytes)?;
                let source = archive.display();
                let extra = format!(
                    "CONFIG_INITRAMFS_MOUNT=y\nCONFIG_INITRAMFS_SOURCE=\"{source}\"\n\
                     # CONFIG_RD_LZ4 is not set\n\
                     CONFIG_UEVENT_HELPER=y\nCONFIG_UEVENT_HELPER_PATH=\"/sbin/hotplug\"\n"
                );
                (fragments(base), extra)
            }
            Self::KUnit => {
                let own = [paths::config("kunit.config")];
                let fragments = own.into_iter().chain(kunit::configs(base));
                (fragments.collect(), String::new())
            }
        })
    }
}

impl Base {
    /// Where the kernel of a variant is, once it has been built.
    pub fn variant(&self, variant: Variant) -> PathBuf {
        self.dir
            .join(format!("obj-{}/arch/x86/boot/bzImage", variant.name()))
    }
}

/// A folder with one configuration of a base, and what has been built of it.
pub struct Build<'a> {
    pub base: &'a Base,
    pub toolchain: &'a Toolchain,
    pub objects: PathBuf,
}

impl<'a> Build<'a> {
    pub fn new(base: &'a Base, toolchain: &'a Toolchain, name: &str) -> Self {
        Self {
            base,
            toolchain,
            objects: base.dir.join(name),
        }
    }

    pub fn make(&self) -> Command {
        self.toolchain.make(&self.base.sources, &self.objects)
    }

    /// Starts as a copy of what has been built of another configuration.
    pub fn copy_of(&self, base: &Base, name: &str) -> Result<()> {
        if self.objects.exists() {
            return Ok(());
        }
        let copy = self.objects.with_extension("copy");
        if copy.exists() {
            fs::remove_dir_all(&copy)
                .with_context(|| format!("can't remove {}", copy.display()))?;
        }
        let mut cp = Command::new("cp");
        output(
            cp.args(["-a", "--reflink=auto"])
                .arg(base.dir.join(name))
                .arg(&copy),
        )?;
        fs::rename(&copy, &self.objects)?;
        Ok(())
    }

    /// Merges fragments onto `allnoconfig`, and makes sure that each of their lines took effect.
    pub fn configure(&self, fragments: &[PathBuf], extra: &str) -> Result<()> {
        fs::create_dir_all(&self.objects)
            .with_context(|| format!("can't make {}", self.objects.display()))?;
        let mut wanted = String::new();
        for fragment in fragments {
            wanted += &fs::read_to_string(fragment)
                .with_context(|| format!("can't read {}", fragment.display()))?;
        }
        wanted += extra;
        let fragment = self.objects.join("fragments.config");
        let config = self.objects.join(".config");
        let unchanged = fs::read_to_string(&fragment).is_ok_and(|old| old == wanted);
        let mut merge = !unchanged || !config.is_file();
        loop {
            if merge {
                fs::write(&fragment, &wanted)
                    .with_context(|| format!("can't write {}", fragment.display()))?;
                output(self.make().arg("allnoconfig"))?;
                output(
                    Command::new(self.base.sources.join("scripts/kconfig/merge_config.sh"))
                        .current_dir(&self.base.sources)
                        .args(["-m", "-r", "-O"])
                        .arg(&self.objects)
                        .arg(&config)
                        .arg(&fragment),
                )?;
            }
            output(self.make().arg("olddefconfig"))?;
            let got = fs::read_to_string(&config)
                .with_context(|| format!("can't read {}", config.display()))?;
            let refused = missing(&wanted, &got);
            if refused.is_empty() {
                return Ok(());
            }
            ensure!(
                !merge,
                "{} does not take these lines of the configuration:\n  {}",
                self.base.name,
                refused.join("\n  ")
            );
            // What has come with a change of the sources has its default.
            merge = true;
        }
    }

    /// Takes somebody's configuration, with the option in addition.
    fn configure_from(&self, config: &Path) -> Result<()> {
        let given = fs::read_to_string(config)
            .with_context(|| format!("can't read CONFIG={}", config.display()))?;
        fs::create_dir_all(&self.objects)
            .with_context(|| format!("can't make {}", self.objects.display()))?;
        let ours = "CONFIG_RUST=y\nCONFIG_INITRAMFS_MOUNT=y\n";
        let mut wanted = ours.to_owned();
        loop {
            fs::write(self.objects.join(".config"), format!("{given}\n{wanted}"))?;
            output(self.make().arg("olddefconfig"))?;
            let got = fs::read_to_string(self.objects.join(".config"))?;
            if missing(ours, &got).is_empty() {
                return Ok(());
            }
            // Debian has it, and until 6.14 it excludes Rust.
            let modversions = "# CONFIG_MODVERSIONS is not set\n";
            ensure!(
                got.contains("CONFIG_MODVERSIONS=y\n") && !wanted.contains(modversions),
                "{} does not go together with CONFIG_RUST and CONFIG_INITRAMFS_MOUNT: see what \
                 they depend on, in init/Kconfig and init/Kconfig.initramfs_mount of {}",
                config.display(),
                self.base.sources.display()
            );
            println!("Without CONFIG_MODVERSIONS, which CONFIG_RUST does not go together with.");
            wanted += modversions;
        }
    }

    /// Builds targets, for instance `bzImage`.
    pub fn build(&self, what: &str, log: &str, targets: &[&str]) -> Result<()> {
        watch(what, &self.base.log(log), self.make().args(targets))
    }
}

/// Returns the last settings in `wanted` that are not in `got`.
fn missing(wanted: &str, got: &str) -> Vec<String> {
    let name = |line: &str| -> Option<String> {
        let line = line.trim();
        let line = line.strip_prefix("# ").unwrap_or(line);
        line.starts_with("CONFIG_")
            .then(|| line.split(['=', ' ']).next().unwrap_or_default().to_owned())
    };
    let off = |line: &str| line.ends_with(" is not set") || line.ends_with("=n");
    let mut last: Vec<(String, &str)> = Vec::new();
    for line in wanted.lines() {
        if let Some(name) = name(line) {
            last.retain(|(old, _)| *old != name);
            last.push((name, line.trim()));
        }
    }
    last.into_iter()
        .filter(|(name, line)| {
            if off(line) {
                got.lines().any(|l| {
                    l.strip_prefix(name.as_str())
                        .is_some_and(|l| l.starts_with('='))
                })
            } else {
                !got.lines().any(|l| l == *line)
            }
        })
        .map(|(_, line)| line.to_owned())
        .collect()
}

/// Configures a variant. That of the kernel that `make kernel` leaves starts as a copy of it.
pub fn variant<'a>(
    base: &'a Base,
    toolchain: &'a Toolchain,
    variant: Variant,
) -> Result<Build<'a>> {
    let build = Build::new(base, toolchain, &format!("obj-{}", variant.name()));
    if variant == Variant::BuiltIn {
        build.copy_of(base, "obj")?;
    }
    let (fragments, extra) = variant.fragments(base)?;
    build.configure(&fragments, &extra)?;
    Ok(build)
}

/// Builds a variant.
pub fn build_variant(base: &Base, variant: Variant) -> Result<()> {
    let name = variant.name();
    let what = format!("building Linux {}, variant {name}", base.name);
    self::variant(base, &Toolchain::find()?, variant)?.build(
        &what,
        &format!("{name}.log"),
        &["bzImage"],
    )
}

/// The fragments of the kernel that `make kernel` leaves, and one for a base that needs it.
pub fn fragments(base: &Base) -> Vec<PathBuf> {
    let own = paths::config(&format!("{}.config", base.release_name()));
    FRAGMENTS
        .iter()
        .map(|name| paths::config(name))
        .chain(own.is_file().then_some(own))
        .collect()
}

/// Builds the kernel of a base and leaves it as `vmlinuz`, with `System.map` and `config`.
pub fn build(base: &Base) -> Result<()> {
    source::prepare(base)?;
    let toolchain = Toolchain::find()?;
    let build = Build::new(base, &toolchain, "obj");
    build.configure(&fragments(base), "CONFIG_INITRAMFS_MOUNT=y\n")?;
    build.build(
        &format!("building Linux {}", base.name),
        "build.log",
        &["bzImage"],
    )?;
    for (from, to) in [
        ("arch/x86/boot/bzImage", "vmlinuz"),
        ("System.map", "System.map"),
        (".config", "config"),
    ] {
        copy_if_changed(&build.objects.join(from), &base.dir.join(to))?;
    }
    Ok(())
}

/// Builds Debian packages of the kernel that `make kernel` leaves, or of one with the configuration
/// that `CONFIG=` names. Returns them.
pub fn packages(base: &Base) -> Result<Vec<PathBuf>> {
    let toolchain = Toolchain::find()?;
    let own = env::var_os("CONFIG").filter(|config| !config.is_empty());
    let build = if let Some(config) = own {
        source::prepare(base)?;
        let build = Build::new(base, &toolchain, "obj-deb-own");
        build.configure_from(Path::new(&config))?;
        build
    } else {
        self::build(base)?;
        let build = Build::new(base, &toolchain, "obj-deb");
        build.copy_of(base, "obj")?;
        build.configure(&fragments(base), "CONFIG_INITRAMFS_MOUNT=y\n")?;
        build
    };
    // They come to lie beside the folder that they are built in.
    for old in debs(&base.dir)? {
        fs::remove_file(&old).with_context(|| format!("can't remove {}", old.display()))?;
    }
    let what = format!("building packages of Linux {}", base.name);
    // What it builds with is what was found, and not what Debian's packages would have.
    build.build(&what, "deb.log", &["bindeb-pkg", "DPKG_FLAGS=-d"])?;
    let built = debs(&base.dir)?;
    ensure!(
        !built.is_empty(),
        "there are no packages in {}",
        base.dir.display()
    );
    Ok(built)
}

fn debs(dir: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(dir).with_context(|| format!("can't read {}", dir.display()))?;
    let mut debs: Vec<_> = files
        .flatten()
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    debs.sort();
    Ok(debs)
}

fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("can't read {}", from.display()))?;
    write_if_changed(to, &new)
}

/// Writes a file, unless it is just that already.
pub fn write_if_changed(to: &Path, new: &[u8]) -> Result<()> {
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to, new).with_context(|| format!("can't write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn missing_settings_are_found() {
        let got = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"x\"\nCONFIG_D=4\n";
        assert_eq!(
            missing("CONFIG_A=y\nCONFIG_C=\"x\"\n# a comment\n", got),
            [""; 0]
        );
        assert_eq!(
            missing("CONFIG_B=y\nCONFIG_E=y\n", got),
            ["CONFIG_B=y", "CONFIG_E=y"]
        );
        assert_eq!(missing("CONFIG_A=n\nCONFIG_E=n\n", got), ["CONFIG_A=n"]);
        assert_eq!(
            missing("# CONFIG_D is not set\n", got),
            ["# CONFIG_D is not set"]
        );
        // The last one counts.
        assert_eq!(missing("CONFIG_B=y\nCONFIG_B=n\n", got), [""; 0]);
    }
}
