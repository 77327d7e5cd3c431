#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Unpacks the small Debian, has the script $SCRIPT do something there, and puts it on a disk. Runs on the
# host, as root or as what looks like it in a user namespace, with mounts of its own.
set -e
mount -t tmpfs root "$DIR"
cd "$DIR"
cpio --quiet -id <"$ARCHIVE"
mkdir -p dev/pts
cp -r "$GUEST" guest
echo /dev/vda / ext4 defaults 0 1 >etc/fstab
mount --rbind /dev dev
mount --rbind /proc proc
sh "$SCRIPT"
umount -l dev proc
mke2fs -q -F -t ext4 -E root_owner=0:0 -d . "$OUT/disk.half" 4000M
mv "$OUT/disk.half" "$OUT/disk.img"
