/*
 * What the parts of path_trace share: a filesystem of fuse.h that shows the
 * directory of the option root=DIR and writes down every operation as it came,
 * `op path=... ... uid= gid= pid= umask= private=`, before it does it. A client
 * whose system call has returned finds the line.
 *
 * Options:
 *     root=DIR            what to show
 *     cfg=KEY=N:KEY=N     what init() sets in struct fuse_config
 *     without=OP:OP       operations that the table does not have
 *     op_size=N           bytes of the table that the library is told of
 *     list=MODE           how readdir lists, see path_trace_dirs.c
 *     serial              one thread
 *
 * Names say how a file behaves:
 *     fail_OP_N   the operation OP on it fails with errno N
 *     null...     is read and written by vectors in memory, not by descriptors
 *     wait...     its read waits until the reader is interrupted
 *
 * Compiles on libfuse 3.14 too.
 */
#ifndef PATH_TRACE_H
#define PATH_TRACE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 314
#endif
#include "serve.h"

#include <fuse.h>

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct path_settings {
	char *root;
	char *cfg;
	char *without;
	char *list;
	unsigned op_size;
};

extern struct path_settings settings;
extern struct fuse *path_fuse;

/* `path` below the root; the buffer lives until the thread's fourth call. */
const char *below(const char *path);

/* A path for the trace; "NULL" for none. Same lifetime. */
const char *shown(const char *path);

/* " fh=.. flags=.. .." of a handle, " fi=NULL" for none. Same lifetime. */
const char *file(const struct fuse_file_info *fi);

/* Writes a line with the context. */
void note(const char *op, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* If the last name in `path` asks `op` to fail: the negative errno, else 0. */
int fails(const char *op, const char *path);

/* -errno if `result` is negative. */
int sys(long result);

/* Handles: fi->fh is the descriptor plus this. */
#define HANDLE 0xfeed000000000000u
#define FD(fi) ((int)((fi)->fh - HANDLE))

void path_file_ops(struct fuse_operations *ops);
void path_dir_ops(struct fuse_operations *ops);

/* path_trace_files.c: the poll handle that is kept, to be notified. */
long path_notify(void);

#endif
