/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * retrieve_ll: puts data into the kernel's page cache, and looks at what is there.
 *
 *     retrieve_ll MOUNTPOINT
 *     cat MOUNTPOINT/peek           # nothing: nobody has read the file yet
 *     cat MOUNTPOINT/file           # now the kernel has it in its cache
 *     cat MOUNTPOINT/peek
 *     echo Bye > MOUNTPOINT/push
 *     cat MOUNTPOINT/file           # without asking us: we have stored it there
 *
 * The kernel may cache `file` for ever. A write to `push` changes it, at the same
 * place, and stores the change in the cache: as a filesystem does whose files
 * change on another machine. A read of `peek` retrieves what is cached of it.
 *
 * Both are notifications, sent by a thread that serves no requests: the kernel
 * waits for pages that are just being read, which is, for the handlers.
 */
#define FUSE_USE_VERSION 312

#define FLAT_FILES 3
#include "flat.h"

#include <pthread.h>

enum { TARGET, PEEK, PUSH };
#define TARGET_INO (FLAT_FIRST_INO + TARGET)

#define CAPACITY 65536
static struct {
	pthread_mutex_t mutex;
	char data[CAPACITY];
	size_t size;
} target = { .mutex = PTHREAD_MUTEX_INITIALIZER, .data = "Hello, cache!\n", .size = 14 };

static const char *flat_name(size_t file)
{
	static const char *const names[FLAT_FILES] = { "file", "peek", "push" };

	return names[file];
}

static void flat_describe(size_t file, struct stat *st)
{
	static const mode_t modes[FLAT_FILES] = { 0444, 0444, 0222 };

	st->st_mode = modes[file];
	pthread_mutex_lock(&target.mutex);
	st->st_size = file == TARGET ? (off_t)target.size : 0;
	pthread_mutex_unlock(&target.mutex);
}

/* ---- what the thread has to do ------------------------------------------------------ */

/* A request that waits for a notification. */
struct job {
	fuse_req_t req;
	off_t off;
	size_t size;
	struct job *next;
	bool retrieving;  /* the kernel has been asked; its answer ends the job */
	bool write;
	char data[];      /* of a write; the handler's argument does not last */
};

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct job *first;
	pthread_t thread;
	bool started, stopping;
} jobs = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void add(fuse_req_t req, off_t off, size_t size, const char *data)
{
	struct job *job = malloc(sizeof(*job) + (data ? size : 0)), **link;

	if (job == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*job = (struct job){ .req = req, .off = off, .size = size, .write = data != NULL };
	if (data)
		memcpy(job->data, data, size);
	pthread_mutex_lock(&jobs.mutex);
	for (link = &jobs.first; *link; link = &(*link)->next)
		;
	*link = job;
	pthread_cond_signal(&jobs.changed);
	pthread_mutex_unlock(&jobs.mutex);
}

/* Takes a job off the list; its request is for the caller to answer. */
static void take(struct job *job)
{
	struct job **link;

	pthread_mutex_lock(&jobs.mutex);
	for (link = &jobs.first; *link != job; link = &(*link)->next)
		;
	*link = job->next;
	pthread_mutex_unlock(&jobs.mutex);
}

static void store(struct job *job)
{
	struct fuse_bufvec bufv = FUSE_BUFVEC_INIT(job->size);
	int result;

	pthread_mutex_lock(&target.mutex);
	memcpy(target.data + job->off, job->data, job->size);
	if (target.size < job->off + job->size)
		target.size = job->off + job->size;
	pthread_mutex_unlock(&target.mutex);
	bufv.buf[0].mem = job->data;
	result = fuse_lowlevel_notify_store(serve_session, TARGET_INO, job->off, &bufv, 0);
	take(job);
	/* ENOENT: the kernel has never heard of the file, so there is nothing to correct. */
	if (result == 0 || result == -ENOENT)
		fuse_reply_write(job->req, job->size);
	else
		fuse_reply_err(job->req, -result);
	free(job);
}

static void retrieve(struct job *job)
{
	/* The answer is for retrieve_retrieve_reply, which may run before this
	 * returns: so the job is not touched after it, unless it failed. */
	int result = fuse_lowlevel_notify_retrieve(serve_session, TARGET_INO, job->size, job->off, job);

	if (result == 0)
		return;
	take(job);
	if (result == -ENOENT)
		fuse_reply_buf(job->req, NULL, 0);
	else
		fuse_reply_err(job->req, -result);
	free(job);
}

static void *notifying_thread(void *unused)
{
	struct job *job;

	pthread_mutex_lock(&jobs.mutex);
	while (!jobs.stopping) {
		for (job = jobs.first; job && job->retrieving; job = job->next)
			;
		if (job == NULL) {
			pthread_cond_wait(&jobs.changed, &jobs.mutex);
			continue;
		}
		job->retrieving = !job->write;
		pthread_mutex_unlock(&jobs.mutex);
		if (job->write)
			store(job);
		else
			retrieve(job);
		pthread_mutex_lock(&jobs.mutex);
	}
	pthread_mutex_unlock(&jobs.mutex);
	return unused;
}

/* ---- operations -------------------------------------------------------------------- */

/* What the kernel had, which may be less than was asked for, or nothing. */
static void retrieve_retrieve_reply(fuse_req_t req, void *cookie, fuse_ino_t ino, off_t off,
				    struct fuse_bufvec *bufv)
{
	struct job *job = cookie;

	(void)ino;
	(void)off;
	take(job);
	fuse_reply_data(job->req, bufv, 0);
	free(job);
	fuse_reply_none(req);
}

static void retrieve_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	int access = fi->flags & O_ACCMODE;

	if (!flat_is_file(ino)) {
		fuse_reply_err(req, EISDIR);
	} else if (access != (flat_file(ino) == PUSH ? O_WRONLY : O_RDONLY)) {
		fuse_reply_err(req, EACCES);
	} else {
		fi->keep_cache = flat_file(ino) == TARGET;
		fi->direct_io = flat_file(ino) != TARGET;
		fuse_reply_open(req, fi);
	}
}

static void retrieve_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			  struct fuse_file_info *fi)
{
	char *data;

	(void)fi;
	if (flat_file(ino) == PEEK) {
		add(req, off, size, NULL);
		return;
	}
	pthread_mutex_lock(&target.mutex);
	size = (size_t)off >= target.size ? 0 :
	       size < target.size - off ? size : target.size - off;
	data = malloc(size ? size : 1);
	if (data)
		memcpy(data, target.data + (size ? off : 0), size);
	pthread_mutex_unlock(&target.mutex);
	if (data)
		fuse_reply_buf(req, data, size);
	else
		fuse_reply_err(req, ENOMEM);
	free(data);
}

static void retrieve_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	if (off >= CAPACITY)
		fuse_reply_err(req, EFBIG);
	else
		add(req, off, size < (size_t)(CAPACITY - off) ? size : (size_t)(CAPACITY - off), data);
}

/* Runs after the program has gone into the background, so its thread stays. */
static void retrieve_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	serve_apply(conn);
	jobs.started = pthread_create(&jobs.thread, NULL, notifying_thread, NULL) == 0;
	if (!jobs.started) {
		fprintf(stderr, "retrieve_ll: cannot start the thread that notifies\n");
		fuse_session_exit(serve_session);
	}
}

static void stop(void)
{
	pthread_mutex_lock(&jobs.mutex);
	jobs.stopping = true;
	pthread_cond_signal(&jobs.changed);
	pthread_mutex_unlock(&jobs.mutex);
	if (jobs.started)
		pthread_join(jobs.thread, NULL);
	while (jobs.first) {
		struct job *job = jobs.first;

		take(job);
		fuse_reply_err(job->req, ENOTCONN);
		free(job);
	}
}

static const struct fuse_lowlevel_ops operations = {
	.init = retrieve_init,
	.lookup = flat_lookup,
	.getattr = flat_getattr,
	.readdir = flat_readdir,
	.open = retrieve_open,
	.read = retrieve_read,
	.write = retrieve_write,
	.retrieve_reply = retrieve_retrieve_reply,
};

int main(int argc, char **argv)
{
	const struct server server = { .ops = &operations, .help = "", .stop = stop };

	return serve(argc, argv, &server);
}
