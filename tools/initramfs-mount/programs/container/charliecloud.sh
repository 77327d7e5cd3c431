#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: Charliecloud's ch-run, as somebody who is not root
# says: container: runs
# native: yes
/real/setpriv --reuid 1000 --regid 1000 --clear-groups env USER=user HOME=/ ch-run --no-passwd /c/rootfs -- /bin/sh /inside
