/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * memfs: a filesystem in memory, by the path API.
 *
 *     memfs [options] MOUNTPOINT
 *
 * The same tree as memfs_ll's, reached by paths. A path is followed with
 * tree.lock held, which is kept until the operation is done. Open files are
 * their node (fi->fh), which lives until release whatever happens to its names,
 * so operations on them need no path (nullpath_ok). A file that is removed while
 * it is open is renamed by the library until it is closed, so fstat() finds it.
 *
 * Only this kernel changes the files, so what is left out here it does well
 * itself: permissions (-o default_permissions is always on), locks, fsync.
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 35

#include <fuse.h>

#include "counts.h"
#include "memfs_node.h"

static struct {
	char *size;
	char *stats;
	int help;
} settings;

static const struct fuse_opt options[] = {
	{ "size=%s", offsetof(__typeof__(settings), size), 0 },
	{ "stats=%s", offsetof(__typeof__(settings), stats), 0 },
	{ "-h", offsetof(__typeof__(settings), help), 1 },
	{ "--help", offsetof(__typeof__(settings), help), 1 },
	FUSE_OPT_END,
};

static const char help[] =
	"    -o size=BYTES[k|m|g]   room for file contents (default: half of the machine's memory)\n"
	"    -o stats=FILE          write how often each operation came, at exit and on SIGUSR1\n"
	"                           (without it SIGUSR1 prints to stderr)\n\n";

/* ---- paths -------------------------------------------------------------------- */

/* Follows `path` to the directory of its last component, which `*last` is set to
 * ("" for the root itself). With tree.lock held; 0 or an errno. */
static int find_parent(const char *path, struct node **dir, const char **last)
{
	char text[NAME_MAX + 1];
	const char *slash;

	*dir = tree.root;
	for (path++; (slash = strchr(path, '/')); path = slash + 1) {
		struct name *name;

		if (slash - path > NAME_MAX)
			return ENAMETOOLONG;
		memcpy(text, path, slash - path);
		text[slash - path] = '\0';
		name = name_find(*dir, text);
		if (name == NULL)
			return ENOENT;
		*dir = name->node;
		if (!S_ISDIR((*dir)->type))
			return ENOTDIR;
	}
	if (strlen(path) > NAME_MAX)
		return ENAMETOOLONG;
	*last = path;
	return 0;
}

/* With tree.lock held; 0 or an errno. */
static int find(const char *path, struct node **node)
{
	const char *last;
	struct name *name;
	int error = find_parent(path, node, &last);

	if (error || *last == '\0')
		return error;
	name = name_find(*node, last);
	if (name == NULL)
		return ENOENT;
	*node = name->node;
	return 0;
}

static struct node *opened(const struct fuse_file_info *fi)
{
	return (struct node *)(uintptr_t)fi->fh;
}

/* Finds the node that an operation is about, and keeps it: by the open file, if
 * there is one, or by its path. 0, and node_put() is due; or an errno. */
static int node_get(const char *path, const struct fuse_file_info *fi, struct node **node)
{
	int error;

	pthread_rwlock_rdlock(&tree.lock);
	if (fi) {
		*node = opened(fi);
		return 0;
	}
	error = find(path, node);
	if (error)
		pthread_rwlock_unlock(&tree.lock);
	return error;
}

static void node_put(void)
{
	pthread_rwlock_unlock(&tree.lock);
}

/* ---- attributes ------------------------------------------------------------------ */

static void *mem_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	(void)conn;
	cfg->use_ino = 1;
	cfg->nullpath_ok = 1;
	cfg->kernel_cache = 1;
	return NULL;
}

static int mem_getattr(const char *path, struct stat *attr, struct fuse_file_info *fi)
{
	struct node *node;
	int error = node_get(path, fi, &node);

	COUNT(getattr);
	if (error)
		return -error;
	*attr = attr_of(node);
	node_put();
	return 0;
}

static int mem_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	struct node *node;
	int error = node_get(path, fi, &node);

	COUNT(setattr);
	if (error)
		return -error;
	pthread_rwlock_wrlock(&node->lock);
	node->attr.st_mode = (node->attr.st_mode & S_IFMT) | (mode & 07777);
	node->attr.st_ctim = now();
	pthread_rwlock_unlock(&node->lock);
	node_put();
	return 0;
}

static int mem_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *fi)
{
	struct node *node;
	int error = node_get(path, fi, &node);

	COUNT(setattr);
	if (error)
		return -error;
	pthread_rwlock_wrlock(&node->lock);
	if (uid != (uid_t)-1)
		node->attr.st_uid = uid;
	if (gid != (gid_t)-1)
		node->attr.st_gid = gid;
	node->attr.st_ctim = now();
	pthread_rwlock_unlock(&node->lock);
	node_put();
	return 0;
}

static int mem_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	struct node *node;
	int error = node_get(path, fi, &node);

	COUNT(setattr);
	if (error)
		return -error;
	pthread_rwlock_wrlock(&node->lock);
	resize(node, size);
	node->attr.st_ctim = now();
	pthread_rwlock_unlock(&node->lock);
	node_put();
	return 0;
}

/* The time that utimensat(2) means with `wanted`, where `old` was. */
static struct timespec new_time(struct timespec wanted, struct timespec old)
{
	if (wanted.tv_nsec == UTIME_OMIT)
		return old;
	return wanted.tv_nsec == UTIME_NOW ? now() : wanted;
}

static int mem_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *fi)
{
	struct node *node;
	int error = node_get(path, fi, &node);

	COUNT(setattr);
	if (error)
		return -error;
	pthread_rwlock_wrlock(&node->lock);
	node->attr.st_atim = new_time(times[0], node->attr.st_atim);
	node->attr.st_mtim = new_time(times[1], node->attr.st_mtim);
	node->attr.st_ctim = now();
	pthread_rwlock_unlock(&node->lock);
	node_put();
	return 0;
}

static int mem_readlink(const char *path, char *buf, size_t size)
{
	struct node *node;
	int error = node_get(path, NULL, &node);

	COUNT(readlink);
	if (error)
		return -error;
	snprintf(buf, size, "%s", node->target);
	node_put();
	return 0;
}

static int mem_statfs(const char *path, struct statvfs *st)
{
	(void)path;
	COUNT(statfs);
	*st = tree_statistics();
	return 0;
}

/* ---- names -------------------------------------------------------------------- */

/* Makes a node with a name; `opens` is 1 if it shall be open. 0 or an errno. */
static int make(const char *path, mode_t mode, dev_t rdev, const char *target, uint64_t opens,
		struct node **node)
{
	const struct fuse_context *caller = fuse_get_context();
	const char *text;
	struct node *dir;
	int error;

	pthread_rwlock_wrlock(&tree.lock);
	error = find_parent(path, &dir, &text);
	if (error == 0)
		error = node_make(dir, text, mode, rdev, target, caller->uid, caller->gid, opens,
				  node);
	pthread_rwlock_unlock(&tree.lock);
	return error;
}

static int mem_mknod(const char *path, mode_t mode, dev_t rdev)
{
	struct node *node;

	COUNT(mknod);
	return -make(path, mode, rdev, NULL, 0, &node);
}

static int mem_mkdir(const char *path, mode_t mode)
{
	struct node *node;

	COUNT(mkdir);
	return -make(path, S_IFDIR | mode, 0, NULL, 0, &node);
}

static int mem_symlink(const char *target, const char *path)
{
	struct node *node;

	COUNT(symlink);
	return -make(path, S_IFLNK | 0777, 0, target, 0, &node);
}

static int mem_link(const char *from, const char *to)
{
	struct node *node, *dir;
	const char *text;
	int error;

	COUNT(link);
	pthread_rwlock_wrlock(&tree.lock);
	error = find(from, &node);
	if (error == 0)
		error = find_parent(to, &dir, &text);
	if (error == 0)
		error = node_link(node, dir, text);
	pthread_rwlock_unlock(&tree.lock);
	return -error;
}

static int remove_name(const char *path, bool directory)
{
	const char *text;
	struct node *dir;
	int error;

	pthread_rwlock_wrlock(&tree.lock);
	error = find_parent(path, &dir, &text);
	if (error == 0)
		error = name_unlink(dir, text, directory);
	pthread_rwlock_unlock(&tree.lock);
	return -error;
}

static int mem_unlink(const char *path)
{
	COUNT(unlink);
	return remove_name(path, false);
}

static int mem_rmdir(const char *path)
{
	COUNT(rmdir);
	return remove_name(path, true);
}

static int mem_rename(const char *from, const char *to, unsigned int flags)
{
	const char *text, *newtext;
	struct node *dir, *newdir;
	int error;

	if (flags)
		COUNT(rename2);
	else
		COUNT(rename);
	pthread_rwlock_wrlock(&tree.lock);
	error = find_parent(from, &dir, &text);
	if (error == 0)
		error = find_parent(to, &newdir, &newtext);
	if (error == 0)
		error = rename_locked(dir, text, newdir, newtext, flags);
	pthread_rwlock_unlock(&tree.lock);
	return -error;
}

/* ---- open files and directories --------------------------------------------------- */

static int mem_open(const char *path, struct fuse_file_info *fi)
{
	struct node *node;
	int error = node_get(path, NULL, &node);

	COUNT(open);
	if (error)
		return -error;
	if (fi->flags & O_TRUNC) {
		pthread_rwlock_wrlock(&node->lock);
		resize(node, 0);
		pthread_rwlock_unlock(&node->lock);
	}
	atomic_fetch_add(&node->opens, 1);
	fi->fh = (uintptr_t)node;
	node_put();
	return 0;
}

static int mem_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	struct node *node;
	int error;

	COUNT(create);
	error = make(path, S_IFREG | mode, 0, NULL, 1, &node);
	if (error == 0)
		fi->fh = (uintptr_t)node;
	return -error;
}

static void closed(struct fuse_file_info *fi)
{
	struct node *node = opened(fi);

	pthread_rwlock_wrlock(&tree.lock);
	node->opens--;
	node_settle(node);
	pthread_rwlock_unlock(&tree.lock);
}

static int mem_release(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	COUNT(release);
	closed(fi);
	return 0;
}

static int mem_opendir(const char *path, struct fuse_file_info *fi)
{
	struct node *node;
	int error = node_get(path, NULL, &node);

	COUNT(opendir);
	if (error)
		return -error;
	atomic_fetch_add(&node->opens, 1);
	fi->fh = (uintptr_t)node;
	node_put();
	return 0;
}

static int mem_releasedir(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	COUNT(releasedir);
	closed(fi);
	return 0;
}

/* Each entry tells where the listing goes on after it, so it may stop anywhere. */
static int mem_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off,
		       struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	enum fuse_fill_dir_flags filled = flags & FUSE_READDIR_PLUS ? FUSE_FILL_DIR_PLUS : 0;
	struct node *dir = opened(fi);
	struct stat attr;
	int full = 0;

	(void)path;
	if (filled)
		COUNT(readdirplus);
	else
		COUNT(readdir);
	pthread_rwlock_rdlock(&tree.lock);
	if (off < 1) {
		attr = attr_of(dir);
		full = fill(buf, ".", &attr, 1, 0);
	}
	if (off < 2 && !full) {
		attr = attr_of(dir->parent);
		full = fill(buf, "..", &attr, 2, 0);
	}
	for (size_t i = slot_after(dir, off); i < dir->slot_count && !full; i++) {
		const struct slot *slot = &dir->slots[i];

		if (slot->name) {
			attr = attr_of(slot->name->node);
			full = fill(buf, slot->name->text, &attr, slot->offset, filled);
		}
	}
	pthread_rwlock_unlock(&tree.lock);
	return 0;
}

/* ---- contents --------------------------------------------------------------------- */

static int mem_read(const char *path, char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)path;
	COUNT(read);
	note_read(opened(fi));
	return node_read(opened(fi), buf, size, off);
}

static int mem_write_buf(const char *path, struct fuse_bufvec *from, off_t off,
			 struct fuse_file_info *fi)
{
	struct node *node = opened(fi);
	ssize_t written;

	(void)path;
	COUNT(write);
	pthread_rwlock_wrlock(&node->lock);
	written = write_data(node, from, fuse_buf_size(from), off);
	pthread_rwlock_unlock(&node->lock);
	return written;
}

static int mem_fallocate(const char *path, int mode, off_t off, off_t length,
			 struct fuse_file_info *fi)
{
	(void)path;
	COUNT(fallocate);
	return -node_allocate(opened(fi), mode, off, length);
}

static off_t mem_lseek(const char *path, off_t off, int whence, struct fuse_file_info *fi)
{
	(void)path;
	COUNT(lseek);
	return node_seek(opened(fi), off, whence);
}

static ssize_t mem_copy_file_range(const char *path_in, struct fuse_file_info *fi_in, off_t off_in,
				   const char *path_out, struct fuse_file_info *fi_out,
				   off_t off_out, size_t size, int flags)
{
	(void)path_in;
	(void)path_out;
	(void)flags;
	COUNT(copy_file_range);
	return node_copy(opened(fi_in), off_in, opened(fi_out), off_out, size);
}

/* ---- extended attributes ---------------------------------------------------------- */

static int mem_setxattr(const char *path, const char *name, const char *value, size_t size,
			int flags)
{
	struct node *node;
	int error = node_get(path, NULL, &node);

	COUNT(setxattr);
	if (error)
		return -error;
	error = xattr_set(node, name, value, size, flags);
	node_put();
	return -error;
}

static int mem_removexattr(const char *path, const char *name)
{
	struct node *node;
	int error = node_get(path, NULL, &node);

	COUNT(removexattr);
	if (error)
		return -error;
	error = xattr_remove(node, name);
	node_put();
	return -error;
}

/* A caller with no room (`size` 0) wants to know how much is needed. */
static int mem_getxattr(const char *path, const char *name, char *value, size_t size)
{
	const struct xattr *xattr;
	struct node *node;
	int result = node_get(path, NULL, &node);

	COUNT(getxattr);
	if (result)
		return -result;
	pthread_rwlock_rdlock(&node->lock);
	xattr = *xattr_find(node, name);
	if (xattr == NULL)
		result = strncmp(name, "system.", 7) == 0 ? -EOPNOTSUPP : -ENODATA;
	else if (size > 0 && xattr->size > size)
		result = -ERANGE;
	else
		result = xattr->size;
	if (result > 0 && size > 0)
		memcpy(value, xattr->value, result);
	pthread_rwlock_unlock(&node->lock);
	node_put();
	return result;
}

static int mem_listxattr(const char *path, char *list, size_t size)
{
	struct node *node;
	int error = node_get(path, NULL, &node);
	size_t length;

	COUNT(listxattr);
	if (error)
		return -error;
	length = xattr_names(node, list, size);
	node_put();
	return size > 0 && length > size ? -ERANGE : (int)length;
}

/* ---- the whole -------------------------------------------------------------------- */

static const struct fuse_operations operations = {
	.init = mem_init,
	.getattr = mem_getattr,
	.chmod = mem_chmod,
	.chown = mem_chown,
	.truncate = mem_truncate,
	.utimens = mem_utimens,
	.readlink = mem_readlink,
	.statfs = mem_statfs,
	.mknod = mem_mknod,
	.mkdir = mem_mkdir,
	.symlink = mem_symlink,
	.link = mem_link,
	.unlink = mem_unlink,
	.rmdir = mem_rmdir,
	.rename = mem_rename,
	.open = mem_open,
	.create = mem_create,
	.release = mem_release,
	.opendir = mem_opendir,
	.readdir = mem_readdir,
	.releasedir = mem_releasedir,
	.read = mem_read,
	.write_buf = mem_write_buf,
	.fallocate = mem_fallocate,
	.lseek = mem_lseek,
	.copy_file_range = mem_copy_file_range,
	.setxattr = mem_setxattr,
	.removexattr = mem_removexattr,
	.getxattr = mem_getxattr,
	.listxattr = mem_listxattr,
};

static int serve(struct fuse_args *args)
{
	int status;

	if (settings.help) {
		printf("usage: %s [options] MOUNTPOINT\n\n%s", args->argv[0], help);
		fuse_opt_add_arg(args, "--help");
		args->argv[0][0] = '\0'; /* the usage line has been said */
	}
	if (!memory_limit(settings.size)) {
		fprintf(stderr, "memfs: size=%s: not a number of bytes (like 500000, 64m or 2g)\n",
			settings.size);
		return 1;
	}
	if (counts_start(settings.stats) == -1) {
		fprintf(stderr, "memfs: cannot create %s: %s\n", settings.stats, strerror(errno));
		return 1;
	}
	if (tree_start(getuid(), getgid()) != 0) {
		fprintf(stderr, "memfs: no memory for an empty filesystem\n");
		return 1;
	}
	fuse_opt_add_arg(args, "-odefault_permissions");
	status = fuse_main(args->argc, args->argv, &operations, NULL);
	tree_finish();
	return status;
}

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	int status = 1;

	if (fuse_opt_parse(&args, &settings, options, NULL) == 0)
		status = serve(&args);
	counts_finish();
	fuse_opt_free_args(&args);
	free(settings.size);
	free(settings.stats);
	return status;
}
