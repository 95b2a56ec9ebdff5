/*
 * splice_ll: answers reads by fuse_reply_data(), from sources of every kind.
 * Every name exists, "x" as a regular file of 16 MiB whose byte P is
 * (P % 251) ^ (P / 4096). Reads reach the filesystem one by one (direct_io), but
 * for the file "stored", which the kernel caches.
 *
 * A name is a source and flags, separated by commas. Sources:
 *     file     a file, read at a position (FD_SEEK)
 *     seq      a file, read where it stands
 *     mem      memory
 *     mix      memory, a file, memory, a file
 *     short    a file that ends after half of what was announced
 *     pipe     a pipe that has everything, as far as it holds so much
 *     packets  the same in pieces of 100 bytes
 *     some     a pipe that has ten bytes and whose writer is still there
 *     none     a pipe that has nothing and whose writer is still there
 *     gone     a pipe that has nothing and whose writer is gone
 *     number   an eventfd, which cannot be spliced
 *     closed   no descriptor
 *     dir      a directory
 * Flags: force, move, nonblock, nosplice (FUSE_BUF_*), retry (FD_RETRY), and
 * thread (another thread answers).
 *
 * Descriptors are emptied and closed as soon as fuse_reply_data() returns.
 *
 * Commands:
 *     in, out       splices into a pipe and to the device since the last time
 *     fault_in N    from now on splices into a pipe fail with errno N (0: no more)
 *     fault_out N   the same for splices to the device, which take nothing
 *     lose          the next splice to the device takes everything and fails
 *     few N         a splice into a pipe moves N bytes at most
 *     no_pipe N     pipe2() fails with errno N in the library's threads
 *     store NAME SIZE   stores a source in the cache of "stored"
 *     reads         reads of "stored" so far
 */
#include "serve.h"

#include <inttypes.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define MAX_NAMES 128
#define FILE_SIZE (16 << 20)
#define SKIP 13		/* other bytes at the start of a file */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char names[MAX_NAMES][64];	/* inode number - 2 */

static atomic_int spliced_in, spliced_out, fault_in, fault_out, lose, no_pipe;
static atomic_int stored_reads;
static atomic_size_t few;
/* Pipes that the filesystem makes itself are never refused. */
static __thread int own_pipe;

/* The library's calls come here instead of to libc. */
ssize_t splice(int in, off64_t *off_in, int out, off64_t *off_out, size_t len,
	       unsigned int flags)
{
	struct stat st;
	int to_device = fstat(out, &st) == 0 && S_ISCHR(st.st_mode);
	int fault = to_device ? fault_out : fault_in;

	if (fault) {
		errno = fault;
		return -1;
	}
	if (to_device && atomic_exchange(&lose, 0)) {
		char byte;

		while (read(in, &byte, 1) == 1)
			;
		errno = ENOMEM;
		return -1;
	}
	if (!to_device && few && len > few)
		len = few;
	atomic_fetch_add(to_device ? &spliced_out : &spliced_in, 1);
	return syscall(SYS_splice, in, off_in, out, off_out, len, flags);
}

int pipe2(int ends[2], int flags)
{
	if (no_pipe && !own_pipe) {
		errno = no_pipe;
		return -1;
	}
	return syscall(SYS_pipe2, ends, flags);
}

static void fill(char *data, size_t size, off_t off)
{
	for (size_t i = 0; i < size; i++, off++)
		data[i] = (off % 251) ^ (off / 4096);
}

struct source {
	struct fuse_bufvec *vec; /* with room for four */
	char *data;
	int fds[4], fd_count;
};

static void add_memory(struct source *s, char *data, size_t size)
{
	struct fuse_buf *buf = &s->vec->buf[s->vec->count++];

	buf->mem = data;
	buf->size = size;
}

static void add_fd(struct source *s, int fd, size_t size, int flags, off_t pos)
{
	struct fuse_buf *buf = &s->vec->buf[s->vec->count++];

	buf->flags = FUSE_BUF_IS_FD | flags;
	buf->fd = fd;
	buf->size = size;
	buf->pos = pos;
	s->fds[s->fd_count++] = fd;
}

static int file_with(const char *data, size_t size)
{
	int fd = memfd_create("splice_ll", MFD_CLOEXEC);

	if (fd < 0 || pwrite(fd, data, size, SKIP) != (ssize_t)size ||
	    lseek(fd, SKIP, SEEK_SET) != SKIP)
		abort();
	return fd;
}

/* The reading end; `writer` gets the other one, or it is closed if NULL. */
static int pipe_with(const char *data, size_t size, size_t piece, int *writer)
{
	int ends[2];

	own_pipe = 1;
	if (pipe2(ends, O_CLOEXEC | (piece < size ? O_DIRECT : 0)) != 0)
		abort();
	own_pipe = 0;
	fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
	while (size) {
		size_t now = size < piece ? size : piece;

		if (write(ends[1], data, now) != (ssize_t)now)
			abort();
		data += now;
		size -= now;
	}
	if (writer)
		*writer = ends[1];
	else
		close(ends[1]);
	return ends[0];
}

static int has(const char *name, const char *word)
{
	size_t length = strlen(word);

	for (; name; name = strchr(name, ','), name = name ? name + 1 : NULL)
		if (strncmp(name, word, length) == 0 &&
		    (name[length] == ',' || name[length] == '\0'))
			return 1;
	return 0;
}

static void build(struct source *s, const char *name, size_t size, off_t off)
{
	int retry = has(name, "retry") ? FUSE_BUF_FD_RETRY : 0;
	int writer = -1;
	char *data;

	memset(s, 0, sizeof(*s));
	s->vec = calloc(1, sizeof(*s->vec) + 3 * sizeof(*s->vec->buf));
	data = s->data = malloc(size + 1);
	fill(data, size, off);
	if (has(name, "file")) {
		add_fd(s, file_with(data, size), size, FUSE_BUF_FD_SEEK | retry, SKIP);
	} else if (has(name, "seq")) {
		add_fd(s, file_with(data, size), size, retry, 99);
	} else if (has(name, "mix")) {
		size_t q = size / 4;

		add_memory(s, data, q);
		add_fd(s, file_with(data + q, q), q, retry, 0);
		add_memory(s, data + 2 * q, q);
		add_fd(s, file_with(data + 3 * q, size - 3 * q), size - 3 * q,
		       FUSE_BUF_FD_SEEK | retry, SKIP);
	} else if (has(name, "short")) {
		add_fd(s, file_with(data, size / 2), size, FUSE_BUF_FD_SEEK | retry, SKIP);
	} else if (has(name, "pipe")) {
		if (size > 60000)
			size = 60000;
		add_fd(s, pipe_with(data, size, size, NULL), size, retry, 0);
	} else if (has(name, "packets")) {
		if (size > 20000)
			size = 20000;
		add_fd(s, pipe_with(data, size, 100, NULL), size, retry, 0);
	} else if (has(name, "some")) {
		add_fd(s, pipe_with(data, 10, 10, &writer), size, retry, 0);
	} else if (has(name, "none")) {
		add_fd(s, pipe_with(data, 0, 0, &writer), size, retry, 0);
	} else if (has(name, "gone")) {
		add_fd(s, pipe_with(data, 0, 0, NULL), size, retry, 0);
	} else if (has(name, "number")) {
		add_fd(s, eventfd(0x01020304, EFD_CLOEXEC), size, retry, 0);
	} else if (has(name, "closed")) {
		add_fd(s, -1, size, retry, 0);
	} else if (has(name, "dir")) {
		add_fd(s, open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), size, retry, 0);
	} else {
		add_memory(s, data, size);
	}
	if (writer >= 0)
		s->fds[s->fd_count++] = writer;
}

static int copy_flags(const char *name)
{
	return (has(name, "force") ? FUSE_BUF_FORCE_SPLICE : 0) |
	       (has(name, "move") ? FUSE_BUF_SPLICE_MOVE : 0) |
	       (has(name, "nonblock") ? FUSE_BUF_SPLICE_NONBLOCK : 0) |
	       (has(name, "nosplice") ? FUSE_BUF_NO_SPLICE : 0);
}

/* What a source was made of may change once it has been sent. */
static void discard(struct source *s)
{
	for (int i = 0; i < s->fd_count; i++) {
		(void)!ftruncate(s->fds[i], 0);
		close(s->fds[i]);
	}
	free(s->data);
	free(s->vec);
}

struct task {
	fuse_req_t req;
	const char *name;
	size_t size;
	off_t off;
};

static void *answer(void *arg)
{
	struct task *task = arg;
	struct source s;

	build(&s, task->name, task->size, task->off);
	fuse_reply_data(task->req, s.vec, copy_flags(task->name));
	discard(&s);
	free(task);
	return NULL;
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct task *task = malloc(sizeof(*task));
	pthread_t thread;

	(void)fi;
	*task = (struct task){ req, names[ino - 2], size, off };
	trace(req, "read", "size=%zu off=%" PRId64, size, off);
	if (strcmp(task->name, "stored") == 0)
		stored_reads++;
	if (!has(task->name, "thread")) {
		answer(task);
		return;
	}
	if (pthread_create(&thread, NULL, answer, task) != 0)
		abort();
	pthread_detach(thread);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	serve_init(conn);
	/* Permissions, without which libfuse splices nothing. */
	conn->want |= FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE;
}

static int number_of(const char *name)
{
	int i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < MAX_NAMES && names[i][0]; i++)
		if (strcmp(names[i], name) == 0)
			break;
	if (i < MAX_NAMES)
		snprintf(names[i], sizeof(names[i]), "%s", name);
	pthread_mutex_unlock(&lock);
	return i < MAX_NAMES ? i + 2 : -1;
}

static void attributes(fuse_ino_t ino, struct stat *attr)
{
	memset(attr, 0, sizeof(*attr));
	attr->st_ino = ino;
	attr->st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0444;
	attr->st_nlink = 1;
	attr->st_size = ino == FUSE_ROOT_ID ? 0 : FILE_SIZE;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = { .attr_timeout = 3600,
				      .entry_timeout = 3600 };
	int ino = number_of(name);

	(void)parent;
	if (ino < 0) {
		fuse_reply_err(req, ENOSPC);
		return;
	}
	e.ino = ino;
	attributes(ino, &e.attr);
	fuse_reply_entry(req, &e);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct stat attr;

	(void)fi;
	attributes(ino, &attr);
	fuse_reply_attr(req, &attr, 3600);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	pthread_mutex_lock(&lock);
	fi->direct_io = strcmp(names[ino - 2], "stored") != 0;
	pthread_mutex_unlock(&lock);
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static long store(struct fuse_session *se, const char *name, size_t size)
{
	struct source s;
	long res;

	build(&s, name, size, 0);
	res = fuse_lowlevel_notify_store(se, number_of("stored"), 0, s.vec,
					 copy_flags(name));
	discard(&s);
	return res;
}

static long command(struct fuse_session *se, int argc, char **argv)
{
	const char *what = argv[0];
	int number = argc > 1 ? atoi(argv[1]) : 0;

	if (strcmp(what, "in") == 0)
		return atomic_exchange(&spliced_in, 0);
	if (strcmp(what, "out") == 0)
		return atomic_exchange(&spliced_out, 0);
	if (strcmp(what, "reads") == 0)
		return stored_reads;
	if (strcmp(what, "store") == 0 && argc > 2)
		return store(se, argv[1], atol(argv[2]));
	if (strcmp(what, "fault_in") == 0)
		fault_in = number;
	else if (strcmp(what, "fault_out") == 0)
		fault_out = number;
	else if (strcmp(what, "lose") == 0)
		lose = 1;
	else if (strcmp(what, "few") == 0)
		few = number;
	else if (strcmp(what, "no_pipe") == 0)
		no_pipe = number;
	else
		return -ENOSYS;
	return 0;
}

int main(int argc, char **argv)
{
	static const struct fuse_lowlevel_ops ops = {
		.init = op_init, .lookup = op_lookup, .getattr = op_getattr,
		.open = op_open, .read = op_read,
	};

	serve_parse(argc, argv, NULL, NULL);
	return serve(&ops, sizeof(ops), command);
}
