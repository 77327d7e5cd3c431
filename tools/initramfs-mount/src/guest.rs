// SPDX-License-Identifier: GPL-2.0

//! What runs in the virtual machines: scripts for busybox's shell, and what is read from them.

use crate::{
    archive::{self, Archive},
    cmd::program,
};
use anyhow::Result;

/// The begin of an `/init`.
const START: &str = "#!/bin/sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
";

const TO_SECOND_PORT: &str = "exec </dev/null >/dev/ttyS1 2>&1\n";

/// A script that prints how many KiB of memory are free, once what is being freed has been. What
/// CPUs keep on lists of their own, which can be a lot after much has been freed, is not in MemFree.
pub const FREE: &str = "#!/bin/busybox sh
/bin/busybox sleep 0.3
echo 3 > /proc/sys/vm/drop_caches
/bin/busybox sleep 0.3
exec /bin/busybox awk '$1 ~ /^(nr_free_pages|count:)$/ { pages += $2 } END { print pages * 4 }' /proc/zoneinfo
";

/// Says who it is and what `/` is, and finds out if that can be pivoted and unmounted.
const REPORT: &str = r#"
echo "init: $NAME"
echo "console: $([ -c /dev/console ] && echo yes)"
echo "roots: $(awk '$5 == "/"' /proc/self/mountinfo | wc -l)"
awk '$5 == "/" { for (i = 7; $i != "-"; i++); print "root: " $(i + 1) " " $(i + 3) }' /proc/self/mountinfo
for file in $(find / -xdev -name '*marker*'); do echo "file: $file"; done
echo "free: $(free-kib)"
mkdir -p /new
mount -t tmpfs new /new
mkdir -p /new/bin /new/old /new/proc /new/dev /new/sys
cp /bin/busybox /bin/free-kib /new/bin/
cd /new
if /bin/pivot_root . old; then
	echo "pivot_root: ok"
	exec /bin/busybox chroot . /bin/busybox sh -c '
		b=/bin/busybox
		$b mount --move /old/proc /proc
		$b mount --move /old/sys /sys
		$b mount --move /old/dev /dev
		exec >/dev/ttyS1 2>&1
		$b umount -l /old && echo "umount: ok"
		echo "pivoted: $(/bin/free-kib)"
		echo end
		$b poweroff -f'
else
	echo "pivot_root: failed"
fi
echo end
poweroff -f
"#;

/// Returns an `/init` that runs a script and switches off.
pub fn init(script: &str) -> String {
    format!("{START}{TO_SECOND_PORT}{script}\necho end\npoweroff -f\n")
}

/// Returns an `/init` that says who and where it is, and leaves the root with pivot_root.
pub fn report(name: &str) -> String {
    format!("{START}{TO_SECOND_PORT}NAME={name}{REPORT}")
}

/// Returns an archive with busybox, and an `init` that reports.
pub fn reporter(name: &str) -> Result<Archive> {
    Ok(archive::busybox()?.file("init", 0o755, report(name).as_bytes()))
}

/// Returns an archive with busybox, programs of the host, and a script as `init`.
pub fn with_programs(programs: &[(&str, &str)], script: &str) -> Result<Archive> {
    with_init(programs, &init(script))
}

/// The same for a script that talks to the console.
pub fn on_console(programs: &[(&str, &str)], script: &str) -> Result<Archive> {
    with_init(programs, &format!("{START}{script}"))
}

fn with_init(programs: &[(&str, &str)], init: &str) -> Result<Archive> {
    let mut archive = archive::busybox()?.file("init", 0o755, init.as_bytes());
    for (name, package) in programs {
        archive = archive.program(&program(name, package)?)?;
    }
    Ok(archive)
}

/// What OCI runtimes want to be mounted.
pub const CGROUPS: &str = "mount -t cgroup2 cgroup /sys/fs/cgroup\n";

const CONTAINER: &str = r#"{"ociVersion":"1.0.2","process":{"terminal":false,"user":{"uid":0,"gid":0},
"args":["/bin/sh","/inside"],"env":["PATH=/bin"],"cwd":"/","noNewPrivileges":true},
"root":{"path":"rootfs","readonly":true},"hostname":"c",
"mounts":[{"destination":"/proc","type":"proc","source":"proc"}],
"linux":{"namespaces":[{"type":"pid"},{"type":"mount"},{"type":"ipc"},{"type":"uts"},{"type":"network"}]}}"#;

/// What a container says.
const INSIDE: &str = r#"echo "container: runs"
echo "mounts: $(awk '$5 == "/"' /proc/self/mountinfo | wc -l)"
[ -e /host-file ] || echo "host: out of sight"
"#;

/// Adds a container for OCI runtimes in `/c`, and a file that it must not see.
pub fn with_container(mut archive: Archive) -> Result<Archive> {
    for dir in [
        "run",
        "c",
        "c/rootfs",
        "c/rootfs/bin",
        "c/rootfs/proc",
        "c/rootfs/dev",
    ] {
        archive = archive.dir(dir);
    }
    for applet in ["sh", "awk", "wc"] {
        archive = archive.symlink(&format!("c/rootfs/bin/{applet}"), "busybox");
    }
    archive
        .file("host-file", 0o644, b"")
        .file("c/config.json", 0o644, CONTAINER.as_bytes())
        .file("c/rootfs/inside", 0o644, INSIDE.as_bytes())
        .copy(&archive::busybox_program()?, "c/rootfs/bin/busybox")
}

/// Returns so many bytes that no compression makes smaller, always the same ones, in which a
/// pattern is found each page.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
