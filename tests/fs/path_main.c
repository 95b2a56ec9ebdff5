/*
 * A filesystem with fuse_main(), as small as that; and what a program can do
 * before. The first argument says what:
 *     main ...         fuse_main()
 *     real ...         fuse_main_real() as the headers have it
 *     help ...         fuse_lib_help(), 0
 *     new ...          fuse_new(): 0 or 1, the rest of the arguments on stdout
 *     new30 ...        the same by _fuse_new_30()
 *     nothing          the loops of no filesystem, on stdout
 *     channel DIR OPTIONS
 *                      fuse_open_channel(), then 0, or 1 if that fails
 *
 * One file, /hello, and /links/LINK; the option `root=DIR` shows DIR instead.
 * The module `upper` of the program itself makes all names upper case.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 314
#endif
#include <fuse.h>

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *root;

static const char *below(const char *path)
{
	static __thread char out[PATH_MAX];

	snprintf(out, sizeof(out), "%s%s", root, path);
	return out;
}

static int result(long value)
{
	return value < 0 ? -errno : (int)value;
}

static int op_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	(void)fi;
	return result(lstat(below(path), st));
}

static int op_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off,
		      struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	struct dirent *entry;
	DIR *dir = opendir(below(path));

	(void)off;
	(void)fi;
	(void)flags;
	if (!dir)
		return -errno;
	while ((entry = readdir(dir)) != NULL)
		fill(buf, entry->d_name, NULL, 0, 0);
	closedir(dir);
	return 0;
}

static int op_readlink(const char *path, char *buf, size_t size)
{
	ssize_t got = readlink(below(path), buf, size - 1);

	if (got < 0)
		return -errno;
	buf[got] = '\0';
	return 0;
}

static int op_symlink(const char *target, const char *path)
{
	return result(symlink(target, below(path)));
}

static int op_mkdir(const char *path, mode_t mode)
{
	return result(mkdir(below(path), mode));
}

static int op_rename(const char *from, const char *to, unsigned flags)
{
	char old[PATH_MAX];

	strcpy(old, below(from));
	return flags ? -EINVAL : result(rename(old, below(to)));
}

static int op_read(const char *path, char *buf, size_t size, off_t off,
		   struct fuse_file_info *fi)
{
	FILE *file = fopen(below(path), "r");
	size_t got;

	(void)fi;
	if (!file)
		return -errno;
	fseek(file, off, SEEK_SET);
	got = fread(buf, 1, size, file);
	fclose(file);
	return got;
}

static void *op_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	(void)conn;
	(void)cfg;
	return fuse_get_context()->private_data;
}

static const struct fuse_operations ops = {
	.init = op_init,
	.getattr = op_getattr,
	.readdir = op_readdir,
	.readlink = op_readlink,
	.symlink = op_symlink,
	.mkdir = op_mkdir,
	.rename = op_rename,
	.read = op_read,
};

#include "path_upper.h"

FUSE_REGISTER_MODULE(upper, upper_new);

static int made(int argc, char **argv, int old)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct fuse *fuse;

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	struct libfuse_version version = { 3, 18, 3, 0 };

	fuse = old ? _fuse_new_30(&args, &ops, sizeof(ops), &version, NULL)
		   : _fuse_new_31(&args, &ops, sizeof(ops), &version, NULL);
#else
	struct fuse *fuse_new_30(struct fuse_args *, const struct fuse_operations *,
				 size_t, void *);

	fuse = old ? fuse_new_30(&args, &ops, sizeof(ops), NULL)
		   : fuse_new(&args, &ops, sizeof(ops), NULL);
#endif
	for (int i = 0; i < args.argc; i++)
		printf("left %s\n", args.argv[i]);
	if (fuse)
		fuse_destroy(fuse);
	fuse_opt_free_args(&args);
	return fuse ? 0 : 1;
}

static int channel(const char *dir, const char *options)
{
	int fd = fuse_open_channel(dir, options);

	if (fd < 0)
		return 1;
	printf("channel %d\n", fd > 2);
	fflush(stdout);
	/* It is mounted, and nobody serves it. */
	if (umount2(dir, MNT_DETACH) != 0)
		return 2;
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	root = getenv("PATH_ROOT");
	if (!root)
		root = "/nonexistent";
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1) {
		argv[1] = argv[0];
		argv++;
		argc--;
	}
	if (strcmp(what, "main") == 0)
		return fuse_main(argc, argv, &ops, (void *)root);
	if (strcmp(what, "real") == 0)
		return fuse_main_real(argc, argv, &ops, sizeof(ops), (void *)root);
	if (strcmp(what, "new") == 0)
		return made(argc, argv, 0);
	if (strcmp(what, "new30") == 0)
		return made(argc, argv, 1);
	if (strcmp(what, "help") == 0) {
		struct fuse_args args = FUSE_ARGS_INIT(argc, argv);

		fuse_lib_help(&args);
		fuse_opt_free_args(&args);
		return 0;
	}
	if (strcmp(what, "nothing") == 0) {
		printf("%d %d\n", fuse_loop(NULL), fuse_loop_mt(NULL, NULL));
		return 0;
	}
	if (strcmp(what, "channel") == 0)
		return channel(argv[1], argc > 2 ? argv[2] : NULL);
	return 99;
}
