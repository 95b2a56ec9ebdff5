/*
 * mock_path: a filesystem of the path API whose kernel is the test, as mock_ll
 * is one of the inode API. It opens a library, mounts /dev/fd/N on a socket, and
 * serves one message per line of its input, in order. What the filesystem is
 * called with and what the library answers become lines of the output; the test
 * compares them with those of another library.
 *
 *     mock_path LIBRARY all|none|NAME:NAME... [option of fuse_new...]
 *
 * The second argument says which operations the filesystem has; those after a
 * "-" it has not ("-lock:flush").
 *
 * What exists is told by the first letter of the last name: d... is a directory,
 * l... a link, m... and a name with a dot are missing, the rest are files.
 *
 * Lines of the input:
 *     OPCODE UNIQUE NODE UID HEX    a request with the body HEX ("-": none); the
 *                                   handle of the last OPENDIR comes instead of
 *                                   that of a request about a directory
 *     result OP N [COUNT]           what the next calls of OP return
 *     size N                        of all files from now on
 *     list NAME,OFF,FLAGS,MODE ...  what readdir fills in; MODE in octal, or "-"
 *                                   for no attributes
 *     invalidate PATH               calls fuse_invalidate_path()
 *     clean                         calls fuse_clean_cache()
 * CFG_FIELD in the environment is what init() sets in struct fuse_config. With
 * MOCK_GOES_ON readdir takes no notice of a full buffer; with MOCK_CACHED opendir
 * sets keep_cache and cache_readdir.
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 312
#include <inttypes.h>
#include <fuse.h>
#include "mock.h"

#include <errno.h>
#include <linux/ioctl.h>
#include <stddef.h>
#include <unistd.h>

enum { OPENDIR = 27, READDIR = 28, RELEASEDIR = 29, FSYNCDIR = 30, IOCTL = 39, READDIRPLUS = 44 };
enum { IOCTL_DIR = 1 << 4, BLOCKS = 3, EXPECTED = 16 };

static struct fuse *fuse;
static int before_init, after_init;
static long file_size = 10;
static char listing[4096];
static unsigned char directory[8];
static unsigned int asked; /* the opcode that is served */
static struct {
	char op[32];
	long result, count;
} expected[EXPECTED];

static const char *text(const char *path)
{
	return path ? path : "NULL";
}

/* What the script has `op` return. */
static long result(const char *op, long otherwise)
{
	for (int i = 0; i < EXPECTED; i++)
		if (expected[i].count > 0 && strcmp(expected[i].op, op) == 0) {
			expected[i].count--;
			return expected[i].result;
		}
	return otherwise;
}

#define PATH const char *path
#define OP(name, otherwise, format, parameters, ...)                   \
	static int op_##name parameters                                \
	{                                                              \
		SAY(#name " %s " format, text(path), __VA_ARGS__);     \
		return result(#name, otherwise);                       \
	}

static void set_number(char *config, const char *name, size_t offset)
{
	if (getenv(name))
		*(int *)(config + offset) = strtol(getenv(name), NULL, 0);
}

static void set_time(char *config, const char *name, size_t offset)
{
	if (getenv(name))
		*(double *)(config + offset) = atof(getenv(name));
}

static void *op_init(struct fuse_conn_info *given, struct fuse_config *cfg)
{
	aligned_conn *conn = given;
	char *config = (char *)cfg;
	/* These have moved. */
	int old = F(fuse_version)() < 317;
	size_t set = old ? 88 : 84, timeout = old ? 96 : 88, nullpath = old ? 104 : 96;
	struct fuse_context *context = F(fuse_get_context)();

#define NUMBER(field) set_number(config, "CFG_" #field, offsetof(struct fuse_config, field))
	NUMBER(set_gid), NUMBER(gid), NUMBER(set_uid), NUMBER(uid), NUMBER(set_mode);
	NUMBER(umask), NUMBER(remember), NUMBER(hard_remove), NUMBER(use_ino);
	NUMBER(readdir_ino), NUMBER(direct_io), NUMBER(kernel_cache), NUMBER(auto_cache);
	set_number(config, "CFG_nullpath_ok", nullpath);
	set_number(config, "CFG_ac_attr_timeout_set", set);
	set_time(config, "CFG_ac_attr_timeout", timeout);
	set_time(config, "CFG_entry_timeout", offsetof(struct fuse_config, entry_timeout));
	set_time(config, "CFG_attr_timeout", offsetof(struct fuse_config, attr_timeout));
	set_time(config, "CFG_negative_timeout", offsetof(struct fuse_config, negative_timeout));
	SAY("init private=%d fuse=%d pid=%d max_write=%x want=%x",
	    context->private_data == &before_init, context->fuse == fuse, context->pid,
	    conn->max_write,
	    (unsigned)(conn->want & ~FUSE_CAP_PARALLEL_DIROPS & ~FUSE_CAP_HANDLE_KILLPRIV));
	return &after_init;
}

static void op_destroy(void *data)
{
	SAY("destroy private=%d", data == &after_init ? 1 : data == &before_init ? 2 : 0);
}

static int op_getattr(PATH, struct stat *st, FI)
{
	const char *name = path ? strrchr(path, '/') + 1 : "open";
	long answer;

	SAY("getattr %s %s", text(path), info(fi));
	answer = result("getattr", *name == 'm' || strchr(name, '.') ? -ENOENT : 0);
	if (answer < 0)
		return answer;
	st->st_ino = 1000;
	st->st_mode = (*name == 'd' || !*name ? S_IFDIR : *name == 'l' ? S_IFLNK : S_IFREG) | 02640;
	st->st_nlink = 2;
	st->st_uid = 3;
	st->st_gid = 4;
	st->st_rdev = 0x1205;
	st->st_size = file_size;
	st->st_blksize = 4096;
	st->st_blocks = 6;
	st->st_atim = (struct timespec){ 7, 8 };
	st->st_mtim = (struct timespec){ 9, file_size };
	st->st_ctim = (struct timespec){ 11, 12 };
	if (answer > 0) /* a type */
		st->st_mode = answer;
	return 0;
}

static int op_readlink(PATH, char *buf, size_t size)
{
	long length = result("readlink", 6);

	SAY("readlink %s size=%zu", path, size);
	if (length < 0)
		return length;
	memset(buf, 'x', size);
	buf[length < (long)size ? length : (long)size - 1] = '\0';
	return 0;
}

OP(mknod, 0, "mode=%o rdev=%lx", (PATH, mode_t mode, dev_t rdev), mode, (long)rdev)
OP(mkdir, 0, "mode=%o", (PATH, mode_t mode), mode)
OP(unlink, 0, "%s", (PATH), "")
OP(rmdir, 0, "%s", (PATH), "")
OP(symlink, 0, "path=%s", (PATH, const char *to), to)
OP(rename, 0, "to=%s flags=%x", (PATH, const char *to, unsigned int flags), to, flags)
OP(link, 0, "to=%s", (PATH, const char *to), to)
OP(chmod, 0, "mode=%o %s", (PATH, mode_t mode, FI), mode, info(fi))
OP(chown, 0, "uid=%d gid=%d %s", (PATH, uid_t uid, gid_t gid, FI), (int)uid, (int)gid, info(fi))
OP(truncate, 0, "size=%lld %s", (PATH, off_t size, FI), (long long)size, info(fi))
OP(utimens, 0, "%lld.%ld %lld.%ld %s", (PATH, const struct timespec tv[2], FI),
   (long long)tv[0].tv_sec, (long)tv[0].tv_nsec, (long long)tv[1].tv_sec, (long)tv[1].tv_nsec,
   info(fi))

static int op_open(PATH, FI)
{
	SAY("open %s %s", path, info(fi));
	fi->fh = 0x77;
	return result("open", 0);
}

static int op_create(PATH, mode_t mode, FI)
{
	SAY("create %s mode=%o umask=%o %s", path, mode, F(fuse_get_context)()->umask, info(fi));
	fi->fh = 0x78;
	return result("create", 0);
}

static int op_read(PATH, char *buf, size_t size, off_t off, FI)
{
	SAY("read %s size=%zu off=%lld %s", text(path), size, (long long)off, info(fi));
	memset(buf, 'r', size);
	return result("read", size < 4 ? size : 4);
}

OP(write, (int)size, "%.*s size=%zu off=%lld %s", (PATH, const char *buf, size_t size, off_t off, FI),
   (int)size, buf, size, (long long)off, info(fi))

static int op_read_buf(PATH, struct fuse_bufvec **out, size_t size, off_t off, FI)
{
	struct fuse_bufvec *vec = calloc(1, sizeof(*vec));
	long length = result("read_buf", 5);

	SAY("read_buf %s size=%zu off=%lld %s", text(path), size, (long long)off, info(fi));
	if (length < 0) {
		free(vec);
		return length;
	}
	*vec = FUSE_BUFVEC_INIT(length);
	vec->buf[0].mem = malloc(length + 1);
	memset(vec->buf[0].mem, 'b', length);
	*out = vec;
	return 0;
}

static int op_write_buf(PATH, struct fuse_bufvec *buf, off_t off, FI)
{
	size_t size = F(fuse_buf_size)(buf);

	SAY("write_buf %s %.*s count=%zu off=%lld %s", text(path), (int)size,
	    (const char *)buf->buf[0].mem, buf->count, (long long)off, info(fi));
	return result("write_buf", size);
}

static int op_statfs(PATH, struct statvfs *st)
{
	SAY("statfs %s", text(path));
	*st = (struct statvfs){ .f_bsize = 1, .f_frsize = 2, .f_blocks = 3, .f_bfree = 4,
				.f_bavail = 5, .f_files = 6, .f_ffree = 7, .f_namemax = 8 };
	return result("statfs", 0);
}

OP(flush, 0, "%s", (PATH, FI), info(fi))
OP(release, 0, "%s", (PATH, FI), info(fi))
OP(fsync, 0, "datasync=%d %s", (PATH, int datasync, FI), datasync, info(fi))
OP(setxattr, 0, "name=%s value=%.*s flags=%x",
   (PATH, const char *name, const char *value, size_t size, int flags), name, (int)size, value, flags)

static int filled(const char *op, char *to, size_t size)
{
	long length = result(op, 7);

	if (length > 0 && size)
		memset(to, 'v', (size_t)length < size ? (size_t)length : size);
	return length;
}

static int op_getxattr(PATH, const char *name, char *value, size_t size)
{
	SAY("getxattr %s name=%s size=%zu to=%d", path, name, size, value != NULL);
	return filled("getxattr", value, size);
}

static int op_listxattr(PATH, char *list, size_t size)
{
	SAY("listxattr %s size=%zu to=%d", path, size, list != NULL);
	return filled("listxattr", list, size);
}

OP(removexattr, 0, "name=%s", (PATH, const char *name), name)

static int op_opendir(PATH, FI)
{
	SAY("opendir %s %s", path, info(fi));
	fi->fh = 0x79;
	fi->keep_cache = fi->cache_readdir = getenv("MOCK_CACHED") != NULL;
	return result("opendir", 0);
}

static int op_readdir(PATH, void *buf, fuse_fill_dir_t fill, off_t off, FI,
		      enum fuse_readdir_flags flags)
{
	char *rest, *entries = strdup(listing);

	SAY("readdir %s off=%lld flags=%d %s", text(path), (long long)off, flags, info(fi));
	for (char *entry = strtok_r(entries, " \n", &rest); entry; entry = strtok_r(NULL, " \n", &rest)) {
		struct stat st = { .st_ino = 1001, .st_size = file_size, .st_nlink = 1 };
		char name[256], mode[16];
		long next;
		int how, full;

		if (sscanf(entry, "%255[^,],%ld,%d,%15s", name, &next, &how, mode) != 4)
			exit(2);
		if (next && next <= off)
			continue;
		st.st_mode = strtoul(mode, NULL, 8);
		full = fill(buf, name, *mode == '-' ? NULL : &st, next, how);
		SAY("filled %s %d", name, full);
		if (full && !getenv("MOCK_GOES_ON"))
			break;
	}
	free(entries);
	return result("readdir", 0);
}

OP(releasedir, 0, "%s", (PATH, FI), info(fi))
OP(fsyncdir, 0, "datasync=%d %s", (PATH, int datasync, FI), datasync, info(fi))

static int op_access(PATH, int mask)
{
	struct fuse_context *context = F(fuse_get_context)();

	SAY("access %s mask=%o uid=%u gid=%u pid=%d private=%d fuse=%d interrupted=%d", path, mask,
	    context->uid, context->gid, context->pid, context->private_data == &after_init,
	    context->fuse == fuse, F(fuse_interrupted)());
	return result("access", 0);
}

static int op_lock(PATH, FI, int cmd, struct flock *lock)
{
	SAY("lock %s cmd=%d type=%d whence=%d start=%lld len=%lld pid=%d %s", text(path), cmd,
	    lock->l_type, lock->l_whence, (long long)lock->l_start, (long long)lock->l_len,
	    lock->l_pid, info(fi));
	if (cmd == F_GETLK)
		lock->l_type = F_UNLCK;
	return result("lock", 0);
}

OP(flock, 0, "op=%x %s", (PATH, FI, int op), op, info(fi))

static int op_bmap(PATH, size_t blocksize, uint64_t *index)
{
	SAY("bmap %s blocksize=%zu idx=%" PRIu64, path, blocksize, *index);
	*index += 1000;
	return result("bmap", 0);
}

static int op_ioctl(PATH, unsigned int cmd, void *arg, FI, unsigned int flags, void *data)
{
	SAY("ioctl %s cmd=%x arg=%p flags=%x data=%.3s %s", text(path), cmd, arg, flags,
	    data && (_IOC_DIR(cmd) & _IOC_WRITE) ? (char *)data : "-", info(fi));
	if (data)
		memset(data, 'i', 3);
	return result("ioctl", 0);
}

static int op_poll(PATH, FI, struct fuse_pollhandle *ph, unsigned int *revents)
{
	SAY("poll %s notify=%d %s", text(path), ph != NULL, info(fi));
	*revents = 4;
	if (ph)
		F(fuse_pollhandle_destroy)(ph);
	return result("poll", 0);
}

OP(fallocate, 0, "mode=%x off=%lld len=%lld %s", (PATH, int mode, off_t off, off_t len, FI), mode,
   (long long)off, (long long)len, info(fi))

static ssize_t op_copy_file_range(PATH, FI, off_t off, const char *to, struct fuse_file_info *fi_to,
				  off_t off_to, size_t size, int flags)
{
	SAY("copy_file_range %s fh=%lx off=%lld to=%s fh=%lx off=%lld size=%zu flags=%x", text(path),
	    (long)fi->fh, (long long)off, text(to), (long)fi_to->fh, (long long)off_to, size, flags);
	return result("copy_file_range", size);
}

static off_t op_lseek(PATH, off_t off, int whence, FI)
{
	SAY("lseek %s off=%lld whence=%d %s", text(path), (long long)off, whence, info(fi));
	return result("lseek", off + 100);
}

static const struct fuse_operations all = {
#define O(name) .name = op_##name
	O(init), O(destroy), O(getattr), O(readlink), O(mknod), O(mkdir), O(unlink), O(rmdir),
	O(symlink), O(rename), O(link), O(chmod), O(chown), O(truncate), O(utimens), O(open),
	O(create), O(read), O(write), O(read_buf), O(write_buf), O(statfs), O(flush), O(release),
	O(fsync), O(setxattr), O(getxattr), O(listxattr), O(removexattr), O(opendir), O(readdir),
	O(releasedir), O(fsyncdir), O(access), O(lock), O(flock), O(bmap), O(ioctl), O(poll),
	O(fallocate), O(copy_file_range), O(lseek),
};

static const struct {
	const char *name;
	size_t offset;
} slots[] = {
#define SLOT(op) { #op, offsetof(struct fuse_operations, op) }
	SLOT(getattr), SLOT(create), SLOT(mknod), SLOT(read), SLOT(write), SLOT(read_buf),
	SLOT(write_buf), SLOT(lock), SLOT(flock), SLOT(flush), SLOT(init), SLOT(destroy),
	SLOT(readdir),
};

/* The operations that the command line wants. */
static struct fuse_operations chosen(char *names)
{
	struct fuse_operations ops = all;
	int without = names[0] == '-';
	char *rest;

	if (strcmp(names, "all") == 0)
		return ops;
	if (!without)
		memset(&ops, 0, sizeof(ops));
	for (char *name = strtok_r(names + without, ":", &rest); name; name = strtok_r(NULL, ":", &rest))
		for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++)
			if (strcmp(name, slots[i].name) == 0)
				memcpy((char *)&ops + slots[i].offset,
				       without ? (const char *)&(void *){ NULL }
					       : (const char *)&all + slots[i].offset, sizeof(void *));
	return ops;
}

static void hide_directory(unsigned long unique, int error, unsigned char *body, size_t size)
{
	(void)unique;
	if (asked == OPENDIR && error == 0 && size >= sizeof(directory)) {
		memcpy(directory, body, sizeof(directory));
		memset(body, 0xff, sizeof(directory));
	}
}

static void request(unsigned int opcode, unsigned long unique, unsigned long node,
		    unsigned int uid, const char *hex)
{
	struct fuse_session *session = F(fuse_get_session)(fuse);
	unsigned char message[MESSAGE] = { 0 };
	unsigned int size = mock_request(message, opcode, unique, node, uid, hex), flags;
	int gid = 44, pid = 55;

	memcpy(message + 28, &gid, 4);
	memcpy(message + 32, &pid, 4);
	memcpy(&flags, message + HEADER + 8, 4);
	if (opcode == READDIR || opcode == READDIRPLUS || opcode == RELEASEDIR || opcode == FSYNCDIR ||
	    (opcode == IOCTL && (flags & IOCTL_DIR)))
		memcpy(message + HEADER, directory, sizeof(directory));
	asked = opcode;
	mock_serve(session, message, size);
	mock_answers(hide_directory);
	if (F(fuse_session_exited)(session))
		printf("exited\n");
}

static void expect(const char *op, long number, long count)
{
	for (int i = 0; i < EXPECTED; i++)
		if (expected[i].count == 0) {
			snprintf(expected[i].op, sizeof(expected[i].op), "%.31s", op);
			expected[i].result = number;
			expected[i].count = count;
			return;
		}
	exit(2);
}

int main(int argc, char **argv)
{
	typedef struct fuse *(*new)(struct fuse_args *, const struct fuse_operations *, size_t, void *);
	static char line[sizeof(listing)], hex[sizeof(listing)];
	struct fuse_operations ops;
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char mountpoint[32];
	int fd;

	if (argc < 3 || (fd = mock_open(argv[1])) < 0)
		return 2;
	ops = chosen(argv[2]);
	args.argv = argv + 2;
	args.argc = argc - 2;
	/* The tables of 3.14 end with lseek. */
	fuse = ((new)found(dlvsym(library, "fuse_new", "FUSE_3.1")))(
		&args, &ops, offsetof(struct fuse_operations, lseek) + sizeof(ops.lseek), &before_init);
	F(fuse_opt_free_args)(&args);
	if (!fuse)
		return 2;
	snprintf(mountpoint, sizeof(mountpoint), "/dev/fd/%d", fd);
	if (F(fuse_mount)(fuse, mountpoint) != 0)
		return 2;
	while (fgets(line, sizeof(line), stdin)) {
		unsigned int opcode, uid;
		unsigned long unique, node;
		long number, count = 1;

		printf("> %.60s%s", line, strlen(line) > 60 ? "...\n" : "");
		if (sscanf(line, "%u %lu %lu %u %4095s", &opcode, &unique, &node, &uid, hex) == 5)
			request(opcode, unique, node, uid, hex);
		else if (sscanf(line, "result %31s %ld %ld", hex, &number, &count) >= 2)
			expect(hex, number, count);
		else if (sscanf(line, "size %ld", &file_size) == 1)
			continue;
		else if (strncmp(line, "list ", 5) == 0)
			snprintf(listing, sizeof(listing), "%s", line + 5);
		else if (sscanf(line, "invalidate %255s", hex) == 1)
			printf("invalidated %d\n", F(fuse_invalidate_path)(fuse, hex)),
				asked = 0, mock_answers(hide_directory);
		else if (strcmp(line, "clean\n") == 0)
			printf("again in %d\n", F(fuse_clean_cache)(fuse));
		else if (strcmp(line, "end\n") == 0)
			break;
		else
			return 2;
	}
	F(fuse_unmount)(fuse);
	F(fuse_destroy)(fuse);
	return 0;
}
