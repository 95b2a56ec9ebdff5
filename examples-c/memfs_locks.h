/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * memfs_locks.h: record locks and flock(), with requests that wait.
 *
 * Both kinds are lists of ranges with an owner; a flock() covers the whole
 * file. The locks of one owner on one file do not overlap, and do not touch if
 * they are of the same type. A request that has to wait is parked, and answered by a thread of its
 * own when the lock is free or the caller was interrupted. locks.mutex guards
 * everything here, also node->records.
 */
#ifndef EXAMPLES_MEMFS_LOCKS_H
#define EXAMPLES_MEMFS_LOCKS_H

#include "memfs_tree.h"

#include <fuse_lowlevel.h>

#include <semaphore.h>

struct waiter {
	struct waiter *next;
	fuse_req_t req;
	struct node *node;
	enum lock_kind kind;
	struct record wanted;
};

static struct {
	pthread_mutex_t mutex;
	struct waiter *waiters;  /* in the order they came */
	sem_t wake;
	pthread_t thread;
	bool started;
	atomic_bool stopping;
} locks = { .mutex = PTHREAD_MUTEX_INITIALIZER };

/* The first of the locks, by position, that others hold in the way; or NULL. */
static inline struct record *lock_conflict(const struct node *node, enum lock_kind kind,
					   const struct record *wanted)
{
	struct record *record, *first = NULL;

	if (wanted->type == F_UNLCK)
		return NULL;
	for (record = node->records[kind]; record; record = record->next)
		if (record->owner != wanted->owner && record->start <= wanted->end &&
		    wanted->start <= record->end &&
		    (record->type == F_WRLCK || wanted->type == F_WRLCK) &&
		    (first == NULL || record->start < first->start))
			first = record;
	return first;
}

/* Gives the owner of `wanted` that lock, or takes it away; 0 or an errno. */
static inline int lock_apply(struct node *node, enum lock_kind kind, const struct record *wanted)
{
	struct record **link = &node->records[kind];
	/* One for the new lock, one for the far end of a lock cut in two. */
	struct record *fresh = malloc(sizeof(*fresh));
	struct record *rest = malloc(sizeof(*rest));

	if (fresh == NULL || rest == NULL) {
		free(fresh);
		free(rest);
		return ENOLCK;
	}
	*fresh = *wanted;
	while (*link) {
		struct record *record = *link;
		bool same = record->type == wanted->type;

		if (record->owner != wanted->owner || record->start > fresh->end + same ||
		    record->end + same < fresh->start) {
			link = &record->next;
			continue;
		}
		if (same) {
			if (record->start < fresh->start)
				fresh->start = record->start;
			if (record->end > fresh->end)
				fresh->end = record->end;
		} else {
			if (record->end > fresh->end) {
				*rest = *record;
				rest->start = fresh->end + 1;
				rest->next = *link;
				*link = rest;
				link = &rest->next;
				rest = NULL;
			}
			if (record->start < fresh->start) {
				record->end = fresh->start - 1;
				link = &record->next;
				continue;
			}
		}
		*link = record->next;
		free(record);
	}
	free(rest);
	if (wanted->type == F_UNLCK) {
		free(fresh);
	} else {
		fresh->next = node->records[kind];
		node->records[kind] = fresh;
	}
	if (locks.waiters)
		sem_post(&locks.wake);
	return 0;
}

/* Whether `owner`, once it waits for `holder`, would wait for itself. */
static inline bool lock_deadlock(uint64_t owner, const struct record *holder)
{
	/* Each step follows one waiter; more steps than waiters are a circle of others. */
	for (const struct waiter *step = locks.waiters; step; step = step->next) {
		const struct waiter *waiter;

		if (holder->owner == owner)
			return true;
		for (waiter = locks.waiters; waiter; waiter = waiter->next)
			if (waiter->kind == LOCK_RECORD && waiter->wanted.owner == holder->owner)
				break;
		if (waiter == NULL)
			return false;
		holder = lock_conflict(waiter->node, LOCK_RECORD, &waiter->wanted);
		if (holder == NULL)
			return false;
	}
	return holder->owner == owner;
}

/* Answers the parked requests that can be answered. */
static inline void *lock_thread(void *unused)
{
	while (!locks.stopping) {
		struct waiter **link;

		sem_wait(&locks.wake);
		pthread_mutex_lock(&locks.mutex);
		link = &locks.waiters;
		while (*link) {
			struct waiter *waiter = *link;
			int error = 0;

			if (fuse_req_interrupted(waiter->req)) {
				error = EINTR;
			} else if (lock_conflict(waiter->node, waiter->kind, &waiter->wanted)) {
				link = &waiter->next;
				continue;
			} else {
				error = lock_apply(waiter->node, waiter->kind, &waiter->wanted);
			}
			*link = waiter->next;
			fuse_reply_err(waiter->req, error);
			free(waiter);
		}
		pthread_mutex_unlock(&locks.mutex);
	}
	return unused;
}

/* May be called with locks of the library held, so it only wakes the thread. */
static inline void lock_interrupted(fuse_req_t req, void *data)
{
	(void)req;
	(void)data;
	sem_post(&locks.wake);
}

/* Parks the request; 0 or an errno. With locks.mutex held. */
static inline int lock_park(fuse_req_t req, struct node *node, enum lock_kind kind,
			    const struct record *wanted)
{
	struct waiter *waiter, **link;

	if (!locks.started) {
		int error = pthread_create(&locks.thread, NULL, lock_thread, NULL);

		if (error)
			return error;
		locks.started = true;
	}
	waiter = malloc(sizeof(*waiter));
	if (waiter == NULL)
		return ENOMEM;
	*waiter = (struct waiter){ .req = req, .node = node, .kind = kind, .wanted = *wanted };
	for (link = &locks.waiters; *link; link = &(*link)->next)
		;
	*link = waiter;
	/* The thread cannot answer before we let go of the mutex, so `req` is still ours. */
	fuse_req_interrupt_func(req, lock_interrupted, NULL);
	return 0;
}

/* Answers a request for a lock: now, or with `wait` perhaps later. */
static inline void lock_request(fuse_req_t req, struct node *node, enum lock_kind kind,
				const struct record *wanted, bool wait)
{
	struct record none = *wanted;
	struct record *holder;
	int error;

	pthread_mutex_lock(&locks.mutex);
	holder = lock_conflict(node, kind, wanted);
	if (holder == NULL) {
		error = lock_apply(node, kind, wanted);
	} else {
		error = EAGAIN;
		if (kind == LOCK_WHOLE) {
			/* A flock() that is to change gives up the old lock first. */
			none.type = F_UNLCK;
			lock_apply(node, kind, &none);
		}
		if (wait && kind == LOCK_RECORD && lock_deadlock(wanted->owner, holder)) {
			error = EDEADLK;
		} else if (wait) {
			error = lock_park(req, node, kind, wanted);
			if (error == 0) {
				pthread_mutex_unlock(&locks.mutex);
				return;
			}
		}
	}
	pthread_mutex_unlock(&locks.mutex);
	fuse_reply_err(req, error);
}

/* Takes all locks of the owner away: it has closed the file. */
static inline void lock_drop(struct node *node, enum lock_kind kind, uint64_t owner)
{
	const struct record all = { .owner = owner, .start = 0, .end = INT64_MAX, .type = F_UNLCK };

	pthread_mutex_lock(&locks.mutex);
	if (node->records[kind])
		lock_apply(node, kind, &all);
	pthread_mutex_unlock(&locks.mutex);
}

static inline void locks_start(void)
{
	sem_init(&locks.wake, 0, 0);
}

/* Ends the thread, and answers what still waits as the kernel does on a dead mount. */
static inline void locks_finish(void)
{
	locks.stopping = true;
	sem_post(&locks.wake);
	if (locks.started)
		pthread_join(locks.thread, NULL);
	while (locks.waiters) {
		struct waiter *waiter = locks.waiters;

		locks.waiters = waiter->next;
		fuse_reply_err(waiter->req, ENOTCONN);
		free(waiter);
	}
}

#endif
