/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * rot13: a module that shows another filesystem with the letters of all names
 * moved by thirteen places.
 *
 *     cc -shared -fPIC -Wl,-z,nodelete rot13.c $(pkg-config --cflags --libs fuse3) \
 *         -o libfusemod_rot13.so
 *     LD_LIBRARY_PATH=. passthrough -o modules=rot13 [options] MOUNTPOINT
 *
 * A module is a layer: it has the operations of a filesystem, and calls those of
 * the layer below by the fuse_fs_* functions. What the layer below does not have
 * these answer with ENOSYS. Modules can be stacked: modules=rot13:rot13 shows
 * the names as they are.
 *
 * nodelete keeps it in memory to the end of the process: libfuse 3.14 unloads
 * modules before it has called their destroy().
 *
 * Targets of relative symbolic links are paths of the mount and change as well;
 * absolute ones do not.
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 35

#include <fuse.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static char rotated_letter(char letter)
{
	if (letter >= 'a' && letter <= 'z')
		return 'a' + (letter - 'a' + 13) % 26;
	if (letter >= 'A' && letter <= 'Z')
		return 'A' + (letter - 'A' + 13) % 26;
	return letter;
}

static void rotate(char *text)
{
	for (; *text; text++)
		*text = rotated_letter(*text);
}

/* To be freed; NULL without memory, and for NULL: operations on open files may
 * come without a path, if the filesystem does not need it. */
static char *rotated(const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	if (copy)
		rotate(copy);
	return copy;
}

/* The layer below is what the factory left for the operations. */
static struct fuse_fs *next(void)
{
	return fuse_get_context()->private_data;
}

/* Returns what `call` returns, in which `below` is the name there of `path`. */
#define PASS_ON_AS(type, path, call) \
	do { \
		char *below = rotated(path); \
		type result = path && !below ? -ENOMEM : (call); \
		free(below); \
		return result; \
	} while (0)
#define PASS_ON(path, call) PASS_ON_AS(int, path, call)

/* The same with two names. */
#define PASS_ON_BOTH(type, one, two, call) \
	do { \
		char *below_one = rotated(one), *below_two = rotated(two); \
		type result = (one && !below_one) || (two && !below_two) ? -ENOMEM : (call); \
		free(below_one); \
		free(below_two); \
		return result; \
	} while (0)

static int rot_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	PASS_ON(path, fuse_fs_getattr(next(), below, st, fi));
}

static int rot_access(const char *path, int mask)
{
	PASS_ON(path, fuse_fs_access(next(), below, mask));
}

static int rot_readlink(const char *path, char *buf, size_t size)
{
	char *below = rotated(path);
	int error = below ? fuse_fs_readlink(next(), below, buf, size) : -ENOMEM;

	if (error == 0 && buf[0] != '/')
		rotate(buf);
	free(below);
	return error;
}

static int rot_symlink(const char *target, const char *path)
{
	if (target[0] == '/')
		PASS_ON(path, fuse_fs_symlink(next(), target, below));
	PASS_ON_BOTH(int, target, path, fuse_fs_symlink(next(), below_one, below_two));
}

static int rot_opendir(const char *path, struct fuse_file_info *fi)
{
	PASS_ON(path, fuse_fs_opendir(next(), below, fi));
}

/* Where the entries of a directory go, and by which function. */
struct listing {
	void *buf;
	fuse_fill_dir_t fill;
};

static int rot_fill(void *buf, const char *name, const struct stat *st, off_t off,
		    enum fuse_fill_dir_flags flags)
{
	struct listing *listing = buf;
	char *above = rotated(name);
	int full = above ? listing->fill(listing->buf, above, st, off, flags) : 1;

	free(above);
	return full;
}

static int rot_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off,
		       struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	struct listing listing = { .buf = buf, .fill = fill };

	PASS_ON(path, fuse_fs_readdir(next(), below, &listing, rot_fill, off, fi, flags));
}

static int rot_releasedir(const char *path, struct fuse_file_info *fi)
{
	PASS_ON(path, fuse_fs_releasedir(next(), below, fi));
}

static int rot_fsyncdir(const char *path, int datasync, struct fuse_file_info *fi)
{
	PASS_ON(path, fuse_fs_fsyncdir(next(), below, datasync, fi));
}

static int rot_mknod(const char *path, mode_t mode, dev_t rdev)
{
	PASS_ON(path, fuse_fs_mknod(next(), below, mode, rdev));
}

static int rot_mkdir(const char *path, mode_t mode)
{
	PASS_ON(path, fuse_fs_mkdir(next(), below, mode));
}

static int rot_unlink(const char *path)
{
	PASS_ON(path, fuse_fs_unlink(next(), below));
}

static int rot_rmdir(const char *path)
{
	PASS_ON(path, fuse_fs_rmdir(next(), below));
}

static int rot_rename(const char *from, const char *to, unsigned int flags)
{
	PASS_ON_BOTH(int, from, to, fuse_fs_rename(next(), below_one, below_two, flags));
}

static int rot_link(const char *from, const char *to)
{
	PASS_ON_BOTH(int, from, to, fuse_fs_link(next(), below_one, below_two));
}

static int rot_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	PASS_ON(path, fuse_fs_chmod(next(), below, mode, fi));
}

static int rot_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *fi)
{
	PASS_ON(path, fuse_fs_chown(next(), below, uid, gid, fi));
}

static int rot_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	PASS_ON(path, fuse_fs_truncate(next(), below, size, fi));
}

static int rot_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *fi)
{
	PASS_ON(path, fuse_fs_utimens(next(), below, times, fi));
}

static int rot_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	PASS_ON(path, fuse_fs_create(next(), below, mode, fi));
}

static int rot_open(const char *path, struct fuse_file_info *fi)
{
	PASS_ON(path, fuse_fs_open(next(), below, fi));
}

/* These two work with filesystems that have read and write only, too. */
static int rot_read_buf(const char *path, struct fuse_bufvec **buf, size_t size, off_t off,
			struct fuse_file_info *fi)
{
	PASS_ON(path, fuse_fs_read_buf(next(), below, buf, size, off, fi));
}

static int rot_write_buf(const char *path, struct fuse_bufvec *buf, off_t off,
			 struct fuse_file_info *fi)
{
	PASS_ON(path, fuse_fs_write_buf(next(), below, buf, off, fi));
}

static int rot_statfs(const char *path, struct statvfs *st)
{
	PASS_ON(path, fuse_fs_statfs(next(), below, st));
}

static int rot_flush(const char *path, struct fuse_file_info *fi)
{
	PASS_ON(path, fuse_fs_flush(next(), below, fi));
}

static int rot_release(const char *path, struct fuse_file_info *fi)
{
	PASS_ON(path, fuse_fs_release(next(), below, fi));
}

static int rot_fsync(const char *path, int datasync, struct fuse_file_info *fi)
{
	PASS_ON(path, fuse_fs_fsync(next(), below, datasync, fi));
}

static int rot_setxattr(const char *path, const char *name, const char *value, size_t size,
			int flags)
{
	PASS_ON(path, fuse_fs_setxattr(next(), below, name, value, size, flags));
}

static int rot_getxattr(const char *path, const char *name, char *value, size_t size)
{
	PASS_ON(path, fuse_fs_getxattr(next(), below, name, value, size));
}

static int rot_listxattr(const char *path, char *list, size_t size)
{
	PASS_ON(path, fuse_fs_listxattr(next(), below, list, size));
}

static int rot_removexattr(const char *path, const char *name)
{
	PASS_ON(path, fuse_fs_removexattr(next(), below, name));
}

static int rot_lock(const char *path, struct fuse_file_info *fi, int cmd, struct flock *lock)
{
	PASS_ON(path, fuse_fs_lock(next(), below, fi, cmd, lock));
}

static int rot_flock(const char *path, struct fuse_file_info *fi, int op)
{
	PASS_ON(path, fuse_fs_flock(next(), below, fi, op));
}

static int rot_bmap(const char *path, size_t blocksize, uint64_t *block)
{
	PASS_ON(path, fuse_fs_bmap(next(), below, blocksize, block));
}

static int rot_ioctl(const char *path, unsigned int cmd, void *arg, struct fuse_file_info *fi,
		     unsigned int flags, void *data)
{
	PASS_ON(path, fuse_fs_ioctl(next(), below, cmd, arg, fi, flags, data));
}

static int rot_poll(const char *path, struct fuse_file_info *fi, struct fuse_pollhandle *handle,
		    unsigned int *events)
{
	PASS_ON(path, fuse_fs_poll(next(), below, fi, handle, events));
}

static int rot_fallocate(const char *path, int mode, off_t off, off_t length,
			 struct fuse_file_info *fi)
{
	PASS_ON(path, fuse_fs_fallocate(next(), below, mode, off, length, fi));
}

static ssize_t rot_copy_file_range(const char *from, struct fuse_file_info *fi_from, off_t off_from,
				   const char *to, struct fuse_file_info *fi_to, off_t off_to,
				   size_t size, int flags)
{
	PASS_ON_BOTH(ssize_t, from, to,
		     fuse_fs_copy_file_range(next(), below_one, fi_from, off_from, below_two, fi_to,
					     off_to, size, flags));
}

static off_t rot_lseek(const char *path, off_t off, int whence, struct fuse_file_info *fi)
{
	PASS_ON_AS(off_t, path, fuse_fs_lseek(next(), below, off, whence, fi));
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
static int rot_statx(const char *path, int flags, int mask, struct statx *st,
		     struct fuse_file_info *fi)
{
	PASS_ON(path, fuse_fs_statx(next(), below, flags, mask, st, fi));
}
#endif

/* What this returns becomes private_data, so it is what it was. */
static void *rot_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	struct fuse_fs *fs = next();

	fuse_fs_init(fs, conn, cfg);
	return fs;
}

static void rot_destroy(void *data)
{
	fuse_fs_destroy(data);
}

static const struct fuse_operations operations = {
	.init = rot_init,
	.destroy = rot_destroy,
	.getattr = rot_getattr,
	.access = rot_access,
	.readlink = rot_readlink,
	.symlink = rot_symlink,
	.opendir = rot_opendir,
	.readdir = rot_readdir,
	.releasedir = rot_releasedir,
	.fsyncdir = rot_fsyncdir,
	.mknod = rot_mknod,
	.mkdir = rot_mkdir,
	.unlink = rot_unlink,
	.rmdir = rot_rmdir,
	.rename = rot_rename,
	.link = rot_link,
	.chmod = rot_chmod,
	.chown = rot_chown,
	.truncate = rot_truncate,
	.utimens = rot_utimens,
	.create = rot_create,
	.open = rot_open,
	.read_buf = rot_read_buf,
	.write_buf = rot_write_buf,
	.statfs = rot_statfs,
	.flush = rot_flush,
	.release = rot_release,
	.fsync = rot_fsync,
	.setxattr = rot_setxattr,
	.getxattr = rot_getxattr,
	.listxattr = rot_listxattr,
	.removexattr = rot_removexattr,
	.lock = rot_lock,
	.flock = rot_flock,
	.bmap = rot_bmap,
	.ioctl = rot_ioctl,
	.poll = rot_poll,
	.fallocate = rot_fallocate,
	.copy_file_range = rot_copy_file_range,
	.lseek = rot_lseek,
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	.statx = rot_statx,
#endif
};

/* `fs` is the layer below and a NULL. Options of its own a module would take
 * out of `args` here. */
static struct fuse_fs *rot_new(struct fuse_args *args, struct fuse_fs *fs[])
{
	(void)args;
	if (fs[0] == NULL || fs[1] != NULL) {
		fuse_log(FUSE_LOG_ERR, "rot13: is put on top of exactly one filesystem\n");
		return NULL;
	}
	return fuse_fs_new(&operations, sizeof(operations), fs[0]);
}

FUSE_REGISTER_MODULE(rot13, rot_new);
