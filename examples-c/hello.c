/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * hello: a mount with a single read-only file in it, by the path API.
 *
 *     hello [--name=NAME] [--text=TEXT] [options] MOUNTPOINT
 *     cat MOUNTPOINT/hello
 *
 * Four operations and fuse_main(), which does everything else. Options of the
 * program's own are taken out of the command line first.
 */
#define FUSE_USE_VERSION 31

#include <fuse.h>

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
	const char *name, *text;
	int help;
} settings;

static const struct fuse_opt options[] = {
	{ "--name=%s", offsetof(__typeof__(settings), name), 1 },
	{ "--text=%s", offsetof(__typeof__(settings), text), 1 },
	{ "-h", offsetof(__typeof__(settings), help), 1 },
	{ "--help", offsetof(__typeof__(settings), help), 1 },
	FUSE_OPT_END,
};

static int is_file(const char *path)
{
	return strcmp(path + 1, settings.name) == 0;
}

static void *op_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	(void)conn;
	cfg->kernel_cache = 1; /* the text never changes */
	return NULL;
}

static int op_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	(void)fi;
	memset(st, 0, sizeof(*st));
	if (strcmp(path, "/") == 0) {
		st->st_mode = S_IFDIR | 0555;
		st->st_nlink = 2;
		return 0;
	}
	if (!is_file(path))
		return -ENOENT;
	st->st_mode = S_IFREG | 0444;
	st->st_nlink = 1;
	st->st_size = strlen(settings.text);
	return 0;
}

static int op_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off,
		      struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	(void)off;
	(void)fi;
	(void)flags;
	if (strcmp(path, "/") != 0)
		return -ENOTDIR;
	fill(buf, ".", NULL, 0, 0);
	fill(buf, "..", NULL, 0, 0);
	fill(buf, settings.name, NULL, 0, 0);
	return 0;
}

static int op_open(const char *path, struct fuse_file_info *fi)
{
	if (!is_file(path))
		return -ENOENT;
	return (fi->flags & O_ACCMODE) == O_RDONLY ? 0 : -EACCES;
}

static int op_read(const char *path, char *buf, size_t size, off_t off,
		   struct fuse_file_info *fi)
{
	size_t length = strlen(settings.text);

	(void)path;
	(void)fi;
	if ((size_t)off >= length)
		return 0;
	if (size > length - off)
		size = length - off;
	memcpy(buf, settings.text + off, size);
	return size;
}

static const struct fuse_operations operations = {
	.init = op_init,
	.getattr = op_getattr,
	.readdir = op_readdir,
	.open = op_open,
	.read = op_read,
};

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	int result;

	/* Strings that fuse_opt_parse() may free when it puts others in place. */
	settings.name = strdup("hello");
	settings.text = strdup("Hello, world!\n");
	if (fuse_opt_parse(&args, &settings, options, NULL) == -1)
		return 1;
	if (settings.help) {
		printf("usage: %s [options] MOUNTPOINT\n\n"
		       "    --name=NAME            the file's name (hello)\n"
		       "    --text=TEXT            what is in it\n\n", argv[0]);
		fuse_opt_add_arg(&args, "--help");
		args.argv[0][0] = '\0'; /* the usage line has been said */
	}
	result = fuse_main(args.argc, args.argv, &operations, NULL);
	fuse_opt_free_args(&args);
	free((void *)settings.name);
	free((void *)settings.text);
	return result;
}
