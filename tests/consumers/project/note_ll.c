/*
 * A filesystem as its author writes one, by the low-level API: in C99, for any
 * FUSE_USE_VERSION from 30 to 319. It has two files: what is written into `note`
 * can be read again, and an ioctl tells its length; `about` says what was compiled,
 * and how often `note` has been flushed.
 */
#define _GNU_SOURCE
#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#endif

#include <fuse_lowlevel.h>
#if FUSE_USE_VERSION >= FUSE_MAKE_VERSION(3, 19)
#include <fuse_daemonize.h>
#endif

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "note.h"

enum { ROOT = FUSE_ROOT_ID, ABOUT, NOTE };

static struct note note;

static int attributes(fuse_ino_t ino, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	st->st_nlink = ino == ROOT ? 2 : 1;
	if (ino == ROOT)
		st->st_mode = S_IFDIR | 0755;
	else
		st->st_mode = S_IFREG | (ino == NOTE ? 0644 : 0444);
	st->st_size = ino == NOTE ? (off_t)note.length : 0;
	return ino <= NOTE ? 0 : ENOENT;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
#if FUSE_USE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	fuse_unset_feature_flag(conn, FUSE_CAP_ATOMIC_O_TRUNC);
#else
	conn->want &= ~FUSE_CAP_ATOMIC_O_TRUNC;
#endif
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry;

	memset(&entry, 0, sizeof(entry));
	if (parent == ROOT && strcmp(name, "about") == 0)
		entry.ino = ABOUT;
	else if (parent == ROOT && strcmp(name, "note") == 0)
		entry.ino = NOTE;
	if (entry.ino == 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	attributes(entry.ino, &entry.attr);
	fuse_reply_entry(req, &entry);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	if (attributes(ino, &st) != 0)
		fuse_reply_err(req, ENOENT);
	else
		fuse_reply_attr(req, &st, 0);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
		       struct fuse_file_info *fi)
{
	int error = 0;

	if (ino == NOTE && (to_set & FUSE_SET_ATTR_SIZE))
		error = note_resize(&note, st->st_size);
	if (error != 0)
		fuse_reply_err(req, error);
	else
		op_getattr(req, ino, fi);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	static const char *const names[] = { ".", "..", "about", "note" };
	static const fuse_ino_t inos[] = { ROOT, ROOT, ABOUT, NOTE };
	char buf[512];
	size_t used = 0;
	struct stat st;

	(void)fi;
	if (ino != ROOT) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	if (size > sizeof(buf))
		size = sizeof(buf);
	for (; off < 4; off++) {
		size_t need;

		attributes(inos[off], &st);
		need = fuse_add_direntry(req, buf + used, size - used, names[off], &st, off + 1);
		if (need > size - used)
			break;
		used += need;
	}
	fuse_reply_buf(req, buf, used);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (ino == ROOT) {
		fuse_reply_err(req, EISDIR);
		return;
	}
	/* `about` has no size: without direct_io nothing could be read. */
	fi->direct_io = ino == ABOUT;
	fi->noflush = ino == ABOUT;
	fi->fh = (uint64_t)ino << 32;
	fuse_reply_open(req, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct fuse_bufvec data = FUSE_BUFVEC_INIT(0);
	char about[sizeof(NOTE_ABOUT) + 100];

	if (fi->fh != (uint64_t)ino << 32) {
		fuse_reply_err(req, EBADF);
		return;
	}
	data.buf[0].mem = note.text;
	data.buf[0].size = note.length;
	if (ino == ABOUT) {
		data.buf[0].mem = about;
		data.buf[0].size = note_about(about, sizeof(about), "low-level", FUSE_USE_VERSION, &note);
	}
	if ((size_t)off > data.buf[0].size)
		off = data.buf[0].size;
	data.buf[0].mem = (char *)data.buf[0].mem + off;
	data.buf[0].size -= off;
	if (data.buf[0].size > size)
		data.buf[0].size = size;
	fuse_reply_data(req, &data, FUSE_BUF_NO_SPLICE);
}

static void op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off,
			 struct fuse_file_info *fi)
{
	size_t size = fuse_buf_size(in);
	struct fuse_bufvec out = FUSE_BUFVEC_INIT(size);
	ssize_t copied;

	(void)fi;
	if (ino != NOTE || (size_t)off + size > sizeof(note.text)) {
		fuse_reply_err(req, ino == NOTE ? EFBIG : EBADF);
		return;
	}
	out.buf[0].mem = note.text + off;
	copied = fuse_buf_copy(&out, in, (enum fuse_buf_copy_flags)0);
	if (copied < 0) {
		fuse_reply_err(req, -copied);
		return;
	}
	if ((size_t)off + copied > note.length)
		note.length = off + copied;
	fuse_reply_write(req, copied);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	note_flush(&note);
	fuse_reply_err(req, 0);
}

#if FUSE_USE_VERSION < 35
static void op_ioctl(fuse_req_t req, fuse_ino_t ino, int cmd, void *arg,
#else
static void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
#endif
		     struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
		     size_t out_size)
{
	uint32_t length = note.length;

	(void)arg;
	(void)fi;
	(void)flags;
	(void)in;
	(void)in_size;
	if (ino != NOTE || (unsigned int)cmd != NOTE_LENGTH || out_size != sizeof(length))
		fuse_reply_err(req, ENOTTY);
	else
		fuse_reply_ioctl(req, 0, &length, sizeof(length));
}

#if FUSE_USE_VERSION >= FUSE_MAKE_VERSION(3, 18) && defined(STATX_BTIME)
/* The last operation that the table had when it was written. */
static void op_statx(fuse_req_t req, fuse_ino_t ino, int flags, int mask, struct fuse_file_info *fi)
{
	struct statx st;
	struct stat plain;

	(void)mask;
	(void)fi;
	memset(&st, 0, sizeof(st));
	attributes(ino, &plain);
	st.stx_mask = STATX_BASIC_STATS | STATX_BTIME;
	st.stx_ino = ino;
	st.stx_mode = plain.st_mode;
	st.stx_nlink = plain.st_nlink;
	st.stx_size = plain.st_size;
	st.stx_btime.tv_sec = NOTE_BORN;
	fuse_reply_statx(req, flags, &st, 0);
}
#define HAVE_STATX
#endif

static int loop(struct fuse_session *session, const struct fuse_cmdline_opts *opts)
{
#if FUSE_USE_VERSION < 32
	return opts->singlethread ? fuse_session_loop(session)
				  : fuse_session_loop_mt(session, opts->clone_fd);
#elif FUSE_USE_VERSION < FUSE_MAKE_VERSION(3, 12)
	struct fuse_loop_config config;

	config.clone_fd = opts->clone_fd;
	config.max_idle_threads = opts->max_idle_threads;
	return opts->singlethread ? fuse_session_loop(session)
				  : fuse_session_loop_mt(session, &config);
#else
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int result;

	fuse_loop_cfg_set_clone_fd(config, opts->clone_fd);
	fuse_loop_cfg_set_max_threads(config, opts->max_threads);
	result = opts->singlethread ? fuse_session_loop(session)
				    : fuse_session_loop_mt(session, config);
	fuse_loop_cfg_destroy(config);
	return result;
#endif
}

static int background(const struct fuse_cmdline_opts *opts)
{
#if FUSE_USE_VERSION >= FUSE_MAKE_VERSION(3, 19)
	return fuse_daemonize_early_start(opts->foreground ? FUSE_DAEMONIZE_NO_BACKGROUND : 0);
#else
	return fuse_daemonize(opts->foreground);
#endif
}

int main(int argc, char *argv[])
{
	static struct fuse_lowlevel_ops ops;
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	/* What the library writes into the structure must end where it ends. */
	struct { struct fuse_cmdline_opts opts; unsigned long guard; } cmdline = { .guard = 0x600d };
	struct fuse_session *session;
	int result = 1;

	ops.init = op_init;
	ops.lookup = op_lookup;
	ops.getattr = op_getattr;
	ops.setattr = op_setattr;
	ops.readdir = op_readdir;
	ops.open = op_open;
	ops.read = op_read;
	ops.write_buf = op_write_buf;
	ops.flush = op_flush;
	ops.ioctl = op_ioctl;
#ifdef HAVE_STATX
	ops.statx = op_statx;
#endif
	if (fuse_parse_cmdline(&args, &cmdline.opts) != 0)
		return 1;
	if (cmdline.opts.show_version) {
		printf("%s\n", fuse_pkgversion());
		return 0;
	}
	session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (session == NULL)
		return 1;
	if (background(&cmdline.opts) == 0 && fuse_set_signal_handlers(session) == 0) {
		if (fuse_session_mount(session, cmdline.opts.mountpoint) == 0) {
			result = loop(session, &cmdline.opts) < 0;
			fuse_session_unmount(session);
		}
		fuse_remove_signal_handlers(session);
	}
	fuse_session_destroy(session);
	free(cmdline.opts.mountpoint);
	fuse_opt_free_args(&args);
	return cmdline.guard == 0x600d ? result : 2;
}
