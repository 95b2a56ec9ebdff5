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
#include "serve.h"

#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/xattr.h>

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

static struct stat attr_of(struct node *node)
{
	struct stat attr;

	pthread_rwlock_rdlock(&node->lock);
	attr = node->attr;
	attr.st_blocks = node->data.pages * (PAGE_BYTES / 512);
	pthread_rwlock_unlock(&node->lock);
	return attr;
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
	struct node *dir = node_of(parent);
	gid_t gid = caller->gid;
	struct node *node;
	int error = 0;

	pthread_rwlock_wrlock(&tree.lock);
	if (text && name_find(dir, text)) {
		pthread_rwlock_unlock(&tree.lock);
		return EEXIST;
	}
	/* A setgid directory passes its group on, and to directories the bit as well. */
	pthread_rwlock_rdlock(&dir->lock);
	if (dir->attr.st_mode & S_ISGID) {
		gid = dir->attr.st_gid;
		mode |= S_ISDIR(mode) ? S_ISGID : 0;
	}
	pthread_rwlock_unlock(&dir->lock);
	node = node_new(mode, caller->uid, gid, rdev);
	if (node && target) {
		node->target = strdup(target);
		node->attr.st_size = strlen(target);
	}
	if (node == NULL || (target && node->target == NULL))
		error = ENOMEM;
	else if (text)
		error = name_add(dir, text, node);
	if (error == 0) {
		node->linkable = text == NULL;
		node->attr.st_nlink = text == NULL ? 0 : S_ISDIR(mode) ? 2 : 1;
		node->opens = opens;
		if (S_ISDIR(mode)) {
			node->parent = dir;
			node_links(dir, 1);
		}
		*entry = entry_of(node);
	} else if (node) {
		node_free(node);
	}
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
	struct node *node = node_of(ino);
	int error;

	COUNT(link);
	pthread_rwlock_wrlock(&tree.lock);
	if (name_find(node_of(newparent), newtext))
		error = EEXIST;
	else if (node->attr.st_nlink == 0 && !node->linkable)
		error = ENOENT;
	else
		error = name_add(node_of(newparent), newtext, node);
	if (error == 0) {
		node->linkable = false;
		node_links(node, 1);
		entry = entry_of(node);
	}
	pthread_rwlock_unlock(&tree.lock);
	reply_entry(req, error, &entry);
}

/* Takes a link from a node whose name is gone or now means another one. */
static void unlinked(struct node *parent, struct node *node)
{
	if (S_ISDIR(node->type)) {
		node_links(node, -2);
		node_links(parent, -1);
	} else {
		node_links(node, -1);
	}
	node_settle(node);
}

static void mem_unlink(fuse_req_t req, fuse_ino_t parent, const char *text)
{
	struct name *name;
	int error = 0;

	COUNT(unlink);
	pthread_rwlock_wrlock(&tree.lock);
	name = name_find(node_of(parent), text);
	if (name == NULL) {
		error = ENOENT;
	} else if (S_ISDIR(name->node->type)) {
		error = EISDIR;
	} else {
		struct node *node = name->node;

		name_remove(name);
		unlinked(node_of(parent), node);
	}
	pthread_rwlock_unlock(&tree.lock);
	fuse_reply_err(req, error);
}

static void mem_rmdir(fuse_req_t req, fuse_ino_t parent, const char *text)
{
	struct name *name;
	int error = 0;

	COUNT(rmdir);
	pthread_rwlock_wrlock(&tree.lock);
	name = name_find(node_of(parent), text);
	if (name == NULL) {
		error = ENOENT;
	} else if (!S_ISDIR(name->node->type)) {
		error = ENOTDIR;
	} else if (name->node->entries > 0) {
		error = ENOTEMPTY;
	} else {
		struct node *node = name->node;

		name_remove(name);
		unlinked(node_of(parent), node);
	}
	pthread_rwlock_unlock(&tree.lock);
	fuse_reply_err(req, error);
}

/* Tells a node that it now has a name in `to` instead of `from`. */
static void moved(struct node *node, struct node *from, struct node *to)
{
	node_links(node, 0);
	if (S_ISDIR(node->type) && from != to) {
		node_links(from, -1);
		node_links(to, 1);
		node->parent = to;
	}
}

/* With tree.lock held exclusively. That no directory moves into itself has been
 * checked by the kernel. */
static int rename_locked(struct node *from, const char *text, struct node *to, const char *newtext,
			 unsigned int flags)
{
	struct name *source = name_find(from, text);
	struct name *target = name_find(to, newtext);
	struct node *node, *replaced;
	int error;

	if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return EINVAL;
	if (source == NULL || (target == NULL && (flags & RENAME_EXCHANGE)))
		return ENOENT;
	if (target && (flags & RENAME_NOREPLACE))
		return EEXIST;
	node = source->node;
	if (target == NULL) {
		error = name_add(to, newtext, node);
		if (error)
			return error;
		name_remove(source);
		moved(node, from, to);
		return 0;
	}
	replaced = target->node;
	if (replaced == node)
		return 0;
	if (flags & RENAME_EXCHANGE) {
		source->node = replaced;
		target->node = node;
		dir_changed(from);
		dir_changed(to);
		moved(node, from, to);
		moved(replaced, to, from);
		return 0;
	}
	if (S_ISDIR(node->type) && !S_ISDIR(replaced->type))
		return ENOTDIR;
	if (!S_ISDIR(node->type) && S_ISDIR(replaced->type))
		return EISDIR;
	if (replaced->entries > 0)
		return ENOTEMPTY;
	/* The target's name stays, so that a listing shows it once. */
	target->node = node;
	name_remove(source);
	dir_changed(to);
	moved(node, from, to);
	unlinked(to, replaced);
	return 0;
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

/* With node->lock held exclusively. */
static void resize(struct node *node, off_t size)
{
	if (size < node->attr.st_size)
		data_punch(&node->data, size, UINT64_MAX);
	node->attr.st_size = size;
	node->attr.st_mtim = node->attr.st_ctim = now();
}

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
	struct statvfs st = { .f_bsize = PAGE_BYTES, .f_frsize = PAGE_BYTES, .f_namemax = NAME_MAX };

	(void)ino;
	COUNT(statfs);
	pthread_rwlock_rdlock(&tree.lock);
	st.f_blocks = memory.limit;
	st.f_bfree = st.f_bavail = memory.limit - memory.used;
	st.f_ffree = st.f_favail = st.f_bfree;
	st.f_files = tree.node_count + st.f_ffree;
	pthread_rwlock_unlock(&tree.lock);
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

/* As relatime does: only if nobody has read since the last change, or for a day. */
static void note_read(struct node *node)
{
	struct stat attr = attr_of(node);
	struct timespec time = now();

	if (attr.st_atim.tv_sec > attr.st_mtim.tv_sec && attr.st_atim.tv_sec > attr.st_ctim.tv_sec &&
	    time.tv_sec - attr.st_atim.tv_sec < 86400)
		return;
	pthread_rwlock_wrlock(&node->lock);
	node->attr.st_atim = time;
	pthread_rwlock_unlock(&node->lock);
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

/* Copies `from` into the file; what fuse_buf_copy() says. With node->lock held
 * exclusively. */
static ssize_t write_data(struct node *node, struct fuse_bufvec *from, size_t size, uint64_t off)
{
	size_t chunks = size / CHUNK_BYTES + 2;
	struct fuse_bufvec *to = calloc(1, sizeof(*to) + chunks * sizeof(to->buf[0]));
	int error = to ? data_reserve(&node->data, off, size) : ENOMEM;
	uint64_t at = off;
	ssize_t written;

	if (error) {
		free(to);
		return -error;
	}
	while (size > 0) {
		char *bytes;
		size_t length = data_piece(&node->data, at, size, &bytes);

		to->buf[to->count++] = (struct fuse_buf){ .size = length, .mem = bytes, .fd = -1 };
		at += length;
		size -= length;
	}
	written = fuse_buf_copy(to, from, 0);
	free(to);
	if (written > 0) {
		if (off + written > (uint64_t)node->attr.st_size)
			node->attr.st_size = off + written;
		node->attr.st_mtim = node->attr.st_ctim = now();
	}
	return written;
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
	struct node *node = node_of(ino);
	int error = 0;

	(void)fi;
	COUNT(fallocate);
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	pthread_rwlock_wrlock(&node->lock);
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		data_punch(&node->data, off, (uint64_t)off + length);
	if (!(mode & FALLOC_FL_PUNCH_HOLE)) {
		error = data_reserve(&node->data, off, length);
		if (error == 0 && !(mode & FALLOC_FL_KEEP_SIZE) && off + length > node->attr.st_size)
			node->attr.st_size = off + length;
	}
	if (error == 0)
		node->attr.st_mtim = node->attr.st_ctim = now();
	pthread_rwlock_unlock(&node->lock);
	fuse_reply_err(req, error);
}

static void mem_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct node *node = node_of(ino);
	off_t found = -1;

	(void)fi;
	COUNT(lseek);
	if (whence != SEEK_DATA && whence != SEEK_HOLE) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	pthread_rwlock_rdlock(&node->lock);
	if (off >= 0 && off < node->attr.st_size)
		found = data_seek(&node->data, off, node->attr.st_size, whence == SEEK_DATA);
	if (found >= node->attr.st_size && whence == SEEK_DATA)
		found = -1;
	pthread_rwlock_unlock(&node->lock);
	if (found < 0)
		fuse_reply_err(req, ENXIO);
	else
		fuse_reply_lseek(req, found);
}

static void mem_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
				struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
				struct fuse_file_info *fi_out, size_t length, int flags)
{
	struct node *in = node_of(ino_in), *out = node_of(ino_out);
	size_t left = length < (1u << 30) ? length : 1u << 30;
	size_t copied = 0;
	char *piece = malloc(CHUNK_BYTES);
	ssize_t written = piece ? 0 : -ENOMEM;

	(void)fi_in;
	(void)fi_out;
	(void)flags;
	COUNT(copy_file_range);
	/* Through a buffer: never two locks at once, and a file may be copied into itself. */
	while (left > 0 && written >= 0) {
		struct fuse_bufvec from = FUSE_BUFVEC_INIT(0);
		size_t size = left < CHUNK_BYTES ? left : CHUNK_BYTES;

		pthread_rwlock_rdlock(&in->lock);
		if (off_in >= in->attr.st_size)
			size = 0;
		else if (size > (uint64_t)(in->attr.st_size - off_in))
			size = in->attr.st_size - off_in;
		for (size_t done = 0, part; done < size; done += part) {
			char *bytes;

			part = data_piece(&in->data, off_in + done, size - done, &bytes);
			if (bytes)
				memcpy(piece + done, bytes, part);
			else
				memset(piece + done, 0, part);
		}
		pthread_rwlock_unlock(&in->lock);
		if (size == 0)
			break;
		from.buf[0].mem = piece;
		from.buf[0].size = size;
		pthread_rwlock_wrlock(&out->lock);
		written = write_data(out, &from, size, off_out);
		pthread_rwlock_unlock(&out->lock);
		if (written > 0) {
			copied += written;
			left -= written;
			off_in += written;
			off_out += written;
		}
	}
	free(piece);
	if (written < 0 && copied == 0)
		fuse_reply_err(req, -written);
	else
		fuse_reply_write(req, copied);
}

/* ---- extended attributes --------------------------------------------------------- */

/* Where the attribute hangs, or where a new one would. With node->lock held. */
static struct xattr **xattr_find(struct node *node, const char *name)
{
	struct xattr **link = &node->xattrs;

	while (*link && strcmp((*link)->name, name) != 0)
		link = &(*link)->next;
	return link;
}

static void mem_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			 size_t size, int flags)
{
	struct node *node = node_of(ino);
	struct xattr *xattr, **link;
	int error = 0;

	COUNT(setxattr);
	/* Access control lists would have to be obeyed, not only kept. */
	if (strncmp(name, "system.", 7) == 0) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	xattr = malloc(sizeof(*xattr) + size);
	if (xattr == NULL || (xattr->name = strdup(name)) == NULL) {
		free(xattr);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	xattr->size = size;
	if (size > 0)
		memcpy(xattr->value, value, size);
	pthread_rwlock_wrlock(&node->lock);
	link = xattr_find(node, name);
	if (*link && (flags & XATTR_CREATE)) {
		error = EEXIST;
	} else if (*link == NULL && (flags & XATTR_REPLACE)) {
		error = ENODATA;
	} else {
		struct xattr *old = *link;

		xattr->next = old ? old->next : NULL;
		*link = xattr;
		xattr = old;
		node->attr.st_ctim = now();
	}
	pthread_rwlock_unlock(&node->lock);
	if (xattr)
		free(xattr->name);
	free(xattr);
	fuse_reply_err(req, error);
}

static void mem_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct node *node = node_of(ino);
	struct xattr *xattr, **link;

	COUNT(removexattr);
	pthread_rwlock_wrlock(&node->lock);
	link = xattr_find(node, name);
	xattr = *link;
	if (xattr) {
		*link = xattr->next;
		node->attr.st_ctim = now();
	}
	pthread_rwlock_unlock(&node->lock);
	fuse_reply_err(req, xattr ? 0 : ENODATA);
	if (xattr)
		free(xattr->name);
	free(xattr);
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
	struct node *node = node_of(ino);
	char *names = malloc(size + 1);
	size_t length = 0;

	COUNT(listxattr);
	if (names == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_rwlock_rdlock(&node->lock);
	for (const struct xattr *xattr = node->xattrs; xattr; xattr = xattr->next) {
		size_t more = strlen(xattr->name) + 1;

		if (length + more <= size)
			memcpy(names + length, xattr->name, more);
		length += more;
	}
	pthread_rwlock_unlock(&node->lock);
	reply_xattr(req, names, length, size);
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

/* "64m" and the like; false if it is not a size. */
static bool parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "kmg";
	const char *unit;
	char *end;

	errno = 0;
	*bytes = strtoull(text, &end, 10);
	if (end == text || *text == '-' || errno)
		return false;
	if (*end == '\0')
		return true;
	unit = strchr(units, *end | 0x20);
	if (unit == NULL || end[1] != '\0')
		return false;
	*bytes <<= 10 * (unit - units + 1);
	return true;
}

static int prepare(const char *mountpoint)
{
	uint64_t bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 2;

	(void)mountpoint;
	if (settings.size && !parse_size(settings.size, &bytes)) {
		fprintf(stderr, "memfs_ll: size=%s: not a number of bytes (like 500000, 64m or 2g)\n",
			settings.size);
		return -1;
	}
	memory.limit = bytes / PAGE_BYTES;
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
