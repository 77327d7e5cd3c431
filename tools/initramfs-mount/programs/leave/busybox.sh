#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: busybox switch_root to a disk
. /programs/lib.sh
move_mounts
exec switch_root -c /dev/console /mnt /sbin/init
