/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * passthrough_ll: shows a directory tree at another place, by descriptors.
 *
 *     passthrough_ll -o source=DIR [options] MOUNTPOINT
 *
 * Each inode the kernel knows is a `struct node` holding an O_PATH descriptor,
 * so an inode stays the same one through renames, and no path is ever built.
 * An operation that needs a real descriptor reopens it through /proc/self/fd.
 *
 * Everything is done with the server's own credentials: files belong to
 * whoever runs this program, and whoever may use the mount may do what the
 * program may. Mount with -o default_permissions to have the kernel check.
 *
 * A `struct file` or `struct dir` belongs to the kernel's open file, from open to
 * release; nodes and locks have headers of their own.
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 312

#include "counts.h"
#include "passthrough_locks.h"
#include "passthrough_nodes.h"
#include "serve.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* ---- settings ---------------------------------------------------------- */

enum cache_mode { CACHE_NEVER, CACHE_AUTO, CACHE_ALWAYS };

static struct {
	char *source;
	char *stats;
	double timeout;
	int cache;
	int writeback;
	int flock;
	int xattr;
} settings = { .timeout = -1, .cache = CACHE_AUTO, .flock = 1, .xattr = 1 };

#define SETTING(template, field, value) { template, offsetof(__typeof__(settings), field), value }
static const struct fuse_opt options[] = {
	SETTING("source=%s", source, 0),
	SETTING("stats=%s", stats, 0),
	SETTING("timeout=%lf", timeout, 0),
	SETTING("cache=never", cache, CACHE_NEVER),
	SETTING("cache=auto", cache, CACHE_AUTO),
	SETTING("cache=always", cache, CACHE_ALWAYS),
	SETTING("writeback", writeback, 1),
	SETTING("no_writeback", writeback, 0),
	SETTING("flock", flock, 1),
	SETTING("no_flock", flock, 0),
	SETTING("xattr", xattr, 1),
	SETTING("no_xattr", xattr, 0),
	FUSE_OPT_END
};

static const char help[] =
	"    -o source=DIR          directory to show (default: /)\n"
	"    -o cache=never         no caching: direct I/O, attributes asked each time\n"
	"    -o cache=auto          names and attributes for 1 second, data until the next open (default)\n"
	"    -o cache=always        everything for a day: nobody else may change the source\n"
	"    -o timeout=SECONDS     another time for names and attributes\n"
	"    -o [no_]writeback      let the kernel delay and merge writes (default: no)\n"
	"    -o [no_]flock          pass flock() on to the source (default: yes)\n"
	"    -o [no_]xattr          extended attributes (default: yes)\n"
	"    -o stats=FILE          write how often each operation came, at exit and on SIGUSR1\n"
	"                           (without it SIGUSR1 prints to stderr)\n";

/* ---- helpers ----------------------------------------------------------- */

/* The place we mount on, as it was before. Without it a source that contains
 * the mount point would make the server wait for itself. */
static struct {
	int fd;
	dev_t parent_dev;
	ino_t parent_ino;
	char name[NAME_MAX + 1];
} covered = { .fd = -1 };

static struct node *node_of(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? &root : (struct node *)(uintptr_t)ino;
}

static fuse_ino_t ino_of(const struct node *node)
{
	return node == &root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)node;
}

static int fd_of(fuse_ino_t ino)
{
	return node_of(ino)->fd;
}

/* `result` is what a system call returned. */
static void reply_result(fuse_req_t req, int result)
{
	fuse_reply_err(req, result == -1 ? errno : 0);
}

/* Says once what the client cannot know: it is the server that has too many files open. */
static void explain_emfile(void)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;

	if (!atomic_flag_test_and_set(&said))
		fprintf(stderr, "passthrough_ll: out of descriptors, one is needed for every file the kernel "
			"remembers: raise the limit (ulimit -Hn) before starting, or let the kernel forget "
			"(echo 2 > /proc/sys/vm/drop_caches)\n");
}

/* Turns an O_PATH descriptor (or -1) into an answer for the kernel; 0 or an errno. */
static int make_entry(int fd, struct fuse_entry_param *entry)
{
	struct node *node;

	memset(entry, 0, sizeof(*entry));
	if (fd == -1) {
		int error = errno;

		if (error == EMFILE)
			explain_emfile();
		return error;
	}
	node = node_get(fd, &entry->attr);
	if (node == NULL)
		return errno;
	entry->ino = ino_of(node);
	entry->attr_timeout = settings.timeout;
	entry->entry_timeout = settings.timeout;
	return 0;
}

static int do_lookup(const struct node *parent, const char *name, struct fuse_entry_param *entry)
{
	if (covered.fd != -1 && parent->ino == covered.parent_ino && parent->dev == covered.parent_dev &&
	    strcmp(name, covered.name) == 0)
		return make_entry(fcntl(covered.fd, F_DUPFD_CLOEXEC, 0), entry);
	return make_entry(openat(parent->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), entry);
}

static void reply_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry;
	int error = do_lookup(node_of(parent), name, &entry);

	if (error) {
		fuse_reply_err(req, error);
	} else if (fuse_reply_entry(req, &entry) != 0) {
		node_put(node_of(entry.ino), 1);  /* the kernel did not get to know it */
	}
}

static void reply_attr(fuse_req_t req, fuse_ino_t ino)
{
	struct stat st;

	if (fstatat(fd_of(ino), "", &st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == -1)
		fuse_reply_err(req, errno);
	else
		fuse_reply_attr(req, &st, settings.timeout);
}

/* ---- names and attributes ---------------------------------------------- */

static void pt_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	COUNT(lookup);
	reply_lookup(req, parent, name);
}

static void pt_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	COUNT(forget);
	node_put(node_of(ino), nlookup);
	fuse_reply_none(req);
}

static void pt_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	COUNT(forget_multi);
	for (size_t i = 0; i < count; i++)
		node_put(node_of(forgets[i].ino), forgets[i].nlookup);
	fuse_reply_none(req);
}

static void pt_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	COUNT(getattr);
	reply_attr(req, ino);
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
static void pt_statx(fuse_req_t req, fuse_ino_t ino, int flags, int mask, struct fuse_file_info *fi)
{
	struct statx st;

	(void)fi;
	COUNT(statx);
	flags = (flags & AT_STATX_SYNC_TYPE) | AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
	if (statx(fd_of(ino), "", flags, mask, &st) == -1)
		fuse_reply_err(req, errno);
	else
		fuse_reply_statx(req, 0, &st, settings.timeout);
}
#endif

static struct timespec time_to_set(int to_set, int value, int now, struct timespec given)
{
	if (to_set & now)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	if (to_set & value)
		return given;
	return (struct timespec){ .tv_nsec = UTIME_OMIT };
}

static int set_attributes(int fd, const struct stat *attr, int to_set, int open_fd)
{
	struct proc_path path = proc_path(fd);

	if ((to_set & FUSE_SET_ATTR_MODE) && chmod(path.text, attr->st_mode) == -1)
		return -1;
	if (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) {
		uid_t uid = to_set & FUSE_SET_ATTR_UID ? attr->st_uid : (uid_t)-1;
		gid_t gid = to_set & FUSE_SET_ATTR_GID ? attr->st_gid : (gid_t)-1;

		if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == -1)
			return -1;
	}
	if (to_set & FUSE_SET_ATTR_SIZE) {
		/* An open descriptor may truncate where the mode no longer lets us open. */
		if (open_fd != -1 ? ftruncate(open_fd, attr->st_size) : truncate(path.text, attr->st_size))
			return -1;
	}
	if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME |
		      FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW)) {
		struct timespec times[2] = {
			time_to_set(to_set, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, attr->st_atim),
			time_to_set(to_set, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, attr->st_mtim),
		};

		/* The path ends at the inode itself, also if that is a symbolic link. */
		if (utimensat(AT_FDCWD, path.text, times, 0) == -1)
			return -1;
	}
	return 0;
}

struct file {
	int fd;         /* never O_APPEND: kernel write-back names its own offsets */
	int append_fd;  /* for writes that append; -1 unless opened with O_APPEND */
};

static struct file *file_of(const struct fuse_file_info *fi)
{
	return (struct file *)(uintptr_t)fi->fh;
}

static void pt_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	COUNT(setattr);
	if (set_attributes(fd_of(ino), attr, to_set, fi ? file_of(fi)->fd : -1) == -1)
		fuse_reply_err(req, errno);
	else
		reply_attr(req, ino);
}

/* Asks what the server itself may do, like everything else here. */
static void pt_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	COUNT(access);
	reply_result(req, faccessat(AT_FDCWD, proc_path(fd_of(ino)).text, mask, AT_EACCESS));
}

static void pt_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[PATH_MAX + 1];
	ssize_t length = readlinkat(fd_of(ino), "", target, sizeof(target));

	COUNT(readlink);
	if (length == -1) {
		fuse_reply_err(req, errno);
	} else if (length == sizeof(target)) {
		fuse_reply_err(req, ENAMETOOLONG);
	} else {
		target[length] = '\0';
		fuse_reply_readlink(req, target);
	}
}

static void pt_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;

	COUNT(statfs);
	if (fstatvfs(fd_of(ino), &st) == -1)
		fuse_reply_err(req, errno);
	else
		fuse_reply_statfs(req, &st);
}

/* ---- changing the tree -------------------------------------------------- */

/* Answers a request that made `name`, if `result` says that it could. */
static void reply_made(fuse_req_t req, int result, fuse_ino_t parent, const char *name)
{
	if (result == -1)
		fuse_reply_err(req, errno);
	else
		reply_lookup(req, parent, name);
}

static void pt_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	COUNT(mknod);
	reply_made(req, mknodat(fd_of(parent), name, mode, rdev), parent, name);
}

static void pt_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	COUNT(mkdir);
	reply_made(req, mkdirat(fd_of(parent), name, mode), parent, name);
}

static void pt_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	COUNT(symlink);
	reply_made(req, symlinkat(target, fd_of(parent), name), parent, name);
}

static void pt_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct proc_path path = proc_path(fd_of(ino));

	COUNT(link);
	reply_made(req, linkat(AT_FDCWD, path.text, fd_of(newparent), newname, AT_SYMLINK_FOLLOW),
		   newparent, newname);
}

static void pt_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	COUNT(unlink);
	reply_result(req, unlinkat(fd_of(parent), name, 0));
}

static void pt_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	COUNT(rmdir);
	reply_result(req, unlinkat(fd_of(parent), name, AT_REMOVEDIR));
}

static void pt_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		      const char *newname, unsigned int flags)
{
	if (flags)
		COUNT(rename2);
	else
		COUNT(rename);
	reply_result(req, renameat2(fd_of(parent), name, fd_of(newparent), newname, flags));
}

/* ---- open files --------------------------------------------------------- */

/* The flags for the descriptor behind a client's open file. */
static int server_flags(int flags)
{
	/* O_DIRECT is between client and kernel: here it would only demand
	 * alignment of buffers that are not ours. */
	flags &= ~(O_NOFOLLOW | O_DIRECT);
	/* To write back part of a page the kernel first reads the rest of it. */
	if (settings.writeback && (flags & O_ACCMODE) == O_WRONLY)
		flags = (flags & ~O_ACCMODE) | O_RDWR;
	return flags & ~O_APPEND;
}

/* Takes over `fd` (or -1). Fills in `fi`; 0 or an errno, then `fd` is closed. */
static int file_open(int fd, struct fuse_file_info *fi)
{
	struct file *file;

	if (fd == -1)
		return errno;
	file = malloc(sizeof(*file));
	if (file == NULL) {
		close(fd);
		return ENOMEM;
	}
	*file = (struct file){ .fd = fd, .append_fd = -1 };
	/* With writeback the kernel alone knows where the file ends. */
	if ((fi->flags & O_APPEND) && (fi->flags & O_ACCMODE) != O_RDONLY && !settings.writeback) {
		file->append_fd = reopen(fd, O_WRONLY | O_APPEND);
		if (file->append_fd == -1) {
			int error = errno;

			close(fd);
			free(file);
			return error;
		}
	}
	fi->fh = (uintptr_t)file;
	fi->direct_io = settings.cache == CACHE_NEVER;
	fi->keep_cache = settings.cache == CACHE_ALWAYS;
	return 0;
}

static void file_close(struct file *file)
{
	if (file->append_fd != -1)
		close(file->append_fd);
	close(file->fd);
	free(file);
}

static void pt_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	int error = file_open(reopen(fd_of(ino), server_flags(fi->flags)), fi);

	COUNT(open);
	if (error)
		fuse_reply_err(req, error);
	else if (fuse_reply_open(req, fi) != 0)
		file_close(file_of(fi));  /* the client went away: no release will come */
}

/* Answers a request that made and opened a file. Takes over `fd` (or -1). */
static void reply_created(fuse_req_t req, int fd, struct fuse_file_info *fi)
{
	struct fuse_entry_param entry;
	int error = file_open(fd, fi);

	if (error == 0) {
		/* From the descriptor, not by name: the name may mean another file by now. */
		error = make_entry(reopen(fd, O_PATH), &entry);
		if (error)
			file_close(file_of(fi));
	}
	if (error) {
		fuse_reply_err(req, error);
	} else if (fuse_reply_create(req, &entry, fi) != 0) {
		file_close(file_of(fi));
		node_put(node_of(entry.ino), 1);
	}
}

static void pt_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	int flags = server_flags(fi->flags) | O_CREAT | O_NOFOLLOW | O_CLOEXEC;

	COUNT(create);
	reply_created(req, openat(fd_of(parent), name, flags, mode), fi);
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
static void pt_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi)
{
	int flags = (server_flags(fi->flags) & ~O_CREAT) | O_TMPFILE | O_CLOEXEC;

	COUNT(tmpfile);
	reply_created(req, openat(fd_of(parent), ".", flags, mode), fi);
}
#endif

static void pt_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct fuse_bufvec from = FUSE_BUFVEC_INIT(size);

	(void)ino;
	COUNT(read);
	from.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	from.buf[0].fd = file_of(fi)->fd;
	from.buf[0].pos = off;
	fuse_reply_data(req, &from, FUSE_BUF_SPLICE_MOVE);
}

static void pt_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *data, off_t off,
			 struct fuse_file_info *fi)
{
	struct fuse_bufvec to = FUSE_BUFVEC_INIT(fuse_buf_size(data));
	struct file *file = file_of(fi);
	bool append = (fi->flags & O_APPEND) && !fi->writepage && file->append_fd != -1;
	ssize_t written;

	(void)ino;
	COUNT(write);
	to.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	to.buf[0].fd = append ? file->append_fd : file->fd;
	to.buf[0].pos = off;
	written = fuse_buf_copy(&to, data, 0);
	if (written < 0)
		fuse_reply_err(req, -written);
	else
		fuse_reply_write(req, written);
}

static void pt_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	int fd = file_of(fi)->fd;

	(void)ino;
	COUNT(fsync);
	reply_result(req, datasync ? fdatasync(fd) : fsync(fd));
}

static void pt_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	COUNT(release);
	file_close(file_of(fi));
	fuse_reply_err(req, 0);
}

static void pt_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t length,
			 struct fuse_file_info *fi)
{
	(void)ino;
	COUNT(fallocate);
	reply_result(req, fallocate(file_of(fi)->fd, mode, off, length));
}

static void pt_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	off_t found = lseek(file_of(fi)->fd, off, whence);

	(void)ino;
	COUNT(lseek);
	if (found == -1)
		fuse_reply_err(req, errno);
	else
		fuse_reply_lseek(req, found);
}

static void pt_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			       struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
			       struct fuse_file_info *fi_out, size_t length, int flags)
{
	ssize_t copied = copy_file_range(file_of(fi_in)->fd, &off_in, file_of(fi_out)->fd, &off_out,
					 length, flags);

	(void)ino_in;
	(void)ino_out;
	COUNT(copy_file_range);
	if (copied == -1)
		fuse_reply_err(req, errno);
	else
		fuse_reply_write(req, copied);
}

/* ---- directories -------------------------------------------------------- */

struct dir {
	DIR *stream;
	off_t offset;            /* where the stream stands */
	struct dirent *pending;  /* read already, but did not fit into the last answer */
};

static struct dir *dir_of(const struct fuse_file_info *fi)
{
	return (struct dir *)(uintptr_t)fi->fh;
}

static int dir_open(int parent_fd, struct fuse_file_info *fi)
{
	int fd = openat(parent_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dir *dir;

	if (fd == -1)
		return errno;
	dir = calloc(1, sizeof(*dir));
	if (dir)
		dir->stream = fdopendir(fd);
	if (dir == NULL || dir->stream == NULL) {
		close(fd);
		free(dir);
		return ENOMEM;
	}
	fi->fh = (uintptr_t)dir;
	fi->keep_cache = settings.cache == CACHE_ALWAYS;
	fi->cache_readdir = settings.cache == CACHE_ALWAYS;
	return 0;
}

static void dir_close(struct dir *dir)
{
	closedir(dir->stream);
	free(dir);
}

static void pt_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	int error = dir_open(fd_of(ino), fi);

	COUNT(opendir);
	if (error)
		fuse_reply_err(req, error);
	else if (fuse_reply_open(req, fi) != 0)
		dir_close(dir_of(fi));
}

/* Fills `buf` from the listing; the number of bytes, or -errno. With `plus` each
 * entry also counts as a lookup, as far as that succeeds. */
static ssize_t fill(fuse_req_t req, const struct node *node, struct dir *dir, char *buf, size_t size,
		    off_t off, bool plus)
{
	size_t used = 0;

	if (off != dir->offset) {
		seekdir(dir->stream, off);
		dir->offset = off;
		dir->pending = NULL;
	}
	for (;;) {
		struct dirent *next = dir->pending;
		struct fuse_entry_param entry = { .ino = 0 };
		size_t need;

		if (next == NULL) {
			errno = 0;
			next = readdir(dir->stream);
			if (next == NULL)
				return errno && used == 0 ? -errno : (ssize_t)used;
			dir->pending = next;
		}
		if (!plus || strcmp(next->d_name, ".") == 0 || strcmp(next->d_name, "..") == 0 ||
		    do_lookup(node, next->d_name, &entry) != 0) {
			entry.attr.st_ino = next->d_ino;
			entry.attr.st_mode = DTTOIF(next->d_type);
		}
		need = plus ? fuse_add_direntry_plus(req, buf + used, size - used, next->d_name, &entry, next->d_off)
			    : fuse_add_direntry(req, buf + used, size - used, next->d_name, &entry.attr, next->d_off);
		if (need > size - used) {
			if (entry.ino)
				node_put(node_of(entry.ino), 1);
			return used;
		}
		used += need;
		dir->offset = next->d_off;
		dir->pending = NULL;
	}
}

static void reply_listing(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			  struct fuse_file_info *fi, bool plus)
{
	char *buf = malloc(size);
	ssize_t used;

	if (buf == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	used = fill(req, node_of(ino), dir_of(fi), buf, size, off, plus);
	if (used < 0)
		fuse_reply_err(req, -used);
	else
		fuse_reply_buf(req, buf, used);
	free(buf);
}

static void pt_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	COUNT(readdir);
	reply_listing(req, ino, size, off, fi, false);
}

static void pt_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	COUNT(readdirplus);
	reply_listing(req, ino, size, off, fi, true);
}

static void pt_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	int fd = dirfd(dir_of(fi)->stream);

	(void)ino;
	COUNT(fsyncdir);
	reply_result(req, datasync ? fdatasync(fd) : fsync(fd));
}

static void pt_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	COUNT(releasedir);
	dir_close(dir_of(fi));
	fuse_reply_err(req, 0);
}

/* ---- extended attributes and inode flags -------------------------------- */

/* Without ENOSYS here the kernel would go on asking. */
static bool refuse_xattr(fuse_req_t req)
{
	if (!settings.xattr)
		fuse_reply_err(req, ENOSYS);
	return !settings.xattr;
}

static void pt_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			size_t size, int flags)
{
	COUNT(setxattr);
	if (!refuse_xattr(req))
		reply_result(req, setxattr(proc_path(fd_of(ino)).text, name, value, size, flags));
}

static void pt_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	COUNT(removexattr);
	if (!refuse_xattr(req))
		reply_result(req, removexattr(proc_path(fd_of(ino)).text, name));
}

/* Answers with a value (`name`) or with the list of names (NULL). */
static void reply_xattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct proc_path path = proc_path(fd_of(ino));
	char *buf = NULL;
	ssize_t length;

	if (refuse_xattr(req))
		return;
	if (size > 0 && (buf = malloc(size)) == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	length = name ? getxattr(path.text, name, buf, size) : listxattr(path.text, buf, size);
	if (length == -1)
		fuse_reply_err(req, errno);
	else if (size == 0)
		fuse_reply_xattr(req, length);
	else
		fuse_reply_buf(req, buf, length);
	free(buf);
}

static void pt_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	COUNT(getxattr);
	reply_xattr(req, ino, name, size);
}

static void pt_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	COUNT(listxattr);
	reply_xattr(req, ino, NULL, size);
}

/* Only what lsattr and chattr need: others have arguments we cannot judge. */
static void pt_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
		     struct fuse_file_info *fi, unsigned int flags, const void *in, size_t in_size,
		     size_t out_size)
{
	union {
		int flags;
		long wide_flags;
		struct fsxattr attributes;
	} data = { .attributes = { .fsx_xflags = 0 } };
	int fd = flags & FUSE_IOCTL_DIR ? dirfd(dir_of(fi)->stream) : file_of(fi)->fd;

	(void)ino;
	(void)arg;
	COUNT(ioctl);
	if ((cmd != FS_IOC_GETFLAGS && cmd != FS_IOC_SETFLAGS && cmd != FS_IOC_FSGETXATTR &&
	     cmd != FS_IOC_FSSETXATTR) || in_size > sizeof(data) || out_size > sizeof(data)) {
		fuse_reply_err(req, ENOTTY);
		return;
	}
	if (in_size > 0)
		memcpy(&data, in, in_size);
	if (ioctl(fd, cmd, &data) == -1)
		fuse_reply_err(req, errno);
	else
		fuse_reply_ioctl(req, 0, &data, out_size);
}

/* ---- locks -------------------------------------------------------------- */

static void pt_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
	int error = lock_query(node_of(ino), fi->lock_owner, lock);

	COUNT(getlk);
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_lock(req, lock);
}

static void pt_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock,
		     int sleep)
{
	struct lock_waiter wanted = {
		.req = req,
		.node = node_of(ino),
		.owner = fi->lock_owner,
		.lock = *lock,
		.flock_fd = -1,
	};

	if (sleep)
		COUNT(setlkw);
	else
		COUNT(setlk);
	wanted.lock.l_pid = 0;  /* open-file-description locks insist */
	lock_request(&wanted, sleep);
}

static void pt_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
	struct lock_waiter wanted = {
		.req = req,
		.node = node_of(ino),
		.flock_fd = file_of(fi)->fd,
		.flock_op = op,
	};

	COUNT(flock);
	lock_request(&wanted, !(op & LOCK_NB));
}

/* Closing a duplicate makes the source's filesystem report what it only finds
 * out on close, like a full quota. */
static void pt_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	int fd = fcntl(file_of(fi)->fd, F_DUPFD_CLOEXEC, 0);

	COUNT(flush);
	lock_drop(node_of(ino), fi->lock_owner);
	reply_result(req, fd == -1 ? -1 : close(fd));
}

/* ---- the session ---------------------------------------------------------- */

static void pt_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	serve_apply(conn);
	if (settings.writeback)
		serve_want(conn, FUSE_CAP_WRITEBACK_CACHE);
	settings.writeback = serve_wants(conn, FUSE_CAP_WRITEBACK_CACHE);
	if (!settings.flock)
		serve_unwant(conn, FUSE_CAP_FLOCK_LOCKS);
}

static const struct fuse_lowlevel_ops operations = {
	.init = pt_init,
	.lookup = pt_lookup,
	.forget = pt_forget,
	.forget_multi = pt_forget_multi,
	.getattr = pt_getattr,
	.setattr = pt_setattr,
	.access = pt_access,
	.readlink = pt_readlink,
	.statfs = pt_statfs,
	.mknod = pt_mknod,
	.mkdir = pt_mkdir,
	.symlink = pt_symlink,
	.link = pt_link,
	.unlink = pt_unlink,
	.rmdir = pt_rmdir,
	.rename = pt_rename,
	.create = pt_create,
	.open = pt_open,
	.read = pt_read,
	.write_buf = pt_write_buf,
	.flush = pt_flush,
	.fsync = pt_fsync,
	.release = pt_release,
	.fallocate = pt_fallocate,
	.lseek = pt_lseek,
	.copy_file_range = pt_copy_file_range,
	.opendir = pt_opendir,
	.readdir = pt_readdir,
	.readdirplus = pt_readdirplus,
	.fsyncdir = pt_fsyncdir,
	.releasedir = pt_releasedir,
	.setxattr = pt_setxattr,
	.getxattr = pt_getxattr,
	.listxattr = pt_listxattr,
	.removexattr = pt_removexattr,
	.ioctl = pt_ioctl,
	.getlk = pt_getlk,
	.setlk = pt_setlk,
	.flock = pt_flock,
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	.tmpfile = pt_tmpfile,
#endif
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	.statx = pt_statx,
#endif
};

static int failed(const char *what, const char *path)
{
	fprintf(stderr, "passthrough_ll: cannot %s %s: %s\n", what, path, strerror(errno));
	return -1;
}

/* Remembers what the mount is going to hide. */
static int note_covered(const char *mountpoint)
{
	const char *slash = strrchr(mountpoint, '/');
	struct stat st;

	if (slash == NULL || slash[1] == '\0')
		return 0;
	covered.fd = open(mountpoint, O_PATH | O_CLOEXEC);
	if (covered.fd == -1)
		return failed("open", mountpoint);
	if (fstatat(covered.fd, "..", &st, 0) == -1) {
		/* Not a directory, so no mount of ours will be found by walking the source. */
		close(covered.fd);
		covered.fd = -1;
		return 0;
	}
	covered.parent_dev = st.st_dev;
	covered.parent_ino = st.st_ino;
	snprintf(covered.name, sizeof(covered.name), "%s", slash + 1);
	return 0;
}

/* Every inode the kernel knows costs a descriptor, so take all we may have. */
static void raise_descriptor_limit(void)
{
	FILE *file = fopen("/proc/sys/fs/nr_open", "re");
	unsigned long most;
	struct rlimit limit;

	if (file && fscanf(file, "%lu", &most) == 1) {
		limit = (struct rlimit){ .rlim_cur = most, .rlim_max = most };
		if (setrlimit(RLIMIT_NOFILE, &limit) == 0) {  /* only as root */
			fclose(file);
			return;
		}
	}
	if (file)
		fclose(file);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int prepare(const char *mountpoint)
{
	const char *source = settings.source ? settings.source : "/";
	int fd;

	if (settings.timeout < 0)
		settings.timeout = settings.cache == CACHE_NEVER ? 0 : settings.cache == CACHE_AUTO ? 1 : 86400;

	raise_descriptor_limit();
	umask(0);  /* modes arrive with the client's umask taken off */

	fd = open(source, O_PATH | O_CLOEXEC);
	if (fd == -1 || nodes_start(fd) == -1)
		return failed("open", source);
	if (note_covered(mountpoint) != 0)
		return -1;

	if (counts_start(settings.stats) == -1)
		return failed("create", settings.stats);
	return 0;
}

int main(int argc, char **argv)
{
	const struct server server = {
		.ops = &operations,
		.help = help,
		.options = options,
		.settings = &settings,
		.prepare = prepare,
		.stop = locks_finish,
	};
	int status = serve(argc, argv, &server);

	counts_finish();
	nodes_finish();
	if (covered.fd != -1)
		close(covered.fd);
	free(settings.source);
	free(settings.stats);
	return status;
}
