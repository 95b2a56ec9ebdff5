/*
 * paths_storm: random operations on the path API, by a kernel in the same process
 * (kernel.h) that keeps account of what it has looked up, opened and named, and
 * gives everything back at the end.
 *
 *     paths_storm OPERATIONS THREADS SEED [OPTION]
 *
 * Each thread has a directory of its own below the root and all names in it; the
 * filesystem says that every name exists, so that names come and go by what the
 * kernel does alone. OPTION goes to fuse_new(). Says "start N", "full N", "end N":
 * the library's count of nodes before, at its greatest and after; and "done N"
 * per operation. An answer that contradicts the account ends it with status 1.
 */
#include "kernel.h"

#include "ringfuse.h"

#include <inttypes.h>
#include <pthread.h>

#define NAMES 8 /* in each directory: half of them directories */
#define OPENS 4

enum operation { LOOKUP, FORGET, FORGETS, CREATE, MAKE, REMOVE, RENAME, EXCHANGE, LINK,
		 OPEN, CLOSE, GETATTR, OPERATIONS };

static const char *const operation_names[] = {
	"lookup", "forget", "forgets", "create", "make", "remove", "rename", "exchange", "link",
	"open", "close", "getattr",
};

static unsigned long done[OPERATIONS];

/* What the kernel knows of a node. */
struct node {
	uint64_t id;
	uint64_t lookups;
	uint64_t handles[OPENS];
	int opens;
	int directory;
	struct node *parent;		/* NULL: it has no name any more */
	int name;
	struct node *children[NAMES];	/* those that are known */
	int position;			/* in the thread's list */
};

struct client {
	uint64_t state;
	unsigned long steps;
	struct node *root;
	struct node **nodes;
	int count, room;
	unsigned long done[OPERATIONS];
};

static int op_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	const char *name = strrchr(path, '/') + 1;

	(void)fi;
	if (*name == '.')
		return -ENOENT; /* a name to hide a file under */
	st->st_mode = *name == 'f' ? S_IFREG | 0644 : S_IFDIR | 0755;
	st->st_nlink = 1;
	return 0;
}

static int op_path(const char *path)
{
	return path[0] == '/' ? 0 : -EINVAL;
}

static int op_make(const char *path, mode_t mode)
{
	(void)mode;
	return op_path(path);
}

static int op_open(const char *path, struct fuse_file_info *fi)
{
	(void)fi;
	return op_path(path);
}

static int op_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	(void)mode;
	return op_open(path, fi);
}

static int op_rename(const char *from, const char *to, unsigned int flags)
{
	(void)flags;
	return op_path(from) ? -EINVAL : op_path(to);
}

static int op_link(const char *from, const char *to)
{
	return op_rename(from, to, 0);
}

static const struct fuse_operations operations = {
	.getattr = op_getattr, .mkdir = op_make, .create = op_create, .open = op_open,
	.unlink = op_path, .rmdir = op_path, .rename = op_rename, .link = op_link,
};

static uint64_t count_nodes(void)
{
	struct ringfuse_stats stats = { .size = sizeof(stats) };

	if (ringfuse_session_stats(kernel_session, &stats))
		kernel_failed("no numbers");
	return stats.nodes;
}

static uint32_t any(struct client *client, uint32_t below)
{
	client->state = client->state * 6364136223846793005 + 1442695040888963407;
	return (client->state >> 33) % below;
}

static const char *name_of(int name)
{
	static const char *const names[NAMES] = {
		"d0", "d1", "d2", "d-with-a-name-of-more-than-thirty-two-bytes",
		"f0", "f1", "f2", "f-with-a-name-of-more-than-thirty-two-bytes",
	};

	return names[name];
}

static int is_directory(int name)
{
	return name < NAMES / 2;
}

static struct node *any_node(struct client *client)
{
	return client->nodes[any(client, client->count)];
}

/* A directory that has a name, as have all above it. */
static struct node *any_directory(struct client *client)
{
	struct node *node = any_node(client), *above;
	int depth = 0;

	if (!node->directory)
		node = node->parent;
	for (above = node; above && above != client->root; above = above->parent)
		depth++;
	return above && depth < 12 ? node : client->root;
}

static struct node *node_add(struct client *client, uint64_t id)
{
	struct node *node = calloc(1, sizeof(*node));

	if (client->count == client->room) {
		client->room = client->room ? 2 * client->room : 64;
		client->nodes = realloc(client->nodes, client->room * sizeof(node));
	}
	if (!node || !client->nodes)
		kernel_failed("no memory");
	node->id = id;
	node->position = client->count;
	client->nodes[client->count++] = node;
	return node;
}

static int has_children(struct node *node)
{
	for (int name = 0; name < NAMES; name++)
		if (node->children[name])
			return 1;
	return 0;
}

static void unname(struct node *node)
{
	if (node->parent)
		node->parent->children[node->name] = NULL;
	node->parent = NULL;
}

static void name(struct node *node, struct node *parent, int name)
{
	node->parent = parent;
	node->name = name;
	parent->children[name] = node;
}

/* The kernel forgets what it neither has open nor anything below of. */
static void node_drop(struct client *client, struct node *node)
{
	unname(node);
	client->nodes[node->position] = client->nodes[--client->count];
	client->nodes[node->position]->position = node->position;
	free(node);
}

/* The answer to a request that looks `parent`/`number` up. */
static struct node *entered(struct client *client, struct node *parent, int number)
{
	struct fuse_entry_out *entry = (void *)kernel_answer.data;
	struct node *node = parent->children[number];

	if (!node) {
		node = node_add(client, entry->nodeid);
		node->directory = is_directory(number);
		name(node, parent, number);
	} else if (node->id != entry->nodeid) {
		kernel_failed("a name that is known leads to another node");
	}
	node->lookups++;
	return node;
}

static int remember_handle(struct node *node, uint64_t handle)
{
	node->handles[node->opens++] = handle;
	return 1;
}

static void close_one(struct node *node)
{
	if (kernel_release(node->id, node->handles[--node->opens]))
		kernel_failed("a release fails");
}

static void forget_all(struct client *client, struct node *node)
{
	kernel_forget(node->id, node->lookups);
	node_drop(client, node);
}

/* Is `node` `above`, or somewhere below it? */
static int is_below(struct node *node, struct node *above)
{
	for (; node; node = node->parent)
		if (node == above)
			return 1;
	return 0;
}

static int rename_any(struct client *client, uint32_t flags)
{
	struct node *from = any_directory(client), *to = any_directory(client);
	int old = any(client, NAMES), new = any(client, NAMES / 2);
	struct node *node = from->children[old], *target;

	/* As in the kernel, both names have been looked up if they exist; a file
	 * does not become a directory. */
	new += is_directory(old) ? 0 : NAMES / 2;
	target = to->children[new];
	if (!node || node == target || is_below(to, node) || (target && is_below(from, target)) ||
	    (flags && !target) || (!flags && target && target->directory && has_children(target)))
		return 0;
	if (kernel_rename(from->id, name_of(old), to->id, name_of(new), flags))
		kernel_failed("a rename fails");
	unname(node);
	if (target)
		unname(target);
	name(node, to, new);
	if (flags)
		name(target, from, old);
	return 1;
}

/* One operation; whether there was something to do it with. */
static int perform(struct client *client, enum operation operation)
{
	struct node *parent = any_directory(client), *node = any_node(client);
	int number = any(client, NAMES);
	uint64_t handle;

	switch (operation) {
	case LOOKUP:
		if (kernel_ask(FUSE_LOOKUP, parent->id, NULL, 0, name_of(number), NULL))
			kernel_failed("a lookup fails");
		return entered(client, parent, number) != NULL;
	case FORGET:
		if (node == client->root || node->opens || has_children(node))
			return 0;
		forget_all(client, node);
		return 1;
	case FORGETS: {
		struct {
			struct fuse_batch_forget_in head;
			struct fuse_forget_one of[8];
		} in = { 0 };

		for (; in.head.count < 8 && client->count > 1; in.head.count++) {
			node = any_node(client);
			if (node == client->root || node->opens || has_children(node))
				break;
			in.of[in.head.count] = (struct fuse_forget_one){ node->id, node->lookups };
			node_drop(client, node);
		}
		kernel_send(FUSE_BATCH_FORGET, 0, &in,
			    sizeof(in.head) + in.head.count * sizeof(in.of[0]), NULL, NULL);
		return in.head.count > 0;
	}
	case CREATE:
		if (is_directory(number) || parent->children[number])
			return 0;
		if (!kernel_create(parent->id, name_of(number), &handle))
			kernel_failed("a create fails");
		return remember_handle(entered(client, parent, number), handle);
	case MAKE: {
		struct fuse_mkdir_in in = { .mode = 0755 };

		if (!is_directory(number) || parent->children[number])
			return 0;
		if (kernel_ask(FUSE_MKDIR, parent->id, &in, sizeof(in), name_of(number), NULL))
			kernel_failed("a mkdir fails");
		return entered(client, parent, number) != NULL;
	}
	case REMOVE:
		node = parent->children[number];
		if (!node || (node->directory && has_children(node)))
			return 0;
		if (kernel_ask(node->directory ? FUSE_RMDIR : FUSE_UNLINK, parent->id, NULL, 0,
			       name_of(number), NULL))
			kernel_failed("a removal fails");
		unname(node);
		return 1;
	case RENAME:
		return rename_any(client, 0);
	case EXCHANGE:
		return rename_any(client, 2);
	case LINK: {
		struct fuse_link_in in = { .oldnodeid = node->id };

		/* What has been removed, but is open, is hidden and has a path still. */
		if (node->directory || !node->parent || !is_below(node, client->root) ||
		    is_directory(number) || parent->children[number])
			return 0;
		if (kernel_ask(FUSE_LINK, parent->id, &in, sizeof(in), name_of(number), NULL))
			kernel_failed("a link fails");
		return entered(client, parent, number) != NULL;
	}
	case OPEN:
		if (node->directory || !is_below(node, client->root) || node->opens == OPENS)
			return 0;
		if (kernel_open(node->id, &handle))
			kernel_failed("an open fails");
		return remember_handle(node, handle);
	case CLOSE:
		if (!node->opens)
			return 0;
		close_one(node);
		return 1;
	case GETATTR:
		/* Without a name there is a path only if it is hidden. */
		if (kernel_getattr(node->id) &&
		    (kernel_answer.error != ESTALE || is_below(node, client->root)) &&
		    !(kernel_answer.error == ENOENT && !node->parent))
			kernel_failed("a getattr fails");
		return 1;
	default:
		return 0;
	}
}

static void *run(void *of)
{
	static const int shares[OPERATIONS] = {
		[LOOKUP] = 20, [FORGET] = 20, [FORGETS] = 4, [CREATE] = 10, [MAKE] = 8,
		[REMOVE] = 14, [RENAME] = 14, [EXCHANGE] = 8, [LINK] = 6, [OPEN] = 8,
		[CLOSE] = 14, [GETATTR] = 8,
	};
	struct client *client = of;

	for (unsigned long step = 0; step < client->steps;) {
		int ticket = any(client, 134), operation = 0;

		while (ticket >= shares[operation])
			ticket -= shares[operation++];
		if (perform(client, operation)) {
			client->done[operation]++;
			step++;
		}
	}
	return NULL;
}

/* Gives everything back: all that is open, then what nothing is below of. */
static void *finish(void *of)
{
	struct client *client = of;

	for (int i = 0; i < client->count; i++)
		while (client->nodes[i]->opens)
			close_one(client->nodes[i]);
	while (client->count)
		for (int i = client->count - 1; i >= 0; i--)
			if (!has_children(client->nodes[i]))
				forget_all(client, client->nodes[i]);
	free(client->nodes);
	return NULL;
}

static void all(struct client *clients, int count, void *(*what)(void *))
{
	pthread_t threads[64];

	for (int i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, what, &clients[i]))
			kernel_failed("no thread");
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
	unsigned long steps = argc > 3 ? strtoul(argv[1], NULL, 10) : 0;
	int threads = argc > 3 ? atoi(argv[2]) : 0;
	struct client clients[64] = { 0 };
	struct fuse *fuse;

	if (!steps || threads < 1 || threads > 64) {
		fprintf(stderr, "usage: paths_storm OPERATIONS THREADS SEED [OPTION]\n");
		return 2;
	}
	fuse = kernel_start(&operations, argc > 4 ? argv[4] : NULL);
	printf("start %" PRIu64 "\n", count_nodes());
	for (int i = 0; i < threads; i++) {
		char own[16];

		sprintf(own, "own%d", i);
		clients[i].state = strtoull(argv[3], NULL, 10) * 64 + i;
		clients[i].steps = steps / threads;
		clients[i].root = node_add(&clients[i], kernel_lookup(FUSE_ROOT_ID, own));
		clients[i].root->lookups = 1;
		clients[i].root->directory = 1;
	}
	all(clients, threads, run);
	printf("full %" PRIu64 "\n", count_nodes());
	all(clients, threads, finish);
	printf("end %" PRIu64 "\n", count_nodes());
	for (int i = 0; i < threads; i++)
		for (int operation = 0; operation < OPERATIONS; operation++)
			done[operation] += clients[i].done[operation];
	for (int operation = 0; operation < OPERATIONS; operation++)
		printf("%s %lu\n", operation_names[operation], done[operation]);
	fuse_destroy(fuse);
	return 0;
}
