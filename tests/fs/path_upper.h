/*
 * A module: names are shown in upper case, by whatever letters they are asked
 * for. All operations are there, and each calls the layer below by fuse_fs_*.
 */
static struct fuse_fs *below_upper;

/* `path` in lower case: the thread's own, until its next but one. */
static const char *lower(const char *path)
{
	static __thread char buffers[2][PATH_MAX];
	static __thread unsigned next;
	char *out = buffers[next++ % 2];
	size_t i;

	if (!path)
		return NULL;
	for (i = 0; path[i] && i < PATH_MAX - 1; i++)
		out[i] = tolower((unsigned char)path[i]);
	out[i] = '\0';
	return out;
}

#define FI struct fuse_file_info *fi
#define PASS(name, declared, given)                                            \
	static int upper_##name declared                                       \
	{                                                                      \
		const char *low = lower(path);                                 \
									       \
		return given;                                                  \
	}

PASS(getattr, (const char *path, struct stat *st, FI), fuse_fs_getattr(below_upper, low, st, fi))
PASS(readlink, (const char *path, char *buf, size_t size), fuse_fs_readlink(below_upper, low, buf, size))
PASS(mknod, (const char *path, mode_t mode, dev_t dev), fuse_fs_mknod(below_upper, low, mode, dev))
PASS(mkdir, (const char *path, mode_t mode), fuse_fs_mkdir(below_upper, low, mode))
PASS(unlink, (const char *path), fuse_fs_unlink(below_upper, low))
PASS(rmdir, (const char *path), fuse_fs_rmdir(below_upper, low))
PASS(chmod, (const char *path, mode_t mode, FI), fuse_fs_chmod(below_upper, low, mode, fi))
PASS(chown, (const char *path, uid_t uid, gid_t gid, FI), fuse_fs_chown(below_upper, low, uid, gid, fi))
PASS(truncate, (const char *path, off_t size, FI), fuse_fs_truncate(below_upper, low, size, fi))
PASS(open, (const char *path, FI), fuse_fs_open(below_upper, low, fi))
PASS(read, (const char *path, char *buf, size_t size, off_t off, FI),
     fuse_fs_read(below_upper, low, buf, size, off, fi))
PASS(read_buf, (const char *path, struct fuse_bufvec **buf, size_t size, off_t off, FI),
     fuse_fs_read_buf(below_upper, low, buf, size, off, fi))
PASS(write, (const char *path, const char *buf, size_t size, off_t off, FI),
     fuse_fs_write(below_upper, low, buf, size, off, fi))
PASS(write_buf, (const char *path, struct fuse_bufvec *buf, off_t off, FI),
     fuse_fs_write_buf(below_upper, low, buf, off, fi))
PASS(statfs, (const char *path, struct statvfs *st), fuse_fs_statfs(below_upper, low, st))
PASS(flush, (const char *path, FI), fuse_fs_flush(below_upper, low, fi))
PASS(release, (const char *path, FI), fuse_fs_release(below_upper, low, fi))
PASS(fsync, (const char *path, int datasync, FI), fuse_fs_fsync(below_upper, low, datasync, fi))
PASS(setxattr, (const char *path, const char *name, const char *value, size_t size, int flags),
     fuse_fs_setxattr(below_upper, low, name, value, size, flags))
PASS(getxattr, (const char *path, const char *name, char *value, size_t size),
     fuse_fs_getxattr(below_upper, low, name, value, size))
PASS(listxattr, (const char *path, char *list, size_t size), fuse_fs_listxattr(below_upper, low, list, size))
PASS(removexattr, (const char *path, const char *name), fuse_fs_removexattr(below_upper, low, name))
PASS(opendir, (const char *path, FI), fuse_fs_opendir(below_upper, low, fi))
PASS(releasedir, (const char *path, FI), fuse_fs_releasedir(below_upper, low, fi))
PASS(fsyncdir, (const char *path, int datasync, FI), fuse_fs_fsyncdir(below_upper, low, datasync, fi))
PASS(access, (const char *path, int mask), fuse_fs_access(below_upper, low, mask))
PASS(create, (const char *path, mode_t mode, FI), fuse_fs_create(below_upper, low, mode, fi))
PASS(lock, (const char *path, FI, int cmd, struct flock *lock), fuse_fs_lock(below_upper, low, fi, cmd, lock))
PASS(utimens, (const char *path, const struct timespec tv[2], FI), fuse_fs_utimens(below_upper, low, tv, fi))
PASS(bmap, (const char *path, size_t size, uint64_t *idx), fuse_fs_bmap(below_upper, low, size, idx))
PASS(ioctl, (const char *path, unsigned cmd, void *arg, FI, unsigned flags, void *data),
     fuse_fs_ioctl(below_upper, low, cmd, arg, fi, flags, data))
PASS(poll, (const char *path, FI, struct fuse_pollhandle *ph, unsigned *revents),
     fuse_fs_poll(below_upper, low, fi, ph, revents))
PASS(flock, (const char *path, FI, int op), fuse_fs_flock(below_upper, low, fi, op))
PASS(fallocate, (const char *path, int mode, off_t off, off_t len, FI),
     fuse_fs_fallocate(below_upper, low, mode, off, len, fi))

static off_t upper_lseek(const char *path, off_t off, int whence, FI)
{
	return fuse_fs_lseek(below_upper, lower(path), off, whence, fi);
}

static ssize_t upper_copy_file_range(const char *path, FI, off_t off, const char *to,
				     struct fuse_file_info *fi_to, off_t off_to,
				     size_t size, int flags)
{
	return fuse_fs_copy_file_range(below_upper, lower(path), fi, off, lower(to), fi_to,
				       off_to, size, flags);
}

static int upper_symlink(const char *target, const char *path)
{
	return fuse_fs_symlink(below_upper, target, lower(path));
}

static int upper_rename(const char *from, const char *to, unsigned flags)
{
	return fuse_fs_rename(below_upper, lower(from), lower(to), flags);
}

static int upper_link(const char *from, const char *to)
{
	return fuse_fs_link(below_upper, lower(from), lower(to));
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
PASS(statx, (const char *path, int flags, int mask, struct statx *stx, FI),
     fuse_fs_statx(below_upper, low, flags, mask, stx, fi))
#endif

struct upper_listing {
	void *buf;
	fuse_fill_dir_t fill;
};

static int upper_fill(void *buf, const char *name, const struct stat *st, off_t off,
		      enum fuse_fill_dir_flags flags)
{
	struct upper_listing *listing = buf;
	char shown[NAME_MAX + 1];
	size_t i;

	for (i = 0; name[i] && i < NAME_MAX; i++)
		shown[i] = toupper((unsigned char)name[i]);
	shown[i] = '\0';
	return listing->fill(listing->buf, shown, st, off, flags);
}

static int upper_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off, FI,
			 enum fuse_readdir_flags flags)
{
	struct upper_listing listing = { buf, fill };

	return fuse_fs_readdir(below_upper, lower(path), &listing, upper_fill, off, fi, flags);
}

static int upper_tag;

static void *upper_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	/* The layer's own data are in the context, and again after the call. */
	if (fuse_get_context()->private_data != &upper_tag)
		abort();
	fuse_fs_init(below_upper, conn, cfg);
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	/* libfuse 3.14 leaves those of the layer below. */
	if (fuse_get_context()->private_data != &upper_tag)
		abort();
#endif
	return &upper_tag;
}

static void upper_destroy(void *data)
{
	if (data != &upper_tag)
		abort();
	fuse_fs_destroy(below_upper);
}

static const struct fuse_operations upper_ops = {
	.getattr = upper_getattr,	.readlink = upper_readlink,
	.mknod = upper_mknod,		.mkdir = upper_mkdir,
	.unlink = upper_unlink,		.rmdir = upper_rmdir,
	.symlink = upper_symlink,	.rename = upper_rename,
	.link = upper_link,		.chmod = upper_chmod,
	.chown = upper_chown,		.truncate = upper_truncate,
	.open = upper_open,		.read = upper_read,
	.write = upper_write,		.statfs = upper_statfs,
	.flush = upper_flush,		.release = upper_release,
	.fsync = upper_fsync,		.setxattr = upper_setxattr,
	.getxattr = upper_getxattr,	.listxattr = upper_listxattr,
	.removexattr = upper_removexattr, .opendir = upper_opendir,
	.readdir = upper_readdir,	.releasedir = upper_releasedir,
	.fsyncdir = upper_fsyncdir,	.init = upper_init,
	.destroy = upper_destroy,	.access = upper_access,
	.create = upper_create,		.lock = upper_lock,
	.utimens = upper_utimens,	.bmap = upper_bmap,
	.ioctl = upper_ioctl,		.poll = upper_poll,
	.write_buf = upper_write_buf,	.read_buf = upper_read_buf,
	.flock = upper_flock,		.fallocate = upper_fallocate,
	.copy_file_range = upper_copy_file_range, .lseek = upper_lseek,
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	.statx = upper_statx,
#endif
};

static struct fuse_fs *upper_new(struct fuse_args *args, struct fuse_fs *fs[])
{
	for (int i = 1; i < args->argc; i++)
		if (strcmp(args->argv[i], "-h") == 0) {
			printf("Options of the module upper: none\n");
			return NULL;
		}
	below_upper = fs[0];
	return fs[0] && !fs[1] ? fuse_fs_new(&upper_ops, sizeof(upper_ops), &upper_tag) : NULL;
}
