// SPDX-License-Identifier: GPL-2.0

//! Debian packages, from the mirror that this machine's apt uses.

use crate::{
    cmd::{output, program, watch, which},
    files::{files, make_dir, read, write, write_script},
    once::{cached, hash},
    paths,
};
use anyhow::{ensure, Context, Result};
use std::{
    fs,
    os::unix::fs::symlink,
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
    watch("apt-get update", &log, &mut command(&["apt-get", "update"]))
        .context(format!("the package lists could not be fetched: {NO_NETWORK}"))?;
    let install = ["apt-get", "install", "-y", "--no-install-recommends"];
    watch("apt-get install", &log, command(&install).args(packages))
        .with_context(|| format!("packages could not be installed: {NO_NETWORK}"))
}

/// Returns a folder of the cache with the files of a package, without those that it depends on.
///
/// # Errors
///
/// If there is no network, or no such package.
pub fn unpacked_alone(package: &str, log: &Path) -> Result<PathBuf> {
    let done = paths::cache().join("packages").join(package);
    cached(&done, |new| {
        let dir = new.with_file_name("download");
        apt_get("deb", &["download"], package, &dir, log)?;
        let deb = debs(&dir)?.pop();
        let deb = deb.with_context(|| format!("apt-get download has left no {package}"))?;
        let mut dpkg = Command::new(program("dpkg-deb", "dpkg")?);
        watch(&format!("unpacking {package}"), log, dpkg.arg("-x").arg(deb).arg(new))
    })?;
    Ok(done)
}

/// Has apt-get fetch a package, with apt folders of our own so that the system's stay as they are. What the
/// system's suites don't have is looked for in trixie-backports, at the same mirror.
pub fn apt_get(kind: &str, words: &[&str], package: &str, dir: &Path, log: &Path) -> Result<()> {
    let root = dir.join("apt");
    for sub in ["lists/partial", "archives/partial"] {
        make_dir(&root.join(sub))?;
    }
    let own = root.join("own.sources");
    write(&own, sources(&["trixie-backports"])?.replace("Types: deb", &format!("Types: {kind}")))?;
    let apt = |args: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.current_dir(dir)
            .arg(format!("-oDir::Etc::SourceList={}", own.display()))
            .args(["-oDir::Etc::SourceParts=-", "-oDir::Etc::PreferencesParts=-"])
            .arg(format!("-oDir::State::Lists={}", root.join("lists").display()))
            .arg(format!("-oDir::Cache={}", root.display()))
            .args(["-oAPT::Sandbox::User=", "-oAcquire::Languages=none", "-q"])
            .args(args);
        apt
    };
    // It goes on without a list that it can't have, otherwise.
    let update = ["update", "-oAPT::Update::Error-Mode=any"];
    watch("reading the package lists", log, &mut apt(&update))
        .context(format!("the package lists could not be fetched: {NO_NETWORK}"))?;
    watch(&format!("downloading {package}"), log, apt(words).arg(package))
        .with_context(|| format!("{package} can't be had from this machine's Debian mirror"))
}

/// The code name of Debian 13.
pub const TRIXIE: &str = "trixie";

/// Unpacks packages of a release of Debian and what they depend on into a folder of the cache, which it
/// returns. None is configured. This machine's Debian may have neither the architecture nor the versions.
pub fn unpacked(suite: &str, arch: &str, packages: &[&str]) -> Result<PathBuf> {
    let name = format!("{suite}-{arch}-{:016x}", hash(packages));
    let done = paths::cache().join("foreign").join(name);
    cached(&done, |root| unpack_with_dependencies(suite, arch, packages, root))?;
    Ok(done)
}

fn unpack_with_dependencies(suite: &str, arch: &str, packages: &[&str], root: &Path) -> Result<()> {
    let [own, tarball] = ["own.sources", "root.tar"].map(|name| root.with_file_name(name));
    // This machine's own suites may have newer packages.
    let all = sources(&[suite])?;
    let wanted = format!("Suites: {suite}\n");
    let those = all.split_inclusive("\n\n").filter(|source| source.contains(&wanted));
    write(&own, those.collect::<String>())?;
    let mut mmdebstrap = Command::new(program("mmdebstrap", "mmdebstrap")?);
    mmdebstrap
        .args(["--variant=extract", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"])
        .arg(format!("--architectures={arch}"))
        .arg(format!("--include={}", packages.join(",")))
        // The lists of a release to come hold for a week, and a mirror may stand still. They are signed all the
        // same.
        .arg("--aptopt=Acquire::Check-Valid-Until \"false\"")
        .arg(suite)
        .args([&tarball, &own]);
    let log = paths::cache().join("foreign.log");
    watch(&format!("getting packages of Debian {suite} for {arch}"), &log, &mut mmdebstrap)
        .context(format!("packages could not be fetched: {NO_NETWORK}"))?;
    make_dir(root)?;
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(root).args(["--no-same-owner", "--exclude=./dev", "-xf"]).arg(&tarball);
    output(&mut tar)?;
    if root.join("usr/lib64").is_dir() && !root.join("lib64").exists() {
        // The hook of Debian 12 does not know all architectures.
        symlink("usr/lib64", root.join("lib64"))?;
    }
    Ok(())
}

/// Returns a program of Debian 13, which sees this machine's files but for those in `/usr`.
pub fn program_of_debian_13(name: &str, arch: &str, packages: &[&str]) -> Result<PathBuf> {
    let root = unpacked(TRIXIE, arch, packages)?;
    let (bwrap, usr) = (program("bwrap", "bubblewrap")?, root.join("usr"));
    let (bwrap, usr) = (bwrap.display(), usr.display());
    let all = format!("--die-with-parent --dev-bind / / --ro-bind '{usr}' /usr");
    let [program, new] = [root.join(name), root.join(format!("{name}.{}", std::process::id()))];
    write_script(&new, &format!("exec {bwrap} {all} {name} \"$@\""))?;
    // Another make may run it just now.
    fs::rename(&new, &program)?;
    Ok(program)
}

/// The packages in a folder.
pub fn debs(dir: &Path) -> Result<Vec<PathBuf>> {
    let files = files(dir)?.into_iter();
    Ok(files.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect())
}

/// Returns sources for apt: the suites of Debian that the system has, and `more`.
pub fn sources(more: &[&str]) -> Result<String> {
    let targets = output(Command::new(program("apt-get", "apt")?).args([
        "indextargets",
        "--no-release-info",
        "--format",
        "$(REPO_URI)\t$(RELEASE)",
        "Created-By: Packages",
        "Component: main",
    ]))
    .context("can't tell where this machine has its packages from")?;
    let mut suites: Vec<(&str, &str)> = targets
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(uri, _)| uri.contains("debian"))
        .collect();
    let codename = codename();
    let mirror = suites.iter().find(|(_, suite)| *suite == codename);
    let (mirror, _) = mirror.with_context(|| {
        format!("apt has no mirror of Debian {codename}: put one into /etc/apt/sources.list.d")
    })?;
    let mirror = *mirror;
    suites.extend(more.iter().map(|suite| (mirror, *suite)));
    suites.sort_unstable();
    suites.dedup();
    let source = |(uri, suite): &(&str, &str)| {
        format!(
            "Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
        )
    };
    Ok(suites.iter().map(source).collect())
}
