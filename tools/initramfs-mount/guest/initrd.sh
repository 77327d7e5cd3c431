#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Says if the image is still there.
. /guest/lib.sh
start
if [ -e /sys/firmware/initrd ]; then
	echo "initrd: $(wc -c </sys/firmware/initrd)"
else
	echo "initrd: gone"
fi
end
