#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Says what a Debian package has brought.
. /guest/lib.sh
start
echo "init: disk"
grep INITRAMFS_MOUNT= "/boot/config-$(uname -r)"
[ -e "/boot/vmlinuz-$(uname -r)" ] && echo "kernel: there"
end
