/* The operations of trace_ll on open directories, and extended attributes. */
#include "trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

static void op_opendir(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	trace(req, "opendir", "ino=%" PRIu64 "%s", ino, handle(fi));
	if (fails(req, "opendir", ino))
		return;
	fill_open(fi, ino);
	fi->direct_io = fi->nonseekable = fi->noflush = 0;
	fuse_reply_open(req, fi);
}

/* Fills `e` and `name` with the entry at `off`: 0 is ".", 1 is "..", what
 * follows are nodes by their number, or the generated ones. Returns the
 * offset of the next entry, 0 at the end. */
static off_t entry_at(fuse_ino_t dir, int big, off_t off,
		      struct fuse_entry_param *e, char *name)
{
	struct node *node;

	memset(e, 0, sizeof(*e));
	if (off < 2) {
		strcpy(name, off == 0 ? "." : "..");
		e->attr.st_ino = dir;
		e->attr.st_mode = S_IFDIR;
		return off + 1;
	}
	if (big) {
		off_t i = off - 2;

		if (i >= BIG_ENTRIES)
			return 0;
		sprintf(name, "entry-with-a-longer-name-%06ld", (long)i);
		e->ino = e->attr.st_ino = BIG_BASE + i;
		e->attr.st_mode = (i % 10 == 0 ? S_IFDIR : S_IFREG) | 0444;
		e->attr.st_nlink = 1;
		return off + 1;
	}
	node = node_after(dir, off - 1);
	if (!node)
		return 0;
	fill_entry(e, node);
	strcpy(name, node->name);
	return node->ino + 2;
}

static void list(fuse_req_t req, const char *op, fuse_ino_t ino, size_t size,
		 off_t off, int plus)
{
	int big = strncmp(name_of(ino), "big", 3) == 0;
	char *buf = malloc(size), name[NODE_NAME];
	struct fuse_entry_param e;
	size_t used = 0;
	off_t next;

	if (fails(req, op, ino)) {
		free(buf);
		return;
	}
	pthread_mutex_lock(&nodes_lock);
	while ((next = entry_at(ino, big, off, &e, name)) != 0) {
		size_t need = plus ?
			fuse_add_direntry_plus(req, buf + used, size - used,
					       name, &e, next) :
			fuse_add_direntry(req, buf + used, size - used, name,
					  &e.attr, next);

		if (need > size - used)
			break;
		used += need;
		off = next;
	}
	pthread_mutex_unlock(&nodes_lock);
	fuse_reply_buf(req, buf, used);
	free(buf);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	trace(req, "readdir", "ino=%" PRIu64 " size=%zu off=%" PRId64 "%s", ino, size, off,
	      handle(fi));
	list(req, "readdir", ino, size, off, 0);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size,
			   off_t off, struct fuse_file_info *fi)
{
	trace(req, "readdirplus", "ino=%" PRIu64 " size=%zu off=%" PRId64 "%s", ino, size, off,
	      handle(fi));
	list(req, "readdirplus", ino, size, off, 1);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino,
			  struct fuse_file_info *fi)
{
	trace(req, "releasedir", "ino=%" PRIu64 "%s", ino, handle(fi));
	fuse_reply_err(req, 0);
}

static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
			struct fuse_file_info *fi)
{
	trace(req, "fsyncdir", "ino=%" PRIu64 " datasync=%d%s", ino, datasync,
	      handle(fi));
	if (!fails(req, "fsyncdir", ino))
		fuse_reply_err(req, 0);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
			const char *value, size_t size, int flags)
{
	trace(req, "setxattr", "ino=%" PRIu64 " name=%s size=%zu fnv=%llx xattr_flags=%x",
	      ino, escaped(name), size, (unsigned long long)fnv(value, size),
	      flags);
	if (strcmp(name, "user.full") == 0)
		fuse_reply_err(req, ENOSPC);
	else if (flags & XATTR_CREATE)
		fuse_reply_err(req, EEXIST);
	else
		fuse_reply_err(req, 0);
}

static void reply_value(fuse_req_t req, const char *value, size_t length,
			size_t size)
{
	if (size == 0)
		fuse_reply_xattr(req, length);
	else if (size < length)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, value, length);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
			size_t size)
{
	char big[65536];

	trace(req, "getxattr", "ino=%" PRIu64 " name=%s size=%zu", ino, escaped(name),
	      size);
	memset(big, 'b', sizeof(big));
	if (strcmp(name, "user.small") == 0)
		reply_value(req, "the value", 9, size);
	else if (strcmp(name, "user.big") == 0)
		reply_value(req, big, sizeof(big), size);
	else if (strcmp(name, "user.empty") == 0)
		reply_value(req, "", 0, size);
	else
		fuse_reply_err(req, ENODATA);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	static const char names[] = "user.small\0user.big\0user.empty";

	trace(req, "listxattr", "ino=%" PRIu64 " size=%zu", ino, size);
	reply_value(req, names, sizeof(names), size);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	trace(req, "removexattr", "ino=%" PRIu64 " name=%s", ino, escaped(name));
	fuse_reply_err(req, strcmp(name, "user.small") == 0 ? 0 : ENODATA);
}

void trace_dir_ops(struct fuse_lowlevel_ops *ops)
{
	ops->opendir = op_opendir;
	ops->readdir = op_readdir;
	ops->readdirplus = op_readdirplus;
	ops->releasedir = op_releasedir;
	ops->fsyncdir = op_fsyncdir;
	ops->setxattr = op_setxattr;
	ops->getxattr = op_getxattr;
	ops->listxattr = op_listxattr;
	ops->removexattr = op_removexattr;
}
