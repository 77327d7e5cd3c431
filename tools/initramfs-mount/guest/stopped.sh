# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What is run in the shell of an initramfs image before it leaves for the disk, with what is built in.
while read -r line; do echo "stop: $line"; done </proc/self/mountinfo >/dev/hvc0
