/*
 * The commands of trace_ll: notifications to the kernel, and what wakes a
 * client that waits in poll or for a lock. NAME is a name in the root
 * directory; the answer of a notification is what the library returned.
 *
 *     node NAME                     its inode number
 *     content NAME TEXT             changes the contents without notice
 *     inval_inode NAME OFF LEN
 *     inval_entry|expire_entry NAME
 *     delete NAME [CHILD]           CHILD: inode number to name instead
 *     store NAME OFF TEXT           the size of the node follows
 *     store_fd NAME OFF TEXT        the same from a descriptor
 *     retrieve NAME SIZE OFF COOKIE
 *     epoch                         fuse_lowlevel_notify_increment_epoch
 *     ready NAME                    poll answers POLLIN; wakes who waits
 *     grant                         answers every lock request that waits
 *     waiting                       how many those are
 */
#include "trace.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_WAITING 64

/* All under nodes_lock. */
static struct fuse_pollhandle *poll_waiter;
static int poll_ready;
static fuse_req_t lock_waiters[MAX_WAITING];
static int lock_waiting;

void trace_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		struct fuse_pollhandle *ph)
{
	struct fuse_pollhandle *old = NULL;
	unsigned int events;

	trace(req, "poll", "ino=%" PRIu64 " notify=%d%s", ino, ph != NULL, handle(fi));
	if (fails(req, "poll", ino)) {
		fuse_pollhandle_destroy(ph);
		return;
	}
	pthread_mutex_lock(&nodes_lock);
	if (ph) {
		old = poll_waiter;
		poll_waiter = ph;
	}
	events = poll_ready ? POLLIN | POLLRDNORM : 0;
	pthread_mutex_unlock(&nodes_lock);
	if (old)
		fuse_pollhandle_destroy(old);
	fuse_reply_poll(req, events);
}

static long make_ready(void)
{
	struct fuse_pollhandle *ph;
	long res;

	pthread_mutex_lock(&nodes_lock);
	poll_ready = 1;
	ph = poll_waiter;
	poll_waiter = NULL;
	pthread_mutex_unlock(&nodes_lock);
	if (!ph)
		return -ENOENT;
	res = fuse_lowlevel_notify_poll(ph);
	fuse_pollhandle_destroy(ph);
	return res;
}

static void lock_interrupted(fuse_req_t req, void *data)
{
	int mine = 0;

	(void)data;
	pthread_mutex_lock(&nodes_lock);
	for (int i = 0; i < lock_waiting; i++) {
		if (lock_waiters[i] == req) {
			lock_waiters[i] = lock_waiters[--lock_waiting];
			mine = 1;
			break;
		}
	}
	pthread_mutex_unlock(&nodes_lock);
	if (mine)
		fuse_reply_err(req, EINTR);
}

/* Bytes from 2000 are held by somebody who never lets go, bytes from 3000 by
 * somebody who does on "grant". */
void trace_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		 struct flock *lock, int sleep)
{
	int waits = 0;

	trace(req, "setlk", "ino=%" PRIu64 " type=%d whence=%d start=%" PRId64 " len=%" PRId64
	      " lock_pid=%d sleep=%d%s", ino, lock->l_type, lock->l_whence,
	      lock->l_start, lock->l_len, lock->l_pid, sleep, handle(fi));
	if (fails(req, "setlk", ino))
		return;
	if (lock->l_type == F_UNLCK || lock->l_start < 2000) {
		fuse_reply_err(req, 0);
		return;
	}
	if (!sleep || lock->l_start < 3000) {
		fuse_reply_err(req, EAGAIN);
		return;
	}
	pthread_mutex_lock(&nodes_lock);
	if (lock_waiting < MAX_WAITING) {
		lock_waiters[lock_waiting++] = req;
		waits = 1;
	}
	pthread_mutex_unlock(&nodes_lock);
	if (waits)
		fuse_req_interrupt_func(req, lock_interrupted, NULL);
	else
		fuse_reply_err(req, ENOLCK);
}

static long grant_locks(void)
{
	fuse_req_t granted[MAX_WAITING];
	int count;

	pthread_mutex_lock(&nodes_lock);
	count = lock_waiting;
	lock_waiting = 0;
	memcpy(granted, lock_waiters, sizeof(granted));
	pthread_mutex_unlock(&nodes_lock);
	for (int i = 0; i < count; i++)
		fuse_reply_err(granted[i], 0);
	return count;
}

void trace_retrieve_reply(fuse_req_t req, void *cookie, fuse_ino_t ino,
			  off_t offset, struct fuse_bufvec *bufv)
{
	size_t size = fuse_buf_size(bufv);
	struct fuse_bufvec flat = FUSE_BUFVEC_INIT(size);

	flat.buf[0].mem = malloc(size + 1);
	fuse_buf_copy(&flat, bufv, 0);
	trace(NULL, "retrieve_reply", "cookie=%lx ino=%" PRIu64 " off=%" PRId64 " size=%zu"
	      " fnv=%llx", (unsigned long)cookie, ino, offset, size,
	      (unsigned long long)fnv(flat.buf[0].mem, size));
	free(flat.buf[0].mem);
	fuse_reply_none(req);
}

static long store(struct fuse_session *se, struct node *node, off_t off,
		  char *text, int from_fd)
{
	size_t length = strlen(text);
	struct fuse_bufvec buf = FUSE_BUFVEC_INIT(length);
	int fd = -1;
	long res;

	pthread_mutex_lock(&nodes_lock);
	if (off + (off_t)length > node->attr.st_size)
		node_resize(node, off + length);
	pthread_mutex_unlock(&nodes_lock);
	buf.buf[0].mem = text;
	if (from_fd) {
		fd = memfd_create("store", MFD_CLOEXEC);
		if (fd < 0 || write(fd, text, length) != (ssize_t)length)
			abort();
		buf.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
		buf.buf[0].fd = fd;
	}
	res = fuse_lowlevel_notify_store(se, node->ino, off, &buf, 0);
	if (fd >= 0)
		close(fd);
	return res;
}

static long notify(struct fuse_session *se, struct node *node, int argc,
		   char **argv)
{
	const char *what = argv[0], *name = argv[1];
	long first = argc > 2 ? atol(argv[2]) : 0;
	long second = argc > 3 ? atol(argv[3]) : 0;

	if (strcmp(what, "inval_inode") == 0)
		return fuse_lowlevel_notify_inval_inode(se, node->ino, first,
							second);
	if (strcmp(what, "inval_entry") == 0)
		return fuse_lowlevel_notify_inval_entry(se, FUSE_ROOT_ID, name,
							strlen(name));
	if (strcmp(what, "expire_entry") == 0)
		return fuse_lowlevel_notify_expire_entry(se, FUSE_ROOT_ID, name,
							 strlen(name)
#if FUSE_VERSION < 316
							 , FUSE_LL_EXPIRE_ONLY
#endif
							 );
	if (strcmp(what, "delete") == 0)
		return fuse_lowlevel_notify_delete(se, FUSE_ROOT_ID,
						   first ? first : (long)node->ino,
						   name, strlen(name));
	if (strcmp(what, "store") == 0 && argc > 3)
		return store(se, node, first, argv[3], 0);
	if (strcmp(what, "store_fd") == 0 && argc > 3)
		return store(se, node, first, argv[3], 1);
	if (strcmp(what, "retrieve") == 0 && argc > 4)
		return fuse_lowlevel_notify_retrieve(se, node->ino, first,
						     second,
						     (void *)strtoul(argv[4], NULL, 16));
	return -EINVAL;
}

static long waiting_locks(void)
{
	long count;

	pthread_mutex_lock(&nodes_lock);
	count = lock_waiting;
	pthread_mutex_unlock(&nodes_lock);
	return count;
}

long trace_command(struct fuse_session *se, int argc, char **argv)
{
	struct node *node;
	long res;

	if (strcmp(argv[0], "grant") == 0)
		return grant_locks();
	if (strcmp(argv[0], "waiting") == 0)
		return waiting_locks();
	if (strcmp(argv[0], "ready") == 0)
		return make_ready();
	if (strcmp(argv[0], "epoch") == 0) {
#if FUSE_MINOR_VERSION >= 18
		return fuse_lowlevel_notify_increment_epoch(se);
#else
		return -ENOSYS;
#endif
	}
	if (argc < 2)
		return -EINVAL;
	pthread_mutex_lock(&nodes_lock);
	node = node_find(FUSE_ROOT_ID, argv[1]);
	pthread_mutex_unlock(&nodes_lock);
	/* A name that is gone may still be known to the kernel. */
	if (!node && strcmp(argv[0], "inval_entry") == 0)
		return notify(se, NULL, argc, argv);
	if (!node)
		return -ENOENT;
	if (strcmp(argv[0], "node") == 0)
		return node->ino;
	if (strcmp(argv[0], "content") == 0 && argc > 2) {
		pthread_mutex_lock(&nodes_lock);
		res = -node_write(node, argv[2], strlen(argv[2]), 0);
		pthread_mutex_unlock(&nodes_lock);
		return res;
	}
	return notify(se, node, argc, argv);
}
