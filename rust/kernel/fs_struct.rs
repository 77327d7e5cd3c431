// SPDX-License-Identifier: GPL-2.0

//! The root and the working directory of a task.
//!
//! C header: [`include/linux/fs_struct.h`](srctree/include/linux/fs_struct.h)

use crate::{
    init_syscalls::InitSyscalls,
    prelude::*, //
};
use core::ptr::NonNull;

/// A root and a working directory that only the current task works with, for as long as this
/// exists.
///
/// A task shares its `fs_struct` with others, as kernel threads do with each other. What is done
/// to a private one is done to nobody else, until [`PrivateFs::publish`] does it to the shared
/// one, too. Dropping it goes back to that. Of two, the one that was made last is to be dropped
/// first; otherwise the task stays with the copy of the other one, which is not freed.
///
/// # Invariants
///
/// - `shared` is what the task worked with when this was made, and valid: it is the task's own, or
///   one that a scope has lent it, which it has not left, by the invariant of `InitSyscalls`, or
///   the copy of another `PrivateFs`, whose drop leaves it alone meanwhile.
/// - `own` came from `copy_fs_struct()`. Nobody but this counts as its user.
pub struct PrivateFs<'a> {
    shared: NonNull<bindings::fs_struct>,
    own: NonNull<bindings::fs_struct>,
    init: &'a InitSyscalls,
}

impl<'a> PrivateFs<'a> {
    /// Gives the current task a copy of its root and working directory to work with.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or `EINVAL` if the task has none.
    #[inline]
    pub fn enter(init: &'a InitSyscalls) -> Result<Self> {
        let shared = NonNull::new(Self::current(init)).ok_or(EINVAL)?;
        // SAFETY: What the task works with is valid, for the reasons that the type invariant gives.
        // `copy_fs_struct()` takes its lock, so that others may use it.
        let own = unsafe { bindings::copy_fs_struct(shared.as_ptr()) };
        // INVARIANT: `copy_fs_struct()` returns a new object with one user, its caller. `shared`
        // is as it was: nobody changes the count of its users.
        let fs = Self {
            shared,
            own: NonNull::new(own).ok_or(ENOMEM)?,
            init,
        };
        // SAFETY: By the invariant of `InitSyscalls`, the routine is still there. `own` is valid
        // until `drop()`, which puts `shared` in its place before it frees it.
        unsafe { bindings::init_set_fs(own) };
        Ok(fs)
    }

    /// Returns what the current task works with.
    #[inline]
    fn current(_: &InitSyscalls) -> *mut bindings::fs_struct {
        // SAFETY: That there is an `InitSyscalls` means that the routine is still there.
        unsafe { bindings::init_current_fs() }
    }

    /// Makes the root and the working directory of the task those of all who share the `fs_struct`
    /// that it had before.
    #[inline]
    pub fn publish(&self) {
        // SAFETY: By the invariant of `InitSyscalls`, the routine is still there. `shared` is valid
        // by the type invariant. The routine takes the locks of both, so that others may use them.
        unsafe { bindings::init_publish_fs(self.shared.as_ptr()) };
    }
}

impl Drop for PrivateFs<'_> {
    #[inline]
    fn drop(&mut self) {
        // Another one goes back to this copy.
        if Self::current(self.init) != self.own.as_ptr() {
            return;
        }
        // SAFETY: By the invariant of `InitSyscalls`, the routine is still there. `shared` is
        // valid by the type invariant, and stays so: the task counts as a user of one of its own,
        // and leaves a scope that has lent it one only after `init` is gone; the copy of another
        // `PrivateFs` is freed only by its drop, while the task works with that copy. After that,
        // nobody works with `own`, whose one user this is.
        unsafe {
            bindings::init_set_fs(self.shared.as_ptr());
            bindings::free_fs_struct(self.own.as_ptr());
        }
    }
}
