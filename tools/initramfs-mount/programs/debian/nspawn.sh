#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: systemd-nspawn
# says: container: runs
# It moves the new root over the old one where it can't pivot.
systemd-nspawn --quiet --pipe -D /c/rootfs /bin/sh /inside
