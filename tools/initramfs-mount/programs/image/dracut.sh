#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: dracut (systemd switch-root) to a login on a disk
# image: dracut.img
