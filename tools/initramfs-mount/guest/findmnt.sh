#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# One root, at the top of a tree in which each mount has another number.
. /guest/lib.sh
start
echo "root: $(findmnt -n -o SOURCE,FSTYPE,PROPAGATION / | tr -s ' ')"
echo "tops: $(findmnt -n -l -o TARGET | head -n 1) $(findmnt -n -o TARGET | grep -c '^/')"
ids=$(cut -d ' ' -f 1 /proc/self/mountinfo)
[ "$(echo "$ids" | sort | uniq -d)" ] || echo "ids: differ"
end
