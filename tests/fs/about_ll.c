/*
 * about_ll: a filesystem with one file, "about", whose contents tell how its
 * request came. What is written to it has to be where the request's payload is.
 *     -o init_max_read=N   what init() puts into conn->max_read
 * Commands: "fd" (fuse_session_fd), "transport" (of ringfuse_session_stats),
 * "reason" (the length of ringfuse_session_reason), "version".
 */
#include "serve.h"

#include "ringfuse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct { unsigned int init_max_read; } options;

static const struct fuse_opt about_opts[] = {
	{ "init_max_read=%u", 0, 0 },
	FUSE_OPT_END,
};

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	serve_init(conn);
	conn->max_read = options.init_max_read;
	trace(NULL, "init", "max_read=%u max_write=%u max_readahead=%u max_background=%u"
	      " congestion_threshold=%u time_gran=%u want=%x", conn->max_read, conn->max_write,
	      conn->max_readahead, conn->max_background, conn->congestion_threshold,
	      conn->time_gran, conn->want);
}

static void attributes(fuse_ino_t ino, struct stat *attr)
{
	memset(attr, 0, sizeof(*attr));
	attr->st_ino = ino;
	attr->st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0666;
	attr->st_nlink = 1;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = { .ino = 2 };

	(void)parent;
	if (strcmp(name, "about") != 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	attributes(e.ino, &e.attr);
	fuse_reply_entry(req, &e);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat attr;

	(void)fi;
	attributes(ino, &attr);
	fuse_reply_attr(req, &attr, 0);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->direct_io = 1;
	fuse_reply_open(req, fi);
}

/* On a ring the text is written where the answer goes, without a copy. */
static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	char own[128], *text = own;
	size_t room = sizeof(own), length;
	int res = fuse_req_get_payload(req, &text, &room, NULL);

	(void)ino;
	(void)fi;
	if (res != 0)
		text = own, room = sizeof(own);
	length = snprintf(text, room < size ? room : size, "uring=%d payload=%d userdata=%d\n",
			  fuse_req_is_uring(req), res, fuse_req_userdata(req) == &serve_options);
	fuse_reply_buf(req, text, off == 0 ? length : 0);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	char *payload;
	size_t room;

	(void)ino;
	(void)off;
	(void)fi;
	if (fuse_req_get_payload(req, &payload, &room, NULL) == 0 &&
	    (buf < payload || buf + size > payload + room))
		fuse_reply_err(req, EIO);
	else
		fuse_reply_write(req, size);
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init, .lookup = op_lookup, .getattr = op_getattr, .open = op_open,
	.read = op_read, .write = op_write,
};

static long command(struct fuse_session *se, int argc, char **argv)
{
	struct ringfuse_stats stats = { .size = sizeof(stats) };

	(void)argc;
	if (strcmp(argv[0], "fd") == 0)
		return fuse_session_fd(se);
	if (strcmp(argv[0], "reason") == 0)
		return strlen(ringfuse_session_reason(se));
	if (strcmp(argv[0], "version") == 0)
		return strlen(ringfuse_version());
	if (strcmp(argv[0], "transport") == 0)
		return ringfuse_session_stats(se, &stats) ? -1 : (long)stats.transport;
	return -ENOSYS;
}

int main(int argc, char **argv)
{
	serve_parse(argc, argv, about_opts, &options);
	return serve(&ops, sizeof(ops), command);
}
