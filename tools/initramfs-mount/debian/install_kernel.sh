#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Has apt install the packages of a kernel in the small Debian, where initramfs-tools makes its image and
# DKMS builds a module, and puts that on a disk. Runs on the host as install.sh does.
set -e
mount -t tmpfs root "$DIR"
cd "$DIR"
cpio --quiet -id <"$ARCHIVE"
mkdir -p dev/pts packages usr/src/trial-1
cp -r "$GUEST" guest
cp "$MODULE"/* usr/src/trial-1
# shellcheck disable=SC2086 # There are several.
cp $PACKAGES packages
cp "$SOURCES" etc/apt/sources.list.d/own.sources
cat /etc/resolv.conf >etc/resolv.conf
echo /dev/vda / ext4 defaults 0 1 >etc/fstab
mount --rbind /dev dev
mount --rbind /proc proc
chroot . sh -e <<'END'
export DEBIAN_FRONTEND=noninteractive
get() {
	apt-get -q -y -oAPT::Sandbox::User=root --no-install-recommends "$@" </dev/null
}
get update
get install dkms gcc libc6-dev make
dkms add trial/1
get install /packages/*
END
umount -l dev proc
rm -r packages
cp boot/vmlinuz-* "$OUT/vmlinuz"
cp boot/initrd.img-* "$OUT/initrd.img"
find lib/modules/ | cpio --quiet -o -H newc >"$OUT/modules.cpio"
mke2fs -q -F -t ext4 -E root_owner=0:0 -d . "$OUT/disk.half" 4000M
mv "$OUT/disk.half" "$OUT/disk.img"
