// SPDX-License-Identifier: GPL-2.0

//! Debian packages, from the mirror that this machine's apt uses.

use crate::{
    cmd::{make_dir, output, program, read, watch, which, write},
    paths,
};
use anyhow::{ensure, Context, Result};
use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

const NO_NETWORK: &str =
    "is there a network, and the Debian mirror that this machine's apt sources name?";

/// Returns the code name of this Debian, for instance `bookworm`.
pub fn codename() -> String {
    read(Path::new("/etc/os-release"))
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .unwrap_or_default()
        .to_owned()
}

pub fn is_installed(package: &str) -> bool {
    output(Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}", package]))
        .is_ok_and(|status| status == "installed")
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes sure that packages can be installed, for which sudo may ask for a password.
///
/// # Errors
///
/// If this takes root and there is no sudo.
pub fn may_install(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    let how = format!("only root can install what is missing: apt-get install {names}");
    ensure!(is_root() || which("sudo").is_some(), "{how}");
    if !is_root() {
        let status = Command::new("sudo").arg("-v").status()?;
        ensure!(status.success(), "{how}");
    }
    Ok(())
}

/// Installs packages.
pub fn install(packages: &[&str]) -> Result<()> {
    let log = paths::cache().join("apt.log");
    let command = |words: &[&str]| {
        let sudo: &[&str] = if is_root() { &[] } else { &["sudo"] };
        let mut words = [sudo, &["env", "DEBIAN_FRONTEND=noninteractive"], words].concat();
        let mut command = Command::new(words.remove(0));
        command.args(words);
        command
    };
    // Another run may have been stopped in the middle.
    output(&mut command(&["dpkg", "--configure", "-a"]))?;
    watch("apt-get update", &log, &mut command(&["apt-get", "update"])).context(NO_NETWORK)?;
    let install = ["apt-get", "install", "-y", "--no-install-recommends"];
    watch("apt-get install", &log, command(&install).args(packages))
        .with_context(|| format!("packages could not be installed: {NO_NETWORK}"))
}

/// An apt with folders of its own in `dir`, so that the system's stay as they are.
struct Apt<'a> {
    dir: &'a Path,
    /// As apt reads them.
    sources: String,
    log: &'a Path,
    /// Debian's name of the architecture, unless it is this machine's.
    arch: Option<&'a str>,
}

impl Apt<'_> {
    /// Reads the package lists.
    fn update(&self) -> Result<()> {
        let root = self.dir.join("apt");
        for sub in ["lists/partial", "archives/partial"] {
            make_dir(&root.join(sub))?;
        }
        write(&root.join("own.sources"), &self.sources)?;
        // Nothing is installed there.
        write(&root.join("status"), "")?;
        // It goes on without a list that it can't have, otherwise.
        let update = ["update", "-oAPT::Update::Error-Mode=any"];
        watch("reading the package lists", self.log, &mut self.command(&update))
            .context(format!("the package lists could not be fetched: {NO_NETWORK}"))
    }

    fn command(&self, args: &[&str]) -> Command {
        let root = self.dir.join("apt");
        let mut apt = Command::new("apt-get");
        apt.current_dir(self.dir)
            .arg(format!("-oDir::Etc::SourceList={}", root.join("own.sources").display()))
            .args(["-oDir::Etc::SourceParts=-", "-oDir::Etc::PreferencesParts=-"])
            .arg(format!("-oDir::State::Lists={}", root.join("lists").display()))
            .arg(format!("-oDir::Cache={}", root.display()))
            .args(["-oAPT::Sandbox::User=", "-oAcquire::Languages=none", "-q"]);
        if let Some(arch) = self.arch {
            apt.arg(format!("-oDir::State::status={}", root.join("status").display()))
                .arg(format!("-oAPT::Architecture={arch}"))
                .arg(format!("-oAPT::Architectures={arch}"));
        }
        apt.args(args);
        apt
    }
}

/// Downloads a package. What the system's suites don't have is looked for in trixie-backports.
///
/// # Errors
///
/// If there is no network, or no such package.
pub fn download(package: &str, dir: &Path, log: &Path) -> Result<PathBuf> {
    let apt = Apt { dir, sources: sources(&["trixie-backports"])?, log, arch: None };
    make_dir(dir)?;
    debs(dir)?.iter().try_for_each(fs::remove_file)?;
    apt.update()?;
    watch(&format!("downloading {package}"), log, &mut apt.command(&["download", package]))
        .with_context(|| format!("no suite of this machine's Debian mirror has {package}"))?;
    let missing = || format!("apt-get download left no package in {}", dir.display());
    debs(dir)?.pop().with_context(missing)
}

fn debs(dir: &Path) -> Result<Vec<PathBuf>> {
    let files = dir.read_dir()?.flatten().map(|file| file.path());
    Ok(files.filter(|path| path.extension().is_some_and(|e| e == "deb")).collect())
}

/// Unpacks packages of another architecture into a folder of the cache, with what they depend on, and
/// returns the folder. They are those of Debian 13, which has all architectures.
///
/// # Errors
///
/// If there is no network, or no such package.
pub fn unpack(arch: &str, packages: &[&str]) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    packages.hash(&mut hasher);
    let foreign = paths::cache().join("foreign");
    let done = foreign.join(format!("{arch}-{:016x}", hasher.finish()));
    if done.is_dir() {
        return Ok(done);
    }
    make_dir(&foreign)?;
    let dir = tempfile::tempdir_in(&foreign).context("can't make a folder for programs")?;
    let dir = dir.path();
    let root = dir.join("root");
    make_dir(&root.join("usr"))?;
    // As Debian 13 has them.
    for name in ["bin", "sbin", "lib"] {
        make_dir(&root.join("usr").join(name))?;
        std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name))?;
    }
    let log = foreign.join(format!("{arch}.log"));
    let apt = Apt { dir, sources: sources_of(&["trixie"])?, log: &log, arch: Some(arch) };
    apt.update()?;
    let mut install = apt.command(&["install", "-y", "--no-install-recommends", "--download-only"]);
    watch(&format!("downloading programs for {arch}"), &log, install.args(packages)).with_context(
        || format!("there are no {} for {arch}: {NO_NETWORK}", packages.join(", ")),
    )?;
    for deb in debs(&dir.join("apt/archives"))? {
        output(Command::new(program("dpkg-deb", "dpkg")?).arg("-x").arg(&deb).arg(&root))?;
    }
    // Another make may have been faster.
    if fs::rename(&root, &done).is_err() {
        ensure!(done.is_dir(), "can't make {}", done.display());
    }
    Ok(done)
}

/// Returns sources for apt: the suites of Debian that the system has, and `more` from the same mirror.
pub fn sources(more: &[&str]) -> Result<String> {
    let mut suites = suites()?;
    let mirror = mirror(&suites)?;
    suites.extend(more.iter().map(|suite| (mirror.clone(), (*suite).to_owned())));
    suites.sort_unstable();
    suites.dedup();
    Ok(suites.iter().map(source).collect())
}

/// Returns sources for apt: these suites alone, from the mirror that the system uses.
fn sources_of(suites: &[&str]) -> Result<String> {
    let mirror = mirror(&self::suites()?)?;
    Ok(suites.iter().map(|suite| source(&(mirror.clone(), (*suite).to_owned()))).collect())
}

/// The suites of Debian that the system has, each with where it is.
fn suites() -> Result<Vec<(String, String)>> {
    let targets = output(Command::new(program("apt-get", "apt")?).args([
        "indextargets",
        "--no-release-info",
        "--format",
        "$(REPO_URI)\t$(RELEASE)",
        "Created-By: Packages",
        "Component: main",
    ]))
    .context("can't tell where this machine has its packages from")?;
    let suites = targets.lines().filter_map(|line| line.split_once('\t'));
    let suites = suites.filter(|(uri, _)| uri.contains("debian"));
    Ok(suites.map(|(uri, suite)| (uri.to_owned(), suite.to_owned())).collect())
}

/// The mirror that this Debian comes from.
fn mirror(suites: &[(String, String)]) -> Result<String> {
    let codename = codename();
    let mirror = suites.iter().find(|(_, suite)| *suite == codename);
    let (mirror, _) = mirror.with_context(|| {
        format!("apt has no mirror of Debian {codename}: put one into /etc/apt/sources.list.d")
    })?;
    Ok(mirror.clone())
}

fn source((uri, suite): &(String, String)) -> String {
    format!(
        "Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\n\
         Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
    )
}
