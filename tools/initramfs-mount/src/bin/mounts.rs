// SPDX-License-Identifier: GPL-2.0

//! Lists the mounts of this mount namespace, also those below the root, which no path leads to and
//! `/proc/self/mountinfo` does not show. Runs in the virtual machines.
//!
//! Each is a line `mount: ID PARENT DEVICE TYPE PATH`; the path of one that can't be reached is empty.

use linux_raw_sys::general::{
    __NR_listmount, __NR_statmount, mnt_id_req, statmount, STATMOUNT_FS_TYPE, STATMOUNT_MNT_BASIC,
    STATMOUNT_MNT_POINT, STATMOUNT_SB_BASIC, STATX_MNT_ID_UNIQUE,
};
use rustix::fs::{statx, AtFlags, StatxFlags, CWD};
use std::io::{Error, Result};

struct Mount {
    id: u64,
    parent: u64,
    device: (u32, u32),
    fs_type: String,
    path: String,
}

impl Mount {
    fn new(id: u64) -> Result<Self> {
        let param =
            STATMOUNT_SB_BASIC | STATMOUNT_MNT_BASIC | STATMOUNT_FS_TYPE | STATMOUNT_MNT_POINT;
        let mut answer = [0u64; 1024];
        call(__NR_statmount, id, param.into(), &mut answer)?;
        // SAFETY: The kernel has written a `struct statmount` to `answer`, which is larger and, as
        // an array of u64, aligned for it. All bit patterns are valid for its fields. Nothing
        // changes `answer` while `head` is used.
        let head = unsafe { &*answer.as_ptr().cast::<statmount>() };
        let bytes: Vec<u8> = answer.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let string = |offset: u32| {
            let bytes = bytes.get(size_of::<statmount>() + offset as usize..);
            let bytes = bytes.unwrap_or_default().split(|byte| *byte == 0).next();
            String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
        };
        Ok(Self {
            id,
            parent: head.mnt_parent_id,
            device: (head.sb_dev_major, head.sb_dev_minor),
            fs_type: string(head.fs_type),
            path: if head.mask & u64::from(STATMOUNT_MNT_POINT) != 0 {
                string(head.mnt_point)
            } else {
                String::new()
            },
        })
    }
}

/// Calls statmount(2) or listmount(2), neither of which the C library knows. Returns what it
/// returned.
fn call(number: u32, mnt_id: u64, param: u64, answer: &mut [u64]) -> Result<usize> {
    let size = size_of::<mnt_id_req>() as u32;
    let request = mnt_id_req { size, spare: 0, mnt_id, param, mnt_ns_id: 0 };
    // One counts its room in bytes, the other in mounts.
    let room = if number == __NR_statmount { size_of_val(answer) } else { answer.len() };
    // SAFETY: `request` outlives the call and says its own size, so that the kernel reads no more.
    // statmount(2) writes `room` bytes at the most and listmount(2) `room` words, which is what
    // `answer` has; it is borrowed for the call, so that nothing else refers to it.
    let done = unsafe {
        let answer = answer.as_mut_ptr();
        libc::syscall(number.into(), &request as *const mnt_id_req, answer, room, 0)
    };
    usize::try_from(done).map_err(|_| Error::last_os_error())
}

/// Returns the mount that is the root of this process.
fn root() -> Result<u64> {
    let unique = StatxFlags::from_bits_retain(STATX_MNT_ID_UNIQUE);
    Ok(statx(CWD, "/", AtFlags::empty(), unique)?.stx_mnt_id)
}

fn main() -> Result<()> {
    let mut lowest = Mount::new(root()?)?;
    while lowest.parent != lowest.id {
        lowest = match Mount::new(lowest.parent) {
            Ok(parent) => parent,
            // What a chroot has put out of reach, and this is no super-user.
            Err(_) => break,
        };
    }
    let mut ids = vec![0u64; 1024];
    let count = call(__NR_listmount, lowest.id, 0, &mut ids)?;
    let above = ids[..count].iter().map(|id| Mount::new(*id));
    for mount in std::iter::once(Ok(lowest)).chain(above) {
        let mount = mount?;
        let (id, parent, (major, minor)) = (mount.id, mount.parent, mount.device);
        let (fs_type, path) = (mount.fs_type, mount.path);
        println!("mount: {id} {parent} {major}:{minor} {fs_type} {path}");
    }
    Ok(())
}
