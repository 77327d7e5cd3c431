// SPDX-License-Identifier: GPL-2.0
/*
 * What initramfs_mount_test.rs needs of C: a sandbox, and what goes on around the
 * root mount.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/init_syscalls.h>
#include <linux/initrd.h>
#include <linux/mount.h>
#include <linux/pid_namespace.h>
#include <linux/syscalls.h>

#include "do_mounts.h"
#include "initramfs_internal.h"

/* What the sandbox is mounted on, and so holds */
static struct path outside;

static void __init move_to(const struct path *root)
{
	set_fs_root(current->fs, root);
	set_fs_pwd(current->fs, root);
}

/*
 * Moves the current kthread to a mount namespace and an fs_struct of its own, with
 * an empty root in which there is nothing but /proc.
 */
int __init initramfs_test_enter(void)
{
	int ret;

	wait_for_initramfs();
	ret = unshare_fs_struct();
	if (ret)
		return ret;
	/* A kthread may have another root than the first process. */
	get_fs_root(init_pid_ns.child_reaper->fs, &outside);
	move_to(&outside);
	path_put(&outside);
	ret = ksys_unshare(CLONE_NEWNS);
	if (ret)
		return ret;
	outside = current->fs->root;
	return init_mount("sandbox", "/", "tmpfs", 0, NULL) ?: init_chdir("/..") ?:
	       init_chroot(".") ?: init_mkdir("/proc", 0755) ?:
	       init_mount("proc", "/proc", "proc", 0, NULL);
}

/* These are no lazy umounts: they fail if somebody still has something in there. */
int __init initramfs_test_leave(void)
{
	int ret = init_umount("/proc", 0);

	init_flush_fput();
	move_to(&outside);
	return ret ?: init_umount("/..", 0);
}

long __init initramfs_test_read(const char *path, char *buf, size_t len)
{
	struct file *file = filp_open(path, O_RDONLY, 0);
	loff_t pos = 0;
	long ret;

	if (IS_ERR(file))
		return PTR_ERR(file);
	ret = kernel_read(file, buf, len, &pos);
	__fput_sync(file);
	return ret;
}

/*
 * Does with an archive what is done with that of a boot loader. Returns whether
 * the current task works with what it did before.
 */
bool __init initramfs_test_populate(const char *archive, unsigned long len)
{
	struct fs_struct *fs = current->fs;
	/* Of the initramfs that was booted with, and of the command line */
	char *error = initramfs_error, *rdinit = ramdisk_execute_command;
	bool enabled = initramfs_mount_enabled, errors_panic = initramfs_errors_panic;

	initrd_start = (unsigned long)archive;
	initrd_end = initrd_start + len;
	initramfs_mount_enabled = true;
	initramfs_errors_panic = false;
	ramdisk_execute_command = "/init";
	populate_root();
	ramdisk_execute_command = rdinit;
	initramfs_error = error;
	initramfs_mount_enabled = enabled;
	initramfs_errors_panic = errors_panic;
	initrd_start = 0;
	initrd_end = 0;
	return current->fs == fs;
}
