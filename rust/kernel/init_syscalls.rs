// SPDX-License-Identifier: GPL-2.0

//! System calls on kernel strings, for code that runs at boot.
//!
//! The routines are `__init`. All that calls them here is inline, so that it ends up where its
//! users are, which must be in init sections, too.
//!
//! C header: [`include/linux/init_syscalls.h`](srctree/include/linux/init_syscalls.h)
//!
//! C source: [`fs/init.c`](srctree/fs/init.c)

use crate::{
    error::to_result,
    ffi::c_int,
    page::PAGE_SIZE,
    prelude::*,
    types::NotThreadSafe, //
};
use core::{
    ffi::CStr,
    ptr, //
};

/// The right of the current task to call the `init_*()` routines, which are `__init`.
///
/// The routines act on the root, the working directory and the mount namespace of the task. Paths
/// are those of system calls: absolute ones start at the root, and what is mounted on that is not
/// looked at; relative ones start at the working directory.
///
/// Each routine returns the error of the system call that it stands for.
///
/// # Invariants
///
/// For as long as this exists, init memory, where the routines live, has not been freed, and the
/// task has not left a scope that has lent it its `fs_struct`.
pub struct InitSyscalls(NotThreadSafe);

impl InitSyscalls {
    /// Takes the caller's word for the invariants.
    ///
    /// # Safety
    ///
    /// The value must be gone before `free_initmem()`, and before the task exits or leaves a scope
    /// that has lent it its `fs_struct`. `__init` code can promise this if somebody waits for it
    /// before init memory is freed.
    #[inline]
    pub const unsafe fn new() -> Self {
        // INVARIANT: This is what the caller promises.
        Self(NotThreadSafe)
    }

    /// Mounts a new instance of the file system `fs_type` on `target`, on top of what may be
    /// mounted there already.
    ///
    /// `options` are those of that file system, separated by commas, or empty. `source` is what
    /// tools show as its device.
    ///
    /// # Errors
    ///
    /// Those of mount(2), `ENOMEM`, and `EINVAL` also for options that don't fit into a page.
    #[inline]
    pub fn mount(&self, source: &CStr, target: &CStr, fs_type: &CStr, options: &CStr) -> Result {
        let options = options.to_bytes();
        if options.len() > PAGE_SIZE - 1 {
            return Err(EINVAL);
        }
        let mut page;
        let mut data = ptr::null_mut();
        if !options.is_empty() {
            // The routine wants all of a page, and parsers write to it.
            page = KBox::<[u8; PAGE_SIZE]>::zeroed(GFP_KERNEL)?;
            for (to, from) in page.iter_mut().zip(options) {
                *to = *from;
            }
            data = page.as_mut_ptr();
        }
        // SAFETY: By the type invariant the routine is still there. The strings end in a NUL and
        // outlive the call. So does what `data` points to, if anything: `PAGE_SIZE` bytes which
        // nobody else has, the last of them a NUL.
        to_result(unsafe {
            bindings::init_mount(
                source.as_char_ptr(),
                target.as_char_ptr(),
                fs_type.as_char_ptr(),
                0,
                data.cast(),
            )
        })
    }

    /// Takes the topmost mount at `target`, and all that is mounted below it, out of the mount
    /// namespace at once. They are gone when nobody uses them any more.
    ///
    /// # Errors
    ///
    /// Those of umount(2).
    #[inline]
    pub fn detach(&self, target: &CStr) -> Result {
        // SAFETY: By the type invariant the routine is still there. The string ends in a NUL and
        // outlives the call.
        to_result(unsafe {
            bindings::init_umount(target.as_char_ptr(), bindings::MNT_DETACH as c_int)
        })
    }

    /// Waits until mounts that the task, or a kernel thread, has let go of are gone, with all that
    /// they held. Not to be called from a work item, or with a lock held, that unmounting needs.
    #[inline]
    pub fn flush_mounts(&self) {
        // SAFETY: By the type invariant the routine is still there. It runs what the task has
        // queued for itself, if anything, and sleeps.
        unsafe { bindings::init_flush_mntput() };
    }

    /// Makes `path` the working directory.
    ///
    /// # Errors
    ///
    /// Those of chdir(2).
    #[inline]
    pub fn chdir(&self, path: &CStr) -> Result {
        // SAFETY: As in `detach()`.
        to_result(unsafe { bindings::init_chdir(path.as_char_ptr()) })
    }

    /// Makes `path` the root.
    ///
    /// # Errors
    ///
    /// Those of chroot(2).
    #[inline]
    pub fn chroot(&self, path: &CStr) -> Result {
        // SAFETY: As in `detach()`.
        to_result(unsafe { bindings::init_chroot(path.as_char_ptr()) })
    }

    /// Succeeds if `path` is there.
    ///
    /// # Errors
    ///
    /// Those of faccessat(2) with `F_OK` and `AT_EACCESS`.
    #[inline]
    pub fn eaccess(&self, path: &CStr) -> Result {
        // SAFETY: As in `detach()`.
        to_result(unsafe { bindings::init_eaccess(path.as_char_ptr()) })
    }
}
