/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A part of initramfs.c: what initramfs_mount_test.rs needs of it.
 */
#include <linux/syscalls.h>

/* Moves the current kthread to a mount namespace and an fs_struct of its own */
int __init initramfs_mount_test_unshare(void)
{
	wait_for_initramfs();
	return ksys_unshare(CLONE_NEWNS);
}

/* Unpacks as into a root mount. Returns whether it was a whole archive. */
bool __init initramfs_mount_test_unpack(const char *archive, unsigned long len)
{
	bool all;

	/* All that anybody asks of it meanwhile is if it is there */
	root_mount.rootfs = &root_mount;
	unpack_to_rootfs((char *)archive, len);
	all = whole;
	root_mount.rootfs = NULL;
	return all;
}
