/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef FUSE_DAEMONIZE_H_
#define FUSE_DAEMONIZE_H_

/**
 * @file
 * Going to the background before mounting, since 3.19: whatever fails until the
 * filesystem works reaches the exit status of the process that was started.
 *
 *     fuse_daemonize_early_start(foreground ? FUSE_DAEMONIZE_NO_BACKGROUND : 0);
 *     se = fuse_session_new(...);
 *     fuse_session_mount(se, mountpoint);
 *     fuse_session_loop_mt(se, config);
 *
 * The process that was started waits. It ends with 0 when a session is mounted
 * and INIT is answered, which is in the loop as a rule; with the status of
 * fuse_daemonize_early_fail(); or with 1 if the process in the background ends
 * without either. Until then the one in the background ends, with status 1 and
 * its mount taken away, if the one that waits does.
 *
 * The functions concern the whole process and may be called from any thread, but
 * for the first. They exclude fuse_daemonize(), which returns -1 afterwards.
 */

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Stay in the current directory, which otherwise becomes /. */
#define FUSE_DAEMONIZE_NO_CHDIR (1 << 0)
/** Stay in the foreground: nobody waits. */
#define FUSE_DAEMONIZE_NO_BACKGROUND (1 << 1)

/**
 * Begins. Threads do not survive a fork: call it before starting any. Once per
 * process. It returns in the process in the background, which leads a session of
 * its own; standard input, output and error stay until the success.
 *
 * Paths are looked up in / afterwards, unless FUSE_DAEMONIZE_NO_CHDIR is given:
 * make them absolute before, as fuse_parse_cmdline() does with the mount point.
 *
 * @param flags FUSE_DAEMONIZE_*, or 0
 * @return 0, or -errno after a message
 */
int fuse_daemonize_early_start(unsigned int flags);

/**
 * Reports success: standard input, output and error become /dev/null, and who
 * waits ends with 0. The library does so by itself once a session is mounted and
 * INIT is answered; a program with a transport of its own calls it. Nothing
 * happens if nobody waits.
 */
void fuse_daemonize_early_success(void);

/**
 * Reports a failure: who waits ends with the status `err` (its lowest 8 bits; 1
 * if those are 0), and this process goes on, to clean up. After the report, or
 * without a start, this process itself ends by exit(3) with `err`.
 */
void fuse_daemonize_early_fail(int err);

/**
 * Tells whether a start was made that is not reported on yet.
 *
 * @return true between fuse_daemonize_early_start() and the report of success or
 *         failure
 */
bool fuse_daemonize_early_is_active(void);

#ifdef __cplusplus
}
#endif

#endif /* FUSE_DAEMONIZE_H_ */
