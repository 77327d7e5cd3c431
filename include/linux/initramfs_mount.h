/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_INITRAMFS_MOUNT_H
#define _LINUX_INITRAMFS_MOUNT_H

#include <linux/printk.h>
#include <asm/page.h>

/* A mount over rootfs that the initramfs is unpacked into */
struct root_mount {
	/* Boot parameters; empty, or for rootfstype NULL, if they were not given */
	const char *root, *rootflags, *initramfs_options, *rdinit, *rootfstype;
	/* What became of them; no options if they were refused */
	const char *fs_type, *options;
	/* Where to go back to; NULL if there is no root mount, or no way back */
	void *rootfs;
	/* Why options were refused */
	int refused;
	/* Whether the root mount holds rdinit, and is there to stay */
	bool final;
	/* Whether there is to be one */
	bool on;
	char page[PAGE_SIZE];
	/* What was wrong with an archive that was taken away with its root mount */
	const char *broken;
};

extern struct root_mount root_mount;
extern const char only_broken_initramfs[];

/* init/initramfs_mount.rs */
int prepare_mount_rootfs(struct root_mount *mount);
int finish_mount_rootfs(struct root_mount *mount);
void revert_mount_rootfs(struct root_mount *mount);

/* init/initramfs_mount_test.h */
int initramfs_mount_test_unshare(void);
bool initramfs_mount_test_unpack(const char *archive, unsigned long len);

#ifdef CONFIG_INITRAMFS_MOUNT
void announce_root_mount(void);
#else
static inline void announce_root_mount(void) { }
#endif

#endif
