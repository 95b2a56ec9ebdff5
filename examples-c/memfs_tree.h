/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * memfs_tree.h: inodes, and the names that lead to them.
 *
 * tree.lock guards names, directories and which nodes exist. Readers hold it
 * shared (a node they found stays while they do), everything that adds or
 * removes a name or a node holds it exclusively. node->lock guards attributes,
 * contents and extended attributes, and is always the later one to be taken.
 *
 * A node ends when it has no link, no lookup in the kernel and no open file.
 */
#ifndef EXAMPLES_MEMFS_TREE_H
#define EXAMPLES_MEMFS_TREE_H

#include "memfs_data.h"

#include <limits.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

struct node;

struct name {
	struct node *dir;
	struct node *node;
	struct name *next;  /* in the same bucket */
	uint64_t offset;    /* in the listing of `dir` */
	char text[];
};

/* A place in a directory's listing. It never moves to another offset, so a
 * listing goes on where it stopped whatever happens in between. */
struct slot {
	uint64_t offset;
	struct name *name;  /* NULL: removed */
};

struct xattr {
	struct xattr *next;
	char *name;
	size_t size;
	char value[];
};

/* A lock: memfs_locks.h. */
enum lock_kind { LOCK_RECORD, LOCK_WHOLE };

struct record {
	struct record *next;
	uint64_t owner;
	uint64_t start, end;  /* the last byte; INT64_MAX for "to the end of the file" */
	short type;           /* F_RDLCK or F_WRLCK, in a request also F_UNLCK */
	pid_t pid;
};

struct node {
	/* tree.lock */
	struct node *previous, *next;  /* in the list of all nodes */
	struct node *parent;           /* of a directory */
	struct slot *slots;            /* of a directory, by offset */
	size_t slot_count, slot_room, entries;
	uint64_t next_offset;
	bool linkable;                 /* without a name, but may be given one */
	mode_t type;                   /* S_IFMT of the mode; never changes */
	atomic_uint_fast64_t lookups, opens;

	pthread_rwlock_t lock;
	struct stat attr;
	struct timespec born;
	struct data data;              /* of a regular file */
	char *target;                  /* of a symbolic link */
	struct xattr *xattrs;

	struct record *records[2];     /* by lock_kind; locks.mutex */
};

static struct {
	pthread_rwlock_t lock;
	struct node *root;
	struct node *nodes;
	uint64_t node_count;
	uint64_t next_ino;
	struct name **buckets;
	size_t bucket_count;           /* a power of two */
	size_t name_count;
} tree = { .lock = PTHREAD_RWLOCK_INITIALIZER, .next_ino = 1 };

/* "." and ".." come first in every listing. */
#define FIRST_OFFSET 3

static inline struct timespec now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return time;
}

/* ---- nodes ----------------------------------------------------------------- */

/* A node without a name. NULL if there is no memory. */
static inline struct node *node_new(mode_t mode, uid_t uid, gid_t gid, dev_t rdev)
{
	struct node *node = calloc(1, sizeof(*node));

	if (node == NULL)
		return NULL;
	pthread_rwlock_init(&node->lock, NULL);
	node->born = now();
	node->attr.st_ino = tree.next_ino++;
	node->type = mode & S_IFMT;
	node->attr.st_mode = mode;
	node->attr.st_uid = uid;
	node->attr.st_gid = gid;
	node->attr.st_rdev = rdev;
	node->attr.st_blksize = PAGE_BYTES;
	node->attr.st_atim = node->attr.st_mtim = node->attr.st_ctim = node->born;
	node->next_offset = FIRST_OFFSET;
	node->next = tree.nodes;
	if (tree.nodes)
		tree.nodes->previous = node;
	tree.nodes = node;
	tree.node_count++;
	return node;
}

static inline void node_free(struct node *node)
{
	if (node->previous)
		node->previous->next = node->next;
	else
		tree.nodes = node->next;
	if (node->next)
		node->next->previous = node->previous;
	tree.node_count--;
	data_punch(&node->data, 0, UINT64_MAX);
	while (node->xattrs) {
		struct xattr *xattr = node->xattrs;

		node->xattrs = xattr->next;
		free(xattr->name);
		free(xattr);
	}
	for (int kind = LOCK_RECORD; kind <= LOCK_WHOLE; kind++) {
		while (node->records[kind]) {
			struct record *record = node->records[kind];

			node->records[kind] = record->next;
			free(record);
		}
	}
	free(node->slots);
	free(node->target);
	pthread_rwlock_destroy(&node->lock);
	free(node);
}

/* Frees the node if nothing keeps it any more. */
static inline void node_settle(struct node *node)
{
	if (node->attr.st_nlink == 0 && node->lookups == 0 && node->opens == 0)
		node_free(node);
}

/* Adds to the link count, and notes that the node was changed. */
static inline void node_links(struct node *node, int add)
{
	pthread_rwlock_wrlock(&node->lock);
	node->attr.st_nlink += add;
	node->attr.st_ctim = now();
	pthread_rwlock_unlock(&node->lock);
}

static inline void dir_changed(struct node *dir)
{
	pthread_rwlock_wrlock(&dir->lock);
	dir->attr.st_mtim = dir->attr.st_ctim = now();
	dir->attr.st_size = dir->entries;
	pthread_rwlock_unlock(&dir->lock);
}

/* ---- names ------------------------------------------------------------------ */

static inline struct name **name_bucket(const struct node *dir, const char *text)
{
	uint64_t hash = dir->attr.st_ino * 0x9e3779b97f4a7c15u;

	while (*text)
		hash = (hash ^ (unsigned char)*text++) * 0x100000001b3u;
	return &tree.buckets[(hash ^ hash >> 32) & (tree.bucket_count - 1)];
}

static inline struct name *name_find(const struct node *dir, const char *text)
{
	struct name *name;

	for (name = *name_bucket(dir, text); name; name = name->next)
		if (name->dir == dir && strcmp(name->text, text) == 0)
			break;
	return name;
}

/* Doubles the table of names when it is full; 0 or an errno. */
static inline int names_make_room(void)
{
	struct name **old = tree.buckets;
	size_t old_count = tree.bucket_count;

	if (tree.name_count < old_count)
		return 0;
	tree.buckets = calloc(old_count ? old_count * 2 : 1024, sizeof(*tree.buckets));
	if (tree.buckets == NULL) {
		tree.buckets = old;
		return old ? 0 : ENOMEM;  /* longer chains will do */
	}
	tree.bucket_count = old_count ? old_count * 2 : 1024;
	for (size_t i = 0; i < old_count; i++) {
		while (old[i]) {
			struct name *name = old[i];
			struct name **bucket = name_bucket(name->dir, name->text);

			old[i] = name->next;
			name->next = *bucket;
			*bucket = name;
		}
	}
	free(old);
	return 0;
}

/* The first slot after `offset`, as a position in the array. */
static inline size_t slot_after(const struct node *dir, uint64_t offset)
{
	size_t low = 0, high = dir->slot_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (dir->slots[middle].offset <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Adds a name for `node`; 0 or an errno. Link counts are the caller's. */
static inline int name_add(struct node *dir, const char *text, struct node *node)
{
	size_t length = strlen(text);
	struct name **bucket, *name;

	if (length > NAME_MAX)
		return ENAMETOOLONG;
	if (dir->attr.st_nlink == 0)
		return ENOENT;  /* removed, but still somebody's working directory */
	if (names_make_room() != 0)
		return ENOMEM;
	if (dir->slot_count == dir->slot_room) {
		size_t room = dir->slot_room ? dir->slot_room * 2 : 4;
		struct slot *bigger = realloc(dir->slots, room * sizeof(*bigger));

		if (bigger == NULL)
			return ENOMEM;
		dir->slots = bigger;
		dir->slot_room = room;
	}
	name = malloc(sizeof(*name) + length + 1);
	if (name == NULL)
		return ENOMEM;
	memcpy(name->text, text, length + 1);
	name->dir = dir;
	name->node = node;
	name->offset = dir->next_offset++;
	dir->slots[dir->slot_count++] = (struct slot){ .offset = name->offset, .name = name };
	dir->entries++;
	bucket = name_bucket(dir, text);
	name->next = *bucket;
	*bucket = name;
	tree.name_count++;
	dir_changed(dir);
	return 0;
}

static inline void name_remove(struct name *name)
{
	struct node *dir = name->dir;
	struct name **link = name_bucket(dir, name->text);

	while (*link != name)
		link = &(*link)->next;
	*link = name->next;
	tree.name_count--;
	dir->slots[slot_after(dir, name->offset) - 1].name = NULL;
	dir->entries--;
	if (dir->slot_count > 2 * dir->entries + 16) {
		size_t kept = 0;

		for (size_t i = 0; i < dir->slot_count; i++)
			if (dir->slots[i].name)
				dir->slots[kept++] = dir->slots[i];
		dir->slot_count = kept;
	}
	dir_changed(dir);
	free(name);
}

/* ---- the whole --------------------------------------------------------------- */

static inline int tree_start(uid_t uid, gid_t gid)
{
	tree.root = node_new(S_IFDIR | 0755, uid, gid, 0);
	if (tree.root == NULL || names_make_room() != 0)
		return ENOMEM;
	tree.root->attr.st_nlink = 2;
	tree.root->parent = tree.root;
	return 0;
}

/* Frees everything. Nobody may use the tree any more. */
static inline void tree_finish(void)
{
	for (size_t i = 0; i < tree.bucket_count; i++) {
		while (tree.buckets[i]) {
			struct name *name = tree.buckets[i];

			tree.buckets[i] = name->next;
			free(name);
		}
	}
	free(tree.buckets);
	while (tree.nodes)
		node_free(tree.nodes);
}

#endif
