/*
 * A small tree in memory: what trace_ll serves. Nodes are never freed, so a
 * pointer stays good; what it points at may be looked at and changed only
 * while nodes_lock is held.
 */
#ifndef NODES_H
#define NODES_H

#include "serve.h"

#include <pthread.h>

#define NODE_NAME 1100	/* FUSE allows 1024 bytes, or more since Linux 6.16 */

struct node {
	fuse_ino_t ino;
	fuse_ino_t parent;	/* 0: has no name (any more) */
	char name[NODE_NAME];
	struct stat attr;
	char *data;		/* contents of a file, target of a symlink */
	size_t room;
};

extern pthread_mutex_t nodes_lock;

/* Times of every new node; tests compare against them. */
#define NODE_SECONDS 1000000000
#define NODE_NANOSECONDS 123456789

void nodes_start(void);

/* NULL if there is no such node. */
struct node *node_get(fuse_ino_t ino);
struct node *node_find(fuse_ino_t parent, const char *name);

/* The node with the next number >= ino that is a child of parent. */
struct node *node_after(fuse_ino_t parent, fuse_ino_t ino);

/* NULL when the table is full. */
struct node *node_add(fuse_ino_t parent, const char *name, mode_t mode);

void node_name(struct node *node, fuse_ino_t parent, const char *name);

/* Sets the size, filling with zeros; 0 or an errno. */
int node_resize(struct node *node, off_t size);
int node_write(struct node *node, const char *data, size_t size, off_t off);

#endif
