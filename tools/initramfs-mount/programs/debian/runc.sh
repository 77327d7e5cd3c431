#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: runc run, under systemd
# says: container: runs
# stock: pivot_root
runc run -b /c c1
