/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * hello_ll: a mount with a single read-only file in it.
 *
 *     hello_ll [options] MOUNTPOINT
 *     cat MOUNTPOINT/hello
 *
 * The smallest useful filesystem of the low-level API, and the whole life of
 * a session in main(). The tree never changes, so the kernel may cache every
 * answer for ever, and no handler needs a lock.
 */
#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define HELLO_INO 2
#define FOR_EVER 1e9

static const char hello_name[] = "hello";
static const char hello_text[] = "Hello, world!\n";
#define HELLO_SIZE (sizeof(hello_text) - 1)

/* Fills in what is known about `ino`; 0 or ENOENT. */
static int describe(fuse_ino_t ino, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	switch (ino) {
	case FUSE_ROOT_ID:
		st->st_mode = S_IFDIR | 0555;
		st->st_nlink = 2;
		return 0;
	case HELLO_INO:
		st->st_mode = S_IFREG | 0444;
		st->st_nlink = 1;
		st->st_size = HELLO_SIZE;
		return 0;
	}
	return ENOENT;
}

static void hello_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	/* A node number of 0 tells the kernel to remember that the name does not exist. */
	struct fuse_entry_param entry = { .attr_timeout = FOR_EVER, .entry_timeout = FOR_EVER };

	if (parent == FUSE_ROOT_ID && strcmp(name, hello_name) == 0) {
		entry.ino = HELLO_INO;
		describe(HELLO_INO, &entry.attr);
	}
	fuse_reply_entry(req, &entry);
}

static void hello_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;
	int error = describe(ino, &st);

	(void)fi;
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_attr(req, &st, FOR_EVER);
}

static void hello_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			  struct fuse_file_info *fi)
{
	static const struct {
		const char *name;
		fuse_ino_t ino;
	} list[] = { { ".", FUSE_ROOT_ID }, { "..", FUSE_ROOT_ID }, { hello_name, HELLO_INO } };
	const size_t count = sizeof(list) / sizeof(list[0]);
	char buf[256];
	size_t used = 0;

	(void)fi;
	if (ino != FUSE_ROOT_ID) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	if (size > sizeof(buf))
		size = sizeof(buf);
	/* An entry's offset is where the listing goes on after it. */
	for (size_t i = off; i < count; i++) {
		struct stat st;
		size_t need;

		describe(list[i].ino, &st);
		need = fuse_add_direntry(req, buf + used, size - used, list[i].name, &st, i + 1);
		if (need > size - used)
			break;
		used += need;
	}
	fuse_reply_buf(req, buf, used);
}

static void hello_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (ino != HELLO_INO) {
		fuse_reply_err(req, EISDIR);
	} else if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EACCES);
	} else {
		fi->keep_cache = 1;
		fuse_reply_open(req, fi);
	}
}

static void hello_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	if ((size_t)off >= HELLO_SIZE) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	if (size > HELLO_SIZE - off)
		size = HELLO_SIZE - off;
	fuse_reply_buf(req, hello_text + off, size);
}

static const struct fuse_lowlevel_ops hello_ops = {
	.lookup = hello_lookup,
	.getattr = hello_getattr,
	.readdir = hello_readdir,
	.open = hello_open,
	.read = hello_read,
};

static int loop(struct fuse_session *session, const struct fuse_cmdline_opts *opts)
{
	struct fuse_loop_config *config;
	int result;

	if (opts->singlethread)
		return fuse_session_loop(session);
	config = fuse_loop_cfg_create();
	if (config == NULL)
		return -1;
	fuse_loop_cfg_set_clone_fd(config, opts->clone_fd);
	fuse_loop_cfg_set_max_threads(config, opts->max_threads);
	if (opts->max_idle_threads != UINT_MAX)
		fuse_loop_cfg_set_idle_threads(config, opts->max_idle_threads);
	result = fuse_session_loop_mt(session, config);
	fuse_loop_cfg_destroy(config);
	return result;
}

/* Mounts, serves until the mount is gone or a signal ends it, cleans up. */
static int run(struct fuse_session *session, const struct fuse_cmdline_opts *opts)
{
	int result = -1;

	/* From here on SIGINT, SIGTERM and SIGHUP end the loop. */
	if (fuse_set_signal_handlers(session) != 0)
		return -1;
	if (fuse_session_mount(session, opts->mountpoint) == 0) {
		/* Threads would not survive this fork: start them afterwards. */
		if (fuse_daemonize(opts->foreground) == 0)
			result = loop(session, opts);
		fuse_session_unmount(session);
	}
	fuse_remove_signal_handlers(session);
	/* A positive result is the signal that ended the loop. */
	return result < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct fuse_cmdline_opts opts;
	struct fuse_session *session;
	int status = EXIT_FAILURE;

	if (fuse_parse_cmdline(&args, &opts) != 0)
		return EXIT_FAILURE;
	if (opts.show_help) {
		printf("usage: %s [options] MOUNTPOINT\n\n", argv[0]);
		fuse_cmdline_help();
		fuse_lowlevel_help();
		status = EXIT_SUCCESS;
	} else if (opts.show_version) {
		printf("FUSE library version %s\n", fuse_pkgversion());
		fuse_lowlevel_version();
		status = EXIT_SUCCESS;
	} else if (opts.mountpoint == NULL) {
		fprintf(stderr, "usage: %s [options] MOUNTPOINT (see %s --help)\n", argv[0], argv[0]);
	} else {
		session = fuse_session_new(&args, &hello_ops, sizeof(hello_ops), NULL);
		if (session != NULL) {
			if (run(session, &opts) == 0)
				status = EXIT_SUCCESS;
			fuse_session_destroy(session);
		}
	}
	free(opts.mountpoint);
	fuse_opt_free_args(&args);
	return status;
}
