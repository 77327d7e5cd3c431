// SPDX-License-Identifier: GPL-2.0

//! Kernel sources from Debian's packages, and on top of them, as commits, what is in this repo.

use crate::{
    base::{kernel_version, Base, Release},
    cmd::{output, program, watch, Progress},
    deps, paths,
};
use anyhow::{bail, ensure, Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The branch with the sources as they came.
pub const PRISTINE: &str = "pristine";

/// One patch of a series: hooks for the files that a release has, and whole new files.
pub struct Patch {
    pub message: String,
    pub diff: Option<PathBuf>,
    pub files: Vec<NewFile>,
}

/// A new file that a patch brings.
pub struct NewFile {
    pub name: String,
    /// The line before which it ends, until a later patch brings the rest of it.
    before: Option<String>,
}

impl NewFile {
    fn parse(line: &str) -> Self {
        let (name, before) = match line.split_once(", before ") {
            Some((name, before)) => (name, Some(before.to_owned())),
            None => (line, None),
        };
        Self {
            name: name.to_owned(),
            before,
        }
    }

    /// Returns what of it the patch brings.
    fn text(&self) -> Result<String> {
        let name = &self.name;
        let all = fs::read_to_string(paths::top().join(name))
            .with_context(|| format!("can't add the new file {name}"))?;
        let Some(before) = &self.before else {
            return Ok(all);
        };
        let (part, _) = all
            .split_once(&format!("\n{before}\n"))
            .with_context(|| format!("{name} has no line `{before}`"))?;
        Ok(part.to_owned())
    }
}

impl Patch {
    /// Reads the series of a release.
    ///
    /// `patches/<release>/series` lists the names. For each there is a message in `patches/`, the
    /// same for all releases, which ends in a list of the new files. The diff, if it takes one, is
    /// beside the list, or in `patches/common/` where it is the same for all releases. A new file
    /// that is brought in two parts is in both lists, in the first as `file, before line`.
    pub fn series(release: Release) -> Result<Vec<Self>> {
        let dir = release.patches();
        let list = dir.join("series");
        let names = fs::read_to_string(&list)
            .with_context(|| format!("can't read the series in {}", list.display()))?;
        names
            .lines()
            .map(str::trim)
            .filter(|name| !name.is_empty() && !name.starts_with('#'))
            .map(|name| {
                let path = paths::top().join(format!("patches/{name}.msg"));
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("can't read the message {}", path.display()))?;
                let (files, message): (Vec<&str>, Vec<&str>) = text
                    .lines()
                    .partition(|line| line.starts_with("New-file: "));
                let diff = format!("{name}.diff");
                let diffs = [
                    dir.join(&diff),
                    paths::top().join("patches/common").join(diff),
                ];
                Ok(Self {
                    message: format!("{}\n", message.join("\n").trim_end()),
                    diff: diffs.into_iter().find(|diff| diff.is_file()),
                    files: files
                        .iter()
                        .map(|line| NewFile::parse(line["New-file: ".len()..].trim()))
                        .collect(),
                })
            })
            .collect()
    }
}

/// Makes the patched tree of a base, or brings it up to date. Files that are as they should be keep
/// their times, so that make builds only what has changed.
pub fn prepare(base: &Base) -> Result<()> {
    let Some(release) = base.release else {
        println!(
            "Sources: {} ({}), as they are",
            base.sources.display(),
            base.name
        );
        return Ok(());
    };
    fetch(release, &base.sources, &base.log("fetch.log"))?;

    let git = Git(&base.sources);
    let dirty = git.run(&["status", "--porcelain", "--untracked-files=no"])?;
    ensure!(
        dirty.is_empty(),
        "{} has changes that would be lost; bring them into this repo and undo them there:\n{}",
        base.sources.display(),
        dirty.trim_end()
    );
    let identity = identity(&paths::top()).unwrap_or_else(nobody);
    let commit = git.commit_series(&Patch::series(release)?, &identity, None)?;
    if git.run(&["rev-parse", "HEAD"])?.trim() != commit {
        git.run(&["reset", "-q", "--hard", &commit])?;
        println!(
            "Patches on {}: {}",
            kernel_version(&base.sources)?,
            git.run(&[
                "log",
                "--format=%n  %s",
                &format!("{PRISTINE}..HEAD"),
                "--reverse"
            ])?
            .replace("\n\n", "\n")
            .trim_end()
        );
    }
    Ok(())
}

/// The name and mail address that git knows, in this folder, of whoever runs this.
pub fn identity(dir: &Path) -> Option<(String, String)> {
    let value = |key| {
        let value = Git(dir).run(&["config", key]).ok()?;
        Some(value.trim().to_owned()).filter(|value| !value.is_empty())
    };
    Some((value("user.name")?, value("user.email")?))
}

/// What to say where nobody's name will do.
pub const NO_IDENTITY: &str =
    "git does not know who you are: run `git config --global user.name 'Your Name'` and \
     `git config --global user.email you@example.org`";

/// The name of commits that only this machine sees.
pub fn nobody() -> (String, String) {
    ("initramfs-mount".into(), "initramfs-mount@localhost".into())
}

/// A diff with the one who looks after what it brings, where it asks for that.
pub fn signed(diff: &Path, maintainer: &str) -> Result<tempfile::NamedTempFile> {
    let text =
        fs::read_to_string(diff).with_context(|| format!("can't read {}", diff.display()))?;
    let signed = tempfile::NamedTempFile::new()?;
    fs::write(signed.path(), text.replace("@MAINTAINER@", maintainer))?;
    Ok(signed)
}

/// A git repository with kernel sources in it.
pub struct Git<'a>(pub &'a Path);

impl Git<'_> {
    pub fn command(&self) -> Command {
        let mut git = Command::new("git");
        git.arg("-C")
            .arg(self.0)
            // The sources are whose they are.
            .args([
                "-c",
                "safe.directory=*",
                "-c",
                "gc.auto=0",
                "-c",
                "core.autocrlf=false",
            ])
            .env_remove("GIT_DIR")
            .env_remove("GIT_INDEX_FILE");
        git
    }

    pub fn run(&self, args: &[&str]) -> Result<String> {
        output(self.command().args(args))
    }

    /// Makes commits of a series on top of the pristine sources, without touching any file.
    /// Returns the last. With `trailers`, be there any or none, they are of today.
    pub fn commit_series(
        &self,
        series: &[Patch],
        (name, email): &(String, String),
        trailers: Option<&[String]>,
    ) -> Result<String> {
        let index = tempfile::NamedTempFile::new()?;
        let git = |args: &[&str]| {
            let mut git = self.command();
            git.env("GIT_INDEX_FILE", index.path())
                .env("GIT_AUTHOR_NAME", name)
                .env("GIT_AUTHOR_EMAIL", email)
                .env("GIT_COMMITTER_NAME", name)
                .env("GIT_COMMITTER_EMAIL", email);
            if trailers.is_none() {
                // The same patches give the same commits.
                git.env("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z")
                    .env("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z");
            }
            output(git.args(args))
        };
        let mut parent = git(&["rev-parse", PRISTINE])?.trim().to_owned();
        git(&["read-tree", &parent])?;
        for patch in series {
            if let Some(diff) = &patch.diff {
                let signed = signed(diff, &format!("{name} <{email}>"))?;
                git(&[
                    "apply",
                    "--cached",
                    "--whitespace=nowarn",
                    &signed.path().to_string_lossy(),
                ])
                .with_context(|| {
                    format!("{} does not apply to {}", diff.display(), self.0.display())
                })?;
            }
            for file in &patch.files {
                let text = tempfile::NamedTempFile::new()?;
                fs::write(text.path(), file.text()?)?;
                let blob = git(&["hash-object", "-w", &text.path().to_string_lossy()])?;
                git(&[
                    "update-index",
                    "--add",
                    "--cacheinfo",
                    &format!("100644,{},{}", blob.trim(), file.name),
                ])?;
            }
            let tree = git(&["write-tree"])?;
            let mut message = patch.message.clone();
            for trailer in trailers.unwrap_or_default() {
                message = add_trailer(&message, trailer);
            }
            parent = git(&[
                "commit-tree",
                tree.trim(),
                "-p",
                &parent,
                "-m",
                message.trim_end(),
            ])?
            .trim()
            .to_owned();
        }
        Ok(parent)
    }
}

/// Returns a message with one more line in its last paragraph, if that is one of trailers, and
/// otherwise in a new one.
fn add_trailer(message: &str, trailer: &str) -> String {
    let message = message.trim_end();
    let last = message.rsplit("\n\n").next().unwrap_or_default();
    let is_trailer = |line: &str| {
        line.split_once(": ")
            .is_some_and(|(name, _)| name.chars().all(|c| c.is_alphanumeric() || c == '-'))
    };
    let gap = if message.contains("\n\n") && last.lines().all(is_trailer) {
        "\n"
    } else {
        "\n\n"
    };
    format!("{message}{gap}{trailer}\n")
}

/// What the sources and one kernel of a base take, in MiB.
const SPACE_MIB: u64 = 3000;

/// Makes sure that there is room for the sources and a kernel.
fn has_space(dir: &Path) -> Result<()> {
    let free = fs4::available_space(dir)
        .with_context(|| format!("can't tell how much room is in {}", dir.display()))?
        >> 20;
    ensure!(
        free >= SPACE_MIB,
        "{} has room for {free} MiB, and the sources and a kernel take {SPACE_MIB}: make room, \
         or clone this repo to where there is some",
        dir.display()
    );
    Ok(())
}

/// Gets the sources of a release as a git repository, unless they are there.
fn fetch(release: Release, sources: &Path, log: &Path) -> Result<()> {
    let git = Git(sources);
    if sources.join(".git").is_dir() && git.run(&["rev-parse", "-q", "--verify", PRISTINE]).is_ok()
    {
        return Ok(());
    }
    has_space(&paths::top())?;
    let tarball = tarball(release, log)?;
    if sources.exists() {
        fs::remove_dir_all(sources)
            .with_context(|| format!("can't remove the half-made {}", sources.display()))?;
    }
    fs::create_dir_all(sources).with_context(|| format!("can't make {}", sources.display()))?;
    watch(
        &format!("unpacking {}", release.package()),
        log,
        Command::new("tar")
            .arg("-C")
            .arg(sources)
            .args(["--strip-components=1", "--no-same-owner", "-xf"])
            .arg(&tarball),
    )?;
    let progress = Progress::new("making a git repository of the sources");
    let done = import(&git, &kernel_version(sources)?);
    progress.done(done.is_ok());
    done
}

fn import(git: &Git<'_>, version: &str) -> Result<()> {
    git.run(&["init", "-q", "-b", "master"])?;
    // Debian's .gitignore leaves out everything; the rest of it keeps what is built out of sight.
    git.run(&["-c", "core.looseCompression=1", "add", "-A", "-f"])?;
    output(
        git.command()
            .args([
                "-c",
                "user.name=Debian",
                "-c",
                "user.email=debian-kernel@lists.debian.org",
            ])
            .env("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z")
            .env("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")
            .args([
                "commit",
                "-q",
                "-m",
                &format!("Linux {version}, as Debian has it"),
            ]),
    )?;
    git.run(&["branch", PRISTINE])?;
    Ok(())
}

/// Returns the tarball in Debian's package of a release, which is downloaded if need be.
fn tarball(release: Release, log: &Path) -> Result<PathBuf> {
    let package = release.package();
    let installed = PathBuf::from(format!("/usr/src/{package}.tar.xz"));
    if installed.is_file() {
        return Ok(installed);
    }
    let dir = paths::cache().join("sources").join(release.name());
    let tarball = dir.join(format!("usr/src/{package}.tar.xz"));
    if tarball.is_file() {
        return Ok(tarball);
    }
    fs::create_dir_all(&dir).with_context(|| format!("can't make {}", dir.display()))?;
    let deb = download(&package, &dir, log)?;
    watch(
        &format!("unpacking {}", deb.display()),
        log,
        Command::new(program("dpkg-deb", "dpkg")?)
            .arg("-x")
            .arg(&deb)
            .arg(&dir),
    )?;
    fs::remove_file(&deb)?;
    ensure!(
        tarball.is_file(),
        "the package {package} has no {}: is it another one by now?",
        tarball.display()
    );
    Ok(tarball)
}

/// Downloads a package, with apt folders of our own so that the system's stay as they are. What the
/// system's suites don't have is looked for in trixie-backports, at the same mirror.
fn download(package: &str, dir: &Path, log: &Path) -> Result<PathBuf> {
    let root = dir.join("apt");
    for sub in ["lists/partial", "archives/partial"] {
        fs::create_dir_all(root.join(sub))?;
    }
    let own = root.join("own.sources");
    fs::write(&own, debian_sources(&["trixie-backports"])?)
        .with_context(|| format!("can't write {}", own.display()))?;
    let apt = |args: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.current_dir(dir)
            .arg(format!("-oDir::Etc::SourceList={}", own.display()))
            .args([
                "-oDir::Etc::SourceParts=-",
                "-oDir::Etc::PreferencesParts=-",
            ])
            .arg(format!(
                "-oDir::State::Lists={}",
                root.join("lists").display()
            ))
            .arg(format!("-oDir::Cache={}", root.display()))
            .args(["-oAPT::Sandbox::User=", "-oAcquire::Languages=none", "-q"])
            .args(args);
        apt
    };
    // It goes on without a list that it can't have, otherwise.
    let update = ["update", "-oAPT::Update::Error-Mode=any"];
    watch("reading the package lists", log, &mut apt(&update)).context(
        "the package lists could not be fetched: is there a network, and the Debian mirror that \
         this machine's apt sources name?",
    )?;
    watch(
        &format!("downloading {package}"),
        log,
        &mut apt(&["download", package]),
    )
    .with_context(|| format!("no suite of this machine's Debian mirror has {package}"))?;
    let deb = fs::read_dir(dir)?
        .flatten()
        .map(|file| file.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    deb.with_context(|| format!("apt-get download left no package in {}", dir.display()))
}

/// Returns sources for apt: the suites of Debian that the system has, and `more`.
pub fn debian_sources(more: &[&str]) -> Result<String> {
    let targets = output(Command::new("apt-get").args([
        "indextargets",
        "--no-release-info",
        "--format",
        "$(REPO_URI)\t$(RELEASE)",
        "Created-By: Packages",
        "Component: main",
    ]))
    .context("can't tell where this machine has its packages from")?;
    let mut suites: Vec<(String, String)> = targets
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(uri, suite)| (uri.to_owned(), suite.to_owned()))
        .filter(|(uri, _)| uri.contains("debian"))
        .collect();
    suites.sort();
    suites.dedup();
    let codename = deps::debian_codename();
    let Some((mirror, _)) = suites.iter().find(|(_, suite)| *suite == codename) else {
        bail!("apt has no mirror of Debian {codename}: put one into /etc/apt/sources.list.d");
    };
    let mirror = mirror.clone();
    suites.extend(
        more.iter()
            .map(|suite| (mirror.clone(), (*suite).to_owned())),
    );
    suites.sort();
    suites.dedup();
    Ok(suites
        .iter()
        .map(|(uri, suite)| {
            format!(
                "Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\n\
                 Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
            )
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::add_trailer;

    #[test]
    fn trailers_are_together() {
        let with = |message: &str| add_trailer(message, "Acked-by: A");
        assert_eq!(with("a: b"), "a: b\n\nAcked-by: A\n");
        assert_eq!(with("a\n\nb\n"), "a\n\nb\n\nAcked-by: A\n");
        let fixes = "a\n\nFixes: 12 (\"b: c\")\nCc: d\n";
        assert_eq!(with(fixes), format!("{fixes}Acked-by: A\n"));
    }
}
