#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: systemd reaches multi-user.target, no unit failed
# says: running
# says: active
systemctl is-system-running --wait
systemctl --failed --no-legend --plain
[ -z "$(systemctl --failed --no-legend --plain)" ] && systemctl is-active multi-user.target
