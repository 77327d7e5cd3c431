#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: klibc run-init to a disk
. /programs/lib.sh
move_mounts
exec /real/run-init -c /dev/console /mnt /sbin/init
