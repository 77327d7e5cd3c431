#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: runc: a disk unmounted on the host is free at once
# says: disk: free
# stock: pivot_root
. /programs/lib.sh
disk_is_free "runc run"
