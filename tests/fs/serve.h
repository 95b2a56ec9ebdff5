/*
 * The frame of the test filesystems: options, session, loop, and a control
 * channel beside the mount.
 *
 * A test starts a filesystem in the foreground with pipes on its standard
 * input and output. The filesystem writes one line "mounted" once it is
 * mounted, answers every command line with exactly one line "= ANSWER", and
 * ends with "loop N", N being what the session loop returned. Commands are
 * served by a thread of their own and never touch the mount. When the input
 * ends (the test is gone), the filesystem detaches its mount and exits, so
 * that no mount outlives a test.
 *
 * FILESYSTEM MOUNTPOINT [options of fuse_parse_cmdline]
 *     -o trace=FILE   append one line per operation to FILE
 *     -o max_write=N, readdirplus=..., writeback_cache ...
 *                     the options of fuse_parse_conn_info_opts()
 */
#ifndef SERVE_H
#define SERVE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 312
#endif

#include <fuse_lowlevel.h>
#include <inttypes.h>
#include <unistd.h>

#define COMMAND_WORDS 8

/* Serves one command, argv[0] being its name; returns the number to answer. */
typedef long (*command_fn)(struct fuse_session *se, int argc, char **argv);

/* To be called by the filesystem's init(): applies the connection options. */
void serve_init(struct fuse_conn_info *conn);

/* Options common to every filesystem, valid after serve_options(). */
struct serve_options {
	struct fuse_cmdline_opts cmdline;
	struct fuse_args args;
	struct fuse_conn_info_opts *conn;
	char *trace;
	int hide; /* from this process's own mount namespace, once mounted */
};

extern struct serve_options serve_options;

/* Parses the command line, keeping what `own` (may be NULL) describes in
 * `data`; exits on an error. What is left in serve_options.args is for
 * fuse_session_new(). */
void serve_parse(int argc, char **argv, const struct fuse_opt *own, void *data);

/* The session that commands are about; NULL while there is none. */
extern _Atomic(struct fuse_session *) serve_session;

/* Starts the thread that serves commands. `commands` may be NULL; always there are
 * "exit" (fuse_session_exit), "ping", "forbid CALL ERRNO" (see filter.h; in all
 * threads), and "become ID", user and group of the whole process. */
void serve_commands(command_fn commands);

/* The session is about to be torn down: waits for the command that runs; later
 * ones find no session. */
void serve_release(void);

/* Connects the session: mounts it, unless the program has a function of this
 * name that does something else. 0 or -1. */
int serve_attach(struct fuse_session *se);

/* Runs the loop the command line asks for and returns its value; or what the
 * program has under this name. */
int serve_loop(struct fuse_session *se);

/* Everything from the session to the end; the exit status is 0 unless the
 * session could not be set up. Call after serve_parse(). Without -f there is
 * no control channel: the filesystem becomes a daemon. */
int serve(const struct fuse_lowlevel_ops *ops, size_t op_size,
	  command_fn commands);

/* Appends a line to the trace file in one write; without a trace does
 * nothing. The context of `req` (may be NULL) is added to it. */
void trace(fuse_req_t req, const char *op, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* A line on standard output. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
