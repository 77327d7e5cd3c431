#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The magic number of the file system that kernel threads have as their root.
. /guest/lib.sh
start
echo "kthreadd: $(stat -f -c %t /proc/2/root)"
end
