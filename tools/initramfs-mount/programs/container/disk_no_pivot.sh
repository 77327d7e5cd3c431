#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: runc --no-pivot: a disk unmounted on the host is free at once
# always: busy
. /programs/lib.sh
disk_is_free "runc run --no-pivot"
