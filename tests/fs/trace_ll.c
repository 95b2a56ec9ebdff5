/*
 * trace_ll: a filesystem in memory that writes down every operation with all
 * its arguments. See serve.h for how a test talks to it and trace.h for what
 * its names mean. Its own options:
 *     -o write_buf, forget_multi   have these operations
 *     -o no_lock                   have no lock operations
 */
#include "trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
	int write_buf;
	int forget_multi;
	int no_lock;
} options;

static const struct fuse_opt trace_opts[] = {
	{ "write_buf", 0, 1 },
	{ "forget_multi", sizeof(int), 1 },
	{ "no_lock", 2 * sizeof(int), 1 },
	FUSE_OPT_END,
};

static __thread char scratch[8][2 * NODE_NAME];
static __thread unsigned int scratch_next;

static char *scratch_buffer(void)
{
	return scratch[scratch_next++ % 8];
}

const char *escaped(const char *name)
{
	char *out = scratch_buffer();
	size_t used = 0;

	for (; *name && used < sizeof(scratch[0]) - 4; name++) {
		unsigned char c = *name;

		if (c > ' ' && c < 0x7f && c != '%' && c != '=')
			out[used++] = c;
		else
			used += sprintf(out + used, "%%%02X", c);
	}
	out[used] = '\0';
	return out;
}

const char *handle(const struct fuse_file_info *fi)
{
	char *out = scratch_buffer();

	if (!fi)
		return "";
	snprintf(out, sizeof(scratch[0]),
		 " fh=%llx flags=%o writepage=%d flush=%d flock_release=%d"
		 " owner=%llx events=%x", (unsigned long long)fi->fh,
		 (unsigned int)fi->flags, fi->writepage, fi->flush,
		 fi->flock_release, (unsigned long long)fi->lock_owner,
		 fi->poll_events);
	return out;
}

uint64_t fnv(const void *data, size_t size)
{
	const unsigned char *byte = data;
	uint64_t hash = 0xcbf29ce484222325u;

	while (size--)
		hash = (hash ^ *byte++) * 0x100000001b3u;
	return hash;
}

int fails_name(fuse_req_t req, const char *op, const char *name)
{
	size_t length = strlen(op);

	if (strncmp(name, "fail_", 5) != 0 ||
	    strncmp(name + 5, op, length) != 0 || name[5 + length] != '_')
		return 0;
	fuse_reply_err(req, atoi(name + 5 + length + 1));
	return 1;
}

const char *name_of(fuse_ino_t ino)
{
	char *out = scratch_buffer();
	struct node *node;

	pthread_mutex_lock(&nodes_lock);
	node = node_get(ino);
	strcpy(out, node ? node->name : "");
	pthread_mutex_unlock(&nodes_lock);
	return out;
}

int fails(fuse_req_t req, const char *op, fuse_ino_t ino)
{
	return fails_name(req, op, name_of(ino));
}

static double timeout_of(const struct node *node)
{
	return strstr(node->name, "hold") ? 3600 : 0;
}

void fill_entry(struct fuse_entry_param *e, const struct node *node)
{
	memset(e, 0, sizeof(*e));
	e->ino = node->ino;
	e->generation = 7;
	e->attr = node->attr;
	e->attr_timeout = e->entry_timeout = timeout_of(node);
}

static void reply_node(fuse_req_t req, struct node *node)
{
	struct fuse_entry_param e;

	if (!node) {
		fuse_reply_err(req, ENOSPC);
		return;
	}
	fill_entry(&e, node);
	fuse_reply_entry(req, &e);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	serve_init(conn);
	trace(NULL, "init", "userdata=%d proto=%u.%u capable=%x want=%x"
	      " max_write=%u max_read=%u", userdata == &serve_options,
	      conn->proto_major, conn->proto_minor, conn->capable, conn->want,
	      conn->max_write, conn->max_read);
}

static void op_destroy(void *userdata)
{
	trace(NULL, "destroy", "userdata=%d", userdata == &serve_options);
}

/* Names that ask for a failure of an operation on an existing node exist as
 * soon as they are looked up. */
static mode_t mode_by_itself(const char *name)
{
	static const char *const made[] = {
		"lookup", "create", "mkdir", "mknod", "symlink", "link",
	};

	if (strncmp(name, "fail_", 5) != 0)
		return 0;
	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
		if (strncmp(name + 5, made[i], strlen(made[i])) == 0)
			return 0;
	if (strstr(name, "dir_"))
		return S_IFDIR | 0755;
	return strstr(name, "readlink") ? S_IFLNK | 0777 : S_IFREG | 0644;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e;
	struct node *node;

	trace(req, "lookup", "parent=%" PRIu64 " name=%s", parent, escaped(name));
	if (fails_name(req, "lookup", name))
		return;
	memset(&e, 0, sizeof(e));
	if (strncmp(name, "neg", 3) == 0) {
		e.entry_timeout = 3600;
		fuse_reply_entry(req, &e);
		return;
	}
	pthread_mutex_lock(&nodes_lock);
	node = node_find(parent, name);
	if (!node && mode_by_itself(name))
		node = node_add(parent, name, mode_by_itself(name));
	if (node)
		fill_entry(&e, node);
	pthread_mutex_unlock(&nodes_lock);
	if (node)
		fuse_reply_entry(req, &e);
	else
		fuse_reply_err(req, ENOENT);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	trace(NULL, "forget", "ino=%" PRIu64 " nlookup=%" PRIu64, ino, nlookup);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count,
			    struct fuse_forget_data *forgets)
{
	trace(NULL, "forget_multi", "count=%zu", count);
	for (size_t i = 0; i < count; i++)
		trace(NULL, "forget", "ino=%" PRIu64 " nlookup=%" PRIu64, forgets[i].ino,
		      forgets[i].nlookup);
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct stat attr = { .st_ino = ino, .st_mode = S_IFREG | 0444,
			     .st_nlink = 1 };
	double timeout = 0;
	struct node *node;

	trace(req, "getattr", "ino=%" PRIu64 "%s", ino, handle(fi));
	if (fails(req, "getattr", ino))
		return;
	pthread_mutex_lock(&nodes_lock);
	node = node_get(ino);
	if (node) {
		attr = node->attr;
		timeout = timeout_of(node);
	}
	pthread_mutex_unlock(&nodes_lock);
	if (node || ino >= BIG_BASE)
		fuse_reply_attr(req, &attr, timeout);
	else
		fuse_reply_err(req, ENOENT);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
		       int to_set, struct fuse_file_info *fi)
{
	struct stat *have, now;
	struct node *node;
	int err = 0;

	trace(req, "setattr", "ino=%" PRIu64 " to_set=%x mode=%o owner_uid=%u"
	      " owner_gid=%u size=%" PRId64 " atime=%lld.%09ld mtime=%lld.%09ld"
	      " ctime=%lld.%09ld%s", ino, to_set, attr->st_mode, attr->st_uid,
	      attr->st_gid, attr->st_size, (long long)attr->st_atim.tv_sec,
	      attr->st_atim.tv_nsec, (long long)attr->st_mtim.tv_sec,
	      attr->st_mtim.tv_nsec, (long long)attr->st_ctim.tv_sec,
	      attr->st_ctim.tv_nsec, handle(fi));
	if (fails(req, "setattr", ino))
		return;
	pthread_mutex_lock(&nodes_lock);
	node = node_get(ino);
	if (!node) {
		pthread_mutex_unlock(&nodes_lock);
		fuse_reply_err(req, ENOENT);
		return;
	}
	have = &node->attr;
	if (to_set & FUSE_SET_ATTR_MODE)
		have->st_mode = (have->st_mode & S_IFMT) | (attr->st_mode & 07777);
	if (to_set & FUSE_SET_ATTR_UID)
		have->st_uid = attr->st_uid;
	if (to_set & FUSE_SET_ATTR_GID)
		have->st_gid = attr->st_gid;
	if (to_set & FUSE_SET_ATTR_ATIME)
		have->st_atim = attr->st_atim;
	if (to_set & FUSE_SET_ATTR_MTIME)
		have->st_mtim = attr->st_mtim;
	if (to_set & FUSE_SET_ATTR_CTIME)
		have->st_ctim = attr->st_ctim;
	if (to_set & FUSE_SET_ATTR_SIZE)
		err = node_resize(node, attr->st_size);
	now = *have;
	pthread_mutex_unlock(&nodes_lock);
	if (err)
		fuse_reply_err(req, err);
	else
		fuse_reply_attr(req, &now, 0);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct node *node;

	trace(req, "readlink", "ino=%" PRIu64, ino);
	if (fails(req, "readlink", ino))
		return;
	pthread_mutex_lock(&nodes_lock);
	node = node_get(ino);
	if (node && node->data)
		fuse_reply_readlink(req, node->data);
	else
		fuse_reply_err(req, EINVAL);
	pthread_mutex_unlock(&nodes_lock);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
		     mode_t mode, dev_t rdev)
{
	struct node *node;

	trace(req, "mknod", "parent=%" PRIu64 " name=%s mode=%o rdev=%" PRIx64, parent,
	      escaped(name), mode, (uint64_t)rdev);
	if (fails_name(req, "mknod", name))
		return;
	pthread_mutex_lock(&nodes_lock);
	node = node_add(parent, name, mode);
	if (node)
		node->attr.st_rdev = rdev;
	reply_node(req, node);
	pthread_mutex_unlock(&nodes_lock);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
		     mode_t mode)
{
	trace(req, "mkdir", "parent=%" PRIu64 " name=%s mode=%o", parent,
	      escaped(name), mode);
	if (fails_name(req, "mkdir", name))
		return;
	pthread_mutex_lock(&nodes_lock);
	reply_node(req, node_add(parent, name, S_IFDIR | (mode & 07777)));
	pthread_mutex_unlock(&nodes_lock);
}

static void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent,
		       const char *name)
{
	struct node *node;

	trace(req, "symlink", "link=%s parent=%" PRIu64 " name=%s", escaped(link),
	      parent, escaped(name));
	if (fails_name(req, "symlink", name))
		return;
	pthread_mutex_lock(&nodes_lock);
	node = node_add(parent, name, S_IFLNK | 0777);
	if (node) {
		node_write(node, link, strlen(link) + 1, 0);
		node->attr.st_size = strlen(link);
	}
	reply_node(req, node);
	pthread_mutex_unlock(&nodes_lock);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent,
		    const char *newname)
{
	struct node *node;

	trace(req, "link", "ino=%" PRIu64 " newparent=%" PRIu64 " newname=%s", ino, newparent,
	      escaped(newname));
	if (fails_name(req, "link", newname))
		return;
	pthread_mutex_lock(&nodes_lock);
	node = node_get(ino);
	if (node)
		node->attr.st_nlink++;
	reply_node(req, node);
	pthread_mutex_unlock(&nodes_lock);
}

static void remove_name(fuse_req_t req, const char *op, fuse_ino_t parent,
			const char *name)
{
	struct node *node;

	trace(req, op, "parent=%" PRIu64 " name=%s", parent, escaped(name));
	if (fails_name(req, op, name))
		return;
	pthread_mutex_lock(&nodes_lock);
	node = node_find(parent, name);
	if (node) {
		node->parent = 0;
		node->attr.st_nlink = 0;
	}
	pthread_mutex_unlock(&nodes_lock);
	fuse_reply_err(req, node ? 0 : ENOENT);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, "unlink", parent, name);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, "rmdir", parent, name);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		      fuse_ino_t newparent, const char *newname,
		      unsigned int flags)
{
	struct node *from, *to;
	int err = 0;

	trace(req, "rename", "parent=%" PRIu64 " name=%s newparent=%" PRIu64 " newname=%s"
	      " flags=%x", parent, escaped(name), newparent,
	      escaped(newname), flags);
	if (fails_name(req, "rename", name))
		return;
	pthread_mutex_lock(&nodes_lock);
	from = node_find(parent, name);
	to = node_find(newparent, newname);
	if (!from) {
		err = ENOENT;
	} else if (flags & RENAME_EXCHANGE) {
		if (to)
			node_name(to, parent, name);
		else
			err = ENOENT;
	} else if (to) {
		if (flags & RENAME_NOREPLACE)
			err = EEXIST;
		else
			to->parent = 0;
	}
	if (!err)
		node_name(from, newparent, newname);
	pthread_mutex_unlock(&nodes_lock);
	fuse_reply_err(req, err);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = {
		.f_bsize = 4096, .f_frsize = 512, .f_blocks = 1000001,
		.f_bfree = 900002, .f_bavail = 800003, .f_files = 700004,
		.f_ffree = 600005, .f_favail = 600005, .f_namemax = 255,
	};

	trace(req, "statfs", "ino=%" PRIu64, ino);
	fuse_reply_statfs(req, &st);
}

static void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	trace(req, "access", "ino=%" PRIu64 " mask=%o", ino, mask);
	if (!fails(req, "access", ino))
		fuse_reply_err(req, 0);
}

int main(int argc, char **argv)
{
	struct fuse_lowlevel_ops ops = {
		.init = op_init, .destroy = op_destroy,
		.lookup = op_lookup, .forget = op_forget,
		.getattr = op_getattr, .setattr = op_setattr,
		.readlink = op_readlink, .mknod = op_mknod,
		.mkdir = op_mkdir, .symlink = op_symlink, .link = op_link,
		.unlink = op_unlink, .rmdir = op_rmdir, .rename = op_rename,
		.statfs = op_statfs, .access = op_access,
	};

	serve_parse(argc, argv, trace_opts, &options);
	trace_file_ops(&ops);
	trace_dir_ops(&ops);
	if (options.write_buf)
		ops.write = NULL;
	else
		ops.write_buf = NULL;
	if (options.forget_multi)
		ops.forget_multi = op_forget_multi;
	if (options.no_lock)
		ops.getlk = NULL, ops.setlk = NULL, ops.flock = NULL;
	nodes_start();
	return serve(&ops, sizeof(ops), trace_command);
}
