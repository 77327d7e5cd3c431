// SPDX-License-Identifier: GPL-2.0

//! A mount of its own for the initramfs.
//!
//! rootfs, which the kernel has always unpacked the initramfs into, has no parent mount, so that
//! pivot_root(2) can't take it away, and what a broken archive leaves in it stays there. The
//! archives are therefore unpacked into a *root mount*, a tmpfs or ramfs over rootfs. It becomes
//! `/` when all went well and vanishes without a trace when it did not:
//!
//! - [`prepare`] makes the root mount and enters it.
//! - [`Prepared::finish`] keeps it, and [`Prepared::finish_for_now`] until there is another root.
//! - [`Prepared::revert`] leaves it and takes it away. Dropping a [`Prepared`] does that, too.
//!
//! What decides between the last two is the unpacker, which stays in C. It runs between the calls
//! from there, which are three for that reason, and the same lines drive it with and without this
//! option. Across C, a [`Prepared`] is what [`RootMount`] holds of it.
//!
//! C header: [`include/linux/initramfs_mount.h`](srctree/include/linux/initramfs_mount.h)
//!
//! C source: [`init/initramfs.c`](srctree/init/initramfs.c)
//!
//! Reference: [`initramfs-mount.rst`](srctree/Documentation/admin-guide/initramfs-mount.rst)

use core::mem::{forget, offset_of, replace, size_of};
use kernel::{
    bindings, c_str,
    ffi::{c_char, c_int},
    fs_struct::FsStruct,
    init_syscalls::{CharPtr, InitSyscalls},
    page::PAGE_SIZE,
    prelude::*,
};

#[cfg(CONFIG_INITRAMFS_MOUNT_KUNIT_TEST)]
#[path = "initramfs_mount_test.rs"]
mod test;

/// Where mount options are put for their parsers.
type Page = [c_char; PAGE_SIZE];

/// What the transaction asks of the kernel; tests put a fake in its place.
///
/// Each does what the system call does that it is named after.
trait Ops {
    /// A root and a working directory, held.
    type Held;

    /// Holds the present root and working directory.
    fn hold(&self) -> Result<Self::Held>;
    /// Goes back to a root and working directory.
    fn restore(&self, held: &Self::Held);
    /// Goes back to a working directory and leaves the root as it is.
    fn restore_pwd(&self, held: &Self::Held);
    /// Mounts a new file system over the root.
    fn mount(&self, fs_type: &CStr, options: CharPtr<'_>, page: &mut Page) -> Result;
    fn bind_mount(&self, source: &CStr, target: &CStr) -> Result;
    /// Unmounts, without waiting for those who use it.
    fn detach(&self, target: &CStr) -> Result;
    fn chdir(&self, path: &CStr) -> Result;
    fn chroot(&self, path: &CStr) -> Result;
    fn eaccess(&self, path: CharPtr<'_>) -> Result;
    /// Makes a node for the console.
    fn mknod_console(&self, path: &CStr) -> Result;
    /// Says in the log what went wrong, and what happens next.
    fn report(&self, e: Error, next: &CStr);
}

/// The boot parameters that bear on the root mount. Those that were not given are empty.
#[repr(C)]
struct Params<'a> {
    root: CharPtr<'a>,
    rootflags: CharPtr<'a>,
    initramfs_options: CharPtr<'a>,
    rdinit: CharPtr<'a>,
    /// `None` if it was not given: an empty one counts.
    rootfstype: Option<CharPtr<'a>>,
}

impl<'a> Params<'a> {
    /// Returns the file system of the root mount, the one that init_rootfs() takes for rootfs,
    /// and its options.
    ///
    /// With `root=`, `rootflags=` are those of that root.
    fn choose(&self) -> (&'static CStr, CharPtr<'a>) {
        let root = !self.root.is_empty();
        let tmpfs = match self.rootfstype {
            Some(names) => names.contains(c_str!("tmpfs")),
            None => !root,
        };
        let fs_type = if cfg!(CONFIG_TMPFS) && tmpfs {
            c_str!("tmpfs")
        } else {
            c_str!("ramfs")
        };
        let mut options = self.initramfs_options;
        if options.is_empty() && !root {
            options = self.rootflags;
        }
        (fs_type, options)
    }
}

/// A root mount that is the root and the working directory, and that may still be taken away.
///
/// [`prepare`] is the only way to get one, and to keep the mount or to go back the only ways to
/// be rid of it.
struct Prepared<O: Ops> {
    ops: O,
    /// Where to go back to; `None` once there is no way back.
    rootfs: Option<O::Held>,
}

/// Makes a root mount over the root and enters it.
///
/// Should the file system refuse `options`, they are left out, and `refused` becomes the errno.
///
/// # Errors
///
/// That of the step that failed. What was done until then is undone.
fn prepare<O: Ops>(
    ops: O,
    fs_type: &CStr,
    options: &mut CharPtr<'_>,
    refused: &mut c_int,
    page: &mut Page,
) -> Result<Prepared<O>> {
    let rootfs = ops.hold()?;

    while let Err(e) = ops.mount(fs_type, *options, page) {
        if options.is_empty() {
            return Err(e);
        }
        *options = c_str!("").into();
        *refused = e.to_errno();
    }
    let prepared = Prepared {
        ops,
        rootfs: Some(rootfs),
    };
    // `/` is what the new mount covers. `/..` goes up from there, and then through what is
    // mounted on it. From here on, to return is to go back.
    prepared.ops.chdir(c_str!("/.."))?;
    prepared.ops.chroot(c_str!("."))?;
    Ok(prepared)
}

impl<O: Ops> Prepared<O> {
    /// Returns whether `path` is there, in the root mount if it is an absolute one.
    fn holds(&self, path: CharPtr<'_>) -> bool {
        self.ops.eaccess(path).is_ok()
    }

    /// Keeps the root mount for good.
    fn finish(self) {
        drop(self.keep());
    }

    /// Keeps the root mount until there is another root, for what drivers look for in it.
    ///
    /// The console of the first process would hold it for longer, so that is taken from rootfs.
    /// rootfs is left as the working directory, for whoever puts the other root there.
    ///
    /// # Errors
    ///
    /// That of the step that failed. The root mount has been taken away.
    fn finish_for_now(self) -> Result {
        if let Some(rootfs) = &self.rootfs {
            self.ops.restore_pwd(rootfs);
        }
        self.ops.mknod_console(c_str!("console"))?;
        match self
            .ops
            .bind_mount(c_str!("console"), c_str!("/dev/console"))
        {
            // No console in the archives: nor can it hold anything.
            Err(e) if e == ENOENT => {}
            result => result?,
        }
        self.finish();
        Ok(())
    }

    /// Leaves the root mount and takes it away.
    fn revert(self) {}

    /// Gives up what [`Drop`] would go back to.
    fn keep(mut self) -> Option<O::Held> {
        let rootfs = self.rootfs.take();
        forget(self);
        rootfs
    }
}

impl<O: Ops> Drop for Prepared<O> {
    #[inline]
    fn drop(&mut self) {
        let Some(rootfs) = &self.rootfs else { return };

        self.ops.restore(rootfs);
        if let Err(e) = self.ops.detach(c_str!("/..")) {
            self.ops.report(e, c_str!("the archive stays in memory"));
        }
    }
}

/// The real kernel.
struct Kernel(InitSyscalls);

impl Ops for Kernel {
    type Held = FsStruct;

    #[inline]
    fn hold(&self) -> Result<FsStruct> {
        FsStruct::copy_current(&self.0)
    }

    #[inline]
    fn restore(&self, held: &FsStruct) {
        held.restore(&self.0);
    }

    #[inline]
    fn restore_pwd(&self, held: &FsStruct) {
        held.restore_pwd(&self.0);
    }

    #[inline]
    fn mount(&self, fs_type: &CStr, options: CharPtr<'_>, page: &mut Page) -> Result {
        self.0
            .mount(c_str!("rootfs"), c_str!("/"), fs_type, options, page)
    }

    #[inline]
    fn bind_mount(&self, source: &CStr, target: &CStr) -> Result {
        self.0.bind_mount(source, target)
    }

    #[inline]
    fn detach(&self, target: &CStr) -> Result {
        self.0.detach(target)
    }

    #[inline]
    fn chdir(&self, path: &CStr) -> Result {
        self.0.chdir(path)
    }

    #[inline]
    fn chroot(&self, path: &CStr) -> Result {
        self.0.chroot(path)
    }

    #[inline]
    fn eaccess(&self, path: CharPtr<'_>) -> Result {
        self.0.eaccess(path)
    }

    #[inline]
    fn mknod_console(&self, path: &CStr) -> Result {
        self.0.mknod_chr(path, 0o600, 5, 1)
    }

    #[inline]
    fn report(&self, e: Error, next: &CStr) {
        self.0.report(c_str!("initramfs_mount"), e, next);
    }
}

/// `struct root_mount` of the C side, which has the only one.
#[repr(C)]
struct RootMount<'a> {
    params: Params<'a>,
    fs_type: Option<CharPtr<'a>>,
    options: CharPtr<'a>,
    rootfs: Option<FsStruct>,
    refused: c_int,
    is_final: bool,
    _on: bool,
    page: Page,
    broken: Option<CharPtr<'a>>,
}

static_assert!(offset_of!(Params<'_>, rootfstype) == offset_of!(bindings::root_mount, rootfstype));
static_assert!(offset_of!(RootMount<'_>, fs_type) == offset_of!(bindings::root_mount, fs_type));
static_assert!(offset_of!(RootMount<'_>, refused) == offset_of!(bindings::root_mount, refused));
static_assert!(offset_of!(RootMount<'_>, page) == offset_of!(bindings::root_mount, page));
static_assert!(size_of::<RootMount<'_>>() == size_of::<bindings::root_mount>());

impl RootMount<'_> {
    /// Returns what [`prepare_mount_rootfs`] has left, if anything.
    ///
    /// # Safety
    ///
    /// As for [`InitSyscalls::new`].
    unsafe fn prepared(&mut self) -> Option<Prepared<Kernel>> {
        Some(Prepared {
            rootfs: Some(self.rootfs.take()?),
            // SAFETY: The caller sees to it.
            ops: Kernel(unsafe { InitSyscalls::new() }),
        })
    }
}

/// Makes a root mount and enters it. Returns 0 or an error.
///
/// C: `prepare_mount_rootfs()`
///
/// # Safety
///
/// To be called from `__init` code, as [`InitSyscalls::new`] says. What the boot parameters in
/// `mount` point to must be strings and stay as they are until all of this is over.
#[no_mangle]
unsafe extern "C" fn prepare_mount_rootfs(mount: &mut RootMount<'static>) -> c_int {
    let (fs_type, options) = mount.params.choose();
    mount.fs_type = Some(fs_type.into());
    mount.options = options;

    // SAFETY: The caller is `__init` code.
    let kernel = Kernel(unsafe { InitSyscalls::new() });
    match prepare(
        kernel,
        fs_type,
        &mut mount.options,
        &mut mount.refused,
        &mut mount.page,
    ) {
        Ok(prepared) => {
            // There was nothing before, and this is smaller than to drop it.
            forget(replace(&mut mount.rootfs, prepared.keep()));
            0
        }
        Err(e) => e.to_errno(),
    }
}

/// Keeps a root mount: for good, and marked as final, if it holds `rdinit`; otherwise until there
/// is another root. Returns 0 or, if the root mount had to be taken away, an error.
///
/// C: `finish_mount_rootfs()`
///
/// # Safety
///
/// As for [`prepare_mount_rootfs`]. Without a root mount there is nothing to keep, and that is 0.
#[no_mangle]
unsafe extern "C" fn finish_mount_rootfs(mount: &mut RootMount<'static>) -> c_int {
    // SAFETY: The caller is `__init` code.
    let Some(prepared) = (unsafe { mount.prepared() }) else {
        return 0;
    };

    if prepared.holds(mount.params.rdinit) {
        prepared.finish();
        mount.is_final = true;
        return 0;
    }
    match prepared.finish_for_now() {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}

/// Takes a root mount away.
///
/// C: `revert_mount_rootfs()`
///
/// # Safety
///
/// As for [`finish_mount_rootfs`].
#[no_mangle]
unsafe extern "C" fn revert_mount_rootfs(mount: &mut RootMount<'static>) {
    // SAFETY: The caller is `__init` code.
    if let Some(prepared) = unsafe { mount.prepared() } {
        prepared.revert();
    }
}
