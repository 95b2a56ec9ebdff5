/*
 * mock_ll: a session whose kernel is the test. It opens a library, mounts
 * /dev/fd/N on a socket, and then serves one message per line of its input, in
 * a loop of its own, so that everything happens in order. What the filesystem
 * is called with and what the library answers become lines of the output; the
 * test compares them with those of another library.
 *
 *     mock_ll LIBRARY none|all [option of the session...]
 *
 * Lines of the input:
 *     OPCODE UNIQUE NODE UID HEX    a request with the body HEX ("-": none);
 *                                   NOTIFY_REPLY with UNIQUE 0 answers the
 *                                   last retrieval
 *     notify NAME                   calls fuse_lowlevel_notify_NAME
 *     reply NAME [NUMBER]           how the next request is answered
 *     loop HEX                      sends HEX ("-": nothing), and runs
 *                                   fuse_session_loop over a socket that does
 *                                   not block
 *     exit, reset                   fuse_session_exit and _reset
 * The environment: MOCK_MAX_WRITE and others change what init() was given.
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 312
#include <inttypes.h>
#include "mock.h"

#include <errno.h>
#include <unistd.h>

static struct fuse_session *session;
static char how[32];
static long number;

static int chosen(const char *name)
{
	return strcmp(how, name) == 0;
}

/* What a reply function returned. */
static void done(int result)
{
	if (result != 0)
		printf("returned %d\n", result);
}

static void interrupted(fuse_req_t req, void *data)
{
	(void)data;
	printf("interrupted: %d\n", F(fuse_req_interrupted)(req));
}

/* The answer that was chosen, or `otherwise` as an error. */
static void answer(fuse_req_t req, int otherwise)
{
	struct fuse_entry_param e = { .ino = 5, .generation = 6,
		.attr = { .st_ino = 5, .st_mode = S_IFREG | 0640, .st_size = 7,
			  .st_nlink = 8, .st_uid = 9, .st_gid = 10, .st_rdev = 0x1203,
			  .st_blocks = 11, .st_blksize = 12,
			  .st_mtim = { 13, 14 }, .st_ctim = { 15, 16 } } };
	struct fuse_file_info fi = { .fh = 17, .direct_io = 1, .nonseekable = 1,
				     .cache_readdir = 1, .noflush = 1 };
	struct statvfs st = { .f_bsize = 1, .f_frsize = 2, .f_blocks = 3, .f_bfree = 4,
			      .f_bavail = 5, .f_files = 6, .f_ffree = 7, .f_namemax = 8 };
	struct iovec iov[] = { { "ab", 2 }, { "cde", 3 } };
	struct iovec user[] = { { (void *)0x1000, 16 }, { (void *)0x2000, 32 } };
	struct flock lock = { .l_type = F_WRLCK, .l_start = 3, .l_len = number, .l_pid = 4 };
	struct fuse_bufvec data = FUSE_BUFVEC_INIT(4);
	static const double timeouts[] = { -1, 0.5, 1e30, 3.9999999999, 0 };

	data.buf[0].mem = "data";
	e.attr_timeout = e.entry_timeout = timeouts[labs(number) % 5];
	if (chosen("err"))
		done(F(fuse_reply_err)(req, number));
	else if (chosen("entry"))
		done(F(fuse_reply_entry)(req, &e));
	else if (chosen("negative"))
		e.ino = 0, done(F(fuse_reply_entry)(req, &e));
	else if (chosen("create"))
		done(F(fuse_reply_create)(req, &e, &fi));
	else if (chosen("attr"))
		done(F(fuse_reply_attr)(req, &e.attr, e.attr_timeout));
	else if (chosen("readlink"))
		done(F(fuse_reply_readlink)(req, "target"));
	else if (chosen("open"))
		done(F(fuse_reply_open)(req, &fi));
	else if (chosen("write"))
		done(F(fuse_reply_write)(req, number));
	else if (chosen("buf"))
		done(F(fuse_reply_buf)(req, "buffer", number));
	else if (chosen("data"))
		done(F(fuse_reply_data)(req, &data, 0));
	else if (chosen("iov"))
		done(F(fuse_reply_iov)(req, iov, 2));
	else if (chosen("statfs"))
		done(F(fuse_reply_statfs)(req, &st));
	else if (chosen("xattr"))
		done(F(fuse_reply_xattr)(req, number));
	else if (chosen("lock"))
		done(F(fuse_reply_lock)(req, &lock));
	else if (chosen("bmap"))
		done(F(fuse_reply_bmap)(req, number));
	else if (chosen("ioctl"))
		done(F(fuse_reply_ioctl)(req, number, "out", 3));
	else if (chosen("ioctl_iov"))
		done(F(fuse_reply_ioctl_iov)(req, number, iov, 2));
	else if (chosen("ioctl_retry"))
		done(F(fuse_reply_ioctl_retry)(req, user, 2, user + 1, 1));
	else if (chosen("poll"))
		done(F(fuse_reply_poll)(req, number));
	else if (chosen("lseek"))
		done(F(fuse_reply_lseek)(req, number));
	else if (chosen("none"))
		F(fuse_reply_none)(req);
	else if (chosen("interrupt"))
		F(fuse_req_interrupt_func)(req, interrupted, NULL),
		printf("set\n"),
		F(fuse_req_interrupt_func)(req, NULL, NULL),
		done(F(fuse_reply_err)(req, F(fuse_req_interrupted)(req) ? EINTR : 0));
	else
		done(F(fuse_reply_err)(req, otherwise));
	how[0] = '\0';
}

#define OP(name, format, parameters, ...)                     \
	static void op_##name parameters                      \
	{                                                     \
		SAY(#name " ino=%" PRIu64 " " format, ino, __VA_ARGS__); \
		answer(req, 0);                               \
	}
#define REQ fuse_req_t req, fuse_ino_t ino

/* What the environment has init() put into a field. */
static void set(const char *name, uint32_t *field)
{
	if (getenv(name))
		*field = strtoul(getenv(name), NULL, 0);
}

static void op_init(void *userdata, struct fuse_conn_info *given)
{
	aligned_conn *conn = given;

	set("MOCK_MAX_WRITE", &conn->max_write);
	set("MOCK_MAX_BACKGROUND", &conn->max_background);
	set("MOCK_CONGESTION_THRESHOLD", &conn->congestion_threshold);
	set("MOCK_WANT", &conn->want);
	if (getenv("MOCK_NO_INTERRUPT"))
		conn->no_interrupt = 1;
	SAY("init userdata=%d proto=%u.%u max_write=%x max_readahead=%x", userdata == &number,
	    conn->proto_major, conn->proto_minor, conn->max_write, conn->max_readahead);
}
static void op_destroy(void *userdata) { SAY("destroy userdata=%d", userdata == &number); }
OP(lookup, "name=%s", (REQ, const char *name), name)
OP(getattr, "%s", (REQ, FI), info(fi))
OP(setattr, "set=%x mode=%o uid=%u gid=%u size=%" PRId64 " atime=%ld.%ld mtime=%ld.%ld %s",
   (REQ, struct stat *a, int set, FI), set, a->st_mode, a->st_uid, a->st_gid, a->st_size,
   (long)a->st_atim.tv_sec, (long)a->st_atim.tv_nsec, (long)a->st_mtim.tv_sec,
   (long)a->st_mtim.tv_nsec, info(fi))
OP(readlink, "%s", (REQ), "")
OP(mknod, "name=%s mode=%o rdev=%lx umask=%o", (REQ, const char *name, mode_t mode, dev_t rdev),
   name, mode, (long)rdev, F(fuse_req_ctx)(req)->umask)
OP(mkdir, "name=%s mode=%o umask=%o", (REQ, const char *name, mode_t mode), name, mode,
   F(fuse_req_ctx)(req)->umask)
OP(unlink, "name=%s", (REQ, const char *name), name)
OP(rmdir, "name=%s", (REQ, const char *name), name)
static void op_symlink(fuse_req_t req, const char *link, fuse_ino_t ino, const char *name)
{
	SAY("symlink ino=%" PRIu64 " name=%s link=%s", ino, name, link);
	answer(req, 0);
}
OP(rename, "name=%s newparent=%" PRIu64 " newname=%s flags=%x",
   (REQ, const char *name, fuse_ino_t to, const char *newname, unsigned int flags), name, to,
   newname, flags)
OP(link, "newparent=%" PRIu64 " newname=%s", (REQ, fuse_ino_t to, const char *newname), to, newname)
OP(open, "%s", (REQ, FI), info(fi))
OP(read, "size=%zu off=%" PRId64 " %s", (REQ, size_t size, off_t off, FI), size, off, info(fi))
OP(write, "data=%.*s size=%zu off=%" PRId64 " %s", (REQ, const char *buf, size_t size, off_t off, FI),
   (int)size, buf, size, off, info(fi))
OP(flush, "%s", (REQ, FI), info(fi))
OP(release, "%s", (REQ, FI), info(fi))
OP(fsync, "datasync=%d %s", (REQ, int datasync, FI), datasync, info(fi))
OP(opendir, "%s", (REQ, FI), info(fi))
OP(readdir, "size=%zu off=%" PRId64 " %s", (REQ, size_t size, off_t off, FI), size, off, info(fi))
OP(readdirplus, "size=%zu off=%" PRId64 " %s", (REQ, size_t size, off_t off, FI), size, off, info(fi))
OP(releasedir, "%s", (REQ, FI), info(fi))
OP(fsyncdir, "datasync=%d %s", (REQ, int datasync, FI), datasync, info(fi))
OP(statfs, "%s", (REQ), "")
OP(setxattr, "name=%s value=%.*s flags=%x",
   (REQ, const char *name, const char *value, size_t size, int flags), name, (int)size, value,
   flags)
OP(getxattr, "name=%s size=%zu", (REQ, const char *name, size_t size), name, size)
OP(listxattr, "size=%zu", (REQ, size_t size), size)
OP(removexattr, "name=%s", (REQ, const char *name), name)
OP(access, "mask=%o", (REQ, int mask), mask)
OP(create, "name=%s mode=%o umask=%o %s", (REQ, const char *name, mode_t mode, FI), name, mode,
   F(fuse_req_ctx)(req)->umask, info(fi))
#define LOCK(l) (l)->l_type, (int64_t)(l)->l_start, (int64_t)(l)->l_len, (l)->l_pid
OP(getlk, "type=%d start=%" PRId64 " len=%" PRId64 " lock_pid=%d %s", (REQ, FI, struct flock *l), LOCK(l), info(fi))
OP(setlk, "type=%d start=%" PRId64 " len=%" PRId64 " lock_pid=%d sleep=%d %s",
   (REQ, FI, struct flock *l, int sleep), LOCK(l), sleep, info(fi))
OP(flock, "op=%x %s", (REQ, FI, int op), op, info(fi))
OP(bmap, "blocksize=%zu idx=%" PRIu64, (REQ, size_t blocksize, uint64_t idx), blocksize, idx)
OP(ioctl, "cmd=%x arg=%p flags=%x in=%.*s in_size=%zu out_size=%zu %s",
   (REQ, unsigned int cmd, void *arg, FI, unsigned int flags, const void *in, size_t in_size,
    size_t out_size),
   cmd, arg, flags, (int)in_size, (const char *)(in ? in : ""), in_size, out_size, info(fi))
static struct fuse_pollhandle *waiter;
static void op_poll(fuse_req_t req, fuse_ino_t ino, FI, struct fuse_pollhandle *ph)
{
	SAY("poll ino=%" PRIu64 " notify=%d %s", ino, ph != NULL, info(fi));
	waiter = ph;
	answer(req, 0);
}
static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	SAY("forget ino=%" PRIu64 " nlookup=%" PRIu64, ino, nlookup);
	F(fuse_reply_none)(req);
}
static void op_retrieve_reply(fuse_req_t req, void *cookie, fuse_ino_t ino, off_t off,
			      struct fuse_bufvec *buf)
{
	SAY("retrieve_reply cookie=%p ino=%" PRIu64 " off=%" PRId64 " size=%zu data=%.*s", cookie, ino, off,
	    F(fuse_buf_size)(buf), (int)buf->buf[0].size, (const char *)buf->buf[0].mem);
	F(fuse_reply_none)(req);
}
OP(fallocate, "mode=%x off=%" PRId64 " len=%" PRId64 " %s", (REQ, int mode, off_t off, off_t len, FI), mode, off,
   len, info(fi))
OP(lseek, "off=%" PRId64 " whence=%d %s", (REQ, off_t off, int whence, FI), off, whence, info(fi))
OP(copy_file_range, "off=%" PRId64 " fh=%lx to=%" PRIu64 " off_out=%" PRId64 " fh_out=%lx len=%zu flags=%x",
   (REQ, off_t off, FI, fuse_ino_t to, off_t off_out, struct fuse_file_info *fi_out, size_t len,
    int flags),
   off, (long)fi->fh, to, off_out, (long)fi_out->fh, len, flags)

#define O(name) .name = op_##name
static const struct fuse_lowlevel_ops all = {
	O(init), O(destroy), O(lookup), O(forget), O(getattr), O(setattr), O(readlink), O(mknod),
	O(mkdir), O(unlink), O(rmdir), O(symlink), O(rename), O(link), O(open), O(read), O(write),
	O(flush), O(release), O(fsync), O(opendir), O(readdir), O(releasedir), O(fsyncdir),
	O(statfs), O(setxattr), O(getxattr), O(listxattr), O(removexattr), O(access), O(create),
	O(getlk), O(setlk), O(bmap), O(ioctl), O(poll), O(retrieve_reply), O(flock), O(fallocate),
	O(readdirplus), O(copy_file_range), O(lseek),
};
static const struct fuse_lowlevel_ops none;

/* The number by which the library knows the retrieval that it asked for last;
 * which numbers it takes is its own business. */
static unsigned char retrieval[8];
#define RETRIEVE 5
#define NOTIFY_REPLY 41

static void hide_retrieval(unsigned long unique, int error, unsigned char *body, size_t size)
{
	if (unique == 0 && error == RETRIEVE && size >= sizeof(retrieval)) {
		memcpy(retrieval, body, sizeof(retrieval));
		memset(body, 0xff, sizeof(retrieval));
	}
}

static void answers(void)
{
	mock_answers(hide_retrieval);
}

static void request(unsigned int opcode, unsigned long unique, unsigned long node,
		    unsigned int uid, const char *hex)
{
	unsigned char message[MESSAGE] = { 0 };
	unsigned int size = mock_request(message, opcode, unique, node, uid, hex);

	if (opcode == NOTIFY_REPLY && unique == 0)
		memcpy(message + 8, retrieval, sizeof(retrieval));
	mock_serve(session, message, size);
	answers();
	if (F(fuse_session_exited)(session))
		printf("exited\n");
}

static void loop(const char *hex)
{
	unsigned char message[256];
	size_t size = 0;
	int fd = F(fuse_session_fd)(session);

	for (; hex[0] && hex[1] && hex[0] != '-' && size < sizeof(message); hex += 2)
		sscanf(hex, "%2hhx", &message[size++]);
	if (size && send(kernel, message, size, 0) != (ssize_t)size)
		exit(4);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	printf("loop %d\n", F(fuse_session_loop)(session));
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	answers();
}

static int notify(const char *name)
{
	struct fuse_bufvec data = FUSE_BUFVEC_INIT(5);

	data.buf[0].mem = "store";
	if (strcmp(name, "inval_inode") == 0)
		return F(fuse_lowlevel_notify_inval_inode)(session, 2, 3, 4);
	if (strcmp(name, "inval_entry") == 0)
		return F(fuse_lowlevel_notify_inval_entry)(session, 1, "name", 4);
	if (strcmp(name, "delete") == 0)
		return F(fuse_lowlevel_notify_delete)(session, 1, 2, "name", 4);
	if (strcmp(name, "store") == 0)
		return F(fuse_lowlevel_notify_store)(session, 2, 7, &data, 0);
	if (strcmp(name, "retrieve") == 0)
		return F(fuse_lowlevel_notify_retrieve)(session, 2, 9, 8, (void *)0x77);
	if (strcmp(name, "expire_entry") == 0)
		return F(fuse_lowlevel_notify_expire_entry)(session, 1, "name", 4);
	if (strcmp(name, "no_session") == 0)
		return F(fuse_lowlevel_notify_inval_inode)(NULL, 2, 3, 4);
	if (strcmp(name, "no_poll") == 0)
		return F(fuse_lowlevel_notify_poll)(NULL);
	if (strcmp(name, "poll") == 0 && waiter) {
		int res = F(fuse_lowlevel_notify_poll)(waiter);

		F(fuse_pollhandle_destroy)(waiter);
		waiter = NULL;
		return res;
	}
	return -ENOSYS;
}

int main(int argc, char **argv)
{
	typedef struct fuse_session *(*session_new)(struct fuse_args *,
		const struct fuse_lowlevel_ops *, size_t, void *);
	struct fuse_args args = FUSE_ARGS_INIT(argc - 2, argv + 2);
	static char line[65536], hex[65536];
	char mountpoint[32];
	int fd;

	if (argc < 3 || (fd = mock_open(argv[1])) < 0)
		return 2;
	session = ((session_new)found(dlvsym(library, "fuse_session_new", "FUSE_3.0")))(
		&args, strcmp(argv[2], "all") == 0 ? &all : &none, sizeof(all), &number);
	snprintf(mountpoint, sizeof(mountpoint), "/dev/fd/%d", fd);
	if (!session || F(fuse_session_mount)(session, mountpoint) != 0)
		return 2;
	printf("descriptor is %s\n",
	       F(fuse_session_fd)(session) == fd ? "the same" : "another");
	while (fgets(line, sizeof(line), stdin)) {
		unsigned int opcode, uid;
		unsigned long unique, node;

		printf("> %.60s%s", line, strlen(line) > 60 ? "...\n" : "");
		if (sscanf(line, "%u %lu %lu %u %65535s", &opcode, &unique, &node, &uid, hex) == 5) {
			request(opcode, unique, node, uid, hex);
		} else if (sscanf(line, "notify %31s", hex) == 1) {
			int res = notify(hex);

			printf("notified %d\n", res);
			answers();
		} else if (sscanf(line, "loop %s", hex) == 1) {
			loop(hex);
		} else if (strcmp(line, "exit\n") == 0) {
			F(fuse_session_exit)(session);
			printf("exited %d\n", F(fuse_session_exited)(session) != 0);
		} else if (strcmp(line, "reset\n") == 0) {
			F(fuse_session_reset)(session);
			printf("exited %d\n", F(fuse_session_exited)(session) != 0);
		} else {
			number = 0;
			if (sscanf(line, "reply %31s %ld", how, &number) < 1)
				return 2;
		}
	}
	F(fuse_session_unmount)(session);
	F(fuse_session_destroy)(session);
	F(fuse_opt_free_args)(&args);
	return 0;
}
