// SPDX-License-Identifier: GPL-2.0
/*
 * What initramfs_mount_test.rs needs of C: a sandbox, the unpacker's verdict, and
 * what goes on around the root mount.
 */
#include <kunit/static_stub.h>
#include <linux/async.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/init_syscalls.h>
#include <linux/initrd.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/pid_namespace.h>
#include <linux/syscalls.h>
#include <linux/umh.h>

#include "do_mounts.h"
#include "initramfs_internal.h"

/* Where the sandbox has been entered from */
static struct path outside __initdata;

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
	get_fs_root(current->fs, &outside);
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
	path_put(&outside);
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

static int refusal;

static int refuse(struct mnt_idmap *idmap, struct inode *inode, int mask)
{
	return mask & MAY_WRITE ? refusal : 0;
}

static const struct inode_operations refusing = {
	.lookup		= simple_lookup,
	.permission	= refuse,
};

/* From here on, making anything in @dir fails. */
int __init initramfs_test_refuse(const char *dir, int err)
{
	struct inode *inode;
	struct path path;
	int ret;

	ret = kern_path(dir, LOOKUP_DIRECTORY, &path);
	if (ret)
		return ret;
	refusal = err;
	inode = d_inode(path.dentry);
	inode->i_op = &refusing;
	inode->i_opflags &= ~IOP_FASTPERM;
	path_put(&path);
	return 0;
}

/* Returns whether the archive was whole. */
bool __init initramfs_test_unpack(const char *archive, unsigned long len)
{
	unpack_to_rootfs((char *)archive, len);
	init_flush_fput();
	return !initramfs_broken;
}

static struct path populated __initdata;

static void __init note_root(void)
{
	get_fs_root(current->fs, &populated);
}

/*
 * Does with an archive what is done with that of a boot loader. Returns whether
 * security modules were told when the root was what it is now.
 */
bool __init initramfs_test_populate(const char *archive, unsigned long len, bool force)
{
	struct kunit *test = kunit_get_current_test();
	struct fs_struct *fs = current->fs;
	/* Of the initramfs that was booted with, and of the command line */
	char *error = initramfs_error;
	bool enabled = initramfs_mount_enabled, errors_panic = initramfs_errors_panic;
	bool ok;

	initrd_start = (unsigned long)archive;
	initrd_end = initrd_start + len;
	initramfs_force = force;
	initramfs_mount_enabled = true;
	initramfs_errors_panic = false;
	kunit_activate_static_stub(test, initramfs_populated, note_root);
	populate_root(0);
	kunit_deactivate_static_stub(test, initramfs_populated);
	initramfs_error = error;
	initramfs_mount_enabled = enabled;
	initramfs_errors_panic = errors_panic;
	initramfs_force = IS_ENABLED(CONFIG_INITRAMFS_FORCE);
	initrd_start = 0;
	initrd_end = 0;

	ok = current->fs == fs && path_equal(&populated, &fs->root);
	path_put(&populated);
	return ok;
}

struct helper {
	struct subprocess_info *info;
	struct fs_struct *fs;
	struct path before, after, seen;
	struct completion done;
};

static int __init note_helper(struct subprocess_info *info, struct cred *new)
{
	struct helper *helper = info->data;

	get_fs_root(current->fs, &helper->seen);
	complete(&helper->done);
	/* There is nothing to be executed. */
	return -ECANCELED;
}

/* Does what do_populate_rootfs() does, as far as a helper is concerned. */
static void __init change_root(void *data, async_cookie_t cookie)
{
	struct helper *helper = data;

	if (call_usermodehelper_exec(helper->info, UMH_NO_WAIT))
		return;
	/* Long enough for the helper, if it did not wait */
	msleep(100);
	set_fs_root(helper->fs, &helper->after);
}

/*
 * Returns whether a helper that is called while there is no root yet has the root
 * that comes to be.
 */
bool __init initramfs_test_helper(void)
{
	static char *argv[2] = { "/helper" };
	static struct helper helper;
	bool ok = false;

	wait_for_initramfs();
	helper.fs = init_pid_ns.child_reaper->fs;
	init_completion(&helper.done);
	get_fs_root(helper.fs, &helper.before);
	if (vfs_path_lookup(helper.before.dentry, helper.before.mnt, "dev", LOOKUP_DIRECTORY,
			    &helper.after))
		goto out;
	helper.info = call_usermodehelper_setup(argv[0], argv, argv + 1, GFP_KERNEL, note_helper,
						NULL, &helper);
	if (!helper.info)
		goto out_after;

	initramfs_cookie = async_schedule_domain(change_root, &helper, &initramfs_domain);
	if (wait_for_completion_timeout(&helper.done, 10 * HZ)) {
		ok = path_equal(&helper.seen, &helper.after);
		path_put(&helper.seen);
	}
	wait_for_initramfs();
	set_fs_root(helper.fs, &helper.before);
out_after:
	path_put(&helper.after);
out:
	path_put(&helper.before);
	return ok;
}
