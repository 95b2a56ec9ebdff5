#include "nodes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NODES 8192

pthread_mutex_t nodes_lock = PTHREAD_MUTEX_INITIALIZER;

static struct node *table[MAX_NODES];
static fuse_ino_t used;		/* highest number in use */

void nodes_start(void)
{
	node_add(0, "", S_IFDIR | 0755);
}

struct node *node_get(fuse_ino_t ino)
{
	return ino >= 1 && ino <= used ? table[ino] : NULL;
}

struct node *node_find(fuse_ino_t parent, const char *name)
{
	for (fuse_ino_t ino = 1; ino <= used; ino++)
		if (table[ino]->parent == parent &&
		    strcmp(table[ino]->name, name) == 0)
			return table[ino];
	return NULL;
}

struct node *node_after(fuse_ino_t parent, fuse_ino_t ino)
{
	for (; ino <= used; ino++)
		if (ino > 0 && table[ino]->parent == parent)
			return table[ino];
	return NULL;
}

struct node *node_add(fuse_ino_t parent, const char *name, mode_t mode)
{
	struct timespec then = { NODE_SECONDS, NODE_NANOSECONDS };
	struct node *node;

	if (used + 1 >= MAX_NODES)
		return NULL;
	node = calloc(1, sizeof(*node));
	if (!node)
		return NULL;
	node->ino = ++used;
	node_name(node, parent, name);
	node->attr.st_ino = node->ino;
	node->attr.st_mode = mode;
	node->attr.st_nlink = S_ISDIR(mode) ? 2 : 1;
	node->attr.st_uid = getuid();
	node->attr.st_gid = getgid();
	node->attr.st_blksize = 4096;
	node->attr.st_atim = node->attr.st_mtim = node->attr.st_ctim = then;
	table[used] = node;
	return node;
}

void node_name(struct node *node, fuse_ino_t parent, const char *name)
{
	node->parent = parent;
	strncpy(node->name, name, sizeof(node->name) - 1);
}

int node_resize(struct node *node, off_t size)
{
	if (size < 0)
		return EINVAL;
	if ((size_t)size > node->room) {
		char *data = realloc(node->data, size);

		if (!data)
			return ENOSPC;
		node->data = data;
		node->room = size;
	}
	if (size > node->attr.st_size)
		memset(node->data + node->attr.st_size, 0,
		       size - node->attr.st_size);
	node->attr.st_size = size;
	node->attr.st_blocks = (size + 511) / 512;
	return 0;
}

int node_write(struct node *node, const char *data, size_t size, off_t off)
{
	if (off + (off_t)size > node->attr.st_size) {
		int err = node_resize(node, off + size);

		if (err)
			return err;
	}
	memcpy(node->data + off, data, size);
	return 0;
}
