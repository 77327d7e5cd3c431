#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: runc run
# says: container: runs
# stock: pivot_root
runc run -b /c c1
