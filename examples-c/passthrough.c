/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * passthrough: shows a directory, by the path API.
 *
 *     passthrough -o source=DIR [options] MOUNTPOINT
 *
 * Every operation is the system call of the same name, relative to a
 * descriptor of DIR. Open files are used by their descriptors (fi->fh), so
 * paths are not needed there. read_buf and write_buf say where data is instead
 * of copying it.
 *
 *     -o paths         the library gives a path to every operation, also where
 *                      there is a descriptor (nullpath_ok = 0)
 *     -o noplus        directories are listed without attributes
 *     -o direct        the kernel keeps no data (direct_io)
 *     -o hard_remove   what is removed while open is not hidden but gone
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 35

#include <fuse.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "counts.h"


static struct {
	char *source;
	char *stats;
	int plus, nopath, direct, hard_remove;
} settings = { .plus = 1, .nopath = 1 };

static const struct fuse_opt options[] = {
	{ "source=%s", offsetof(__typeof__(settings), source), 0 },
	{ "stats=%s", offsetof(__typeof__(settings), stats), 0 },
	{ "noplus", offsetof(__typeof__(settings), plus), 0 },
	{ "direct", offsetof(__typeof__(settings), direct), 1 },
	{ "hard_remove", offsetof(__typeof__(settings), hard_remove), 1 },
	{ "paths", offsetof(__typeof__(settings), nopath), 0 },
	FUSE_OPT_END,
};

static int root; /* the directory that is shown */

static int result(int returned)
{
	return returned == -1 ? -errno : returned;
}

/* Paths are relative to `root`, and the root itself is ".". */
static const char *relative(const char *path)
{
	return path[1] ? path + 1 : ".";
}

/* The name under /proc of what calls without an *at form need. */
static const char *by_descriptor(char *buffer, size_t size, const char *path)
{
	snprintf(buffer, size, "/proc/self/fd/%d/%s", root, relative(path));
	return buffer;
}

static void *op_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	(void)conn;
	cfg->use_ino = 1;
	cfg->nullpath_ok = settings.nopath;
	cfg->direct_io = settings.direct;
	cfg->hard_remove = settings.hard_remove;
	return NULL;
}

static int op_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	COUNT(getattr);
	if (fi)
		return result(fstat(fi->fh, st));
	return result(fstatat(root, relative(path), st, AT_SYMLINK_NOFOLLOW));
}

static int op_access(const char *path, int mask)
{
	COUNT(access);
	return result(faccessat(root, relative(path), mask, 0));
}

static int op_readlink(const char *path, char *buf, size_t size)
{
	ssize_t length;

	COUNT(readlink);
	length = readlinkat(root, relative(path), buf, size - 1);
	if (length == -1)
		return -errno;
	buf[length] = '\0';
	return 0;
}

/* New files belong to whoever made them, where this process may do that. */
static int owned(const char *path, int made)
{
	struct fuse_context *context = fuse_get_context();

	if (made == -1)
		return -errno;
	if (geteuid() == 0 && (context->uid || context->gid))
		return result(fchownat(root, relative(path), context->uid, context->gid,
				       AT_SYMLINK_NOFOLLOW));
	return 0;
}

static int op_mknod(const char *path, mode_t mode, dev_t rdev)
{
	COUNT(mknod);
	return owned(path, mknodat(root, relative(path), mode, rdev));
}

static int op_mkdir(const char *path, mode_t mode)
{
	COUNT(mkdir);
	return owned(path, mkdirat(root, relative(path), mode));
}

static int op_unlink(const char *path)
{
	COUNT(unlink);
	return result(unlinkat(root, relative(path), 0));
}

static int op_rmdir(const char *path)
{
	COUNT(rmdir);
	return result(unlinkat(root, relative(path), AT_REMOVEDIR));
}

static int op_symlink(const char *target, const char *path)
{
	COUNT(symlink);
	return owned(path, symlinkat(target, root, relative(path)));
}

static int op_rename(const char *from, const char *to, unsigned int flags)
{
	if (flags)
		COUNT(rename2);
	else
		COUNT(rename);
	return result(renameat2(root, relative(from), root, relative(to), flags));
}

static int op_link(const char *from, const char *to)
{
	COUNT(link);
	return result(linkat(root, relative(from), root, relative(to), 0));
}

static int op_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	COUNT(setattr);
	if (fi)
		return result(fchmod(fi->fh, mode));
	return result(fchmodat(root, relative(path), mode, 0));
}

static int op_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *fi)
{
	COUNT(setattr);
	if (fi)
		return result(fchown(fi->fh, uid, gid));
	return result(fchownat(root, relative(path), uid, gid, AT_SYMLINK_NOFOLLOW));
}

static int op_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	char name[PATH_MAX + 32];

	COUNT(setattr);
	if (fi)
		return result(ftruncate(fi->fh, size));
	return result(truncate(by_descriptor(name, sizeof(name), path), size));
}

static int op_utimens(const char *path, const struct timespec times[2],
		      struct fuse_file_info *fi)
{
	COUNT(setattr);
	if (fi)
		return result(futimens(fi->fh, times));
	return result(utimensat(root, relative(path), times, AT_SYMLINK_NOFOLLOW));
}

static int opened(const char *path, struct fuse_file_info *fi, int flags, mode_t mode)
{
	int fd = openat(root, relative(path), flags | O_CLOEXEC, mode);

	if (fd == -1)
		return -errno;
	fi->fh = fd;
	return 0;
}

static int op_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	int made;

	COUNT(create);
	made = opened(path, fi, fi->flags, mode);
	return made ? made : owned(path, 0);
}

static int op_open(const char *path, struct fuse_file_info *fi)
{
	COUNT(open);
	return opened(path, fi, fi->flags & ~O_NOFOLLOW, 0);
}

static int op_read(const char *path, char *buf, size_t size, off_t off,
		   struct fuse_file_info *fi)
{
	(void)path;
	COUNT(read);
	return result(pread(fi->fh, buf, size, off));
}

static int op_read_buf(const char *path, struct fuse_bufvec **bufp, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	struct fuse_bufvec *source = malloc(sizeof(*source));

	(void)path;
	COUNT(read);
	if (!source)
		return -ENOMEM;
	*source = FUSE_BUFVEC_INIT(size);
	source->buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	source->buf[0].fd = fi->fh;
	source->buf[0].pos = off;
	*bufp = source;
	return 0;
}

static int op_write(const char *path, const char *buf, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	(void)path;
	COUNT(write);
	return result(pwrite(fi->fh, buf, size, off));
}

static int op_write_buf(const char *path, struct fuse_bufvec *buf, off_t off,
			struct fuse_file_info *fi)
{
	struct fuse_bufvec target = FUSE_BUFVEC_INIT(fuse_buf_size(buf));

	(void)path;
	COUNT(write);
	target.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	target.buf[0].fd = fi->fh;
	target.buf[0].pos = off;
	return fuse_buf_copy(&target, buf, FUSE_BUF_SPLICE_NONBLOCK);
}

static int op_statfs(const char *path, struct statvfs *st)
{
	(void)path;
	COUNT(statfs);
	return result(fstatvfs(root, st));
}

/* Closing a duplicate tells the file's own filesystem that a close happened. */
static int op_flush(const char *path, struct fuse_file_info *fi)
{
	int copy;

	(void)path;
	COUNT(flush);
	copy = dup(fi->fh);
	return copy == -1 ? -errno : result(close(copy));
}

static int op_release(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	COUNT(release);
	return result(close(fi->fh));
}

static int op_fsync(const char *path, int datasync, struct fuse_file_info *fi)
{
	(void)path;
	COUNT(fsync);
	return result(datasync ? fdatasync(fi->fh) : fsync(fi->fh));
}

static int op_setxattr(const char *path, const char *name, const char *value, size_t size,
		       int flags)
{
	char at[PATH_MAX + 32];

	COUNT(setxattr);
	return result(lsetxattr(by_descriptor(at, sizeof(at), path), name, value, size, flags));
}

static int op_getxattr(const char *path, const char *name, char *value, size_t size)
{
	char at[PATH_MAX + 32];

	COUNT(getxattr);
	return result(lgetxattr(by_descriptor(at, sizeof(at), path), name, value, size));
}

static int op_listxattr(const char *path, char *list, size_t size)
{
	char at[PATH_MAX + 32];

	COUNT(listxattr);
	return result(llistxattr(by_descriptor(at, sizeof(at), path), list, size));
}

static int op_removexattr(const char *path, const char *name)
{
	char at[PATH_MAX + 32];

	COUNT(removexattr);
	return result(lremovexattr(by_descriptor(at, sizeof(at), path), name));
}

/* A directory that is read: where it is, and the entry that did not fit. */
struct listing {
	DIR *dir;
	struct dirent *next;
	off_t at;
};

static struct listing *listing_of(struct fuse_file_info *fi)
{
	return (struct listing *)(uintptr_t)fi->fh;
}

static int op_opendir(const char *path, struct fuse_file_info *fi)
{
	struct listing *listing;
	int fd, error;

	COUNT(opendir);
	fd = openat(root, relative(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return -errno;
	listing = calloc(1, sizeof(*listing));
	if (listing && (listing->dir = fdopendir(fd))) {
		fi->fh = (uintptr_t)listing;
		return 0;
	}
	error = listing ? errno : ENOMEM;
	free(listing);
	close(fd);
	return -error;
}

static int op_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off,
		      struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	struct listing *listing = listing_of(fi);
	int plus = settings.plus && (flags & FUSE_READDIR_PLUS);

	(void)path;
	if (plus)
		COUNT(readdirplus);
	else
		COUNT(readdir);
	if (off != listing->at) {
		seekdir(listing->dir, off);
		listing->next = NULL;
		listing->at = off;
	}
	for (;;) {
		enum fuse_fill_dir_flags filled = 0;
		struct stat st = { 0 };

		errno = 0;
		if (!listing->next && !(listing->next = readdir(listing->dir)))
			return -errno;
		if (plus && fstatat(dirfd(listing->dir), listing->next->d_name, &st,
				    AT_SYMLINK_NOFOLLOW) == 0) {
			filled = FUSE_FILL_DIR_PLUS;
		} else {
			st.st_ino = listing->next->d_ino;
			st.st_mode = DTTOIF(listing->next->d_type);
		}
		if (fill(buf, listing->next->d_name, &st, listing->next->d_off, filled))
			return 0;
		listing->at = listing->next->d_off;
		listing->next = NULL;
	}
}

static int op_releasedir(const char *path, struct fuse_file_info *fi)
{
	struct listing *listing = listing_of(fi);

	(void)path;
	COUNT(releasedir);
	closedir(listing->dir);
	free(listing);
	return 0;
}

static int op_fsyncdir(const char *path, int datasync, struct fuse_file_info *fi)
{
	int fd = dirfd(listing_of(fi)->dir);

	(void)path;
	COUNT(fsyncdir);
	return result(datasync ? fdatasync(fd) : fsync(fd));
}

static int op_flock(const char *path, struct fuse_file_info *fi, int op)
{
	(void)path;
	COUNT(flock);
	return result(flock(fi->fh, op));
}

static int op_fallocate(const char *path, int mode, off_t off, off_t length,
			struct fuse_file_info *fi)
{
	(void)path;
	COUNT(fallocate);
	return result(fallocate(fi->fh, mode, off, length));
}

static ssize_t op_copy_file_range(const char *from, struct fuse_file_info *fi_from,
				  off_t off_from, const char *to, struct fuse_file_info *fi_to,
				  off_t off_to, size_t size, int flags)
{
	ssize_t copied;

	(void)from;
	(void)to;
	COUNT(copy_file_range);
	copied = copy_file_range(fi_from->fh, &off_from, fi_to->fh, &off_to, size, flags);
	return copied == -1 ? -errno : copied;
}

static off_t op_lseek(const char *path, off_t off, int whence, struct fuse_file_info *fi)
{
	off_t at;

	(void)path;
	COUNT(lseek);
	at = lseek(fi->fh, off, whence);
	return at == -1 ? -errno : at;
}

static struct fuse_operations operations = {
	.init = op_init,
	.getattr = op_getattr,
	.access = op_access,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.chmod = op_chmod,
	.chown = op_chown,
	.truncate = op_truncate,
	.utimens = op_utimens,
	.create = op_create,
	.open = op_open,
	.read = op_read,
	.read_buf = op_read_buf,
	.write = op_write,
	.write_buf = op_write_buf,
	.statfs = op_statfs,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.flock = op_flock,
	.fallocate = op_fallocate,
	.copy_file_range = op_copy_file_range,
	.lseek = op_lseek,
};

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	int status = 1;

	if (fuse_opt_parse(&args, &settings, options, NULL) == -1)
		return 1;
	umask(0);
	root = open(settings.source ? settings.source : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root == -1)
		fprintf(stderr, "passthrough: cannot open %s: %s\n", settings.source,
			strerror(errno));
	else if (counts_start(settings.stats) == -1)
		fprintf(stderr, "passthrough: cannot create %s: %s\n", settings.stats,
			strerror(errno));
	else
		status = fuse_main(args.argc, args.argv, &operations, NULL);
	counts_finish();
	fuse_opt_free_args(&args);
	free(settings.source);
	free(settings.stats);
	return status;
}
