#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: util-linux switch_root to a disk
. /programs/lib.sh
exec /real/switch_root /mnt /sbin/init
