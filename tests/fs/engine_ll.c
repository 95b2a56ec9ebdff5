/*
 * engine_ll: a filesystem whose file names say what the handler of a read
 * does, for tests of how requests and threads are handled. Every name exists,
 * every read reaches the filesystem (direct_io, but for "stream"), nothing else does twice. A
 * read is answered with the text "NAME@OFFSET" unless said otherwise.
 *
 *     fast          answers at once
 *     sleep_MS      answers after MS milliseconds
 *     spin_MS       answers after computing for MS milliseconds
 *     block         answers when the command "unblock" comes
 *     early         answers at once, and returns after "unblock"
 *     early_MS      the same, but answers after MS milliseconds
 *     pair_a/_b     each waits inside until the other is inside too
 *     park          returns without an answer; "release" starts a thread that
 *                   answers all of them and ends at once
 *     overlap       stays inside for 3 ms
 *     mask          the number of CPUs that the handler may use
 *     mask_thread   the number of CPUs that a thread started here may use
 *     mask_fork     the same for a forked child
 *     mask_nproc    what nproc says, started here
 *     intr_func     parks; its interrupt function answers EINTR
 *     intr_poll     stays inside until fuse_req_interrupted(), answers EINTR
 *     intr_late     the same, then sets an interrupt function, which must be
 *                   called at once; answers EINTR, or EIO if it was not
 *     hold_child    the pid of a forked child that lives on for 20 s and closes
 *                   every descriptor; hold_child_fd: only that of the session;
 *                   hold_child_all: none
 *     groups        the number of supplementary groups of the client
 *     exit          calls fuse_session_exit(), then answers
 *     pid           the pid of the filesystem
 *     zeros         as many zero bytes as were asked for
 *     slow_zeros    the same after 100 ms
 *     stream        as zeros, through the page cache
 *
 * The extended attribute user.park of any inode is read as "park" is.
 *
 * Commands: unblock, release, told and queue (what ringfuse.h says), and the numbers inside
 * (handlers now), peak (most handlers at once; sets it to 0), blocked (that wait for "unblock"),
 * parked, reads, interrupts.
 */
#include "serve.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define MAX_NAMES 64
#define MAX_PARKED 4096

struct parked {
	fuse_req_t req;
	char text[64];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
/* All of these under lock. */
static char names[MAX_NAMES][64];	/* inode number - 2 */
static int pair_inside[2];
static unsigned long unblocked;		/* how often "unblock" was said */
static struct parked parked[MAX_PARKED];
static int parked_count;
static int releasing;			/* threads that "release" started */
static long inside, peak, reads, interrupts, blocked;

static const struct stat root_attr = {
	.st_ino = FUSE_ROOT_ID, .st_mode = S_IFDIR | 0755, .st_nlink = 2,
};

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	serve_init(conn);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = { .attr_timeout = 3600,
				      .entry_timeout = 3600 };
	int i;

	(void)parent;
	pthread_mutex_lock(&lock);
	for (i = 0; i < MAX_NAMES && names[i][0]; i++)
		if (strcmp(names[i], name) == 0)
			break;
	if (i < MAX_NAMES && !names[i][0])
		snprintf(names[i], sizeof(names[i]), "%s", name);
	pthread_mutex_unlock(&lock);
	if (i == MAX_NAMES) {
		fuse_reply_err(req, ENOSPC);
		return;
	}
	e.ino = e.attr.st_ino = i + 2;
	e.attr.st_mode = S_IFREG | 0644;
	e.attr.st_nlink = 1;
	e.attr.st_size = 1 << 30;
	fuse_reply_entry(req, &e);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct stat attr = root_attr;

	(void)fi;
	if (ino != FUSE_ROOT_ID) {
		attr.st_mode = S_IFREG | 0644;
		attr.st_size = 1 << 30;
	}
	attr.st_ino = ino;
	fuse_reply_attr(req, &attr, 3600);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fi->direct_io = strcmp(names[ino - 2], "stream") != 0;
	fuse_reply_open(req, fi);
}

static void text_answer(fuse_req_t req, const char *text)
{
	fuse_reply_buf(req, text, strlen(text));
}

static void number_answer(fuse_req_t req, long number)
{
	char text[24];

	snprintf(text, sizeof(text), "%ld", number);
	text_answer(req, text);
}

/* Waits until "unblock" is said once more than `before`. */
static void wait_unblocked(unsigned long before)
{
	blocked++;
	while (unblocked == before)
		pthread_cond_wait(&changed, &lock);
	blocked--;
}

static void wait_pair(int which)
{
	pair_inside[which]++;
	pthread_cond_broadcast(&changed);
	while (!pair_inside[!which])
		pthread_cond_wait(&changed, &lock);
}

/* Leaves the request with the list. */
static void park(fuse_req_t req, const char *text)
{
	struct parked *p = &parked[parked_count];

	if (parked_count == MAX_PARKED) {
		fuse_reply_err(req, ENOBUFS);
		return;
	}
	p->req = req;
	snprintf(p->text, sizeof(p->text), "%s", text);
	parked_count++;
}

static void *release_parked(void *unused)
{
	struct parked *taken = malloc(sizeof(parked));
	int count;

	(void)unused;
	pthread_mutex_lock(&lock);
	count = parked_count;
	memcpy(taken, parked, count * sizeof(*parked));
	parked_count = 0;
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < count; i++)
		text_answer(taken[i].req, taken[i].text);
	free(taken);
	pthread_mutex_lock(&lock);
	releasing--;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* Requests end with the session. */
static void op_destroy(void *userdata)
{
	(void)userdata;
	pthread_mutex_lock(&lock);
	while (releasing > 0)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static void interrupted(fuse_req_t req, void *data)
{
	int mine = 0;

	pthread_mutex_lock(&lock);
	interrupts++;
	for (int i = 0; data && i < parked_count; i++) {
		if (parked[i].req == req) {
			parked[i] = parked[--parked_count];
			mine = 1;
			break;
		}
	}
	pthread_mutex_unlock(&lock);
	if (mine)
		fuse_reply_err(req, EINTR);
}

static void wait_interrupted(fuse_req_t req)
{
	while (!fuse_req_interrupted(req))
		usleep(1000);
}

static long allowed_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return -errno;
	return CPU_COUNT(&set);
}

static void *thread_mask(void *result)
{
	*(long *)result = allowed_cpus();
	return NULL;
}

static long mask_of_thread(void)
{
	pthread_t thread;
	long cpus = -1;

	if (pthread_create(&thread, NULL, thread_mask, &cpus) == 0)
		pthread_join(thread, NULL);
	return cpus;
}

static long mask_of_child(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(allowed_cpus());
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static long mask_of_nproc(void)
{
	FILE *out = popen("nproc", "r");
	long cpus = -1;

	if (!out)
		return -1;
	if (fscanf(out, "%ld", &cpus) != 1)
		cpus = -1;
	pclose(out);
	return cpus;
}

static long held_child(const char *which)
{
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGALRM, SIG_DFL);
		alarm(20);
		if (!*which)
			syscall(SYS_close_range, 0u, ~0u, 0u);
		else if (strcmp(which, "_fd") == 0)
			close(fuse_session_fd(serve_session));
		for (;;)
			pause();
	}
	return pid;
}

static void spin(long ms)
{
	struct timespec now, start;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < ms);
}

static void zeros(fuse_req_t req, size_t size)
{
	static char data[1 << 20]; /* never written, so it takes no memory */

	fuse_reply_buf(req, data, size);
}

/* `before`: how often "unblock" had been said when the request came. */
static void behave(fuse_req_t req, const char *name, size_t size,
		   const char *text, unsigned long before)
{
	if (strcmp(name, "block") == 0) {
		pthread_mutex_lock(&lock);
		wait_unblocked(before);
		pthread_mutex_unlock(&lock);
		text_answer(req, text);
	} else if (strcmp(name, "early") == 0) {
		pthread_mutex_lock(&lock);
		text_answer(req, text);
		wait_unblocked(before);
		pthread_mutex_unlock(&lock);
	} else if (strncmp(name, "early_", 6) == 0) {
		usleep(1000 * atoi(name + 6));
		pthread_mutex_lock(&lock);
		text_answer(req, text);
		wait_unblocked(before);
		pthread_mutex_unlock(&lock);
	} else if (strncmp(name, "pair_", 5) == 0) {
		pthread_mutex_lock(&lock);
		wait_pair(name[5] == 'b');
		pthread_mutex_unlock(&lock);
		text_answer(req, text);
	} else if (strcmp(name, "park") == 0) {
		pthread_mutex_lock(&lock);
		park(req, text);
		pthread_mutex_unlock(&lock);
	} else if (strncmp(name, "sleep_", 6) == 0) {
		usleep(1000 * atoi(name + 6));
		text_answer(req, text);
	} else if (strncmp(name, "spin_", 5) == 0) {
		spin(atoi(name + 5));
		text_answer(req, text);
	} else if (strcmp(name, "overlap") == 0) {
		usleep(3000);
		text_answer(req, text);
	} else if (strcmp(name, "mask") == 0) {
		number_answer(req, allowed_cpus());
	} else if (strcmp(name, "mask_thread") == 0) {
		number_answer(req, mask_of_thread());
	} else if (strcmp(name, "mask_fork") == 0) {
		number_answer(req, mask_of_child());
	} else if (strcmp(name, "mask_nproc") == 0) {
		number_answer(req, mask_of_nproc());
	} else if (strcmp(name, "intr_func") == 0) {
		pthread_mutex_lock(&lock);
		park(req, text);
		pthread_mutex_unlock(&lock);
		fuse_req_interrupt_func(req, interrupted, (void *)name);
	} else if (strcmp(name, "intr_poll") == 0) {
		wait_interrupted(req);
		fuse_reply_err(req, EINTR);
	} else if (strcmp(name, "intr_late") == 0) {
		long count;

		wait_interrupted(req);
		count = interrupts;
		fuse_req_interrupt_func(req, interrupted, NULL);
		fuse_reply_err(req, interrupts == count + 1 ? EINTR : EIO);
	} else if (strncmp(name, "hold_child", 10) == 0) {
		number_answer(req, held_child(name + 10));
	} else if (strcmp(name, "pid") == 0) {
		number_answer(req, getpid());
	} else if (strcmp(name, "groups") == 0) {
		number_answer(req, fuse_req_getgroups(req, 0, NULL));
	} else if (strcmp(name, "exit") == 0) {
		fuse_session_exit(serve_session);
		text_answer(req, text);
	} else if (strcmp(name, "slow_zeros") == 0) {
		usleep(100000);
		zeros(req, size);
	} else if (strcmp(name, "zeros") == 0 || strcmp(name, "stream") == 0) {
		zeros(req, size);
	} else {
		text_answer(req, text);
	}
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
			size_t size)
{
	(void)ino;
	(void)size;
	if (strcmp(name, "user.park") != 0) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	pthread_mutex_lock(&lock);
	park(req, name);
	pthread_mutex_unlock(&lock);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	char name[64], text[128];
	unsigned long before;

	(void)fi;
	pthread_mutex_lock(&lock);
	strcpy(name, names[ino - 2]);
	before = unblocked;
	reads++;
	if (++inside > peak)
		peak = inside;
	pthread_mutex_unlock(&lock);
	trace(req, "read", "name=%s size=%zu off=%" PRId64, name, size, off);
	snprintf(text, sizeof(text), "%s@%" PRId64, name, off);
	behave(req, name, size, text, before);
	pthread_mutex_lock(&lock);
	inside--;
	pthread_mutex_unlock(&lock);
}

#if __has_include(<ringfuse.h>)
#include <ringfuse.h>

/*
 * What ringfuse.h tells: transport * 1000 + queues, or less than 0 if it tells
 * something that cannot be: no reason, no requests, or more than there was room
 * for.
 */
static long told(struct fuse_session *se)
{
	struct ringfuse_stats stats = { .size = sizeof(stats) };
	struct ringfuse_stats part = { .size = offsetof(struct ringfuse_stats,
							queues),
				       .queues = 4711 };

	if (ringfuse_session_stats(se, &stats) != 0 ||
	    ringfuse_session_stats(se, &part) != 0 ||
	    ringfuse_session_stats(se, NULL) != -EINVAL)
		return -1;
	if (part.transport != stats.transport || part.queues != 4711)
		return -2;
	if (!ringfuse_session_reason(se) || !*ringfuse_session_reason(se))
		return -3;
	if (!stats.dev_requests ||
	    (stats.ring_requests > 0) != (stats.transport == RINGFUSE_TRANSPORT_RING))
		return -4;
	return stats.transport * 1000L + stats.queues;
}

/*
 * "queue NUMBER NAME": a number of a queue, -1 for /dev/fuse. "queue NUMBER
 * times NANOSECONDS": how many operations were in the class of these, or above.
 */
static long queue_told(struct fuse_session *se, int argc, char **argv)
{
	static const struct {
		const char *name;
		size_t offset;
	} numbers[] = {
#define NUMBER(name) { #name, offsetof(struct ringfuse_queue_stats, name) }
		NUMBER(requests), NUMBER(bytes_in), NUMBER(bytes_out), NUMBER(handling),
		NUMBER(parked), NUMBER(threads), NUMBER(threads_peak), NUMBER(entries),
		NUMBER(entries_used), NUMBER(entries_used_peak), NUMBER(kicks),
		NUMBER(grown), NUMBER(handed_over), NUMBER(foreign_answers),
		NUMBER(handler_time),
#undef NUMBER
	};
	struct ringfuse_queue_stats stats = { .size = sizeof(stats) };
	struct ringfuse_queue_stats part = { .size = offsetof(struct ringfuse_queue_stats,
							      handler_times),
					     .handler_times = { 4711 } };
	unsigned int queue = argc > 1 ? atoi(argv[1]) : 0, class = 0;
	uint64_t bound = RINGFUSE_FIRST_TIME, sum = 0;
	int res;

	if (argc < 3 || ringfuse_session_queue_stats(se, queue, NULL) != -EINVAL ||
	    ringfuse_session_queue_stats(NULL, queue, &stats) != -EINVAL)
		return -EINVAL;
	res = ringfuse_session_queue_stats(se, queue, &stats);
	if (res != ringfuse_session_queue_stats(se, queue, &part) ||
	    stats.size != sizeof(stats) || part.handler_times[0] != 4711)
		return -EIO;
	if (res != 0)
		return res;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		if (strcmp(argv[2], numbers[i].name) == 0)
			return *(uint64_t *)((char *)&stats + numbers[i].offset);
	if (strcmp(argv[2], "times") != 0 || argc < 4)
		return -EINVAL;
	for (; class < RINGFUSE_TIMES - 1 && strtoull(argv[3], NULL, 10) >= bound; bound *= 2)
		class++;
	while (class < RINGFUSE_TIMES)
		sum += stats.handler_times[class++];
	return sum;
}
#else
static long queue_told(struct fuse_session *se, int argc, char **argv)
{
	(void)se;
	(void)argc;
	(void)argv;
	return -ENOSYS;
}

static long told(struct fuse_session *se)
{
	(void)se;
	return -ENOSYS;
}
#endif

/* The commands of loop_ll; -ENOSYS if it is none of them. */
__attribute__((weak)) long loop_command(struct fuse_session *se, const char *what);

static long command(struct fuse_session *se, int argc, char **argv)
{
	const char *what = argv[0];
	pthread_t thread;
	long answer = 0;

	if (strcmp(what, "queue") == 0)
		return queue_told(se, argc, argv);
	if (loop_command) {
		answer = loop_command(se, what);
		if (answer != -ENOSYS)
			return answer;
		answer = 0;
	}
	if (strcmp(what, "release") == 0) {
		pthread_mutex_lock(&lock);
		answer = -pthread_create(&thread, NULL, release_parked, NULL);
		if (answer == 0) {
			releasing++;
			pthread_detach(thread);
		}
		pthread_mutex_unlock(&lock);
		return answer;
	}
	pthread_mutex_lock(&lock);
	if (strcmp(what, "unblock") == 0) {
		unblocked++;
		pthread_cond_broadcast(&changed);
	} else if (strcmp(what, "inside") == 0) {
		answer = inside;
	} else if (strcmp(what, "blocked") == 0) {
		answer = blocked;
	} else if (strcmp(what, "told") == 0) {
		answer = told(se);
	} else if (strcmp(what, "peak") == 0) {
		answer = peak;
		peak = inside;
	} else if (strcmp(what, "parked") == 0) {
		answer = parked_count;
	} else if (strcmp(what, "reads") == 0) {
		answer = reads;
	} else if (strcmp(what, "interrupts") == 0) {
		answer = interrupts;
	} else {
		answer = -ENOSYS;
	}
	pthread_mutex_unlock(&lock);
	return answer;
}

int main(int argc, char **argv)
{
	static const struct fuse_lowlevel_ops ops = {
		.init = op_init, .lookup = op_lookup, .getattr = op_getattr,
		.open = op_open, .read = op_read, .destroy = op_destroy,
		.getxattr = op_getxattr,
	};

	serve_parse(argc, argv, NULL, NULL);
	return serve(&ops, sizeof(ops), command);
}
