/*
 * init_ll: everything around mounting and INIT. The root directory has a file
 * "file", a symbolic link "link" to it, and the file "hang", whose getattr never
 * answers nor returns.
 *
 *     -o early=FLAGS     fuse_daemonize_early_start(FLAGS) before anything else
 *     -o sync=0|1        fuse_session_set_sync_init()
 *     -o set=HEX         capabilities to want, also such as are not offered
 *     -o unset=HEX       capabilities not to want
 *     -o timeout=N       conn->request_timeout
 *     -o fail=N          fuse_daemonize_early_fail(N) instead of mounting
 *     -o succeed         fuse_daemonize_early_success() before mounting
 *     -o die             SIGKILL for itself instead of mounting
 *     -o stop=mount      waits for ever instead of mounting
 *     -o stop=loop       waits for ever instead of looping
 *     -o watchdog=N      fuse_session_start_teardown_watchdog(N)
 *     -o bark            with a callback, which says "bark" and exits with 5
 *     -o twice           starts it twice, and says what came of that
 *     -o direct          files are opened with direct_io
 *     -o no_open         there is no operation open
 *     -o commands        serves the command "prune NODE": fuse_lowlevel_notify_prune()
 *
 * The trace begins with the line "process pid=N", and has the thread's name in
 * the line of init.
 */
#include "serve.h"

#include <errno.h>
#include <fuse_daemonize.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

static const char contents[] = "contents\n";

static struct {
	int early;
	int sync;
	unsigned long long set;
	unsigned long long unset;
	unsigned int timeout;
	int fail;
	int die;
	int succeed;
	char *stop;
	int watchdog;
	int bark;
	int twice;
	int commands;
	int direct;
	int no_open;
} options = { .early = -1, .sync = -1, .watchdog = -1 };

#define OPTION(template, field, value) \
	{ template, (char *)&options.field - (char *)&options, value }
static const struct fuse_opt init_opts[] = {
	OPTION("early=%i", early, 0), OPTION("sync=%i", sync, 0),
	OPTION("set=%llx", set, 0), OPTION("unset=%llx", unset, 0),
	OPTION("timeout=%u", timeout, 0), OPTION("fail=%i", fail, 0),
	OPTION("succeed", succeed, 1), OPTION("die", die, 1), OPTION("stop=%s", stop, 0),
	OPTION("watchdog=%i", watchdog, 0), OPTION("bark", bark, 1),
	OPTION("twice", twice, 1), OPTION("commands", commands, 1),
	OPTION("direct", direct, 1), OPTION("no_open", no_open, 1), FUSE_OPT_END,
};

enum { FILE_INO = 2, LINK_INO, HANG_INO, NEW_INO };

static void attributes(fuse_ino_t ino, struct stat *attr)
{
	memset(attr, 0, sizeof(*attr));
	attr->st_ino = ino;
	attr->st_nlink = 1;
	attr->st_mode = S_IFREG | 0644;
	if (ino == FUSE_ROOT_ID)
		attr->st_mode = S_IFDIR | 0755;
	else if (ino == LINK_INO)
		attr->st_mode = S_IFLNK | 0777;
	else if (ino == FILE_INO)
		attr->st_size = sizeof(contents) - 1;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	char name[17] = "";

	(void)userdata;
	serve_init(conn);
	conn->want_ext |= options.set;
	fuse_unset_feature_flag(conn, options.unset);
	conn->request_timeout = options.timeout;
	prctl(PR_GET_NAME, name);
	trace(NULL, "init", "thread=%s capable=%llx want=%llx", name,
	      (unsigned long long)conn->capable_ext,
	      (unsigned long long)conn->want_ext);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = { .attr_timeout = 0, .entry_timeout = 3600 };

	(void)parent;
	trace(req, "lookup", "name=%s", name);
	if (strcmp(name, "file") == 0)
		e.ino = FILE_INO;
	else if (strcmp(name, "link") == 0)
		e.ino = LINK_INO;
	else if (strcmp(name, "hang") == 0)
		e.ino = HANG_INO;
	if (e.ino) {
		attributes(e.ino, &e.attr);
		e.attr_timeout = e.ino == HANG_INO ? 0 : 3600;
		fuse_reply_entry(req, &e);
	} else {
		fuse_reply_err(req, ENOENT);
	}
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct stat attr;

	(void)fi;
	if (ino == HANG_INO) {
		trace(req, "hang", "ino=%llu", (unsigned long long)ino);
		for (;;)
			pause();
	}
	attributes(ino, &attr);
	fuse_reply_attr(req, &attr, 0);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
		       int to_set, struct fuse_file_info *fi)
{
	trace(req, "setattr", "to_set=%x", (unsigned int)to_set);
	attributes(ino, attr);
	op_getattr(req, ino, fi);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	trace(req, "readlink", "ino=%llu", (unsigned long long)ino);
	fuse_reply_readlink(req, "file");
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	trace(req, "open", "ino=%llu flags=%x", (unsigned long long)ino,
	      (unsigned int)fi->flags);
	fi->direct_io = options.direct;
	fuse_reply_open(req, fi);
}

static void op_release(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	(void)fi;
	trace(req, "release", "ino=%llu", (unsigned long long)ino);
	fuse_reply_err(req, 0);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
			const char *value, size_t size, int flags)
{
	(void)ino;
	trace(req, "setxattr", "name=%s value=%.*s flags=%x", name, (int)size,
	      value, (unsigned int)flags);
	fuse_reply_err(req, 0);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		      mode_t mode, struct fuse_file_info *fi)
{
	struct fuse_entry_param e = { .ino = NEW_INO };

	(void)parent;
	trace(req, "create", "name=%s mode=%o", name, mode);
	attributes(e.ino, &e.attr);
	fuse_reply_create(req, &e, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	size_t length = sizeof(contents) - 1;

	(void)ino;
	(void)fi;
	trace(req, "read", "size=%zu off=%lld", size, (long long)off);
	if (off > (off_t)length)
		off = length;
	fuse_reply_buf(req, contents + off,
		       length - off < size ? length - off : size);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *data,
		     size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ino;
	(void)data;
	trace(req, "write", "size=%zu off=%lld writepage=%d", size,
	      (long long)off, fi->writepage);
	fuse_reply_write(req, size);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	trace(req, "forget", "ino=%llu nlookup=%llu", (unsigned long long)ino,
	      (unsigned long long)nlookup);
	fuse_reply_none(req);
}

static void op_syncfs(fuse_req_t req, fuse_ino_t ino)
{
	trace(req, "syncfs", "ino=%llu", (unsigned long long)ino);
	fuse_reply_err(req, 0);
}

static void op_destroy(void *userdata)
{
	(void)userdata;
	trace(NULL, "destroy", "pid=%d", getpid());
}

static struct fuse_lowlevel_ops ops = {
	.init = op_init, .destroy = op_destroy, .lookup = op_lookup,
	.getattr = op_getattr, .setattr = op_setattr, .readlink = op_readlink,
	.open = op_open, .create = op_create, .read = op_read,
	.write = op_write, .release = op_release, .setxattr = op_setxattr,
	.forget = op_forget, .syncfs = op_syncfs,
};

static void bark(void *data)
{
	say("bark %s", (const char *)data);
	_exit(5);
}

static long command(struct fuse_session *se, int argc, char **argv)
{
	fuse_ino_t node;

	if (argc != 2 || strcmp(argv[0], "prune") != 0)
		return -ENOSYS;
	node = strtoull(argv[1], NULL, 10);
	return fuse_lowlevel_notify_prune(se, &node, 1);
}

static void stop_at(const char *place)
{
	if (!options.stop || strcmp(options.stop, place) != 0)
		return;
	trace(NULL, "stopped", "at=%s", place);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	static char word[] = "loudly";
	struct fuse_session *se;
	void *watchdog = NULL;
	int res;

	serve_parse(argc, argv, init_opts, &options);
	if (options.early >= 0 && fuse_daemonize_early_start(options.early) != 0)
		return 9;
	trace(NULL, "process", "pid=%d active=%d", getpid(),
	      fuse_daemonize_early_is_active());
	if (options.die)
		raise(SIGKILL);
	if (options.fail) {
		fuse_daemonize_early_fail(options.fail);
		trace(NULL, "failed", "active=%d", fuse_daemonize_early_is_active());
		return 0;
	}
	if (options.succeed) {
		fuse_daemonize_early_success();
		trace(NULL, "succeeded", "active=%d", fuse_daemonize_early_is_active());
	}
	stop_at("mount");
	if (options.no_open)
		ops.open = NULL;
	se = fuse_session_new(&serve_options.args, &ops, sizeof(ops), NULL);
	if (!se || fuse_set_signal_handlers(se) != 0)
		return 3;
	if (options.sync >= 0)
		fuse_session_set_sync_init(se, options.sync);
	if (fuse_session_mount(se, serve_options.cmdline.mountpoint) != 0) {
		trace(NULL, "mount", "failed=1");
		fuse_session_destroy(se);
		return 4;
	}
	trace(NULL, "mounted", "active=%d daemonize=%d",
	      fuse_daemonize_early_is_active(),
	      options.early >= 0 ? fuse_daemonize(1) : 0);
	stop_at("loop");
	if (options.watchdog >= 0) {
		watchdog = fuse_session_start_teardown_watchdog(
			se, options.watchdog, options.bark ? bark : NULL, word);
		if (!watchdog)
			return 6;
		if (options.twice)
			trace(NULL, "second", "watchdog=%d",
			      fuse_session_start_teardown_watchdog(se, 1, NULL, NULL) != NULL);
	}
	serve_session = se;
	say("mounted");
	if (options.commands)
		serve_commands(command);
	res = serve_loop(se);
	say("loop %d", res);
	trace(NULL, "loop", "result=%d", res);
	serve_release();
	fuse_session_unmount(se);
	fuse_remove_signal_handlers(se);
	fuse_session_stop_teardown_watchdog(watchdog);
	fuse_session_destroy(se);
	free(serve_options.conn);
	fuse_opt_free_args(&serve_options.args);
	return res == 0 ? 0 : 7;
}
