# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# The way to a disk, up to the last step.
. /guest/lib.sh
mount_all
move_mounts() {
	for dir in proc sys dev; do mount --move /$dir /mnt/$dir; done
}
mount -t ext4 /dev/vda /mnt
mounts | sed 's/^/before /' >/dev/hvc0
