#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# Before 7.0, an initrd may have a program that runs before there is a root.
/bin/busybox echo guest: linuxrc
