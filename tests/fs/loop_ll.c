/*
 * loop_ll: engine_ll (see there for its files and commands) with a loop of its
 * own on fuse_session_receive_buf() and fuse_session_process_buf(), as the
 * environment variable LOOP says:
 *     block    one thread that waits in fuse_session_receive_buf()
 *     epoll    the descriptor does not block, and is waited for beside a timer
 *     own      as block, into memory that the program has allocated
 *     threads  four threads; at the end they are woken by a signal
 *     cancel   four threads; at the end they are cancelled while they receive
 *     fork     a child serves; the parent waits for it
 *     late     the same after the parent has answered the first five requests
 *     pipe     messages are given to the library in a pipe
 *     session  the library's loop
 *     after    the library's loop, and after "stop" one as block; "stop" again
 * With FD set the program mounts by itself and gives the library /dev/fd/N.
 *
 * The command "stop" ends the loop, "interrupted" tells how often receiving was
 * interrupted by a signal so far. It says "events EINTR EAGAIN TICKS" before
 * the end: how often these came.
 */
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#define THREADS 4

static int interrupted, again, ticks;
static _Atomic int stop_fd = -1; /* the command thread looks */
static _Atomic int waking;
static pthread_t waking_thread;
static pthread_t threads[THREADS];
static _Atomic int thread_count; /* the waker looks */
static _Atomic int threads_done;

static void nothing(int signal)
{
	(void)signal;
}

/* Nothing behind the structure of the program's time is written. */
struct guarded {
	struct fuse_buf buf;
	unsigned char guard[16];
};

static void guarded_init(struct guarded *g)
{
	memset(g, 0, sizeof(*g));
	memset(g->guard, 0xaa, sizeof(g->guard));
}

static void guarded_check(const struct guarded *g)
{
	for (size_t i = 0; i < sizeof(g->guard); i++)
		if (g->guard[i] != 0xaa)
			abort();
}

/* 1: served; 0: the end; or -errno. */
static int serve_one(struct fuse_session *se, struct guarded *g)
{
	int res = fuse_session_receive_buf(se, &g->buf);

	guarded_check(g);
	if (res == -EINTR)
		__atomic_add_fetch(&interrupted, 1, __ATOMIC_RELAXED);
	if (res == -EAGAIN)
		__atomic_add_fetch(&again, 1, __ATOMIC_RELAXED);
	if (res <= 0)
		return res;
	fuse_session_process_buf(se, &g->buf);
	guarded_check(g);
	return 1;
}

static int loop_block(struct fuse_session *se, void *memory)
{
	struct guarded g;
	int res = 0;

	guarded_init(&g);
	g.buf.mem = memory;
	while (!fuse_session_exited(se)) {
		res = serve_one(se, &g);
		if (res <= 0 && res != -EINTR)
			break;
	}
	if (memory && g.buf.mem != memory)
		abort();
	free(g.buf.mem);
	return res < 0 && res != -EINTR ? res : 0;
}

static int loop_pipe(struct fuse_session *se)
{
	struct fuse_buf buf = { .mem = NULL }, piped = { .flags = FUSE_BUF_IS_FD };
	int ends[2], res;

	if (pipe(ends) != 0 || fcntl(ends[1], F_SETPIPE_SZ, 1 << 18) < 0)
		abort();
	while ((res = fuse_session_receive_buf(se, &buf)) > 0 || res == -EINTR) {
		if (res < 0)
			continue;
		if (write(ends[1], buf.mem, res) != res)
			abort();
		piped.fd = ends[0];
		piped.size = res;
		fuse_session_process_buf(se, &piped);
	}
	free(buf.mem);
	close(ends[0]);
	close(ends[1]);
	return res;
}

static void watch(int epoll, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		abort();
}

static int loop_epoll(struct fuse_session *se)
{
	struct itimerspec often = { { 0, 1000000 }, { 0, 1000000 } };
	int epoll = epoll_create1(EPOLL_CLOEXEC), fd = fuse_session_fd(se);
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	struct guarded g;
	int res = 1;

	guarded_init(&g);
	timerfd_settime(timer, 0, &often, NULL);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	watch(epoll, fd);
	watch(epoll, timer);
	watch(epoll, stop_fd);
	while (!fuse_session_exited(se)) {
		struct epoll_event event;
		uint64_t count;

		if (epoll_wait(epoll, &event, 1, -1) != 1)
			continue;
		if (event.data.fd == timer) {
			ticks += read(timer, &count, sizeof(count)) > 0;
			continue;
		}
		if (event.data.fd == stop_fd)
			continue;
		while ((res = serve_one(se, &g)) > 0)
			;
		if (res == 0 || (res != -EAGAIN && res != -EINTR))
			break;
	}
	free(g.buf.mem);
	close(epoll);
	close(timer);
	return res == -EAGAIN || res == -EINTR || res == 1 ? 0 : res;
}

static void free_buffer(void *buf)
{
	free(((struct fuse_buf *)buf)->mem);
}

/* As programs do that end such threads by pthread_cancel(). */
static void *cancellable(void *se)
{
	struct fuse_buf buf = { .mem = NULL };
	int res;

	pthread_cleanup_push(free_buffer, &buf);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	do {
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
		res = fuse_session_receive_buf(se, &buf);
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
		if (res > 0)
			fuse_session_process_buf(se, &buf);
	} while (res > 0 || res == -EINTR);
	write(stop_fd, &(uint64_t){ 1 }, 8);
	pthread_cleanup_pop(1);
	return NULL;
}

/* Cancelled already, which the next cancellation point would carry out. */
static void *exit_when_cancelled(void *se)
{
	pthread_cancel(pthread_self());
	fuse_session_exit(se);
	pthread_testcancel();
	return NULL;
}

static void *wakeable(void *se)
{
	int res = loop_block(se, NULL);

	threads_done++;
	return (void *)(long)res;
}

static void stop_waking(void)
{
	if (waking) {
		waking = 0;
		pthread_join(waking_thread, NULL);
	}
}

static int loop_threads(struct fuse_session *se, int cancel)
{
	uint64_t count;
	long res = 0;
	void *result;
	pthread_t exiting;

	for (; thread_count < THREADS; thread_count++)
		if (pthread_create(&threads[thread_count], NULL,
				   cancel ? cancellable : wakeable, se) != 0)
			abort();
	if (cancel) {
		while (read(stop_fd, &count, sizeof(count)) != sizeof(count))
			;
		for (int i = 0; i < THREADS; i++)
			pthread_cancel(threads[i]);
		if (pthread_create(&exiting, NULL, exit_when_cancelled, se) != 0)
			abort();
		pthread_join(exiting, NULL);
	} else {
		while (threads_done < THREADS)
			usleep(500);
		threads_done = 0;
		/* A thread that has been joined must not get signals. */
		stop_waking();
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &result);
		if (result != PTHREAD_CANCELED && (long)result != 0)
			res = (long)result;
	}
	return res;
}

static int loop_fork(struct fuse_session *se, int requests)
{
	struct guarded g;
	int status;
	pid_t pid;

	guarded_init(&g);
	while (requests > 0)
		requests -= serve_one(se, &g) > 0;
	free(g.buf.mem);
	pid = fork();
	if (pid == 0) {
		int res = loop_block(se, NULL);

		_exit(res == 0 ? 42 : 1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) != 42)
		return -ECHILD;
	return 0;
}

int serve_attach(struct fuse_session *se)
{
	const char *mountpoint = serve_options.cmdline.mountpoint;
	char options[128], device[32];
	int fd;

	if (!getenv("FD"))
		return fuse_session_mount(se, mountpoint);
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40755,user_id=%d,group_id=%d", fd, getuid(), getgid());
	if (mount("loop_ll", mountpoint, "fuse.loop_ll", MS_NOSUID | MS_NODEV, options) != 0)
		return -1;
	snprintf(device, sizeof(device), "/dev/fd/%d", fd);
	return fuse_session_mount(se, device);
}

/* Asked first, in the thread that serves commands. */
long loop_command(struct fuse_session *se, const char *what)
{
	if (strcmp(what, "interrupted") == 0)
		return __atomic_load_n(&interrupted, __ATOMIC_RELAXED);
	if (strcmp(what, "stop") != 0)
		return -ENOSYS;
	fuse_session_exit(se);
	write(stop_fd, &(uint64_t){ 1 }, 8);
	return 0;
}

/* Wakes what waits in a read until everything has ended. */
static void *waker(void *main_thread)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	while (waking) {
		struct fuse_session *se = serve_session;

		usleep(2000);
		if (!se || !fuse_session_exited(se))
			continue;
		for (int i = 0; i < thread_count; i++)
			pthread_kill(threads[i], SIGUSR1);
		pthread_kill(*(pthread_t *)main_thread, SIGUSR1);
	}
	return NULL;
}

int serve_loop(struct fuse_session *se)
{
	static pthread_t self;
	struct sigaction action = { .sa_handler = nothing };
	const char *loop = getenv("LOOP");
	int res;

	waking = 0;
	self = pthread_self();
	stop_fd = eventfd(0, EFD_CLOEXEC);
	sigaction(SIGUSR1, &action, NULL);
	if (strcmp(loop, "cancel") != 0 && strcmp(loop, "fork") != 0 &&
	    strcmp(loop, "late") != 0 && strcmp(loop, "session") != 0) {
		waking = 1;
		if (pthread_create(&waking_thread, NULL, waker, &self) != 0)
			abort();
	}
	if (strcmp(loop, "block") == 0)
		res = loop_block(se, NULL);
	else if (strcmp(loop, "own") == 0)
		res = loop_block(se, malloc((1 << 20) + 4096));
	else if (strcmp(loop, "pipe") == 0)
		res = loop_pipe(se);
	else if (strcmp(loop, "epoll") == 0)
		res = loop_epoll(se);
	else if (strcmp(loop, "threads") == 0)
		res = loop_threads(se, 0);
	else if (strcmp(loop, "cancel") == 0)
		res = loop_threads(se, 1);
	else if (strcmp(loop, "fork") == 0)
		res = loop_fork(se, 0);
	else if (strcmp(loop, "late") == 0)
		res = loop_fork(se, 5);
	else
		res = fuse_session_loop(se);
	if (strcmp(loop, "after") == 0) {
		fuse_session_reset(se);
		say("library's loop %d", res);
		res = loop_block(se, NULL);
	}
	stop_waking();
	say("events %d %d %d", interrupted, again, ticks);
	thread_count = 0;
	if (getenv("FD")) {
		/* The program mounted, so it unmounts. */
		umount2(serve_options.cmdline.mountpoint, MNT_DETACH);
	}
	return res;
}
