/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * passthrough_nodes.h: the inodes the kernel knows, by (device, inode number).
 *
 * A node lives while its lookup count is not 0. The kernel never forgets a node
 * that a request still names, so handlers use it without a reference of their
 * own. Any thread may call these functions.
 */
#ifndef EXAMPLES_PASSTHROUGH_NODES_H
#define EXAMPLES_PASSTHROUGH_NODES_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A descriptor that stands for one owner of record locks: passthrough_locks.h. */
struct lock_holder {
	uint64_t owner;
	int fd;
	struct lock_holder *next;
};

struct node {
	int fd;                       /* O_PATH | O_NOFOLLOW; pins the inode, so (dev, ino) is not reused */
	dev_t dev;
	ino_t ino;
	uint64_t lookups;             /* guarded by table.mutex */
	struct node *next;            /* in the same bucket */
	struct lock_holder *holders;  /* guarded by locks.mutex */
};

static struct {
	pthread_mutex_t mutex;
	struct node **buckets;
	size_t size;                  /* a power of two */
	size_t used;
} table = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static struct node root;

static struct node **bucket_of(dev_t dev, ino_t ino)
{
	uint64_t hash = ((uint64_t)ino ^ ((uint64_t)dev << 40)) * 0x9e3779b97f4a7c15u;

	return &table.buckets[(hash >> 20) & (table.size - 1)];
}

static void table_insert(struct node *node)
{
	struct node **bucket = bucket_of(node->dev, node->ino);

	node->next = *bucket;
	*bucket = node;
	table.used++;
}

/* Doubles the table when it is full; a failure only makes chains longer. */
static void table_make_room(void)
{
	struct node **old = table.buckets;
	size_t old_size = table.size;
	struct node **bigger;

	if (table.used < old_size)
		return;
	bigger = calloc(old_size * 2, sizeof(*bigger));
	if (bigger == NULL)
		return;
	table.buckets = bigger;
	table.size = old_size * 2;
	table.used = 0;
	for (size_t i = 0; i < old_size; i++) {
		while (old[i]) {
			struct node *node = old[i];

			old[i] = node->next;
			table_insert(node);
		}
	}
	free(old);
}

/* Takes over an O_PATH descriptor: finds its node or makes one, and counts one
 * lookup. Fills in `st`. NULL with errno set on failure. */
static struct node *node_get(int fd, struct stat *st)
{
	struct node *node;

	if (fstatat(fd, "", st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0) {
		int error = errno;

		close(fd);
		errno = error;
		return NULL;
	}
	pthread_mutex_lock(&table.mutex);
	for (node = *bucket_of(st->st_dev, st->st_ino); node; node = node->next)
		if (node->ino == st->st_ino && node->dev == st->st_dev)
			break;
	if (node) {
		node->lookups++;
		close(fd);
	} else if ((node = calloc(1, sizeof(*node)))) {
		*node = (struct node){ .fd = fd, .dev = st->st_dev, .ino = st->st_ino, .lookups = 1 };
		table_make_room();
		table_insert(node);
	} else {
		close(fd);
		errno = ENOMEM;
	}
	pthread_mutex_unlock(&table.mutex);
	return node;
}

static void node_free(struct node *node)
{
	while (node->holders) {
		struct lock_holder *holder = node->holders;

		node->holders = holder->next;
		close(holder->fd);
		free(holder);
	}
	close(node->fd);
	if (node != &root)
		free(node);
}

/* Gives `count` lookups back; the last one ends the node. */
static void node_put(struct node *node, uint64_t count)
{
	struct node **link;

	if (node == &root)
		return;
	pthread_mutex_lock(&table.mutex);
	node->lookups -= count;
	if (node->lookups > 0) {
		pthread_mutex_unlock(&table.mutex);
		return;
	}
	for (link = bucket_of(node->dev, node->ino); *link != node; link = &(*link)->next)
		;
	*link = node->next;
	table.used--;
	pthread_mutex_unlock(&table.mutex);
	node_free(node);
}

struct proc_path {
	char text[32];
};

/* The name under which the kernel lets us open, again, what `fd` stands for. */
static struct proc_path proc_path(int fd)
{
	struct proc_path path;

	snprintf(path.text, sizeof(path.text), "/proc/self/fd/%d", fd);
	return path;
}

static int reopen(int fd, int flags)
{
	return open(proc_path(fd).text, flags | O_CLOEXEC);
}

/* Makes the table, with the directory behind `fd` as its root; 0, or -1 with errno set. */
static int nodes_start(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return -1;
	table.size = 4096;
	table.buckets = calloc(table.size, sizeof(*table.buckets));
	if (table.buckets == NULL)
		return -1;
	root = (struct node){ .fd = fd, .dev = st.st_dev, .ino = st.st_ino };
	table_insert(&root);
	return 0;
}

/* Frees what the kernel did not get to forget: a mount that ends does not. */
static void nodes_finish(void)
{
	for (size_t i = 0; i < table.size; i++) {
		while (table.buckets[i]) {
			struct node *node = table.buckets[i];

			table.buckets[i] = node->next;
			node_free(node);
		}
	}
	free(table.buckets);
}

#endif
