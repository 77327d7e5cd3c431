#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: initramfs-tools (klibc run-init) to a login on a disk
# image: initramfs-tools.img
