// SPDX-License-Identifier: GPL-2.0

//! The patches of a base, put together from `patches/` and the new files in this repo.

use crate::{
    base::{git, Base, PRISTINE},
    cmd::output,
    files::{read, write},
    once::hash,
    paths,
};
use anyhow::{ensure, Context, Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What to say where nobody's name will do.
pub const NO_IDENTITY: &str =
    "git does not know who you are: run `git config --global user.name 'Your Name'` and \
     `git config --global user.email you@example.org`";

/// A name and a mail address.
#[derive(Clone, Hash)]
pub struct Identity(pub String, pub String);

impl Identity {
    /// That which git knows, in this folder, of whoever runs this.
    pub fn of(dir: &Path) -> Option<Self> {
        let value = |key| {
            let value = output(git(dir).args(["config", key])).ok()?;
            Some(value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        Some(Self(value("user.name")?, value("user.email")?))
    }

    /// That of commits that only this machine sees.
    pub fn nobody() -> Self {
        Self("initramfs-mount".into(), "initramfs-mount@localhost".into())
    }
}

/// One patch: what changes in files that the base has, and whole new files.
pub struct Patch {
    pub message: String,
    /// Where the diff is that is not made of new files.
    file: PathBuf,
    diff: String,
    /// Names of the new files.
    pub new: Vec<String>,
}

impl Patch {
    /// Reads the series of a base.
    ///
    /// `patches/<base>/series` lists the names. For each there is a message in `patches/`, the same
    /// for all bases, which ends in a list of the new files. The diff, if it takes one, is beside the
    /// list, or in `patches/common/` where it is the same for all bases. A new file that is brought in
    /// two parts is in both lists, in the first as `file, before line`.
    pub fn series(base: &Base) -> Result<Vec<Self>> {
        let patches = paths::top().join("patches");
        let list = read(&base.patches().join("series"))?;
        let names = list.lines().map(str::trim);
        let names = names.filter(|name| !name.is_empty() && !name.starts_with('#'));
        let mut brought = BTreeMap::new();
        names
            .map(|name| {
                let text = read(&patches.join(format!("{name}.msg")))?;
                let (files, message): (Vec<&str>, Vec<&str>) =
                    text.lines().partition(|line| line.starts_with("New-file: "));
                let [own, common] = [base.patches(), patches.join("common")]
                    .map(|dir| dir.join(format!("{name}.diff")));
                let file = if own.is_file() || !common.is_file() { own } else { common };
                let mut patch = Self {
                    message: format!("{}\n", message.join("\n").trim_end()),
                    diff: if file.is_file() { read(&file)? } else { String::new() },
                    file,
                    new: Vec::new(),
                };
                for line in files {
                    patch.bring(line["New-file: ".len()..].trim(), &mut brought)?;
                }
                Ok(patch)
            })
            .collect()
    }

    /// Adds what a line says of a new file, `brought` being what earlier patches have brought.
    fn bring(&mut self, line: &str, brought: &mut BTreeMap<String, String>) -> Result<()> {
        let (name, before) = line.split_once(", before ").unwrap_or((line, ""));
        let all = read(&paths::top().join(name))?;
        let text = if before.is_empty() {
            all
        } else {
            let parts = all.split_once(&format!("\n{before}\n"));
            let (part, _) = parts.with_context(|| format!("{name} has no line `{before}`"))?;
            ensure!(part.ends_with('\n'), "there is no empty line before `{before}` in {name}");
            part.to_owned()
        };
        let old = brought.insert(name.to_owned(), text.clone()).unwrap_or_default();
        self.diff += &growth(name, &old, &text)?;
        self.new.push(name.to_owned());
        Ok(())
    }

    /// The first line of the commit message.
    pub fn subject(&self) -> &str {
        self.message.lines().next().unwrap_or_default()
    }

    /// The files that it makes or changes.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.diff.lines().filter_map(|line| line.strip_prefix("+++ b/"))
    }

    /// The diff, with the one who looks after what it brings.
    pub fn diff(&self, who: &Identity) -> String {
        self.diff.replace("@MAINTAINER@", &format!("{} <{}>", who.0, who.1))
    }

    /// Returns it as a mail that `git am` and `git apply` take.
    pub fn mail(&self, who: &Identity) -> String {
        let Identity(name, address) = who;
        let (subject, body) = self.message.split_once('\n').unwrap_or_default();
        format!(
            "From: {name} <{address}>\nSubject: [PATCH] {subject}\n\
             Content-Type: text/plain; charset=UTF-8\n\n{}\n---\n{}-- \n",
            body.trim(),
            self.diff(who)
        )
    }
}

/// A diff that makes a file, or adds to its end.
fn growth(name: &str, old: &str, new: &str) -> Result<String> {
    let added =
        new.strip_prefix(old).with_context(|| format!("an earlier patch brings another {name}"))?;
    let added: Vec<_> = added.lines().map(|line| format!("+{line}\n")).collect();
    let lines: Vec<_> = old.lines().collect();
    let (header, context) = if old.is_empty() {
        ("new file mode 100644\n--- /dev/null".to_owned(), &lines[..])
    } else {
        (format!("--- a/{name}"), &lines[lines.len().saturating_sub(3)..])
    };
    let kept: String = context.iter().map(|line| format!(" {line}\n")).collect();
    let first = if old.is_empty() { 0 } else { lines.len() - context.len() + 1 };
    Ok(format!(
        "diff --git a/{name} b/{name}\n{header}\n+++ b/{name}\n@@ -{first},{} +{},{} @@\n{kept}{}",
        context.len(),
        first.max(1),
        context.len() + added.len(),
        added.concat()
    ))
}

/// Makes commits of a series on top of the pristine sources of a base, without touching any file.
/// Returns the last. With `trailers`, be there any or none, they are of today; without, the same each time.
pub fn commit(
    base: &Base,
    series: &[Patch],
    who: &Identity,
    trailers: Option<&[String]>,
) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let git = |args: &[&str]| {
        let mut git = git(&base.sources);
        git.env("GIT_INDEX_FILE", dir.path().join("index"));
        for role in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{role}_NAME"), &who.0);
            git.env(format!("GIT_{role}_EMAIL"), &who.1);
            if trailers.is_none() {
                // The same patches give the same commits.
                git.env(format!("GIT_{role}_DATE"), "2026-01-01T00:00:00Z");
            }
        }
        output(git.args(args)).map(|said| said.trim().to_owned())
    };
    let mut parent = git(&["rev-parse", PRISTINE])?;
    git(&["read-tree", &parent])?;
    for patch in series {
        let path = dir.path().join("patch");
        fs::write(&path, patch.diff(who))?;
        let path = path.to_string_lossy();
        git(&["apply", "--cached", "--whitespace=nowarn", &path])
            .with_context(|| format!("{} does not apply to {}", patch.file.display(), base.name))?;
        let tree = git(&["write-tree"])?;
        let message = dir.path().join("message");
        fs::write(&message, &patch.message)?;
        let message = message.to_string_lossy();
        for trailer in trailers.unwrap_or_default() {
            let trailer = format!("--trailer={trailer}");
            git(&["interpret-trailers", "--in-place", "--if-exists=add", &trailer, &message])?;
        }
        parent = git(&["commit-tree", &tree, "-p", &parent, "-F", &message])?;
    }
    ensure!(!series.is_empty(), "there are no patches for {}", base.name);
    Ok(parent)
}

/// Returns the last of the commits of a series, which are made, in some seconds, unless there are just these
/// already.
pub fn made(base: &Base, series: &[Patch], who: &Identity) -> Result<String> {
    let pristine = base.git(&["rev-parse", PRISTINE])?;
    let patches: Vec<_> = series.iter().map(|patch| (&patch.message, patch.diff(who))).collect();
    let made = format!("refs/initramfs-mount/{:016x}", hash((pristine, who, patches)));
    if let Ok(commit) = base.git(&["rev-parse", "-q", "--verify", &format!("{made}^{{commit}}")]) {
        return Ok(commit.trim().to_owned());
    }
    let commit = commit(base, series, who, None)?;
    // Without it, they are made again.
    let _ = base.git(&["update-ref", &made, &commit]);
    Ok(commit)
}

/// What files of this repo would be if they brought the commits of the series as somebody has changed them in
/// the sources of a base: the diffs, and the new files. Those that are so already are left out.
///
/// # Errors
///
/// If the commits are not those of the series, or there is something that would be lost.
pub fn changed(base: &Base) -> Result<Vec<(PathBuf, String)>> {
    let series = Patch::series(base)?;
    let dir = base.sources.display();
    let commits = base.git(&["rev-list", "--reverse", &format!("{PRISTINE}..HEAD")])?;
    let count = commits.lines().count();
    ensure!(
        count == series.len(),
        "{dir} has {count} commits, and the series {} patches: change patches/{}/series first",
        series.len(),
        base.name
    );
    let dirty = base.uncommitted()?;
    ensure!(dirty.is_empty(), "{dir} has changes that are in no commit:\n{}", dirty.trim_end());
    let new: BTreeSet<_> = series.iter().flat_map(|patch| &patch.new).collect();
    let but: Vec<_> = new.iter().map(|name| format!(":(exclude){name}")).collect();
    let mut changed = Vec::new();
    for (patch, commit) in series.iter().zip(commits.lines()) {
        let message = base.git(&["log", "-1", "--format=%B", commit])?;
        ensure!(
            message.trim() == patch.message.trim(),
            "commit {commit:.12} in {dir} has another message than \"{}\": change that in patches/*.msg",
            patch.subject()
        );
        // Not `git diff`, which does as its user likes.
        let mut diff = vec!["diff-tree", "-p", "--no-commit-id", commit, "--", "."];
        diff.extend(but.iter().map(String::as_str));
        let diff = base.git(&diff)?;
        let lines = diff.lines().filter(|line| !line.starts_with("index "));
        let diff: String = lines.map(|line| format!("{line}\n")).collect();
        let who = base.git(&["log", "-1", "--format=%an <%ae>", commit])?;
        let diff = diff.replace(who.trim(), "@MAINTAINER@");
        let old = if patch.file.is_file() { read(&patch.file)? } else { String::new() };
        // On another base, a diff may have its places elsewhere.
        let is_place = |line: &&str| line.starts_with("@@ ");
        let [before, after] = [&old, &diff].map(|diff| diff.lines().filter(|line| !is_place(line)));
        if !before.eq(after) {
            changed.push((patch.file.clone(), diff));
        }
    }
    for name in new {
        let (file, text) = (paths::top().join(name), base.git(&["show", &format!("HEAD:{name}")])?);
        if read(&file)? != text {
            changed.push((file, text));
        }
    }
    Ok(changed)
}

/// Brings commits of the series that somebody has changed in the sources of a base back into this repo.
///
/// # Errors
///
/// Those of [`changed`], or if there is something that would be lost here or there.
pub fn refresh(base: &Base) -> Result<()> {
    ensure!(!base.own, "KDIR= has no series of ours: use BASE=");
    base.lock()?;
    let (dir, name) = (base.sources.display(), &base.name);
    let is_there = base.sources.join(".git").is_dir();
    ensure!(is_there, "{dir} is not there yet: run `make tree BASE={name}`");
    let who = Identity::of(&paths::top()).unwrap_or_else(Identity::nobody);
    let trees = |head: &str| {
        base.git(&["log", "--reverse", "--format=%T %s", &format!("{PRISTINE}..{head}")])
    };
    let of_repo = || trees(&made(base, &Patch::series(base)?, &who)?);
    ensure!(
        of_repo()? == trees("series")?,
        "patches/ or new files have changed since {dir} was made of them: undo that, or what you have changed there"
    );
    let changed = changed(base)?;
    for (file, text) in &changed {
        let common =
            if file.starts_with(base.patches()) { "" } else { ", which other bases have, too" };
        println!("{}{common}", file.display());
        write(file, text)?;
    }
    if changed.is_empty() {
        println!("Nothing in {dir} is another than here.");
    }
    let (here, there) = (of_repo()?, trees("HEAD")?);
    let other = here.lines().zip(there.lines()).find(|(here, there)| here != there);
    ensure!(
        other.is_none(),
        "{dir} still differs, in {:?}: a new file is here in one piece, and a hunk that has moved is none that \
         has changed",
        other.map(|(_, there)| there)
    );
    base.git(&["branch", "-q", "-f", "series", "HEAD"]).map(drop)
}
