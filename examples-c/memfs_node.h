/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * memfs_node.h: what is done to nodes and names, whichever API asks for it.
 *
 * Results are 0 or an errno, unless it says otherwise. Names are for callers that
 * hold tree.lock exclusively; functions of a single node take its lock themselves,
 * unless they say so, and their callers know that the node stays.
 */
#ifndef EXAMPLES_MEMFS_NODE_H
#define EXAMPLES_MEMFS_NODE_H

#include "memfs_tree.h"

#include <fuse_common.h>

#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

/* ---- names -------------------------------------------------------------------- */

/* Makes a node of `mode`, with `opens` open files, and with `text` a name for it. */
static inline int node_make(struct node *dir, const char *text, mode_t mode, dev_t rdev,
			    const char *target, uid_t uid, gid_t gid, uint64_t opens,
			    struct node **made)
{
	struct node *node;
	int error = 0;

	if (text && name_find(dir, text))
		return EEXIST;
	/* A setgid directory passes its group on, and to directories the bit as well. */
	pthread_rwlock_rdlock(&dir->lock);
	if (dir->attr.st_mode & S_ISGID) {
		gid = dir->attr.st_gid;
		mode |= S_ISDIR(mode) ? S_ISGID : 0;
	}
	pthread_rwlock_unlock(&dir->lock);
	node = node_new(mode, uid, gid, rdev);
	if (node == NULL)
		return ENOMEM;
	if (target) {
		node->target = strdup(target);
		node->attr.st_size = strlen(target);
	}
	if (target && node->target == NULL)
		error = ENOMEM;
	else if (text)
		error = name_add(dir, text, node);
	if (error) {
		node_free(node);
		return error;
	}
	node->linkable = text == NULL;
	node->attr.st_nlink = text == NULL ? 0 : S_ISDIR(mode) ? 2 : 1;
	node->opens = opens;
	if (S_ISDIR(mode)) {
		node->parent = dir;
		node_links(dir, 1);
	}
	*made = node;
	return 0;
}

/* Gives the node one more name. */
static inline int node_link(struct node *node, struct node *dir, const char *text)
{
	int error;

	if (name_find(dir, text))
		return EEXIST;
	if (node->attr.st_nlink == 0 && !node->linkable)
		return ENOENT;
	error = name_add(dir, text, node);
	if (error == 0) {
		node->linkable = false;
		node_links(node, 1);
	}
	return error;
}

/* Takes a link from a node whose name is gone or now means another one. */
static inline void unlinked(struct node *parent, struct node *node)
{
	if (S_ISDIR(node->type)) {
		node_links(node, -2);
		node_links(parent, -1);
	} else {
		node_links(node, -1);
	}
	node_settle(node);
}

/* Removes the name of an empty directory (`directory`), or of anything else. */
static inline int name_unlink(struct node *dir, const char *text, bool directory)
{
	struct name *name = name_find(dir, text);
	struct node *node;

	if (name == NULL)
		return ENOENT;
	node = name->node;
	if (directory != S_ISDIR(node->type))
		return directory ? ENOTDIR : EISDIR;
	if (directory && node->entries > 0)
		return ENOTEMPTY;
	name_remove(name);
	unlinked(dir, node);
	return 0;
}

/* Tells a node that it now has a name in `to` instead of `from`. */
static inline void moved(struct node *node, struct node *from, struct node *to)
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
static inline int rename_locked(struct node *from, const char *text, struct node *to, const char *newtext,
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

/* ---- files ---------------------------------------------------------------------- */

static inline struct stat attr_of(struct node *node)
{
	struct stat attr;

	pthread_rwlock_rdlock(&node->lock);
	attr = node->attr;
	attr.st_blocks = node->data.pages * (PAGE_BYTES / 512);
	pthread_rwlock_unlock(&node->lock);
	return attr;
}

/* With node->lock held exclusively. */
static inline void resize(struct node *node, off_t size)
{
	if (size < node->attr.st_size)
		data_punch(&node->data, size, UINT64_MAX);
	node->attr.st_size = size;
	node->attr.st_mtim = node->attr.st_ctim = now();
}

/* As relatime does: only if nobody has read since the last change, or for a day. */
static inline void note_read(struct node *node)
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

/* Copies `from` into the file; what fuse_buf_copy() says. With node->lock held
 * exclusively. */
static inline ssize_t write_data(struct node *node, struct fuse_bufvec *from, size_t size, uint64_t off)
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

static inline int node_allocate(struct node *node, int mode, off_t off, off_t length)
{
	int error = 0;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return EOPNOTSUPP;
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
	return error;
}

/* Where data or a hole begins (SEEK_DATA, SEEK_HOLE); or an errno, negative. */
static inline off_t node_seek(struct node *node, off_t off, int whence)
{
	off_t found = -1;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	pthread_rwlock_rdlock(&node->lock);
	if (off >= 0 && off < node->attr.st_size)
		found = data_seek(&node->data, off, node->attr.st_size, whence == SEEK_DATA);
	if (found >= node->attr.st_size && whence == SEEK_DATA)
		found = -1;
	pthread_rwlock_unlock(&node->lock);
	return found < 0 ? -ENXIO : found;
}

/* Copies into `buf` what is there of the file; the number of bytes. */
static inline size_t node_read(struct node *node, char *buf, size_t size, off_t off)
{
	pthread_rwlock_rdlock(&node->lock);
	if (off >= node->attr.st_size)
		size = 0;
	else if (size > (uint64_t)(node->attr.st_size - off))
		size = node->attr.st_size - off;
	for (size_t done = 0, part; done < size; done += part) {
		char *bytes;

		part = data_piece(&node->data, off + done, size - done, &bytes);
		if (bytes)
			memcpy(buf + done, bytes, part);
		else
			memset(buf + done, 0, part);
	}
	pthread_rwlock_unlock(&node->lock);
	return size;
}

/* Copies at most a gigabyte; the number of bytes, or an errno, negative. */
static inline ssize_t node_copy(struct node *in, off_t off_in, struct node *out, off_t off_out,
				size_t length)
{
	size_t left = length < (1u << 30) ? length : 1u << 30;
	size_t copied = 0;
	char *piece = malloc(CHUNK_BYTES);
	ssize_t written = piece ? 0 : -ENOMEM;

	/* Through a buffer: never two locks at once, and a file may be copied into itself. */
	while (left > 0 && written >= 0) {
		struct fuse_bufvec from = FUSE_BUFVEC_INIT(0);
		size_t size = node_read(in, piece, left < CHUNK_BYTES ? left : CHUNK_BYTES, off_in);

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
	return written < 0 && copied == 0 ? written : (ssize_t)copied;
}

/* ---- extended attributes -------------------------------------------------------- */

/* Where the attribute hangs, or where a new one would. With node->lock held. */
static inline struct xattr **xattr_find(struct node *node, const char *name)
{
	struct xattr **link = &node->xattrs;

	while (*link && strcmp((*link)->name, name) != 0)
		link = &(*link)->next;
	return link;
}

static inline int xattr_set(struct node *node, const char *name, const char *value, size_t size,
			    int flags)
{
	struct xattr *xattr, **link;
	int error = 0;

	/* Access control lists would have to be obeyed, not only kept. */
	if (strncmp(name, "system.", 7) == 0)
		return EOPNOTSUPP;
	xattr = malloc(sizeof(*xattr) + size);
	if (xattr == NULL || (xattr->name = strdup(name)) == NULL) {
		free(xattr);
		return ENOMEM;
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
	return error;
}

static inline int xattr_remove(struct node *node, const char *name)
{
	struct xattr *xattr, **link;

	pthread_rwlock_wrlock(&node->lock);
	link = xattr_find(node, name);
	xattr = *link;
	if (xattr) {
		*link = xattr->next;
		node->attr.st_ctim = now();
	}
	pthread_rwlock_unlock(&node->lock);
	if (xattr == NULL)
		return ENODATA;
	free(xattr->name);
	free(xattr);
	return 0;
}

/* Puts into `list` the names that fit into `size`; how much all need. */
static inline size_t xattr_names(struct node *node, char *list, size_t size)
{
	size_t length = 0;

	pthread_rwlock_rdlock(&node->lock);
	for (const struct xattr *xattr = node->xattrs; xattr; xattr = xattr->next) {
		size_t more = strlen(xattr->name) + 1;

		if (length + more <= size)
			memcpy(list + length, xattr->name, more);
		length += more;
	}
	pthread_rwlock_unlock(&node->lock);
	return length;
}

/* ---- the whole ------------------------------------------------------------------ */

/* What statfs() says of the whole filesystem. */
static inline struct statvfs tree_statistics(void)
{
	struct statvfs st = { .f_bsize = PAGE_BYTES, .f_frsize = PAGE_BYTES, .f_namemax = NAME_MAX };

	pthread_rwlock_rdlock(&tree.lock);
	st.f_blocks = memory.limit;
	st.f_bfree = st.f_bavail = memory.limit - memory.used;
	st.f_ffree = st.f_favail = st.f_bfree;
	st.f_files = tree.node_count + st.f_ffree;
	pthread_rwlock_unlock(&tree.lock);
	return st;
}

/* "64m" and the like; false if it is not a size. */
static inline bool parse_size(const char *text, uint64_t *bytes)
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

/* Sets the room for file contents: "64m" and the like, or NULL for half of the
 * machine's memory; false if it is not a size. */
static inline bool memory_limit(const char *size)
{
	uint64_t bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 2;

	if (size && !parse_size(size, &bytes))
		return false;
	memory.limit = bytes / PAGE_BYTES;
	return true;
}

#endif
