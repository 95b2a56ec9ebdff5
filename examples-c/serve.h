/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * serve.h: the command line and the life of a session, for the examples that
 * have something else to show. hello_ll.c spells the same steps out.
 *
 * Include it once per program, after defining FUSE_USE_VERSION.
 */
#ifndef EXAMPLES_SERVE_H
#define EXAMPLES_SERVE_H

#include <fuse_lowlevel.h>

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

struct server {
	const struct fuse_lowlevel_ops *ops;
	const char *help;                 /* the program's own options, one per line */
	const struct fuse_opt *options;   /* how to read them, into `settings`; or NULL */
	void *settings;
	const char *mount_options;        /* always mount with these; or NULL */
	/* Called before the mount, while relative paths still mean what the user
	 * meant. Says on stderr why it failed if it returns non-zero. May be NULL. */
	int (*prepare)(const char *mountpoint);
	/* Called once the loop has ended: threads that answer or notify end here,
	 * because after this the session's device is closed. May be NULL. */
	void (*stop)(void);
};

/* The one session of the program: set before the mount, until serve() returns. */
static struct fuse_session *serve_session;

/* Options like max_write=N or readdirplus=no, for serve_apply(). */
static struct fuse_conn_info_opts *serve_conn_opts;

/* To be called in a filesystem's init(). */
static inline void serve_apply(struct fuse_conn_info *conn)
{
	fuse_apply_conn_info_opts(serve_conn_opts, conn);
}

/* Asks for a capability in init(); false if the kernel does not have it. */
static inline bool serve_want(struct fuse_conn_info *conn, unsigned int capability)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	return fuse_set_feature_flag(conn, capability);
#else
	if (!(conn->capable & capability))
		return false;
	conn->want |= capability;
	return true;
#endif
}

static inline void serve_unwant(struct fuse_conn_info *conn, unsigned int capability)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	fuse_unset_feature_flag(conn, capability);
#else
	conn->want &= ~capability;
#endif
}

static inline bool serve_wants(struct fuse_conn_info *conn, unsigned int capability)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	return fuse_get_feature_flag(conn, capability);
#else
	return (conn->want & capability) != 0;
#endif
}

static inline int serve_loop(const struct fuse_cmdline_opts *opts)
{
	struct fuse_loop_config *config;
	int result;

	if (opts->singlethread)
		return fuse_session_loop(serve_session);
	config = fuse_loop_cfg_create();
	if (config == NULL)
		return -1;
	fuse_loop_cfg_set_clone_fd(config, opts->clone_fd);
	fuse_loop_cfg_set_max_threads(config, opts->max_threads);
	if (opts->max_idle_threads != UINT_MAX)
		fuse_loop_cfg_set_idle_threads(config, opts->max_idle_threads);
	result = fuse_session_loop_mt(serve_session, config);
	fuse_loop_cfg_destroy(config);
	return result;
}

static inline int serve_mounted(const struct server *server, const struct fuse_cmdline_opts *opts)
{
	int result = -1;

	if (fuse_set_signal_handlers(serve_session) != 0)
		return -1;
	if (fuse_session_mount(serve_session, opts->mountpoint) == 0) {
		if (fuse_daemonize(opts->foreground) == 0)
			result = serve_loop(opts);
		if (server->stop)
			server->stop();
		fuse_session_unmount(serve_session);
	}
	fuse_remove_signal_handlers(serve_session);
	return result;
}

/* Serves until the mount is gone or a signal ends it; returns main()'s status. */
static inline int serve(int argc, char **argv, const struct server *server)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct fuse_cmdline_opts opts = { .mountpoint = NULL };
	int status = EXIT_FAILURE;

	if (fuse_parse_cmdline(&args, &opts) != 0)
		goto out;
	if (opts.show_help) {
		printf("usage: %s [options] MOUNTPOINT\n\n%s\n", argv[0], server->help);
		fuse_cmdline_help();
		fuse_lowlevel_help();
		status = EXIT_SUCCESS;
		goto out;
	}
	if (opts.show_version) {
		printf("FUSE library version %s\n", fuse_pkgversion());
		fuse_lowlevel_version();
		status = EXIT_SUCCESS;
		goto out;
	}
	if (opts.mountpoint == NULL) {
		fprintf(stderr, "usage: %s [options] MOUNTPOINT (see %s --help)\n", argv[0], argv[0]);
		goto out;
	}
	serve_conn_opts = fuse_parse_conn_info_opts(&args);
	if (serve_conn_opts == NULL)
		goto out;
	if (server->options && fuse_opt_parse(&args, server->settings, server->options, NULL) != 0)
		goto out;
	if (server->prepare && server->prepare(opts.mountpoint) != 0)
		goto out;
	if (server->mount_options && (fuse_opt_add_arg(&args, "-o") != 0 ||
				      fuse_opt_add_arg(&args, server->mount_options) != 0))
		goto out;
	serve_session = fuse_session_new(&args, server->ops, sizeof(*server->ops), NULL);
	if (serve_session == NULL)
		goto out;
	if (serve_mounted(server, &opts) >= 0)
		status = EXIT_SUCCESS;
	fuse_session_destroy(serve_session);
	serve_session = NULL;
out:
	free(serve_conn_opts);
	free(opts.mountpoint);
	fuse_opt_free_args(&args);
	return status;
}

#endif
