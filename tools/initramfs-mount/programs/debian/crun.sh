#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: crun run, under systemd
# says: container: runs
# stock: pivot_root
crun run -b /c c2
