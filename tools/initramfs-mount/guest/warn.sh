#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Makes the console have what looks like a warning of the kernel.
. /guest/lib.sh
start
echo "WARNING: canary" >/dev/kmsg
echo "init: archive"
end
