// SPDX-License-Identifier: GPL-2.0

//! The root and the working directory of a task.
//!
//! C header: [`include/linux/fs_struct.h`](srctree/include/linux/fs_struct.h)

use crate::{init_syscalls::InitSyscalls, prelude::*};
use core::ptr::NonNull;

/// The root and the working directory that the current task had when this was made.
///
/// The copy holds a reference on both, on the mount as well as on the dentry, and gives them back
/// when it is dropped. In between, [`FsStruct::restore`] takes the current task back there, and
/// with it every task that it shares its `fs_struct` with.
///
/// # Invariants
///
/// The pointer came from `copy_fs_struct()` and nobody else has it: no task uses it as its `fs`.
#[repr(transparent)]
pub struct FsStruct(NonNull<bindings::fs_struct>);

impl FsStruct {
    /// Copies the root and the working directory of the current task.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[inline]
    pub fn copy_current(task: &InitSyscalls) -> Result<Self> {
        // SAFETY: The `fs_struct` of the current task stays for as long as that uses it, and
        // nobody but the task itself, which is here, can make it stop. `copy_fs_struct()` takes
        // its lock, so that others who share it don't matter.
        let copy = unsafe { bindings::copy_fs_struct(task.fs_struct()) };
        // INVARIANT: `copy_fs_struct()` returns a new object with one user, the caller.
        NonNull::new(copy).map(Self).ok_or(ENOMEM)
    }

    /// Makes the root and the working directory of the current task what they were.
    #[inline]
    pub fn restore(&self, task: &InitSyscalls) {
        let fs = task.fs_struct();
        // SAFETY: `fs` stays, as in `copy_current()`. `self.0` is ours by the type invariant, so
        // that its paths don't change under the two functions, which take references of their
        // own on them.
        unsafe {
            bindings::set_fs_root(fs, &(*self.0.as_ptr()).root);
            bindings::set_fs_pwd(fs, &(*self.0.as_ptr()).pwd);
        }
    }

    /// Makes the working directory of the current task what it was, and leaves its root.
    #[inline]
    pub fn restore_pwd(&self, task: &InitSyscalls) {
        // SAFETY: As in `restore()`.
        unsafe { bindings::set_fs_pwd(task.fs_struct(), &(*self.0.as_ptr()).pwd) };
    }
}

impl Drop for FsStruct {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariant nobody else has this object, so that nobody can use it
        // after this, and its one user is the one that `copy_fs_struct()` gave to its caller.
        unsafe { bindings::free_fs_struct(self.0.as_ptr()) };
    }
}
