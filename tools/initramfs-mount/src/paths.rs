// SPDX-License-Identifier: GPL-2.0

//! Where things are.

use std::{env, path::PathBuf};

/// The top of this repository: the Makefile says so, or else it is where this was built.
pub fn top() -> PathBuf {
    env::var_os("TOP").map(PathBuf::from).unwrap_or_else(|| {
        let built = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        built.ancestors().nth(2).map(PathBuf::from).unwrap_or_default()
    })
}

/// A file or folder that belongs to this tool.
pub fn tool(name: &str) -> PathBuf {
    top().join("tools/initramfs-mount").join(name)
}

/// What is downloaded or takes long to make, and can be used by other checkouts.
pub fn cache() -> PathBuf {
    given("XDG_CACHE_HOME")
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(|| top().join("build"))
        .join("initramfs-mount")
}

/// A path that the user gives in an environment variable. Not every shell expands its `~`.
pub fn given(variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env::var_os(variable).filter(|path| !path.is_empty())?);
    Some(match (path.strip_prefix("~"), env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => path,
    })
}
