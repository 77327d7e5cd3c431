#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What systemd starts once all else has been started.
. /guest/lib.sh
say_on_port
tar -C /c/rootfs -cf /images/c.tar .
. /guest/programs.sh
systemctl poweroff -ff
