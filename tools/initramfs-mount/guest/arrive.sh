#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The init of a disk that an initramfs was left for.
. /guest/lib.sh
start
echo "init: disk"
mounts | sed 's/^/after /'
echo "free: $(free_kib)"
end
