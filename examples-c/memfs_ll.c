/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * memfs_ll: a filesystem in memory, complete enough to live in.
 *
 *     memfs_ll [options] MOUNTPOINT
 *
 * Node numbers are addresses: the kernel names only nodes it has looked up and
 * not yet forgotten, and those are not freed. Only this kernel changes the
 * files, so it may cache what it likes; permissions are its business as well
 * (-o default_permissions is always on).
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 312

#include "counts.h"
#include "memfs_locks.h"
#include "memfs_node.h"
#include "serve.h"

#include <limits.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

static struct {
	char *size;
	char *stats;
	double timeout;
} settings = { .timeout = 1.0 };

static const struct fuse_opt options[] = {
	{ "size=%s", offsetof(__typeof__(settings), size), 0 },
	{ "stats=%s", offsetof(__typeof__(settings), stats), 0 },
	{ "timeout=%lf", offsetof(__typeof__(settings), timeout), 0 },
	FUSE_OPT_END
};

static const char help[] =
	"    -o size=BYTES[k|m|g]   room for file contents (default: half of the machine's memory)\n"
	"    -o timeout=SECONDS     how long the kernel may cache names and attributes (default: 1)\n"
	"    -o stats=FILE          write how often each operation came, at exit and on SIGUSR1\n"
	"                           (without it SIGUSR1 prints to stderr)\n";

/* ---- helpers ------------------------------------------------------------------ */

static struct node *node_of(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? tree.root : (struct node *)(uintptr_t)ino;
}

static fuse_ino_t ino_of(const struct node *node)
{
	return node == tree.root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)node;
}

/* An answer that tells the kernel about `node`, which counts as a lookup. */
static struct fuse_entry_param entry_of(struct node *node)
{
	atomic_fetch_add(&node->lookups, 1);
	return (struct fuse_entry_param){
		.ino = ino_of(node),
		.generation = node->attr.st_ino,  /* addresses are used again */
		.attr = attr_of(node),
		.attr_timeout = settings.timeout,
		.entry_timeout = settings.timeout,
	};
}

/* Gives lookups and open files back. */
static void let_go(fuse_ino_t ino, uint64_t lookups, uint64_t opens)
{
	struct node *node = node_of(ino);

	pthread_rwlock_wrlock(&tree.lock);
	node->lookups -= node == tree.root ? 0 : lookups;
	node->opens -= opens;
	node_settle(node);
	pthread_rwlock_unlock(&tree.lock);
}

/* Answers with the node, if there was no error. */
static void reply_entry(fuse_req_t req, int error, const struct fuse_entry_param *entry)
{
	if (error)
		fuse_reply_err(req, error);
	else if (fuse_reply_entry(req, entry) != 0 && entry->ino)
		let_go(entry->ino, 1, 0);  /* the kernel did not get to know it */
}

/* ---- names -------------------------------------------------------------------- */

static void mem_lookup(fuse_req_t req, fuse_ino_t parent, const char *text)
{
	/* Node 0: there is no such name, and the kernel may remember that. */
	struct fuse_entry_param entry = { .entry_timeout = settings.timeout };
	struct name *name;

	COUNT(lookup);
	if (strlen(text) > NAME_MAX) {
		fuse_reply_err(req, ENAMETOOLONG);
		return;
	}
	pthread_rwlock_rdlock(&tree.lock);
	name = name_find(node_of(parent), text);
	if (name)
		entry = entry_of(name->node);
	pthread_rwlock_unlock(&tree.lock);
	reply_entry(req, 0, &entry);
}

static void mem_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	COUNT(forget);
	let_go(ino, nlookup, 0);
	fuse_reply_none(req);
}

static void mem_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	COUNT(forget_multi);
	for (size_t i = 0; i < count; i++)
		let_go(forgets[i].ino, forgets[i].nlookup, 0);
	fuse_reply_none(req);
}

/* Makes a node and, with `text`, a name for it. Fills in `entry`; 0 or an errno. */
static int make(fuse_req_t req, fuse_ino_t parent, const char *text, mode_t mode, dev_t rdev,
		const char *target, uint64_t opens, struct fuse_entry_param *entry)
{
	const struct fuse_ctx *caller = fuse_req_ctx(req);
	struct node *node;
	int error;

	pthread_rwlock_wrlock(&tree.lock);
	error = node_make(node_of(parent), text, mode, rdev, target, caller->uid, caller->gid, opens,
			  &node);
	if (error == 0)
		*entry = entry_of(node);
	pthread_rwlock_unlock(&tree.lock);
	return error;
}

static void mem_mknod(fuse_req_t req, fuse_ino_t parent, const char *text, mode_t mode, dev_t rdev)
{
	struct fuse_entry_param entry;

	COUNT(mknod);
	reply_entry(req, make(req, parent, text, mode, rdev, NULL, 0, &entry), &entry);
}

static void mem_mkdir(fuse_req_t req, fuse_ino_t parent, const char *text, mode_t mode)
{
	struct fuse_entry_param entry;

	COUNT(mkdir);
	reply_entry(req, make(req, parent, text, S_IFDIR | mode, 0, NULL, 0, &entry), &entry);
}

static void mem_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *text)
{
	struct fuse_entry_param entry;

	COUNT(symlink);
	reply_entry(req, make(req, parent, text, S_IFLNK | 0777, 0, target, 0, &entry), &entry);
}

static void mem_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newtext)
{
	struct fuse_entry_param entry;
	int error;

	COUNT(link);
	pthread_rwlock_wrlock(&tree.lock);
	error = node_link(node_of(ino), node_of(newparent), newtext);
	if (error == 0)
		entry = entry_of(node_of(ino));
	pthread_rwlock_unlock(&tree.lock);
	reply_entry(req, error, &entry);
}

static void reply_unlink(fuse_req_t req, fuse_ino_t parent, const char *text, bool directory)
{
	int error;

	pthread_rwlock_wrlock(&tree.lock);
	error = name_unlink(node_of(parent), text, directory);
	pthread_rwlock_unlock(&tree.lock);
	fuse_reply_err(req, error);
}

static void mem_unlink(fuse_req_t req, fuse_ino_t parent, const char *text)
{
	COUNT(unlink);
	reply_unlink(req, parent, text, false);
}

static void mem_rmdir(fuse_req_t req, fuse_ino_t parent, const char *text)
{
	COUNT(rmdir);
	reply_unlink(req, parent, text, true);
}

static void mem_rename(fuse_req_t req, fuse_ino_t parent, const char *text, fuse_ino_t newparent,
		       const char *newtext, unsigned int flags)
{
	int error;

	if (flags)
		COUNT(rename2);
	else
		COUNT(rename);
	pthread_rwlock_wrlock(&tree.lock);
	error = rename_locked(node_of(parent), text, node_of(newparent), newtext, flags);
	pthread_rwlock_unlock(&tree.lock);
	fuse_reply_err(req, error);
}

/* ---- directories ---------------------------------------------------------------- */

struct listing {
	fuse_req_t req;
	char *buf;
	size_t used, size;
	bool plus;
};

/* Adds an entry to the answer; false if there is no room left for it. */
static bool list(struct listing *listing, const char *text, struct node *node, bool count, off_t next)
{
	struct fuse_entry_param entry = { .ino = 0 };
	char *at = listing->buf + listing->used;
	size_t room = listing->size - listing->used;
	size_t need;

	if (listing->plus && count) {
		if (fuse_add_direntry_plus(listing->req, NULL, 0, text, NULL, 0) > room)
			return false;
		entry = entry_of(node);
	} else {
		entry.attr.st_ino = node->attr.st_ino;
		entry.attr.st_mode = node->type;
	}
	need = listing->plus ? fuse_add_direntry_plus(listing->req, at, room, text, &entry, next)
			     : fuse_add_direntry(listing->req, at, room, text, &entry.attr, next);
	if (need > room)
		return false;
	listing->used += need;
	return true;
}

static void reply_listing(fuse_req_t req, fuse_ino_t ino, size_t size, uint64_t off, bool plus)
{
	struct node *dir = node_of(ino);
	struct listing listing = { .req = req, .buf = malloc(size), .size = size, .plus = plus };
	bool room = true;

	if (listing.buf == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_rwlock_rdlock(&tree.lock);
	if (off < 1)
		room = list(&listing, ".", dir, false, 1);
	if (off < 2 && room)
		room = list(&listing, "..", dir->parent, false, 2);
	for (size_t i = slot_after(dir, off); i < dir->slot_count && room; i++)
		if (dir->slots[i].name)
			room = list(&listing, dir->slots[i].name->text, dir->slots[i].name->node, true,
				    dir->slots[i].offset);
	pthread_rwlock_unlock(&tree.lock);
	fuse_reply_buf(req, listing.buf, listing.used);
	free(listing.buf);
}

static void mem_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	COUNT(readdir);
	reply_listing(req, ino, size, off, false);
}

static void mem_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			    struct fuse_file_info *fi)
{
	(void)fi;
	COUNT(readdirplus);
	reply_listing(req, ino, size, off, true);
}

static void reply_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	atomic_fetch_add(&node_of(ino)->opens, 1);
	if (fuse_reply_open(req, fi) != 0)
		let_go(ino, 0, 1);  /* the client went away: no release will come */
}

static void mem_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	COUNT(opendir);
	reply_open(req, ino, fi);
}

static void mem_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	COUNT(releasedir);
	let_go(ino, 0, 1);
	fuse_reply_err(req, 0);
}

static void mem_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	COUNT(fsyncdir);
	fuse_reply_err(req, 0);
}

/* ---- attributes ------------------------------------------------------------------ */

static void mem_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat attr = attr_of(node_of(ino));

	(void)fi;
	COUNT(getattr);
	fuse_reply_attr(req, &attr, settings.timeout);
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
static struct statx_timestamp statx_time(struct timespec time)
{
	return (struct statx_timestamp){ .tv_sec = time.tv_sec, .tv_nsec = time.tv_nsec };
}

static void mem_statx(fuse_req_t req, fuse_ino_t ino, int flags, int mask, struct fuse_file_info *fi)
{
	struct stat attr = attr_of(node_of(ino));
	struct statx st = {
		.stx_mask = STATX_BASIC_STATS | STATX_BTIME,
		.stx_blksize = attr.st_blksize,
		.stx_nlink = attr.st_nlink,
		.stx_uid = attr.st_uid,
		.stx_gid = attr.st_gid,
		.stx_mode = attr.st_mode,
		.stx_ino = attr.st_ino,
		.stx_size = attr.st_size,
		.stx_blocks = attr.st_blocks,
		.stx_rdev_major = major(attr.st_rdev),
		.stx_rdev_minor = minor(attr.st_rdev),
		.stx_atime = statx_time(attr.st_atim),
		.stx_mtime = statx_time(attr.st_mtim),
		.stx_ctime = statx_time(attr.st_ctim),
		.stx_btime = statx_time(node_of(ino)->born),
	};

	(void)flags;
	(void)mask;
	(void)fi;
	COUNT(statx);
	fuse_reply_statx(req, 0, &st, settings.timeout);
}
#endif

static void mem_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
			struct fuse_file_info *fi)
{
	struct node *node = node_of(ino);
	struct timespec time = now();

	(void)fi;
	COUNT(setattr);
	pthread_rwlock_wrlock(&node->lock);
	if (to_set & FUSE_SET_ATTR_MODE)
		node->attr.st_mode = (node->attr.st_mode & S_IFMT) | (attr->st_mode & 07777);
	if (to_set & FUSE_SET_ATTR_UID)
		node->attr.st_uid = attr->st_uid;
	if (to_set & FUSE_SET_ATTR_GID)
		node->attr.st_gid = attr->st_gid;
	if (to_set & FUSE_SET_ATTR_SIZE)
		resize(node, attr->st_size);
	if (to_set & FUSE_SET_ATTR_ATIME)
		node->attr.st_atim = to_set & FUSE_SET_ATTR_ATIME_NOW ? time : attr->st_atim;
	if (to_set & FUSE_SET_ATTR_MTIME)
		node->attr.st_mtim = to_set & FUSE_SET_ATTR_MTIME_NOW ? time : attr->st_mtim;
	node->attr.st_ctim = to_set & FUSE_SET_ATTR_CTIME ? attr->st_ctim : time;
	pthread_rwlock_unlock(&node->lock);
	*attr = attr_of(node);
	fuse_reply_attr(req, attr, settings.timeout);
}

static void mem_readlink(fuse_req_t req, fuse_ino_t ino)
{
	COUNT(readlink);
	fuse_reply_readlink(req, node_of(ino)->target);
}

static void mem_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = tree_statistics();

	(void)ino;
	COUNT(statfs);
	fuse_reply_statfs(req, &st);
}

/* ---- files ------------------------------------------------------------------------ */

static void mem_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node *node = node_of(ino);

	COUNT(open);
	if (fi->flags & O_TRUNC) {
		pthread_rwlock_wrlock(&node->lock);
		resize(node, 0);
		pthread_rwlock_unlock(&node->lock);
	}
	fi->keep_cache = 1;
	reply_open(req, ino, fi);
}

static void reply_created(fuse_req_t req, int error, const struct fuse_entry_param *entry,
			  struct fuse_file_info *fi)
{
	fi->keep_cache = 1;
	if (error)
		fuse_reply_err(req, error);
	else if (fuse_reply_create(req, entry, fi) != 0)
		let_go(entry->ino, 1, 1);
}

static void mem_create(fuse_req_t req, fuse_ino_t parent, const char *text, mode_t mode,
		       struct fuse_file_info *fi)
{
	struct fuse_entry_param entry;

	COUNT(create);
	reply_created(req, make(req, parent, text, S_IFREG | mode, 0, NULL, 1, &entry), &entry, fi);
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
static void mem_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi)
{
	struct fuse_entry_param entry;
	int error = make(req, parent, NULL, S_IFREG | mode, 0, NULL, 1, &entry);

	COUNT(tmpfile);
	if (error == 0 && (fi->flags & O_EXCL))
		node_of(entry.ino)->linkable = false;
	reply_created(req, error, &entry, fi);
}
#endif

static void mem_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	COUNT(release);
	if (fi->flock_release)
		lock_drop(node_of(ino), LOCK_WHOLE, fi->lock_owner);
	let_go(ino, 0, 1);
	fuse_reply_err(req, 0);
}

static void mem_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	static const char zeros[CHUNK_BYTES];
	struct node *node = node_of(ino);
	struct iovec *pieces;
	int count = 0;

	(void)fi;
	COUNT(read);
	note_read(node);
	/* At most two pieces per chunk: what is there, and a hole behind it. */
	pieces = malloc((size / CHUNK_BYTES + 2) * 2 * sizeof(*pieces));
	if (pieces == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_rwlock_rdlock(&node->lock);
	if (off >= node->attr.st_size)
		size = 0;
	else if (size > (uint64_t)(node->attr.st_size - off))
		size = node->attr.st_size - off;
	while (size > 0 && count < IOV_MAX - 1) {
		char *bytes;
		size_t length = data_piece(&node->data, off, size, &bytes);

		pieces[count++] = (struct iovec){ bytes ? bytes : (char *)zeros, length };
		off += length;
		size -= length;
	}
	/* The answer is copied before this returns, so the lock need not last longer. */
	fuse_reply_iov(req, pieces, count);
	pthread_rwlock_unlock(&node->lock);
	free(pieces);
}

static void mem_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *from, off_t off,
			  struct fuse_file_info *fi)
{
	struct node *node = node_of(ino);
	ssize_t written;

	(void)fi;
	COUNT(write);
	pthread_rwlock_wrlock(&node->lock);
	written = write_data(node, from, fuse_buf_size(from), off);
	pthread_rwlock_unlock(&node->lock);
	if (written < 0)
		fuse_reply_err(req, -written);
	else
		fuse_reply_write(req, written);
}

static void mem_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	COUNT(fsync);
	fuse_reply_err(req, 0);
}

static void mem_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t length,
			  struct fuse_file_info *fi)
{
	(void)fi;
	COUNT(fallocate);
	fuse_reply_err(req, node_allocate(node_of(ino), mode, off, length));
}

static void mem_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	off_t found = node_seek(node_of(ino), off, whence);

	(void)fi;
	COUNT(lseek);
	if (found < 0)
		fuse_reply_err(req, -found);
	else
		fuse_reply_lseek(req, found);
}

static void mem_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
				struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
				struct fuse_file_info *fi_out, size_t length, int flags)
{
	ssize_t copied = node_copy(node_of(ino_in), off_in, node_of(ino_out), off_out, length);

	(void)fi_in;
	(void)fi_out;
	(void)flags;
	COUNT(copy_file_range);
	if (copied < 0)
		fuse_reply_err(req, -copied);
	else
		fuse_reply_write(req, copied);
}

/* ---- extended attributes --------------------------------------------------------- */

static void mem_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			 size_t size, int flags)
{
	COUNT(setxattr);
	fuse_reply_err(req, xattr_set(node_of(ino), name, value, size, flags));
}

static void mem_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	COUNT(removexattr);
	fuse_reply_err(req, xattr_remove(node_of(ino), name));
}

/* A caller with no room (`size` 0) wants to know how much is needed. */
static void reply_xattr(fuse_req_t req, const char *bytes, size_t length, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(req, length);
	else if (length > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, bytes, length);
}

static void mem_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct node *node = node_of(ino);
	struct xattr *xattr;

	COUNT(getxattr);
	pthread_rwlock_rdlock(&node->lock);
	xattr = *xattr_find(node, name);
	if (xattr)
		reply_xattr(req, xattr->value, xattr->size, size);
	else
		fuse_reply_err(req, strncmp(name, "system.", 7) == 0 ? EOPNOTSUPP : ENODATA);
	pthread_rwlock_unlock(&node->lock);
}

static void mem_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	char *names = malloc(size + 1);

	COUNT(listxattr);
	if (names == NULL)
		fuse_reply_err(req, ENOMEM);
	else
		reply_xattr(req, names, xattr_names(node_of(ino), names, size), size);
	free(names);
}

/* ---- locks ------------------------------------------------------------------------ */

static struct record record_of(const struct fuse_file_info *fi, const struct flock *lock)
{
	return (struct record){
		.owner = fi->lock_owner,
		.start = lock->l_start,
		.end = lock->l_len ? lock->l_start + lock->l_len - 1 : INT64_MAX,
		.type = lock->l_type,
		.pid = lock->l_pid,
	};
}

static void mem_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
	struct record wanted = record_of(fi, lock);
	const struct record *holder;

	COUNT(getlk);
	pthread_mutex_lock(&locks.mutex);
	holder = lock_conflict(node_of(ino), LOCK_RECORD, &wanted);
	lock->l_type = F_UNLCK;
	if (holder) {
		lock->l_type = holder->type;
		lock->l_start = holder->start;
		lock->l_len = holder->end == INT64_MAX ? 0 : holder->end - holder->start + 1;
		lock->l_pid = holder->pid;
	}
	pthread_mutex_unlock(&locks.mutex);
	fuse_reply_lock(req, lock);
}

static void mem_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock,
		      int sleep)
{
	struct record wanted = record_of(fi, lock);

	if (sleep)
		COUNT(setlkw);
	else
		COUNT(setlk);
	lock_request(req, node_of(ino), LOCK_RECORD, &wanted, sleep);
}

static void mem_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
	struct record wanted = { .owner = fi->lock_owner, .start = 0, .end = INT64_MAX };

	COUNT(flock);
	wanted.type = op & LOCK_EX ? F_WRLCK : op & LOCK_SH ? F_RDLCK : F_UNLCK;
	lock_request(req, node_of(ino), LOCK_WHOLE, &wanted, !(op & LOCK_NB));
}

static void mem_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	COUNT(flush);
	lock_drop(node_of(ino), LOCK_RECORD, fi->lock_owner);
	fuse_reply_err(req, 0);
}

/* ---- the session ------------------------------------------------------------------ */

static void mem_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	serve_apply(conn);
	serve_want(conn, FUSE_CAP_PARALLEL_DIROPS);
	serve_want(conn, FUSE_CAP_CACHE_SYMLINKS);
}

static const struct fuse_lowlevel_ops operations = {
	.init = mem_init,
	.lookup = mem_lookup,
	.forget = mem_forget,
	.forget_multi = mem_forget_multi,
	.mknod = mem_mknod,
	.mkdir = mem_mkdir,
	.symlink = mem_symlink,
	.link = mem_link,
	.unlink = mem_unlink,
	.rmdir = mem_rmdir,
	.rename = mem_rename,
	.opendir = mem_opendir,
	.readdir = mem_readdir,
	.readdirplus = mem_readdirplus,
	.fsyncdir = mem_fsyncdir,
	.releasedir = mem_releasedir,
	.getattr = mem_getattr,
	.setattr = mem_setattr,
	.readlink = mem_readlink,
	.statfs = mem_statfs,
	.create = mem_create,
	.open = mem_open,
	.read = mem_read,
	.write_buf = mem_write_buf,
	.flush = mem_flush,
	.fsync = mem_fsync,
	.release = mem_release,
	.fallocate = mem_fallocate,
	.lseek = mem_lseek,
	.copy_file_range = mem_copy_file_range,
	.setxattr = mem_setxattr,
	.getxattr = mem_getxattr,
	.listxattr = mem_listxattr,
	.removexattr = mem_removexattr,
	.getlk = mem_getlk,
	.setlk = mem_setlk,
	.flock = mem_flock,
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	.tmpfile = mem_tmpfile,
#endif
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	.statx = mem_statx,
#endif
};

static int prepare(const char *mountpoint)
{
	(void)mountpoint;
	if (!memory_limit(settings.size)) {
		fprintf(stderr, "memfs_ll: size=%s: not a number of bytes (like 500000, 64m or 2g)\n",
			settings.size);
		return -1;
	}
	if (counts_start(settings.stats) == -1) {
		fprintf(stderr, "memfs_ll: cannot create %s: %s\n", settings.stats, strerror(errno));
		return -1;
	}
	if (tree_start(getuid(), getgid()) != 0) {
		fprintf(stderr, "memfs_ll: no memory for an empty filesystem\n");
		return -1;
	}
	locks_start();
	return 0;
}

int main(int argc, char **argv)
{
	const struct server server = {
		.ops = &operations,
		.help = help,
		.options = options,
		.settings = &settings,
		.mount_options = "default_permissions",
		.prepare = prepare,
		.stop = locks_finish,
	};
	int status = serve(argc, argv, &server);

	counts_finish();
	tree_finish();
	free(settings.size);
	free(settings.stats);
	return status;
}
