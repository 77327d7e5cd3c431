// SPDX-License-Identifier: GPL-2.0

//! Brings the series into a kernel tree of a user's own, and takes it out again, with git.

use crate::{
    base::{canonical, git, kernel_version, Base, PRISTINE},
    cmd::{output, WHOLE},
    files::{make_dir, read, write},
    once::lock,
    paths,
    series::{Identity, Patch, NO_IDENTITY},
    tree, virtme,
};
use anyhow::{bail, ensure, Context, Result};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

/// A file that no kernel has without the series.
const OURS: &str = "init/initramfs_mount.rs";

/// A kernel tree that somebody works in.
struct Tree {
    dir: PathBuf,
    version: String,
    /// Whether it is the top of a git work tree.
    is_git: bool,
}

impl Tree {
    fn given() -> Result<Self> {
        Self::new(&paths::given("KDIR").context("which tree? Say KDIR=path/to/linux")?)
    }

    fn new(kdir: &Path) -> Result<Self> {
        let dir = canonical(kdir)?;
        let version = kernel_version(&dir)?;
        let top = output(git(&dir).args(["rev-parse", "--show-toplevel"]));
        let is_git = top.is_ok_and(|top| Path::new(top.trim()) == dir);
        let kind = if is_git { "a git tree" } else { "not a git tree" };
        println!("{}: Linux {version}, {kind}", dir.display());
        Ok(Self { dir, version, is_git })
    }

    /// The bases whose series may fit, the likeliest first.
    fn bases(&self) -> Result<Vec<Base>> {
        let mut all = Base::all()?;
        let major = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        all.sort_by_key(|base| major(&base.name) != major(&self.version));
        Ok(all)
    }

    /// git on the tree, which stays out of a repository that the tree may be in.
    fn git(&self) -> Command {
        let mut git = git(&self.dir);
        // A terminal's Ctrl-C is for all in its group.
        git.process_group(0).env("LC_ALL", "C");
        if !self.is_git {
            git.env("GIT_CEILING_DIRECTORIES", self.dir.parent().unwrap_or(&self.dir));
        }
        git
    }

    /// Applies a series, or leaves all as it was.
    fn apply(&self, series: &[Patch], who: &Identity) -> Result<()> {
        let _whole = lock(&WHOLE);
        let dir = tempfile::tempdir()?;
        if !self.is_git {
            // Of one file, git applies all or nothing.
            let all = dir.path().join("all");
            write(&all, series.iter().map(|patch| patch.mail(who)).collect::<String>())?;
            output(self.git().args(["apply", "--whitespace=nowarn"]).arg(all))?;
            return Ok(());
        }
        let mails = mails(dir.path(), series, who)?;
        let am = output(self.git().args(["am", "-q", "--whitespace=nowarn"]).args(mails));
        if am.is_err() {
            // It may not even have begun.
            let _ = output(self.git().args(["am", "--abort"]));
        }
        am.map(drop)
    }

    /// Takes a series out again, or leaves all as it was.
    fn take_out(&self, series: &[Patch]) -> Result<()> {
        let _whole = lock(&WHOLE);
        let count = series.len();
        if self.is_git {
            let last = ["log", "--reverse", "--format=%s", &format!("-{count}")];
            let subjects = output(self.git().args(last))?;
            ensure!(
                subjects.lines().eq(series.iter().map(Patch::subject)),
                "the last {count} commits are not the series as `make patch` has applied it; take it out with \
                 git rebase"
            );
            // Refuses to lose changes that are not committed.
            output(self.git().args(["reset", "-q", "--keep", &format!("HEAD~{count}")]))?;
            return Ok(());
        }
        let maintainers = read(&self.dir.join("MAINTAINERS")).unwrap_or_default();
        let who = maintainers.split("\nINITRAMFS MOUNT\nM:\t").nth(1).unwrap_or_default();
        let who = who.lines().next().unwrap_or_default().trim_end_matches('>').split_once(" <");
        let (name, address) = who.unwrap_or_default();
        let dir = tempfile::tempdir()?;
        let mails = mails(dir.path(), series, &Identity(name.into(), address.into()))?;
        let apply = |mail: &PathBuf, how: &[&str]| {
            output(self.git().args(["apply", "--whitespace=nowarn"]).args(how).arg(mail))
        };
        // One at a time: of a file that one patch makes and another adds to, git would leave a part.
        for (i, mail) in mails.iter().enumerate().rev() {
            if let Err(e) = apply(mail, &["-R"]) {
                // Those that are out already come back.
                for mail in &mails[i + 1..] {
                    apply(mail, &[])?;
                }
                return Err(e);
            }
        }
        Ok(())
    }
}

/// What git says of a patch that does not fit, without what command that was, and without its hints,
/// which are about what has been taken back.
fn misfit(e: &anyhow::Error) -> String {
    let said = format!("{e:#}");
    let said = said.split_once(" failed: ").map_or(said.as_str(), |(_, said)| said);
    let lines = said.lines().filter(|line| !line.starts_with("hint:"));
    lines.take(6).map(|line| format!("\n  {line}")).collect()
}

fn mails(dir: &Path, series: &[Patch], who: &Identity) -> Result<Vec<PathBuf>> {
    let mails = series.iter().enumerate().map(|(i, patch)| {
        let path = dir.join(format!("{i:04}.patch"));
        write(&path, patch.mail(who))?;
        Ok(path)
    });
    mails.collect()
}

/// Applies the series that fits to the tree that `KDIR=` names.
///
/// # Errors
///
/// If none fits; then with what git says, and the tree is as it was.
pub fn patch() -> Result<()> {
    patch_tree(&Tree::given()?)
}

fn patch_tree(tree: &Tree) -> Result<()> {
    let dir = tree.dir.display();
    ensure!(
        !tree.dir.join(OURS).exists(),
        "{dir} has the series already: run `make unpatch KDIR={dir}` first"
    );
    let who = Identity::of(&tree.dir);
    ensure!(who.is_some() || !tree.is_git, "{NO_IDENTITY}");
    let who = who.unwrap_or_else(Identity::nobody);
    if tree.is_git {
        for state in ["rebase-apply", "rebase-merge"] {
            let busy = output(tree.git().args(["rev-parse", "--git-path", state]))?;
            let busy = tree.dir.join(busy.trim()).exists();
            ensure!(!busy, "{dir} is in the middle of a git am or git rebase: end that first");
        }
        // Those of the series that is likely to fit.
        let series = tree.bases()?.first().map(Patch::series).transpose()?.unwrap_or_default();
        let files: BTreeSet<_> = series.iter().flat_map(Patch::files).collect();
        let diff = ["diff", "--name-only"];
        let staged = output(tree.git().args(diff).arg("--cached"))?;
        let changed = output(tree.git().args(diff).arg("--").args(&files))?;
        let changed: BTreeSet<_> = staged.lines().chain(changed.lines()).collect();
        ensure!(
            changed.is_empty(),
            "{dir} has changes that are in no commit, in {}: commit or stash them first",
            changed.into_iter().collect::<Vec<_>>().join(", ")
        );
    }
    let mut why = String::new();
    for base in tree.bases()? {
        let series = Patch::series(&base)?;
        match tree.apply(&series, &who) {
            Ok(()) => {
                let count = series.len();
                println!("The series for {} has been applied, {count} patches.", base.name);
                println!("Next: CONFIG_RUST and CONFIG_INITRAMFS_MOUNT in its configuration, or");
                println!("`make kunit KDIR={dir}`.");
                return Ok(());
            }
            Err(e) => {
                why += &format!("\nThe series for {}:", base.name);
                why += &misfit(&e);
            }
        }
    }
    bail!("no series fits {dir}, which is as it was:{why}")
}

/// Takes the series out of the tree that `KDIR=` names.
///
/// # Errors
///
/// If it is not there as it was applied; then the tree is as it was.
pub fn unpatch() -> Result<()> {
    unpatch_tree(&Tree::given()?)
}

fn unpatch_tree(tree: &Tree) -> Result<()> {
    let dir = tree.dir.display();
    let is_there = tree.dir.join(OURS).exists();
    ensure!(is_there, "{dir} does not have the series: there is nothing to take out");
    let mut why = String::new();
    for base in tree.bases()? {
        match tree.take_out(&Patch::series(&base)?) {
            Ok(()) => {
                println!("The series for {} has been taken out.", base.name);
                return Ok(());
            }
            Err(e) => why += &format!("\nThe series for {}:{}", base.name, misfit(&e)),
        }
    }
    bail!("{dir} is as it was, for what it has is not what `make patch` brings:{why}")
}

/// Applies the series to what of a base it changes and takes it out again, with git and without;
/// then to files that it does not fit.
pub fn check(base: &Base) -> Result<()> {
    let series = Patch::series(base)?;
    let mut files = base.files()?;
    files.insert("Makefile".to_owned());
    let text = |commit: &str, file: &str| base.git(&["show", &format!("{commit}:{file}")]);
    let dir = tempfile::tempdir()?;
    for with_git in [false, true] {
        let kdir = dir.path().join(if with_git { "git" } else { "plain" });
        for file in &files {
            // Some the series makes itself.
            if let Ok(text) = text(PRISTINE, file) {
                write(&kdir.join(file), text)?;
            }
        }
        if with_git {
            for args in [
                &["init", "-q"][..],
                &["config", "user.name", "A Developer"],
                &["config", "user.email", "developer@example.org"],
                // What somebody's own git is told to do with commits is no matter here.
                &["config", "commit.gpgSign", "false"],
                &["config", "core.hooksPath", "/dev/null"],
                &["add", "-A", "-f"],
                &["commit", "-q", "-m", "Linux"],
            ] {
                output(git(&kdir).args(args))?;
            }
        }
        let tree = Tree::new(&kdir)?;
        ensure!(tree.is_git == with_git, "{} is taken for another", kdir.display());
        let is_as_in = |commit: &str| -> Result<()> {
            for file in files.iter().filter(|file| *file != "MAINTAINERS") {
                let same = read(&kdir.join(file)).ok() == text(commit, file).ok();
                ensure!(same, "{file} is not as in {commit}");
            }
            Ok(())
        };
        if !with_git {
            // Somebody else's file is in the way.
            let theirs = kdir.join("rust/kernel/fs_struct.rs");
            make_dir(&kdir.join("rust/kernel"))?;
            fs::write(&theirs, "theirs")?;
            let refused = patch_tree(&tree).is_err() && fs::read(&theirs)? == b"theirs";
            ensure!(refused, "it overwrites a file of somebody else's");
            fs::remove_file(theirs)?;
            is_as_in(PRISTINE)?;
        }
        patch_tree(&tree)?;
        is_as_in("HEAD")?;
        ensure!(kdir.join(OURS).is_file(), "{OURS} is not there");
        ensure!(patch_tree(&tree).is_err(), "it can be applied twice");
        unpatch_tree(&tree)?;
        is_as_in(PRISTINE)?;
        for ours in series.iter().flat_map(|patch| &patch.new) {
            ensure!(!kdir.join(ours).exists(), "{ours} is still there");
        }

        let main = kdir.join("init/main.c");
        let other = read(&main)?.replace("static char *ramdisk", "static char * ramdisk");
        fs::write(&main, &other)?;
        if with_git {
            output(git(&kdir).args(["commit", "-q", "-a", "-m", "another"]))?;
        }
        let Err(e) = patch_tree(&tree) else {
            bail!("it can be applied to what it does not fit");
        };
        let said = format!("{e:#}");
        let explained = said.contains("patch failed: init/main.c:");
        ensure!(explained, "a misfit is not explained: {said}");
        ensure!(read(&main)? == other, "a misfit is not left as it was");
    }
    Ok(())
}

/// Brings the series into a tree as somebody has it, has virtme-ng build it, and boots it.
pub fn with_virtme(base: &Base) -> Result<()> {
    tree::prepare(base)?;
    let there = base.checkout("user", PRISTINE)?;
    // An earlier run may have been stopped in the middle.
    let _ = there.git(&["am", "--abort"]);
    there.git(&["config", "commit.gpgSign", "false"])?;
    // That of somebody who works in the repository is theirs.
    if Identity::of(&there.sources).is_none() {
        there.git(&["config", "user.name", "A Developer"])?;
        there.git(&["config", "user.email", "developer@example.org"])?;
    }
    patch_tree(&Tree::new(&there.sources)?)?;
    virtme::check_own_tree(&there.sources, &base.log("user-tree.log"))
}
