/*
 * The filesystem of note_ll.c by the path API, with a loop that the program begins
 * itself: in C99, for any FUSE_USE_VERSION from 30 to 319.
 */
#define _GNU_SOURCE
#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 31
#endif

#include <fuse.h>
#include <fuse_lowlevel.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "note.h"

static struct note note;

static int is_about(const char *path)
{
	return strcmp(path, "/about") == 0;
}

static int is_note(const char *path)
{
	return strcmp(path, "/note") == 0;
}

static void *op_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	(void)conn;
	cfg->attr_timeout = 0;
	cfg->negative_timeout = 0;
	/* The last of its switches: the handle must do where there is no path. */
	cfg->nullpath_ok = 1;
	return &note;
}

static int op_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	memset(st, 0, sizeof(*st));
	st->st_nlink = 1;
	if (fi != NULL ? fi->fh == 'n' : is_note(path)) {
		st->st_mode = S_IFREG | 0644;
		st->st_size = note.length;
	} else if (fi != NULL ? fi->fh == 'a' : is_about(path)) {
		st->st_mode = S_IFREG | 0444;
	} else if (strcmp(path, "/") == 0) {
		st->st_mode = S_IFDIR | 0755;
		st->st_nlink = 2;
	} else {
		return -ENOENT;
	}
	return 0;
}

static int op_truncate(const char *path, off_t length, struct fuse_file_info *fi)
{
	if (fi != NULL ? fi->fh != 'n' : !is_note(path))
		return -EACCES;
	return -note_resize(&note, length);
}

static int op_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off,
		      struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	static const char *const names[] = { ".", "..", "about", "note" };
	size_t i;

	(void)path;
	(void)off;
	(void)fi;
	(void)flags;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (fill(buf, names[i], NULL, 0, (enum fuse_fill_dir_flags)0) != 0)
			return -ENOMEM;
	return 0;
}

static int op_open(const char *path, struct fuse_file_info *fi)
{
	if (!is_about(path) && !is_note(path))
		return -ENOENT;
	fi->direct_io = is_about(path);
	fi->noflush = is_about(path);
	fi->fh = path[1];
	return 0;
}

static int op_read(const char *path, char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	char about[sizeof(NOTE_ABOUT) + 100];
	const char *text = note.text;
	size_t length = note.length;

	(void)path;
	if (fuse_get_context()->private_data != &note)
		return -EFAULT;
	if (fi->fh == 'a') {
		text = about;
		length = note_about(about, sizeof(about), "path", FUSE_USE_VERSION, &note);
	}
	if ((size_t)off >= length)
		return 0;
	if (size > length - off)
		size = length - off;
	memcpy(buf, text + off, size);
	return size;
}

static int op_write(const char *path, const char *buf, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	(void)path;
	if (fi->fh != 'n')
		return -EBADF;
	if ((size_t)off + size > sizeof(note.text))
		return -EFBIG;
	memcpy(note.text + off, buf, size);
	if (off + size > note.length)
		note.length = off + size;
	return size;
}

static int op_flush(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	(void)fi;
	note_flush(&note);
	return 0;
}

#if FUSE_USE_VERSION < 35
static int op_ioctl(const char *path, int cmd, void *arg, struct fuse_file_info *fi,
#else
static int op_ioctl(const char *path, unsigned int cmd, void *arg, struct fuse_file_info *fi,
#endif
		    unsigned int flags, void *data)
{
	unsigned int length = note.length;

	(void)path;
	(void)arg;
	(void)flags;
	if (fi->fh != 'n' || (unsigned int)cmd != NOTE_LENGTH)
		return -ENOTTY;
	memcpy(data, &length, sizeof(length));
	return 0;
}

static int loop(struct fuse *fuse, const struct fuse_cmdline_opts *opts)
{
#if FUSE_USE_VERSION < 32
	return fuse_loop_mt(fuse, opts->clone_fd);
#elif FUSE_USE_VERSION < FUSE_MAKE_VERSION(3, 12)
	struct fuse_loop_config config;

	config.clone_fd = opts->clone_fd;
	config.max_idle_threads = opts->max_idle_threads;
	return fuse_loop_mt(fuse, &config);
#else
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int result;

	fuse_loop_cfg_set_clone_fd(config, opts->clone_fd);
	fuse_loop_cfg_set_idle_threads(config, opts->max_idle_threads);
	result = fuse_loop_mt(fuse, config);
	fuse_loop_cfg_destroy(config);
	return result;
#endif
}

int main(int argc, char *argv[])
{
	static struct fuse_operations ops;
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct fuse_cmdline_opts opts;
	struct fuse *fuse;
	int result = 1;

	ops.init = op_init;
	ops.getattr = op_getattr;
	ops.truncate = op_truncate;
	ops.readdir = op_readdir;
	ops.open = op_open;
	ops.read = op_read;
	ops.write = op_write;
	ops.flush = op_flush;
	ops.ioctl = op_ioctl;
	if (fuse_parse_cmdline(&args, &opts) != 0)
		return 1;
	if (opts.show_version) {
		printf("%s\n", fuse_pkgversion());
		return 0;
	}
	fuse = fuse_new(&args, &ops, sizeof(ops), NULL);
	if (fuse == NULL)
		return 1;
	if (fuse_mount(fuse, opts.mountpoint) == 0) {
		struct fuse_session *session = fuse_get_session(fuse);

		if (fuse_daemonize(opts.foreground) == 0 && fuse_set_signal_handlers(session) == 0) {
			result = (opts.singlethread ? fuse_loop(fuse) : loop(fuse, &opts)) < 0;
			fuse_remove_signal_handlers(session);
		}
		fuse_unmount(fuse);
	}
	fuse_destroy(fuse);
	free(opts.mountpoint);
	fuse_opt_free_args(&args);
	return result;
}
