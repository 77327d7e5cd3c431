// SPDX-License-Identifier: GPL-2.0

//! The gates: what a reviewer would run by hand.

use crate::{
    apply,
    base::Base,
    bench,
    cmd::{output, program, watch},
    kernel::{self, Build, Variant},
    paths, series,
    source::{Git, Patch, PRISTINE},
    toolchain::Toolchain,
};
use anyhow::{bail, ensure, Context, Result};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What the component may have of `.init.text`, together with what the C files grow by.
const INIT_TEXT_LIMIT: i64 = 1536;

const COMPONENT: &str = "initramfs_mount.init.o";

/// The objects that it has hooks in.
const C_FILES: &[&str] = &[
    "initramfs.o",
    "do_mounts.o",
    "do_mounts_initrd.o",
    "do_mounts_rd.o",
    "main.o",
];

/// The objects that it has a fix for.
const LIB_FILES: &[&str] = &["lib/decompress_bunzip2.o", "lib/decompress_unlz4.o"];

/// A gate's name, and what it does.
pub type Gate = (&'static str, fn(&Base) -> Result<()>);

/// In order: the first ones are the fastest.
pub const GATES: &[Gate] = &[
    ("host_format", host_format),
    ("host_clippy", host_clippy),
    ("host_tests", host_tests),
    ("rustfmt", rustfmt),
    ("checkpatch", checkpatch),
    ("patch_and_unpatch", apply::check),
    ("off_is_off", off_is_off),
    ("init_only", init_only),
    ("modpost", modpost),
    ("cost", bench::run),
    ("warnings", warnings),
    ("rustdoc", rustdoc),
    ("sparse", sparse),
    ("kernel_doc", kernel_doc),
    ("sphinx", sphinx),
];

fn cargo(args: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    output(
        Command::new(cargo)
            .current_dir(paths::top().join("tools/initramfs-mount"))
            .args(args),
    )?;
    Ok(())
}

fn host_format(_: &Base) -> Result<()> {
    cargo(&["fmt", "--check"])
}

fn host_clippy(_: &Base) -> Result<()> {
    cargo(&["clippy", "-q", "--all-targets", "--", "-D", "warnings"])
}

fn host_tests(_: &Base) -> Result<()> {
    cargo(&["test", "-q"])
}

/// All the new files of the series that end so.
fn new_files(base: &Base, suffix: &str) -> Result<Vec<String>> {
    let release = base.release.context("KDIR= has no series of ours")?;
    Ok(Patch::series(release)?
        .into_iter()
        .flat_map(|patch| patch.files)
        .filter(|file| file.ends_with(suffix))
        .collect())
}

/// The kernel's formatting of our Rust.
fn rustfmt(base: &Base) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let files: Vec<PathBuf> = new_files(base, ".rs")?
        .iter()
        .map(|file| base.sources.join(file))
        .collect();
    output(
        Command::new(toolchain.beside_rustc("rustfmt"))
            .current_dir(&base.sources)
            .args(["--check", "--edition", "2021"])
            .args(files),
    )
    .context("our Rust is not as rustfmt has it: run it, with the kernel's .rustfmt.toml")?;
    Ok(())
}

/// Each patch through checkpatch.
fn checkpatch(base: &Base) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let release = base.release.context("KDIR= has no series of ours")?;
    let git = Git(&base.sources);
    let identity = ("A Developer".to_owned(), "developer@example.org".to_owned());
    let commit = git.commit_series(&Patch::series(release)?, &identity, true)?;
    let patches = series::format(&git, &commit, dir.path(), &identity, &[])?;
    let said = Command::new(program("perl", "perl")?)
        .current_dir(&base.sources)
        .args([
            "scripts/checkpatch.pl",
            "--strict",
            "--no-summary",
            "--terse",
        ])
        .args(&patches)
        .output()?;
    let said = String::from_utf8_lossy(&said.stdout);
    ensure!(
        said.trim().is_empty(),
        "checkpatch --strict has something to say:\n{said}"
    );
    ensure!(!patches.is_empty(), "there are no patches");
    Ok(())
}

/// Without the option, the objects of init/, usr/ and fs/ are those of the sources as they came.
fn off_is_off(base: &Base) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let ours = off(base, &toolchain)?;
    let pristine = base.beside("pristine", PRISTINE)?;
    let theirs = Build::new(&pristine, &toolchain, "obj");
    theirs.configure(&kernel::fragments(base), "")?;
    let dirs = ["init/", "usr/", "fs/"];
    theirs.build(
        "building init/, usr/ and fs/ without our patches",
        "build.log",
        &dirs,
    )?;

    let mut objects = Vec::new();
    for dir in dirs {
        find_objects(&theirs.objects.join(dir), &mut objects)?;
    }
    ensure!(
        objects.len() > 50,
        "only {} objects to compare",
        objects.len()
    );
    let mut differ = Vec::new();
    for object in &objects {
        let name = object.strip_prefix(&theirs.objects)?;
        // It says how often this folder has been built.
        if name.ends_with("version-timestamp.o") {
            continue;
        }
        let same =
            fs::read(ours.objects.join(name)).is_ok_and(|o| fs::read(object).is_ok_and(|t| t == o));
        if !same {
            differ.push(name.display().to_string());
        }
    }
    ensure!(
        differ.is_empty(),
        "CONFIG_INITRAMFS_MOUNT=n is not what it was without the patches: {}",
        differ.join(", ")
    );
    println!("  {} objects are the same, byte for byte", objects.len());
    Ok(())
}

fn find_objects(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("can't read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            find_objects(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "o") {
            found.push(path);
        }
    }
    Ok(())
}

/// The patched sources, built without the option.
fn off<'a>(base: &'a Base, toolchain: &'a Toolchain) -> Result<Build<'a>> {
    let build = Build::new(base, toolchain, "obj-off");
    build.copy_of(base, "obj")?;
    build.configure(
        &kernel::fragments(base),
        "# CONFIG_INITRAMFS_MOUNT is not set\n",
    )?;
    build.build(
        "building init/, usr/ and fs/ without the option",
        "off.log",
        &["init/", "usr/", "fs/"],
    )?;
    Ok(build)
}

/// All that the component brings is freed after boot, and it is small.
fn init_only(base: &Base) -> Result<()> {
    let toolchain = Toolchain::find()?;
    off(base, &toolchain)?;
    let objects = base.dir.join("obj/init");
    let component = objects.join(COMPONENT);
    for (name, size, flags) in sections(&toolchain, &component)? {
        let freed = name.starts_with(".init.") || name.starts_with(".orc_") || !flags.contains('A');
        // Tables that the linker or objtool make use of, and the kernel leaves out.
        let dropped = [".discard", ".return_sites", ".eh_frame", ".note"]
            .iter()
            .any(|s| name.starts_with(s));
        ensure!(
            freed || dropped || size == 0,
            "{size} bytes of {} are in {name}, which outlives boot",
            component.display()
        );
    }
    let off = base.dir.join("obj-off/init");
    let mut total = 0;
    let mut ours = BTreeSet::new();
    for file in C_FILES.iter().chain([&COMPONENT]) {
        let (mut size, mut symbols) = contents(&toolchain, &objects.join(file))?;
        if *file != COMPONENT {
            let (without, theirs) = contents(&toolchain, &off.join(file))?;
            size -= without;
            symbols.retain(|symbol| !theirs.contains(symbol));
        }
        println!("  {file:24} {size:+5} bytes of .init.text");
        total += size;
        ours.extend(symbols);
    }
    let map = fs::read_to_string(base.dir.join("System.map"))?;
    let symbols: Vec<(u64, &str)> = map
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let at = u64::from_str_radix(words.next()?, 16).ok()?;
            Some((at, words.nth(1)?))
        })
        .collect();
    let address = |name: &str| {
        let found = symbols.iter().find(|(_, symbol)| *symbol == name);
        found
            .map(|(at, _)| *at)
            .with_context(|| format!("System.map has no {name}"))
    };
    let init = address("__init_begin")?..address("__init_end")?;
    let mut count = 0;
    for (at, symbol) in symbols.iter().filter(|(_, symbol)| ours.contains(*symbol)) {
        count += 1;
        ensure!(
            init.contains(at),
            "{symbol} outlives boot: it is at {at:x}, not in {init:x?}"
        );
    }
    ensure!(count >= 10, "System.map has only {count} symbols of ours");
    println!(
        "  in all                   {total:+5}, at most {INIT_TEXT_LIMIT}; \
         {count} symbols, all of them in init memory"
    );
    ensure!(
        total <= INIT_TEXT_LIMIT,
        "{total} bytes of .init.text are more than {INIT_TEXT_LIMIT}"
    );
    Ok(())
}

/// The size of `.init.text`, and the symbols that are defined, of an object.
fn contents(toolchain: &Toolchain, object: &Path) -> Result<(i64, BTreeSet<String>)> {
    let sections = sections(toolchain, object)?;
    let text = sections.iter().filter(|(name, ..)| name == ".init.text");
    let mut nm = Command::new(toolchain.program("llvm-nm"));
    let symbols = output(
        nm.args(["--defined-only", "--format=just-symbols"])
            .arg(object),
    )?;
    Ok((
        text.map(|(_, size, _)| *size).sum(),
        // A compiler's own names differ from build to build.
        symbols
            .lines()
            .filter(|name| !name.starts_with('.'))
            .map(str::to_owned)
            .collect(),
    ))
}

/// Name, size and flags of the sections of an object.
fn sections(toolchain: &Toolchain, file: &Path) -> Result<Vec<(String, i64, String)>> {
    let said = output(
        Command::new(toolchain.program("llvm-readelf"))
            .args(["-SW"])
            .arg(file),
    )?;
    Ok(said
        .lines()
        .filter_map(|line| {
            let (_, rest) = line.trim_start().strip_prefix('[')?.split_once(']')?;
            let words: Vec<_> = rest.split_whitespace().collect();
            let size = i64::from_str_radix(words.get(4)?, 16).ok()?;
            let flags = words.get(6)?;
            let flags = if flags.chars().all(|c| c.is_ascii_digit()) {
                ""
            } else {
                flags
            };
            Some(((*words.first()?).to_owned(), size, flags.to_owned()))
        })
        .collect())
}

/// Links the kernel once more, for modpost to see all of it.
fn modpost(base: &Base) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let build = Build::new(base, &toolchain, "obj");
    for file in [
        "vmlinux.o",
        "vmlinux",
        "vmlinux.symvers",
        "modules.builtin.modinfo",
    ] {
        let _ = fs::remove_file(build.objects.join(file));
    }
    build.build("linking, for modpost", "modpost.log", &["vmlinux"])?;
    let log = fs::read_to_string(base.log("modpost.log"))?;
    ensure!(log.contains("MODPOST"), "modpost has not run");
    let said: Vec<_> = log
        .lines()
        .filter(|line| line.contains("modpost:") || line.contains("mismatch"))
        .collect();
    ensure!(
        said.is_empty(),
        "modpost has something to say:\n{}",
        said.join("\n")
    );
    Ok(())
}

/// Builds what we touch with W=1 and CLIPPY=1, with the KUnit tests.
fn warnings(base: &Base) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let build = kernel::variant(base, &toolchain, Variant::KUnit)?;
    let mut command = build.make();
    command
        .args(["W=1", "CLIPPY=1", "init/", "rust/"])
        .args(LIB_FILES);
    // All of it, or there would be nothing to warn of the second time.
    for dir in ["init", "rust/kernel.o"] {
        let path = build.objects.join(dir);
        let _ = fs::remove_dir_all(&path);
        let _ = fs::remove_file(&path);
    }
    watch(
        "building init/ and rust/ with W=1 CLIPPY=1",
        &base.log("lint.log"),
        &mut command,
    )?;
    let ours = files(base)?;
    about(&fs::read_to_string(base.log("lint.log"))?, &ours)
}

fn rustdoc(base: &Base) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let build = kernel::variant(base, &toolchain, Variant::KUnit)?;
    let _ = fs::remove_dir_all(
        build
            .objects
            .join("Documentation/output/rust/rustdoc/kernel"),
    );
    build.build("rustdoc", "rustdoc.log", &["rustdoc"])?;
    about(&fs::read_to_string(base.log("rustdoc.log"))?, &files(base)?)
}

/// sparse has nothing to say of the C files that we touch which it would not say without us.
fn sparse(base: &Base) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let ours = sparse_of(&Build::new(base, &toolchain, "obj"))?;
    let pristine = base.beside("pristine", PRISTINE)?;
    let theirs = Build::new(&pristine, &toolchain, "obj");
    theirs.configure(&kernel::fragments(base), "")?;
    let theirs = sparse_of(&theirs)?;
    let new: Vec<_> = ours.difference(&theirs).cloned().collect();
    ensure!(
        new.is_empty(),
        "sparse has something to say:\n{}",
        new.join("\n")
    );
    Ok(())
}

/// What sparse says of those files, without the numbers of lines.
fn sparse_of(build: &Build<'_>) -> Result<BTreeSet<String>> {
    let sparse = program("sparse", "sparse")?;
    let log = build.base.log("sparse.log");
    let mut make = build.make();
    // Debian's sparse is older than that keyword, which newer kernels ask it for.
    let check = format!("CHECK={} -D__typeof_unqual__=__typeof__", sparse.display());
    make.arg("C=2").arg(check);
    let objects = C_FILES.iter().map(|file| format!("init/{file}"));
    make.args(objects).args(LIB_FILES);
    watch("sparse", &log, &mut make)?;
    let log = fs::read_to_string(log)?;
    ensure!(log.contains("  CHECK   "), "sparse has not run");
    let sources = format!("{}/", build.base.sources.display());
    let place = regex::Regex::new(r"(\.[ch]):\d+:\d+:")?;
    Ok(log
        .lines()
        .filter(|line| place.is_match(line) && !line.contains("note: "))
        .map(|line| {
            place
                .replace(&line.replace(&sources, ""), "$1:")
                .into_owned()
        })
        .collect())
}

/// The comments of what we touch that kernel-doc reads are as it wants them.
fn kernel_doc(base: &Base) -> Result<()> {
    let c_files = files(base)?
        .into_iter()
        .filter(|file| file.ends_with(".c") || file.ends_with(".h"));
    let mut kernel_doc = Command::new(base.sources.join("scripts/kernel-doc"));
    output(
        kernel_doc
            .current_dir(&base.sources)
            .args(["-none", "-Werror"])
            .args(c_files),
    )
    .context("kernel-doc has something to say")?;
    Ok(())
}

/// The pages that we touch, with the kernel's settings and without the hundreds of others.
fn sphinx(base: &Base) -> Result<()> {
    let dir = tempfile::tempdir()?;
    // The kernel's extensions look for these names.
    let pages = dir.path().join("Documentation");
    fs::create_dir(&pages)?;
    let admin_guide = base.sources.join("Documentation/admin-guide");
    for file in [
        "initramfs-mount.rst",
        "kernel-parameters.rst",
        "kernel-parameters.txt",
    ] {
        let from = admin_guide.join(file);
        fs::copy(&from, pages.join(file))
            .with_context(|| format!("can't read {}", from.display()))?;
    }
    fs::copy(
        base.sources.join("MAINTAINERS"),
        dir.path().join("MAINTAINERS"),
    )?;
    let index = "Pages\n=====\n\n.. toctree::\n\n   initramfs-mount\n   kernel-parameters\n";
    fs::write(pages.join("index.rst"), index)?;
    output(
        Command::new(program("sphinx-build", "python3-sphinx")?)
            .current_dir(&base.sources)
            .env("srctree", &base.sources)
            .env("BUILDDIR", dir.path().join("out"))
            .args(["-q", "-W", "--keep-going", "-b", "html"])
            .args(["-c", "Documentation"])
            .arg(&pages)
            .arg(dir.path().join("out")),
    )
    .context("Sphinx has something to say")?;
    let index = fs::read_to_string(admin_guide.join("index.rst"))?;
    ensure!(
        index.lines().any(|line| line.trim() == "initramfs-mount"),
        "the admin guide's index does not list the page"
    );
    Ok(())
}

/// All files that the series makes or changes.
pub fn files(base: &Base) -> Result<Vec<String>> {
    let changed = Git(&base.sources).run(&["diff", "--name-only", PRISTINE, "HEAD"])?;
    Ok(changed.lines().map(str::to_owned).collect())
}

/// Fails if a compiler warns of one of these files.
pub fn about(log: &str, files: &[String]) -> Result<()> {
    let lines: Vec<_> = log.lines().collect();
    for (i, line) in lines.iter().enumerate() {
        let place = ["warning:", "error:", "-->"]
            .iter()
            .any(|word| line.contains(word));
        if place && files.iter().any(|file| line.contains(&format!("{file}:"))) {
            bail!(
                "{}",
                lines[i.saturating_sub(1)..(i + 8).min(lines.len())].join("\n")
            );
        }
    }
    Ok(())
}
