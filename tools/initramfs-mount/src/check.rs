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

/// What the option may add to `.init.text`.
const INIT_TEXT_LIMIT: i64 = 4096;

const COMPONENT: &str = "init/initramfs_mount.init.o";

/// The objects that it has hooks in.
const C_FILES: &[&str] = &["init/initramfs.o", "init/do_mounts.o", "init/main.o"];

/// The objects that the series changes, whatever the option.
const OTHER_FILES: &[&str] = &[
    "fs/init.o",
    "fs/namespace.o",
    "kernel/umh.o",
    "lib/decompress_bunzip2.o",
    "lib/decompress_unlz4.o",
];

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
    ("kconfig", kconfig),
    ("init_only", init_only),
    ("figures", figures),
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
        .map(|file| file.name)
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
    let commit = git.commit_series(
        &Patch::series(release)?,
        &identity,
        Some(&["Signed-off-by: A Developer <developer@example.org>".to_owned()]),
    )?;
    let patches = series::format(&git, &commit, dir.path(), &identity, &[])?;
    let said = Command::new(program("perl", "perl")?)
        .current_dir(&base.sources)
        .args([
            "scripts/checkpatch.pl",
            "--strict",
            "--no-summary",
            "--terse",
            // That MAINTAINERS has somebody for each new file is looked at in `maintainers()`. The
            // sources have no history. The states of the unpacker have always had such names.
            "--ignore=FILE_PATH_CHANGES,UNKNOWN_COMMIT_ID,CAMELCASE",
        ])
        .args(&patches)
        .output()?;
    let said = String::from_utf8_lossy(&said.stdout);
    ensure!(
        said.trim().is_empty(),
        "checkpatch --strict has something to say:\n{said}"
    );
    ensure!(!patches.is_empty(), "there are no patches");
    maintainers(base)
}

/// There is somebody to look after each new file.
fn maintainers(base: &Base) -> Result<()> {
    let new =
        Git(&base.sources).run(&["diff", "--name-only", "--diff-filter=A", PRISTINE, "HEAD"])?;
    for file in new.lines() {
        let mut get_maintainer = Command::new(base.sources.join("scripts/get_maintainer.pl"));
        let found = output(get_maintainer.current_dir(&base.sources).args([
            "--no-git",
            "--no-git-fallback",
            "--norolestats",
            "--nol",
            "-f",
            file,
        ]))?;
        ensure!(
            !found.trim().is_empty(),
            "nobody looks after {file}, says MAINTAINERS"
        );
    }
    Ok(())
}

/// The options are found by the kernel's own parser from the top of this repo.
fn kconfig(base: &Base) -> Result<()> {
    let build = Build::new(base, &Toolchain::find()?, "obj").objects.clone();
    let dir = tempfile::tempdir()?;
    let config = dir.path().join("config");
    output(
        Command::new(build.join("scripts/kconfig/conf"))
            .current_dir(paths::top())
            .env("srctree", paths::top())
            .env("KCONFIG_CONFIG", &config)
            .args(["--listnewconfig", "Kconfig"]),
    )
    .context("the kernel's conf can't read the Kconfig at the top of this repo")?;
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
    build.build("building init/ without the option", "off.log", &["init/"])?;
    Ok(build)
}

/// All that the option brings is freed after boot, but for literals, and it is small.
fn init_only(base: &Base) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let off = off(base, &toolchain)?;
    let on = base.dir.join("obj");
    println!("  what the option adds        init text  init data  resident text  resident data");
    let mut all = Sizes::default();
    for file in C_FILES.iter().chain([&COMPONENT]) {
        let with = sizes(&sections(&toolchain, &on.join(file))?);
        let without = if *file == COMPONENT {
            Sizes::default()
        } else {
            sizes(&sections(&toolchain, &off.objects.join(file))?)
        };
        let added: Sizes = std::array::from_fn(|i| with[i] - without[i]);
        print_sizes(file, &added);
        all.iter_mut()
            .zip(added)
            .for_each(|(all, added)| *all += added);
    }
    print_sizes("in all", &all);
    let undefined = undefined(&toolchain, &on.join(COMPONENT))?;
    // core's `CStr` counts the NUL in and out, with CONFIG_RUST_OVERFLOW_CHECKS.
    let panics: Vec<_> = undefined
        .lines()
        .filter(|name| name.contains("panicking") && !name.contains("_overflow"))
        .collect();
    ensure!(
        panics.is_empty(),
        "the component can panic:\n{}",
        panics.join("\n")
    );
    let [init_text, _, resident_text, _] = all;
    ensure!(
        init_text <= INIT_TEXT_LIMIT,
        "{init_text} bytes of init text are more than {INIT_TEXT_LIMIT}"
    );
    ensure!(
        resident_text <= 0,
        "{resident_text} bytes of code outlive boot"
    );
    Ok(())
}

/// The symbols that an object wants of others.
fn undefined(toolchain: &Toolchain, object: &Path) -> Result<String> {
    let mut nm = Command::new(toolchain.program("llvm-nm"));
    output(nm.arg("--undefined-only").arg(object))
}

/// objtool and KASAN have seen the component in the kernel with the KUnit tests.
pub fn instrumented(base: &Base) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let object = base.dir.join("obj-kunit").join(COMPONENT);
    let returns = sections(&toolchain, &object)?
        .iter()
        .any(|(name, size, _)| name == ".return_sites" && *size > 0);
    ensure!(returns, "objtool has not seen the component");
    ensure!(
        undefined(&toolchain, &object)?.contains("__asan_"),
        "the component has been built without KASAN"
    );
    Ok(())
}

/// Bytes of init text, of init data, of other text and of other data.
type Sizes = [i64; 4];

fn sizes(sections: &[(String, i64, String)]) -> Sizes {
    let mut sizes = Sizes::default();
    for (name, size, flags) in sections {
        // What the linker makes use of, or leaves out, and tables that are freed after boot.
        let dropped = [
            ".discard",
            ".eh_frame",
            ".note",
            ".return_sites",
            ".retpoline_sites",
        ];
        let dropped = dropped.iter().any(|s| name.starts_with(s));
        if !flags.contains('A') || dropped || name.contains("altinstr") {
            continue;
        }
        let text = flags.contains('X');
        sizes[match (name.starts_with(".init"), text) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        }] += size;
    }
    sizes
}

fn print_sizes(what: &str, [init_text, init_data, text, data]: &Sizes) {
    println!("  {what:26} {init_text:10} {init_data:10} {text:14} {data:14}");
}

/// What there is to be reviewed.
fn figures(base: &Base) -> Result<()> {
    let git = Git(&base.sources);
    let release = base.release.context("KDIR= has no series of ours")?;
    let new: BTreeSet<String> = Patch::series(release)?
        .into_iter()
        .flat_map(|patch| patch.files)
        .map(|file| file.name)
        .collect();
    let stat = git.run(&["diff", "--numstat", PRISTINE, "HEAD"])?;
    let (mut changed, mut test, mut files) = (0, 0, 0);
    for line in stat.lines() {
        let mut words = line.split('\t');
        let mut number = || {
            words
                .next()
                .and_then(|n| n.parse::<u32>().ok())
                .unwrap_or(0)
        };
        let (added, removed) = (number(), number());
        let file = words.next().unwrap_or_default();
        if new.contains(file) {
            continue;
        }
        files += 1;
        changed += added + removed;
        if file.ends_with("_test.c") {
            test += added + removed;
        }
    }
    let lines = |wanted: &dyn Fn(&str) -> bool| -> Result<(usize, usize)> {
        let mut count = (0, 0);
        for file in new.iter().filter(|file| wanted(file)) {
            let text = fs::read_to_string(paths::top().join(file))?;
            count.0 += text.lines().count();
            count.1 += ["unsafe {", "unsafe fn", "unsafe extern"]
                .iter()
                .map(|what| text.matches(what).count())
                .sum::<usize>();
        }
        Ok(count)
    };
    let is_test = |file: &str| file.contains("_test.") || file.contains("selftests");
    let (rust, unsafes) = lines(&|file| file.ends_with(".rs") && !is_test(file))?;
    let (c, _) = lines(&|file| file.ends_with(".c") && !is_test(file))?;
    let (tests, _) =
        lines(&|file| is_test(file) && (file.ends_with(".rs") || file.ends_with(".c")))?;
    println!("  changed lines in {files} files that exist    {changed}, {test} of them tests");
    println!("  lines of new C files, without tests    {c}");
    println!("  lines of Rust, without tests           {rust}");
    println!("  unsafe blocks and functions in those   {unsafes}");
    println!("  lines of new tests                     {tests}");
    Ok(())
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
        .args(OTHER_FILES);
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
    make.args(C_FILES).args(OTHER_FILES);
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
