/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * slow_ll: a filesystem for `make bench`, of three files. What differs is when a
 * read is answered:
 *
 *     quick   at once
 *     sleep   after 10 ms, in which the handler sleeps
 *     park    after 50 ms; the handler returns at once, a thread answers
 *
 * Every read reaches the filesystem. Names and attributes are cached for a minute.
 */
#define FUSE_USE_VERSION 312

#include "../examples-c/counts.h"
#include "../examples-c/serve.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { QUICK = 2, SLEEP, PARK, FILES_END };
#define SLEEP_NS 10000000
#define PARK_NS 50000000
#define FILE_SIZE 4096

static const char *const names[] = { [QUICK] = "quick", [SLEEP] = "sleep", [PARK] = "park" };
static const char zeros[FILE_SIZE];

static struct {
	char *source;  /* not used; every filesystem of the bench is given one */
	char *stats;
} settings;

static const struct fuse_opt options[] = {
	{ "source=%s", offsetof(__typeof__(settings), source), 0 },
	{ "stats=%s", offsetof(__typeof__(settings), stats), 0 },
	FUSE_OPT_END
};

static const char help[] =
	"    -o stats=FILE          write how often each operation came, at exit\n";

/* ---- reads that wait: answered in the order in which they came -------------------- */

struct parked {
	fuse_req_t req;
	size_t size;
	struct timespec due;
	struct parked *next;
};

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct parked *first, **end;
	pthread_t thread;
	bool started, stopping;
} queue = {
	.mutex = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER,
	.end = &queue.first,
};

static void answer(fuse_req_t req, size_t size)
{
	fuse_reply_buf(req, zeros, size < FILE_SIZE ? size : FILE_SIZE);
}

static void park(fuse_req_t req, size_t size)
{
	struct parked *parked = malloc(sizeof(*parked));

	if (parked == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*parked = (struct parked){ .req = req, .size = size };
	clock_gettime(CLOCK_MONOTONIC, &parked->due);
	parked->due.tv_nsec += PARK_NS;
	if (parked->due.tv_nsec >= 1000000000) {
		parked->due.tv_nsec -= 1000000000;
		parked->due.tv_sec++;
	}
	pthread_mutex_lock(&queue.mutex);
	if (queue.first == NULL)
		pthread_cond_signal(&queue.changed);
	*queue.end = parked;
	queue.end = &parked->next;
	pthread_mutex_unlock(&queue.mutex);
}

static void *answering_thread(void *unused)
{
	pthread_mutex_lock(&queue.mutex);
	for (;;) {
		struct parked *first = queue.first;

		if (first == NULL) {
			if (queue.stopping)
				break;
			pthread_cond_wait(&queue.changed, &queue.mutex);
			continue;
		}
		queue.first = first->next;
		if (queue.first == NULL)
			queue.end = &queue.first;
		pthread_mutex_unlock(&queue.mutex);
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &first->due, NULL) == EINTR)
			;
		answer(first->req, first->size);
		free(first);
		pthread_mutex_lock(&queue.mutex);
	}
	pthread_mutex_unlock(&queue.mutex);
	return unused;
}

/* ---- operations ------------------------------------------------------------------- */

static void describe(fuse_ino_t ino, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	st->st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0555 : S_IFREG | 0444;
	st->st_nlink = 1;
	st->st_size = ino == FUSE_ROOT_ID ? 0 : FILE_SIZE;
}

static void slow_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = { .attr_timeout = 60, .entry_timeout = 60 };

	COUNT(lookup);
	for (fuse_ino_t ino = QUICK; parent == FUSE_ROOT_ID && ino < FILES_END; ino++) {
		if (strcmp(name, names[ino]) == 0) {
			entry.ino = ino;
			describe(ino, &entry.attr);
			fuse_reply_entry(req, &entry);
			return;
		}
	}
	fuse_reply_err(req, ENOENT);
}

static void slow_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	COUNT(getattr);
	describe(ino, &st);
	fuse_reply_attr(req, &st, 60);
}

static void slow_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	COUNT(open);
	fi->direct_io = 1;
	fuse_reply_open(req, fi);
}

static void slow_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	const struct timespec time = { .tv_nsec = SLEEP_NS };

	(void)off;
	(void)fi;
	COUNT(read);
	if (ino == PARK) {
		park(req, size);
		return;
	}
	if (ino == SLEEP)
		clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
	answer(req, size);
}

static void slow_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	serve_apply(conn);
	queue.started = pthread_create(&queue.thread, NULL, answering_thread, NULL) == 0;
	if (!queue.started) {
		fprintf(stderr, "slow_ll: cannot start the answering thread\n");
		fuse_session_exit(serve_session);
	}
}

/* What still waits is answered first: nothing comes any more. */
static void stop(void)
{
	if (!queue.started)
		return;
	pthread_mutex_lock(&queue.mutex);
	queue.stopping = true;
	pthread_cond_signal(&queue.changed);
	pthread_mutex_unlock(&queue.mutex);
	pthread_join(queue.thread, NULL);
}

static const struct fuse_lowlevel_ops operations = {
	.init = slow_init,
	.lookup = slow_lookup,
	.getattr = slow_getattr,
	.open = slow_open,
	.read = slow_read,
};

static int prepare(const char *mountpoint)
{
	(void)mountpoint;
	if (counts_start(settings.stats) != 0) {
		perror(settings.stats);
		return -1;
	}
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
	int status = serve(argc, argv, &server);

	counts_finish();
	free(settings.source);
	free(settings.stats);
	return status;
}
