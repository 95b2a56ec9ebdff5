/*
 * ring_faults.so: loaded before the C library, it has registrations of ring entries
 * refused. RING_FAULTS=ERRNO:FROM:EVERY says which, of all that the process submits,
 * counted from 0: those from FROM on, but for each EVERYth of them (0: for none).
 *
 * With an ERRNO the kernel completes something else in its place, with that error.
 * With ERRNO 0 the kernel itself refuses it, as it names a queue that there is not:
 * to the kernel this is the end of the connection's rings.
 *
 * io_uring's crate makes its system calls by syscall(), and its maps by mmap().
 */
#define _GNU_SOURCE
#undef _FILE_OFFSET_BITS /* both names of mmap() are defined here */
#include <dlfcn.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define MAX_FD 4096
#define SQE_SIZE 128
#define OP_URING_CMD 46
#define CMD_REGISTER 1
#define NOP_INJECT_RESULT 1u	/* Linux 6.10 */

/* Of the io_uring with this descriptor. */
static struct {
	char *sqes;
	char *ring;
	unsigned int head, entries;	/* where the head is; how many SQEs */
} rings[MAX_FD];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int fault = -1;
static unsigned long from, every, seen;

__attribute__((constructor)) static void configure(void)
{
	const char *text = getenv("RING_FAULTS");

	if (text && sscanf(text, "%d:%lu:%lu", &fault, &from, &every) != 3)
		abort();
}

static int is_refused(void)
{
	unsigned long number = seen++;

	return fault >= 0 && number >= from &&
	       (every == 0 || (number - from) % every != every - 1);
}

/* `sqe` is about to be submitted. */
static void look_at(char *sqe)
{
	const uint16_t no_queue = 0xffff;
	const uint32_t result = -fault, inject = NOP_INJECT_RESULT;
	uint64_t user_data;
	uint32_t command;

	memcpy(&command, sqe + offsetof(struct io_uring_sqe, cmd_op), sizeof(command));
	if ((unsigned char)sqe[0] != OP_URING_CMD || command != CMD_REGISTER || !is_refused())
		return;
	if (fault == 0) {
		memcpy(sqe + offsetof(struct io_uring_sqe, cmd) + 16, &no_queue, sizeof(no_queue));
		return;
	}
	memcpy(&user_data, sqe + offsetof(struct io_uring_sqe, user_data), sizeof(user_data));
	memset(sqe, 0, SQE_SIZE);
	memcpy(sqe + offsetof(struct io_uring_sqe, user_data), &user_data, sizeof(user_data));
	memcpy(sqe + offsetof(struct io_uring_sqe, len), &result, sizeof(result));
	memcpy(sqe + offsetof(struct io_uring_sqe, rw_flags), &inject, sizeof(inject));
}

static void entering(long fd, unsigned int count)
{
	unsigned int head;

	if (fd < 0 || fd >= MAX_FD || !rings[fd].sqes || !rings[fd].ring)
		return;
	head = __atomic_load_n((unsigned int *)(rings[fd].ring + rings[fd].head), __ATOMIC_ACQUIRE);
	pthread_mutex_lock(&lock);
	for (unsigned int i = 0; i < count; i++)
		look_at(rings[fd].sqes + (head + i) % rings[fd].entries * SQE_SIZE);
	pthread_mutex_unlock(&lock);
}

static void made(long fd, const struct io_uring_params *params)
{
	if (fd < 0 || fd >= MAX_FD)
		return;
	rings[fd].sqes = rings[fd].ring = NULL;
	rings[fd].head = params->sq_off.head;
	rings[fd].entries = params->sq_entries;
}

long syscall(long number, ...)
{
	static long (*real)(long, ...);
	long args[6], result;
	va_list list;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "syscall");
	va_start(list, number);
	for (int i = 0; i < 6; i++)
		args[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_io_uring_enter)
		entering(args[0], args[1]);
	result = real(number, args[0], args[1], args[2], args[3], args[4], args[5]);
	if (number == SYS_io_uring_setup)
		made(result, (const void *)args[1]);
	return result;
}

static void *map(const char *name, void *address, size_t length, int protection, int flags,
		 int fd, int64_t offset)
{
	void *(*real)(void *, size_t, int, int, int, off64_t);
	void *start;

	*(void **)&real = dlsym(RTLD_NEXT, name);
	start = real(address, length, protection, flags, fd, offset);
	if (start != MAP_FAILED && fd >= 0 && fd < MAX_FD && rings[fd].entries) {
		if (offset == IORING_OFF_SQES)
			rings[fd].sqes = start;
		else if (offset == IORING_OFF_SQ_RING)
			rings[fd].ring = start;
	}
	return start;
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset)
{
	return map("mmap64", address, length, protection, flags, fd, offset);
}

#if __SIZEOF_LONG__ == 8
void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	return map("mmap", address, length, protection, flags, fd, offset);
}
#endif
