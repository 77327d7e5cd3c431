#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# What the kernel starts for devices, as /sbin/hotplug: leaves a mark in its root, and says in the
# log that it is there.
/bin/busybox echo x >>/helped
/bin/busybox echo "helper in $(/bin/busybox cat /name)" >/dev/kmsg
