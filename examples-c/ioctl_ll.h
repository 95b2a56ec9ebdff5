/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * ioctl_ll.h: the commands of ioctl_ll, for the filesystem and its clients.
 *
 * A command's number says in which direction how many bytes go. The kernel
 * relies on that, so it has to be right. Types of a fixed size make the numbers
 * the same for 32-bit programs on a 64-bit system.
 */
#ifndef EXAMPLES_IOCTL_LL_H
#define EXAMPLES_IOCTL_LL_H

#include <stdint.h>
#include <sys/ioctl.h>

#define STORE_CAPACITY 8192

struct store_contents {
	uint32_t size;
	char data[STORE_CAPACITY];
};

/* For a file that does not fit into a command. */
struct store_reference {
	uint64_t address;
	uint64_t size;
};

/* Files. */
#define STORE_CLEAR _IO('S', 1)                               /* nothing goes anywhere */
#define STORE_GET_SIZE _IOR('S', 2, uint32_t)                 /* bytes in the file */
#define STORE_SET_SIZE _IOW('S', 3, uint32_t)                 /* cuts it, or adds zeros */
#define STORE_EXCHANGE _IOWR('S', 4, struct store_contents)   /* new contents for old */
#define STORE_READ _IOW('S', 5, struct store_reference)       /* fails: see ioctl_ll.c */
/* The directory. */
#define STORE_COUNT _IOR('S', 6, uint32_t)                    /* files that are not empty */

#endif
