/*
 * paths_block: a directory of the system's, by the path API, whose operations can
 * be held up. See serve.h for how a test talks to it. Its own option:
 *     -o source=DIR
 * Commands:
 *     block OP PATH   the next operation OP (open, getattr, rename, unlink) on
 *                     PATH stays inside until it is freed; for a rename PATH is
 *                     the old one
 *     inside          how many operations stay inside
 *     free            frees them
 *     waiting         path_waiters of ringfuse_session_stats()
 *     wrong           how many operations found that their path did not lead to
 *                     what it had led to before
 * The trace has "OP path=PATH" and "OP-end path=PATH" for each operation.
 */
#include "serve.h"

#include "ringfuse.h"

#include <fuse.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct { char *source; } options;

static const struct fuse_opt block_opts[] = {
	{ "source=%s", 0, 0 },
	FUSE_OPT_END,
};

static int root;
static atomic_long wrong;

static struct {
	pthread_mutex_t lock;
	pthread_cond_t freed;
	char op[16], path[256];
	long inside, turn;
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .freed = PTHREAD_COND_INITIALIZER };

static const char *relative(const char *path)
{
	return path[1] ? path + 1 : ".";
}

static int result(long value)
{
	return value == -1 ? -errno : value;
}

static ino_t leads_to(const char *path)
{
	struct stat st;

	return fstatat(root, relative(path), &st, AT_SYMLINK_NOFOLLOW) ? 0 : st.st_ino;
}

/* What an operation begins with: what its path leads to. */
static ino_t enter(const char *op, const char *path)
{
	ino_t ino = leads_to(path);

	trace(NULL, op, "path=%s", path);
	pthread_mutex_lock(&gate.lock);
	if (strcmp(op, gate.op) == 0 && strcmp(path, gate.path) == 0) {
		long turn = gate.turn;

		gate.op[0] = '\0';
		gate.inside++;
		while (turn == gate.turn)
			pthread_cond_wait(&gate.freed, &gate.lock);
		gate.inside--;
	}
	pthread_mutex_unlock(&gate.lock);
	return ino;
}

/* Others may run now; the path must lead to `ino` still. */
static void still(const char *path, ino_t ino)
{
	for (int i = 0; i < 3; i++) {
		sched_yield();
		if (leads_to(path) != ino)
			wrong++;
	}
}

static void leave(const char *op, const char *path)
{
	char text[24];

	snprintf(text, sizeof(text), "%s-end", op);
	trace(NULL, text, "path=%s", path);
}

static void *op_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	(void)cfg;
	serve_init(conn);
	return NULL;
}

static int op_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	ino_t ino = enter("getattr", path);
	int res = result(fstatat(root, relative(path), st, AT_SYMLINK_NOFOLLOW));

	(void)fi;
	/* A name that is looked up may come and go. */
	if (fi)
		still(path, ino);
	leave("getattr", path);
	return res;
}

static int op_open(const char *path, struct fuse_file_info *fi)
{
	ino_t ino = enter("open", path);

	still(path, ino);
	fi->fh = openat(root, relative(path), O_RDWR | O_CLOEXEC);
	leave("open", path);
	return (int)fi->fh == -1 ? -errno : 0;
}

static int op_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	enter("create", path);
	fi->fh = openat(root, relative(path), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	leave("create", path);
	return (int)fi->fh == -1 ? -errno : 0;
}

/* The path of an open file leads to what is open. */
static int op_read(const char *path, char *buf, size_t size, off_t off,
		   struct fuse_file_info *fi)
{
	struct stat st;

	if (fstat(fi->fh, &st) != 0)
		return -errno;
	still(path, st.st_ino);
	return result(pread(fi->fh, buf, size, off));
}

static int op_release(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	return result(close(fi->fh));
}

static int op_mkdir(const char *path, mode_t mode)
{
	return result(mkdirat(root, relative(path), mode));
}

static int op_rmdir(const char *path)
{
	return result(unlinkat(root, relative(path), AT_REMOVEDIR));
}

static int op_unlink(const char *path)
{
	int res;

	still(path, enter("unlink", path));
	res = result(unlinkat(root, relative(path), 0));
	leave("unlink", path);
	return res;
}

static int op_rename(const char *from, const char *to, unsigned int flags)
{
	ino_t ino = enter("rename", from);
	int res;

	still(to, leads_to(to));
	still(from, ino);
	res = result(renameat2(root, relative(from), root, relative(to), flags));
	if (res == 0)
		still(to, ino);
	leave("rename", from);
	return res;
}

static const struct fuse_operations operations = {
	.init = op_init,
	.getattr = op_getattr,
	.open = op_open,
	.create = op_create,
	.read = op_read,
	.release = op_release,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.rename = op_rename,
};

static long command(struct fuse_session *se, int argc, char **argv)
{
	struct ringfuse_stats stats = { .size = sizeof(stats) };
	long answer = 0;

	if (strcmp(argv[0], "waiting") == 0)
		return ringfuse_session_stats(se, &stats) ? -1 : (long)stats.path_waiters;
	if (strcmp(argv[0], "wrong") == 0)
		return wrong;
	pthread_mutex_lock(&gate.lock);
	if (strcmp(argv[0], "block") == 0 && argc == 3) {
		snprintf(gate.op, sizeof(gate.op), "%s", argv[1]);
		snprintf(gate.path, sizeof(gate.path), "%s", argv[2]);
	} else if (strcmp(argv[0], "free") == 0) {
		gate.turn++;
		pthread_cond_broadcast(&gate.freed);
	} else if (strcmp(argv[0], "inside") == 0) {
		answer = gate.inside;
	} else {
		answer = -ENOSYS;
	}
	pthread_mutex_unlock(&gate.lock);
	return answer;
}

int main(int argc, char **argv)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	struct fuse *fuse;
	int status = 1;

	serve_parse(argc, argv, block_opts, &options);
	root = open(options.source ? options.source : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	fuse = fuse_new(&serve_options.args, &operations, sizeof(operations), NULL);
	if (!fuse || root == -1 || fuse_mount(fuse, serve_options.cmdline.mountpoint) != 0)
		goto out;
	serve_session = fuse_get_session(fuse);
	say("mounted");
	serve_commands(command);
	fuse_loop_cfg_set_max_threads(config, 20);
	say("loop %d", fuse_loop_mt(fuse, config));
	serve_release();
	fuse_unmount(fuse);
	status = 0;
out:
	if (fuse)
		fuse_destroy(fuse);
	fuse_loop_cfg_destroy(config);
	free(serve_options.conn);
	fuse_opt_free_args(&serve_options.args);
	return status;
}
