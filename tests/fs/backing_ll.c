/*
 * backing_ll: the files of the directory BACKING (environment), flat, opened for
 * passthrough: the kernel reads and writes them itself. The trace has what
 * reaches the filesystem all the same. A name that begins with "plain" is served
 * by the filesystem.
 *
 * With REFUSED set a file whose passthrough the kernel refuses is served by the
 * filesystem, too; else its open fails with EIO. STACKED sets
 * max_backing_stack_depth to 1, NOT_WANTED leaves the capability out.
 *
 * Commands: open PATH (fuse_passthrough_open of that file, within the next
 * statfs; then "result" is what it returned), close ID (the same), result.
 */
#define FUSE_USE_VERSION 317
#include "serve.h"

#include <inttypes.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_NAMES 32

static char names[MAX_NAMES][256];
/* All opens of an inode at a time must have the same backing file, so they share
 * one number; by inode number - 2. */
static struct {
	int id;
	int opens;
} backings[MAX_NAMES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int directory;
static char command_path[4096];
static int command_id;
static long result;

static int number_of(const char *name)
{
	int i;

	for (i = 0; i < MAX_NAMES && names[i][0]; i++)
		if (strcmp(names[i], name) == 0)
			return i + 2;
	if (i == MAX_NAMES)
		return -1;
	snprintf(names[i], sizeof(names[i]), "%s", name);
	return i + 2;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	serve_init(conn);
	if (!getenv("NOT_WANTED"))
		fuse_set_feature_flag(conn, FUSE_CAP_PASSTHROUGH);
	conn->max_backing_stack_depth =
		getenv("STACKED") ? FUSE_BACKING_STACKED_OVER : FUSE_BACKING_STACKED_UNDER;
}

static int attributes(fuse_ino_t ino, struct stat *attr)
{
	const char *name = ino == FUSE_ROOT_ID ? "." : names[ino - 2];

	if (fstatat(directory, name, attr, 0) != 0)
		return errno;
	attr->st_ino = ino;
	return 0;
}

static void reply_node(fuse_req_t req, const char *name, struct fuse_file_info *fi)
{
	struct fuse_entry_param e = { .ino = number_of(name) };
	int error = attributes(e.ino, &e.attr);

	if (error)
		fuse_reply_err(req, error);
	else if (fi)
		fuse_reply_create(req, &e, fi);
	else
		fuse_reply_entry(req, &e);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	(void)parent;
	reply_node(req, name, NULL);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat attr;
	int error = attributes(ino, &attr);

	(void)fi;
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_attr(req, &attr, 0);
}

/* Sets `fi` up for passthrough; an errno if that is refused and matters. */
static int back(fuse_req_t req, const char *name, struct fuse_file_info *fi)
{
	int number = number_of(name) - 2, error = 0;

	if (strncmp(name, "plain", 5) == 0)
		return 0;
	pthread_mutex_lock(&lock);
	if (backings[number].opens == 0) {
		backings[number].id = fuse_passthrough_open(req, fi->fh);
		error = backings[number].id ? 0 : errno;
		trace(req, "backing", "id=%d errno=%d", backings[number].id, error);
	}
	if (backings[number].id)
		backings[number].opens++;
	fi->backing_id = backings[number].id;
	pthread_mutex_unlock(&lock);
	return error && !getenv("REFUSED") ? EIO : 0;
}

/* Gives the number back with the last open: 0, or -1. */
static int unback(fuse_req_t req, fuse_ino_t ino)
{
	int number = ino - 2, res = 0;

	pthread_mutex_lock(&lock);
	if (backings[number].opens > 0 && --backings[number].opens == 0)
		res = fuse_passthrough_close(req, backings[number].id);
	pthread_mutex_unlock(&lock);
	return res;
}

static int open_backing(fuse_req_t req, const char *name, int flags,
			struct fuse_file_info *fi)
{
	int fd = openat(directory, name, O_RDWR | flags | O_CLOEXEC, 0644), error;

	if (fd < 0)
		return errno;
	fi->fh = fd;
	error = back(req, name, fi);
	if (error)
		close(fd);
	return error;
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	int error = open_backing(req, names[ino - 2], 0, fi);

	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_open(req, fi);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		      mode_t mode, struct fuse_file_info *fi)
{
	int error = open_backing(req, name, O_CREAT, fi);

	(void)parent;
	(void)mode;
	if (error)
		fuse_reply_err(req, error);
	else
		reply_node(req, name, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct fuse_bufvec data = FUSE_BUFVEC_INIT(size);

	trace(req, "read", "ino=%" PRIu64, ino);
	data.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	data.buf[0].fd = fi->fh;
	data.buf[0].pos = off;
	fuse_reply_data(req, &data, 0);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
		     off_t off, struct fuse_file_info *fi)
{
	ssize_t res = pwrite(fi->fh, buf, size, off);

	trace(req, "write", "ino=%" PRIu64, ino);
	if (res < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_write(req, res);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	trace(req, "release", "ino=%" PRIu64 " res=%d", ino, unback(req, ino));
	close(fi->fh);
	fuse_reply_err(req, 0);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = { .f_namemax = 255 };
	int fd;

	(void)ino;
	pthread_mutex_lock(&lock);
	if (command_path[0]) {
		fd = open(command_path, O_RDONLY | O_CLOEXEC);
		errno = 0;
		result = fuse_passthrough_open(req, fd);
		if (result == 0)
			result = -errno;
		close(fd);
		command_path[0] = '\0';
	} else if (command_id) {
		errno = 0;
		result = fuse_passthrough_close(req, command_id);
		if (result == -1)
			result = -errno;
		command_id = 0;
	}
	pthread_mutex_unlock(&lock);
	fuse_reply_statfs(req, &st);
}

static long locked_command(int argc, char **argv)
{
	if (strcmp(argv[0], "result") == 0)
		return result;
	if (argc < 2)
		return -EINVAL;
	if (strcmp(argv[0], "open") == 0)
		snprintf(command_path, sizeof(command_path), "%s", argv[1]);
	else if (strcmp(argv[0], "close") == 0)
		command_id = atoi(argv[1]);
	else
		return -ENOSYS;
	return 0;
}

static long command(struct fuse_session *se, int argc, char **argv)
{
	long answer;

	(void)se;
	pthread_mutex_lock(&lock);
	answer = locked_command(argc, argv);
	pthread_mutex_unlock(&lock);
	return answer;
}

int main(int argc, char **argv)
{
	static const struct fuse_lowlevel_ops ops = {
		.init = op_init, .lookup = op_lookup, .getattr = op_getattr,
		.open = op_open, .create = op_create, .read = op_read,
		.write = op_write, .release = op_release, .statfs = op_statfs,
	};

	directory = open(getenv("BACKING"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0) {
		perror("BACKING");
		return 2;
	}
	serve_parse(argc, argv, NULL, NULL);
	return serve(&ops, sizeof(ops), command);
}
