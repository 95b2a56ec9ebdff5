/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * own_loop_ll: a filesystem in a program that has an event loop of its own.
 *
 *     own_loop_ll [options] MOUNTPOINT
 *     cat MOUNTPOINT/ticks        # seconds that the program's timer counted
 *     cat MOUNTPOINT/wait         # answered with the next tick
 *
 * One thread waits with epoll(7) for three descriptors: that of the session, a
 * timer, and the signals that end the program. The library's loops are not used:
 * whenever the session's descriptor is readable, fuse_session_receive_buf()
 * fetches one message and fuse_session_process_buf() runs the handler it is for.
 * So handlers share data with the rest of the program without a lock, and an
 * answer may be left to a later turn of the loop, as a read of "wait" shows.
 */
#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define TICKS_INO 2
#define WAIT_INO 3
#define MAX_WAITING 64

static const char *const names[] = { [TICKS_INO] = "ticks", [WAIT_INO] = "wait" };

static unsigned long long ticks;
static fuse_req_t waiting[MAX_WAITING]; /* reads of "wait" without an answer so far */
static size_t waiting_count;

static int describe(fuse_ino_t ino, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	if (ino == FUSE_ROOT_ID) {
		st->st_mode = S_IFDIR | 0555;
		st->st_nlink = 2;
		return 0;
	}
	st->st_mode = S_IFREG | 0444;
	st->st_nlink = 1;
	return ino == TICKS_INO || ino == WAIT_INO ? 0 : ENOENT;
}

static void own_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = { .attr_timeout = 1, .entry_timeout = 1 };

	(void)parent;
	for (fuse_ino_t ino = TICKS_INO; ino <= WAIT_INO; ino++)
		if (strcmp(name, names[ino]) == 0)
			entry.ino = ino;
	if (entry.ino)
		describe(entry.ino, &entry.attr);
	fuse_reply_entry(req, &entry);
}

static void own_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;
	int error = describe(ino, &st);

	(void)fi;
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_attr(req, &st, 1);
}

static void own_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			struct fuse_file_info *fi)
{
	char buf[256];
	size_t used = 0;

	(void)ino;
	(void)fi;
	if (size > sizeof(buf))
		size = sizeof(buf);
	for (fuse_ino_t entry = TICKS_INO + off; entry <= WAIT_INO; entry++) {
		struct stat st;
		size_t need;

		describe(entry, &st);
		need = fuse_add_direntry(req, buf + used, size - used, names[entry], &st,
					 entry - TICKS_INO + 1);
		if (need > size - used)
			break;
		used += need;
	}
	fuse_reply_buf(req, buf, used);
}

static void own_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EACCES);
		return;
	}
	/* The size is not known beforehand, and every read is to come here. */
	fi->direct_io = 1;
	fuse_reply_open(req, fi);
}

static void reply_ticks(fuse_req_t req)
{
	char text[32];
	int length = snprintf(text, sizeof(text), "%llu\n", ticks);

	fuse_reply_buf(req, text, length);
}

/* The reader of "wait" does not want to wait any more. */
static void give_up(fuse_req_t req, void *data)
{
	(void)data;
	for (size_t i = 0; i < waiting_count; i++) {
		if (waiting[i] == req) {
			waiting[i] = waiting[--waiting_count];
			fuse_reply_err(req, EINTR);
			return;
		}
	}
}

static void own_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	(void)size; /* a reader asks for more than these few bytes */
	(void)fi;
	if (off > 0) {
		fuse_reply_buf(req, NULL, 0);
	} else if (ino == TICKS_INO) {
		reply_ticks(req);
	} else if (waiting_count == MAX_WAITING) {
		fuse_reply_err(req, EAGAIN);
	} else {
		waiting[waiting_count++] = req;
		fuse_req_interrupt_func(req, give_up, NULL);
	}
}

static const struct fuse_lowlevel_ops own_ops = {
	.lookup = own_lookup,
	.getattr = own_getattr,
	.readdir = own_readdir,
	.open = own_open,
	.read = own_read,
};

static void tick(int timer)
{
	uint64_t expired;

	if (read(timer, &expired, sizeof(expired)) != sizeof(expired))
		return;
	ticks += expired;
	while (waiting_count > 0)
		reply_ticks(waiting[--waiting_count]);
}

/* Serves what has come; false once the filesystem has been unmounted. */
static int serve_messages(struct fuse_session *session, struct fuse_buf *buf)
{
	for (;;) {
		int result = fuse_session_receive_buf(session, buf);

		if (result > 0)
			fuse_session_process_buf(session, buf);
		else if (result == -EAGAIN) /* that was all, for now */
			return 1;
		else if (result != -EINTR)
			return 0;
	}
}

static int watch(int epoll, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static int loop(struct fuse_session *session, int epoll, int timer, int signals)
{
	/* The first call allocates the memory, further ones use it again. */
	struct fuse_buf buf = { .mem = NULL };
	int device = fuse_session_fd(session), result = 0, serving = 1;

	/* Another thread, or the kernel itself, may be faster than this one. */
	fcntl(device, F_SETFL, fcntl(device, F_GETFL) | O_NONBLOCK);
	if (watch(epoll, device) != 0 || watch(epoll, timer) != 0 || watch(epoll, signals) != 0) {
		perror("epoll_ctl");
		return -1;
	}
	while (serving) {
		struct epoll_event event;

		if (epoll_wait(epoll, &event, 1, -1) < 0) {
			if (errno == EINTR)
				continue;
			perror("epoll_wait");
			result = -1;
			break;
		}
		if (event.data.fd == device)
			serving = serve_messages(session, &buf);
		else if (event.data.fd == timer)
			tick(timer);
		else
			serving = 0;
	}
	while (waiting_count > 0)
		fuse_reply_err(waiting[--waiting_count], EINTR);
	free(buf.mem);
	return result;
}

static int run(struct fuse_session *session, const char *mountpoint, int foreground)
{
	const struct itimerspec second = { { 1, 0 }, { 1, 0 } };
	int epoll, timer, signals, result = -1;
	sigset_t set;

	if (fuse_session_mount(session, mountpoint) != 0)
		return -1;
	if (fuse_daemonize(foreground) != 0)
		goto unmount;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (epoll < 0 || timer < 0 || signals < 0 ||
	    timerfd_settime(timer, 0, &second, NULL) != 0)
		perror("own_loop_ll");
	else
		result = loop(session, epoll, timer, signals);
	close(epoll);
	close(timer);
	close(signals);
unmount:
	fuse_session_unmount(session);
	return result;
}

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct fuse_cmdline_opts opts;
	struct fuse_session *session;
	int status = EXIT_FAILURE;

	if (fuse_parse_cmdline(&args, &opts) != 0)
		return EXIT_FAILURE;
	if (opts.show_help) {
		printf("usage: %s [options] MOUNTPOINT\n\n", argv[0]);
		fuse_cmdline_help();
		fuse_lowlevel_help();
		status = EXIT_SUCCESS;
	} else if (opts.show_version) {
		printf("FUSE library version %s\n", fuse_pkgversion());
		fuse_lowlevel_version();
		status = EXIT_SUCCESS;
	} else if (opts.mountpoint == NULL) {
		fprintf(stderr, "usage: %s [options] MOUNTPOINT (see %s --help)\n", argv[0], argv[0]);
	} else {
		session = fuse_session_new(&args, &own_ops, sizeof(own_ops), NULL);
		if (session != NULL) {
			if (run(session, opts.mountpoint, opts.foreground) == 0)
				status = EXIT_SUCCESS;
			fuse_session_destroy(session);
		}
	}
	free(opts.mountpoint);
	fuse_opt_free_args(&args);
	return status;
}
