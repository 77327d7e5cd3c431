// SPDX-License-Identifier: GPL-2.0

//! Containers in a small initramfs, without systemd, and what pivot_root(2) is for in them.

use super::{Case, Expect, Lab, Script, RUN_CASES};
use crate::{
    disk, guest,
    qemu::{Boot, Machine},
};
use anyhow::Result;
use std::sync::Arc;

const RUNS: &[&str] = &["container: runs", "mounts: 1", "host: out of sight"];

/// Starts a container that does nothing for a while.
macro_rules! start {
    ($runtime:literal) => {
        concat!(
            "set -e\nrun() { ",
            $runtime,
            " -b /sleep -d --pid-file /run/pid s </dev/null >/dev/null 2>/run/err ||
	{ cat /run/err; exit 1; }; pid=$(cat /run/pid); }\n",
            "clean() {
	runc delete -f s
	crun delete -f s
	for dir in /disk /secret /var/run/docker/netns/n; do umount -l $dir; done
	ip link delete v0
}
trap 'status=$?; set +e; clean > /dev/null 2>&1; exit $status' EXIT\n"
        )
    };
}

/// Is a mount of the host in the container's namespace? There it need not be in reach of anyone.
macro_rules! host_mounts {
    ($runtime:literal) => {
        concat!(
            start!($runtime),
            r#"
mkdir -p /secret
mount -t tmpfs host-secret /secret
device=$(awk '$5 == "/secret" { print $3 }' /proc/self/mountinfo)
mounts | grep " $device "
run
inside=$(grep -c host-secret /proc/$pid/mountinfo || :)
namespace=$(nsenter -t $pid -m /bin/mounts | grep -c " $device " || :)
echo "inside: $inside, in the namespace: $namespace"
[ "$inside$namespace" = 00 ]
"#
        )
    };
}

/// Can a disk that is unmounted on the host be opened for oneself?
macro_rules! disk_is_free {
    ($runtime:literal) => {
        concat!(
            start!($runtime),
            r#"
mkdir -p /disk
mount -t ext4 /dev/vda /disk
run
umount /disk
/real/wipefs --all --no-act /dev/vda
echo "disk: free"
"#
        )
    };
}

/// Does a network namespace go away that is unmounted on the host? With it goes what is in it.
macro_rules! netns_is_free {
    ($runtime:literal) => {
        concat!(
            start!($runtime),
            r#"
mkdir -p /var/run/docker/netns
touch /var/run/docker/netns/n
unshare -n sleep 100 &
holder=$!
until [ "$(readlink /proc/$holder/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
mount --bind /proc/$holder/ns/net /var/run/docker/netns/n
/real/ip link add v0 type veth peer name v1
/real/ip link set v1 netns $holder
kill $holder
run
umount /var/run/docker/netns/n
for i in 1 2 3 4 5 6 7 8 9 10; do
	[ -e /sys/class/net/v0 ] || { echo "netns: gone"; exit 0; }
	sleep 0.3
done
echo "the network namespace is still busy"
exit 1
"#
        )
    };
}

const SCRIPTS: &[Script] = &[
    Script::new("runc", "runc run", "runc run -b /c c1", RUNS),
    Script::new("crun", "crun run", "crun run -b /c c2", RUNS),
    Script::new(
        "bwrap",
        "bubblewrap",
        "bwrap --bind /c/rootfs / --proc /proc --unshare-all /bin/sh /inside",
        RUNS,
    ),
    Script::new(
        "user_namespace",
        "a user namespace, as somebody who is not root",
        "/real/setpriv --reuid 1000 --regid 1000 --clear-groups unshare -U -r -m -p -f sh /pivot",
        RUNS,
    ),
    Script::new(
        "host_mounts",
        "runc: no mount of the host in the container's namespace",
        host_mounts!("runc run"),
        &[],
    ),
    Script::new(
        "host_mounts_crun",
        "crun: no mount of the host in the container's namespace",
        host_mounts!("crun run"),
        &[],
    ),
    Script::new(
        "host_mounts_no_pivot",
        "runc --no-pivot: no mount of the host in the container's namespace",
        host_mounts!("runc run --no-pivot"),
        &[],
    )
    .off(Expect::Fails("in the namespace: 1"))
    .on(Expect::Fails("in the namespace: 1")),
    Script::new(
        "disk",
        "runc: a disk unmounted on the host is free at once",
        disk_is_free!("runc run"),
        &["disk: free"],
    ),
    Script::new(
        "disk_crun",
        "crun: a disk unmounted on the host is free at once",
        disk_is_free!("crun run"),
        &["disk: free"],
    ),
    Script::new(
        "disk_no_pivot",
        "runc --no-pivot: a disk unmounted on the host is free at once",
        disk_is_free!("runc run --no-pivot"),
        &["disk: free"],
    )
    .off(Expect::Fails("busy"))
    .on(Expect::Fails("busy")),
    Script::new(
        "netns",
        "runc: a network namespace unmounted on the host is not held",
        netns_is_free!("runc run"),
        &["netns: gone"],
    ),
    Script::new(
        "netns_no_pivot",
        "runc --no-pivot: a network namespace unmounted on the host is not held",
        netns_is_free!("runc run --no-pivot"),
        &["netns: gone"],
    )
    .off(Expect::Fails("busy"))
    .on(Expect::Fails("busy")),
    Script::new(
        "escape",
        "what is below / stays out of reach of a user namespace's root",
        "/real/setpriv --reuid 1000 --regid 1000 --clear-groups unshare -U -r -m -p -f --mount-proc \
            sh /c/rootfs/escape /host-file",
        &["below: out of reach"],
    )
    .off(Expect::Works),
    Script::new(
        "escape_runc",
        "what is below / stays out of reach of a container with CAP_SYS_ADMIN of its own",
        "runc run -b /c-userns c3",
        &["below: out of reach"],
    ),
];

/// What a user who is not root does to have a root of its own.
const PIVOT: &str = "set -e
mount --bind /c/rootfs /c/rootfs
mount -t proc proc /c/rootfs/proc
cd /c/rootfs
pivot_root . .
umount -l .
exec /bin/sh /inside
";

/// Tries to get at what is below the root, where the file `$1` is not, with all that the root of a
/// user namespace may do; then again from another root, once the first one has been left.
const ESCAPE: &str = r#"
own=$1
tries=0
seen() {
	[ -e "$own" ] || { echo "reached something else by $*"; exit 1; }
	[ "$(awk '$5 == "/"' /proc/self/mountinfo | wc -l)" = 1 ] || { echo "two roots by $*"; exit 1; }
	awk '$5 == "/" { for (i = 7; $i != "-"; i++); exit $(i + 1) == "rootfs" && ENVIRON["WAS"] != "rootfs" }' \
		/proc/self/mountinfo || { echo "reached rootfs by $*"; exit 1; }
}
denied() {
	tries=$((tries + 1))
	said=$("$@" 2>&1) && { echo "not denied: $*"; exit 1; }
	seen "$@"
}
# Runs a shell elsewhere, that finds out where that is. Below there isn't even a shell.
peek() {
	tries=$((tries + 1))
	case $("$@" 2>&1) in
		*below* | *"can't execute"*) echo "reached something else by $*"; exit 1 ;;
	esac
}
try_all() {
	denied umount /
	denied umount -l /
	denied umount -f /
	denied umount -l /..
	denied umount -l /proc/1/root
	denied mount --move / /tmp
	denied mount --move /.. /tmp
	# To enter one's own namespace is to go to its root, and to what is mounted there.
	peek nsenter --mount=/proc/self/ns/mnt sh -c "[ -e $own ] || echo below"
	peek nsenter --mount=/proc/self/ns/mnt sh -c "umount -l /; cd /..; [ -e .$own ] || echo below"
	peek chroot /.. sh -c "cd ../../..; [ -e .$own ] || echo below"
	seen "all of it"
}
WAS=$(awk '$5 == "/" { for (i = 7; $i != "-"; i++); print $(i + 1) }' /proc/self/mountinfo)
export WAS
try_all
mount -t tmpfs new /tmp || exit 1
mkdir /tmp/bin /tmp/old /tmp/proc /tmp/tmp
cp /bin/busybox /tmp/bin/
for applet in sh awk wc umount mount nsenter chroot; do ln -s busybox /tmp/bin/$applet; done
touch /tmp/new-file
cd /tmp
if pivot_root . old; then
	mount --move /old/proc /proc || mount -t proc proc /proc || exit 1
	umount -l /old || exit 1
	own=/new-file
	try_all
fi
echo "tried: $tries"
echo "below: out of reach"
"#;

fn boot(lab: &Lab, on: bool) -> Result<Arc<Boot>> {
    lab.boot("containers", on, || {
        let script = format!("{}{RUN_CASES}", guest::CGROUPS);
        let programs = [
            ("runc", "runc"),
            ("crun", "crun"),
            ("bwrap", "bubblewrap"),
            ("setpriv", "util-linux"),
            ("wipefs", "util-linux"),
            ("ip", "iproute2"),
        ];
        let archive = guest::with_programs(&programs, &script)?;
        let archive = super::with_mounts(guest::with_container(archive)?, "")?;
        let archive = super::with_mounts(archive, "c/rootfs/")?
            .file("pivot", 0o755, PIVOT.as_bytes())
            .file("c/rootfs/escape", 0o755, ESCAPE.as_bytes());
        let archive = super::with_cases(archive, &SCRIPTS.iter().collect::<Vec<_>>());
        let image = lab.dir.path().join(format!("containers-{on}.img"));
        disk::make(&image, "ext4", 16, "sbin/init", "")?;
        let machine = lab.machine(on);
        Ok(Machine {
            initrd: Some(archive.finish().into()),
            disk: Some(image),
            mib: 512,
            seconds: 300,
            ..machine
        })
    })
}

pub fn cases() -> Vec<Case> {
    SCRIPTS
        .iter()
        .map(|script| script.case("container", &[true, false], ("containers", boot)))
        .collect()
}
