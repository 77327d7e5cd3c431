#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: what is below / stays out of reach of a container with CAP_SYS_ADMIN of its own
# says: below: out of reach
# stock: pivot_root
runc run -b /c-userns c3
