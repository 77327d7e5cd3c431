// SPDX-License-Identifier: GPL-2.0

//! The gates: what a reviewer would run by hand.

use crate::{
    arch,
    base::{git, Base, PRISTINE},
    cmd::{output, program, watch},
    files::{elf, make_dir, read, read_bytes, section_size, write},
    harness::{Fixture, Seen},
    kernel::{Kernel, BISECT, BOOT, DEBIAN_13, DEBUG, GCC, INSTRUMENTED, KUNIT, WITHOUT},
    kunit,
    machine::Machine,
    measure, outgoing, paths,
    series::{self, Identity, Patch},
    toolchain::Toolchain,
    tree, user_tree,
};
use anyhow::{bail, ensure, Context, Result};
use std::{collections::BTreeSet, fs, path::Path, process::Command};

/// What the option may add to `.init.text`.
const INIT_TEXT_LIMIT: i64 = 4096;

/// What it may leave after boot: literals.
const LITERALS_LIMIT: i64 = 256;

const COMPONENT: &str = "init/initramfs_mount.init.o";

/// The objects of `init/` that the series changes, where the option makes a difference.
const CALLERS: &[&str] = &["init/initramfs.o", "init/do_mounts.o", "init/main.o"];

/// When a gate has something to say.
#[derive(Clone, Copy, PartialEq)]
pub enum When {
    /// About the host's side, whatever the base.
    Host,
    /// About any tree with the series in it.
    Always,
    /// About the series, on each base.
    Ours,
    /// About what is sent to LKML, from the newest base.
    Mailed,
}

/// A gate's name, when it is run, and what it does.
pub type Gate = (&'static str, When, fn(&Fixture) -> Result<()>);

/// In order: the first ones are the fastest.
pub const GATES: &[Gate] = &[
    ("host_format", When::Host, |_| cargo(&["fmt", "--check"])),
    ("host_clippy", When::Host, |_| {
        cargo(&["clippy", "-q", "--all-targets", "--", "-D", "warnings"])
    }),
    ("host_tests", When::Host, |_| cargo(&["test", "-q"])),
    ("host_scripts", When::Host, |_| shellcheck()),
    ("rustfmt", When::Always, rustfmt),
    ("patch_and_unpatch", When::Ours, |fixture| user_tree::check(&fixture.base)),
    ("refresh", When::Ours, |fixture| {
        let changed = series::changed(&fixture.base)?;
        ensure!(
            changed.is_empty(),
            "what nobody has changed would come back otherwise: {changed:?}"
        );
        Ok(())
    }),
    ("checkpatch", When::Mailed, checkpatch),
    ("kernel_doc", When::Mailed, kernel_doc),
    ("sphinx", When::Mailed, sphinx),
    ("kconfig", When::Ours, kconfig),
    ("init_only", When::Always, init_only),
    ("figures", When::Ours, figures),
    ("cost", When::Always, measure::cost),
    ("sparse", When::Mailed, sparse),
    ("warnings", When::Always, warnings),
    ("instrumented", When::Always, instrumented),
    ("rustdoc", When::Mailed, rustdoc),
];

fn cargo(args: &[&str]) -> Result<()> {
    let mut cargo = Command::new(paths::given("CARGO").unwrap_or_else(|| "cargo".into()));
    let what = format!("cargo {}", args[0]);
    let log = paths::top().join("build/logs").join(format!("cargo-{}.log", args[0]));
    watch(&what, &log, cargo.current_dir(paths::tool("")).args(args))
}

/// The scripts that run in guests are as shellcheck wants them.
fn shellcheck() -> Result<()> {
    let mut find = Command::new("find");
    find.args(["guest", "debian", "programs", "-name", "*.sh"]);
    let found = output(find.current_dir(paths::tool("")))?;
    ensure!(!found.is_empty(), "there are no scripts in {}", paths::tool("").display());
    let mut check = Command::new(program("shellcheck", "shellcheck")?);
    check.current_dir(paths::tool("")).arg("--severity=style").args(found.lines());
    check.arg(paths::top().join("tools/install-cargo"));
    output(&mut check).map(drop)
}

/// The series. A tree of somebody's own may be of a release between two of ours.
fn series_of(base: &Base) -> Result<Vec<Patch>> {
    let all = Base::all()?;
    let release = base.release();
    let nearest = all.iter().find(|base| base.name == release).or(all.last());
    Patch::series(nearest.unwrap_or(base))
}

/// The new files of the series that end so.
fn new_files(base: &Base, suffix: &str) -> Result<BTreeSet<String>> {
    let files = series_of(base)?.into_iter().flat_map(|patch| patch.new);
    Ok(files.filter(|file| file.ends_with(suffix)).collect())
}

/// The other objects of the kernel that the series changes, where the option makes no difference.
fn others(base: &Base) -> Result<BTreeSet<String>> {
    let series = series_of(base)?;
    let files = series.iter().flat_map(Patch::files).filter_map(|file| file.strip_suffix(".c"));
    let elsewhere = |file: &&str| !file.starts_with("init/") && !file.starts_with("tools/");
    Ok(files.filter(elsewhere).map(|file| format!("{file}.o")).collect())
}

/// The files that a compiler may not warn of: all that the series touches, or of somebody's own tree
/// those that it brings.
fn ours(base: &Base) -> Result<BTreeSet<String>> {
    if base.own {
        return new_files(base, "");
    }
    base.files()
}

/// The kernel's formatting of our Rust.
fn rustfmt(fixture: &Fixture) -> Result<()> {
    let base = &fixture.base;
    let mut files = new_files(base, ".rs")?;
    if !base.own {
        // Backports bring some, too.
        let added = ["diff", "--name-only", "--diff-filter=A", PRISTINE, "HEAD", "--", "*.rs"];
        files.extend(base.git(&added)?.lines().map(str::to_owned));
    }
    output(
        Command::new(Toolchain::find()?.beside_rustc("rustfmt"))
            .current_dir(&base.sources)
            .args(["--check", "--edition", "2021"])
            .args(files),
    )
    .context("our Rust is not as rustfmt has it: run it, with the kernel's .rustfmt.toml")
    .map(drop)
}

/// Each patch through checkpatch, and there is somebody to look after each new file.
fn checkpatch(fixture: &Fixture) -> Result<()> {
    let base = &fixture.base;
    let dir = tempfile::tempdir()?;
    let who = Identity("A Developer".to_owned(), "developer@example.org".to_owned());
    let trailer = format!("Signed-off-by: {} <{}>", who.0, who.1);
    let commit = series::commit(base, &Patch::series(base)?, &who, Some(&[trailer]))?;
    let mails = outgoing::format(base, &commit, dir.path(), &who, &[])?;
    ensure!(!mails.is_empty(), "there are no patches");
    let mut checkpatch = Command::new(program("perl", "perl")?);
    checkpatch
        .current_dir(&base.sources)
        .args(["scripts/checkpatch.pl", "--strict", "--no-summary", "--terse"])
        // The sources have no history. The states of the unpacker have always had such names.
        .arg("--ignore=FILE_PATH_CHANGES,UNKNOWN_COMMIT_ID,CAMELCASE");
    output(checkpatch.args(&mails)).context("checkpatch --strict has something to say")?;
    for file in new_files(base, "")? {
        let mut get_maintainer = Command::new(base.sources.join("scripts/get_maintainer.pl"));
        let get_maintainer = get_maintainer.current_dir(&base.sources).args([
            "--no-git",
            "--no-git-fallback",
            "--norolestats",
            "--nol",
            "-f",
            &file,
        ]);
        let found = output(get_maintainer)?;
        ensure!(!found.trim().is_empty(), "nobody looks after {file}, says MAINTAINERS");
    }
    Ok(())
}

/// The options are found by the kernel's own parser from the top of this repo.
fn kconfig(fixture: &Fixture) -> Result<()> {
    let built = fixture.built(&BOOT)?;
    let dir = tempfile::tempdir()?;
    let kconfig = dir.path().join("Kconfig");
    let needed = ["BLK_DEV_INITRD", "RUST"].map(|name| format!("config {name}\n\tdef_bool y\n"));
    write(&kconfig, read(&paths::top().join("Kconfig"))? + &needed.concat())?;
    let options = output(
        Command::new(built.join("scripts/kconfig/conf"))
            .env("srctree", paths::top())
            .env("KCONFIG_CONFIG", dir.path().join("config"))
            .arg("--listnewconfig")
            .arg(kconfig),
    )?;
    let is_there = options.lines().any(|line| line.starts_with("CONFIG_INITRAMFS_MOUNT="));
    ensure!(is_there, "the Kconfig at the top of this repo leads to: {options}");
    Ok(())
}

/// Bytes of init text, of init data, of other text and of other data.
type Sizes = [i64; 4];

/// All that the option brings is freed after boot, but for literals, and it is small.
fn init_only(fixture: &Fixture) -> Result<()> {
    let on = fixture.built(&BOOT)?;
    let base = &fixture.base;
    WITHOUT.start(base)?;
    remove_ours(&WITHOUT, base)?;
    let log = WITHOUT.make_targets(base, "building init/ of", &["init/"])?;
    no_warnings_in(&log, &ours(base)?)?;
    let off = WITHOUT.dir(base);
    println!("  what the option adds        init text  init data  resident text  resident data");
    let print = |what: &str, [init_text, init_data, text, data]: &Sizes| {
        println!("  {what:26} {init_text:10} {init_data:10} {text:14} {data:14}");
    };
    let mut all = Sizes::default();
    for file in CALLERS.iter().chain([&COMPONENT]) {
        let with = sizes(&on.join(file))?;
        let without = match *file {
            COMPONENT => Sizes::default(),
            file => sizes(&off.join(file))?,
        };
        let added: Sizes = std::array::from_fn(|i| with[i] - without[i]);
        print(file, &added);
        ensure!(added[2] <= 0, "{} bytes of code in {file} outlive boot", added[2]);
        all.iter_mut().zip(added).for_each(|(all, added)| *all += added);
    }
    print("in all", &all);
    let mut bloat = Command::new(base.sources.join("scripts/bloat-o-meter"));
    let bloat = output(bloat.arg(off.join("init/built-in.a")).arg(on.join("init/built-in.a")))?;
    println!("  bloat-o-meter of init/: {}", bloat.lines().last().unwrap_or_default());
    let undefined = undefined(&on.join(COMPONENT))?;
    // All that core panics with is called so, or `unwrap_failed`, `slice_index_fail` and the like. Its `CStr`
    // counts the NUL in and out, with CONFIG_RUST_OVERFLOW_CHECKS.
    let panics = regex::Regex::new("^_R.*(panic|_fail)")?;
    let counts = regex::Regex::new("panic_const_(add|sub)_overflow$")?;
    let panics = |name: &&String| panics.is_match(name) && !counts.is_match(name);
    let panics: Vec<_> = undefined.iter().filter(panics).collect();
    ensure!(panics.is_empty(), "the component can panic: {panics:?}");
    let [init_text, _, _, literals] = all;
    ensure!(literals <= LITERALS_LIMIT, "{literals} bytes of data outlive boot");
    ensure!(
        init_text <= INIT_TEXT_LIMIT,
        "{init_text} bytes of init text are more than {INIT_TEXT_LIMIT}"
    );
    Ok(())
}

fn sizes(object: &Path) -> Result<Sizes> {
    let bytes = read_bytes(object)?;
    let elf = elf(object, &bytes)?;
    let mut sizes = Sizes::default();
    for section in &elf.section_headers {
        let name = elf.shdr_strtab.get_at(section.sh_name).unwrap_or_default();
        // What the linker makes use of, or leaves out, tables that are freed after boot, and those of
        // the unwinder, where it has some for each function.
        let dropped =
            [".discard", ".eh_frame", ".note", ".return_sites", ".retpoline_sites", ".orc_"];
        let dropped = dropped.iter().any(|s| name.starts_with(s)) || name.contains("altinstr");
        if section.is_alloc() && !dropped {
            let kind = 2 * usize::from(!name.starts_with(".init"));
            sizes[kind + usize::from(!section.is_executable())] += section.sh_size as i64;
        }
    }
    Ok(sizes)
}

/// The symbols that an object wants of others.
fn undefined(object: &Path) -> Result<Vec<String>> {
    let bytes = read_bytes(object)?;
    let elf = elf(object, &bytes)?;
    let undefined = elf.syms.iter().filter(|symbol| symbol.st_shndx == 0);
    Ok(undefined
        .filter_map(|symbol| elf.strtab.get_at(symbol.st_name))
        .map(str::to_owned)
        .collect())
}

/// objtool has seen the component, and in user-mode Linux KASAN has.
fn instrumented(fixture: &Fixture) -> Result<()> {
    let dir = fixture.built(&BOOT)?;
    ensure!(
        section_size(&dir.join(COMPONENT), ".orc_unwind")? > 0,
        "objtool has not seen the component"
    );
    let user_mode = kunit::build_user_mode(&fixture.base)?;
    is_sanitized(user_mode.parent().unwrap_or(&user_mode))
}

/// The same in the kernel where objtool patches each return, and KASAN sees to each object; and calls and
/// branches of the unpacker are counted in the one where they are.
pub fn instrumented_debug(fixture: &Fixture) -> Result<()> {
    let counted = undefined(&fixture.built(&INSTRUMENTED)?.join("init/initramfs.o"))?;
    for counter in ["__sanitizer_cov_", "llvm_gcov_init"] {
        let calls_it = counted.iter().any(|name| name.starts_with(counter));
        ensure!(calls_it, "nothing has {counter}");
    }
    let dir = fixture.built(&DEBUG)?;
    ensure!(
        section_size(&dir.join(COMPONENT), ".return_sites")? > 0,
        "returns of the component stay as they are"
    );
    is_sanitized(&dir)
}

fn is_sanitized(dir: &Path) -> Result<()> {
    let undefined = undefined(&dir.join(COMPONENT))?;
    let calls_it = undefined.iter().any(|name| name.starts_with("__asan_"));
    ensure!(calls_it, "the component has been built without KASAN");
    Ok(())
}

/// What there is to be reviewed, which README tells.
fn figures(fixture: &Fixture) -> Result<()> {
    let base = &fixture.base;
    let new = new_files(base, "")?;
    let by_patches = |suffix: &str| -> Result<(usize, usize)> {
        let diff = base.git(&["diff", "--numstat", PRISTINE, "HEAD"])?;
        let rows = diff.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        let rows = rows.filter(|row| row[2].ends_with(suffix) && !new.contains(row[2]));
        let number = |word: &str| word.parse::<usize>().unwrap_or(0);
        Ok(rows.fold((0, 0), |all, row| (all.0 + number(row[0]), all.1 + number(row[1]))))
    };
    let ((added, removed), (added_tests, _)) = (by_patches("")?, by_patches("_test.c")?);
    let (mut rust, mut unsafes, mut c, mut tests) = (0, 0, 0, 0);
    for file in new.iter().filter(|file| file.ends_with(".rs") || file.ends_with(".c")) {
        let text = read(&paths::top().join(file))?;
        let lines = text.lines().count();
        if file.contains("_test.") || file.contains("selftests") {
            tests += lines;
        } else if file.ends_with(".c") {
            c += lines;
        } else {
            rust += lines;
            let kinds = ["unsafe {", "unsafe fn", "unsafe extern"];
            unsafes += kinds.iter().map(|kind| text.matches(kind).count()).sum::<usize>();
        }
    }
    let readme = read(&paths::top().join("README.md"))?;
    let row = |title: &str| {
        let row = readme.lines().find_map(|line| line.strip_prefix(&format!("| {title}| ")));
        row.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>()).unwrap_or_default()
    };
    let column = row("what `make check` prints ").iter().position(|name| *name == base.name);
    let column = column.with_context(|| format!("README.md has no figures of {}", base.name))?;
    let mut wrong = Vec::new();
    for (what, count) in [
        ("lines added by `patches/`", added),
        ("tests, of these", added_tests),
        ("lines removed by `patches/`", removed),
        ("lines of C in kernel files here, without tests", c),
        ("lines of Rust in those", rust),
        ("`unsafe` blocks and functions in those", unsafes),
        ("lines of new tests", tests),
    ] {
        println!("  {what:46} {count:>5}");
        let told = row(&format!("{what} ")).get(column).copied().unwrap_or("nothing");
        if told != count.to_string() {
            wrong.push(format!("README.md says {told} for: {what}, which is {count}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Builds what we touch with W=1 and CLIPPY=1, with the KUnit tests.
fn warnings(fixture: &Fixture) -> Result<()> {
    fixture.built(&KUNIT)?;
    let base = &fixture.base;
    remove_ours(&KUNIT, base)?;
    let others = others(base)?;
    let targets = ["W=1", "CLIPPY=1", "init/", "rust/"].into_iter();
    let targets: Vec<_> = targets.chain(others.iter().map(String::as_str)).collect();
    no_warnings_in(&KUNIT.make_targets(base, "linting", &targets)?, &ours(base)?)
}

fn rustdoc(fixture: &Fixture) -> Result<()> {
    let dir = fixture.built(&KUNIT)?;
    let base = &fixture.base;
    let _ = fs::remove_dir_all(dir.join("Documentation/output/rust/rustdoc/kernel"));
    // With the words of `warnings`, which comes before: with others, all of Rust would be built anew.
    let targets = ["W=1", "CLIPPY=1", "rustdoc"];
    no_warnings_in(&KUNIT.make_targets(base, "rustdoc of", &targets)?, &ours(base)?)
}

/// sparse has nothing to say of the C files that we touch which it would not say without us.
fn sparse(fixture: &Fixture) -> Result<()> {
    let base = &fixture.base;
    fixture.built(&BOOT)?;
    let ours = sparse_of(&BOOT, base)?;
    let theirs = sparse_of(&WITHOUT, &base.checkout("pristine", PRISTINE)?)?;
    let new: Vec<_> = ours.difference(&theirs).cloned().collect();
    ensure!(new.is_empty(), "sparse has something to say:\n{}", new.join("\n"));
    Ok(())
}

/// What sparse says of those files, without the numbers of lines.
fn sparse_of(kernel: &Kernel, base: &Base) -> Result<BTreeSet<String>> {
    let sparse = program("sparse", "sparse")?;
    // Debian's sparse is older than that keyword, which newer kernels ask it for.
    let check = format!("CHECK={} -D__typeof_unqual__=__typeof__", sparse.display());
    let others = others(base)?;
    let mut targets = [&["C=2", &check], CALLERS].concat();
    targets.extend(others.iter().map(String::as_str));
    let log = kernel.make_targets(base, "sparse on", &targets)?;
    ensure!(log.contains("  CHECK   "), "sparse has not run");
    let sources = format!("{}/", base.sources.display());
    let place = regex::Regex::new(r"(\.[ch]):\d+:\d+:")?;
    // The helpers of Rust are not ours, and theirs is built without.
    let other = |line: &&str| line.contains("note: ") || line.contains("rust/helpers/");
    let lines = log.lines().filter(|line| place.is_match(line) && !other(line));
    Ok(lines.map(|line| place.replace(&line.replace(&sources, ""), "$1:").into_owned()).collect())
}

/// The comments of what we touch that kernel-doc reads are as it wants them.
fn kernel_doc(fixture: &Fixture) -> Result<()> {
    let base = &fixture.base;
    let files =
        base.files()?.into_iter().filter(|file| file.ends_with(".c") || file.ends_with(".h"));
    let mut kernel_doc = Command::new(base.sources.join("scripts/kernel-doc"));
    output(kernel_doc.current_dir(&base.sources).args(["-none", "-Werror"]).args(files))
        .context("kernel-doc has something to say")
        .map(drop)
}

/// The pages that we touch, with the kernel's settings and without the hundreds of others.
fn sphinx(fixture: &Fixture) -> Result<()> {
    let base = &fixture.base;
    let dir = tempfile::tempdir()?;
    // The kernel's extensions look for these names.
    let pages = dir.path().join("Documentation");
    make_dir(&pages)?;
    let admin_guide = base.sources.join("Documentation/admin-guide");
    for file in ["initramfs-mount.rst", "kernel-parameters.rst", "kernel-parameters.txt"] {
        write(&pages.join(file), read(&admin_guide.join(file))?)?;
    }
    fs::copy(base.sources.join("MAINTAINERS"), dir.path().join("MAINTAINERS"))?;
    let index = "Pages\n=====\n\n.. toctree::\n\n   initramfs-mount\n   kernel-parameters\n";
    write(&pages.join("index.rst"), index)?;
    output(
        Command::new(program("sphinx-build", "python3-sphinx")?)
            .current_dir(&base.sources)
            .env("srctree", &base.sources)
            .env("BUILDDIR", dir.path().join("out"))
            .args(["-q", "-W", "--keep-going", "-b", "html", "-c", "Documentation"])
            .arg(&pages)
            .arg(dir.path().join("out")),
    )
    .context("Sphinx has something to say")?;
    let index = read(&admin_guide.join("index.rst"))?;
    let listed = index.lines().any(|line| line.trim() == "initramfs-mount");
    ensure!(listed, "the admin guide's index does not list the page");
    Ok(())
}

/// Removes what has been built of what we touch, of which there would be nothing to warn a second time.
fn remove_ours(kernel: &Kernel, base: &Base) -> Result<()> {
    let dir = kernel.dir(base);
    let _ = fs::remove_dir_all(dir.join("init"));
    for object in others(base)?.into_iter().chain(["rust/kernel.o".to_owned()]) {
        let _ = fs::remove_file(dir.join(object));
    }
    Ok(())
}

/// Fails if a compiler or objtool warns of one of these files.
fn no_warnings_in(log: &str, files: &BTreeSet<String>) -> Result<()> {
    let lines: Vec<_> = log.lines().collect();
    // objtool speaks of objects.
    let objects = files.iter().filter_map(|file| Some(format!("{}.o:", file.rsplit_once('.')?.0)));
    let mut names: Vec<_> = files.iter().map(|file| format!("{file}:")).chain(objects).collect();
    names.push(format!("{COMPONENT}:"));
    for (i, line) in lines.iter().enumerate() {
        let words = ["warning:", "error:", "-->"];
        let place = words.iter().any(|word| line.contains(word));
        if place && names.iter().any(|name| line.contains(name)) {
            bail!("{}", lines[i.saturating_sub(1)..(i + 8).min(lines.len())].join("\n"));
        }
    }
    Ok(())
}

/// Builds and boots each commit of the series, with and without the option, so that a bisection can
/// end up at any of them.
pub fn bisect(fixture: &Fixture) -> Result<()> {
    let base = &fixture.base;
    tree::prepare(base)?;
    let there = base.checkout("bisect", PRISTINE)?;
    let commits =
        base.git(&["log", "--reverse", "--format=%H %s", &format!("{PRISTINE}..HEAD")])?;
    let count = commits.lines().count();
    for (i, line) in commits.lines().enumerate() {
        let (commit, subject) = line.split_once(' ').context("a commit without a subject")?;
        println!("[{}/{count}] {subject}", i + 1);
        output(git(&there.sources).args(["checkout", "-q", "-f", "--detach", commit]))?;
        boots(&there, &BISECT[0], false)
            .with_context(|| format!("without the option: {subject}"))?;
        if there.sources.join("init/Kconfig.initramfs_mount").is_file() {
            boots(&there, &BISECT[1], true)
                .with_context(|| format!("with the option: {subject}"))?;
        }
    }
    println!("Each of {count} commits builds without warnings and boots.");
    Ok(())
}

/// GCC of this machine builds it without a warning, and what it has built boots.
pub fn gcc(fixture: &Fixture) -> Result<()> {
    builds_with(&fixture.base, &GCC, &["CONFIG_CC_IS_GCC=y"])
}

/// The same with what Debian 13 builds its kernels with. Its rustc and bindgen are the oldest that 7.3 takes.
pub fn debian_13(fixture: &Fixture) -> Result<()> {
    let versions = ["CONFIG_GCC_VERSION=14", "CONFIG_RUSTC_VERSION=1085", "bindgen 0.71."];
    builds_with(&fixture.base, &DEBIAN_13, &versions)
}

fn builds_with(base: &Base, kernel: &Kernel, settings: &[&str]) -> Result<()> {
    tree::prepare(base)?;
    remove_ours(kernel, base)?;
    boots(base, kernel, true)?;
    let config = read(&kernel.dir(base).join(".config"))?;
    for setting in settings {
        let file = kernel.dir(base).join(".config");
        ensure!(
            config.contains(setting),
            "kernel {} was built with other tools: {} is without {setting}",
            kernel.name,
            file.display()
        );
    }
    Ok(())
}

/// Builds a kernel, of which no compiler may warn where it is ours, and boots it.
fn boots(base: &Base, kernel: &Kernel, on: bool) -> Result<()> {
    let log = kernel.make_targets(base, "building", &[arch::current().target()])?;
    no_warnings_in(&log, &ours(base)?)?;
    let seen = Seen::of_archive(Machine::new(&kernel.image(base)))?;
    if on {
        seen.is_root_mount("archive", "tmpfs")?;
    } else {
        seen.is_rootfs("archive", base.has_nullfs())?;
    }
    Ok(())
}
