/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef LIBFUSE_CONFIG_H_
#define LIBFUSE_CONFIG_H_

/**
 * @file
 * The libfuse release these headers are compatible with, and how the names of
 * functions that exist in several forms are found. `fuse_common.h` includes
 * this; no program needs to.
 *
 * ringfuse's own version is in `ringfuse.h`.
 */

/* Any header of the C library tells which C library it is. */
#include <sys/types.h>

/** The release these headers are compatible with, 3.18.3: its first number. */
#define FUSE_MAJOR_VERSION 3
/** The second number of that release. */
#define FUSE_MINOR_VERSION 18
/** The third number of that release. */
#define FUSE_HOTFIX_VERSION 3
/** Suffix of a release candidate; empty in a release. */
#define FUSE_RC_VERSION

/**
 * Defined where the dynamic linker tells `fuse_loop_mt@FUSE_3.2` from
 * `fuse_loop_mt@@FUSE_3.12`, as glibc's does. Elsewhere (musl's does not) the
 * headers call the forms by their suffixed names, which are always exported.
 */
#ifdef __GLIBC__
#define LIBFUSE_BUILT_WITH_VERSIONED_SYMBOLS 1
#endif

#endif /* LIBFUSE_CONFIG_H_ */
