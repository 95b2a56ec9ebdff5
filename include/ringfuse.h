/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef RINGFUSE_H_
#define RINGFUSE_H_

/**
 * @file
 * What ringfuse offers beyond libfuse's API: its own version, and which
 * transport a session has, why, and what it has done so far.
 *
 * A program that includes this needs ringfuse at run time; guard it if it must
 * also work with another libfuse3.
 *
 * RINGFUSE_STATS=PATH in the environment writes the same numbers to the file
 * PATH at the end of every session loop, one `name value` per line: the fields
 * of `struct ringfuse_stats` (the transport as `none`, `dev`, `ring` or
 * `custom`) and `reason TEXT`. The command `ringfuse status` tells them of
 * sessions that are mounted.
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
 * Why `se` has the transport it has. From any thread.
 *
 * @return one line in English, valid until fuse_session_destroy(); never NULL
 */
const char *ringfuse_session_reason(struct fuse_session *se);

#ifdef __cplusplus
}
#endif

#endif /* RINGFUSE_H_ */
