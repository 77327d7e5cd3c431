// SPDX-License-Identifier: GPL-2.0

//! Where things are.

use std::{env, path::PathBuf};

/// The top of this repository.
pub fn top() -> PathBuf {
    // tools/initramfs-mount, two levels down, is where this was built.
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .map(PathBuf::from)
        .unwrap_or_default()
}

/// What is downloaded or takes long to make, and can be used by other checkouts.
pub fn cache() -> PathBuf {
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(|| top().join("build"))
        .join("initramfs-mount")
}

/// Kernel configuration fragments.
pub fn config(name: &str) -> PathBuf {
    top().join("tools/initramfs-mount/configs").join(name)
}

/// A kernel tree of the user's own, if `KDIR=` names one. Not every shell expands its `~`.
pub fn kdir() -> Option<PathBuf> {
    let kdir = PathBuf::from(env::var_os("KDIR").filter(|kdir| !kdir.is_empty())?);
    Some(match (kdir.strip_prefix("~"), env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => kdir,
    })
}
