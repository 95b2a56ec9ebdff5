/*
 * slow_rings.so: loaded before the C library, it makes the threads that serve
 * rings slow: each gets on only some milliseconds after the kernel has let it, as
 * on a machine that has no CPU for it. Their io_uring_enter() comes as a call of
 * syscall().
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

long syscall(long number, ...)
{
	static long (*real)(long, ...);
	const struct timespec late = { .tv_nsec = 3000000 };
	char name[16] = "";
	long args[6], result;
	va_list list;
	int error;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "syscall");
	va_start(list, number);
	for (int i = 0; i < 6; i++)
		args[i] = va_arg(list, long);
	va_end(list);
	result = real(number, args[0], args[1], args[2], args[3], args[4], args[5]);
	error = errno;
	if (number == SYS_io_uring_enter && prctl(PR_GET_NAME, name) == 0 &&
	    strncmp(name, "fuse-ring", 9) == 0)
		nanosleep(&late, NULL);
	errno = error;
	return result;
}
