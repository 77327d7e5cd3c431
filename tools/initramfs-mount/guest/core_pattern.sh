#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Has the kernel start /guest/helped.sh, and says where that was run.
# shellcheck disable=SC3045,SC2016
. /guest/lib.sh
start
echo '|/guest/helped.sh %p' >/proc/sys/kernel/core_pattern
ulimit -c unlimited
sh -c 'kill -SEGV $$'
sleep 1
echo "helper: $(cat /helped)"
end
