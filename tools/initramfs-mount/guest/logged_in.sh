#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What somebody runs who has logged in on the disk.
. /guest/lib.sh
say_on_port
systemctl is-system-running --wait
findmnt -n -o FSTYPE /
systemctl --failed --no-legend --plain --no-pager
sync
sleep 1
echo "free: $(free_kib)"
mounts
systemctl poweroff -ff
