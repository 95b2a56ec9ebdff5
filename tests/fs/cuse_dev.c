/*
 * A character device for the tests: a mailbox that all its clients share.
 *
 * A write puts its bytes into the mailbox. A read takes bytes out; with
 * O_NONBLOCK an empty mailbox means EAGAIN, otherwise the read waits for a
 * write, whose thread answers it, or for an interrupt, which ends it.
 */
#include "cuse_dev.h"

#include <inttypes.h>
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Any ioctl: the kernel moves what the number says. */
#define MAILBOX_USED    _IOR('c', 1, uint32_t)
#define MAILBOX_FILL    _IOW('c', 2, uint32_t)
#define MAILBOX_REVERSE _IOWR('c', 3, char[16])
/* Unrestricted: the argument points to a struct upper of the caller's width. */
#define MAILBOX_UPPER   _IO('c', 4)
#define MAILBOX_FLAGS   _IO('c', 5)
#define MAILBOX_MANY    _IO('c', 6)

struct upper {
	uint64_t in, in_size, out, out_size;
};

struct upper_32 {
	uint32_t in, in_size, out, out_size;
};

struct waiting_read {
	fuse_req_t req;
	size_t size;
	struct waiting_read *next;
};


int trace_fd = -1;
int mailbox_max_write;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char mail[1 << 16];
static size_t used;
static struct waiting_read *readers;
static struct fuse_pollhandle *poller;
static uint64_t next_fh = 1;

void trace(const char *format, ...)
{
	char line[512];
	va_list ap;
	int length;

	if (trace_fd < 0)
		return;
	va_start(ap, format);
	length = vsnprintf(line, sizeof(line) - 1, format, ap);
	va_end(ap);
	line[length++] = '\n';
	if (write(trace_fd, line, length) != length)
		abort();
}

static void device_init(void *data, struct fuse_conn_info *conn)
{
	trace("init pid=%d userdata=%d proto=%d max_write=%u max_read=%u max_readahead=%u capable=%u "
	      "want=%u time_gran=%u max_background=%u", getpid(), *(int *)data, conn->proto_major,
	      conn->max_write, conn->max_read, conn->max_readahead, conn->capable, conn->want,
	      conn->time_gran, conn->max_background);
	if (mailbox_max_write)
		conn->max_write = mailbox_max_write;
}

static void device_init_done(void *data)
{
	trace("init_done userdata=%d", *(int *)data);
}

static void device_destroy(void *data)
{
	if (poller)
		fuse_pollhandle_destroy(poller);
	poller = NULL;
	trace("destroy userdata=%d", *(int *)data);
}

static void device_open(fuse_req_t req, struct fuse_file_info *fi)
{
	pthread_mutex_lock(&lock);
	fi->fh = next_fh++;
	pthread_mutex_unlock(&lock);
	trace("open fh=%" PRIu64 " flags=%o userdata=%d uid=%u", fi->fh, fi->flags & O_ACCMODE,
	      *(int *)fuse_req_userdata(req), fuse_req_ctx(req)->uid);
	fuse_reply_open(req, fi);
}

/* Takes up to `size` bytes out of the mailbox; the lock is held. */
static size_t take(char *to, size_t size)
{
	size_t count = size < used ? size : used;

	memcpy(to, mail, count);
	used -= count;
	memmove(mail, mail + count, used);
	return count;
}

/* Takes the waiting read of `req`, or the first one, off the list; the lock is
 * held. */
static struct waiting_read *unlist(fuse_req_t req)
{
	struct waiting_read **at = &readers, *found;

	while (*at && req && (*at)->req != req)
		at = &(*at)->next;
	found = *at;
	if (found)
		*at = found->next;
	return found;
}

/* Answers are given without the lock: they wait for this function, and this
 * function waits for the lock. */
static void interrupted(fuse_req_t req, void *data)
{
	struct waiting_read *reader;

	(void)data;
	pthread_mutex_lock(&lock);
	reader = unlist(req);
	pthread_mutex_unlock(&lock);
	if (reader) {
		trace("interrupted");
		fuse_reply_err(req, EINTR);
		free(reader);
	}
}

static void device_read(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct waiting_read *reader, **last = &readers;
	static __thread char data[sizeof(mail)];
	int error = 0, waits = 0;
	size_t count = 0;

	trace("read fh=%" PRIu64 " size=%zu off=%ld", fi->fh, size, (long)off);
	fuse_req_interrupt_func(req, interrupted, NULL);
	pthread_mutex_lock(&lock);
	if (used > 0) {
		count = take(data, size);
	} else if (fi->flags & O_NONBLOCK) {
		error = EAGAIN;
	} else if (fuse_req_interrupted(req)) {
		error = EINTR;
	} else {
		reader = calloc(1, sizeof(*reader));
		reader->req = req;
		reader->size = size;
		while (*last)
			last = &(*last)->next;
		*last = reader;
		waits = 1;
	}
	pthread_mutex_unlock(&lock);
	if (waits)
		trace("waiting");
	else if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_buf(req, data, count);
}

/* The mailbox got something: answers who waits, wakes who polls. */
static void arrived(void)
{
	static __thread char data[sizeof(mail)];
	struct fuse_pollhandle *ph;
	struct waiting_read *reader;
	size_t count = 0;

	for (;;) {
		pthread_mutex_lock(&lock);
		reader = used > 0 ? unlist(NULL) : NULL;
		if (reader)
			count = take(data, reader->size);
		pthread_mutex_unlock(&lock);
		if (!reader)
			break;
		fuse_reply_buf(reader->req, data, count);
		free(reader);
	}
	pthread_mutex_lock(&lock);
	ph = poller;
	poller = NULL;
	pthread_mutex_unlock(&lock);
	if (ph) {
		trace("notify_poll result=%d", fuse_lowlevel_notify_poll(ph));
		fuse_pollhandle_destroy(ph);
	}
}

static void device_write(fuse_req_t req, const char *buf, size_t size, off_t off,
			 struct fuse_file_info *fi)
{
	size_t room;

	trace("write fh=%" PRIu64 " size=%zu off=%ld", fi->fh, size, (long)off);
	pthread_mutex_lock(&lock);
	room = sizeof(mail) - used;
	if (size > room)
		size = room;
	memcpy(mail + used, buf, size);
	used += size;
	pthread_mutex_unlock(&lock);
	arrived();
	if (size > 0)
		fuse_reply_write(req, size);
	else
		fuse_reply_err(req, ENOSPC);
}

static void device_flush(fuse_req_t req, struct fuse_file_info *fi)
{
	trace("flush fh=%" PRIu64, fi->fh);
	fuse_reply_err(req, 0);
}

static void device_release(fuse_req_t req, struct fuse_file_info *fi)
{
	trace("release fh=%" PRIu64, fi->fh);
	fuse_reply_err(req, 0);
}

static void device_fsync(fuse_req_t req, int datasync, struct fuse_file_info *fi)
{
	trace("fsync fh=%" PRIu64 " datasync=%d", fi->fh, datasync);
	fuse_reply_err(req, 0);
}

/* Bytes of the mailbox are filled with '.'. */
static void fill(uint32_t size)
{
	pthread_mutex_lock(&lock);
	used = size < sizeof(mail) ? size : sizeof(mail);
	memset(mail, '.', used);
	pthread_mutex_unlock(&lock);
	arrived();
}

/* First asks for the structure, then for the data it points to and for room. */
static void upper(fuse_req_t req, void *arg, unsigned flags, const char *in, size_t in_size,
		  size_t out_size)
{
	size_t struct_size = flags & FUSE_IOCTL_COMPAT ? sizeof(struct upper_32) : sizeof(struct upper);
	struct iovec in_iov[2] = { { arg, struct_size } }, out_iov;
	char answer[4096];
	struct upper up;
	struct upper_32 up_32;

	if (!(flags & FUSE_IOCTL_UNRESTRICTED)) {
		fuse_reply_err(req, ENOTTY);
		return;
	}
	if (in_size == 0) {
		fuse_reply_ioctl_retry(req, in_iov, 1, NULL, 0);
		return;
	}
	if (flags & FUSE_IOCTL_COMPAT) {
		memcpy(&up_32, in, sizeof(up_32));
		up = (struct upper){ up_32.in, up_32.in_size, up_32.out, up_32.out_size };
	} else {
		memcpy(&up, in, sizeof(up));
	}
	if (in_size == struct_size) {
		in_iov[1] = (struct iovec){ (void *)(uintptr_t)up.in, up.in_size };
		out_iov = (struct iovec){ (void *)(uintptr_t)up.out, up.out_size };
		fuse_reply_ioctl_retry(req, in_iov, 2, &out_iov, 1);
		return;
	}
	in += struct_size;
	in_size -= struct_size;
	if (in_size > out_size || in_size > sizeof(answer)) {
		fuse_reply_err(req, EMSGSIZE);
		return;
	}
	for (size_t i = 0; i < in_size; i++)
		answer[i] = toupper((unsigned char)in[i]);
	fuse_reply_ioctl(req, (int)in_size, answer, in_size);
}

static void device_ioctl(fuse_req_t req, int cmd, void *arg, struct fuse_file_info *fi,
			 unsigned flags, const void *in_buf, size_t in_size, size_t out_size)
{
	char reversed[16];
	struct iovec many[300];
	uint32_t number;

	(void)fi;
	trace("ioctl cmd=%x flags=%x in=%zu out=%zu", (unsigned)cmd, flags, in_size, out_size);
	switch ((unsigned)cmd) {
	case MAILBOX_USED:
		pthread_mutex_lock(&lock);
		number = used;
		pthread_mutex_unlock(&lock);
		/* Unrestricted ioctls say themselves what moves. */
		if (out_size == 0)
			fuse_reply_ioctl_retry(req, NULL, 0,
					       &(struct iovec){ arg, sizeof(number) }, 1);
		else
			fuse_reply_ioctl(req, 0, &number, sizeof(number));
		return;
	case MAILBOX_FILL:
		if (in_size == 0) {
			fuse_reply_ioctl_retry(req, &(struct iovec){ arg, sizeof(number) }, 1, NULL, 0);
			return;
		}
		memcpy(&number, in_buf, sizeof(number));
		fill(number);
		fuse_reply_ioctl(req, 0, NULL, 0);
		return;
	case MAILBOX_REVERSE:
		if (in_size == 0) {
			struct iovec both = { arg, sizeof(reversed) };

			fuse_reply_ioctl_retry(req, &both, 1, &both, 1);
			return;
		}
		for (size_t i = 0; i < sizeof(reversed); i++)
			reversed[i] = ((const char *)in_buf)[sizeof(reversed) - 1 - i];
		fuse_reply_ioctl_iov(req, 7,
				     (struct iovec[]){ { reversed, 4 }, { reversed + 4, 12 } }, 2);
		return;
	case MAILBOX_UPPER:
		upper(req, arg, flags, in_buf, in_size, out_size);
		return;
	case MAILBOX_FLAGS:
		fuse_reply_ioctl(req, flags, NULL, 0);
		return;
	case MAILBOX_MANY:
		/* More pieces than the kernel takes. */
		for (int i = 0; i < 300; i++)
			many[i] = (struct iovec){ arg, 1 };
		fuse_reply_ioctl_retry(req, many, 150, many, 150);
		return;
	default:
		fuse_reply_err(req, ENOTTY);
	}
}

static void device_poll(fuse_req_t req, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
	struct fuse_pollhandle *old = NULL;
	unsigned ready;

	trace("poll fh=%" PRIu64 " handle=%d", fi->fh, ph != NULL);
	pthread_mutex_lock(&lock);
	ready = POLLOUT | (used > 0 ? POLLIN : 0);
	if (ph) {
		old = poller;
		poller = ph;
	}
	pthread_mutex_unlock(&lock);
	if (old)
		fuse_pollhandle_destroy(old);
	fuse_reply_poll(req, ready);
}

const struct cuse_lowlevel_ops mailbox_operations = {
	.init = device_init,
	.init_done = device_init_done,
	.destroy = device_destroy,
	.open = device_open,
	.read = device_read,
	.write = device_write,
	.flush = device_flush,
	.release = device_release,
	.fsync = device_fsync,
	.ioctl = device_ioctl,
	.poll = device_poll,
};

const struct cuse_lowlevel_ops mailbox_few_operations = { .read = device_read };
