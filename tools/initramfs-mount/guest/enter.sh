#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Enters a container in a mount namespace as HPC runtimes do: by pivot_root(2), or else, with the
# argument `move`, by moving the new root over the old one.
set -e
mount --make-rslave /
mount --bind /c/rootfs /c/rootfs
mount --make-slave /c/rootfs
mount --rbind /proc /c/rootfs/proc
cd /c/rootfs
if pivot_root . .; then
	mount --make-rslave .
	umount -l .
elif [ "$1" = move ]; then
	mount --move . /
else
	exit 1
fi
exec chroot . /bin/sh /inside
