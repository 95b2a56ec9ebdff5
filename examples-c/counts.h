/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * counts.h: how often each operation came, for whoever wants to see that a
 * test has exercised them all. Handlers call COUNT(name) from any thread.
 *
 * The counts are written as lines "name count": on SIGUSR1, and once more by
 * counts_finish(). Include it once per program.
 */
#ifndef EXAMPLES_COUNTS_H
#define EXAMPLES_COUNTS_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#define COUNT_NAMES(X) \
	X(lookup) X(forget) X(forget_multi) X(getattr) X(statx) X(setattr) X(access) X(readlink) \
	X(mknod) X(mkdir) X(symlink) X(link) X(unlink) X(rmdir) X(rename) X(rename2) \
	X(create) X(tmpfile) X(open) X(read) X(write) X(flush) X(fsync) X(release) \
	X(fallocate) X(lseek) X(copy_file_range) X(ioctl) \
	X(opendir) X(readdir) X(readdirplus) X(fsyncdir) X(releasedir) X(statfs) \
	X(getxattr) X(setxattr) X(listxattr) X(removexattr) \
	X(getlk) X(setlk) X(setlkw) X(flock)

#define COUNT_INDEX(name) COUNT_##name,
#define COUNT_STRING(name) #name,
enum { COUNT_NAMES(COUNT_INDEX) COUNT_END };

static struct {
	atomic_ulong of[COUNT_END];
	int fd;
} counts = { .fd = STDERR_FILENO };

#define COUNT(name) atomic_fetch_add_explicit(&counts.of[COUNT_##name], 1, memory_order_relaxed)

/* Runs in a signal handler too, hence no stdio. */
static inline void counts_write(int sig)
{
	static const char *const names[] = { COUNT_NAMES(COUNT_STRING) };
	char text[4096], digits[24];
	size_t used = 0;
	int saved = errno;

	(void)sig;
	for (int i = 0; i < COUNT_END; i++) {
		unsigned long value = atomic_load_explicit(&counts.of[i], memory_order_relaxed);
		size_t n = 0;

		for (const char *c = names[i]; *c; c++)
			text[used++] = *c;
		text[used++] = ' ';
		do
			digits[n++] = '0' + value % 10;
		while (value /= 10);
		while (n)
			text[used++] = digits[--n];
		text[used++] = '\n';
	}
	/* The numbers only grow, so a newer text always covers an older one. */
	if (counts.fd != STDERR_FILENO)
		used = pwrite(counts.fd, text, used, 0);
	else
		used = write(counts.fd, text, used);
	errno = saved;
}

/* Where to write: `path`, or stderr if it is NULL. 0, or -1 with errno set. */
static inline int counts_start(const char *path)
{
	struct sigaction action = { .sa_handler = counts_write, .sa_flags = SA_RESTART };

	if (path) {
		counts.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		if (counts.fd == -1)
			return -1;
	}
	return sigaction(SIGUSR1, &action, NULL);
}

/* Writes the final counts, if there is a file for them. */
static inline void counts_finish(void)
{
	if (counts.fd != STDERR_FILENO) {
		counts_write(0);
		close(counts.fd);
		counts.fd = STDERR_FILENO;
	}
}

#endif
