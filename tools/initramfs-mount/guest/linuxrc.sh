#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Before 7.0, an initrd may have a program that runs before there is a root.
echo guest: linuxrc
