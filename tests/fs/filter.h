/* A seccomp filter that answers one system call with an error. */
#ifndef FILTER_H
#define FILTER_H

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The number of the call that the word `name` means; -1 if it means none. */
static inline int filter_number(const char *name)
{
	static const struct {
		const char *name;
		int number;
	} calls[] = {
		{ "setup", SYS_io_uring_setup },
		{ "enter", SYS_io_uring_enter },
		{ "register", SYS_io_uring_register },
		{ "memfd", SYS_memfd_create },
#ifdef SYS_ustat
		{ "ustat", SYS_ustat },
#endif
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (strcmp(name, calls[i].name) == 0)
			return calls[i].number;
	return -1;
}

/* From now on the call fails with `error` in all threads, or kills the process if
 * `error` is 0. Returns 0 or a negative errno. */
static inline int filter_call(int number, unsigned int error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned int)number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, error ? SECCOMP_RET_ERRNO | error : SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(*filter), filter };

	if (number < 0)
		return -EINVAL;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0)
		return -errno;
	return 0;
}

#endif
