#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A small initramfs for container runtimes.
. /guest/lib.sh
mount_all
mount -t cgroup2 cgroup /sys/fs/cgroup
say_on_port
. /guest/programs.sh
end
