// SPDX-License-Identifier: GPL-2.0

//! What runs in the virtual machines: scripts for busybox's shell, and what is read from them.

use crate::{
    archive::{self, Archive},
    cmd::program,
};
use anyhow::Result;
use serde_json::json;

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

/// Returns an archive with busybox, programs of the host, and a script as `init`. busybox prefers
/// programs of its own; those of the host are in `/real`, too, wherever they are on the host.
pub fn with_programs(programs: &[(&str, &str)], script: &str) -> Result<Archive> {
    with_init(programs, &init(script))
}

/// The same for a script that talks to the console.
pub fn on_console(programs: &[(&str, &str)], script: &str) -> Result<Archive> {
    with_init(programs, &format!("{START}{script}"))
}

fn with_init(programs: &[(&str, &str)], init: &str) -> Result<Archive> {
    let mut archive = archive::busybox()?
        .file("init", 0o755, init.as_bytes())
        .dir("real");
    for (name, package) in programs {
        let path = program(name, package)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        archive = archive
            .program(&path)?
            .symlink(&format!("real/{name}"), &path.to_string_lossy());
    }
    Ok(archive)
}

/// What OCI runtimes want to be mounted.
pub const CGROUPS: &str = "mount -t cgroup2 cgroup /sys/fs/cgroup\n";

/// Returns the `config.json` of a container that runs a command. With a user namespace it has
/// `CAP_SYS_ADMIN` there, and what else it takes to make mounts and to enter namespaces.
fn container(command: &[&str], user_namespace: bool) -> String {
    let mut namespaces = vec!["pid", "mount", "ipc", "uts", "network"];
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": command,
            "env": ["PATH=/bin"],
            "cwd": "/",
            "noNewPrivileges": true,
        },
        "root": { "path": "/c/rootfs", "readonly": true },
        "hostname": "c",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
        ],
    });
    if user_namespace {
        let all = [
            "CAP_SYS_ADMIN",
            "CAP_SYS_CHROOT",
            "CAP_DAC_OVERRIDE",
            "CAP_CHOWN",
            "CAP_FOWNER",
        ];
        namespaces.push("user");
        let map = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
        config["linux"] = json!({ "uidMappings": map, "gidMappings": map });
        config["process"]["capabilities"] =
            json!({ "bounding": all, "effective": all, "permitted": all, "inheritable": all });
    }
    let namespaces = namespaces.iter().map(|kind| json!({ "type": kind }));
    config["linux"]["namespaces"] = namespaces.collect();
    config.to_string()
}

/// What a container says.
const INSIDE: &str = r#"echo "container: runs"
echo "mounts: $(awk '$5 == "/"' /proc/self/mountinfo | wc -l)"
[ -e /host-file ] || echo "host: out of sight"
"#;

/// Adds containers for OCI runtimes: `/c` says where it is, `/sleep` does nothing for a while, and
/// `/c-userns` runs `/escape` with capabilities in a user namespace. What they must not see is
/// `/host-file`.
pub fn with_container(mut archive: Archive) -> Result<Archive> {
    for dir in [
        "run",
        "c",
        "c-userns",
        "sleep",
        "c/rootfs",
        "c/rootfs/bin",
        "c/rootfs/dev",
        "c/rootfs/etc",
        "c/rootfs/proc",
        "c/rootfs/tmp",
        "c/rootfs/usr",
    ] {
        archive = archive.dir(dir);
    }
    for applet in [
        "awk",
        "cat",
        "chroot",
        "cp",
        "grep",
        "ln",
        "mkdir",
        "mount",
        "nsenter",
        "pivot_root",
        "sh",
        "sleep",
        "touch",
        "umount",
        "wc",
    ] {
        archive = archive.symlink(&format!("c/rootfs/bin/{applet}"), "busybox");
    }
    let configs = [
        ("c", container(&["/bin/sh", "/inside"], false)),
        ("sleep", container(&["/bin/sleep", "300"], false)),
        (
            "c-userns",
            container(&["/bin/sh", "/escape", "/inside"], true),
        ),
    ];
    for (dir, config) in configs {
        archive = archive.file(&format!("{dir}/config.json"), 0o644, config.as_bytes());
    }
    archive
        .file("host-file", 0o644, b"")
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
