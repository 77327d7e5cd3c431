#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: runc: a network namespace unmounted on the host is not held
# says: netns: gone
# stock: pivot_root
. /programs/lib.sh
netns_is_free "runc run"
