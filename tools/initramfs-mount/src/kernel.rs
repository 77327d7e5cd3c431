// SPDX-License-Identifier: GPL-2.0

//! Configures and builds kernels. This is the place that knows what layers of configuration each of
//! them is made of, but for user-mode Linux and Debian's packages.

use crate::{
    arch,
    archive::Archive,
    base::{Base, PRISTINE},
    cmd::{output, watch},
    files::{read, read_bytes, write},
    once::hash,
    paths,
    toolchain::{make_by_debian_13, Toolchain},
    tree,
};
use anyhow::{ensure, Context, Result};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A kernel that is built of each base.
#[derive(Debug)]
pub struct Kernel {
    pub name: &'static str,
    /// What is on top of [`FIRST`].
    layers: &'static [&'static str],
    /// One that differs in little: what has been built of that is a start.
    pub copy_of: Option<&'static Kernel>,
    /// The same under sanitizers.
    debug: Option<&'static Kernel>,
    tools: Tools,
    /// Whether it is of the sources as they came, without the series.
    is_pristine: bool,
}

/// What a kernel is built with.
#[derive(Debug)]
enum Tools {
    Llvm,
    /// GCC and GNU ld of this machine.
    Gcc,
    /// What Debian 13 builds its kernels with.
    Debian13,
}

/// bunzip2 has pointers to what would be in front of two arrays, which it does not follow.
pub const UBSAN_EXCEPTION: &str = "UBSAN_SANITIZE_decompress_bunzip2.o=n";

/// The layer that is an archive, and no file.
const BUILT_IN: &str = "built-in";

/// The layer that all kernels have.
const FIRST: &str = "kernel";

/// The one that `make kernel` leaves, and that most of what is tested boots.
pub const BOOT: Kernel = Kernel { debug: Some(&DEBUG), ..kernel("boot", &["container"], None) };

/// The same with an archive in it.
pub const TEST: Kernel = Kernel {
    debug: Some(&DEBUG_TEST),
    ..kernel("test", &["container", "test", BUILT_IN], Some(&BOOT))
};

/// The same with the KUnit tests in place of that archive: they expect the default one.
pub const KUNIT: Kernel = kernel("kunit", &["container", "test", "kunit"], Some(&TEST));

/// [`BOOT`] under sanitizers, with the KUnit tests.
pub const DEBUG: Kernel = kernel("debug", &["container", "kunit", "debug"], None);

/// [`TEST`] under sanitizers.
const DEBUG_TEST: Kernel =
    kernel("debug-test", &["container", "test", "debug", BUILT_IN], Some(&DEBUG));

/// A small one with the KUnit tests, which builds fast.
pub const SMALL: Kernel = kernel("small", &["kunit"], None);

/// [`SMALL`] by GCC and GNU ld.
pub const GCC: Kernel = Kernel { tools: Tools::Gcc, ..kernel("gcc", &["kunit"], None) };

/// [`SMALL`] by the tools of Debian 13.
pub const DEBIAN_13: Kernel =
    Kernel { tools: Tools::Debian13, ..kernel("debian-13", &["kunit"], None) };

/// [`SMALL`] with each object instrumented. It is not booted.
pub const INSTRUMENTED: Kernel = kernel("instrumented", &["kunit", "instrumented"], None);

/// [`BOOT`] with each security module.
pub const SECURITY: Kernel = kernel("security", &["container", "security"], None);

/// The one for whole distributions.
pub const DISTRIBUTION: Kernel = kernel("distribution", &["container", "distribution"], None);

/// [`BOOT`] without the option and without Rust, to compare its C with. It is not booted.
pub const WITHOUT: Kernel = kernel("off", &["container", "off", "no-rust"], Some(&BOOT));

/// [`BOOT`] without the series, and without Rust.
pub const STOCK: Kernel =
    Kernel { is_pristine: true, ..kernel("stock", &["container", "off", "no-rust"], None) };

/// A copy of [`BOOT`], with its configuration, for packages.
pub const DEB: Kernel = kernel("deb", &[], Some(&BOOT));

/// Small ones without the option and with it, for each commit of the series.
pub const BISECT: [Kernel; 2] =
    [kernel("bisect-off", &["off"], None), kernel("bisect-on", &["bisect"], None)];

const fn kernel(
    name: &'static str,
    layers: &'static [&'static str],
    copy_of: Option<&'static Kernel>,
) -> Kernel {
    Kernel { name, layers, copy_of, debug: None, tools: Tools::Llvm, is_pristine: false }
}

impl Kernel {
    /// The same under sanitizers.
    ///
    /// # Errors
    ///
    /// If there is no such kernel.
    pub fn debug(&self) -> Result<&'static Self> {
        self.debug.with_context(|| format!("there is no kernel {} under sanitizers", self.name))
    }

    /// What its command line must have.
    pub fn words(&self) -> &'static str {
        if self.layers.contains(&"debug") {
            // ACPI would take 30 s to look for interrupts. There is another table of these. And while the kernel
            // finds out what the CPU has, KASAN takes addresses of five levels for none.
            "page_poison=1 acpi=noirq no5lvl"
        } else {
            ""
        }
    }

    /// Where it is built.
    pub fn dir(&self, base: &Base) -> PathBuf {
        base.dir.join(format!("obj-{}", self.name))
    }

    /// Where it is, once it has been built.
    pub fn image(&self, base: &Base) -> PathBuf {
        self.dir(base).join(arch::current().image)
    }

    /// The settings of all layers. A layer is `configs/LAYER.config`, with what a base needs in
    /// `configs/LAYER-BASE.config` and an architecture in `configs/arch/ARCH-LAYER.config`, behind what its
    /// family needs.
    fn settings(&self, base: &Base) -> Result<String> {
        let mut all = String::new();
        for layer in [FIRST].iter().chain(self.layers) {
            let [family, arch] = [arch::current().family(), arch::current().name]
                .map(|arch| paths::tool(&format!("configs/arch/{arch}-{layer}.config")));
            let mut files = vec![paths::tool(&format!("configs/{layer}.config")), family, arch];
            files.dedup();
            files.extend(for_base(layer, base));
            files.extend((*layer == "kunit").then(|| kunit_config(base)));
            files.retain(|file| file.is_file());
            ensure!(!files.is_empty() || *layer == BUILT_IN, "configs/ has nothing for {layer}");
            for file in files {
                all += &read(&file)?;
            }
        }
        if self.layers.contains(&BUILT_IN) {
            all += &format!("CONFIG_INITRAMFS_SOURCE=\"{}\"\n", built_in(base)?.display());
        }
        if self.layers.contains(&"security") {
            let policy = paths::tool("configs/ipe.policy");
            all += &format!("CONFIG_IPE_BOOT_POLICY=\"{}\"\n", policy.display());
            // With another one it is another kernel.
            all.extend(read(&policy)?.lines().map(|line| format!("# {line}\n")));
        }
        Ok(all)
    }

    /// Sets what the layers say, and nothing else that can be left out, and makes sure that each of
    /// their lines took effect.
    ///
    /// # Errors
    ///
    /// If a line did not, or there is no such configuration.
    pub fn configure(&self, base: &Base, toolchain: &Toolchain) -> Result<()> {
        let settings = self.settings(base)?;
        let file = self.dir(base).join("settings.config");
        write(&file, &settings)?;
        let given = format!("KCONFIG_ALLCONFIG={}", file.display());
        output(self.make(base, toolchain)?.args(["allnoconfig", &given]))?;
        let refused = missing(&settings, &read(&self.dir(base).join(".config"))?);
        ensure!(
            refused.is_empty(),
            "{} does not take these lines of the configuration of kernel {}:\n  {}",
            base.name,
            self.name,
            refused.join("\n  ")
        );
        Ok(())
    }

    fn make(&self, base: &Base, toolchain: &Toolchain) -> Result<Command> {
        let (sources, dir) = (&base.sources, self.dir(base));
        let mut make = match self.tools {
            Tools::Debian13 => make_by_debian_13(sources, &dir)?,
            Tools::Gcc => toolchain.make_by_gcc(sources, &dir),
            Tools::Llvm => toolchain.make(sources, &dir),
        };
        if self.layers.contains(&"debug") {
            make.arg(UBSAN_EXCEPTION);
        }
        Ok(make)
    }

    /// Configures it, makes targets, and returns what was said meanwhile.
    pub fn make_targets(&self, base: &Base, what: &str, targets: &[&str]) -> Result<String> {
        let toolchain = Toolchain::find()?;
        self.start(base)?;
        self.configure(base, &toolchain)?;
        let log = base.log(&format!("{}-{}.log", self.name, what.replace([' ', '/'], "-")));
        let what = format!("{what} Linux {}, kernel {}", base.name, self.name);
        watch(&what, &log, self.make(base, &toolchain)?.args(targets))?;
        read(&log)
    }

    /// Copies what has been built of one that differs in little, if there is anything.
    pub fn start(&self, base: &Base) -> Result<()> {
        let (dir, half) = (self.dir(base), self.dir(base).with_extension("half"));
        let like =
            self.copy_of.map(|like| like.dir(base)).filter(|like| like.join("built").is_file());
        let Some(like) = like.filter(|_| !dir.exists()) else {
            return Ok(());
        };
        if half.exists() {
            fs::remove_dir_all(&half)
                .with_context(|| format!("can't remove {}", half.display()))?;
        }
        output(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&like).arg(&half))?;
        fs::remove_file(half.join("built"))?;
        // objtool's own build files, where there is one, have the folder's name in them. With another it would
        // be built again, and with it each object that it has seen.
        if half.join("tools").is_dir() {
            let [from, to] = [&like, &dir].map(|dir| dir.display().to_string());
            let mut rename = Command::new("find");
            rename.arg(half.join("tools")).args(["-name", ".*.cmd", "-exec", "sed", "-i"]);
            output(rename.arg(format!("s,{from}/,{to}/,g")).args(["{}", "+"]))?;
        }
        fs::rename(&half, &dir).with_context(|| format!("can't make {}", dir.display()))
    }

    /// Builds it, unless it has been built just so, and returns where it is.
    pub fn build(&self, base: &Base) -> Result<PathBuf> {
        tree::prepare(base)?;
        let pristine = self.is_pristine.then(|| base.checkout("pristine", PRISTINE)).transpose()?;
        let base = pristine.as_ref().unwrap_or(base);
        let stamp = self.dir(base).join("built");
        let head = base.git(&["rev-parse", "HEAD"]).unwrap_or_default();
        let (settings, tools) = (self.settings(base)?, Toolchain::find()?.describe()?);
        let state = format!("{head}{settings}{tools}");
        // A tree of somebody's own may change without a commit.
        if base.own || !read(&stamp).is_ok_and(|built| built == state) {
            let _ = fs::remove_file(&stamp);
            // clippy is asked where it costs no build of its own.
            let clippy = if self.layers.contains(&"test") { "CLIPPY=1" } else { "CLIPPY=" };
            self.make_targets(base, "building", &[clippy, arch::current().target()])?;
            write(&stamp, state)?;
        }
        Ok(self.image(base))
    }
}

/// What a layer has for a base, or else for the newest one that is older.
pub fn for_base(layer: &str, base: &Base) -> Option<PathBuf> {
    let older =
        Base::all().unwrap_or_default().into_iter().filter(|b| b.numbers() <= base.numbers());
    let mut files = older.map(|base| paths::tool(&format!("configs/{layer}-{}.config", base.name)));
    files.rfind(|file| file.is_file())
}

/// The configuration of our KUnit tests, which is in the tree.
pub fn kunit_config(base: &Base) -> PathBuf {
    base.sources.join("tools/testing/kunit/configs/initramfs_mount.config")
}

/// Writes the archive that is in [`TEST`], and returns where it is. What a disk is mounted on is there, too.
/// Its name says what is in it: ccache does not look into what an assembler includes, but takes the
/// configuration for part of each object.
fn built_in(base: &Base) -> Result<PathBuf> {
    let bytes = Archive::telling("builtin")?
        .hard_links(&["marker-builtin", "marker-link"], 0o644, b"")
        .dir("root")
        .char_device("dev/console", 5, 1)
        .finish();
    let file = base.dir.join(format!("builtin-{:016x}.cpio", hash(&bytes)));
    write(&file, bytes)?;
    Ok(file)
}

/// The settings of a configuration: of each name the last one. What is not set is `n`.
fn values(config: &str) -> BTreeMap<&str, &str> {
    let lines = config.lines().map(str::trim);
    let values = lines.filter_map(|line| match line.strip_prefix("# ") {
        Some(line) => Some((line.strip_suffix(" is not set")?, "n")),
        None => line.split_once('='),
    });
    values.collect()
}

/// Returns the settings in `wanted` that are not in `got`.
pub fn missing(wanted: &str, got: &str) -> Vec<String> {
    let got = values(got);
    let differs = |(name, value): &(&str, &str)| got.get(name).unwrap_or(&"n") != value;
    let missing = values(wanted).into_iter().filter(differs);
    missing.map(|(name, value)| format!("{name}={value}")).collect()
}

/// Builds the kernel that is booted, or the one under sanitizers, and leaves it as `vmlinuz`, with
/// `System.map` and `config`. Returns where it is.
pub fn build(base: &Base, debug: bool) -> Result<PathBuf> {
    let (kernel, to) =
        if debug { (&DEBUG, base.beside_with("-debug")) } else { (&BOOT, base.dir.clone()) };
    let image = kernel.build(base)?;
    leave(&kernel.dir(base), &image, &to)
}

/// Leaves an image that has been built as `vmlinuz`, with what is beside it.
pub fn leave(objects: &Path, image: &Path, to: &Path) -> Result<PathBuf> {
    let vmlinuz = to.join("vmlinuz");
    write(&vmlinuz, read_bytes(image)?)?;
    // User-mode Linux is a program.
    fs::set_permissions(&vmlinuz, fs::metadata(image)?.permissions())?;
    for (from, name) in [("System.map", "System.map"), (".config", "config")] {
        write(&to.join(name), read_bytes(&objects.join(from))?)?;
    }
    Ok(vmlinuz)
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn missing_settings_are_found() {
        let got = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"x\"\nCONFIG_D=4\n";
        assert_eq!(missing("CONFIG_A=y\nCONFIG_C=\"x\"\n# a comment\n", got), [""; 0]);
        assert_eq!(missing("CONFIG_B=y\nCONFIG_E=y\n", got), ["CONFIG_B=y", "CONFIG_E=y"]);
        assert_eq!(missing("CONFIG_A=n\nCONFIG_E=n\n", got), ["CONFIG_A=n"]);
        assert_eq!(missing("# CONFIG_D is not set\n", got), ["CONFIG_D=n"]);
        // The last one counts.
        assert_eq!(missing("CONFIG_B=y\nCONFIG_B=n\n", got), [""; 0]);
    }
}
