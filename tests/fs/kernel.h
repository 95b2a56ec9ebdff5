/*
 * kernel.h: plays the kernel to a filesystem of the path API, in the same
 * process and without a mount: messages made by hand go in by
 * fuse_session_process_buf(), answers come out by fuse_session_custom_io().
 * Any number of threads may ask at the same time, for an answer comes in the
 * thread that asked. Compiles against any libfuse3 from 3.13 on. Include it once
 * per program.
 */
#ifndef KERNEL_H
#define KERNEL_H

#define _GNU_SOURCE
#define FUSE_USE_VERSION 314

#include <fuse.h>
#include <fuse_lowlevel.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static struct fuse_session *kernel_session;

static __thread struct {
	int answered;
	int error; /* positive */
	size_t size;
	char data[4096];
} kernel_answer;

static __thread uint64_t kernel_unique;

static void kernel_failed(const char *what)
{
	fprintf(stderr, "kernel: %s\n", what);
	exit(1);
}

static ssize_t kernel_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct fuse_out_header header;
	size_t size = 0, all = 0;

	(void)fd;
	(void)userdata;
	memcpy(&header, iov[0].iov_base, sizeof(header));
	for (int i = 0; i < count; i++) {
		const char *from = iov[i].iov_base;
		size_t length = iov[i].iov_len;

		all += length;
		if (i == 0) {
			from += sizeof(header);
			length -= sizeof(header);
		}
		if (size + length > sizeof(kernel_answer.data))
			kernel_failed("an answer is too long");
		memcpy(kernel_answer.data + size, from, length);
		size += length;
	}
	if (header.len != all || header.unique != kernel_unique)
		kernel_failed("an answer to nothing that was asked");
	kernel_answer.answered = 1;
	kernel_answer.error = -header.error;
	kernel_answer.size = size;
	return all;
}

static ssize_t kernel_read(int fd, void *buf, size_t size, void *userdata)
{
	(void)fd;
	(void)buf;
	(void)size;
	(void)userdata;
	errno = ENODEV;
	return -1;
}

/* A message without an answer, or whose answer is in kernel_answer. `second`
 * and `third` may be NULL; they are strings. */
static void kernel_send(uint32_t opcode, uint64_t node, const void *body, size_t size,
			const char *second, const char *third)
{
	union {
		struct fuse_in_header header;
		char bytes[1024];
	} message;
	size_t used = sizeof(message.header);
	struct fuse_buf buf;

	memset(&message.header, 0, sizeof(message.header));
	if (size)
		memcpy(message.bytes + used, body, size);
	used += size;
	for (int i = 0; i < 2; i++) {
		const char *name = i ? third : second;

		if (!name)
			continue;
		memcpy(message.bytes + used, name, strlen(name) + 1);
		used += strlen(name) + 1;
	}
	kernel_unique += 2;
	message.header.len = used;
	message.header.opcode = opcode;
	message.header.unique = kernel_unique;
	message.header.nodeid = node;
	message.header.pid = 1;
	memset(&buf, 0, sizeof(buf));
	buf.mem = &message;
	buf.size = used;
	buf.fd = -1;
	kernel_answer.answered = 0;
	fuse_session_process_buf(kernel_session, &buf);
}

/* 0, or the errno of the answer. */
static int kernel_ask(uint32_t opcode, uint64_t node, const void *body, size_t size,
		      const char *second, const char *third)
{
	kernel_send(opcode, node, body, size, second, third);
	if (!kernel_answer.answered)
		kernel_failed("no answer");
	return kernel_answer.error;
}

/* The node of a name, looked up once more; 0 if there is none. */
static inline uint64_t kernel_lookup(uint64_t parent, const char *name)
{
	struct fuse_entry_out *entry = (void *)kernel_answer.data;

	return kernel_ask(FUSE_LOOKUP, parent, NULL, 0, name, NULL) ? 0 : entry->nodeid;
}

static inline void kernel_forget(uint64_t node, uint64_t count)
{
	struct fuse_forget_in in = { .nlookup = count };

	kernel_send(FUSE_FORGET, node, &in, sizeof(in), NULL, NULL);
}

static inline int kernel_getattr(uint64_t node)
{
	struct fuse_getattr_in in = { 0 };

	return kernel_ask(FUSE_GETATTR, node, &in, sizeof(in), NULL, NULL);
}

/* Makes and opens a file: its node, looked up, and its handle. */
static inline uint64_t kernel_create(uint64_t parent, const char *name, uint64_t *fh)
{
	struct fuse_create_in in = { .flags = O_RDWR, .mode = S_IFREG | 0644 };
	struct fuse_entry_out *entry = (void *)kernel_answer.data;

	if (kernel_ask(FUSE_CREATE, parent, &in, sizeof(in), name, NULL))
		return 0;
	*fh = ((struct fuse_open_out *)(entry + 1))->fh;
	return entry->nodeid;
}

static inline int kernel_open(uint64_t node, uint64_t *fh)
{
	struct fuse_open_in in = { .flags = O_RDONLY };

	if (kernel_ask(FUSE_OPEN, node, &in, sizeof(in), NULL, NULL))
		return kernel_answer.error;
	*fh = ((struct fuse_open_out *)kernel_answer.data)->fh;
	return 0;
}

static inline int kernel_release(uint64_t node, uint64_t fh)
{
	struct fuse_release_in in = { .fh = fh };

	return kernel_ask(FUSE_RELEASE, node, &in, sizeof(in), NULL, NULL);
}

static inline int kernel_rename(uint64_t parent, const char *name, uint64_t to,
				const char *new, uint32_t flags)
{
	struct fuse_rename2_in in = { .newdir = to, .flags = flags };

	return kernel_ask(FUSE_RENAME2, parent, &in, sizeof(in), name, new);
}

/* A filesystem that has got its INIT. */
static inline struct fuse *kernel_start(const struct fuse_operations *operations,
					const char *option)
{
	static const struct fuse_custom_io io = { .read = kernel_read, .writev = kernel_writev };
	struct {
		struct fuse_init_in in;
	} init = { { .major = 7, .minor = 31, .max_readahead = 1 << 17,
		     .flags = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES } };
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse *fuse;

	fuse_opt_add_arg(&args, "kernel");
	if (option)
		fuse_opt_add_arg(&args, option);
	fuse = fuse_new(&args, operations, sizeof(*operations), NULL);
	if (!fuse)
		kernel_failed("fuse_new() fails");
	fuse_opt_free_args(&args);
	kernel_session = fuse_get_session(fuse);
	if (fuse_session_custom_io(kernel_session, &io, open("/dev/null", O_RDWR)))
		kernel_failed("fuse_session_custom_io() fails");
	if (kernel_ask(FUSE_INIT, 0, &init, sizeof(init), NULL, NULL))
		kernel_failed("INIT fails");
	return fuse;
}

#endif
