#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: runc --no-pivot: a network namespace unmounted on the host is not held
# always: busy
. /programs/lib.sh
netns_is_free "runc run --no-pivot"
