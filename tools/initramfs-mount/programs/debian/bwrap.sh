#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: bubblewrap, as somebody who is not root
# says: container: runs
# stock: pivot_root
runuser -u user -- bwrap --bind /c/rootfs / --proc /proc --unshare-all /bin/sh /inside
