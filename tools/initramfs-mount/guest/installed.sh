#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What somebody runs who has logged in on a disk with a kernel that apt has installed.
. /guest/lib.sh
say_on_port
systemctl is-system-running --wait
systemctl --failed --no-legend --plain --no-pager
findmnt -n -o FSTYPE /
echo "kernel: $(uname -r)"
grep -x CONFIG_INITRAMFS_MOUNT=y "/boot/config-$(uname -r)"
modprobe trial
dmesg | sed -n 's/.*\(trial: .*\)/\1/p'
systemctl poweroff -ff
