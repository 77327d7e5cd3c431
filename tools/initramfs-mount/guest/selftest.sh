#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Runs the series' own selftest.
. /guest/lib.sh
start
/selftest
ls /
end
