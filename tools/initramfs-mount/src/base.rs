// SPDX-License-Identifier: GPL-2.0

//! The kernels that the series applies to.

use crate::{paths, source::Git};
use anyhow::{bail, Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

/// A kernel release for which there are patches in `patches/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    V6_12,
    V7_3,
}

impl Release {
    pub const ALL: [Self; 2] = [Self::V6_12, Self::V7_3];

    pub fn name(self) -> &'static str {
        match self {
            Self::V6_12 => "6.12",
            Self::V7_3 => "7.3",
        }
    }

    /// The Debian package with its sources.
    pub fn package(self) -> String {
        format!("linux-source-{}", self.name())
    }

    /// Whether there are patches for it.
    pub fn has_series(self) -> bool {
        self.patches().join("series").is_file()
    }

    /// The hooks in the files that it already has.
    pub fn patches(self) -> PathBuf {
        paths::top().join("patches").join(self.name())
    }
}

impl FromStr for Release {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|release| release.name() == name && release.has_series())
            .with_context(|| {
                let known: Vec<_> = Self::ALL
                    .into_iter()
                    .filter(|release| release.has_series())
                    .map(Self::name)
                    .collect();
                format!(
                    "there is no base {name}: BASE is one of {}",
                    known.join(", ")
                )
            })
    }
}

/// A kernel to build: where its sources and its results are.
#[derive(Clone, Debug)]
pub struct Base {
    pub name: String,
    /// `None` if the sources are a user's own.
    pub release: Option<Release>,
    pub sources: PathBuf,
    pub dir: PathBuf,
}

impl Base {
    /// The base of that name, or a user's own tree.
    pub fn new(name: &str, kdir: Option<&Path>) -> Result<Self> {
        let Some(kdir) = kdir else {
            let release: Release = name.parse()?;
            let dir = paths::top().join("build").join(name);
            return Ok(Self {
                name: name.to_owned(),
                release: Some(release),
                sources: dir.join("linux"),
                dir,
            });
        };
        let sources = fs::canonicalize(kdir)
            .with_context(|| format!("KDIR={} is not there", kdir.display()))?;
        let version = kernel_version(&sources)?;
        if !sources.join("init/initramfs_mount.rs").is_file() {
            bail!(
                "KDIR={} is {version} without CONFIG_INITRAMFS_MOUNT: run `make patch` first",
                kdir.display()
            );
        }
        if sources.join(".config").exists() {
            bail!(
                "KDIR={} has been configured in place, so that nothing can be built elsewhere: \
                 run `make mrproper` in it first",
                kdir.display()
            );
        }
        Ok(Self {
            dir: paths::top().join("build").join(format!("kdir-{version}")),
            name: version,
            release: None,
            sources,
        })
    }

    /// From the environment that the Makefile sets.
    pub fn from_env(name: &str) -> Result<Self> {
        Self::new(name, paths::kdir().as_deref())
    }

    /// The release that the sources are of, or come from, for instance 6.12 for 6.12.117.
    pub fn release_name(&self) -> String {
        let numbers: Vec<_> = self.name.split('.').take(2).collect();
        numbers.join(".")
    }

    /// Whether pivot_root works in an initramfs without the option.
    pub fn has_nullfs(&self) -> bool {
        let major = self.name.split('.').next().unwrap_or_default();
        major.parse().unwrap_or(0) >= 7
    }

    /// Another checkout of the same repository, at `commit` to begin with, in a folder of its own.
    /// It lies there as this one does here, so that a compiler cache can't tell the two apart.
    pub fn beside(&self, name: &str, commit: &str) -> Result<Self> {
        let dir = self.dir.join(name);
        let sources = dir.join("linux");
        if !sources.join("Makefile").is_file() {
            let git = Git(&self.sources);
            let path = sources.to_string_lossy();
            git.run(&["worktree", "prune"])?;
            git.run(&["worktree", "add", "-q", "--detach", &path, commit])?;
        }
        Ok(Self {
            sources,
            dir,
            ..self.clone()
        })
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(name)
    }

    pub fn vmlinuz(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }
}

/// Returns what `make kernelversion` would, for instance 6.12.117.
pub fn kernel_version(sources: &Path) -> Result<String> {
    let makefile = sources.join("Makefile");
    let text = fs::read_to_string(&makefile).with_context(|| {
        format!(
            "{} is no kernel: can't read its Makefile",
            sources.display()
        )
    })?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='))
            .map(str::trim)
            .with_context(|| format!("{} is no kernel's: no {name}", makefile.display()))
    };
    Ok(format!(
        "{}.{}.{}{}",
        field("VERSION")?,
        field("PATCHLEVEL")?,
        field("SUBLEVEL")?,
        field("EXTRAVERSION")?
    ))
}
