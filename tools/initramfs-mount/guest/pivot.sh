#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What a user who is not root does to have a root of its own.
set -e
mount --bind /c/rootfs /c/rootfs
mount -t proc proc /c/rootfs/proc
cd /c/rootfs
pivot_root . .
umount -l .
exec /bin/sh /inside
