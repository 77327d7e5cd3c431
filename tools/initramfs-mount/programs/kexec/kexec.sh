#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: kexec into the same kernel, with the archive that retain_initrd keeps
# says: kexec: done
# says: container: runs
# stock: pivot_root
. /guest/lib.sh
echo "root: $(root_field)"
if grep -q ' again$' /proc/cmdline; then
	echo "kexec: done"
	runc run -b /c again
	exit
fi
mount -t ext4 /dev/vda /mnt &&
	kexec -l /mnt/boot/vmlinuz --initrd=/sys/firmware/initrd --append="$(cat /proc/cmdline) again" &&
	umount /mnt && systemctl kexec && sleep 100
