// SPDX-License-Identifier: GPL-2.0
/* A module from outside of the tree, which DKMS builds for a kernel that is installed. */
#include <linux/module.h>

static int __init trial_init(void)
{
	pr_info("trial: loaded\n");
	return 0;
}
module_init(trial_init);

MODULE_DESCRIPTION("A module that says it is there");
MODULE_LICENSE("GPL");
