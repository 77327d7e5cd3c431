#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# title: kexec into the same kernel, with the archive that retain_initrd keeps
# says: kexec: done
# says: container: runs
# stock: pivot_root
if grep -q ' again$' /proc/cmdline; then
	echo "kexec: done"
	runc run -b /c again
	exit
fi
/real/kexec -l /vmlinuz --initrd=/sys/firmware/initrd --append="$(cat /proc/cmdline) again" && /real/kexec -e
