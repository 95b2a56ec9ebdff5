/*
 * Defects on purpose, one per argument: scripts/sanitize.sh runs them before the
 * tests, because a checker that reports nothing may also be one that sees nothing.
 *
 *   heap   the library's Rust half reads behind an allocation of this program
 *   race   a thread writes what the Rust half reads in another thread
 *   leak   an allocation that the library made is lost
 *   overflow   a signed number overflows
 *   none   no defect: no report must come
 */
#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fuse_bufvec *shared;
static pthread_barrier_t both;
static volatile size_t sink;

static void *reader(void *unused)
{
	(void)unused;
	pthread_barrier_wait(&both);
	for (int i = 0; i < 1000; i++)
		sink = fuse_buf_size(shared);
	return NULL;
}

static void race(void)
{
	pthread_t thread;

	pthread_barrier_init(&both, NULL, 2);
	pthread_create(&thread, NULL, reader, NULL);
	pthread_barrier_wait(&both);
	for (int i = 0; i < 1000; i++)
		shared->buf[0].size = i;
	pthread_join(thread, NULL);
}

static __attribute__((noinline)) void leak(void)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);

	fuse_opt_add_arg(&args, "lost");
	memset(&args, 0, sizeof(args));
}

int main(int argc, char **argv)
{
	const char *defect = argc == 2 ? argv[1] : "";
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	int number = INT_MAX - 1 + argc / 2;

	shared = calloc(1, sizeof(*shared));
	shared->count = 1;
	if (strcmp(defect, "heap") == 0) {
		shared->count = 3;
		sink = fuse_buf_size(shared);
	} else if (strcmp(defect, "race") == 0) {
		race();
	} else if (strcmp(defect, "leak") == 0) {
		leak();
	} else if (strcmp(defect, "overflow") == 0) {
		number += argc;
		printf("%d\n", number);
	} else if (strcmp(defect, "none") == 0) {
		fuse_opt_add_arg(&args, "found");
		sink = fuse_buf_size(shared);
	} else {
		fprintf(stderr, "usage: %s heap|race|leak|overflow|none\n", argv[0]);
		return 2;
	}
	fuse_opt_free_args(&args);
	free(shared);
	return 0;
}
