#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What a container says: last, that it runs, if it sees one root and nothing of the host.
mounts=$(awk '$5 == "/"' /proc/self/mountinfo | wc -l)
echo "mounts: $mounts"
[ ! -e /host-file ] && echo "host: out of sight" && [ "$mounts" = 1 ] && echo "container: runs"
