#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: vng --force-initramfs, to the host's files
