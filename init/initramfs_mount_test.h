/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A part of initramfs.c: what initramfs_mount_test.rs needs of it.
 */
#include <linux/fs_struct.h>
#include <linux/pid_namespace.h>
#include <linux/syscalls.h>

/* Moves the current kthread to a mount namespace and an fs_struct of its own */
int __init initramfs_mount_test_unshare(void)
{
	struct path root;
	int ret;

	wait_for_initramfs();
	ret = unshare_fs_struct();
	if (ret)
		return ret;
	/* kthreads may have another root than the first process, without any namespace */
	get_fs_root(init_pid_ns.child_reaper->fs, &root);
	set_fs_root(current->fs, &root);
	set_fs_pwd(current->fs, &root);
	path_put(&root);
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
