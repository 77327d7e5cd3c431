#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What is done in the new root $1 of the small Debian before it is packed: a user, and a root who needs
# no password. Runs on the host.
set -e
chroot "$1" useradd --create-home --shell /bin/sh user
chroot "$1" passwd --quiet --delete root
echo debian >"$1/etc/hostname"
rm -f "$1/etc/resolv.conf"
ln -s sbin/init "$1/init"
chroot "$1" dpkg-query --show >"$VERSIONS"
cd "$1"
find . -xdev ! -path './dev/*' ! -path './var/lib/apt/lists/*' ! -path './var/cache/*' |
	cpio --quiet -o -H newc >"$ARCHIVE"
