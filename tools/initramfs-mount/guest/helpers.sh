#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Counts the helpers that have run here.
. /guest/lib.sh
start
sleep 2
echo "helped: $(wc -l </helped)"
end
