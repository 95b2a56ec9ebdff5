/* The operations of trace_ll on open files. */
#include "trace.h"

#include <errno.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

void fill_open(struct fuse_file_info *fi, fuse_ino_t ino)
{
	static uint64_t serial;
	const char *name = name_of(ino);

	/* All 64 bits are the filesystem's: use them. */
	fi->fh = 0xfeed000000000000u | __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED);
	fi->direct_io = strstr(name, "direct") != NULL;
	fi->keep_cache = strstr(name, "keep") != NULL;
	fi->nonseekable = strstr(name, "nonseek") != NULL;
	fi->noflush = strstr(name, "noflush") != NULL;
	fi->cache_readdir = strstr(name, "list") != NULL;
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	trace(req, "open", "ino=%" PRIu64 "%s", ino, handle(fi));
	if (fails(req, "open", ino))
		return;
	fill_open(fi, ino);
	fuse_reply_open(req, fi);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		      mode_t mode, struct fuse_file_info *fi)
{
	struct fuse_entry_param e;
	struct node *node;

	trace(req, "create", "parent=%" PRIu64 " name=%s mode=%o%s", parent,
	      escaped(name), mode, handle(fi));
	if (fails_name(req, "create", name))
		return;
	pthread_mutex_lock(&nodes_lock);
	node = node_add(parent, name, S_IFREG | (mode & 07777));
	if (node)
		fill_entry(&e, node);
	pthread_mutex_unlock(&nodes_lock);
	if (!node) {
		fuse_reply_err(req, ENOSPC);
		return;
	}
	fill_open(fi, node->ino);
	fuse_reply_create(req, &e, fi);
}

/* A descriptor with `size` bytes of `data` behind `skip` other bytes. */
static int descriptor_with(const char *data, size_t size, off_t skip)
{
	int fd = memfd_create("trace_ll", MFD_CLOEXEC);

	if (fd < 0 || pwrite(fd, data, size, skip) != (ssize_t)size)
		abort();
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void reply_vector(fuse_req_t req, char *data, size_t size, int mixed)
{
	struct {
		struct fuse_bufvec vec;
		struct fuse_buf more[2];
	} b = { .vec = { .count = 3 } };
	size_t first = size / 3, second = size / 2 - first;
	int fd = -1;

	b.vec.buf[0].mem = data;
	b.vec.buf[0].size = first;
	b.more[0].size = second;
	if (mixed) {
		fd = descriptor_with(data + first, second, 13);
		b.more[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
		b.more[0].fd = fd;
		b.more[0].pos = 13;
	} else {
		b.more[0].mem = data + first;
	}
	b.more[1].mem = data + first + second;
	b.more[1].size = size - first - second;
	fuse_reply_data(req, &b.vec, 0);
	if (fd >= 0)
		close(fd);
}

static void reply_read(fuse_req_t req, const char *name, char *data,
		       size_t size)
{
	struct fuse_bufvec one = FUSE_BUFVEC_INIT(size);

	if (strstr(name, "iov")) {
		struct iovec iov[3] = {
			{ data, size / 4 },
			{ NULL, 0 },
			{ data + size / 4, size - size / 4 },
		};

		fuse_reply_iov(req, size ? iov : NULL, size ? 3 : 0);
	} else if (strstr(name, "databuf")) {
		one.buf[0].mem = data;
		fuse_reply_data(req, &one, FUSE_BUF_SPLICE_MOVE);
	} else if (strstr(name, "datafd")) {
		one.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_RETRY;
		one.buf[0].fd = descriptor_with(data, size, 0);
		fuse_reply_data(req, &one,
				strstr(name, "forced") ? FUSE_BUF_FORCE_SPLICE : 0);
		/* The bytes have been read when fuse_reply_data() returns. */
		if (ftruncate(one.buf[0].fd, 0) != 0)
			abort();
		close(one.buf[0].fd);
	} else if (strstr(name, "datavec") || strstr(name, "datamix")) {
		reply_vector(req, data, size, strstr(name, "datamix") != NULL);
	} else {
		fuse_reply_buf(req, data, size);
	}
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	const char *name = name_of(ino);
	struct node *node;
	char *copy = NULL;

	trace(req, "read", "ino=%" PRIu64 " size=%zu off=%" PRId64 "%s", ino, size, off,
	      handle(fi));
	if (fails(req, "read", ino))
		return;
	pthread_mutex_lock(&nodes_lock);
	node = node_get(ino);
	if (!node || off >= node->attr.st_size)
		size = 0;
	else if (off + (off_t)size > node->attr.st_size)
		size = node->attr.st_size - off;
	if (size) {
		copy = malloc(size);
		memcpy(copy, node->data + off, size);
	}
	pthread_mutex_unlock(&nodes_lock);
	reply_read(req, name, copy, size);
	free(copy);
}

static void write_and_reply(fuse_req_t req, fuse_ino_t ino, const char *data,
			    size_t size, off_t off)
{
	struct node *node;
	int err;

	pthread_mutex_lock(&nodes_lock);
	node = node_get(ino);
	err = node ? node_write(node, data, size, off) : ENOENT;
	pthread_mutex_unlock(&nodes_lock);
	if (err)
		fuse_reply_err(req, err);
	else
		fuse_reply_write(req, size);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf,
		     size_t size, off_t off, struct fuse_file_info *fi)
{
	trace(req, "write", "ino=%" PRIu64 " size=%zu off=%" PRId64 " fnv=%llx%s", ino, size,
	      off, (unsigned long long)fnv(buf, size), handle(fi));
	if (fails(req, "write", ino))
		return;
	/* "short": half of what was asked for */
	if (strstr(name_of(ino), "short"))
		size /= 2;
	write_and_reply(req, ino, buf, size, off);
}

static void op_write_buf(fuse_req_t req, fuse_ino_t ino,
			 struct fuse_bufvec *bufv, off_t off,
			 struct fuse_file_info *fi)
{
	size_t size = fuse_buf_size(bufv);
	struct fuse_bufvec flat = FUSE_BUFVEC_INIT(size);
	ssize_t got;

	flat.buf[0].mem = malloc(size + 1);
	got = fuse_buf_copy(&flat, bufv, 0);
	trace(req, "write_buf", "ino=%" PRIu64 " size=%zu got=%zd off=%" PRId64 " fnv=%llx%s",
	      ino, size, got, off,
	      (unsigned long long)fnv(flat.buf[0].mem, size), handle(fi));
	if (!fails(req, "write", ino))
		write_and_reply(req, ino, flat.buf[0].mem, size, off);
	free(flat.buf[0].mem);
}

/* An operation that has nothing to do. */
static void done(fuse_req_t req, const char *op, fuse_ino_t ino,
		 const struct fuse_file_info *fi)
{
	trace(req, op, "ino=%" PRIu64 "%s", ino, handle(fi));
	if (!fails(req, op, ino))
		fuse_reply_err(req, 0);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	done(req, "flush", ino, fi);
}

static void op_release(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	done(req, "release", ino, fi);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
		     struct fuse_file_info *fi)
{
	trace(req, "fsync", "ino=%" PRIu64 " datasync=%d%s", ino, datasync, handle(fi));
	if (!fails(req, "fsync", ino))
		fuse_reply_err(req, 0);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset,
			 off_t length, struct fuse_file_info *fi)
{
	struct node *node;
	int err = 0;

	trace(req, "fallocate", "ino=%" PRIu64 " mode=%x off=%" PRId64 " length=%" PRId64 "%s", ino,
	      mode, offset, length, handle(fi));
	if (fails(req, "fallocate", ino))
		return;
	pthread_mutex_lock(&nodes_lock);
	node = node_get(ino);
	if (!node)
		err = ENOENT;
	else if (!(mode & FALLOC_FL_KEEP_SIZE) &&
		 offset + length > node->attr.st_size)
		err = node_resize(node, offset + length);
	else if (mode & FALLOC_FL_PUNCH_HOLE && offset + length <= node->attr.st_size)
		memset(node->data + offset, 0, length);
	pthread_mutex_unlock(&nodes_lock);
	fuse_reply_err(req, err);
}

/* By way of a buffer: both may be one file, whose data moves when it grows. */
static int copy(struct node *in, off_t off_in, struct node *out, off_t off_out,
		size_t len)
{
	char *data = malloc(len + 1);
	int err = ENOMEM;

	if (data && len > 0)
		memcpy(data, in->data + off_in, len);
	if (data)
		err = node_write(out, data, len, off_out);
	free(data);
	return err;
}

static void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			       struct fuse_file_info *fi_in,
			       fuse_ino_t ino_out, off_t off_out,
			       struct fuse_file_info *fi_out, size_t len,
			       int flags)
{
	struct node *in, *out;
	int err = ENOENT;

	trace(req, "copy_file_range", "ino=%" PRIu64 " off=%" PRId64 " fh_in=%llx ino_out=%" PRIu64
	      " off_out=%" PRId64 " fh_out=%llx len=%zu copy_flags=%x", ino_in, off_in,
	      (unsigned long long)fi_in->fh, ino_out, off_out,
	      (unsigned long long)fi_out->fh, len, flags);
	if (fails(req, "copy", ino_in))
		return;
	pthread_mutex_lock(&nodes_lock);
	in = node_get(ino_in);
	out = node_get(ino_out);
	if (in && out) {
		if (off_in + (off_t)len > in->attr.st_size)
			len = off_in < in->attr.st_size ?
				in->attr.st_size - off_in : 0;
		err = copy(in, off_in, out, off_out, len);
	}
	pthread_mutex_unlock(&nodes_lock);
	if (err)
		fuse_reply_err(req, err);
	else
		fuse_reply_write(req, len);
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		     struct fuse_file_info *fi)
{
	trace(req, "lseek", "ino=%" PRIu64 " off=%" PRId64 " whence=%d%s", ino, off, whence,
	      handle(fi));
	if (fails(req, "lseek", ino))
		return;
	/* Data in every odd page, holes in every even one. */
	if (!!(off & 4096) == (whence == SEEK_DATA))
		fuse_reply_lseek(req, off);
	else
		fuse_reply_lseek(req, (off | 4095) + 1);
}

static void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd,
		     void *arg, struct fuse_file_info *fi, unsigned flags,
		     const void *in_buf, size_t in_bufsz, size_t out_bufsz)
{
	char out[64], *half = out + sizeof(out) / 2;
	struct iovec iov[2] = { { out, sizeof(out) / 2 },
				{ half, sizeof(out) / 2 } };

	trace(req, "ioctl", "ino=%" PRIu64 " cmd=%x arg=%lx ioctl_flags=%x in=%zu"
	      " out=%zu fnv=%llx%s", ino, cmd, (unsigned long)arg, flags,
	      in_bufsz, out_bufsz,
	      (unsigned long long)fnv(in_buf, in_buf ? in_bufsz : 0),
	      handle(fi));
	if (fails(req, "ioctl", ino))
		return;
	switch (cmd) {
	case _IO('T', 1):
		fuse_reply_ioctl(req, 7, NULL, 0);
		break;
	case _IOR('T', 2, char[64]):
		for (size_t i = 0; i < sizeof(out); i++)
			out[i] = i * 3;
		fuse_reply_ioctl(req, 8, out, sizeof(out));
		break;
	case _IOW('T', 3, char[64]):
		fuse_reply_ioctl(req, 9, NULL, 0);
		break;
	case _IOWR('T', 4, char[64]):
		for (size_t i = 0; i < sizeof(out); i++)
			out[i] = ((const char *)in_buf)[sizeof(out) - 1 - i];
		fuse_reply_ioctl_iov(req, 10, iov, 2);
		break;
	case _IO('T', 5):
		/* The kernel grants this to character devices only. */
		fuse_reply_ioctl_retry(req, iov, 1, iov + 1, 1);
		break;
	default:
		fuse_reply_err(req, ENOTTY);
	}
}

static void op_bmap(fuse_req_t req, fuse_ino_t ino, size_t blocksize,
		    uint64_t idx)
{
	trace(req, "bmap", "ino=%" PRIu64 " blocksize=%zu idx=%" PRIu64, ino, blocksize, idx);
	if (!fails(req, "bmap", ino))
		fuse_reply_bmap(req, idx * 2 + 7);
}

static void op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		     struct flock *lock)
{
	trace(req, "getlk", "ino=%" PRIu64 " type=%d start=%" PRId64 " len=%" PRId64 " lock_pid=%d%s",
	      ino, lock->l_type, lock->l_start, lock->l_len, lock->l_pid,
	      handle(fi));
	if (fails(req, "getlk", ino))
		return;
	/* Somebody holds bytes 1000 to 1099. */
	if (lock->l_start < 1100 &&
	    (lock->l_len == 0 || lock->l_start + lock->l_len > 1000)) {
		lock->l_type = F_WRLCK;
		lock->l_start = 1000;
		lock->l_len = 100;
		lock->l_pid = 1;
	} else {
		lock->l_type = F_UNLCK;
	}
	fuse_reply_lock(req, lock);
}

static void op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		     int op)
{
	trace(req, "flock", "ino=%" PRIu64 " op=%d%s", ino, op, handle(fi));
	if (!fails(req, "flock", ino))
		fuse_reply_err(req, 0);
}

#if FUSE_MINOR_VERSION >= 17
static void op_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode,
		       struct fuse_file_info *fi)
{
	struct fuse_entry_param e;
	struct node *node;

	trace(req, "tmpfile", "parent=%" PRIu64 " mode=%o%s", parent, mode, handle(fi));
	pthread_mutex_lock(&nodes_lock);
	node = node_add(0, "", S_IFREG | (mode & 07777));
	if (node) {
		node->attr.st_nlink = 0;
		fill_entry(&e, node);
	}
	pthread_mutex_unlock(&nodes_lock);
	if (!node) {
		fuse_reply_err(req, ENOSPC);
		return;
	}
	fill_open(fi, node->ino);
	fuse_reply_create(req, &e, fi);
}
#endif

#if FUSE_MINOR_VERSION >= 18
static struct statx_timestamp statx_time(const struct timespec *time)
{
	return (struct statx_timestamp){ .tv_sec = time->tv_sec,
					 .tv_nsec = time->tv_nsec };
}

static void op_statx(fuse_req_t req, fuse_ino_t ino, int flags, int mask,
		     struct fuse_file_info *fi)
{
	struct statx stx = { .stx_mask = STATX_BASIC_STATS | STATX_BTIME };
	struct node *node;

	trace(req, "statx", "ino=%" PRIu64 " statx_flags=%x mask=%x%s", ino, flags,
	      mask, handle(fi));
	pthread_mutex_lock(&nodes_lock);
	node = node_get(ino);
	if (node) {
		stx.stx_mode = node->attr.st_mode;
		stx.stx_nlink = node->attr.st_nlink;
		stx.stx_uid = node->attr.st_uid;
		stx.stx_gid = node->attr.st_gid;
		stx.stx_ino = ino;
		stx.stx_size = node->attr.st_size;
		stx.stx_blocks = node->attr.st_blocks;
		stx.stx_blksize = node->attr.st_blksize;
		stx.stx_atime = statx_time(&node->attr.st_atim);
		stx.stx_mtime = statx_time(&node->attr.st_mtim);
		stx.stx_ctime = statx_time(&node->attr.st_ctim);
		stx.stx_btime.tv_sec = NODE_SECONDS - 1;
		stx.stx_btime.tv_nsec = NODE_NANOSECONDS;
	}
	pthread_mutex_unlock(&nodes_lock);
	if (node)
		fuse_reply_statx(req, 0, &stx, 0);
	else
		fuse_reply_err(req, ENOENT);
}
#endif

void trace_file_ops(struct fuse_lowlevel_ops *ops)
{
	ops->open = op_open;
	ops->create = op_create;
	ops->read = op_read;
	ops->write = op_write;
	ops->write_buf = op_write_buf;
	ops->flush = op_flush;
	ops->release = op_release;
	ops->fsync = op_fsync;
	ops->fallocate = op_fallocate;
	ops->copy_file_range = op_copy_file_range;
	ops->lseek = op_lseek;
	ops->ioctl = op_ioctl;
	ops->bmap = op_bmap;
	ops->getlk = op_getlk;
	ops->setlk = trace_setlk;
	ops->flock = op_flock;
	ops->poll = trace_poll;
	ops->retrieve_reply = trace_retrieve_reply;
#if FUSE_MINOR_VERSION >= 17
	ops->tmpfile = op_tmpfile;
#endif
#if FUSE_MINOR_VERSION >= 18
	ops->statx = op_statx;
#endif
}
