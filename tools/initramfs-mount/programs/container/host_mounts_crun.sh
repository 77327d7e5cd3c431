#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: crun: no mount of the host in the container's namespace
# stock: pivot_root
# native: yes
. /programs/lib.sh
host_mounts "crun run"
