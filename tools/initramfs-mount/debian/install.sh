#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Installs the small Debian on a disk and has its tools make initramfs images. Runs on the host, as
# root or as what looks like it in a user namespace, with mounts of its own.
set -e
mount -t tmpfs root "$DIR"
cd "$DIR"
cpio --quiet -id <"$ARCHIVE"
mkdir -p "lib/modules/$RELEASE" dev/pts
cp "$CONFIG" "boot/config-$RELEASE"
cp "$KERNEL" "boot/vmlinuz-$RELEASE"
cp "$MOUNTS" usr/local/bin/mounts
cp -r "$GUEST" guest
# All of it is in the kernel.
touch "lib/modules/$RELEASE/modules.order" "lib/modules/$RELEASE/modules.builtin"
echo /dev/vda / ext4 defaults 0 1 >etc/fstab
mount --rbind /dev dev
mount --rbind /proc proc
depmod --basedir . "$RELEASE"
chroot . mkinitramfs -o /boot/initramfs-tools.img "$RELEASE"
chroot . dracut --no-hostonly --kver "$RELEASE" /boot/dracut.img
umount -l dev proc
mv boot/*.img "$OUT"
mke2fs -q -F -t ext4 -E root_owner=0:0 -d . "$OUT/disk.half" 1500M
mv "$OUT/disk.half" "$OUT/disk.img"
