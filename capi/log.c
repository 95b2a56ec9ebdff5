/*
 * The log functions of fuse_log.h, in C because they are variadic and hand a
 * va_list to the program.
 *
 * Everything the library has to say arrives here, from any thread: the Rust
 * side calls `sink` with finished messages. One pointer tells where messages
 * go; a program that replaces its function while other threads log may still
 * see calls of the old one that were on their way.
 */
#include "fuse_log.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

static void log_to_stderr(enum fuse_log_level level, const char *format, va_list ap)
{
	(void)level;
	vfprintf(stderr, format, ap);
}

/* enum fuse_log_level has syslog's own numbers. */
static void log_to_syslog(enum fuse_log_level level, const char *format, va_list ap)
{
	vsyslog((int)level, format, ap);
}

static _Atomic(fuse_log_func_t) log_function = log_to_stderr;

void fuse_set_log_func(fuse_log_func_t func)
{
	atomic_store(&log_function, func ? func : log_to_stderr);
}

void fuse_log(enum fuse_log_level level, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	atomic_load(&log_function)(level, format, ap);
	va_end(ap);
}

void fuse_log_enable_syslog(const char *ident, int option, int facility)
{
	/* openlog keeps the pointer, the caller's string may go away; the
	 * previous copy is not freed because another thread may be logging. */
	openlog(ident ? strdup(ident) : NULL, option, facility);
	fuse_set_log_func(log_to_syslog);
}

void fuse_log_close_syslog(void)
{
	fuse_set_log_func(NULL);
	closelog();
}

static void sink(int level, const char *message)
{
	fuse_log((enum fuse_log_level)level, "%s", message);
}

void ringfuse_set_log_sink(void (*receiver)(int level, const char *message));

__attribute__((constructor)) static void install_sink(void)
{
	ringfuse_set_log_sink(sink);
}
