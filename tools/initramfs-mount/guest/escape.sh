#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Tries to get at what is below the root, where the file $1 is not, with all that the root of a user
# namespace may do; then again from another root, once the first one has been left.
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
	"$@" >/dev/null 2>&1 && { echo "not denied: $*"; exit 1; }
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
cd /tmp || exit 1
if pivot_root . old; then
	mount --move /old/proc /proc || mount -t proc proc /proc || exit 1
	umount -l /old || exit 1
	own=/new-file
	try_all
fi
echo "tried: $tries"
echo "below: out of reach"
