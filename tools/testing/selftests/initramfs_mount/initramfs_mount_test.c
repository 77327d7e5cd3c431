// SPDX-License-Identifier: GPL-2.0
/*
 * Can a system that lives in its initramfs leave it?
 *
 * Tells what is mounted on /, and tries pivot_root(2) out of it, in a mount namespace
 * of its own, so that the system stays as it is. To be run in an initramfs, where it
 * needs nothing but a place to make a directory. Where / is neither a tmpfs nor a
 * ramfs, it is skipped.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest.h"

/* Prints what is mounted on /, and returns how many mounts are. */
static int roots(const char *mountinfo)
{
	char line[4096], where[4096], type[64], source[256];
	FILE *file = fopen(mountinfo, "r");
	const char *rest;
	int count = 0;
	int id;

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%d %*s %*s %*s %4095s", &id, where) != 2)
			continue;
		rest = strstr(line, " - ");
		if (strcmp(where, "/") || !rest)
			continue;
		if (sscanf(rest, " - %63s %255s", type, source) != 2)
			continue;
		ksft_print_msg("/ is mount %d, of type %s, from %s\n", id, type, source);
		count++;
	}
	fclose(file);
	return count;
}

/* What / would be in an initramfs: no disk, and nothing of a network */
static bool in_initramfs(void)
{
	struct statfs fs;

	return !statfs("/", &fs) &&
	       (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

static void leave(const char *dir)
{
	char mountinfo[64];
	int pivoted, count;

	if (unshare(CLONE_NEWNS))
		ksft_exit_skip("no mount namespace of its own: %s\n", strerror(errno));
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		ksft_exit_fail_msg("can't make the mounts private: %s\n", strerror(errno));
	ksft_set_plan(3);

	/* The image may have no /proc */
	snprintf(mountinfo, sizeof(mountinfo), "%s/self/mountinfo", dir);
	if (mount("proc", dir, "proc", 0, NULL)) {
		ksft_test_result_skip("one mount is the root: no proc\n");
	} else {
		count = roots(mountinfo);
		ksft_test_result(count == 1, "one mount is the root\n");
		umount2(dir, MNT_DETACH);
	}

	if (mount("new", dir, "tmpfs", 0, NULL) || chdir(dir))
		ksft_exit_fail_msg("can't mount a tmpfs: %s\n", strerror(errno));
	pivoted = !syscall(SYS_pivot_root, ".", ".");
	if (!pivoted)
		ksft_print_msg("pivot_root: %s\n", strerror(errno));
	ksft_test_result(pivoted, "pivot_root out of the initramfs\n");

	/* The old root lies over the new one then, which is empty */
	if (pivoted)
		ksft_test_result(!umount2(".", MNT_DETACH) && access(dir, F_OK),
				 "umount of the old root\n");
	else
		ksft_test_result_skip("umount of the old root\n");
	ksft_finished();
}

int main(void)
{
	char dir[] = "/initramfs_mount_test.XXXXXX";
	int status;
	pid_t pid;

	ksft_print_header();
	if (!in_initramfs())
		ksft_exit_skip("the root is not an initramfs\n");
	if (!mkdtemp(dir))
		ksft_exit_skip("no directory can be made in /: %s\n", strerror(errno));

	/* Somebody has to stay, to take the directory away */
	fflush(stdout);
	pid = fork();
	if (!pid)
		leave(dir);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		status = KSFT_FAIL << 8;
	rmdir(dir);
	return WEXITSTATUS(status);
}
