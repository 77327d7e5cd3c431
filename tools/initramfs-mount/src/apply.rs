// SPDX-License-Identifier: GPL-2.0

//! Brings the series into a kernel tree of a user's own, and takes it out again.

use crate::{
    base::{kernel_version, Base, Release},
    cmd::output,
    paths, series,
    source::{self, Git, Patch, PRISTINE},
};
use anyhow::{bail, ensure, Context, Result};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// A file that no kernel has without the series.
const OURS: &str = "init/initramfs_mount.rs";

/// A kernel tree that somebody works in.
struct Tree {
    dir: PathBuf,
    version: String,
    /// Whether it is the top of a git work tree.
    git: bool,
}

impl Tree {
    fn from_env() -> Result<Self> {
        Self::new(&paths::kdir().context("which tree? Say KDIR=path/to/linux")?)
    }

    fn new(kdir: &Path) -> Result<Self> {
        let dir = fs::canonicalize(kdir)
            .with_context(|| format!("KDIR={} is not there", kdir.display()))?;
        let version = kernel_version(&dir)?;
        let top = Git(&dir).run(&["rev-parse", "--show-toplevel"]);
        let git = top.is_ok_and(|top| Path::new(top.trim()) == dir);
        let kind = if git { "a git tree" } else { "not a git tree" };
        println!("{}: Linux {version}, {kind}", dir.display());
        Ok(Self { dir, version, git })
    }

    /// The releases whose series may fit, the likeliest first.
    fn releases(&self) -> Vec<Release> {
        let mut all = Release::ALL.to_vec();
        all.retain(|release| release.has_series());
        let major = self.version.split('.').next().unwrap_or_default();
        all.sort_by_key(|release| release.name().split('.').next() != Some(major));
        all
    }

    /// Makes sure that git will take patches to these files.
    fn is_free(&self, files: &BTreeSet<String>) -> Result<()> {
        let git = Git(&self.dir);
        let busy = git.run(&["rev-parse", "--git-path", "rebase-apply"])?;
        ensure!(
            !self.dir.join(busy.trim()).exists(),
            "{} is in the middle of a git am or git rebase: end that first",
            self.dir.display()
        );
        let status = git.run(&["status", "--porcelain", "--untracked-files=no"])?;
        let in_the_way: Vec<_> = status
            .lines()
            .filter(|line| !line.starts_with(' ') || files.contains(&line[3..]))
            .map(|line| &line[3..])
            .collect();
        ensure!(
            in_the_way.is_empty(),
            "{} has changes that are not committed, in {}: commit or stash them first",
            self.dir.display(),
            in_the_way.join(", ")
        );
        Ok(())
    }
}

/// What a series makes of the files of a tree, worked out in a place of its own.
struct Trial {
    dir: tempfile::TempDir,
    /// What the files would be like, as a commit.
    commit: String,
}

impl Trial {
    fn new(tree: &Tree, series: &[Patch], who: &(String, String)) -> Result<Self> {
        let dir = tempfile::tempdir().context("can't make a folder to try the patches in")?;
        let git = Git(dir.path());
        git.run(&["init", "-q", "-b", PRISTINE])?;
        for file in changed_files(series)? {
            let (from, to) = (tree.dir.join(&file), dir.path().join(&file));
            if from.is_file() {
                fs::create_dir_all(to.parent().unwrap_or(dir.path()))?;
                fs::copy(&from, &to).with_context(|| format!("can't read {}", from.display()))?;
            }
        }
        git.run(&["add", "-A", "-f"])?;
        git.run(&["config", "user.name", &who.0])?;
        git.run(&["config", "user.email", &who.1])?;
        git.run(&["commit", "-q", "--allow-empty", "-m", "files"])?;
        let Ok(commit) = git.commit_series(series, who, Some(&[])) else {
            let misfits: Vec<_> = misfits(&git, series)?.into_iter().collect();
            bail!("\n  {}", misfits.join("\n  "));
        };
        Ok(Self { dir, commit })
    }
}

/// The files that the diffs of a series change, or make. No diff deletes one.
fn changed_files(series: &[Patch]) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    for diff in series.iter().filter_map(|patch| patch.diff.as_ref()) {
        let text =
            fs::read_to_string(diff).with_context(|| format!("can't read {}", diff.display()))?;
        files.extend(
            text.lines()
                .filter_map(|line| line.strip_prefix("+++ b/"))
                .map(str::to_owned),
        );
    }
    Ok(files)
}

/// The files of this repo that a series brings.
fn new_files(series: &[Patch]) -> BTreeSet<String> {
    let files = series.iter().flat_map(|patch| &patch.files);
    files.map(|file| file.name.clone()).collect()
}

/// Which hunks of a series don't fit the files in a repository, and why.
fn misfits(git: &Git<'_>, series: &[Patch]) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for diff in series.iter().filter_map(|patch| patch.diff.as_ref()) {
        let text = fs::read_to_string(diff)?;
        let said = git
            .command()
            .args(["apply", "--reject", "--whitespace=nowarn", "-v"])
            .arg(diff)
            .env("LC_ALL", "C")
            .output()
            .context("can't run git")?;
        let said = String::from_utf8_lossy(&said.stderr);
        let mut file = "";
        for line in said.lines() {
            if let Some((missing, _)) = line
                .strip_prefix("error: ")
                .and_then(|line| line.split_once(": No such file or directory"))
            {
                found.insert(format!("{missing}: the tree has no such file"));
            }
            if let Some((name, _)) = line
                .strip_prefix("Applying patch ")
                .and_then(|line| line.split_once(" with "))
            {
                file = name;
            }
            let hunk = line
                .strip_prefix("Rejected hunk #")
                .and_then(|rest| rest.trim_end_matches('.').parse::<usize>().ok());
            if let Some(hunk) = hunk {
                let content = fs::read_to_string(git.0.join(file))?;
                let why = why(&text, file, hunk, &content);
                found.insert(format!("{file}, hunk {hunk}: {why}"));
            }
        }
    }
    Ok(found)
}

/// Why a hunk of a diff does not fit a file.
fn why(diff: &str, file: &str, hunk: usize, content: &str) -> String {
    let wanted: Vec<&str> = diff
        .split("\ndiff --git ")
        .find(|part| part.contains(&format!("\n--- a/{file}\n")))
        .and_then(|part| part.split("\n@@ ").nth(hunk))
        .into_iter()
        .flat_map(|hunk| hunk.lines().skip(1))
        .filter_map(|line| line.strip_prefix([' ', '-']))
        .collect();
    let lines: BTreeSet<&str> = content.lines().collect();
    match wanted.iter().find(|line| !lines.contains(**line)) {
        Some(line) => format!("there is no line `{}`", line.trim()),
        None => "its lines are there, but not one after the other".to_owned(),
    }
}

/// Applies the series that fits, or says what does not fit and leaves the tree as it was.
pub fn patch() -> Result<()> {
    patch_tree(&Tree::from_env()?)
}

fn patch_tree(tree: &Tree) -> Result<()> {
    ensure!(
        !tree.dir.join(OURS).exists(),
        "{} has the series already: run `make unpatch` first",
        tree.dir.display()
    );
    let who = source::identity(&tree.dir);
    ensure!(who.is_some() || !tree.git, "{}", source::NO_IDENTITY);
    let who = who.unwrap_or_else(source::nobody);

    let mut misfit = None;
    for release in tree.releases() {
        let name = release.name();
        let series = Patch::series(release)?;
        let trial = match Trial::new(tree, &series, &who) {
            Ok(trial) => trial,
            Err(e) => {
                // The one that is the likeliest to fit is the one to speak of.
                misfit.get_or_insert(e.context(format!("the series for {name} does not fit")));
                continue;
            }
        };
        if tree.git {
            tree.is_free(&changed_files(&series)?)?;
        }
        let git = Git(trial.dir.path());
        if tree.git {
            let mails = tempfile::tempdir()?;
            let mails = series::format(&git, &trial.commit, mails.path(), &who, &[])?;
            let kernel = Git(&tree.dir);
            let am = output(kernel.command().args(["am", "-q"]).args(mails));
            if let Err(e) = am {
                kernel.run(&["am", "--abort"])?;
                return Err(e.context("git has not taken the series, and the tree is as it was"));
            }
        } else {
            let new = new_files(&series);
            if let Some(file) = new.iter().find(|file| tree.dir.join(file).exists()) {
                bail!("{} has a file {file} already", tree.dir.display());
            }
            for file in changed_files(&series)?.union(&new) {
                let to = tree.dir.join(file);
                fs::create_dir_all(to.parent().unwrap_or(&tree.dir))?;
                // Unlike a copy, this leaves the mode as it is.
                fs::write(&to, text(&git, &trial.commit, file)?)
                    .with_context(|| format!("can't write {}", to.display()))?;
            }
        }
        println!(
            "The series for {name} has been applied, {} patches.",
            series.len()
        );
        println!("Next: CONFIG_RUST and CONFIG_INITRAMFS_MOUNT in its configuration, or");
        println!("`make kunit KDIR={}`.", tree.dir.display());
        return Ok(());
    }
    let why = misfit.map(|e| format!("{e:#}")).unwrap_or_default();
    bail!("{} is as it was: {why}", tree.dir.display())
}

/// Takes the series out again.
pub fn unpatch() -> Result<()> {
    unpatch_tree(&Tree::from_env()?)
}

fn unpatch_tree(tree: &Tree) -> Result<()> {
    ensure!(
        tree.dir.join(OURS).exists(),
        "{} does not have the series: there is nothing to take out",
        tree.dir.display()
    );
    let mut misfits = String::new();
    for release in tree.releases() {
        let series = Patch::series(release)?;
        let done = if tree.git {
            drop_commits(tree, &series)
        } else {
            reverse(tree, &series)
        };
        match done {
            Ok(()) => {
                println!("The series for {} has been taken out.", release.name());
                return Ok(());
            }
            Err(e) => misfits += &format!("\n  the series for {}: {e:#}", release.name()),
        }
    }
    bail!(
        "{} is as it was, for what it has is not what `make patch` brings:{misfits}",
        tree.dir.display()
    )
}

/// Goes back to before the commits of the series, which must be the last ones.
fn drop_commits(tree: &Tree, series: &[Patch]) -> Result<()> {
    let git = Git(&tree.dir);
    let count = format!("-{}", series.len());
    let subjects = git.run(&["log", "--reverse", "--format=%s", &count])?;
    let ours = series
        .iter()
        .map(|patch| patch.message.lines().next().unwrap_or_default());
    ensure!(
        subjects.lines().eq(ours),
        "the last {} commits are others; take it out with git rebase",
        series.len()
    );
    // Refuses to lose changes that are not committed.
    git.run(&["reset", "-q", "--keep", &format!("HEAD~{}", series.len())])?;
    Ok(())
}

/// Takes the changes out of the files.
fn reverse(tree: &Tree, series: &[Patch]) -> Result<()> {
    let new = new_files(series);
    for file in &new {
        let same = fs::read(tree.dir.join(file)).ok() == fs::read(paths::top().join(file)).ok();
        ensure!(same, "{file} has been changed");
    }
    let maintainers = fs::read_to_string(tree.dir.join("MAINTAINERS")).unwrap_or_default();
    let maintainer = maintainers
        .split("\nINITRAMFS MOUNT\nM:\t")
        .nth(1)
        .and_then(|rest| rest.lines().next())
        .unwrap_or_default();

    let dir = tempfile::tempdir().context("can't make a folder to try the patches in")?;
    let files = changed_files(series)?;
    for file in &files {
        let to = dir.path().join(file);
        fs::create_dir_all(to.parent().unwrap_or(dir.path()))?;
        fs::copy(tree.dir.join(file), &to).with_context(|| format!("can't read {file}"))?;
    }
    let git = Git(dir.path());
    git.run(&["init", "-q"])?;
    for diff in series.iter().rev().filter_map(|patch| patch.diff.as_ref()) {
        let signed = source::signed(diff, maintainer)?;
        git.run(&["apply", "-R", &signed.path().to_string_lossy()])
            .context("the files have been changed where it changes them")?;
    }
    for file in &files {
        let without = dir.path().join(file);
        if without.exists() {
            fs::write(tree.dir.join(file), fs::read(without)?)?;
        } else {
            fs::remove_file(tree.dir.join(file))?;
        }
    }
    for file in &new {
        let path = tree.dir.join(file);
        fs::remove_file(&path)?;
        // A folder that is not empty stays.
        let _ = path.parent().map(fs::remove_dir);
    }
    Ok(())
}

/// A file of a commit.
fn text(git: &Git<'_>, commit: &str, file: &str) -> Result<String> {
    git.run(&["show", &format!("{commit}:{file}")])
}

/// Applies the series to what of a base it changes and takes it out again, with git and without;
/// then to files that it does not fit.
pub fn check(base: &Base) -> Result<()> {
    let git = Git(&base.sources);
    let release = base.release.context("KDIR= has no series of ours")?;
    let mut files = changed_files(&Patch::series(release)?)?;
    files.insert("Makefile".to_owned());
    let dir = tempfile::tempdir()?;
    for with_git in [false, true] {
        let kdir = dir.path().join(if with_git { "git" } else { "plain" });
        for file in &files {
            let to = kdir.join(file);
            fs::create_dir_all(to.parent().unwrap_or(&kdir))?;
            // Some the series makes itself.
            if let Ok(text) = text(&git, PRISTINE, file) {
                fs::write(to, text)?;
            }
        }
        if with_git {
            let kernel = Git(&kdir);
            kernel.run(&["init", "-q"])?;
            kernel.run(&["config", "user.name", "A Developer"])?;
            kernel.run(&["config", "user.email", "developer@example.org"])?;
            kernel.run(&["add", "-A", "-f"])?;
            kernel.run(&["commit", "-q", "-m", "Linux"])?;
        }
        let tree = Tree::new(&kdir)?;
        ensure!(
            tree.git == with_git,
            "{} is taken for another",
            kdir.display()
        );
        let is_as_in = |commit: &str| -> Result<()> {
            for file in files.iter().filter(|file| *file != "MAINTAINERS") {
                let there = fs::read_to_string(kdir.join(file)).ok();
                ensure!(
                    there == text(&git, commit, file).ok(),
                    "{file} is not as in {commit}"
                );
            }
            Ok(())
        };
        if !with_git {
            // Somebody else's file is in the way.
            let theirs = kdir.join("rust/kernel/fs_struct.rs");
            fs::create_dir_all(kdir.join("rust/kernel"))?;
            fs::write(&theirs, "theirs")?;
            ensure!(
                patch_tree(&tree).is_err() && fs::read(&theirs)? == b"theirs",
                "it overwrites a file of somebody else's"
            );
            fs::remove_file(theirs)?;
            is_as_in(PRISTINE)?;
        }
        let main = kdir.join("init/main.c");
        fs::set_permissions(&main, fs::Permissions::from_mode(0o664))?;
        patch_tree(&tree)?;
        is_as_in("HEAD")?;
        ensure!(kdir.join(OURS).is_file(), "{OURS} is not there");
        ensure!(patch_tree(&tree).is_err(), "it can be applied twice");
        unpatch_tree(&tree)?;
        is_as_in(PRISTINE)?;
        let selftest = "tools/testing/selftests/initramfs_mount";
        for ours in [OURS, selftest] {
            ensure!(!kdir.join(ours).exists(), "{ours} is still there");
        }
        ensure!(
            with_git || fs::metadata(&main)?.permissions().mode() & 0o777 == 0o664,
            "init/main.c has another mode"
        );

        let other =
            fs::read_to_string(&main)?.replace("static char *ramdisk", "static char * ramdisk");
        fs::write(&main, &other)?;
        let Err(e) = patch_tree(&tree) else {
            bail!("it can be applied to what it does not fit");
        };
        let said = format!("{e:#}");
        ensure!(
            said.contains(
                "init/main.c, hunk 1: there is no line `static char *ramdisk_execute_command"
            ),
            "a misfit is not explained: {said}"
        );
        fs::write(&main, text(&git, PRISTINE, "init/main.c")?)?;
        is_as_in(PRISTINE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::why;

    #[test]
    fn a_misfit_names_the_line() {
        let diff = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,3 @@\n one\n+new\n two\n\
                    @@ -9,2 +10,1 @@ fn\n three\n-four\n";
        assert_eq!(
            why(diff, "x", 1, "one\n\ntwo\n"),
            "its lines are there, but not one after the other"
        );
        assert_eq!(why(diff, "x", 2, "one\nthree\n"), "there is no line `four`");
    }
}
