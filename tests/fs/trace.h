/*
 * What the parts of trace_ll share: the helpers of its operations. Every
 * operation writes one line to the trace and then answers, so a client whose
 * system call has returned finds the line.
 *
 * Names say how a node behaves:
 *     fail_OP_N   the operation OP on it (or with this name) fails with errno N
 *     neg...      lookup answers with a negative entry, valid for an hour
 *     ...hold...  its attributes and its name stay valid for an hour, else 0
 *     ...direct.. direct_io      ...keep..  keep_cache    ...list.. cache_readdir
 *     ...nonseek. nonseekable    ...noflush noflush
 *     iov, databuf, datavec, datafd, datamix   which reply a read uses
 *     forced..datafd                           the same, to be spliced
 *     big...      a directory of BIG_ENTRIES entries
 */
#ifndef TRACE_H
#define TRACE_H

#include "nodes.h"

#define BIG_ENTRIES 100000
#define BIG_BASE 1000000	/* inode number of the first of them */

/* `name` with all but the harmless characters as %XX; the buffer lives until
 * the thread's eighth call from now. */
const char *escaped(const char *name);

/* " fh=.. flags=.." of a handle, "" for NULL; same lifetime. */
const char *handle(const struct fuse_file_info *fi);

/* 64-bit FNV-1a: lets a test compare data without sending it. */
uint64_t fnv(const void *data, size_t size);

/* If `name`, or the name of `ino`, asks operation `op` to fail: answers and
 * returns 1. */
int fails_name(fuse_req_t req, const char *op, const char *name);
int fails(fuse_req_t req, const char *op, fuse_ino_t ino);

/* The name a node has, "" if unknown. */
const char *name_of(fuse_ino_t ino);

void fill_entry(struct fuse_entry_param *e, const struct node *node);
void fill_open(struct fuse_file_info *fi, fuse_ino_t ino);

/* The parts of the operation table. */
void trace_file_ops(struct fuse_lowlevel_ops *ops);
void trace_dir_ops(struct fuse_lowlevel_ops *ops);

/* trace_commands.c */
long trace_command(struct fuse_session *se, int argc, char **argv);
void trace_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		struct fuse_pollhandle *ph);
void trace_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		 struct flock *lock, int sleep);
void trace_retrieve_reply(fuse_req_t req, void *cookie, fuse_ino_t ino,
			  off_t offset, struct fuse_bufvec *bufv);

#endif
