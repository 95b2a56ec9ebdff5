/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef FUSE_LOG_H_
#define FUSE_LOG_H_

/**
 * @file
 * Where the library's messages go, and how a filesystem adds its own.
 *
 * Everything here may be called at any time and from any thread, but not from
 * a signal handler.
 */

#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How serious a message is; the numbers are those of syslog(3). */
enum fuse_log_level {
	/** Nothing works any more. */
	FUSE_LOG_EMERG = 0,
	/** Somebody has to act at once. */
	FUSE_LOG_ALERT = 1,
	/** A part that others depend on has failed. */
	FUSE_LOG_CRIT = 2,
	/** An operation has failed. */
	FUSE_LOG_ERR = 3,
	/** Worked, but probably not as meant. */
	FUSE_LOG_WARNING = 4,
	/** Normal, and worth a look. */
	FUSE_LOG_NOTICE = 5,
	/** What is going on, such as which transport a session uses. */
	FUSE_LOG_INFO = 6,
	/** For finding bugs; many of these under `-o debug`. */
	FUSE_LOG_DEBUG = 7
};

/**
 * A program's own log function.
 *
 * Called by whatever thread has something to say, so by several at once. `fmt`
 * and `ap` are as for vprintf(3) and end with the call; a message brings its
 * own newline. It must not call back into a session, since the thread may hold
 * the library's locks.
 */
typedef void (*fuse_log_func_t)(enum fuse_log_level level, const char *fmt,
				va_list ap);

/**
 * Sends all messages to `func` from now on; NULL goes back to the default,
 * which writes every level to standard error.
 *
 * Best called before the first session exists: threads that are logging at the
 * same moment may still use the previous function.
 */
void fuse_set_log_func(fuse_log_func_t func);

/**
 * Logs a message the way the library does, formatted as by printf(3). Put the
 * newline at its end.
 */
void fuse_log(enum fuse_log_level level, const char *fmt, ...);

/**
 * Sends all messages to syslog(3).
 *
 * `ident` is what stands before each line and must stay valid until
 * fuse_log_close_syslog(); NULL means the program's name. `option` and
 * `facility` are those of openlog(3). Replaces a function given to
 * fuse_set_log_func().
 */
void fuse_log_enable_syslog(const char *ident, int option, int facility);

/** Closes the syslog connection that fuse_log_enable_syslog() opened. */
void fuse_log_close_syslog(void);

#ifdef __cplusplus
}
#endif

#endif /* FUSE_LOG_H_ */
