/*
 * The one file that knows ELF symbol versions.
 *
 * A name of the C API whose meaning changed between releases exists in several
 * versions (fuse_loop_mt@FUSE_3.0, @FUSE_3.2, @@FUSE_3.12). The library's Rust
 * side has one function per meaning, under a name with a suffix; here each
 * version becomes a small function that calls the right one. The version
 * scripts (libfuse3_so*.map) give every other name its node.
 *
 * Compiled once per library with RINGFUSE_SONAME = 3 or 4 for the shared ones,
 * and 0 for the archive, which has default versions only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuse_log.h"

#ifndef RINGFUSE_SONAME
#error "RINGFUSE_SONAME must be 3, 4 or 0 (archive)"
#endif

struct cuse_info;
struct cuse_lowlevel_ops;
struct fuse;
struct fuse_args;
struct fuse_cmdline_opts;
struct fuse_conn_info;
struct fuse_custom_io;
struct fuse_loop_config;
struct fuse_operations;
struct fuse_req;
struct fuse_session;
struct libfuse_version;

/*
 * DEFAULT: the function `name` calls `target` with the same arguments.
 * OLD: `name`@`node` does; `local` is the function behind it, hidden by the
 * version script. gcc wants an attribute on it, clang has only the directive.
 */
#define DECLARE(result, function, target, parameters) \
	result target parameters;                     \
	result function parameters;

#define DEFAULT(result, name, target, parameters, arguments) \
	DECLARE(result, name, target, parameters)            \
	result name parameters                               \
	{                                                    \
		return target arguments;                     \
	}

#ifdef __clang__
#define VERSION(local, versioned) __asm__(".symver " #local "," versioned);
#else
#define VERSION(local, versioned) __attribute__((symver(versioned)))
#endif

#if RINGFUSE_SONAME
#define OLD(result, name, node, local, target, parameters, arguments) \
	DECLARE(result, local, target, parameters)                    \
	VERSION(local, #name "@" node)                                \
	result local parameters                                       \
	{                                                             \
		return target arguments;                              \
	}
#else
#define OLD(result, name, node, local, target, parameters, arguments)
#endif

/* Threads: a descriptor flag up to 3.1, eight bytes up to 3.11, opaque since. */
OLD(int, fuse_session_loop_mt, "FUSE_3.0", session_loop_mt_at_30, fuse_session_loop_mt_31,
    (struct fuse_session * se, int clone_fd), (se, clone_fd))
OLD(int, fuse_session_loop_mt, "FUSE_3.2", session_loop_mt_at_32, fuse_session_loop_mt_32,
    (struct fuse_session * se, struct fuse_loop_config *config), (se, config))
DEFAULT(int, fuse_session_loop_mt, fuse_session_loop_mt_312,
        (struct fuse_session * se, struct fuse_loop_config *config), (se, config))

OLD(int, fuse_loop_mt, "FUSE_3.0", loop_mt_at_30, fuse_loop_mt_31,
    (struct fuse * f, int clone_fd), (f, clone_fd))
OLD(int, fuse_loop_mt, "FUSE_3.2", loop_mt_at_32, fuse_loop_mt_32,
    (struct fuse * f, struct fuse_loop_config *config), (f, config))
DEFAULT(int, fuse_loop_mt, fuse_loop_mt_312,
        (struct fuse * f, struct fuse_loop_config *config), (f, config))

/* The command line's result: 40 bytes up to 3.11, 48 since. */
OLD(int, fuse_parse_cmdline, "FUSE_3.0", parse_cmdline_at_30, fuse_parse_cmdline_30,
    (struct fuse_args * args, struct fuse_cmdline_opts *opts), (args, opts))
DEFAULT(int, fuse_parse_cmdline, fuse_parse_cmdline_312,
        (struct fuse_args * args, struct fuse_cmdline_opts *opts), (args, opts))

/* A path-based filesystem: 3.0 handled --help itself; headers since 3.17 use _fuse_new_31. */
#define FUSE_NEW_PARAMETERS \
	(struct fuse_args * args, const struct fuse_operations *op, size_t op_size, void *user_data)
OLD(struct fuse *, fuse_new, "FUSE_3.0", new_at_30, fuse_new_30,
    FUSE_NEW_PARAMETERS, (args, op, op_size, user_data))
#if RINGFUSE_SONAME == 3
DEFAULT(struct fuse *, fuse_new, fuse_new_31,
        FUSE_NEW_PARAMETERS, (args, op, op_size, user_data))
#else
OLD(struct fuse *, fuse_new, "FUSE_3.1", new_at_31, fuse_new_31,
    FUSE_NEW_PARAMETERS, (args, op, op_size, user_data))
#endif

/* A transport of the program's own: 3.17 added the size of the table. */
#if RINGFUSE_SONAME == 3
DEFAULT(int, fuse_session_custom_io, fuse_session_custom_io_30,
        (struct fuse_session * se, const struct fuse_custom_io *io, int fd), (se, io, fd))
#else
OLD(int, fuse_session_custom_io, "FUSE_3.0", session_custom_io_at_30, fuse_session_custom_io_30,
    (struct fuse_session * se, const struct fuse_custom_io *io, int fd), (se, io, fd))
DEFAULT(int, fuse_session_custom_io, fuse_session_custom_io_317,
        (struct fuse_session * se, const struct fuse_custom_io *io, size_t op_size, int fd),
        (se, io, op_size, fd))
#endif

#if RINGFUSE_SONAME == 4 && RINGFUSE_FUSE_3_19
/*
 * The additions of 3.19 in the node that they have in a build without the option
 * fuse319, for programs that were linked to such a library.
 */
typedef void (*timeout_fn)(void *data);
#define ADDED_IN_319(result, name, parameters, arguments) \
	OLD(result, name, "RINGFUSE_0.1", name##_at_ringfuse, name, parameters, arguments)

ADDED_IN_319(int, cuse_lowlevel_main_319,
	     (int argc, char *argv[], const struct cuse_info *ci,
	      const struct cuse_lowlevel_ops *clop, size_t size,
	      const struct libfuse_version *version, void *userdata),
	     (argc, argv, ci, clop, size, version, userdata))
ADDED_IN_319(struct fuse_session *, cuse_lowlevel_new_319,
	     (struct fuse_args * args, const struct cuse_info *ci,
	      const struct cuse_lowlevel_ops *clop, size_t size,
	      const struct libfuse_version *version, void *userdata),
	     (args, ci, clop, size, version, userdata))
ADDED_IN_319(struct fuse_session *, cuse_lowlevel_setup_319,
	     (int argc, char *argv[], const struct cuse_info *ci,
	      const struct cuse_lowlevel_ops *clop, size_t size,
	      const struct libfuse_version *version, int *multithreaded, void *userdata),
	     (argc, argv, ci, clop, size, version, multithreaded, userdata))
ADDED_IN_319(void, fuse_daemonize_early_fail, (int err), (err))
ADDED_IN_319(bool, fuse_daemonize_early_is_active, (void), ())
ADDED_IN_319(int, fuse_daemonize_early_start, (unsigned int flags), (flags))
ADDED_IN_319(void, fuse_daemonize_early_success, (void), ())
ADDED_IN_319(int, fuse_lowlevel_notify_prune,
	     (struct fuse_session * se, uint64_t *nodeids, uint32_t count), (se, nodeids, count))
ADDED_IN_319(uint32_t, fuse_req_secctx_count, (struct fuse_req * req), (req))
ADDED_IN_319(int, fuse_req_secctx_next,
	     (struct fuse_req * req, const char **name, const char **ctx, uint32_t *size),
	     (req, name, ctx, size))
ADDED_IN_319(void, fuse_req_secctx_reset, (struct fuse_req * req), (req))
ADDED_IN_319(void, fuse_session_set_debug, (struct fuse_session * se), (se))
ADDED_IN_319(void, fuse_session_set_sync_init, (struct fuse_session * se, bool enable),
	     (se, enable))
ADDED_IN_319(void *, fuse_session_start_teardown_watchdog,
	     (struct fuse_session * se, int timeout, timeout_fn cb, void *data),
	     (se, timeout, cb, data))
ADDED_IN_319(void, fuse_session_stop_teardown_watchdog, (void *data), (data))
ADDED_IN_319(bool, fuse_set_conn_flag, (struct fuse_conn_info * conn, uint64_t flag), (conn, flag))
#endif

#if RINGFUSE_SONAME == 3
/*
 * libfuse3.so.3 was shipped with two layouts of struct fuse_file_info and
 * struct fuse_config, and nothing in a program tells which one it has. The
 * older is the default: every long-lived distribution shipped that one.
 */
enum { LAYOUT_314 = 1, LAYOUT_316 = 2 };
void ringfuse_set_layout(int layout);

/*
 * In the system's place, its own libfuse3.so.3 is kept beside ours, as a link to
 * the file of a release (scripts/in-place.sh, packaging/ringfuse-libfuse3): what
 * the system's programs are compiled for.
 */
static bool replaces_newer(void)
{
	static const char file[] = "libfuse3.so.";
	const char *directory_end, *name;
	char path[PATH_MAX];
	bool newer;
	char *stock;
	Dl_info self;

	if (!dladdr((void *)replaces_newer, &self) || !self.dli_fname)
		return false;
	directory_end = strrchr(self.dli_fname, '/');
	if (!directory_end ||
	    snprintf(path, sizeof(path), "%.*s/ringfuse-stock.libfuse3.so.3",
		     (int)(directory_end - self.dli_fname), self.dli_fname) >= PATH_MAX)
		return false;
	stock = realpath(path, NULL);
	if (!stock)
		return false;
	name = strrchr(stock, '/') + 1;
	/* No sscanf, which new headers call by a name that older systems have not. */
	newer = strncmp(name, file, sizeof(file) - 1) == 0;
	name += newer ? sizeof(file) - 1 : 0;
	newer = newer && (strncmp(name, "3.15.", 5) == 0 || strncmp(name, "3.16.", 5) == 0 ||
			  (strncmp(name, "3.14.", 5) == 0 && strcmp(name, "3.14.0") != 0));
	free(stock);
	return newer;
}

__attribute__((constructor)) static void choose_layout(void)
{
	const char *wanted = secure_getenv("RINGFUSE_SO3_LAYOUT");
	bool newer;

	if (wanted && strcmp(wanted, "3.16") == 0) {
		newer = true;
	} else if (wanted && strcmp(wanted, "3.14") == 0) {
		newer = false;
	} else {
		newer = replaces_newer();
		if (wanted)
			fuse_log(FUSE_LOG_ERR, "ringfuse: RINGFUSE_SO3_LAYOUT=%s: unknown, using %s "
					       "(possible are 3.14 and 3.16)\n",
				 wanted, newer ? "3.16" : "3.14");
	}
	ringfuse_set_layout(newer ? LAYOUT_316 : LAYOUT_314);
}
#endif
