/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A part of initramfs.c: finds out if what it has unpacked is all of an archive.
 * rootfs keeps what it gets, so that nobody has ever asked; a root mount is taken
 * away if it is not.
 */
#ifdef CONFIG_INITRAMFS_MOUNT
#include <linux/decompress/generic.h>

/* Of LZ4's magic number, and the first of no other's */
#define LZ4_MAGIC_BYTE	0x02

static struct file *wfile __initdata;
static unsigned long my_inptr __initdata;

/* Nothing but what can't be part of an archive follows */
static bool whole __initdata;

/* The unpacker passes over what it can't make. Returns @err. */
static noinline int __init no_space(int err)
{
	/* Not a literal, which would outlive init memory */
	static char no_space_left[] __initdata = "no space left";

	if (root_mount.rootfs && (err == -ENOSPC || err == -ENOMEM))
		message = no_space_left;
	return err;
}

#define begin_entry(header)	(whole = false, parse_header(header))

static inline void __init end_of_archive(void)
{
	whole = true;
	free_hash();
}

static inline decompress_fn __init detect_compression(const u8 *buf, long len,
						      const char **name)
{
	decompress_fn decompress = decompress_method(buf, len, name);

	/* Another archive, even if it can't be read */
	if (*name)
		whole = false;
	return decompress;
}

/*
 * What was unpacked before a decompressor failed is not all of an archive, even if
 * it ends as one does.  LZ4 has no end of its own, though: what it fails at after
 * that is junk.
 */
static inline int __init decompressed(const u8 *buf, unsigned long len, int err)
{
	/* gunzip doesn't look whether its trailer is there */
	if (my_inptr > len)
		err = -EIO;
	if (err && *buf != LZ4_MAGIC_BYTE)
		whole = false;
	return err;
}

static inline void __init close_file(void)
{
	fput(wfile);
	wfile = NULL;
}

static inline void __init start_of_input(void)
{
	message = NULL;
	next_header = 0;
	remains = 0;
	whole = false;
}

static __always_inline void __init end_of_input(void)
{
	static char cut_off[] __initdata = "unexpected end of archive";
	long got = collect - collected;

	dir_utime();
	if (!root_mount.rootfs)
		return;

	if (!message) {
		/* After a whole archive, a header, and no other junk? */
		if (whole ? remains && got > 1 && collected[1] == '7' :
		    remains || this_header < next_header)
			message = cut_off;
		whole = !message;
	}
	/* What could hold the root mount, and what would follow into the next */
	if (!IS_ERR_OR_NULL(wfile))
		close_file();
	free_hash();
}

#else

#define whole			false
#define begin_entry(header)	parse_header(header)
#define end_of_archive()	free_hash()
#define close_file()		fput(wfile)
#define detect_compression	decompress_method
#define start_of_input()	(message = NULL)
#define end_of_input()		dir_utime()

static inline int no_space(int err)
{
	return err;
}

static inline int decompressed(const u8 *buf, unsigned long len, int err)
{
	return err;
}

#endif
