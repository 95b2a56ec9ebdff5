/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * delay_ll: answers reads later, from another thread.
 *
 *     delay_ll -o delay=MS MOUNTPOINT
 *     time cat MOUNTPOINT/delayed
 *
 * A handler need not answer before it returns. The read handler only puts the
 * request into a queue; one thread answers each when its time has come, so any
 * number of reads may wait without occupying a thread of the session. A reader
 * that is interrupted (Ctrl-C) gets EINTR at once.
 */
#define FUSE_USE_VERSION 312

#include "serve.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DELAYED_INO 2

static struct {
	unsigned int delay;  /* milliseconds */
} settings = { .delay = 1000 };

static const struct fuse_opt options[] = {
	{ "delay=%u", offsetof(__typeof__(settings), delay), 0 },
	FUSE_OPT_END
};

static const char help[] =
	"    -o delay=MS            how long a read takes, in milliseconds (default: 1000)\n";

static const char file_name[] = "delayed";
static char text[64];

/* ---- the queue ------------------------------------------------------------------ */

struct pending {
	fuse_req_t req;
	size_t size;
	off_t off;
	uint64_t deadline;
	struct pending *next;
};

static struct {
	pthread_mutex_t mutex;
	struct pending *first;
	int wake;  /* an eventfd: there is something to look at */
	pthread_t thread;
	bool started;
	atomic_bool stopping;
} queue = { .mutex = PTHREAD_MUTEX_INITIALIZER, .wake = -1 };

static uint64_t now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void wake_thread(void)
{
	eventfd_write(queue.wake, 1);
}

/* The library may call this with locks of its own held, on a request that is
 * about to be answered: so it touches neither the request nor our lock. */
static void interrupted(fuse_req_t req, void *data)
{
	(void)req;
	(void)data;
	wake_thread();
}

/* Answers and frees a list of requests that have left the queue. */
static void answer_all(struct pending *list, int error)
{
	while (list) {
		struct pending *pending = list;
		size_t length = strlen(text);
		size_t start = (size_t)pending->off < length ? (size_t)pending->off : length;
		size_t size = pending->size < length - start ? pending->size : length - start;

		list = pending->next;
		if (error)
			fuse_reply_err(pending->req, error);
		else
			fuse_reply_buf(pending->req, text + start, size);
		free(pending);
	}
}

/* Moves what is due to `due` and what was interrupted to `broken`. Returns the
 * time until the next deadline as poll() wants it. */
static int take_due(struct pending **due, struct pending **broken)
{
	struct pending **link = &queue.first;
	uint64_t now = now_ms();
	int wait = -1;

	*due = *broken = NULL;
	pthread_mutex_lock(&queue.mutex);
	while (*link) {
		struct pending *pending = *link;
		struct pending **list = NULL;

		if (fuse_req_interrupted(pending->req))
			list = broken;
		else if (pending->deadline <= now)
			list = due;
		if (list) {
			*link = pending->next;
			pending->next = *list;
			*list = pending;
		} else {
			int left = pending->deadline - now < INT_MAX ? pending->deadline - now : INT_MAX;

			if (wait < 0 || left < wait)
				wait = left;
			link = &pending->next;
		}
	}
	pthread_mutex_unlock(&queue.mutex);
	return wait;
}

static void *answering_thread(void *unused)
{
	struct pollfd wake = { .fd = queue.wake, .events = POLLIN };
	struct pending *due, *broken;
	eventfd_t ignored;

	while (!queue.stopping) {
		int wait = take_due(&due, &broken);

		answer_all(due, 0);
		answer_all(broken, EINTR);
		if (poll(&wake, 1, wait) > 0)
			eventfd_read(queue.wake, &ignored);
	}
	return unused;
}

/* ---- operations ------------------------------------------------------------------- */

static int describe(fuse_ino_t ino, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	if (ino == FUSE_ROOT_ID) {
		st->st_mode = S_IFDIR | 0555;
		st->st_nlink = 2;
	} else if (ino == DELAYED_INO) {
		st->st_mode = S_IFREG | 0444;
		st->st_nlink = 1;
		st->st_size = strlen(text);
	} else {
		return ENOENT;
	}
	return 0;
}

static void delay_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = { .ino = DELAYED_INO, .attr_timeout = 60, .entry_timeout = 60 };

	if (parent != FUSE_ROOT_ID || strcmp(name, file_name) != 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	describe(DELAYED_INO, &entry.attr);
	fuse_reply_entry(req, &entry);
}

static void delay_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;
	int error = describe(ino, &st);

	(void)fi;
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_attr(req, &st, 60);
}

static void delay_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			  struct fuse_file_info *fi)
{
	const char *const names[] = { ".", "..", file_name };
	const fuse_ino_t inos[] = { FUSE_ROOT_ID, FUSE_ROOT_ID, DELAYED_INO };
	char buf[256];
	size_t used = 0;

	(void)fi;
	if (ino != FUSE_ROOT_ID) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	if (size > sizeof(buf))
		size = sizeof(buf);
	for (size_t i = off; i < 3; i++) {
		struct stat st;
		size_t need;

		describe(inos[i], &st);
		need = fuse_add_direntry(req, buf + used, size - used, names[i], &st, i + 1);
		if (need > size - used)
			break;
		used += need;
	}
	fuse_reply_buf(req, buf, used);
}

static void delay_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (ino != DELAYED_INO) {
		fuse_reply_err(req, EISDIR);
	} else if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EACCES);
	} else {
		fi->direct_io = 1;  /* each read comes to us, none from the page cache */
		fuse_reply_open(req, fi);
	}
}

static void delay_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct pending *pending = malloc(sizeof(*pending));
	struct pending **link;

	(void)ino;
	(void)fi;
	if (pending == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*pending = (struct pending){
		.req = req,
		.size = size,
		.off = off,
		.deadline = now_ms() + settings.delay,
	};
	/* Before the request is queued: from then on the thread may answer it. */
	fuse_req_interrupt_func(req, interrupted, NULL);
	pthread_mutex_lock(&queue.mutex);
	for (link = &queue.first; *link; link = &(*link)->next)
		;
	*link = pending;
	pthread_mutex_unlock(&queue.mutex);
	wake_thread();
}

/* Runs after the program has gone into the background, so its thread stays. */
static void delay_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	serve_apply(conn);
	queue.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	queue.started = queue.wake != -1 &&
			pthread_create(&queue.thread, NULL, answering_thread, NULL) == 0;
	if (!queue.started) {
		fprintf(stderr, "delay_ll: cannot start the answering thread\n");
		fuse_session_exit(serve_session);
	}
}

static void stop(void)
{
	queue.stopping = true;
	if (queue.started) {
		wake_thread();
		pthread_join(queue.thread, NULL);
	}
	answer_all(queue.first, ENOTCONN);
	if (queue.wake != -1)
		close(queue.wake);
}

static const struct fuse_lowlevel_ops operations = {
	.init = delay_init,
	.lookup = delay_lookup,
	.getattr = delay_getattr,
	.readdir = delay_readdir,
	.open = delay_open,
	.read = delay_read,
};

static int prepare(const char *mountpoint)
{
	(void)mountpoint;
	snprintf(text, sizeof(text), "This took %u ms.\n", settings.delay);
	return 0;
}

int main(int argc, char **argv)
{
	const struct server server = {
		.ops = &operations,
		.help = help,
		.options = options,
		.settings = &settings,
		.prepare = prepare,
		.stop = stop,
	};

	return serve(argc, argv, &server);
}
