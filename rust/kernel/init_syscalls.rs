// SPDX-License-Identifier: GPL-2.0

//! System calls on kernel strings, for code that runs at boot.
//!
//! C header: [`include/linux/init_syscalls.h`](srctree/include/linux/init_syscalls.h)
//!
//! C source: [`fs/init.c`](srctree/fs/init.c)

use crate::{
    c_str,
    error::to_result,
    ffi::{c_char, c_int, c_uint, c_ulong},
    page::PAGE_SIZE,
    prelude::*,
};
use core::{
    marker::PhantomData,
    ptr::{self, NonNull},
};

/// Keeps a type from being sent to another thread.
type NotThreadSafe = PhantomData<*mut ()>;

/// A string as C passes it: a pointer, and no length until somebody asks for it.
///
/// # Invariants
///
/// The pointer is to a string that ends in a NUL and stays as it is for `'a`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct CharPtr<'a>(NonNull<c_char>, PhantomData<&'a CStr>);

impl<'a> CharPtr<'a> {
    /// Returns the string at `ptr`, and `None` for a null pointer.
    ///
    /// # Safety
    ///
    /// `ptr` must be null or point to a string that ends in a NUL and stays as it is for `'a`.
    #[inline]
    pub unsafe fn from_raw(ptr: *const c_char) -> Option<Self> {
        // INVARIANT: This is what the caller promises.
        NonNull::new(ptr.cast_mut()).map(|ptr| Self(ptr, PhantomData))
    }

    /// Returns whether there is nothing before the NUL.
    #[inline]
    pub fn is_empty(self) -> bool {
        // SAFETY: By the type invariant there is a byte at least, the NUL.
        unsafe { *self.0.as_ptr() == 0 }
    }

    /// Returns whether `part` is somewhere in the string.
    #[inline]
    pub fn contains(self, part: &CStr) -> bool {
        // SAFETY: Both are strings that end in a NUL.
        !unsafe { bindings::strstr(self.0.as_ptr(), part.as_char_ptr()) }.is_null()
    }

    /// Returns the pointer.
    #[inline]
    pub fn as_char_ptr(self) -> *const c_char {
        self.0.as_ptr()
    }
}

impl<'a> From<&'a CStr> for CharPtr<'a> {
    #[inline]
    fn from(string: &'a CStr) -> Self {
        // INVARIANT: A `CStr` is such a string.
        // SAFETY: The pointer of a reference isn't null.
        Self(
            unsafe { NonNull::new_unchecked(string.as_char_ptr().cast_mut()) },
            PhantomData,
        )
    }
}

/// The right of the current task to call the `init_*()` routines, which are `__init`.
///
/// The routines act on the root, the working directory and the mount namespace of the task. Paths
/// are those of system calls: absolute ones start at the root, and what is mounted on that is not
/// looked at; relative ones start at the working directory.
///
/// Every routine returns the error of the system call that it stands for.
///
/// # Invariants
///
/// For as long as this exists, init memory, where the routines live, has not been freed, and the
/// task is neither exiting nor without an `fs_struct`.
pub struct InitSyscalls(NotThreadSafe);

impl InitSyscalls {
    /// Takes the caller's word for the invariants.
    ///
    /// # Safety
    ///
    /// The caller must not be exiting, must run before `free_initmem()`, and must see to it that
    /// the value is gone by then. `__init` code can promise this if somebody waits for it before
    /// the first user process starts.
    #[inline]
    pub const unsafe fn new() -> Self {
        // INVARIANT: This is what the caller promises.
        Self(PhantomData)
    }

    /// Returns the `fs_struct` of the task, which is not null.
    #[inline]
    pub(crate) fn fs_struct(&self) -> *mut bindings::fs_struct {
        // The offset is the one that C has. That of bindgen is another where the alignment of an
        // empty member gets lost, as that of `stats` does without `CONFIG_SCHEDSTATS`.
        //
        // SAFETY: There is always a current task, and it is valid while it runs this. At the
        // offset is its `fs`, which the task itself writes only, so that this read can't race.
        unsafe {
            *bindings::get_current()
                .byte_add(bindings::TASK_STRUCT_FS_OFFSET)
                .cast::<*mut bindings::fs_struct>()
        }
    }

    /// Mounts a new instance of the file system `fs_type` on `target`, on top of what may be
    /// mounted there already, for reading and writing.
    ///
    /// `options` are those of that file system, separated by commas; a `ro` among them has no
    /// effect. `page` is where they are put for the parsers, which write to them. `source` is
    /// what tools show as its device.
    #[inline]
    pub fn mount(
        &self,
        source: &CStr,
        target: &CStr,
        fs_type: &CStr,
        options: CharPtr<'_>,
        page: &mut [c_char; PAGE_SIZE],
    ) -> Result {
        let mut data = ptr::null_mut();
        if !options.is_empty() {
            data = page.as_mut_ptr();
            // SAFETY: `data` is the borrowed page, of which no more than `PAGE_SIZE` bytes are
            // written. `%s` gets a string by the type invariant of `CharPtr`.
            unsafe {
                bindings::snprintf(
                    data,
                    PAGE_SIZE,
                    c_str!("%s,rw").as_char_ptr(),
                    options.as_char_ptr(),
                )
            };
        }
        // SAFETY: By the type invariant the routine is still there. The strings end in a NUL and
        // outlive the call. So does what `data` points to, if anything: a string in a whole page
        // which is borrowed for writing.
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

    /// Shows the file or directory `source` at `target` as well.
    #[inline]
    pub fn bind_mount(&self, source: &CStr, target: &CStr) -> Result {
        // SAFETY: By the type invariant the routine is still there. The strings end in a NUL and
        // outlive the call; `MS_BIND` needs neither a type nor data.
        to_result(unsafe {
            bindings::init_mount(
                source.as_char_ptr(),
                target.as_char_ptr(),
                ptr::null(),
                bindings::MS_BIND as c_ulong,
                ptr::null_mut(),
            )
        })
    }

    /// Takes the topmost mount at `target`, and all that is mounted below it, out of the mount
    /// namespace at once. They are gone when nobody uses them any more.
    #[inline]
    pub fn detach(&self, target: &CStr) -> Result {
        // SAFETY: By the type invariant the routine is still there. The string ends in a NUL and
        // outlives the call.
        to_result(unsafe {
            bindings::init_umount(target.as_char_ptr(), bindings::MNT_DETACH as c_int)
        })
    }

    /// Makes `path` the working directory.
    #[inline]
    pub fn chdir(&self, path: &CStr) -> Result {
        // SAFETY: As in `detach()`.
        to_result(unsafe { bindings::init_chdir(path.as_char_ptr()) })
    }

    /// Makes `path` the root.
    #[inline]
    pub fn chroot(&self, path: &CStr) -> Result {
        // SAFETY: As in `detach()`.
        to_result(unsafe { bindings::init_chroot(path.as_char_ptr()) })
    }

    /// Succeeds if `path` is there.
    #[inline]
    pub fn eaccess(&self, path: CharPtr<'_>) -> Result {
        // SAFETY: As in `detach()`.
        to_result(unsafe { bindings::init_eaccess(path.as_char_ptr()) })
    }

    /// Makes `path`, a node for a character device, with the permissions `mode`.
    #[inline]
    pub fn mknod_chr(&self, path: &CStr, mode: u16, major: u16, minor: u8) -> Result {
        // The encoding of `new_encode_dev()` for a minor number that fits into 8 bits.
        let dev = c_uint::from(major) << 8 | c_uint::from(minor);
        // SAFETY: As in `detach()`.
        to_result(unsafe {
            bindings::init_mknod(path.as_char_ptr(), bindings::S_IFCHR as u16 | mode, dev)
        })
    }

    /// Says in the log what failed, with which error, and what happens next.
    ///
    /// Formatted by C, for whom this takes a fraction of the code that `pr_err!` does.
    #[inline]
    pub fn report(&self, what: &CStr, e: Error, next: &CStr) {
        #[cfg(not(CONFIG_PRINTK))]
        let _ = (what, e, next);
        #[cfg(CONFIG_PRINTK)]
        // SAFETY: The format takes two strings, which end in a NUL, and an integer between them.
        unsafe {
            bindings::_printk(
                c_str!("\x013%s: error %d, %s\n").as_char_ptr(),
                what.as_char_ptr(),
                e.to_errno(),
                next.as_char_ptr(),
            )
        };
    }
}
