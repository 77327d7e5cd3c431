#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: bubblewrap
# says: container: runs
# stock: pivot_root
bwrap --bind /c/rootfs / --proc /proc --unshare-all /bin/sh /inside
