#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Puts a kernel into the small Debian and has its tools make initramfs images. Runs in its root folder.
set -e
: "${OUT:?this is run by on_disk.sh}"
mkdir -p "lib/modules/$RELEASE"
cp "$CONFIG" "boot/config-$RELEASE"
cp "$KERNEL" "boot/vmlinuz-$RELEASE"
cp "$MOUNTS" usr/local/bin/mounts
# All of it is in the kernel.
touch "lib/modules/$RELEASE/modules.order" "lib/modules/$RELEASE/modules.builtin"
depmod --basedir . "$RELEASE"
chroot . mkinitramfs -o /boot/initramfs-tools.img "$RELEASE"
chroot . dracut --no-hostonly --kver "$RELEASE" /boot/dracut.img
mv boot/*.img "$OUT"
