/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * ioctl_ll: ioctl(2) on files and on a directory.
 *
 *     ioctl_ll MOUNTPOINT
 *     python3 -c 'import fcntl, sys
 *     with open(sys.argv[1]) as f: print(fcntl.ioctl(f, 0x80045302, bytes(4)))' MOUNTPOINT/one
 *
 * Files `one` and `two` have contents in memory, which can be read, and changed
 * by the commands of ioctl_ll.h only.
 *
 * Ioctls of a FUSE filesystem are *restricted*: the kernel takes direction and
 * size from the command's number, copies that much of the caller's memory in
 * before, and that much out afterwards. The filesystem sees no more of it;
 * `arg`, the caller's pointer, is a number without use here. So a command that
 * hands over a structure with a pointer in it, like STORE_READ, cannot work: an
 * answer that asks for the memory behind it (fuse_reply_ioctl_retry) makes the
 * caller get EIO. Only devices (CUSE) may set CUSE_UNRESTRICTED_IOCTL, and then
 * get nothing but by asking.
 */
#define FUSE_USE_VERSION 312

#define FLAT_FILES 2
#include "flat.h"
#include "ioctl_ll.h"

#include <pthread.h>

static struct store_contents stores[FLAT_FILES];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static const char *flat_name(size_t file)
{
	return file == 0 ? "one" : "two";
}

static void flat_describe(size_t file, struct stat *st)
{
	pthread_mutex_lock(&mutex);
	st->st_size = stores[file].size;
	pthread_mutex_unlock(&mutex);
	st->st_mode = 0444;
}

/* ---- commands: each returns what ioctl(2) returns, or a negative errno ------------- */

static int set_size(struct store_contents *store, uint32_t size)
{
	if (size > STORE_CAPACITY)
		return -EFBIG;
	if (size > store->size)
		memset(store->data + store->size, 0, size - store->size);
	store->size = size;
	return 0;
}

static int exchange(struct store_contents *store, struct store_contents *contents)
{
	struct store_contents old = *store;

	if (contents->size > STORE_CAPACITY)
		return -EFBIG;
	*store = *contents;
	*contents = old;
	return 0;
}

static uint32_t count_filled(void)
{
	uint32_t count = 0;

	for (size_t file = 0; file < FLAT_FILES; file++)
		count += stores[file].size > 0;
	return count;
}

/* `data` has what came along, and gets what goes back. A command's number
 * contains the size, so where the number is right both sizes are too. */
static int run(fuse_ino_t ino, unsigned int cmd, void *data)
{
	struct store_contents *store = &stores[flat_is_file(ino) ? flat_file(ino) : 0];

	if (!flat_is_file(ino)) {
		if (cmd != STORE_COUNT)
			return -ENOTTY;
		*(uint32_t *)data = count_filled();
		return 0;
	}
	switch (cmd) {
	case STORE_CLEAR:
		return set_size(store, 0);
	case STORE_GET_SIZE:
		*(uint32_t *)data = store->size;
		return 0;
	case STORE_SET_SIZE:
		return set_size(store, *(uint32_t *)data);
	case STORE_EXCHANGE:
		return exchange(store, data);
	}
	return -ENOTTY;
}

/* ---- operations -------------------------------------------------------------------- */

static void ioctl_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
			struct fuse_file_info *fi, unsigned int flags, const void *in_buf,
			size_t in_size, size_t out_size)
{
	struct store_contents data;  /* the largest of all arguments */
	int result;

	(void)arg;
	(void)fi;
	if (cmd == STORE_READ && in_size == sizeof(struct store_reference)) {
		struct store_reference reference;
		struct iovec memory;

		memcpy(&reference, in_buf, sizeof(reference));
		memory = (struct iovec){ (void *)(uintptr_t)reference.address, reference.size };
		fuse_reply_ioctl_retry(req, NULL, 0, &memory, 1);
		return;
	}
	/* The flag says "a directory" as well, to those who have no node to look at. */
	if (in_size > sizeof(data) || out_size > sizeof(data) ||
	    ((flags & FUSE_IOCTL_DIR) != 0) != !flat_is_file(ino)) {
		fuse_reply_err(req, ENOTTY);
		return;
	}
	if (in_size > 0)
		memcpy(&data, in_buf, in_size);
	pthread_mutex_lock(&mutex);
	result = run(ino, cmd, &data);
	pthread_mutex_unlock(&mutex);
	if (result < 0)
		fuse_reply_err(req, -result);
	else
		fuse_reply_ioctl(req, result, out_size ? &data : NULL, out_size);
}

static void ioctl_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (!flat_is_file(ino)) {
		fuse_reply_err(req, EISDIR);
	} else if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EACCES);
	} else {
		fi->direct_io = 1;  /* the kernel does not know that an ioctl changes contents */
		fuse_reply_open(req, fi);
	}
}

static void ioctl_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	struct store_contents contents;

	(void)fi;
	pthread_mutex_lock(&mutex);
	contents = stores[flat_file(ino)];
	pthread_mutex_unlock(&mutex);
	if (off >= contents.size)
		size = 0;
	else if (size > contents.size - (size_t)off)
		size = contents.size - (size_t)off;
	fuse_reply_buf(req, size ? contents.data + off : NULL, size);
}

static void ioctl_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	serve_apply(conn);
}

static const struct fuse_lowlevel_ops operations = {
	.init = ioctl_init,
	.lookup = flat_lookup,
	.getattr = flat_getattr,
	.readdir = flat_readdir,
	.open = ioctl_open,
	.read = ioctl_read,
	.ioctl = ioctl_ioctl,
};

int main(int argc, char **argv)
{
	const struct server server = { .ops = &operations, .help = "" };

	return serve(argc, argv, &server);
}
