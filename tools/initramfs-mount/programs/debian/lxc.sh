#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: lxc-start
# says: container: runs
# It looks for rootfs in its mountinfo and then moves the new root, too.
echo 'sh /inside >/tmp/said 2>&1' >/c/rootfs/lxc
mkdir -p /var/lib/lxc/c4
cat >/var/lib/lxc/c4/config <<'END'
lxc.rootfs.path = dir:/c/rootfs
lxc.init.cmd = /bin/sh /lxc
lxc.net.0.type = empty
lxc.uts.name = c4
lxc.mount.auto = proc:mixed
END
lxc-start -F -n c4 -l INFO -o /dev/stdout
cat /c/rootfs/tmp/said
