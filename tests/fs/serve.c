#define _GNU_SOURCE
#include "serve.h"
#include "filter.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>

struct serve_options serve_options;
_Atomic(struct fuse_session *) serve_session; /* the command thread looks */
static pthread_mutex_t command_runs = PTHREAD_MUTEX_INITIALIZER;

static int trace_fd = -1;
static command_fn command_table;

static const struct fuse_opt serve_opts[] = {
	{ "trace=%s", offsetof(struct serve_options, trace), 1 },
	{ "hide", offsetof(struct serve_options, hide), 1 },
	FUSE_OPT_END,
};

void say(const char *format, ...)
{
	char line[512];
	va_list ap;
	int length;

	va_start(ap, format);
	length = vsnprintf(line, sizeof(line) - 1, format, ap);
	va_end(ap);
	if (length > (int)sizeof(line) - 2)
		length = sizeof(line) - 2;
	line[length++] = '\n';
	if (write(STDOUT_FILENO, line, length) != length)
		_exit(3);
}

void trace(fuse_req_t req, const char *op, const char *format, ...)
{
	char line[4096];
	size_t used;
	va_list ap;

	if (trace_fd < 0)
		return;
	used = snprintf(line, sizeof(line), "%s ", op);
	va_start(ap, format);
	used += vsnprintf(line + used, sizeof(line) - used, format, ap);
	va_end(ap);
	if (req && used < sizeof(line)) {
		const struct fuse_ctx *ctx = fuse_req_ctx(req);

		used += snprintf(line + used, sizeof(line) - used,
				 " uid=%u gid=%u pid=%d umask=%o",
				 ctx->uid, ctx->gid, ctx->pid, ctx->umask);
	}
	if (used > sizeof(line) - 1)
		used = sizeof(line) - 1;
	line[used++] = '\n';
	if (write(trace_fd, line, used) != (ssize_t)used)
		abort();
}

void serve_init(struct fuse_conn_info *conn)
{
	fuse_apply_conn_info_opts(serve_options.conn, conn);
}

void serve_parse(int argc, char **argv, const struct fuse_opt *own, void *data)
{
	struct serve_options *opts = &serve_options;

	opts->args = (struct fuse_args)FUSE_ARGS_INIT(argc, argv);
	if (fuse_parse_cmdline(&opts->args, &opts->cmdline) != 0 ||
	    fuse_opt_parse(&opts->args, opts, serve_opts, NULL) != 0 ||
	    (own && fuse_opt_parse(&opts->args, data, own, NULL) != 0))
		exit(2);
	opts->conn = fuse_parse_conn_info_opts(&opts->args);
	if (!opts->conn || !opts->cmdline.mountpoint) {
		fprintf(stderr, "usage: %s MOUNTPOINT [options]\n", argv[0]);
		exit(2);
	}
	if (opts->trace) {
		trace_fd = open(opts->trace,
				O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
		if (trace_fd < 0) {
			perror(opts->trace);
			exit(2);
		}
	}
}

static void run_command(char *line)
{
	char *argv[COMMAND_WORDS + 1] = { NULL };
	int argc = 0;
	long answer;

	for (char *word = strtok(line, " "); word && argc < COMMAND_WORDS;
	     word = strtok(NULL, " "))
		argv[argc++] = word;
	if (argc == 0)
		return;
	if (strcmp(argv[0], "ping") == 0) {
		answer = 0;
	} else if (strcmp(argv[0], "exit") == 0) {
		answer = serve_session ? 0 : -ENOTCONN;
		if (serve_session)
			fuse_session_exit(serve_session);
	} else if (strcmp(argv[0], "forbid") == 0 && argc == 3) {
		answer = filter_call(filter_number(argv[1]), atoi(argv[2]));
	} else if (strcmp(argv[0], "become") == 0 && argc == 2) {
		uid_t id = atoi(argv[1]);

		answer = setgid(id) != 0 || setuid(id) != 0 ? -errno : 0;
	} else if (command_table) {
		answer = command_table(serve_session, argc, argv);
	} else {
		answer = -ENOSYS;
	}
	say("= %ld", answer);
}

/* Reads with read(2): a thread that waits inside stdio would hold the lock
 * that exit() wants. */
static void *command_loop(void *unused)
{
	char line[PIPE_BUF];
	size_t length = 0;
	ssize_t got;

	(void)unused;
	while ((got = read(STDIN_FILENO, line + length, 1)) != 0) {
		if (got < 0) {
			if (errno == EINTR)
				continue;
			break;
		}
		if (line[length] != '\n') {
			if (length < sizeof(line) - 2)
				length++;
			continue;
		}
		line[length] = '\0';
		length = 0;
		pthread_mutex_lock(&command_runs);
		run_command(line);
		pthread_mutex_unlock(&command_runs);
	}
	umount2(serve_options.cmdline.mountpoint, MNT_DETACH);
	_exit(4);
}

void serve_commands(command_fn commands)
{
	pthread_t thread;
	sigset_t all, before;

	command_table = commands;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	if (pthread_create(&thread, NULL, command_loop, NULL) != 0)
		exit(3);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_detach(thread);
}

void serve_release(void)
{
	struct timespec until;

	serve_session = NULL;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 10;
	/* A notification may wait for a request that nobody answers any more:
	 * then only the unmount, which comes next, ends it. */
	if (pthread_mutex_timedlock(&command_runs, &until) == 0)
		pthread_mutex_unlock(&command_runs);
}

__attribute__((weak)) int serve_attach(struct fuse_session *se)
{
	return fuse_session_mount(se, serve_options.cmdline.mountpoint);
}

__attribute__((weak)) int serve_loop(struct fuse_session *se)
{
	const struct fuse_cmdline_opts *cmdline = &serve_options.cmdline;
	struct fuse_loop_config *config;
	int res;

	if (cmdline->singlethread)
		return fuse_session_loop(se);
	config = fuse_loop_cfg_create();
	fuse_loop_cfg_set_clone_fd(config, cmdline->clone_fd);
	fuse_loop_cfg_set_max_threads(config, cmdline->max_threads);
	if (cmdline->max_idle_threads != UINT_MAX)
		fuse_loop_cfg_set_idle_threads(config, cmdline->max_idle_threads);
	res = fuse_session_loop_mt(se, config);
	fuse_loop_cfg_destroy(config);
	return res;
}

/* From now on this process has mounts of its own, and no filesystem of FUSE is among
 * them: neither its own, nor those of other tests, which would not end before it. */
static int hide(void)
{
	char line[PATH_MAX + 256], path[PATH_MAX];
	FILE *mounts;

	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return -1;
	mounts = fopen("/proc/self/mountinfo", "re");
	if (!mounts)
		return -1;
	while (fgets(line, sizeof(line), mounts))
		if (strstr(line, " - fuse") && !strstr(line, " - fusectl") &&
		    sscanf(line, "%*s %*s %*s %*s %4095s", path) == 1)
			umount2(path, MNT_DETACH);
	fclose(mounts);
	return 0;
}

int serve(const struct fuse_lowlevel_ops *ops, size_t op_size,
	  command_fn commands)
{
	struct serve_options *opts = &serve_options;
	struct fuse_session *se;
	int status = 1;

	se = fuse_session_new(&opts->args, ops, op_size, opts);
	if (!se)
		goto out_args;
	if (fuse_set_signal_handlers(se) != 0)
		goto out_destroy;
	if (serve_attach(se) != 0)
		goto out_signals;
	if (opts->hide && hide() != 0) {
		perror("hide");
		goto out_unmount;
	}
	if (fuse_daemonize(opts->cmdline.foreground) != 0)
		goto out_unmount;
	serve_session = se;
	say("mounted");
	if (opts->cmdline.foreground)
		serve_commands(commands);
	say("loop %d", serve_loop(se));
	status = 0;
out_unmount:
	serve_release();
	fuse_session_unmount(se);
out_signals:
	fuse_remove_signal_handlers(se);
out_destroy:
	fuse_session_destroy(se);
out_args:
	free(opts->conn);
	fuse_opt_free_args(&opts->args);
	return status;
}
