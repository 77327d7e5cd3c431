#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A shell, with the host's files, on the terminal that virtme-ng has besides the kernel's console, which
# nothing can be typed at.
. /guest/lib.sh
mount_all
terminal=/dev/$(parameter virtme_console)
exec <"$terminal" >"$terminal" 2>&1
# shellcheck disable=SC2046
stty $(sed -n 's/.*"virtme_stty_con=\([^"]*\)".*/\1/p' /proc/cmdline) 2>/dev/null
mkdir -p /host
mount -t 9p -o trans=virtio,version=9p2000.L,access=any /dev/root /host ||
	echo "The host's files can't be mounted."
mount -t cgroup2 cgroup /sys/fs/cgroup
echo
echo "This is an initramfs, $(root_field) is its root. The host's files are in /host, a container is in /c:"
echo "  runc run -b /c name"
echo "exit ends it."
echo
cd / || exit
setsid -c sh -i
poweroff -f
