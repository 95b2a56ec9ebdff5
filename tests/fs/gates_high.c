/*
 * gates_high: a small filesystem of the path API, in memory, whose operations
 * can be stopped. Files have a size, but no contents.
 *
 *     -o nullpath, readdir_ino, hard     settings of struct fuse_config
 *     -o offsets                         readdir gives offsets
 *     -o only_open                       attributes of files in "/open" are
 *                                        known while they are open only
 *     -o intr                            reads wait for a signal
 *
 * Commands: "stop OP" has calls of OP wait, "go" lets all run; "inside" counts
 * those that wait; "entries" counts files and directories; "hidden" those of
 * them that have a hidden name.
 *
 * It has a module, "ending".
 *
 * With PLAY=1 in the environment it mounts nothing: it plays the kernel itself,
 * which ends the connection (DESTROY) while a removed file is open. With
 * PLAY=again it begins it once more then.
 */
#include "serve.h"

#include <fuse.h>
#include <linux/fuse.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define ENTRIES 64
#define LONGEST 200

static struct entry {
	char path[LONGEST];
	mode_t mode;
	int open;
} entries[ENTRIES] = { { "/", S_IFDIR | 0755, 0 } };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static char stopped[16];
static int inside;

static struct {
	int nullpath, readdir_ino, hard, offsets, only_open, intr;
} settings;

#define SETTING(name) { #name, offsetof(__typeof__(settings), name), 1 }
static const struct fuse_opt setting_opts[] = {
	SETTING(nullpath), SETTING(readdir_ino), SETTING(hard),
	SETTING(offsets), SETTING(only_open), SETTING(intr), FUSE_OPT_END,
};

static void note(const char *op, const char *path, const struct fuse_file_info *fi)
{
	char about[80] = "fi=none";

	if (fi)
		snprintf(about, sizeof(about), "fi=given flags=%x fh=%d",
			 fi->flags, (int)fi->fh);
	trace(NULL, op, "path=%s %s", path ? path : "none", about);
	pthread_mutex_lock(&lock);
	if (strcmp(stopped, op) == 0) {
		inside++;
		while (strcmp(stopped, op) == 0)
			pthread_cond_wait(&changed, &lock);
		inside--;
	}
	pthread_mutex_unlock(&lock);
}

static struct entry *find(const char *path)
{
	for (int i = 0; path && i < ENTRIES; i++)
		if (strcmp(entries[i].path, path) == 0)
			return &entries[i];
	return NULL;
}

static int add(const char *path, mode_t mode)
{
	struct entry *free = find("");

	if (find(path))
		return -EEXIST;
	if (!free || strlen(path) >= LONGEST)
		return -ENOSPC;
	strcpy(free->path, path);
	free->mode = mode;
	free->open = 0;
	return 0;
}

static void take(struct entry *entry)
{
	entry->path[0] = '\0';
}

#define LOCKED(result, code) do { \
		int result; \
		pthread_mutex_lock(&lock); \
		code; \
		pthread_mutex_unlock(&lock); \
		return result; \
	} while (0)

static void *gates_init(struct fuse_conn_info *conn, struct fuse_config *config)
{
	serve_init(conn);
	config->nullpath_ok = settings.nullpath;
	config->readdir_ino = settings.readdir_ino;
	config->hard_remove = settings.hard;
	config->intr = settings.intr;
	config->entry_timeout = config->attr_timeout = 0;
	return NULL;
}

static void gates_destroy(void *data)
{
	(void)data;
	trace(NULL, "destroy", "fi=none");
}

static int gates_getattr(const char *path, struct stat *stat,
			 struct fuse_file_info *fi)
{
	note("getattr", path, fi);
	memset(stat, 0, sizeof(*stat));
	stat->st_nlink = 1;
	stat->st_mode = S_IFREG | 0644;
	stat->st_size = 4096;
	LOCKED(result, {
		struct entry *entry = find(path);

		result = entry || (!path && fi) ? 0 : -ENOENT;
		if (entry) {
			stat->st_mode = entry->mode;
			if (settings.only_open && !entry->open &&
			    strncmp(path, "/open/", 6) == 0)
				result = -ENOENT;
		}
	});
}

static int gates_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	note("create", path, fi);
	fi->fh = 7;
	LOCKED(result, {
		result = add(path, mode);
		if (result == 0)
			find(path)->open = 1;
	});
}

static int gates_open(const char *path, struct fuse_file_info *fi)
{
	note("open", path, fi);
	fi->fh = 7;
	fi->direct_io = settings.intr;
	return 0;
}

static int gates_release(const char *path, struct fuse_file_info *fi)
{
	note("release", path, fi);
	LOCKED(result, {
		struct entry *entry = find(path);

		if (entry)
			entry->open = 0;
		result = 0;
	});
}

static int gates_read(const char *path, char *buf, size_t size, off_t off,
		      struct fuse_file_info *fi)
{
	(void)buf, (void)size, (void)off;
	note("read", path, fi);
	if (settings.intr && poll(NULL, 0, 30000) < 0)
		return fuse_interrupted() ? -EINTR : -EIO;
	return 0;
}

static ssize_t gates_copy_file_range(const char *from, struct fuse_file_info *fi,
				     off_t off, const char *to,
				     struct fuse_file_info *fi_to, off_t off_to,
				     size_t size, int flags)
{
	(void)fi, (void)off, (void)fi_to, (void)off_to, (void)flags;
	trace(NULL, "copy_file_range", "path=%s to=%s", from ? from : "none",
	      to ? to : "none");
	return size;
}

static int gates_statfs(const char *path, struct statvfs *stat)
{
	memset(stat, 0, sizeof(*stat));
	note("statfs", path, NULL);
	return 0;
}

static int gates_mkdir(const char *path, mode_t mode)
{
	note("mkdir", path, NULL);
	LOCKED(result, result = add(path, S_IFDIR | mode));
}

static int gates_unlink(const char *path)
{
	note("unlink", path, NULL);
	LOCKED(result, {
		struct entry *entry = find(path);

		result = entry ? 0 : -ENOENT;
		if (entry)
			take(entry);
	});
}

static int gates_rename(const char *from, const char *to, unsigned int flags)
{
	size_t length = strlen(from);

	(void)flags;
	note("rename", from, NULL);
	LOCKED(result, {
		struct entry *over = find(to);

		result = find(from) ? 0 : -ENOENT;
		if (over)
			take(over);
		for (int i = 0; i < ENTRIES; i++) {
			char *path = entries[i].path;
			char moved[LONGEST];

			if (strncmp(path, from, length) != 0 ||
			    (path[length] && path[length] != '/'))
				continue;
			if (snprintf(moved, sizeof(moved), "%s%s", to,
				     path + length) < LONGEST)
				strcpy(path, moved);
			else
				result = -ENAMETOOLONG;
		}
	});
}

static int gates_opendir(const char *path, struct fuse_file_info *fi)
{
	note("opendir", path, NULL);
	fi->fh = 9;
	return 0;
}

static int gates_readdir(const char *path, void *buf, fuse_fill_dir_t fill,
			 off_t off, struct fuse_file_info *fi,
			 enum fuse_readdir_flags flags)
{
	static const char *const names[] = { ".", "..", "first", "second" };

	(void)flags;
	note("readdir", path, fi);
	for (off_t i = settings.offsets ? off : 0; i < 4; i++)
		if (fill(buf, names[i], NULL, settings.offsets ? i + 1 : 0, 0))
			break;
	return 0;
}

static int gates_releasedir(const char *path, struct fuse_file_info *fi)
{
	note("releasedir", path, fi);
	return 0;
}

static const struct fuse_operations ops = {
	.init = gates_init,
	.destroy = gates_destroy,
	.getattr = gates_getattr,
	.create = gates_create,
	.open = gates_open,
	.release = gates_release,
	.read = gates_read,
	.copy_file_range = gates_copy_file_range,
	.statfs = gates_statfs,
	.mkdir = gates_mkdir,
	.unlink = gates_unlink,
	.rename = gates_rename,
	.opendir = gates_opendir,
	.readdir = gates_readdir,
	.releasedir = gates_releasedir,
};

/* A module that does nothing but end. */

static void ending_destroy(void *next)
{
	fuse_fs_destroy(next);
	trace(NULL, "module_destroy", "fi=none");
}

static struct fuse_fs *ending_new(struct fuse_args *args, struct fuse_fs *next[])
{
	static const struct fuse_operations module = { .destroy = ending_destroy };

	(void)args;
	return fuse_fs_new(&module, sizeof(module), next[0]);
}

FUSE_REGISTER_MODULE(ending, ending_new);

static long command(struct fuse_session *se, int argc, char **argv)
{
	long answer = 0;

	(void)se;
	pthread_mutex_lock(&lock);
	if (strcmp(argv[0], "stop") == 0 && argc == 2) {
		snprintf(stopped, sizeof(stopped), "%s", argv[1]);
	} else if (strcmp(argv[0], "go") == 0) {
		stopped[0] = '\0';
		pthread_cond_broadcast(&changed);
	} else if (strcmp(argv[0], "inside") == 0) {
		answer = inside;
	} else if (strcmp(argv[0], "entries") == 0) {
		for (int i = 0; i < ENTRIES; i++)
			answer += entries[i].path[0] != '\0';
	} else if (strcmp(argv[0], "hidden") == 0) {
		for (int i = 0; i < ENTRIES; i++)
			answer += strstr(entries[i].path, "/.fuse_hidden") != NULL;
	} else {
		answer = -ENOSYS;
	}
	pthread_mutex_unlock(&lock);
	return answer;
}

/* The kernel's part. */

static int kernel_end;

static ssize_t play_writev(int fd, struct iovec *iov, int count, void *data)
{
	(void)data;
	return writev(fd, iov, count);
}

static ssize_t play_read(int fd, void *buf, size_t size, void *data)
{
	(void)data;
	return read(fd, buf, size);
}

/* Sends a request; its answer, without the header. */
static char *ask(uint32_t opcode, uint64_t node, const void *args, size_t size)
{
	static char answer[8192];
	static uint64_t unique;
	struct fuse_in_header in = {
		.len = sizeof(in) + size, .opcode = opcode,
		.unique = unique += 2, .nodeid = node,
	};
	struct iovec iov[] = {
		{ &in, sizeof(in) }, { (void *)args, size },
	};
	struct fuse_out_header *out = (struct fuse_out_header *)answer;

	if (writev(kernel_end, iov, 2) < 0 ||
	    read(kernel_end, answer, sizeof(answer)) < (ssize_t)sizeof(*out))
		exit(5);
	say("answer %u %d", opcode, out->error);
	return answer + sizeof(*out);
}

static void *kernel(void *data)
{
	struct fuse_init_in init = { .major = 7, .minor = 31, .max_readahead = 4096 };
	struct fuse_open_in open_in = { .flags = O_RDWR };
	uint64_t node;

	ask(FUSE_INIT, 0, &init, sizeof(init));
	node = ((struct fuse_entry_out *)ask(FUSE_LOOKUP, 1, "file", 5))->nodeid;
	ask(FUSE_OPEN, node, &open_in, sizeof(open_in));
	ask(FUSE_UNLINK, 1, "file", 5);
	ask(FUSE_DESTROY, 0, NULL, 0);
	if (strcmp(getenv("PLAY"), "again") == 0) {
		ask(FUSE_INIT, 0, &init, sizeof(init));
		ask(FUSE_LOOKUP, 1, "file", 5);
	}
	close(kernel_end);
	return data;
}

static int play(struct fuse *fuse)
{
	const struct fuse_custom_io io = { .writev = play_writev, .read = play_read };
	pthread_t thread;
	int ends[2];

	add("/file", S_IFREG | 0644);
	add("/below", S_IFDIR | 0755);
	add("/below/file", S_IFREG | 0644);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0 ||
	    fuse_session_custom_io(fuse_get_session(fuse), &io, ends[0]) != 0)
		return 3;
	kernel_end = ends[1];
	if (pthread_create(&thread, NULL, kernel, NULL) != 0)
		return 3;
	fuse_loop(fuse);
	pthread_join(thread, NULL);
	fuse_destroy(fuse);
	say("end");
	return 0;
}

int main(int argc, char **argv)
{
	const struct fuse_cmdline_opts *cmdline = &serve_options.cmdline;
	struct fuse_loop_config *config;
	struct fuse *fuse;
	int result;

	serve_parse(argc, argv, setting_opts, &settings);
	fuse = fuse_new(&serve_options.args, &ops, sizeof(ops), NULL);
	if (!fuse)
		return 1;
	if (getenv("PLAY"))
		return play(fuse);
	if (fuse_mount(fuse, cmdline->mountpoint) != 0)
		return 1;
	serve_session = fuse_get_session(fuse);
	fuse_set_signal_handlers(serve_session);
	say("mounted");
	serve_commands(command);
	config = fuse_loop_cfg_create();
	result = cmdline->singlethread ? fuse_loop(fuse) : fuse_loop_mt(fuse, config);
	fuse_loop_cfg_destroy(config);
	say("loop %d", result);
	serve_release();
	fuse_remove_signal_handlers(fuse_get_session(fuse));
	fuse_unmount(fuse);
	fuse_destroy(fuse);
	return 0;
}
