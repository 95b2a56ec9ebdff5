/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * poll_ll: files that become readable, for programs that wait in poll(2).
 *
 *     poll_ll MOUNTPOINT
 *     python3 -c 'import select, sys
 *     p = select.poll(); p.register(open(sys.argv[1]), select.POLLIN); print(p.poll())' MOUNTPOINT/a &
 *     echo hello > MOUNTPOINT/a
 *
 * `a`, `b` and `c` are letter boxes. A write puts text in, a read takes it out.
 * An empty box can be written to only, a full one be read only. Who finds it
 * empty or full gets EAGAIN with O_NONBLOCK, and else the end of the file or
 * ENOSPC.
 *
 * The kernel asks once, by the operation poll, and then sleeps. With the handle
 * that came along it is told to ask again.
 */
#define FUSE_USE_VERSION 312

#define FLAT_FILES 3
#include "flat.h"

#include <poll.h>
#include <pthread.h>
#include <stdint.h>

#define CAPACITY 1024

/* An open file, and the handle of those who wait with it. */
struct opened {
	struct fuse_pollhandle *handle;  /* or NULL */
	struct opened *next;
};

static struct box {
	pthread_mutex_t mutex;
	char text[CAPACITY];
	size_t used;
	struct opened *opened;
} boxes[FLAT_FILES] = {
	{ .mutex = PTHREAD_MUTEX_INITIALIZER },
	{ .mutex = PTHREAD_MUTEX_INITIALIZER },
	{ .mutex = PTHREAD_MUTEX_INITIALIZER },
};

static const char *flat_name(size_t file)
{
	static const char *const names[FLAT_FILES] = { "a", "b", "c" };

	return names[file];
}

static void flat_describe(size_t file, struct stat *st)
{
	pthread_mutex_lock(&boxes[file].mutex);
	st->st_size = boxes[file].used;
	pthread_mutex_unlock(&boxes[file].mutex);
	st->st_mode = 0666;
}

static struct box *box_of(fuse_ino_t ino)
{
	return &boxes[flat_file(ino)];
}

static struct opened *opened_of(struct fuse_file_info *fi)
{
	return (struct opened *)(uintptr_t)fi->fh;
}

/* Has everybody who waits for this box ask again. With the mutex held, so that
 * no handle ends meanwhile. This notification, unlike those about cached data,
 * waits for no lock of a file in the kernel: operations may send it. */
static void changed(struct box *box)
{
	for (struct opened *opened = box->opened; opened; opened = opened->next)
		if (opened->handle)
			fuse_lowlevel_notify_poll(opened->handle);
}

static void poll_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct opened *opened;
	struct box *box;

	if (!flat_is_file(ino)) {
		fuse_reply_err(req, EISDIR);
		return;
	}
	opened = calloc(1, sizeof(*opened));
	if (opened == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	box = box_of(ino);
	pthread_mutex_lock(&box->mutex);
	opened->next = box->opened;
	box->opened = opened;
	pthread_mutex_unlock(&box->mutex);
	fi->fh = (uintptr_t)opened;
	fi->direct_io = 1;
	fi->nonseekable = 1;
	fuse_reply_open(req, fi);
}

static void poll_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct opened *opened = opened_of(fi), **link;
	struct box *box = box_of(ino);

	pthread_mutex_lock(&box->mutex);
	for (link = &box->opened; *link != opened; link = &(*link)->next)
		;
	*link = opened->next;
	pthread_mutex_unlock(&box->mutex);
	if (opened->handle)
		fuse_pollhandle_destroy(opened->handle);
	free(opened);
	fuse_reply_err(req, 0);
}

static void poll_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		      struct fuse_pollhandle *handle)
{
	struct opened *opened = opened_of(fi);
	struct box *box = box_of(ino);
	unsigned int ready = 0;

	pthread_mutex_lock(&box->mutex);
	/* NULL: nobody sleeps, the kernel only wants to know. Else the handle is
	 * ours; there is one per open file, however many wait with it. */
	if (handle) {
		if (opened->handle)
			fuse_pollhandle_destroy(opened->handle);
		opened->handle = handle;
	}
	if (box->used > 0)
		ready |= POLLIN | POLLRDNORM;
	if (box->used < CAPACITY)
		ready |= POLLOUT | POLLWRNORM;
	pthread_mutex_unlock(&box->mutex);
	fuse_reply_poll(req, ready);
}

static void poll_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi)
{
	struct box *box = box_of(ino);
	char text[CAPACITY];

	(void)off;
	pthread_mutex_lock(&box->mutex);
	if (size > box->used)
		size = box->used;
	memcpy(text, box->text, size);
	memmove(box->text, box->text + size, box->used - size);
	box->used -= size;
	if (size > 0)
		changed(box);
	pthread_mutex_unlock(&box->mutex);
	if (size == 0 && (fi->flags & O_NONBLOCK))
		fuse_reply_err(req, EAGAIN);
	else
		fuse_reply_buf(req, text, size);
}

static void poll_write(fuse_req_t req, fuse_ino_t ino, const char *text, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	struct box *box = box_of(ino);

	(void)off;
	pthread_mutex_lock(&box->mutex);
	if (size > CAPACITY - box->used)
		size = CAPACITY - box->used;
	memcpy(box->text + box->used, text, size);
	box->used += size;
	if (size > 0)
		changed(box);
	pthread_mutex_unlock(&box->mutex);
	if (size == 0)
		fuse_reply_err(req, (fi->flags & O_NONBLOCK) ? EAGAIN : ENOSPC);
	else
		fuse_reply_write(req, size);
}

static void poll_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	serve_apply(conn);
}

static const struct fuse_lowlevel_ops operations = {
	.init = poll_init,
	.lookup = flat_lookup,
	.getattr = flat_getattr,
	.readdir = flat_readdir,
	.open = poll_open,
	.release = poll_release,
	.poll = poll_poll,
	.read = poll_read,
	.write = poll_write,
};

int main(int argc, char **argv)
{
	const struct server server = { .ops = &operations, .help = "" };

	return serve(argc, argv, &server);
}
