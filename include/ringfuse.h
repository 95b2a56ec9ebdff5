/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef RINGFUSE_H_
#define RINGFUSE_H_

/**
 * @file
 * What ringfuse offers beyond libfuse's API: its own version, and which
 * transport a session has, why, and what it and each of its queues have done
 * so far.
 *
 * A program that includes this needs ringfuse at run time; guard it if it must
 * also work with another libfuse3.
 *
 * RINGFUSE_STATS=PATH in the environment writes the same numbers to the file
 * PATH at the end of every session loop, one `name value` per line: the fields
 * of `struct ringfuse_stats` (the transport as `none`, `dev`, `ring` or
 * `custom`) and `reason TEXT`. The commands `ringfuse status` and `ringfuse top`
 * tell all of them, those of the queues too, of sessions that are mounted.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The ringfuse release of these headers, its first number; ringfuse_version()
 * tells that of the library in use.
 */
#define RINGFUSE_VERSION_MAJOR 0
/** The second number of that release. */
#define RINGFUSE_VERSION_MINOR 1
/** The third number of that release. */
#define RINGFUSE_VERSION_PATCH 0

struct fuse_session;

/**
 * The ringfuse release of the library in use.
 *
 * @return a text like "0.1.0", which is never freed
 */
const char *ringfuse_version(void);

/** How the kernel's requests reach a session. */
enum ringfuse_transport {
	/** Not decided: the kernel's INIT has not been answered yet. */
	RINGFUSE_TRANSPORT_NONE = 0,
	/** Read from and written to /dev/fuse. */
	RINGFUSE_TRANSPORT_DEV = 1,
	/**
	 * io_uring, one queue per CPU; FORGET, INTERRUPT and notifications
	 * still pass through /dev/fuse.
	 */
	RINGFUSE_TRANSPORT_RING = 2,
	/** The functions given to fuse_session_custom_io(). */
	RINGFUSE_TRANSPORT_CUSTOM = 3
};

/** What a session has done since it was created. */
struct ringfuse_stats {
	/**
	 * Set by the caller to sizeof(struct ringfuse_stats): the library
	 * fills no more than that, so later releases can append fields.
	 */
	size_t size;
	/** The transport, one of `enum ringfuse_transport`. */
	uint32_t transport;
	/** The kernel's queues when served by rings, one per possible CPU; else 0. */
	uint32_t queues;
	/** Requests read from /dev/fuse or through custom functions. */
	uint64_t dev_requests;
	/** Requests that arrived over rings. */
	uint64_t ring_requests;
	/** Threads that run callbacks, now. */
	uint64_t threads;
	/** The most such threads there have been at once. */
	uint64_t threads_peak;
	/** Ring entries registered with the kernel. */
	uint64_t entries;
	/** Requests whose operation has returned and that wait for their answer. */
	uint64_t parked;
	/** Times the kernel was made to look for waiting requests again. */
	uint64_t kicks;
	/** Threads added because operations lasted. */
	uint64_t grown;
	/** Requests that arrived for an unused queue and were moved to a thread. */
	uint64_t handed_over;
	/** Answers given by threads that do not own the request's ring entry. */
	uint64_t foreign_answers;
	/**
	 * Nodes of the path API, fuse.h, the root not counted: what the kernel
	 * has looked up and not forgotten, what is open, what is remembered,
	 * and the directories that any of these are in. 0 for a session that
	 * was made by fuse_session_new().
	 */
	uint64_t nodes;
	/**
	 * Operations of the path API that wait for another one to be done with
	 * a path, now.
	 */
	uint64_t path_waiters;
};

/**
 * Reads the numbers of `se` into `stats`; callable from any thread while the
 * session exists, and cheap. The numbers are each correct, but not all of the
 * same instant.
 *
 * @return 0, or -EINVAL if a pointer is NULL or stats->size is too small to
 *         hold the transport
 */
int ringfuse_session_stats(struct fuse_session *se,
			   struct ringfuse_stats *stats);

/**
 * In place of a queue's number: everything that did not come by rings, but was
 * read from /dev/fuse or through the functions of fuse_session_custom_io().
 */
#define RINGFUSE_QUEUE_DEV 0xffffffffu

/** The classes of times in `struct ringfuse_queue_stats`. */
#define RINGFUSE_TIMES 32
/** The first of these classes has the times below this, in nanoseconds. */
#define RINGFUSE_FIRST_TIME 256

/**
 * What one of the kernel's queues has brought: requests of clients that ran on
 * its CPU when they made them. The numbers are since the session got its rings;
 * those of #RINGFUSE_QUEUE_DEV since it was made.
 */
struct ringfuse_queue_stats {
	/**
	 * Set by the caller to sizeof(struct ringfuse_queue_stats): the library
	 * fills no more than that, so later releases can append fields.
	 */
	size_t size;
	/** Requests that arrived, kicks among them. */
	uint64_t requests;
	/** Bytes of the requests, with what was written and with their headers. */
	uint64_t bytes_in;
	/** Bytes of the answers, with what was read and with their headers. */
	uint64_t bytes_out;
	/**
	 * Requests that have arrived and whose operation has not returned, now;
	 * some may wait for a thread.
	 */
	uint64_t handling;
	/** Requests whose operation has returned and that wait for their answer. */
	uint64_t parked;
	/**
	 * Threads that run the operations of this queue's requests, now. 0 for
	 * a queue in a single-threaded loop, whose thread serves them all.
	 */
	uint64_t threads;
	/** The most such threads there have been at once. */
	uint64_t threads_peak;
	/** Ring entries of this queue; 0 for #RINGFUSE_QUEUE_DEV. */
	uint64_t entries;
	/** Those of them that hold a request or its answer, now. */
	uint64_t entries_used;
	/** The most of them that have held one at once. */
	uint64_t entries_used_peak;
	/** Times the kernel was made to look for waiting requests again. */
	uint64_t kicks;
	/** Threads added because operations lasted. */
	uint64_t grown;
	/** Requests that arrived at an unused entry and were moved to a thread. */
	uint64_t handed_over;
	/**
	 * Answers to parked requests, which another thread gave than the one
	 * that ran the operation, or gave later.
	 */
	uint64_t foreign_answers;
	/** Nanoseconds that operations took from their call to their return, in all. */
	uint64_t handler_time;
	/**
	 * How many operations took how long. Class 0: less than
	 * #RINGFUSE_FIRST_TIME nanoseconds. Class i: at least
	 * RINGFUSE_FIRST_TIME << (i - 1), and less than RINGFUSE_FIRST_TIME << i
	 * except in the last class, which has all that took longer (from
	 * 275 seconds on).
	 */
	uint64_t handler_times[RINGFUSE_TIMES];
};

/**
 * Reads the numbers of one of the queues of `se` into `stats`; callable from
 * any thread while the session exists, and cheap. The numbers are each correct,
 * but not all of the same instant.
 *
 * @param se the session
 * @param queue a number below `queues` of `struct ringfuse_stats`, which is
 *              that of the queue's CPU; or #RINGFUSE_QUEUE_DEV
 * @param stats filled up to its `size`
 * @return 0, -EINVAL if a pointer is NULL or stats->size is less than the size
 *         of that field, or -ENOENT if there is no such queue: without rings
 *         there is none
 */
int ringfuse_session_queue_stats(struct fuse_session *se, unsigned int queue,
				 struct ringfuse_queue_stats *stats);

/**
 * Why `se` has the transport it has. From any thread.
 *
 * @return one line in English, valid until fuse_session_destroy(); never NULL
 */
const char *ringfuse_session_reason(struct fuse_session *se);

#ifdef __cplusplus
}
#endif

#endif /* RINGFUSE_H_ */
