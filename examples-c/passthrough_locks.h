/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * passthrough_locks.h: passes file locks on to the source.
 *
 * flock() locks the open file's own descriptor. A record lock belongs to an
 * owner (a process, as a rule), which the server cannot be; but a descriptor of
 * its own per owner and inode, with open-file-description locks on it, behaves
 * the same, also towards programs that work on the source directly. What is
 * lost: F_GETLK cannot name the process, and the kernel finds no deadlocks.
 *
 * Requests that have to wait are parked and tried again by one thread: after
 * each unlock, and every LOCK_RETRY_MS for the sake of locks taken outside the
 * mount and of callers that a signal interrupts.
 */
#ifndef EXAMPLES_PASSTHROUGH_LOCKS_H
#define EXAMPLES_PASSTHROUGH_LOCKS_H

#include "passthrough_nodes.h"

#include <fuse_lowlevel.h>

#include <stdbool.h>
#include <sys/file.h>
#include <time.h>

#define LOCK_RETRY_MS 20

struct lock_waiter {
	fuse_req_t req;
	struct node *node;
	uint64_t owner;
	struct flock lock;
	int flock_fd;  /* of a flock() request, else -1 */
	int flock_op;
	struct lock_waiter *next;
};

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct lock_waiter *waiters;
	pthread_t thread;
	bool started;
	bool stopping;
} locks = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* The owner's descriptor of the node, with `make` made at need. NULL if there is
 * none; with `make` errno says why. With locks.mutex held. */
static struct lock_holder *lock_holder(struct node *node, uint64_t owner, bool make)
{
	struct lock_holder *holder;

	for (holder = node->holders; holder; holder = holder->next)
		if (holder->owner == owner)
			return holder;
	if (!make || (holder = malloc(sizeof(*holder))) == NULL)
		return NULL;
	holder->owner = owner;
	holder->fd = reopen(node->fd, O_RDWR);
	if (holder->fd == -1)
		holder->fd = reopen(node->fd, O_RDONLY);
	if (holder->fd == -1) {
		free(holder);
		return NULL;
	}
	holder->next = node->holders;
	node->holders = holder;
	return holder;
}

/* The owner closed the file: POSIX drops all its locks on it. */
static void lock_drop(struct node *node, uint64_t owner)
{
	struct lock_holder **link, *holder = NULL;

	pthread_mutex_lock(&locks.mutex);
	for (link = &node->holders; *link; link = &(*link)->next) {
		if ((*link)->owner == owner) {
			holder = *link;
			*link = holder->next;
			close(holder->fd);
			free(holder);
			pthread_cond_signal(&locks.changed);
			break;
		}
	}
	pthread_mutex_unlock(&locks.mutex);
}

/* 0, EAGAIN if somebody else has it, or another errno. With locks.mutex held. */
static int lock_try(const struct lock_waiter *wanted)
{
	struct lock_holder *holder;
	struct flock lock = wanted->lock;

	if (wanted->flock_fd != -1) {
		if (flock(wanted->flock_fd, wanted->flock_op | LOCK_NB) == 0)
			return 0;
	} else {
		holder = lock_holder(wanted->node, wanted->owner, lock.l_type != F_UNLCK);
		if (holder == NULL && lock.l_type == F_UNLCK)
			return 0;
		if (holder && fcntl(holder->fd, F_OFD_SETLK, &lock) == 0)
			return 0;
	}
	return errno == EACCES ? EAGAIN : errno;
}

/* Answers the parked requests that can be answered. */
static void *lock_thread(void *unused)
{
	pthread_mutex_lock(&locks.mutex);
	while (!locks.stopping) {
		struct lock_waiter **link = &locks.waiters;
		struct timespec until;

		while (*link) {
			struct lock_waiter *waiter = *link;
			int error = fuse_req_interrupted(waiter->req) ? EINTR : lock_try(waiter);

			if (error == EAGAIN) {
				link = &waiter->next;
			} else {
				*link = waiter->next;
				fuse_reply_err(waiter->req, error);
				free(waiter);
			}
		}
		if (locks.waiters == NULL) {
			pthread_cond_wait(&locks.changed, &locks.mutex);
			continue;
		}
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += LOCK_RETRY_MS * 1000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		pthread_cond_timedwait(&locks.changed, &locks.mutex, &until);
	}
	pthread_mutex_unlock(&locks.mutex);
	return unused;
}

/* Parks a request whose lock is taken; 0 or an errno. With locks.mutex held. */
static int lock_park(const struct lock_waiter *wanted)
{
	struct lock_waiter *waiter, **link;

	if (!locks.started) {
		int error = pthread_create(&locks.thread, NULL, lock_thread, NULL);

		if (error)
			return error;
		locks.started = true;
	}
	waiter = malloc(sizeof(*waiter));
	if (waiter == NULL)
		return ENOMEM;
	*waiter = *wanted;
	waiter->next = NULL;
	for (link = &locks.waiters; *link; link = &(*link)->next)
		;
	*link = waiter;
	pthread_cond_signal(&locks.changed);
	return 0;
}

/* Turns `lock` into one that keeps the owner from it, or into F_UNLCK; 0 or an errno. */
static int lock_query(struct node *node, uint64_t owner, struct flock *lock)
{
	struct lock_holder *holder;
	int error = 0;

	lock->l_pid = 0;
	pthread_mutex_lock(&locks.mutex);
	holder = lock_holder(node, owner, true);
	if (holder == NULL || fcntl(holder->fd, F_OFD_GETLK, lock) == -1)
		error = errno;
	pthread_mutex_unlock(&locks.mutex);
	lock->l_pid = 0;  /* the locks of an open file description have no process */
	return error;
}

/* Takes or releases a lock and answers: now, or with `wait` perhaps later. */
static void lock_request(const struct lock_waiter *wanted, bool wait)
{
	int error;

	pthread_mutex_lock(&locks.mutex);
	error = lock_try(wanted);
	if (error == EAGAIN && wait) {
		error = lock_park(wanted);
		if (error == 0) {
			pthread_mutex_unlock(&locks.mutex);
			return;
		}
	} else if (error == 0) {
		/* It may have been an unlock, or a change to a weaker lock. */
		pthread_cond_signal(&locks.changed);
	}
	pthread_mutex_unlock(&locks.mutex);
	fuse_reply_err(wanted->req, error);
}

/* Ends the thread, and answers what still waits as the kernel does on a dead mount. */
static void locks_finish(void)
{
	pthread_mutex_lock(&locks.mutex);
	locks.stopping = true;
	pthread_cond_signal(&locks.changed);
	pthread_mutex_unlock(&locks.mutex);
	if (locks.started)
		pthread_join(locks.thread, NULL);
	while (locks.waiters) {
		struct lock_waiter *waiter = locks.waiters;

		locks.waiters = waiter->next;
		fuse_reply_err(waiter->req, ENOTCONN);
		free(waiter);
	}
}

#endif
