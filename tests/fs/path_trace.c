/* See path_trace.h. */
#include "path_trace.h"

#include <stddef.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

struct path_settings settings;
struct fuse *path_fuse;

static const struct fuse_opt path_opts[] = {
	{ "root=%s", offsetof(struct path_settings, root), 0 },
	{ "cfg=%s", offsetof(struct path_settings, cfg), 0 },
	{ "without=%s", offsetof(struct path_settings, without), 0 },
	{ "list=%s", offsetof(struct path_settings, list), 0 },
	{ "op_size=%u", offsetof(struct path_settings, op_size), 0 },
	FUSE_OPT_END,
};

/* What private_data is before and after init(). */
static int before_init, after_init;

#define BUFFERS 4
static char *buffer(void)
{
	static __thread char buffers[BUFFERS][2 * PATH_MAX];
	static __thread unsigned next;

	return buffers[next++ % BUFFERS];
}

const char *below(const char *path)
{
	char *out = buffer();

	snprintf(out, 2 * PATH_MAX, "%s%s", settings.root, path);
	return out;
}

const char *shown(const char *path)
{
	char *out = buffer(), *at = out;

	if (!path)
		return "NULL";
	for (; *path && at < out + PATH_MAX; path++) {
		if (*path > ' ' && *path < 127 && *path != '%')
			*at++ = *path;
		else
			at += sprintf(at, "%%%02X", (unsigned char)*path);
	}
	*at = '\0';
	return out;
}

const char *file(const struct fuse_file_info *fi)
{
	char *out = buffer();

	if (!fi)
		return " fi=NULL";
	snprintf(out, PATH_MAX, " fi=1 fh=%" PRIx64 " flags=%x writepage=%d isflush=%d"
		 " flockrelease=%d", fi->fh, fi->flags, fi->writepage, fi->flush,
		 fi->flock_release);
	return out;
}

void note(const char *op, const char *format, ...)
{
	const struct fuse_context *ctx = fuse_get_context();
	char line[3 * PATH_MAX];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	if (!ctx) {
		trace(NULL, op, "%s context=NULL", line);
		return;
	}
	trace(NULL, op, "%s uid=%u gid=%u pid=%d umask=%o private=%s fuse=%d", line,
	      ctx->uid, ctx->gid, ctx->pid, ctx->umask,
	      ctx->private_data == &after_init    ? "after"
	      : ctx->private_data == &before_init ? "before"
						  : "other",
	      ctx->fuse == path_fuse);
}

int fails(const char *op, const char *path)
{
	char wanted[64];
	const char *found;

	snprintf(wanted, sizeof(wanted), "fail_%s_", op);
	found = path ? strstr(path, wanted) : NULL;
	return found ? -atoi(found + strlen(wanted)) : 0;
}

int sys(long result)
{
	return result < 0 ? -errno : (int)result;
}

static void *op_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	static const struct {
		const char *name;
		size_t offset;
	} keys[] = {
#define KEY(name) { #name, offsetof(struct fuse_config, name) }
		KEY(intr), KEY(intr_signal), KEY(remember), KEY(hard_remove),
		KEY(use_ino), KEY(readdir_ino), KEY(direct_io),
		KEY(kernel_cache), KEY(auto_cache), KEY(nullpath_ok),
		KEY(no_rofd_flush), KEY(set_mode), KEY(umask), KEY(set_uid),
		KEY(uid), KEY(set_gid), KEY(gid),
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
		KEY(parallel_direct_writes),
#endif
	};
	int groups = -EINVAL, interrupted = 0;
	char *list, *word, *rest;

	serve_init(conn);
	if (settings.list && strncmp(settings.list, "plain", 5) == 0)
		conn->want &= ~FUSE_CAP_READDIRPLUS;
	list = strdup(settings.cfg ? settings.cfg : "");
	for (word = strtok_r(list, ":", &rest); word;
	     word = strtok_r(NULL, ":", &rest)) {
		char *value = strchr(word, '=');
		size_t i;

		*value++ = '\0';
		for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			if (strcmp(word, keys[i].name) == 0)
				break;
		if (i < sizeof(keys) / sizeof(keys[0]))
			*(int *)((char *)cfg + keys[i].offset) =
				strtol(value, NULL, 0);
		else if (strcmp(word, "entry_timeout") == 0)
			cfg->entry_timeout = atof(value);
		else if (strcmp(word, "attr_timeout") == 0)
			cfg->attr_timeout = atof(value);
		else if (strcmp(word, "negative_timeout") == 0)
			cfg->negative_timeout = atof(value);
		else if (strcmp(word, "ac_attr_timeout") == 0)
			cfg->ac_attr_timeout = atof(value),
			cfg->ac_attr_timeout_set = 1;
		else
			abort();
	}
	free(list);
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	/* libfuse 3.14 crashes: there is a context without a request. */
	groups = fuse_getgroups(0, NULL);
	interrupted = fuse_interrupted();
#endif
	note("init", "path=NULL entry=%.2f attr=%.2f negative=%.2f ac=%.2f acset=%d"
	     " umask_cfg=%o setmode=%d cfguid=%u setuid=%d cfggid=%u setgid=%d"
	     " remember=%d kernelcache=%d autocache=%d norofdflush=%d intr=%d"
	     " signal=%d debug=%d groups=%d interrupted=%d",
	     cfg->entry_timeout, cfg->attr_timeout, cfg->negative_timeout,
	     cfg->ac_attr_timeout, cfg->ac_attr_timeout_set, cfg->umask,
	     cfg->set_mode, cfg->uid, cfg->set_uid, cfg->gid, cfg->set_gid,
	     cfg->remember, cfg->kernel_cache, cfg->auto_cache,
	     cfg->no_rofd_flush, cfg->intr, cfg->intr_signal, cfg->debug,
	     groups, interrupted);
	return &after_init;
}

static void op_destroy(void *data)
{
	note("destroy", "path=NULL data=%s", data == &after_init ? "after" : "other");
}

static int op_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	int res = fails("getattr", path);

	note("getattr", "path=%s%s", shown(path), file(fi));
	if (res)
		return res;
	return sys(path ? lstat(below(path), st) : fstat(FD(fi), st));
}

static int op_readlink(const char *path, char *buf, size_t size)
{
	ssize_t got;

	note("readlink", "path=%s size=%zu", shown(path), size);
	got = readlink(below(path), buf, size - 1);
	if (got < 0)
		return -errno;
	buf[got] = '\0';
	return 0;
}

static int op_mknod(const char *path, mode_t mode, dev_t rdev)
{
	int res = fails("mknod", path);

	note("mknod", "path=%s mode=%o rdev=%llx", shown(path), mode,
	     (unsigned long long)rdev);
	return res ? res : sys(mknod(below(path), mode, rdev));
}

static int op_mkdir(const char *path, mode_t mode)
{
	int res = fails("mkdir", path);

	note("mkdir", "path=%s mode=%o", shown(path), mode);
	return res ? res : sys(mkdir(below(path), mode));
}

static int op_unlink(const char *path)
{
	int res = fails("unlink", path);

	note("unlink", "path=%s", shown(path));
	return res ? res : sys(unlink(below(path)));
}

static int op_rmdir(const char *path)
{
	note("rmdir", "path=%s", shown(path));
	return sys(rmdir(below(path)));
}

static int op_symlink(const char *target, const char *path)
{
	note("symlink", "target=%s path=%s", shown(target), shown(path));
	return sys(symlink(target, below(path)));
}

static int op_rename(const char *from, const char *to, unsigned flags)
{
	int res = fails("rename", from);

	note("rename", "path=%s to=%s flags=%u", shown(from), shown(to), flags);
	return res ? res : sys(renameat2(AT_FDCWD, below(from), AT_FDCWD, below(to), flags));
}

static int op_link(const char *from, const char *to)
{
	note("link", "path=%s to=%s", shown(from), shown(to));
	return sys(link(below(from), below(to)));
}

static int op_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	int res = fails("chmod", path);

	note("chmod", "path=%s mode=%o%s", shown(path), mode, file(fi));
	if (res)
		return res;
	return sys(path ? chmod(below(path), mode) : fchmod(FD(fi), mode));
}

static int op_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *fi)
{
	note("chown", "path=%s owner=%d group=%d%s", shown(path), (int)uid, (int)gid,
	     file(fi));
	return sys(path ? lchown(below(path), uid, gid) : fchown(FD(fi), uid, gid));
}

static int op_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	note("truncate", "path=%s size=%lld%s", shown(path), (long long)size, file(fi));
	return sys(path ? truncate(below(path), size) : ftruncate(FD(fi), size));
}

static int op_utimens(const char *path, const struct timespec tv[2],
		      struct fuse_file_info *fi)
{
	note("utimens", "path=%s atime=%lld.%ld mtime=%lld.%ld%s", shown(path),
	     (long long)tv[0].tv_sec, (long)tv[0].tv_nsec, (long long)tv[1].tv_sec,
	     (long)tv[1].tv_nsec, file(fi));
	return sys(path ? utimensat(AT_FDCWD, below(path), tv, AT_SYMLINK_NOFOLLOW)
			: futimens(FD(fi), tv));
}

static int op_statfs(const char *path, struct statvfs *st)
{
	note("statfs", "path=%s", shown(path));
	return sys(statvfs(below(path), st));
}

static int op_access(const char *path, int mask)
{
	int res = fails("access", path);

	note("access", "path=%s mask=%d groups=%d", shown(path), mask,
	     fuse_getgroups(0, NULL));
	return res ? res : sys(access(below(path), mask));
}

static int op_setxattr(const char *path, const char *name, const char *value,
		       size_t size, int flags)
{
	note("setxattr", "path=%s name=%s value=%.*s size=%zu xflags=%d", shown(path),
	     name, (int)size, value, size, flags);
	return sys(lsetxattr(below(path), name, value, size, flags));
}

static int op_getxattr(const char *path, const char *name, char *value, size_t size)
{
	note("getxattr", "path=%s name=%s size=%zu", shown(path), name, size);
	return sys(lgetxattr(below(path), name, value, size));
}

static int op_listxattr(const char *path, char *list, size_t size)
{
	note("listxattr", "path=%s size=%zu", shown(path), size);
	return sys(llistxattr(below(path), list, size));
}

static int op_removexattr(const char *path, const char *name)
{
	note("removexattr", "path=%s name=%s", shown(path), name);
	return sys(lremovexattr(below(path), name));
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
static int op_statx(const char *path, int flags, int mask, struct statx *stx,
		    struct fuse_file_info *fi)
{
	note("statx", "path=%s sxflags=%x mask=%x%s", shown(path), flags, mask, file(fi));
	return sys(statx(AT_FDCWD, below(path), AT_SYMLINK_NOFOLLOW, mask, stx));
}
#endif

static struct fuse_operations table(void)
{
	static const struct {
		const char *name;
		size_t offset;
	} slots[] = {
#define SLOT(op) { #op, offsetof(struct fuse_operations, op) }
		SLOT(getattr), SLOT(readlink), SLOT(mknod), SLOT(mkdir), SLOT(unlink),
		SLOT(rmdir), SLOT(symlink), SLOT(rename), SLOT(link), SLOT(chmod),
		SLOT(chown), SLOT(truncate), SLOT(open), SLOT(read), SLOT(write),
		SLOT(statfs), SLOT(flush), SLOT(release), SLOT(fsync), SLOT(setxattr),
		SLOT(getxattr), SLOT(listxattr), SLOT(removexattr), SLOT(opendir),
		SLOT(readdir), SLOT(releasedir), SLOT(fsyncdir), SLOT(init),
		SLOT(destroy), SLOT(access), SLOT(create), SLOT(lock), SLOT(utimens),
		SLOT(bmap), SLOT(ioctl), SLOT(poll), SLOT(write_buf), SLOT(read_buf),
		SLOT(flock), SLOT(fallocate), SLOT(copy_file_range), SLOT(lseek),
	};
	struct fuse_operations ops = {
		.init = op_init,
		.destroy = op_destroy,
		.getattr = op_getattr,
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
		.statfs = op_statfs,
		.access = op_access,
		.setxattr = op_setxattr,
		.getxattr = op_getxattr,
		.listxattr = op_listxattr,
		.removexattr = op_removexattr,
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
		.statx = op_statx,
#endif
	};
	char *list = strdup(settings.without ? settings.without : ""), *rest;

	path_file_ops(&ops);
	path_dir_ops(&ops);
	for (char *word = strtok_r(list, ":", &rest); word;
	     word = strtok_r(NULL, ":", &rest)) {
		size_t i = 0;

		while (strcmp(word, slots[i].name) != 0)
			if (++i == sizeof(slots) / sizeof(slots[0]))
				abort();
		memset((char *)&ops + slots[i].offset, 0, sizeof(void (*)(void)));
	}
	free(list);
	return ops;
}

/* A table of another size: what is behind ours is no operation. */
static struct fuse *made(const struct fuse_operations *ops)
{
	size_t size = settings.op_size ? settings.op_size : sizeof(*ops);
	char *larger = malloc(size + sizeof(*ops));
	struct fuse *fuse;

	memset(larger, 0xa5, size + sizeof(*ops));
	memcpy(larger, ops, sizeof(*ops));
	fuse = fuse_new(&serve_options.args, (struct fuse_operations *)larger, size,
			&before_init);
	free(larger);
	return fuse;
}

static long command(struct fuse_session *se, int argc, char **argv)
{
	if (!se)
		return -ENOTCONN;
	if (strcmp(argv[0], "invalidate") == 0 && argc == 2)
		return fuse_invalidate_path(path_fuse, argv[1]);
	if (strcmp(argv[0], "notify") == 0)
		return path_notify();
	if (strcmp(argv[0], "clean") == 0)
		return fuse_clean_cache(path_fuse);
	if (strcmp(argv[0], "start_cleanup") == 0)
		return fuse_start_cleanup_thread(path_fuse);
	if (strcmp(argv[0], "stop_cleanup") == 0) {
		fuse_stop_cleanup_thread(path_fuse);
		return 0;
	}
	if (strcmp(argv[0], "outside") == 0) /* what there is outside of operations */
		return (fuse_get_context() ? 1 : 0) + (fuse_interrupted() ? 2 : 0) +
		       (fuse_getgroups(0, NULL) == -EINVAL ? 0 : 4);
	if (strcmp(argv[0], "session") == 0)
		return fuse_get_session(path_fuse) == se ? 0 : -1;
	if (strcmp(argv[0], "leave") == 0) {
		fuse_exit(path_fuse);
		return 0;
	}
	return -ENOSYS;
}

static int looped(void)
{
	struct fuse_loop_config *config;
	int res;

	if (serve_options.cmdline.singlethread)
		return fuse_loop(path_fuse);
	config = fuse_loop_cfg_create();
	fuse_loop_cfg_set_max_threads(config, serve_options.cmdline.max_threads);
	res = fuse_loop_mt(path_fuse, config);
	fuse_loop_cfg_destroy(config);
	return res;
}

int main(int argc, char **argv)
{
	struct fuse_operations ops;
	struct fuse_session *se;
	int status = 1;

	umask(0);
	serve_parse(argc, argv, path_opts, &settings);
	ops = table();
	path_fuse = made(&ops);
	if (!path_fuse)
		return 1;
	serve_session = se = fuse_get_session(path_fuse);
	if (fuse_set_signal_handlers(se) == 0 &&
	    fuse_mount(path_fuse, serve_options.cmdline.mountpoint) == 0) {
		say("mounted");
		serve_commands(command);
		say("loop %d", looped());
		status = 0;
		serve_release();
		fuse_unmount(path_fuse);
	}
	fuse_remove_signal_handlers(se);
	fuse_destroy(path_fuse);
	free(serve_options.conn);
	fuse_opt_free_args(&serve_options.args);
	return status;
}
