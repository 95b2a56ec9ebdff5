/*
 * log_ll: where messages go, the program's own and the library's. Without a
 * mount.
 *     log_ll function   to a function of the program, then to standard error
 *     log_ll syslog     to the system's log, then to standard error
 *     log_ll closed     without descriptors 0 to 2: the status is 0 if mounting
 *                       (on what does not exist) has opened them
 */
#define FUSE_USE_VERSION 317
#include <fuse_lowlevel.h>

#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

static const struct fuse_lowlevel_ops ops;

static void to_stdout(enum fuse_log_level level, const char *format, va_list ap)
{
	printf("level %d: ", level);
	vprintf(format, ap);
}

/* The library has something to say about an option that nobody knows. */
static int messages(const char *when)
{
	char *argv[] = { "log_ll", "-onobody_knows_this", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);

	fuse_log(FUSE_LOG_WARNING, "%s: message %d\n", when, 1);
	return fuse_session_new(&args, &ops, sizeof(ops), NULL) != NULL;
}

/* Or the device would become one of them, and a message be sent to it. */
static int standard_descriptors(void)
{
	char *argv[] = { "log_ll", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct fuse_session *se = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	char link[32], target[32];
	int missing = !se;

	for (int fd = 0; fd <= 2; fd++)
		close(fd);
	if (se && fuse_session_mount(se, "/nonexistent/mountpoint") != -1)
		missing = 1;
	for (int fd = 0; fd <= 2; fd++) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		memset(target, 0, sizeof(target));
		if (readlink(link, target, sizeof(target) - 1) < 0 ||
		    strcmp(target, "/dev/null") != 0)
			missing = 1;
	}
	if (se)
		fuse_session_destroy(se);
	fuse_opt_free_args(&args);
	return missing;
}

int main(int argc, char **argv)
{
	int syslog = argc > 1 && strcmp(argv[1], "syslog") == 0;

	if (argc > 1 && strcmp(argv[1], "closed") == 0)
		return standard_descriptors();

	if (syslog)
		fuse_log_enable_syslog("log_ll", LOG_NDELAY, LOG_USER);
	else
		fuse_set_log_func(to_stdout);
	if (messages("first"))
		return 1;
	if (syslog)
		fuse_log_close_syslog();
	else
		fuse_set_log_func(NULL);
	return messages("then");
}
