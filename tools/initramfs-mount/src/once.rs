// SPDX-License-Identifier: GPL-2.0

//! What threads and runs have in common: values that are made once, locks, and hashes that stay the same.

use crate::files::make_dir;
use anyhow::{bail, ensure, Context, Result};
use std::{
    collections::HashMap,
    fs,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// Values that are made once, by whoever wants one first. All others get the same, or its error.
pub struct MadeOnce<K, V>(Mutex<HashMap<K, Made<V>>>);

type Made<V> = Arc<OnceLock<Result<V, String>>>;

impl<K: Eq + Hash, V: Clone> MadeOnce<K, V> {
    pub fn new() -> Self {
        Self(Mutex::default())
    }

    /// Returns the value of a key, which `make` makes.
    pub fn get(&self, key: K, make: impl FnOnce() -> Result<V>) -> Result<V> {
        let cell = {
            let mut cells = lock(&self.0);
            Arc::clone(cells.entry(key).or_default())
        };
        let mut first = false;
        let value = cell.get_or_init(|| {
            first = true;
            make().map_err(|e| format!("{e:#}"))
        });
        match value {
            Ok(value) => Ok(value.clone()),
            Err(e) if first => bail!(e.clone()),
            // Once is enough for a compiler's errors.
            Err(e) => bail!("{}\n(as above)", e.lines().next().unwrap_or_default()),
        }
    }
}

/// Folders of the cache in which something is being made, or has been.
static HALF_MADE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes what is left of that.
pub fn remove_half_made() {
    for dir in lock(&HALF_MADE).iter() {
        let _ = fs::remove_dir_all(dir);
    }
}

/// Makes what stays in the cache, unless it is there, in a folder of its own: nobody sees a half of it.
pub fn cached(done: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    static MADE: LazyLock<MadeOnce<PathBuf, ()>> = LazyLock::new(MadeOnce::new);
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    MADE.get(done.to_owned(), || {
        let _one = lock(&ONE_AT_A_TIME);
        if done.exists() {
            return Ok(());
        }
        let parent = done.parent().unwrap_or(Path::new("/"));
        make_dir(parent)?;
        let dir = tempfile::tempdir_in(parent)
            .with_context(|| format!("can't make a folder in {}", parent.display()))?;
        lock(&HALF_MADE).push(dir.path().to_owned());
        let new = dir.path().join("new");
        make(&new)?;
        if let Err(e) = fs::rename(&new, done) {
            // Or another make was faster.
            ensure!(done.exists(), "can't make {}: {e}", done.display());
        }
        Ok(())
    })
}

/// Locks what other threads use, too. One that panicked has failed its test; what it left is still used.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number that tells a value from others, the same in each run.
pub fn hash(value: impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(value)
}
