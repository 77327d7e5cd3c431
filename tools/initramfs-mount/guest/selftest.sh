#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Runs the series' own selftest.
. /guest/lib.sh
mount_all
say_on_port
/selftest
ls /
end
