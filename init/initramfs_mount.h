/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A part of initramfs.c: unpacks the archives into a root mount.
 */
#include <linux/initrd.h>

#ifdef CONFIG_INITRAMFS_MOUNT

/* Early, so that initramfs_options= can depend on it */
static int __init initramfs_mount_setup(char *str)
{
	return kstrtobool(str, &root_mount.on);
}
early_param("initramfs_mount", initramfs_mount_setup);

/* Not literals, which would outlive init memory */
static const char is_root[] __initconst =
	KERN_INFO "initramfs_mount: / is the initramfs, %s %s\n";
static const char mount_failed[] __initconst =
	KERN_ERR "initramfs_mount: error %d, unpacking into rootfs\n";
static const char options_refused[] __initconst =
	KERN_ERR "initramfs_mount: error %d, mounted without options\n";
static const char archive_broken[] __initconst =
	KERN_EMERG "Initramfs unpacking failed: %s\n";
const char only_broken_initramfs[] __initconst =
	"VFS: Unable to mount root fs: no root=, and a broken initramfs: %s";

void __init announce_root_mount(void)
{
	if (root_mount.final)
		_printk(is_root, root_mount.fs_type, root_mount.options);
}

static inline bool __init external_archive(void)
{
	return initrd_start && !IS_ENABLED(CONFIG_INITRAMFS_FORCE);
}

static noinline char * __init unpack_builtin(void)
{
	return unpack_to_rootfs(__initramfs_start, __initramfs_size);
}

static noinline char * __init unpack_external(void)
{
	return unpack_to_rootfs((char *)initrd_start, initrd_end - initrd_start);
}

/* Into a root mount, unless there is nothing but the default archive to put there */
static __always_inline char * __init unpack_first(bool external)
{
	int ret;

	if (root_mount.on && (external || CONFIG_INITRAMFS_SOURCE[0])) {
		ret = prepare_mount_rootfs(&root_mount);
		if (root_mount.refused)
			_printk(options_refused, root_mount.refused);
		if (!ret) {
			if (!unpack_builtin())
				return NULL;
			revert_mount_rootfs(&root_mount);
			ret = -ENOSPC;
		}
		_printk(mount_failed, ret);
	}
	return unpack_builtin();
}

static __always_inline char * __init load_builtin(void)
{
	return unpack_first(external_archive());
}

/* Returns what speaks against an archive, as for an initrd */
static __always_inline char * __init load_external(void)
{
	char *err = unpack_external();

	if (root_mount.rootfs && !whole) {
		root_mount.broken = err;
		if (next_header) {
			_printk(archive_broken, err);
			err = NULL;
		}
		revert_mount_rootfs(&root_mount);
		if (CONFIG_INITRAMFS_SOURCE[0])
			unpack_first(false);
		else
			unpack_builtin();
	}
	return err;
}

static __always_inline void __init settle_initramfs(void)
{
	int ret = finish_mount_rootfs(&root_mount);

	if (ret) {
		_printk(mount_failed, ret);
		unpack_builtin();
		if (!CONFIG_INITRAMFS_SOURCE[0] ||
		    (external_archive() && !root_mount.broken))
			unpack_external();
	}
	security_initramfs_populated();
}

#ifdef CONFIG_INITRAMFS_MOUNT_KUNIT_TEST
#include "initramfs_mount_test.h"
#endif

#else

#define load_builtin() \
	unpack_to_rootfs(__initramfs_start, __initramfs_size)
#define load_external() \
	unpack_to_rootfs((char *)initrd_start, initrd_end - initrd_start)
#define settle_initramfs()	security_initramfs_populated()

#endif
