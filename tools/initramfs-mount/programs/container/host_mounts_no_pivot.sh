#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: runc --no-pivot: no mount of the host in the container's namespace
# always: in the namespace: 1
# native: yes
. /programs/lib.sh
host_mounts "runc run --no-pivot"
