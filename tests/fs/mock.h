/*
 * What mock_ll and mock_path share: the library that was opened, the kernel's end of
 * the socket on which it is mounted, and the messages on it.
 */
#ifndef MOCK_H
#define MOCK_H

#include <fuse_lowlevel.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* The function of the library that was opened. */
#define F(name) ((__typeof__(&name))found(dlsym(library, #name)))
#define SAY(...) do { printf("op " __VA_ARGS__); printf("\n"); } while (0)
#define FI struct fuse_file_info *fi

enum { HEADER = 40, MESSAGE = 65536 };

/* In libfuse 3.14 it has 32-bit fields only, and is where these may be. */
typedef struct fuse_conn_info aligned_conn __attribute__((aligned(4)));

static void *library;
static int kernel;

static void *found(void *function)
{
	if (!function) {
		fprintf(stderr, "mock: %s\n", dlerror());
		exit(3);
	}
	return function;
}

static const char *info(const struct fuse_file_info *fi)
{
	static char text[160];

	if (!fi)
		return "fi=none";
	snprintf(text, sizeof(text), "fh=%lx flags=%x writepage=%d flush=%d flock_release=%d"
		 " owner=%lx events=%x", (long)fi->fh, fi->flags, fi->writepage, fi->flush,
		 fi->flock_release, (long)fi->lock_owner, fi->poll_events);
	return text;
}

/* Opens the library; the socket that it is to mount, or -1. */
static int mock_open(const char *path)
{
	int sockets[2];

	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets) != 0)
		return -1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	kernel = sockets[0];
	return sockets[1];
}

/* A request in `message`, which is zero, with the body `hex` ("-": none); its size. */
static unsigned int mock_request(unsigned char *message, unsigned int opcode,
				 unsigned long unique, unsigned long node,
				 unsigned int uid, const char *hex)
{
	unsigned int size = HEADER;

	for (; hex[0] && hex[1] && hex[0] != '-'; hex += 2, size++)
		sscanf(hex, "%2hhx", &message[size]);
	memcpy(message, &size, 4);
	memcpy(message + 4, &opcode, 4);
	memcpy(message + 8, &unique, 8);
	memcpy(message + 16, &node, 8);
	memcpy(message + 24, &uid, 4);
	return size;
}

/* Sends it, and has the session serve it. */
static void mock_serve(struct fuse_session *session, const unsigned char *message,
		       unsigned int size)
{
	static struct fuse_buf buf;
	int res;

	if (send(kernel, message, size, 0) != (ssize_t)size)
		exit(4);
	res = F(fuse_session_receive_buf)(session, &buf);
	if (res > 0)
		F(fuse_session_process_buf)(session, &buf);
	if (res != (int)size)
		printf("received %d of %u\n", res, size);
}

/* What the library has sent by now, as a line each; `mask` is shown each before,
 * and hides what is the library's own business. */
static void mock_answers(void (*mask)(unsigned long unique, int error,
				      unsigned char *body, size_t size))
{
	static unsigned char buf[MESSAGE];
	ssize_t size;

	while ((size = recv(kernel, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		int error;
		unsigned long unique;

		memcpy(&error, buf + 4, 4);
		memcpy(&unique, buf + 8, 8);
		mask(unique, error, buf + 16, size - 16);
		printf("answer unique=%lu error=%d body=", unique, error);
		for (ssize_t i = 16; i < size; i++)
			printf("%02x", buf[i]);
		printf("\n");
	}
}

#endif
