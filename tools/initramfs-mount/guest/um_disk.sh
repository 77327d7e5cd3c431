#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What user-mode Linux runs when its initramfs is not the root: says how many KiB are free.
. /guest/lib.sh
mount -t proc proc /proc
mount -t sysfs sys /sys
# There are no devices, and the root can't be written to.
mount -t tmpfs dev /dev
echo "free: $(free_kib)"
# kmemleak tells of what is older than five seconds. With a clock of its own, the kernel counts half of those that
# find_leaks waits.
sleep 6
find_leaks
poweroff -f
