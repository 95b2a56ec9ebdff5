/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * null: a mounted *file* that takes everything and is full of zeros, for
 * looking at what a filesystem costs without storage.
 *
 *     touch FILE; null [options] FILE
 *     dd if=FILE of=/dev/null bs=1M count=1000
 *
 * The mount point is a file: the root is a regular file then. Of two
 * operations for reading and two for writing one each is enough.
 */
#define FUSE_USE_VERSION 35

#include <fuse.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int op_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	(void)fi;
	if (strcmp(path, "/") != 0)
		return -ENOENT;
	memset(st, 0, sizeof(*st));
	st->st_mode = S_IFREG | 0644;
	st->st_nlink = 1;
	st->st_uid = getuid();
	st->st_gid = getgid();
	st->st_size = (off_t)1 << 40;
	st->st_atime = st->st_mtime = st->st_ctime = time(NULL);
	return 0;
}

static int op_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	(void)path;
	(void)size;
	(void)fi;
	return 0;
}

static int op_read(const char *path, char *buf, size_t size, off_t off,
		   struct fuse_file_info *fi)
{
	(void)path;
	(void)fi;
	if (off >= (off_t)1 << 40)
		return 0;
	memset(buf, 0, size);
	return size;
}

/* The data may be in a pipe: nothing is copied if nobody looks at it. */
static int op_write_buf(const char *path, struct fuse_bufvec *buf, off_t off,
			struct fuse_file_info *fi)
{
	(void)path;
	(void)off;
	(void)fi;
	return fuse_buf_size(buf);
}

static const struct fuse_operations operations = {
	.getattr = op_getattr,
	.truncate = op_truncate,
	.read = op_read,
	.write_buf = op_write_buf,
};

int main(int argc, char **argv)
{
	return fuse_main(argc, argv, &operations, NULL);
}
