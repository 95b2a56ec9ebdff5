/*
 * custom_ll: trace_ll (see there) on functions of its own, which carry the
 * messages by fuse_session_custom_io(). The environment says how:
 *     CUSTOM_FD=N      over descriptor N, a socket of SOCK_SEQPACKET; without it
 *                      over /dev/fuse, which the program mounts itself
 *     CUSTOM_SPLICE=1  there are functions to splice
 *     CUSTOM_PIECE=N   the function that sends gives N bytes at most to the
 *                      system, and says so
 *     CUSTOM_CLONE=E   the function that clones fails with errno E, or succeeds
 *                      if that is 0
 *
 * On a socket it says "refused E E E", what calls with arguments that cannot be
 * returned. It says "userdata" if a function did not get what the session was made with,
 * and "clones N spliced N" at the end, N being how often a descriptor
 * was cloned and a message spliced.
 * Signals: USR1 has the next
 * receiving fail with EIO, USR2 the next sending with EPIPE.
 */
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/uio.h>

#define DEV_IOC_CLONE _IOR(229, 0, uint32_t)

static atomic_int clones, spliced, fail_read, fail_write;
static size_t piece;

static void check(void *userdata)
{
	if (userdata != &serve_options)
		say("userdata");
}

static ssize_t custom_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct iovec own[8];
	size_t room = piece;
	int used = 0;

	check(userdata);
	if (atomic_exchange(&fail_write, 0)) {
		errno = EPIPE;
		return -1;
	}
	if (!piece || count > 8)
		return writev(fd, iov, count);
	for (; used < count && room; used++) {
		own[used] = iov[used];
		if (own[used].iov_len > room)
			own[used].iov_len = room;
		room -= own[used].iov_len;
	}
	return writev(fd, own, used);
}

static ssize_t custom_read(int fd, void *buf, size_t size, void *userdata)
{
	check(userdata);
	if (atomic_exchange(&fail_read, 0)) {
		errno = EIO;
		return -1;
	}
	return read(fd, buf, size);
}

static ssize_t custom_splice_receive(int in, off_t *off_in, int out,
				     off_t *off_out, size_t len,
				     unsigned int flags, void *userdata)
{
	check(userdata);
	return splice(in, off_in, out, off_out, len, flags);
}

static ssize_t custom_splice_send(int in, off_t *off_in, int out,
				  off_t *off_out, size_t len,
				  unsigned int flags, void *userdata)
{
	check(userdata);
	spliced++;
	return splice(in, off_in, out, off_out, len, flags);
}

#if FUSE_USE_VERSION >= 317
static int custom_clone_fd(int master)
{
	int error = atoi(getenv("CUSTOM_CLONE"));
	uint32_t number = master;
	int fd;

	if (error)
		return -error;
	clones++;
	if (getenv("CUSTOM_FD"))
		return fcntl(master, F_DUPFD_CLOEXEC, 3);
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, DEV_IOC_CLONE, &number) != 0)
		return -errno;
	return fd;
}
#endif

static void on_signal(int signal)
{
	if (signal == SIGUSR1)
		fail_read = 1;
	else
		fail_write = 1;
}

static int open_and_mount(void)
{
	const char *mountpoint = serve_options.cmdline.mountpoint;
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[128];

	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40755,user_id=%d,group_id=%d", fd, getuid(), getgid());
	if (mount("custom_ll", mountpoint, "fuse.custom_ll", MS_NOSUID | MS_NODEV, options) != 0)
		return -1;
	return fd;
}

static void say_refused(int wanted, int first, int second, int third)
{
	if (wanted)
		say("refused %d %d %d", first, second, third);
}

int serve_attach(struct fuse_session *se)
{
	static const struct fuse_custom_io none;
	struct fuse_custom_io io = { .writev = custom_writev, .read = custom_read };
	const char *number = getenv("CUSTOM_FD");
	int fd = number ? atoi(number) : open_and_mount();
	int res;

	signal(SIGUSR1, on_signal);
	signal(SIGUSR2, on_signal);
	if (getenv("CUSTOM_PIECE"))
		piece = atoi(getenv("CUSTOM_PIECE"));
	if (getenv("CUSTOM_SPLICE")) {
		io.splice_receive = custom_splice_receive;
		io.splice_send = custom_splice_send;
	}
#if FUSE_USE_VERSION >= 317
	if (getenv("CUSTOM_CLONE"))
		io.clone_fd = custom_clone_fd;
	say_refused(number != NULL,
	    fuse_session_custom_io(se, NULL, sizeof(io), fd),
	    fuse_session_custom_io(se, &none, sizeof(io), fd),
	    fuse_session_custom_io(se, &io, sizeof(io), -1));
	res = fuse_session_custom_io(se, &io, sizeof(io), fd);
#else
	say_refused(number != NULL, fuse_session_custom_io(se, NULL, fd),
	    fuse_session_custom_io(se, &none, fd),
	    fuse_session_custom_io(se, &io, -1));
	res = fuse_session_custom_io(se, &io, fd);
#endif
	/* It is copied. */
	memset(&io, 0x5a, sizeof(io));
	return res;
}

__attribute__((destructor)) static void counts(void)
{
	say("clones %d spliced %d", clones, spliced);
}
