/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * notify_ll: tells the kernel when what it has cached is no longer true.
 *
 *     notify_ll -o mode=MODE,interval=MS MOUNTPOINT
 *
 * The kernel may cache everything here for ever; still, a client sees each
 * change at once, because a thread reports it:
 *
 *     inval_inode   the contents of "status" change, the kernel drops its pages
 *     store         the same, but the new contents are put into its pages
 *     inval_entry   the file gets another name ("status-1", "status-2", ...)
 *     expire_entry  the same, but what is mounted or open below stays
 *     delete        the same, and inotify watchers hear of the old name's end
 */
#define FUSE_USE_VERSION 312

#include "serve.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOR_EVER 1e9

enum mode { INVAL_INODE, STORE, INVAL_ENTRY, EXPIRE_ENTRY, DELETE };

static struct {
	int mode;
	unsigned int interval;  /* milliseconds */
} settings = { .mode = INVAL_INODE, .interval = 1000 };

#define MODE(name, value) { "mode=" name, offsetof(__typeof__(settings), mode), value }
static const struct fuse_opt options[] = {
	MODE("inval_inode", INVAL_INODE),
	MODE("store", STORE),
	MODE("inval_entry", INVAL_ENTRY),
	MODE("expire_entry", EXPIRE_ENTRY),
	MODE("delete", DELETE),
	{ "interval=%u", offsetof(__typeof__(settings), interval), 0 },
	FUSE_OPT_END
};

static const char help[] =
	"    -o mode=MODE           inval_inode (default), store, inval_entry, expire_entry or delete\n"
	"    -o interval=MS         time between two changes, in milliseconds (default: 1000)\n";

/* ---- what changes ---------------------------------------------------------------- */

static atomic_uint changes;

static bool renames(void)
{
	return settings.mode >= INVAL_ENTRY;
}

/* The file after `n` changes. A new name goes with a new inode. */
static fuse_ino_t file_ino(unsigned int n)
{
	return 2 + (renames() ? n : 0);
}

struct file_name {
	char text[32];
};

static struct file_name file_name(unsigned int n)
{
	struct file_name name = { "status" };

	if (renames())
		snprintf(name.text, sizeof(name.text), "status-%u", n);
	return name;
}

/* Always as long, so that only the data change and not the attributes. */
#define TEXT_SIZE 26
static void file_text(unsigned int n, char text[TEXT_SIZE + 1])
{
	snprintf(text, TEXT_SIZE + 1, "%10u changes so far\n", n);
}

static int describe(fuse_ino_t ino, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	if (ino == FUSE_ROOT_ID) {
		st->st_mode = S_IFDIR | 0555;
		st->st_nlink = 2;
	} else if (ino == file_ino(changes)) {
		st->st_mode = S_IFREG | 0444;
		st->st_nlink = 1;
		st->st_size = TEXT_SIZE;
	} else {
		return ENOENT;
	}
	return 0;
}

/* ---- telling the kernel ----------------------------------------------------------- */

static int forget_name(const char *name)
{
	return fuse_lowlevel_notify_inval_entry(serve_session, FUSE_ROOT_ID, name, strlen(name));
}

static int expire_name(const char *name)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 16)
	return fuse_lowlevel_notify_expire_entry(serve_session, FUSE_ROOT_ID, name, strlen(name));
#elif FUSE_VERSION >= FUSE_MAKE_VERSION(3, 13)
	return fuse_lowlevel_notify_expire_entry(serve_session, FUSE_ROOT_ID, name, strlen(name),
						 FUSE_LL_EXPIRE_ONLY);
#else
	(void)name;
	return -ENOSYS;
#endif
}

static int store_text(unsigned int n)
{
	char text[TEXT_SIZE + 1];
	struct fuse_bufvec data = FUSE_BUFVEC_INIT(TEXT_SIZE);

	file_text(n, text);
	data.buf[0].mem = text;
	return fuse_lowlevel_notify_store(serve_session, file_ino(n), 0, &data, 0);
}

/* Makes one change and reports it. Never to be called from a handler: the kernel
 * may want a lock that the client holds while it waits for that handler. */
static int change(void)
{
	unsigned int n = atomic_fetch_add(&changes, 1);
	struct file_name old = file_name(n), new = file_name(n + 1);
	int result = 0;

	switch (settings.mode) {
	case INVAL_INODE:
		return fuse_lowlevel_notify_inval_inode(serve_session, file_ino(n), 0, 0);
	case STORE:
		return store_text(n + 1);
	case INVAL_ENTRY:
		result = forget_name(old.text);
		break;
	case EXPIRE_ENTRY:
		result = expire_name(old.text);
		break;
	case DELETE:
		result = fuse_lowlevel_notify_delete(serve_session, FUSE_ROOT_ID, file_ino(n),
						     old.text, strlen(old.text));
		break;
	}
	/* Somebody may have asked for the new name before, and been told that it is not there. */
	if (result == 0 || result == -ENOENT)
		result = forget_name(new.text);
	return result;
}

static struct {
	pthread_t thread;
	int stop;  /* an eventfd */
	bool started;
} changer = { .stop = -1 };

static void *changing_thread(void *unused)
{
	struct pollfd stop = { .fd = changer.stop, .events = POLLIN };

	while (poll(&stop, 1, settings.interval) <= 0) {
		int result = change();

		/* ENOENT only says that the kernel had nothing cached. */
		if (result != 0 && result != -ENOENT)
			fprintf(stderr, "notify_ll: the kernel did not take a notification: %s\n",
				strerror(-result));
	}
	return unused;
}

/* ---- operations --------------------------------------------------------------------- */

static void notify_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	/* Node 0: no such name, which the kernel may remember as well. */
	struct fuse_entry_param entry = { .attr_timeout = FOR_EVER, .entry_timeout = FOR_EVER };
	unsigned int n = changes;

	if (parent == FUSE_ROOT_ID && strcmp(name, file_name(n).text) == 0 &&
	    describe(file_ino(n), &entry.attr) == 0)
		entry.ino = file_ino(n);
	fuse_reply_entry(req, &entry);
}

static void notify_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;
	int error = describe(ino, &st);

	(void)fi;
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_attr(req, &st, FOR_EVER);
}

static void notify_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	unsigned int n = changes;
	struct file_name name = file_name(n);
	const char *const names[] = { ".", "..", name.text };
	const fuse_ino_t inos[] = { FUSE_ROOT_ID, FUSE_ROOT_ID, file_ino(n) };
	char buf[256];
	size_t used = 0;

	(void)fi;
	if (ino != FUSE_ROOT_ID) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	if (size > sizeof(buf))
		size = sizeof(buf);
	for (size_t i = off; i < 3; i++) {
		struct stat st = { .st_ino = inos[i], .st_mode = i < 2 ? S_IFDIR : S_IFREG };
		size_t need = fuse_add_direntry(req, buf + used, size - used, names[i], &st, i + 1);

		if (need > size - used)
			break;
		used += need;
	}
	fuse_reply_buf(req, buf, used);
}

static void notify_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (ino == FUSE_ROOT_ID) {
		fuse_reply_err(req, EISDIR);
	} else if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EACCES);
	} else {
		fi->keep_cache = 1;
		fuse_reply_open(req, fi);
	}
}

static void notify_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			struct fuse_file_info *fi)
{
	char text[TEXT_SIZE + 1];

	(void)ino;
	(void)fi;
	file_text(changes, text);
	if (off >= TEXT_SIZE)
		size = 0;
	else if (size > (size_t)(TEXT_SIZE - off))
		size = TEXT_SIZE - off;
	fuse_reply_buf(req, size ? text + off : NULL, size);
}

/* Runs after the program has gone into the background, so its thread stays. */
static void notify_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	serve_apply(conn);
	changer.stop = eventfd(0, EFD_CLOEXEC);
	changer.started = changer.stop != -1 &&
			  pthread_create(&changer.thread, NULL, changing_thread, NULL) == 0;
	if (!changer.started) {
		fprintf(stderr, "notify_ll: cannot start the thread that makes changes\n");
		fuse_session_exit(serve_session);
	}
}

static void stop(void)
{
	if (changer.started) {
		eventfd_write(changer.stop, 1);
		pthread_join(changer.thread, NULL);
	}
	if (changer.stop != -1)
		close(changer.stop);
}

static const struct fuse_lowlevel_ops operations = {
	.init = notify_init,
	.lookup = notify_lookup,
	.getattr = notify_getattr,
	.readdir = notify_readdir,
	.open = notify_open,
	.read = notify_read,
};

int main(int argc, char **argv)
{
	const struct server server = {
		.ops = &operations,
		.help = help,
		.options = options,
		.settings = &settings,
		.stop = stop,
	};

	return serve(argc, argv, &server);
}
