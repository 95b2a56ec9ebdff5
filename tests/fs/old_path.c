/*
 * A filesystem of fuse.h as an old binary: no header and no library of ours,
 * every function found with dlvsym, tables and structures as they were then.
 *
 * old_path MOUNTPOINT ... ; the environment says the rest:
 *     OLD_LIBRARY   the library to open
 *     OLD_MAIN      NAME@NODE of a fuse_main_real; else what follows is used
 *     OLD_NEW       fuse_new, default @FUSE_3.0
 *     OLD_LOOP      the loop, default fuse_loop@FUSE_3.0
 *     OLD_CONFIG    what fuse_loop_mt is told: a number (clone_fd), "null", or
 *                   CLONE:IDLE, two numbers
 *     OLD_OPS       size of the table
 *     OLD_LAYOUT    struct fuse_config: 3.14 (the default), 3.16 or 3.18
 * Its one file says whether the read had a path: "/file" or "NULL"; init() sets
 * nullpath_ok if OLD_NULLPATH is there.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct args {
	int argc;
	char **argv;
	int allocated;
};

enum { GETATTR = 0, READ = 13, INIT = 27, DESTROY = 28, SLOTS = 64 };

/* Where fields of struct fuse_config are: those that moved. */
static const struct layout {
	const char *name;
	size_t nullpath_ok, debug;
} layouts[] = { { "3.14", 104, 120 }, { "3.16", 104, 128 }, { "3.18", 96, 112 } };

static void *library;
static int destroyed;

static void fail(const char *what)
{
	fprintf(stderr, "old_path: %s\n", what);
	_exit(3);
}

static const char *chosen(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value ? value : otherwise;
}

static void *form(const char *versioned)
{
	char name[64];
	const char *node = strchr(versioned, '@') + 1;
	void *found;

	snprintf(name, sizeof(name), "%.*s", (int)(node - versioned - 1), versioned);
	found = dlvsym(library, name, node);
	if (!found)
		fail(versioned);
	return found;
}

static void *op_init(void *conn, char *config)
{
	const struct layout *layout = layouts;
	double timeout;
	int debug;

	(void)conn;
	while (strcmp(layout->name, chosen("OLD_LAYOUT", "3.14")) != 0)
		layout++;
	memcpy(&timeout, config + 24, sizeof(timeout)); /* entry_timeout */
	memcpy(&debug, config + layout->debug, sizeof(debug));
	if (timeout != 7.5)
		fail("entry_timeout is somewhere else");
	if (debug != 1)
		fail("debug is somewhere else");
	memcpy(config + layout->nullpath_ok, &(int){ getenv("OLD_NULLPATH") != NULL },
	       sizeof(int));
	puts("mounted");
	fflush(stdout);
	return &destroyed;
}

static void op_destroy(void *data)
{
	if (data != &destroyed || destroyed++)
		fail("destroy");
}

static int op_getattr(const char *path, struct stat *st, void *fi)
{
	(void)fi;
	if (path && strcmp(path, "/") == 0) {
		st->st_mode = S_IFDIR | 0755;
		st->st_nlink = 2;
		return 0;
	}
	if (path && strcmp(path, "/file") != 0)
		return -ENOENT;
	st->st_mode = S_IFREG | 0644;
	st->st_nlink = 1;
	st->st_size = 5;
	return 0;
}

static int op_read(const char *path, char *buf, size_t size, off_t off, void *fi)
{
	(void)fi;
	path = path ? path : "NULL\n";
	if (off >= 5 || size < 5)
		return 0;
	memcpy(buf, path, 5);
	return 5;
}

static int looped(void *fuse)
{
	const char *loop = chosen("OLD_LOOP", "fuse_loop@FUSE_3.0");
	const char *config = chosen("OLD_CONFIG", "");
	/* Eight bytes; what is behind them is no part of it. */
	struct {
		int clone_fd;
		unsigned max_idle_threads, behind[4];
	} v1 = { atoi(config), 0, { ~0u, ~0u, ~0u, ~0u } };

	if (strcmp(config, "") == 0)
		return ((int (*)(void *))form(loop))(fuse);
	if (strcmp(config, "null") == 0)
		return ((int (*)(void *, void *))form(loop))(fuse, NULL);
	if (!strchr(config, ':'))
		return ((int (*)(void *, int))form(loop))(fuse, atoi(config));
	v1.max_idle_threads = strtol(strchr(config, ':') + 1, NULL, 10);
	return ((int (*)(void *, void *))form(loop))(fuse, &v1);
}

int main(int argc, char **argv)
{
	static char options[] = "debug,entry_timeout=7.5";
	char *words[] = { argv[0], "-o", options, "-f", argc > 1 ? argv[1] : NULL, NULL };
	unsigned version[4] = { 3, 18, 3, 0 };
	size_t size = atoi(chosen("OLD_OPS", "336"));
	struct args args = { 3, words, 0 };
	const char *name;
	void *fuse, *ops[SLOTS];
	int res;

	/* Behind the end of the table is no operation. */
	memset(ops, 0xa5, sizeof(ops));
	memset(ops, 0, size);
	ops[GETATTR] = op_getattr;
	ops[READ] = op_read;
	ops[INIT] = op_init;
	ops[DESTROY] = op_destroy;
	library = dlopen(chosen("OLD_LIBRARY", ""), RTLD_NOW | RTLD_LOCAL);
	if (!library)
		fail(dlerror());
	name = getenv("OLD_MAIN");
	if (name) {
		if (strstr(name, "versioned"))
			res = ((int (*)(int, char **, void *, size_t, void *, void *))form(name))(
				5, words, ops, size, version, NULL);
		else
			res = ((int (*)(int, char **, void *, size_t, void *))form(name))(
				5, words, ops, size, NULL);
	} else {
		name = chosen("OLD_NEW", "fuse_new@FUSE_3.0");
		if (name[0] == '_')
			fuse = ((void *(*)(struct args *, void *, size_t, void *, void *))form(name))(
				&args, ops, size, version, NULL);
		else
			fuse = ((void *(*)(struct args *, void *, size_t, void *))form(name))(
				&args, ops, size, NULL);
		if (!fuse)
			fail(name);
		if (((int (*)(void *, const char *))form("fuse_mount@FUSE_3.0"))(fuse, argv[1]) != 0)
			fail("fuse_mount");
		res = looped(fuse);
		((void (*)(void *))form("fuse_unmount@FUSE_3.0"))(fuse);
		((void (*)(void *))form("fuse_destroy@FUSE_3.0"))(fuse);
		((void (*)(struct args *))form("fuse_opt_free_args@FUSE_3.0"))(&args);
	}
	if (destroyed != 1)
		fail("no destroy");
	printf("loop %d\n", res);
	return res != 0;
}
