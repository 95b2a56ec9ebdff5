/*
 * old_forms_ll: a filesystem as old binaries are. It includes no header of
 * libfuse and is not linked with it: it opens a library and finds every
 * function by name and version, and it declares the structures as its release
 * had them. Each structure that it hands over ends where a page ends that
 * nobody may touch, and the bytes before it are checked at the end: what the
 * library writes or reads beyond a structure of that time is a crash.
 *
 * The environment chooses the forms:
 *     OLD_LIBRARY   the library to open
 *     OLD_PARSE     NAME@NODE of fuse_parse_cmdline; default @FUSE_3.0
 *     OLD_NEW       fuse_session_new; default @FUSE_3.0
 *     OLD_OPS       size of the operation table, 0: no table; default 336 (3.0)
 *     OLD_LOOP      the loop; default fuse_session_loop@FUSE_3.0; "own": a loop
 *                   over fuse_session_receive_buf with a fuse_buf of OLD_BUF
 *     OLD_CONFIG    what the loop is told: a number (clone_fd), "null", or
 *                   "CLONE:IDLE" (the 8-byte structure; for a loop of 3.12 it
 *                   goes through fuse_loop_cfg_convert)
 *     OLD_BUF       size of struct fuse_buf: 40 (up to 3.16) or 48
 *     OLD_DATA      reads are answered with fuse_reply_data and two of these
 *     OLD_IO        fuse_session_custom_io; the mount is made here
 *     OLD_IO_SIZE   size of struct fuse_custom_io: 24, 32 or 40
 *     OLD_NOFLUSH   the bit of noflush in struct fuse_file_info of that time
 *
 * Files: "file" (contents "contents\n") and "meet", a read of which waits for
 * two more. Commands: "expire4 NAME", "expire5 NAME" (the forms of
 * fuse_lowlevel_notify_expire_entry), "flushes PID" (how many that thread had)
 * and "ping".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

typedef void *req_t;

struct context {
	uid_t uid;
	gid_t gid;
	pid_t pid;
	mode_t umask;
};

struct args { int argc; char **argv; int allocated; };
struct opt { const char *templ; unsigned long offset; int value; };
struct cmdline_30 {
	int singlethread, foreground, debug, nodefault_subtype;
	char *mountpoint;
	int show_version, show_help, clone_fd;
	unsigned int max_idle_threads;
};
struct cmdline_312 { struct cmdline_30 old; unsigned int max_threads; };
struct loop_config_32 { int clone_fd; unsigned int max_idle_threads; };
struct buf_30 { size_t size; int flags; void *mem; int fd; off_t pos; };
struct file_info_30 {
	int flags;
	unsigned int bits, padding;
	uint64_t fh, lock_owner;
	uint32_t poll_events;
};
struct entry_param {
	uint64_t ino, generation;
	struct stat attr;
	double attr_timeout, entry_timeout;
};
struct version { int major, minor, hotfix; uint32_t padding; };

_Static_assert(sizeof(void *) != 8 || sizeof(struct cmdline_30) == 40, "3.0");
_Static_assert(sizeof(void *) != 8 || sizeof(struct cmdline_312) == 48, "3.12");
_Static_assert(sizeof(void *) != 8 || sizeof(struct buf_30) == 40, "3.0");
_Static_assert(sizeof(void *) != 8 || sizeof(struct file_info_30) == 40, "3.0");

/* The table of 3.0, by number; 336 bytes have 42 of these. */
enum { OP_INIT = 0, OP_LOOKUP = 2, OP_GETATTR = 4, OP_OPEN = 14, OP_READ = 15,
       OP_FLUSH = 17, OPS = 64 };

static void *library, *session;
static char *mountpoint;
static pthread_barrier_t meeting;
static pthread_mutex_t command_runs = PTHREAD_MUTEX_INITIALIZER;
static int userdata;
static pid_t flushed[16]; /* the clients of the first flushes */
static unsigned flushes;

#define CALL(type, name) ((type)find(name))

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "old_forms_ll: %s\n", what);
	if (mountpoint)
		umount2(mountpoint, MNT_DETACH);
	_exit(5);
}

/* Where to write down which forms were called. */
static int trace = -1;

/* NAME@NODE */
static void *find(const char *versioned)
{
	char name[64], line[80];
	int length = snprintf(line, sizeof(line), "%s\n", versioned);
	const char *at = strchr(versioned, '@');
	void *found;

	if (!at || (size_t)(at - versioned) >= sizeof(name))
		fail("a name without version");
	memcpy(name, versioned, at - versioned);
	name[at - versioned] = '\0';
	found = dlvsym(library, name, at + 1);
	if (!found)
		fail(dlerror());
	if (trace >= 0 && write(trace, line, length) != length)
		fail("no trace");
	return found;
}

static const char *chosen(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value ? value : otherwise;
}

static void say(const char *format, long number)
{
	char line[128];
	int length = snprintf(line, sizeof(line), format, number);

	if (write(STDOUT_FILENO, line, length) != length)
		_exit(3);
}

/* Structures between bytes that are watched and a page that is forbidden. */
#define WATCH 0xa5
static struct guard { unsigned char *from, *to; } guards[16];
static unsigned int guard_count;

static void *guarded(size_t size)
{
	size_t page = sysconf(_SC_PAGESIZE);
	unsigned char *at = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED || mprotect(at + page, page, PROT_NONE) != 0 ||
	    guard_count == sizeof(guards) / sizeof(guards[0]))
		fail("no memory");
	memset(at, WATCH, page);
	guards[guard_count++] = (struct guard){ at, at + page - size };
	return at + page - size;
}

static void check_guards(void)
{
	for (unsigned int i = 0; i < guard_count; i++)
		for (unsigned char *at = guards[i].from; at < guards[i].to; at++)
			if (*at != WATCH)
				fail("bytes before a structure were written");
}

static void attributes(uint64_t ino, struct stat *attr)
{
	memset(attr, 0, sizeof(*attr));
	attr->st_ino = ino;
	attr->st_mode = ino == 1 ? S_IFDIR | 0755 : S_IFREG | 0444;
	attr->st_nlink = 1;
	attr->st_size = ino == 1 ? 0 : 9;
}

/* struct fuse_conn_info had 128 bytes from the beginning. */
static void op_init(void *data, const uint32_t *conn)
{
	if (data != &userdata || conn[0] != 7)
		fail("init() has other arguments");
}

static void op_lookup(req_t req, uint64_t parent, const char *name)
{
	struct entry_param *e = alloca(sizeof(*e));

	(void)parent;
	memset(e, 0, sizeof(*e));
	e->ino = strcmp(name, "file") == 0 ? 2 : strcmp(name, "meet") == 0 ? 3 : 0;
	if (!e->ino) {
		CALL(int (*)(req_t, int), "fuse_reply_err@FUSE_3.0")(req, ENOENT);
		return;
	}
	attributes(e->ino, &e->attr);
	e->entry_timeout = 3600;
	CALL(int (*)(req_t, const void *), "fuse_reply_entry@FUSE_3.0")(req, e);
}

static void op_getattr(req_t req, uint64_t ino, void *fi)
{
	struct stat attr;

	(void)fi;
	attributes(ino, &attr);
	CALL(int (*)(req_t, const struct stat *, double),
	     "fuse_reply_attr@FUSE_3.0")(req, &attr, 0);
}

/* Callbacks that make structures take turns. */
static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;

/* The answer is a structure of that time, without what came behind it. */
static void op_open(req_t req, uint64_t ino, const struct file_info_30 *theirs)
{
	static struct file_info_30 *fi;

	(void)ino;
	pthread_mutex_lock(&one);
	if (!fi)
		fi = guarded(sizeof(*fi));
	fi->flags = theirs->flags;
	fi->bits = 1u << 1 | (1u << atoi(chosen("OLD_NOFLUSH", "1"))); /* direct_io */
	fi->padding = 0;
	fi->fh = 77;
	fi->lock_owner = 0;
	fi->poll_events = 0;
	CALL(int (*)(req_t, const void *), "fuse_reply_open@FUSE_3.0")(req, fi);
	pthread_mutex_unlock(&one);
}

/* Two buffers, of which the second one ends where the page ends. */
static void reply_data(req_t req, const char *data, size_t length)
{
	size_t stride = atoi(chosen("OLD_BUF", "40"));
	size_t *vector;
	struct buf_30 *buf;

	pthread_mutex_lock(&one);
	vector = guarded(3 * sizeof(*vector) + 2 * stride);
	memset(vector, 0, 3 * sizeof(*vector) + 2 * stride);
	vector[0] = 2;
	for (size_t i = 0, from = 0; i < 2; i++) {
		buf = (struct buf_30 *)((char *)(vector + 3) + i * stride);
		buf->size = i == 0 ? length / 2 : length - from;
		buf->mem = (void *)(data + from);
		buf->fd = -1;
		from += buf->size;
	}
	CALL(int (*)(req_t, void *, int), "fuse_reply_data@FUSE_3.0")(req, vector, 0);
	pthread_mutex_unlock(&one);
}

static void op_read(req_t req, uint64_t ino, size_t size, off_t off,
		    const struct file_info_30 *fi)
{
	static const char contents[] = "contents\n";
	size_t length = sizeof(contents) - 1;

	if (fi->fh != 77)
		fail("the handle is another one");
	if (ino == 3 && off == 0)
		pthread_barrier_wait(&meeting);
	if (off > (off_t)length)
		off = length;
	if (length - off < size)
		size = length - off;
	if (getenv("OLD_DATA"))
		reply_data(req, contents + off, size);
	else
		CALL(int (*)(req_t, const char *, size_t), "fuse_reply_buf@FUSE_3.0")(
			req, contents + off, size);
}

static void op_flush(req_t req, uint64_t ino, void *fi)
{
	struct context *context =
		CALL(struct context *(*)(req_t), "fuse_req_ctx@FUSE_3.0")(req);
	unsigned at = __atomic_fetch_add(&flushes, 1, __ATOMIC_SEQ_CST);

	(void)ino;
	(void)fi;
	if (at >= sizeof(flushed) / sizeof(flushed[0]))
		fail("too many flushes");
	__atomic_store_n(&flushed[at], context->pid, __ATOMIC_SEQ_CST);
	CALL(int (*)(req_t, int), "fuse_reply_err@FUSE_3.0")(req, 0);
}

static int flushes_of(pid_t client)
{
	unsigned all = __atomic_load_n(&flushes, __ATOMIC_SEQ_CST);
	int own = 0;

	for (unsigned at = 0; at < all; at++)
		own += __atomic_load_n(&flushed[at], __ATOMIC_SEQ_CST) == client;
	return own;
}

static long command(char *line)
{
	char *name = strchr(line, ' ');

	if (name)
		*name++ = '\0';
	if (name && strcmp(line, "flushes") == 0)
		return flushes_of(atoi(name));
	if (strcmp(line, "ping") == 0)
		return 0;
	if (name && strcmp(line, "expire4") == 0)
		return CALL(int (*)(void *, uint64_t, const char *, size_t),
			    "fuse_lowlevel_notify_expire_entry@FUSE_3.12")(
			session, 1, name, strlen(name));
	/* 3.13 to 3.15: a fifth argument, 1: expire only. */
	if (name && strcmp(line, "expire5") == 0)
		return CALL(int (*)(void *, uint64_t, const char *, size_t, int),
			    "fuse_lowlevel_notify_expire_entry@FUSE_3.12")(
			session, 1, name, strlen(name), 1);
	return -ENOSYS;
}

static void *commands(void *unused)
{
	char line[PIPE_BUF];
	size_t length = 0;

	(void)unused;
	while (read(STDIN_FILENO, line + length, 1) == 1) {
		if (line[length] != '\n') {
			length += length < sizeof(line) - 2;
			continue;
		}
		line[length] = '\0';
		length = 0;
		pthread_mutex_lock(&command_runs);
		say("= %ld\n", command(line));
		pthread_mutex_unlock(&command_runs);
	}
	umount2(mountpoint, MNT_DETACH);
	_exit(4);
}

/* A transport of the program's own, which is /dev/fuse all the same. */
static ssize_t io_writev(int fd, struct iovec *iov, int count, void *data)
{
	if (data != &userdata)
		fail("writev() has another userdata");
	return writev(fd, iov, count);
}

static ssize_t io_read(int fd, void *buf, size_t size, void *data)
{
	if (data != &userdata)
		fail("read() has another userdata");
	return read(fd, buf, size);
}

static void mount_custom(const char *form)
{
	size_t size = atoi(chosen("OLD_IO_SIZE", "32"));
	void **io = guarded(size);
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC), res;
	char options[128];

	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	if (fd < 0 || mount("old", mountpoint, "fuse.old", MS_NOSUID | MS_NODEV,
			    options) != 0)
		fail("no mount");
	memset(io, 0, size);
	io[0] = (void *)io_writev;
	io[1] = (void *)io_read;
	if (strstr(form, "@FUSE_3.0") || strstr(form, "_30@"))
		res = CALL(int (*)(void *, const void *, int), form)(session, io, fd);
	else
		res = CALL(int (*)(void *, const void *, size_t, int), form)(
			session, io, size, fd);
	if (res != 0)
		fail("no custom io");
}

static int own_loop(void)
{
	struct buf_30 *buf = guarded(atoi(chosen("OLD_BUF", "40")));
	int res = 0;

	memset(buf, 0, sizeof(*buf));
	while (!CALL(int (*)(void *), "fuse_session_exited@FUSE_3.0")(session)) {
		res = CALL(int (*)(void *, void *),
			   "fuse_session_receive_buf@FUSE_3.0")(session, buf);
		if (res == -EINTR)
			continue;
		if (res <= 0)
			break;
		CALL(void (*)(void *, const void *),
		     "fuse_session_process_buf@FUSE_3.0")(session, buf);
	}
	free(buf->mem);
	return res;
}

static int run_loop(void)
{
	const char *form = chosen("OLD_LOOP", "fuse_session_loop@FUSE_3.0");
	const char *config = chosen("OLD_CONFIG", "");
	struct loop_config_32 *old = NULL;
	void *new;
	int res;

	if (strcmp(form, "own") == 0)
		return own_loop();
	if (!*config)
		return CALL(int (*)(void *), form)(session);
	if (strcmp(config, "null") == 0)
		return CALL(int (*)(void *, void *), form)(session, NULL);
	if (!strchr(config, ':'))
		return CALL(int (*)(void *, int), form)(session, atoi(config));
	old = guarded(sizeof(*old));
	old->clone_fd = atoi(config);
	old->max_idle_threads = strtol(strchr(config, ':') + 1, NULL, 10);
	if (!strstr(form, "3.12"))
		return CALL(int (*)(void *, void *), form)(session, old);
	new = CALL(void *(*)(void), "fuse_loop_cfg_create@FUSE_3.12")();
	CALL(void (*)(void *, void *), "fuse_loop_cfg_convert@FUSE_3.12")(new, old);
	res = CALL(int (*)(void *, void *), form)(session, new);
	CALL(void (*)(void *), "fuse_loop_cfg_destroy@FUSE_3.12")(new);
	return res;
}

static void parse(struct args *args)
{
	/* "-o trace=..." is for other filesystems; thrown away (-4). */
	static const struct opt ours[] = { { "trace=", -1U, -4 }, { NULL, 0, 0 } };
	const char *form = chosen("OLD_PARSE", "fuse_parse_cmdline@FUSE_3.0");
	int newer = strstr(form, "_312@") ||
		    strcmp(form, "fuse_parse_cmdline@FUSE_3.12") == 0;
	struct cmdline_30 *cmdline = guarded(newer ? sizeof(struct cmdline_312)
						   : sizeof(struct cmdline_30));

	if (CALL(int (*)(struct args *, void *), form)(args, cmdline) != 0)
		fail("the command line is wrong");
	if (!cmdline->mountpoint || !cmdline->foreground || cmdline->clone_fd ||
	    cmdline->singlethread || cmdline->show_help)
		fail("the command line is not where it was in its time");
	if (newer && ((struct cmdline_312 *)cmdline)->max_threads != 10)
		fail("max_threads is not 10");
	mountpoint = cmdline->mountpoint;
	if (CALL(int (*)(struct args *, void *, const void *, void *),
		 "fuse_opt_parse@FUSE_3.0")(args, NULL, ours, NULL) != 0)
		fail("fuse_opt_parse");
}

static void new_session(struct args *args)
{
	const char *form = chosen("OLD_NEW", "fuse_session_new@FUSE_3.0");
	size_t size = atoi(chosen("OLD_OPS", "336"));
	void **ops = size ? guarded(size) : NULL;

	if (size) {
		memset(ops, 0, size);
		ops[OP_INIT] = (void *)op_init;
		ops[OP_LOOKUP] = (void *)op_lookup;
		ops[OP_GETATTR] = (void *)op_getattr;
		ops[OP_OPEN] = (void *)op_open;
		ops[OP_READ] = (void *)op_read;
		ops[OP_FLUSH] = (void *)op_flush;
	}
	if (strstr(form, "versioned")) {
		struct version *version = guarded(sizeof(*version));

		*version = (struct version){ 3, 17, 1, 0 };
		session = CALL(void *(*)(void *, void *, size_t, void *, void *),
			       form)(args, ops, size, version, &userdata);
	} else {
		session = CALL(void *(*)(void *, void *, size_t, void *), form)(
			args, ops, size, &userdata);
	}
	if (!session)
		fail("no session");
	if (args->argc != 1)
		fail("the arguments are not taken");
}

int main(int argc, char **argv)
{
	struct args *args;
	pthread_t thread;

	for (int i = 0; i < argc; i++)
		if (strncmp(argv[i], "trace=", 6) == 0)
			trace = open(argv[i] + 6, O_WRONLY | O_APPEND | O_CREAT, 0600);
	library = dlopen(chosen("OLD_LIBRARY", ""), RTLD_NOW | RTLD_LOCAL);
	if (!library)
		fail(dlerror());
	pthread_barrier_init(&meeting, NULL, 3);
	args = guarded(sizeof(*args));
	*args = (struct args){ argc, argv, 0 };
	parse(args);
	new_session(args);
	if (getenv("OLD_IO"))
		mount_custom(getenv("OLD_IO"));
	else if (CALL(int (*)(void *, const char *), "fuse_session_mount@FUSE_3.0")(
			 session, mountpoint) != 0)
		fail("no mount");
	say("mounted\n", 0);
	pthread_create(&thread, NULL, commands, NULL);
	say("loop %ld\n", run_loop());
	check_guards();
	/* Commands are about the session, so there are none from here on. */
	pthread_mutex_lock(&command_runs);
	CALL(void (*)(void *), "fuse_session_unmount@FUSE_3.0")(session);
	CALL(void (*)(void *), "fuse_session_destroy@FUSE_3.0")(session);
	CALL(void (*)(struct args *), "fuse_opt_free_args@FUSE_3.0")(args);
	check_guards();
	return 0;
}
