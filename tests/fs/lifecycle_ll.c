/*
 * lifecycle_ll: mounts and session loops, several times in one process. The
 * root directory has three files: "file", whose contents is "contents\n"; "held", the
 * same, but each read waits inside until the command "let", and "inside" tells how many
 * do; and
 * "late", a read of which is answered when the session has been unmounted, into
 * whatever has the descriptors' numbers by then; it says "late ANSWER BYTES", what
 * the reply function returned and how many bytes those files have.
 *
 *     -o loops=N    runs the loop N times over one mount; after each but the
 *                   last it says "loop RESULT exited EXITED" and waits for the
 *                   command "go", then calls fuse_session_reset(); or for "end",
 *                   after which no loop comes any more
 *     -o alternate  a single-threaded loop and one with threads take turns
 *     -o mounts=N   N sessions, one after the other; each says "mounted" and,
 *                   when it is destroyed, "ended RESULT fds= threads= maps=
 *                   kbytes=", what the process has open then
 */
#include "serve.h"

#include <dirent.h>
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const char contents[] = "contents\n";

static struct {
	unsigned int loops;
	unsigned int mounts;
	int alternate;
} options = { 1, 1, 0 };

static const struct fuse_opt lifecycle_opts[] = {
	{ "loops=%u", 0, 0 },
	{ "mounts=%u", sizeof(unsigned int), 0 },
	{ "alternate", 2 * sizeof(unsigned int), 1 },
	FUSE_OPT_END,
};

static sem_t go, let;
static _Atomic int inside;
static _Atomic fuse_req_t late;
static _Atomic int over;

static void attributes(fuse_ino_t ino, struct stat *attr)
{
	memset(attr, 0, sizeof(*attr));
	attr->st_ino = ino;
	attr->st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0444;
	attr->st_nlink = 1;
	attr->st_size = ino == FUSE_ROOT_ID ? 0 : sizeof(contents) - 1;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	serve_init(conn);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = { .ino = strcmp(name, "late") == 0 ? 3 : 2 };

	(void)parent;
	if (strcmp(name, "held") == 0)
		e.ino = 4;
	if (e.ino == 2 && strcmp(name, "file") != 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	attributes(e.ino, &e.attr);
	fuse_reply_entry(req, &e);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct stat attr;

	(void)fi;
	attributes(ino, &attr);
	fuse_reply_attr(req, &attr, 0);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	size_t length = sizeof(contents) - 1;

	(void)fi;
	if (ino == 3) {
		late = req;
		return;
	}
	if (ino == 4) {
		inside++;
		while (sem_wait(&let) != 0)
			;
		inside--;
	}
	if (off > (off_t)length)
		off = length;
	fuse_reply_buf(req, contents + off,
		       length - off < size ? length - off : size);
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init, .lookup = op_lookup, .getattr = op_getattr,
	.read = op_read,
};

static long command(struct fuse_session *se, int argc, char **argv)
{
	(void)se;
	(void)argc;
	if (strcmp(argv[0], "late") == 0)
		return late != NULL;
	if (strcmp(argv[0], "inside") == 0)
		return inside;
	if (strcmp(argv[0], "let") == 0)
		return sem_post(&let);
	if (strcmp(argv[0], "end") == 0)
		over = 1;
	else if (strcmp(argv[0], "go") != 0)
		return -ENOSYS;
	sem_post(&go);
	return 0;
}

static int entries(const char *directory)
{
	DIR *dir = opendir(directory);
	int count = 0;

	if (!dir)
		return -1;
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static int maps(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	int c, count = 0;

	if (!file)
		return -1;
	while ((c = getc(file)) != EOF)
		count += c == '\n';
	fclose(file);
	return count;
}

static long resident_kbytes(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	long size, resident = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%ld %ld", &size, &resident) != 2)
		resident = -1;
	fclose(file);
	return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void answer_late(void)
{
	int files[32], res;
	off_t bytes = 0;

	if (!late)
		return;
	for (int i = 0; i < 32; i++)
		files[i] = memfd_create("late", MFD_CLOEXEC);
	res = fuse_reply_buf(late, contents, sizeof(contents) - 1);
	for (int i = 0; i < 32; i++) {
		bytes += lseek(files[i], 0, SEEK_END);
		close(files[i]);
	}
	say("late %d %lld", res, (long long)bytes);
}

/* One session from beginning to end; returns what its last loop returned. */
static int session(struct fuse_args *args)
{
	const char *mountpoint = serve_options.cmdline.mountpoint;
	struct fuse_session *se = fuse_session_new(args, &ops, sizeof(ops), NULL);
	int res = -1;

	if (!se || fuse_set_signal_handlers(se) != 0 ||
	    fuse_session_mount(se, mountpoint) != 0)
		exit(1);
	serve_session = se;
	say("mounted");
	for (unsigned int i = 1; i <= options.loops; i++) {
		res = serve_loop(se);
		if (options.alternate)
			serve_options.cmdline.singlethread ^= 1;
		if (i == options.loops)
			break;
		say("loop %d exited %d", res, fuse_session_exited(se) != 0);
		while (sem_wait(&go) != 0)
			;
		if (over)
			break;
		fuse_session_reset(se);
	}
	serve_release();
	fuse_session_unmount(se);
	answer_late();
	fuse_remove_signal_handlers(se);
	fuse_session_destroy(se);
	return res;
}

int main(int argc, char **argv)
{
	int res = -1;

	serve_parse(argc, argv, lifecycle_opts, &options);
	sem_init(&go, 0, 0);
	sem_init(&let, 0, 0);
	serve_commands(command);
	for (unsigned int i = 0; i < options.mounts; i++) {
		struct fuse_args args = FUSE_ARGS_INIT(0, NULL);

		for (int a = 0; a < serve_options.args.argc; a++)
			fuse_opt_add_arg(&args, serve_options.args.argv[a]);
		res = session(&args);
		fuse_opt_free_args(&args);
		if (options.mounts > 1)
			say("ended %d fds=%d threads=%d maps=%d kbytes=%ld", res,
			    entries("/proc/self/fd"), entries("/proc/self/task"),
			    maps(), resident_kbytes());
	}
	say("loop %d", res);
	return 0;
}
