/*
 * shown_ll: engine_ll (see there for its files and commands), which does to its
 * process what makes it hard to look at, as the environment variable SHOWN says:
 *     closed   closes all descriptors that it does not know of, before its loop
 *     two      has a second session, mounted at SHOWN_SECOND, over /dev/fuse
 *     late     begins its loop when somebody opens the FIFO SHOWN_FIFO for writing
 *     stays    stays after its loop until then
 */
#include "serve.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void *second_loop(void *se)
{
	fuse_session_loop(se);
	return NULL;
}

static struct fuse_session *second_session(pthread_t *thread)
{
	static char *argv[] = { "second", "-o", "no_io_uring", NULL };
	static const struct fuse_lowlevel_ops nothing;
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	struct fuse_session *se = fuse_session_new(&args, &nothing, sizeof(nothing), NULL);

	fuse_opt_free_args(&args);
	if (!se || fuse_session_mount(se, getenv("SHOWN_SECOND")) != 0 ||
	    pthread_create(thread, NULL, second_loop, se) != 0)
		exit(4);
	return se;
}

static void wait_for_writer(void)
{
	close(open(getenv("SHOWN_FIFO"), O_RDONLY | O_CLOEXEC));
}

int serve_loop(struct fuse_session *se)
{
	const char *mode = getenv("SHOWN");
	struct fuse_session *second = NULL;
	pthread_t thread;
	int result;

	if (strcmp(mode, "closed") == 0) {
		/* The descriptors that the program itself has are few. */
		if (close_range(64, ~0U, 0) != 0)
			exit(4);
	} else if (strcmp(mode, "two") == 0) {
		second = second_session(&thread);
	} else if (strcmp(mode, "late") == 0) {
		wait_for_writer();
	}
	result = fuse_session_loop_mt(se, NULL);
	if (strcmp(mode, "stays") == 0)
		wait_for_writer();
	if (second) {
		fuse_session_unmount(second);
		pthread_join(thread, NULL);
		fuse_session_destroy(second);
	}
	return result;
}
