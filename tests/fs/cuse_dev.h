/*
 * The two halves of cuse_dev: the device (cuse_dev.c), and how it is set up and
 * served (cuse_run.c).
 */
#ifndef CUSE_DEV_H
#define CUSE_DEV_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 312
#endif

#include <cuse_lowlevel.h>

/* All of the mailbox's operations, and read alone. */
extern const struct cuse_lowlevel_ops mailbox_operations, mailbox_few_operations;

/* What init() sets as max_write, if not 0. */
extern int mailbox_max_write;

/* Where trace() writes; -1: nowhere. */
extern int trace_fd;

/* Appends a line to the trace. */
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
