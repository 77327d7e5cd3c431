#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Has apt install the packages of a kernel in the small Debian, where initramfs-tools makes its image and
# DKMS builds a module. Runs in its root folder.
set -e
: "${OUT:?this is run by on_disk.sh}"
mkdir packages usr/src/trial-1
cp "$MODULE"/* usr/src/trial-1
# shellcheck disable=SC2086 # There are several.
cp $PACKAGES packages
cp "$SOURCES" etc/apt/sources.list.d/own.sources
cat /etc/resolv.conf >etc/resolv.conf
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
rm -r packages
cp boot/vmlinuz-* "$OUT/vmlinuz"
cp boot/initrd.img-* "$OUT/initrd.img"
find lib/modules/ | cpio --quiet -o -H newc >"$OUT/modules.cpio"
