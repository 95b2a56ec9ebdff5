/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * flat.h: one directory with a fixed list of files, for the examples whose
 * subject is what can be done with an open file.
 *
 * Define FLAT_FILES, their number, before including it once, and afterwards the
 * two functions that are declared here. File 0 is node 2, and so on.
 */
#ifndef EXAMPLES_FLAT_H
#define EXAMPLES_FLAT_H

#include "serve.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define FLAT_FIRST_INO (FUSE_ROOT_ID + 1)

/* The name of a file. */
static const char *flat_name(size_t file);
/* Sets st_mode, permissions only, and st_size. */
static void flat_describe(size_t file, struct stat *st);

static inline bool flat_is_file(fuse_ino_t ino)
{
	return ino >= FLAT_FIRST_INO && ino < FLAT_FIRST_INO + FLAT_FILES;
}

static inline size_t flat_file(fuse_ino_t ino)
{
	return ino - FLAT_FIRST_INO;
}

static inline struct stat flat_stat(fuse_ino_t ino)
{
	struct stat st = { .st_ino = ino, .st_mode = S_IFDIR | 0755, .st_nlink = 2 };

	if (flat_is_file(ino)) {
		flat_describe(flat_file(ino), &st);
		st.st_mode = S_IFREG | (st.st_mode & 07777);
		st.st_nlink = 1;
	}
	return st;
}

/* Attributes may change at any time, so the kernel is to ask each time. */
static void flat_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	for (size_t file = 0; parent == FUSE_ROOT_ID && file < FLAT_FILES; file++) {
		struct fuse_entry_param entry = { .ino = FLAT_FIRST_INO + file, .entry_timeout = 60 };

		if (strcmp(name, flat_name(file)) == 0) {
			entry.attr = flat_stat(entry.ino);
			fuse_reply_entry(req, &entry);
			return;
		}
	}
	fuse_reply_err(req, ENOENT);
}

static void flat_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = flat_stat(ino);

	(void)fi;
	fuse_reply_attr(req, &st, 0);
}

static void flat_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			 struct fuse_file_info *fi)
{
	char buf[512];
	size_t used = 0;

	(void)fi;
	if (ino != FUSE_ROOT_ID) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	if (size > sizeof(buf))
		size = sizeof(buf);
	/* Entries 0 and 1 are "." and "..". */
	for (size_t i = off; i < FLAT_FILES + 2; i++) {
		struct stat st = flat_stat(i < 2 ? FUSE_ROOT_ID : FLAT_FIRST_INO + i - 2);
		const char *name = i == 0 ? "." : i == 1 ? ".." : flat_name(i - 2);
		size_t need = fuse_add_direntry(req, buf + used, size - used, name, &st, i + 1);

		if (need > size - used)
			break;
		used += need;
	}
	fuse_reply_buf(req, buf, used);
}

#endif
