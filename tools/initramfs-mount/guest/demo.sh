#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Shows what works in an initramfs. What comes before a `=` at the begin of a line goes into the table
# at the end.
. /guest/lib.sh
mount_all
show() {
	echo "== $1"
	shift
	echo "\$ $*"
	"$@" 2>&1
}
show "What is mounted" cat /proc/self/mountinfo
echo "root=$(root_field)"
mount -t cgroup2 cgroup /sys/fs/cgroup
show "A container" runc run -b /c demo >/tmp/runc
cat /tmp/runc
echo "runc=$(sed -n 's/^container: /container /p; s/"$//; s/.*: \(pivot_root\)/\1/p' /tmp/runc | tail -n 1)"
before=$(free_kib)
export before
mkdir /new
mount -t tmpfs new /new
mkdir -p /new/old /new/proc /new/dev /new/sys /new/tmp
cp -a /bin /guest /new/
cd /new || exit
show "pivot_root to another root" pivot_root . old >/tmp/pivot
cat /tmp/pivot 2>/dev/null || cat /old/tmp/pivot
if [ ! -d /old ]; then
	echo "pivot_root=$(sed -n 's/^pivot_root: .*: //p' /tmp/pivot)"
	echo "umount=not reached"
	echo "back=none"
	poweroff -f
fi
echo "pivot_root=works"
for dir in proc dev sys; do mount --move /old/$dir /$dir; done
cd / || exit
show "The old root is unmounted" umount -l /old
echo "umount=works"
exec chroot . /bin/sh -c '
	. /guest/lib.sh
	exec </dev/console >/dev/console 2>&1
	echo "back=$((($(free_kib) - before) / 1024))"
	echo "== What is mounted"
	echo "$ cat /proc/self/mountinfo"
	cat /proc/self/mountinfo
	poweroff -f'
