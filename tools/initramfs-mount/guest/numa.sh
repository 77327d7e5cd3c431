#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Says how many KiB of tmpfs are in each node's memory.
. /guest/lib.sh
start
for node in 0 1; do
	echo "node $node: $(awk '/Shmem:/ { print $4 }' /sys/devices/system/node/node$node/meminfo)"
done
end
