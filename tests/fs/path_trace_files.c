/* The operations of path_trace on open files. */
#include "path_trace.h"

#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <poll.h>

static struct fuse_pollhandle *kept;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *last(const char *path)
{
	return path ? strrchr(path, '/') + 1 : "";
}

static int opened(int fd, struct fuse_file_info *fi)
{
	if (fd < 0)
		return -errno;
	fi->fh = HANDLE + fd;
	return 0;
}

static int op_open(const char *path, struct fuse_file_info *fi)
{
	int res = fails("open", path);

	note("open", "path=%s%s", shown(path), file(fi));
	if (res)
		return res;
	return opened(open(below(path), fi->flags & ~O_NOFOLLOW, 0), fi);
}

static int op_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	int res = fails("create", path);

	note("create", "path=%s mode=%o%s", shown(path), mode, file(fi));
	if (res)
		return res;
	return opened(open(below(path), fi->flags | O_CREAT, mode), fi);
}

/* Until the reader is interrupted: by a signal to this thread, or so it is told. */
static int wait_for_interrupt(void)
{
	struct timespec moment = { 0, 1000000 };
	int signals = 0;

	while (!fuse_interrupted())
		if (nanosleep(&moment, NULL) != 0)
			signals++;
	/* With `intr` the signal comes, at the latest, again. */
	for (int i = 0; i < 5000 && !signals; i++)
		if (nanosleep(&moment, NULL) != 0)
			signals++;
		else if (!strstr(settings.cfg ? settings.cfg : "", "intr=1"))
			break;
	note("interrupted", "signals=%d", signals > 0);
	return -EINTR;
}

static int op_read(const char *path, char *buf, size_t size, off_t off,
		   struct fuse_file_info *fi)
{
	note("read", "path=%s size=%zu off=%lld%s", shown(path), size,
	     (long long)off, file(fi));
	if (strncmp(last(path), "wait", 4) == 0)
		return wait_for_interrupt();
	return sys(pread(FD(fi), buf, size, off));
}

static int op_read_buf(const char *path, struct fuse_bufvec **bufp,
		       size_t size, off_t off, struct fuse_file_info *fi)
{
	struct fuse_bufvec *vec = malloc(sizeof(*vec));

	note("read_buf", "path=%s size=%zu off=%lld%s", shown(path), size,
	     (long long)off, file(fi));
	*vec = FUSE_BUFVEC_INIT(size);
	if (strncmp(last(path), "null", 4) == 0) {
		ssize_t got;

		vec->buf[0].mem = malloc(size);
		got = pread(FD(fi), vec->buf[0].mem, size, off);
		vec->buf[0].size = got < 0 ? 0 : got;
	} else {
		vec->buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
		vec->buf[0].fd = FD(fi);
		vec->buf[0].pos = off;
	}
	*bufp = vec;
	return 0;
}

static int op_write(const char *path, const char *buf, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	note("write", "path=%s size=%zu off=%lld%s", shown(path), size,
	     (long long)off, file(fi));
	return sys(pwrite(FD(fi), buf, size, off));
}

static int op_write_buf(const char *path, struct fuse_bufvec *buf, off_t off,
			struct fuse_file_info *fi)
{
	struct fuse_bufvec to = FUSE_BUFVEC_INIT(fuse_buf_size(buf));

	note("write_buf", "path=%s size=%zu off=%lld%s", shown(path),
	     fuse_buf_size(buf), (long long)off, file(fi));
	to.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	to.buf[0].fd = FD(fi);
	to.buf[0].pos = off;
	return fuse_buf_copy(&to, buf, 0);
}

static int op_flush(const char *path, struct fuse_file_info *fi)
{
	note("flush", "path=%s owner=%" PRIx64 "%s", shown(path), fi->lock_owner,
	     file(fi));
	return fails("flush", path);
}

static int op_release(const char *path, struct fuse_file_info *fi)
{
	note("release", "path=%s%s", shown(path), file(fi));
	close(FD(fi));
	return 0;
}

static int op_fsync(const char *path, int datasync, struct fuse_file_info *fi)
{
	note("fsync", "path=%s datasync=%d%s", shown(path), datasync, file(fi));
	return fails("fsync", path);
}

/* Locks are the backing file's, by open file description. */
static int op_lock(const char *path, struct fuse_file_info *fi, int cmd,
		   struct flock *lock)
{
	static const char *const names[] = { "getlk", "setlk", "setlkw" };
	struct flock asked = *lock;

	note("lock", "path=%s cmd=%s owner=%" PRIx64
	     " type=%d whence=%d start=%lld len=%lld lpid=%d%s", shown(path),
	     names[cmd == F_GETLK ? 0 : cmd == F_SETLK ? 1 : 2], fi->lock_owner,
	     lock->l_type, lock->l_whence, (long long)lock->l_start,
	     (long long)lock->l_len, lock->l_pid, file(fi));
	if (strncmp(last(path), "busy", 4) == 0 && cmd == F_GETLK) {
		lock->l_type = F_WRLCK;
		lock->l_start = 100;
		lock->l_len = 7;
		lock->l_pid = 4711;
		return 0;
	}
	asked.l_pid = 0;
	if (cmd == F_GETLK) {
		if (fcntl(FD(fi), F_OFD_GETLK, &asked) != 0)
			return -errno;
		*lock = asked;
		return 0;
	}
	return sys(fcntl(FD(fi), cmd == F_SETLK ? F_OFD_SETLK : F_OFD_SETLKW,
			 &asked));
}

static int op_flock(const char *path, struct fuse_file_info *fi, int op)
{
	note("flock", "path=%s op=%d owner=%" PRIx64 "%s", shown(path), op,
	     fi->lock_owner, file(fi));
	return sys(flock(FD(fi), op));
}

static int op_ioctl(const char *path, unsigned int cmd, void *arg,
		    struct fuse_file_info *fi, unsigned int flags, void *data)
{
	unsigned size = _IOC_SIZE(cmd);
	char *bytes = data;

	(void)arg;
	note("ioctl", "path=%s cmd=%x flags=%x data=%d first=%d%s", shown(path),
	     cmd, flags, data != NULL,
	     data && (_IOC_DIR(cmd) & _IOC_WRITE) ? bytes[0] : -1, file(fi));
	if (_IOC_TYPE(cmd) != 'T')
		return -ENOTTY;
	for (unsigned i = 0; data && (_IOC_DIR(cmd) & _IOC_READ) && i < size; i++)
		bytes[i] += 1;
	return 42;
}

static int op_poll(const char *path, struct fuse_file_info *fi,
		   struct fuse_pollhandle *ph, unsigned *reventsp)
{
	struct fuse_pollhandle *before = NULL;
	static int ready;

	note("poll", "path=%s handle=%d events=%x%s", shown(path), ph != NULL,
	     fi->poll_events, file(fi));
	pthread_mutex_lock(&kept_lock);
	if (ph) {
		before = kept;
		kept = ph;
	}
	*reventsp = ready++ ? POLLIN : 0;
	pthread_mutex_unlock(&kept_lock);
	if (before)
		fuse_pollhandle_destroy(before);
	return 0;
}

long path_notify(void)
{
	struct fuse_pollhandle *ph;
	long res;

	pthread_mutex_lock(&kept_lock);
	ph = kept;
	kept = NULL;
	pthread_mutex_unlock(&kept_lock);
	if (!ph)
		return -ENOENT;
	res = fuse_notify_poll(ph);
	fuse_pollhandle_destroy(ph);
	return res;
}

static int op_fallocate(const char *path, int mode, off_t off, off_t len,
			struct fuse_file_info *fi)
{
	note("fallocate", "path=%s mode=%d off=%lld len=%lld%s", shown(path),
	     mode, (long long)off, (long long)len, file(fi));
	return sys(fallocate(FD(fi), mode, off, len));
}

static ssize_t op_copy_file_range(const char *path_in,
				  struct fuse_file_info *fi_in, off_t off_in,
				  const char *path_out,
				  struct fuse_file_info *fi_out, off_t off_out,
				  size_t size, int flags)
{
	note("copy_file_range",
	     "path=%s off=%lld to=%s off_to=%lld size=%zu copyflags=%d%s",
	     shown(path_in), (long long)off_in, shown(path_out),
	     (long long)off_out, size, flags, file(fi_in));
	return sys(copy_file_range(FD(fi_in), &off_in, FD(fi_out), &off_out,
				   size, flags));
}

static off_t op_lseek(const char *path, off_t off, int whence,
		      struct fuse_file_info *fi)
{
	off_t res;

	note("lseek", "path=%s off=%lld whence=%d%s", shown(path),
	     (long long)off, whence, file(fi));
	res = lseek(FD(fi), off, whence);
	return res < 0 ? -errno : res;
}

static int op_bmap(const char *path, size_t blocksize, uint64_t *idx)
{
	note("bmap", "path=%s blocksize=%zu idx=%" PRIu64, shown(path), blocksize,
	     *idx);
	*idx += 1000;
	return 0;
}

void path_file_ops(struct fuse_operations *ops)
{
	ops->open = op_open;
	ops->create = op_create;
	ops->read = op_read;
	ops->read_buf = op_read_buf;
	ops->write = op_write;
	ops->write_buf = op_write_buf;
	ops->flush = op_flush;
	ops->release = op_release;
	ops->fsync = op_fsync;
	ops->lock = op_lock;
	ops->flock = op_flock;
	ops->ioctl = op_ioctl;
	ops->poll = op_poll;
	ops->fallocate = op_fallocate;
	ops->copy_file_range = op_copy_file_range;
	ops->lseek = op_lseek;
	ops->bmap = op_bmap;
}
