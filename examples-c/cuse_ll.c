/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * cuse_ll: a character device, served by this process through CUSE.
 *
 *   modprobe cuse
 *   cuse_ll -f --name=box &
 *   echo hello > /dev/box; head -n 1 /dev/box
 *
 * The device is a buffer of bytes between its clients, as a pipe is: a write
 * puts bytes in, a read takes them out. A read of an empty buffer and a write
 * to a full one wait, unless the file was opened with O_NONBLOCK; poll() tells
 * when they would not. No thread waits here: the request is put on a list, and
 * whoever changes the buffer answers it.
 *
 * ioctl()s, in two ways. BOX_USED and BOX_RESIZE have their size in their
 * number, so the kernel moves their data (it does not with --unrestricted, and
 * this program has to say what it wants of the caller's memory). BOX_PEEK takes
 * a structure with a pointer, which works with --unrestricted only: the kernel
 * is asked for the structure first, then for the place that it points to.
 */
#define FUSE_USE_VERSION 312

#include <cuse_lowlevel.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* How many bytes are in the buffer. */
#define BOX_USED _IOR('B', 1, uint32_t)
/* Sets how many bytes fit; EBUSY if there are more already. */
#define BOX_RESIZE _IOW('B', 2, uint32_t)
/* Copies bytes to `to` and leaves them in the buffer; returns how many. */
#define BOX_PEEK _IO('B', 3)

struct box_peek {
	void *to;
	size_t size;
};

/* The same as a 32-bit program has it. */
struct box_peek_32 {
	uint32_t to;
	uint32_t size;
};

/* A read, or a write with its bytes, that waits. */
struct waiting {
	struct waiting *next;
	fuse_req_t req;
	bool is_write;
	size_t size;
	char data[];
};

/* An open file of the device; fi->fh points to it. */
struct client {
	struct client *next;
	struct fuse_pollhandle *poller; /* whom to wake, or NULL */
};

static struct {
	pthread_mutex_t lock; /* of all that follows */
	char *bytes;
	size_t size, used;
	struct waiting *first;
	struct client *clients;
} box = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool possible(const struct waiting *one)
{
	return one->is_write ? box.used < box.size : box.used > 0;
}

/* Takes the first waiting request that `req` names, or that is possible now,
 * off the list. */
static struct waiting *take_waiting(fuse_req_t req)
{
	struct waiting **at, *one;

	for (at = &box.first; (one = *at) != NULL; at = &one->next) {
		if (req ? one->req == req : possible(one)) {
			*at = one->next;
			return one;
		}
	}
	return NULL;
}

static size_t put(const char *from, size_t size)
{
	if (size > box.size - box.used)
		size = box.size - box.used;
	memcpy(box.bytes + box.used, from, size);
	box.used += size;
	return size;
}

static size_t peek(char *to, size_t size)
{
	if (size > box.used)
		size = box.used;
	memcpy(to, box.bytes, size);
	return size;
}

/* Does what a request is for, which is possible, and answers it. Called with the
 * lock and returns without: an answer must not be given under a lock that the
 * interrupt function wants, as it waits for that function to end. */
static void perform_and_unlock(struct waiting *one)
{
	size_t count;
	char *data;

	if (one->is_write) {
		count = put(one->data, one->size);
		pthread_mutex_unlock(&box.lock);
		fuse_reply_write(one->req, count);
	} else {
		data = malloc(one->size < box.used ? one->size : box.used);
		if (data == NULL) {
			pthread_mutex_unlock(&box.lock);
			fuse_reply_err(one->req, ENOMEM);
		} else {
			count = peek(data, one->size);
			box.used -= count;
			memmove(box.bytes, box.bytes + count, box.used);
			pthread_mutex_unlock(&box.lock);
			fuse_reply_buf(one->req, data, count);
			free(data);
		}
	}
	free(one);
}

/* A handle is good for one notification. */
static void set_poller(struct client *client, struct fuse_pollhandle *poller)
{
	if (client->poller != NULL)
		fuse_pollhandle_destroy(client->poller);
	client->poller = poller;
}

/* The buffer has changed: serves those who waited for it, wakes those who poll. */
static void changed(void)
{
	struct client *client;
	struct waiting *one;

	for (;;) {
		pthread_mutex_lock(&box.lock);
		one = take_waiting(NULL);
		if (one == NULL)
			break;
		perform_and_unlock(one);
	}
	for (client = box.clients; client != NULL; client = client->next) {
		if (client->poller != NULL)
			fuse_lowlevel_notify_poll(client->poller);
		set_poller(client, NULL);
	}
	pthread_mutex_unlock(&box.lock);
}

/* The client was killed or got a signal. */
static void box_interrupted(fuse_req_t req, void *data)
{
	struct waiting *one;

	(void)data;
	pthread_mutex_lock(&box.lock);
	one = take_waiting(req);
	pthread_mutex_unlock(&box.lock);
	if (one != NULL) {
		fuse_reply_err(req, EINTR);
		free(one);
	}
}

/* Serves a read or a write now or, if it must wait, later. */
static void transfer(fuse_req_t req, const char *data, size_t size,
		     const struct fuse_file_info *fi)
{
	struct waiting *one = malloc(sizeof(*one) + (data ? size : 0)), **last;
	int error = 0;

	if (one == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*one = (struct waiting){ .req = req, .is_write = data != NULL, .size = size };
	if (data)
		memcpy(one->data, data, size);
	/* Before the request is on the list, where others may answer it. */
	fuse_req_interrupt_func(req, box_interrupted, NULL);
	pthread_mutex_lock(&box.lock);
	if (possible(one)) {
		perform_and_unlock(one);
		changed();
		return;
	}
	if (fi->flags & O_NONBLOCK)
		error = EAGAIN;
	else if (fuse_req_interrupted(req))
		error = EINTR;
	if (error == 0) {
		for (last = &box.first; *last != NULL; last = &(*last)->next)
			;
		*last = one;
	}
	pthread_mutex_unlock(&box.lock);
	if (error != 0) {
		fuse_reply_err(req, error);
		free(one);
	}
}

static void box_open(fuse_req_t req, struct fuse_file_info *fi)
{
	struct client *client = calloc(1, sizeof(*client));

	if (client == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_mutex_lock(&box.lock);
	client->next = box.clients;
	box.clients = client;
	pthread_mutex_unlock(&box.lock);
	fi->fh = (uintptr_t)client;
	fuse_reply_open(req, fi);
}

/* The lock is held, or nobody else is there any more. */
static void forget_client(struct client *client)
{
	struct client **at = &box.clients;

	while (*at != client)
		at = &(*at)->next;
	*at = client->next;
	set_poller(client, NULL);
	free(client);
}

static void box_release(fuse_req_t req, struct fuse_file_info *fi)
{
	pthread_mutex_lock(&box.lock);
	forget_client((struct client *)(uintptr_t)fi->fh);
	pthread_mutex_unlock(&box.lock);
	fuse_reply_err(req, 0);
}

static void box_read(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)off; /* always 0: a device has its own idea of a position */
	transfer(req, NULL, size, fi);
}

static void box_write(fuse_req_t req, const char *data, size_t size, off_t off,
		      struct fuse_file_info *fi)
{
	(void)off;
	transfer(req, data, size, fi);
}

static void box_poll(fuse_req_t req, struct fuse_file_info *fi, struct fuse_pollhandle *handle)
{
	unsigned int events = 0;

	pthread_mutex_lock(&box.lock);
	if (box.used > 0)
		events |= POLLIN;
	if (box.used < box.size)
		events |= POLLOUT;
	/* A newer handle of the same file replaces the older one. */
	if (handle != NULL)
		set_poller((struct client *)(uintptr_t)fi->fh, handle);
	pthread_mutex_unlock(&box.lock);
	fuse_reply_poll(req, events);
}

/* Asks the kernel to send the ioctl again, with `in` bytes at `arg` read, or room
 * for `out` bytes there. */
static void again(fuse_req_t req, void *arg, size_t in, size_t out)
{
	struct iovec piece = { arg, in ? in : out };

	fuse_reply_ioctl_retry(req, &piece, in != 0, &piece, out != 0);
}

static void resize(fuse_req_t req, uint32_t size)
{
	int error = 0;
	char *bytes;

	pthread_mutex_lock(&box.lock);
	if (size == 0 || size > 1 << 24) {
		error = EINVAL;
	} else if (size < box.used) {
		error = EBUSY;
	} else if ((bytes = realloc(box.bytes, size)) == NULL) {
		error = ENOMEM;
	} else {
		box.bytes = bytes;
		box.size = size;
	}
	pthread_mutex_unlock(&box.lock);
	if (error != 0) {
		fuse_reply_err(req, error);
	} else {
		fuse_reply_ioctl(req, 0, NULL, 0);
		changed();
	}
}

static void ioctl_peek(fuse_req_t req, void *arg, unsigned int flags, const void *in,
		       size_t in_size, size_t out_size)
{
	size_t size = flags & FUSE_IOCTL_COMPAT ? sizeof(struct box_peek_32) : sizeof(struct box_peek);
	struct box_peek wanted;
	struct iovec in_piece = { arg, size }, out_piece;
	size_t count;
	char *data;

	if (!(flags & FUSE_IOCTL_UNRESTRICTED)) {
		fuse_reply_err(req, ENOTTY);
		return;
	}
	if (in_size < size) {
		again(req, arg, size, 0);
		return;
	}
	if (flags & FUSE_IOCTL_COMPAT) {
		const struct box_peek_32 *narrow = in;

		wanted.to = (void *)(uintptr_t)narrow->to;
		wanted.size = narrow->size;
	} else {
		memcpy(&wanted, in, sizeof(wanted));
	}
	if (out_size == 0 && wanted.size > 0) {
		/* The structure once more, and room for the bytes. */
		out_piece = (struct iovec){ wanted.to, wanted.size < 4096 ? wanted.size : 4096 };
		fuse_reply_ioctl_retry(req, &in_piece, 1, &out_piece, 1);
		return;
	}
	data = malloc(out_size + 1);
	if (data == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_mutex_lock(&box.lock);
	count = peek(data, out_size);
	pthread_mutex_unlock(&box.lock);
	fuse_reply_ioctl(req, (int)count, data, count);
	free(data);
}

static void box_ioctl(fuse_req_t req, int cmd, void *arg, struct fuse_file_info *fi,
		      unsigned int flags, const void *in, size_t in_size, size_t out_size)
{
	uint32_t number;

	(void)fi;
	switch ((unsigned int)cmd) {
	case BOX_USED:
		if (out_size < sizeof(number)) {
			again(req, arg, 0, sizeof(number));
			break;
		}
		pthread_mutex_lock(&box.lock);
		number = (uint32_t)box.used;
		pthread_mutex_unlock(&box.lock);
		fuse_reply_ioctl(req, 0, &number, sizeof(number));
		break;
	case BOX_RESIZE:
		if (in_size < sizeof(number)) {
			again(req, arg, sizeof(number), 0);
			break;
		}
		memcpy(&number, in, sizeof(number));
		resize(req, number);
		break;
	case BOX_PEEK:
		ioctl_peek(req, arg, flags, in, in_size, out_size);
		break;
	default:
		fuse_reply_err(req, ENOTTY);
	}
}

static const struct cuse_lowlevel_ops box_operations = {
	.open = box_open,
	.release = box_release,
	.read = box_read,
	.write = box_write,
	.poll = box_poll,
	.ioctl = box_ioctl,
};

struct settings {
	char *name;
	unsigned int major, minor, size;
	int unrestricted, help;
};

#define SETTING(pattern, field) { pattern, offsetof(struct settings, field), 1 }

static const struct fuse_opt options[] = {
	SETTING("--name=%s", name),
	SETTING("--maj=%u", major),
	SETTING("--min=%u", minor),
	SETTING("--size=%u", size),
	SETTING("--unrestricted", unrestricted),
	SETTING("-h", help),
	SETTING("--help", help),
	FUSE_OPT_END,
};

static const char help[] =
	"usage: %s [options]\n"
	"\n"
	"    --name=NAME            the device is /dev/NAME (cuse_ll)\n"
	"    --maj=N --min=N        its number (the kernel's choice)\n"
	"    --size=BYTES           what the buffer holds at first (4096)\n"
	"    --unrestricted         ioctls may use any memory of the caller\n"
	"\n"
	"    -f                     stay in the foreground\n"
	"    -s                     serve one request at a time\n"
	"    -d                     log every request (stays in the foreground)\n";

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct settings settings = { .size = 4096 };
	char line[128] = "DEVNAME=cuse_ll";
	const char *lines[] = { line };
	struct cuse_info info = { .dev_info_argc = 1, .dev_info_argv = lines };
	int status = EXIT_FAILURE;
	struct waiting *left;

	/* What is left in `args` is for the library. */
	if (fuse_opt_parse(&args, &settings, options, NULL) != 0)
		goto out;
	if (settings.help) {
		printf(help, argv[0]);
		status = EXIT_SUCCESS;
		goto out;
	}
	if (settings.name)
		snprintf(line, sizeof(line), "DEVNAME=%s", settings.name);
	info.dev_major = settings.major;
	info.dev_minor = settings.minor;
	if (settings.unrestricted)
		info.flags |= CUSE_UNRESTRICTED_IOCTL;
	box.size = settings.size ? settings.size : 1;
	box.bytes = malloc(box.size);
	if (box.bytes != NULL)
		status = cuse_lowlevel_main(args.argc, args.argv, &info, &box_operations, NULL);
	/* The device is gone, and with it all requests and open files. */
	while ((left = box.first) != NULL) {
		box.first = left->next;
		free(left);
	}
	while (box.clients != NULL)
		forget_client(box.clients);
	free(box.bytes);
out:
	free(settings.name);
	fuse_opt_free_args(&args);
	return status;
}
