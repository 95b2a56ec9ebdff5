/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * custom_io_ll: a filesystem whose messages go through functions of its own.
 *
 *     custom_io_ll [options] MOUNTPOINT
 *     cat MOUNTPOINT/messages     # how many came and went, and their bytes
 *     custom_io_ll --self-test    # no mount, no privileges: see below
 *
 * fuse_session_custom_io() connects a session to a descriptor and to functions
 * that receive and send one message each. Whoever is at the other end speaks the
 * kernel's protocol: the kernel itself, a virtual machine's, or a test. Here the
 * functions count. With a mount point the other end is the kernel: the program
 * opens /dev/fuse and calls mount(2) itself, for which it must be root. The
 * self-test is a thread that plays the kernel over a pair of sockets and asks
 * for the attributes of the root directory.
 */
#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MESSAGES_INO 2

static const char messages_name[] = "messages";

/* Passed to the functions as `userdata`: what the session was made with. */
struct counts {
	atomic_ulong received, received_bytes, sent, sent_bytes;
};

static ssize_t counting_read(int fd, void *buf, size_t size, void *userdata)
{
	struct counts *counts = userdata;
	ssize_t result = read(fd, buf, size);

	if (result > 0) {
		counts->received++;
		counts->received_bytes += result;
	}
	return result;
}

static ssize_t counting_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct counts *counts = userdata;
	ssize_t result = writev(fd, iov, count);

	if (result > 0) {
		counts->sent++;
		counts->sent_bytes += result;
	}
	return result;
}

static int describe(fuse_ino_t ino, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	st->st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0555 : S_IFREG | 0444;
	st->st_nlink = ino == FUSE_ROOT_ID ? 2 : 1;
	return ino == FUSE_ROOT_ID || ino == MESSAGES_INO ? 0 : ENOENT;
}

static void io_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = { .attr_timeout = 1, .entry_timeout = 1 };

	(void)parent;
	if (strcmp(name, messages_name) == 0) {
		entry.ino = MESSAGES_INO;
		describe(entry.ino, &entry.attr);
	}
	fuse_reply_entry(req, &entry);
}

static void io_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;
	int error = describe(ino, &st);

	(void)fi;
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_attr(req, &st, 1);
}

static void io_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	struct stat st;
	char buf[64];
	size_t used = 0;

	(void)ino;
	(void)fi;
	describe(MESSAGES_INO, &st);
	if (off == 0) {
		used = fuse_add_direntry(req, buf, sizeof(buf), messages_name, &st, 1);
		if (used > size)
			used = 0;
	}
	fuse_reply_buf(req, buf, used);
}

static void io_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->direct_io = 1; /* the size is not known beforehand */
	fuse_reply_open(req, fi);
}

static void io_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct counts *counts = fuse_req_userdata(req);
	char text[128];
	int length = 0;

	(void)ino;
	(void)fi;
	if (off == 0)
		length = snprintf(text, sizeof(text), "received %lu (%lu bytes), sent %lu (%lu bytes)\n",
				  counts->received, counts->received_bytes, counts->sent,
				  counts->sent_bytes);
	fuse_reply_buf(req, text, (size_t)length < size ? (size_t)length : size);
}

static const struct fuse_lowlevel_ops io_ops = {
	.lookup = io_lookup,
	.getattr = io_getattr,
	.readdir = io_readdir,
	.open = io_open,
	.read = io_read,
};

/* The structure is copied; the descriptor is the session's from here on. */
static int connect_session(struct fuse_session *session, int fd)
{
	const struct fuse_custom_io io = { .writev = counting_writev, .read = counting_read };

	return fuse_session_custom_io(session, &io, fd);
}

/* What fuse_session_mount() would do: the open device becomes the other end. */
static int open_and_mount(const char *mountpoint)
{
	char options[128];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		perror("/dev/fuse");
		return -1;
	}
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%u,group_id=%u", fd,
		 getuid(), getgid());
	if (mount("custom_io_ll", mountpoint, "fuse.custom_io_ll", MS_NOSUID | MS_NODEV,
		  options) != 0) {
		perror(mountpoint);
		close(fd);
		return -1;
	}
	return fd;
}

static int run(struct fuse_session *session, const struct fuse_cmdline_opts *opts)
{
	int fd, result = -1;

	if (fuse_set_signal_handlers(session) != 0)
		return -1;
	fd = open_and_mount(opts->mountpoint);
	if (fd >= 0) {
		if (connect_session(session, fd) == 0 && fuse_daemonize(opts->foreground) == 0)
			result = fuse_session_loop(session);
		/* Who mounted unmounts; it is no error if somebody else was faster. */
		umount2(opts->mountpoint, MNT_DETACH);
	}
	fuse_remove_signal_handlers(session);
	return result < 0 ? -1 : 0;
}

/* One request and its answer, over a socket that keeps messages apart. */
static int ask(int fd, uint32_t opcode, const void *body, size_t size, void *answer, size_t room)
{
	static uint64_t unique;
	struct fuse_in_header in = { .len = sizeof(in) + size, .opcode = opcode,
				     .unique = ++unique, .nodeid = FUSE_ROOT_ID };
	struct fuse_out_header out;
	struct iovec request[2] = { { &in, sizeof(in) }, { (void *)body, size } };
	struct iovec reply[2] = { { &out, sizeof(out) }, { answer, room } };

	if (writev(fd, request, 2) != (ssize_t)in.len || readv(fd, reply, 2) < (ssize_t)sizeof(out))
		return -EIO;
	return out.unique == in.unique ? out.error : -EPROTO;
}

/* Plays the kernel; returns NULL if all went well. */
static void *play_kernel(void *socket)
{
	int fd = *(int *)socket;
	/* A kernel of before protocol 7.36, whose message has 16 bytes. */
	const uint32_t hello[4] = { FUSE_KERNEL_VERSION, 31, 0, 0 };
	struct fuse_getattr_in which = { 0 };
	struct fuse_init_out agreed;
	struct fuse_attr_out attr;
	void *failed = socket;

	if (ask(fd, FUSE_INIT, hello, sizeof(hello), &agreed, sizeof(agreed)) == 0 &&
	    ask(fd, FUSE_GETATTR, &which, sizeof(which), &attr, sizeof(attr)) == 0 &&
	    S_ISDIR(attr.attr.mode)) {
		printf("protocol %u.%u; the root directory has mode %o\n", agreed.major,
		       agreed.minor, attr.attr.mode);
		failed = NULL;
	}
	close(fd); /* as if it had been unmounted */
	return failed;
}

static int self_test(struct fuse_session *session)
{
	int ends[2];
	pthread_t kernel;
	void *failed;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0 ||
	    pthread_create(&kernel, NULL, play_kernel, &ends[0]) != 0) {
		perror("custom_io_ll");
		return -1;
	}
	if (connect_session(session, ends[1]) != 0)
		return -1;
	fuse_session_loop(session);
	pthread_join(kernel, &failed);
	return failed ? -1 : 0;
}

int main(int argc, char **argv)
{
	int test = argc == 2 && strcmp(argv[1], "--self-test") == 0;
	struct fuse_args args = FUSE_ARGS_INIT(test ? 1 : argc, argv);
	struct fuse_cmdline_opts opts;
	struct fuse_session *session;
	struct counts counts = { 0 };
	int status = EXIT_FAILURE;

	if (fuse_parse_cmdline(&args, &opts) != 0)
		return EXIT_FAILURE;
	if (opts.show_help) {
		printf("usage: %s [options] MOUNTPOINT\n       %s --self-test\n\n", argv[0], argv[0]);
		fuse_cmdline_help();
		status = EXIT_SUCCESS;
	} else if (opts.show_version) {
		printf("FUSE library version %s\n", fuse_pkgversion());
		fuse_lowlevel_version();
		status = EXIT_SUCCESS;
	} else if (opts.mountpoint == NULL && !test) {
		fprintf(stderr, "usage: %s [options] MOUNTPOINT (see %s --help)\n", argv[0], argv[0]);
	} else {
		session = fuse_session_new(&args, &io_ops, sizeof(io_ops), &counts);
		if (session != NULL) {
			if ((test ? self_test(session) : run(session, &opts)) == 0)
				status = EXIT_SUCCESS;
			fuse_session_destroy(session);
		}
	}
	free(opts.mountpoint);
	fuse_opt_free_args(&args);
	return status;
}
