// SPDX-License-Identifier: GPL-2.0

//! A mount of its own for the initramfs.
//!
//! What is unpacked into rootfs stays there, also if the archive turns out to be broken, and before
//! there was nullfs, pivot_root(2) could not leave it. The archives are therefore unpacked into a
//! *root mount*, a tmpfs or ramfs over rootfs:
//!
//! - [`prepare`] makes the root mount and enters it, alone.
//! - [`Prepared::finish`] makes it the root, for all.
//! - Dropping a [`Prepared`] is the revert: it leaves the root mount and takes it away.
//!
//! Until finish, nobody but the thread that unpacks works in it, so that there is one switch, and
//! nothing to be undone but one mount. What C calls is [`initramfs_mount`], which calls
//! back to have the archives unpacked and judged.
//!
//! C header: [`include/linux/initrd.h`](srctree/include/linux/initrd.h)
//!
//! C source: [`init/initramfs.c`](srctree/init/initramfs.c)
//!
//! Reference: [`initramfs-mount.rst`](srctree/Documentation/admin-guide/initramfs-mount.rst)

use core::ffi::CStr;
use kernel::{
    bindings,
    ffi::c_char,
    fs_struct::PrivateFs,
    init_syscalls::InitSyscalls,
    prelude::*,
    str::BStr, //
};

const __LOG_PREFIX: &[u8] = b"initramfs_mount\0";

/// What the transaction asks of the kernel; tests put a fake in its place.
trait Ops {
    /// A root and a working directory that nobody else has, until it is dropped.
    type Fs<'a>
    where
        Self: 'a;

    /// Exchanges the root and the working directory for a copy.
    fn enter(&self) -> Result<Self::Fs<'_>>;
    /// Makes the copy what everybody else has.
    fn publish(&self, fs: &Self::Fs<'_>);
    /// Mounts a new file system over the root.
    fn mount(&self, fs_type: &CStr, options: &CStr) -> Result;
    /// Takes that mount away.
    fn detach(&self) -> Result;
    /// Makes that mount the working directory.
    fn chdir(&self) -> Result;
    /// Makes the working directory the root.
    fn chroot(&self) -> Result;
    /// Unpacks the archives, and returns whether they are whole.
    fn unpack(&self) -> bool;
    /// Returns whether there is such a file, or an error if there was no memory to look for it.
    fn holds(&self, path: &CStr) -> Result<bool>;
}

/// A root mount that the current thread has as its root, and that may still be taken away.
///
/// [`prepare`] is the only way to get one. It ends with [`Prepared::finish`], or else with a
/// revert.
struct Prepared<'a, O: Ops> {
    ops: &'a O,
    /// What it is mounted with.
    options: &'a CStr,
    /// `None` once there is nothing to revert.
    fs: Option<O::Fs<'a>>,
}

/// Says which step has failed, and passes its error on.
fn failed(step: &str, e: Error) -> Error {
    pr_err!("{}: error {}, unpacking into rootfs\n", step, e.to_errno());
    e
}

/// Makes a root mount over the root and enters it.
///
/// If the file system refuses an option, none is used.
///
/// # Errors
///
/// That of the step that failed, which has been said. What was done until then is undone.
fn prepare<'a, O: Ops>(
    ops: &'a O,
    fs_type: &CStr,
    mut options: &'a CStr,
) -> Result<Prepared<'a, O>> {
    let fs = ops.enter().map_err(|e| failed("fs_struct", e))?;

    let mut mounted = ops.mount(fs_type, options);
    if mounted == Err(EINVAL) && !options.is_empty() {
        mounted = ops.mount(fs_type, c"");
        if mounted.is_ok() {
            pr_err!("options refused, mounted without: {}\n", text(options));
            options = c"";
        }
    }
    mounted.map_err(|e| failed("mount", e))?;
    // From here on, to return is to revert.
    let prepared = Prepared {
        ops,
        options,
        fs: Some(fs),
    };
    ops.chdir().map_err(|e| failed("chdir", e))?;
    ops.chroot().map_err(|e| failed("chroot", e))?;
    Ok(prepared)
}

impl<O: Ops> Prepared<'_, O> {
    /// Makes the root mount the root, for all.
    fn finish(mut self) {
        if let Some(fs) = self.fs.take() {
            self.ops.publish(&fs);
        }
    }
}

impl<O: Ops> Drop for Prepared<'_, O> {
    /// Leaves the root mount and takes it away.
    fn drop(&mut self) {
        let Some(fs) = self.fs.take() else { return };

        drop(fs);
        if let Err(e) = self.ops.detach() {
            pr_err!(
                "umount: error {}, what was unpacked stays in memory\n",
                e.to_errno()
            );
        }
    }
}

/// Unpacks the archives into a root mount, and makes it the root if they are whole and hold
/// `rdinit`. Returns the options that it has then, and otherwise `None`: there is no root mount,
/// unless it could not be taken away, which has been said.
///
/// # Errors
///
/// That of the step that failed, which has been said. For the root mount, the same holds as for
/// `None`.
fn transaction<'a, O: Ops>(
    ops: &'a O,
    fs_type: &CStr,
    options: &'a CStr,
    rdinit: &CStr,
) -> Result<Option<&'a CStr>> {
    let prepared = prepare(ops, fs_type, options)?;
    let is_root = ops.unpack() && ops.holds(rdinit).map_err(|e| failed("eaccess", e))?;
    if !is_root {
        return Ok(None);
    }
    let options = prepared.options;
    prepared.finish();
    Ok(Some(options))
}

/// The real kernel.
///
/// # Invariants
///
/// For as long as this exists, nobody else unpacks an archive.
struct Kernel(InitSyscalls);

impl Ops for Kernel {
    type Fs<'a> = PrivateFs<'a>;

    fn enter(&self) -> Result<PrivateFs<'_>> {
        PrivateFs::enter(&self.0)
    }

    fn publish(&self, fs: &PrivateFs<'_>) {
        fs.publish();
    }

    fn mount(&self, fs_type: &CStr, options: &CStr) -> Result {
        self.0.mount(c"rootfs", c"/", fs_type, options)
    }

    fn detach(&self) -> Result {
        self.0.detach(c"/..")?;
        // Whatever is unpacked next may need the memory.
        self.0.flush_mounts();
        Ok(())
    }

    fn chdir(&self) -> Result {
        // `/` is what the new mount covers. `/..` goes up from there, and then through what is
        // mounted on it.
        self.0.chdir(c"/..")
    }

    fn chroot(&self) -> Result {
        self.0.chroot(c".")
    }

    fn unpack(&self) -> bool {
        // SAFETY: By the invariant of `InitSyscalls`, init memory is still there, and with it the
        // function. By that of `Kernel`, nobody else uses the unpacker, which has only one state.
        unsafe { bindings::initramfs_unpack_all() }
    }

    fn holds(&self, path: &CStr) -> Result<bool> {
        match self.0.eaccess(path) {
            Ok(()) => Ok(true),
            Err(e) if e == ENOMEM => Err(e),
            // All others are about what there is in the root mount.
            Err(_) => Ok(false),
        }
    }
}

fn text(string: &CStr) -> &BStr {
    BStr::from_bytes(string.to_bytes())
}

/// Unpacks the archives into a mount of their own and makes it the root. Returns whether that is
/// so now; otherwise everything is as it was, unless the log says that the mount could not be taken
/// away.
///
/// # Safety
///
/// To be called from `__init` code, as [`InitSyscalls::new`] says, while nobody else unpacks. The
/// arguments must be valid C strings that stay as they are until this returns.
#[export]
unsafe extern "C" fn initramfs_mount(
    fs_type: *const c_char,
    options: *const c_char,
    rdinit: *const c_char,
) -> bool {
    // SAFETY: The caller passes valid C strings, which stay as they are until this returns.
    let [fs_type, options, rdinit] =
        [fs_type, options, rdinit].map(|string| unsafe { CStr::from_char_ptr(string) });
    // INVARIANT: The caller promises that nobody else unpacks.
    // SAFETY: The caller is `__init` code, and what is made here is dropped before this returns to
    // it: init memory is still there then, in the same task, and in the scope that may have lent it
    // its `fs_struct`.
    let kernel = Kernel(unsafe { InitSyscalls::new() });

    match transaction(&kernel, fs_type, options, rdinit) {
        Ok(Some(options)) => {
            let space = if options.is_empty() { "" } else { " " };
            pr_info!(
                "/ is the initramfs, {}{space}{}\n",
                text(fs_type),
                text(options)
            );
            true
        }
        Ok(None) | Err(_) => false,
    }
}

#[cfg(CONFIG_INITRAMFS_MOUNT_KUNIT_TEST)]
#[path = "initramfs_mount_test.rs"]
mod test;
