/*
 * paths: what a path costs. A filesystem of the path API whose operations do
 * nothing, with a kernel in the same process (tests/fs/kernel.h), so that what is
 * measured is the library: reading the message, the node, the path, the answer.
 *
 *     paths NODES
 *
 * Makes a tree of NODES files, 64 in each directory, eight names deep, all looked
 * up and none forgotten. Says "nodes COUNT rss BYTES fill NS"; then answers each
 * line it reads, the name of a measurement, with its nanoseconds per operation:
 *     lookup   LOOKUP of the eight names from the root, GETATTR of the last
 *     path     GETATTR alone
 *     create   CREATE, RELEASE, UNLINK, FORGET of a new name
 *     rename   RENAME of a file into another directory
 *     load     the same while three threads do "path" without a pause
 * of random files. CPU time of the thread; of "load" the time of a clock.
 */
#include "../tests/fs/kernel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define FILES 64
#define LEVELS 7
#define ROUNDS 20000
#define LOADERS 3

static int op_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	const char *name = strrchr(path, '/') + 1;

	(void)fi;
	/* No name twice: what is created or moved here goes to a new name. */
	st->st_mode = *name == 'd' || !*name ? S_IFDIR | 0755 : S_IFREG | 0644;
	st->st_nlink = 1;
	return 0;
}

static int op_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	(void)path;
	(void)mode;
	(void)fi;
	return 0;
}

static int op_unlink(const char *path)
{
	(void)path;
	return 0;
}

static int op_rename(const char *from, const char *to, unsigned int flags)
{
	(void)from;
	(void)to;
	(void)flags;
	return 0;
}

static const struct fuse_operations operations = {
	.getattr = op_getattr, .create = op_create, .unlink = op_unlink, .rename = op_rename,
};

/* A file: its number among all, where it is, and what it is called. */
struct file {
	uint32_t node, directory, name;
};

static struct file *files;
static uint32_t *directories; /* nodes; FILES files in each at first */
static uint32_t count, names;
static atomic_int stop;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static double seconds(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static long resident(void)
{
	long pages = 0;
	FILE *statm = fopen("/proc/self/statm", "r");

	if (!statm || fscanf(statm, "%*s %ld", &pages) != 1)
		kernel_failed("cannot read /proc/self/statm");
	fclose(statm);
	return pages * sysconf(_SC_PAGESIZE);
}

static void directory_name(char *name, uint32_t directory, int level)
{
	uint32_t number = level < 3 ? 0 : directory >> 5 * (LEVELS - 1 - level);

	sprintf(name, "directory-%d-%02u", level, level == 3 ? number : number & 31);
}

static void file_name(char *name, uint32_t number)
{
	sprintf(name, "file-%010u", number);
}

/* LOOKUP of a directory from the root down. */
static uint64_t walk(uint32_t directory)
{
	uint64_t at = FUSE_ROOT_ID;
	char name[64];

	for (int level = 0; level < LEVELS && at; level++) {
		directory_name(name, directory, level);
		at = kernel_lookup(at, name);
	}
	if (!at)
		kernel_failed("a directory is not found");
	return at;
}

static void fill(void)
{
	char name[64];

	for (uint32_t i = 0; i < count; i++) {
		if (i % FILES == 0)
			directories[i / FILES] = walk(i / FILES);
		file_name(name, names);
		files[i].directory = i / FILES;
		files[i].name = names++;
		files[i].node = kernel_lookup(directories[i / FILES], name);
	}
}

static void lookup(struct file *file)
{
	uint64_t directory = walk(file->directory);
	char name[64];

	file_name(name, file->name);
	if (kernel_lookup(directory, name) != file->node || kernel_getattr(file->node))
		kernel_failed("a file is not found");
}

static void path(struct file *file)
{
	if (kernel_getattr(file->node))
		kernel_failed("a file has no path");
}

static void create(struct file *file)
{
	uint64_t directory = directories[file->directory], node, fh;
	char name[64];

	sprintf(name, "created-%u", names++);
	node = kernel_create(directory, name, &fh);
	if (!node || kernel_release(node, fh) ||
	    kernel_ask(FUSE_UNLINK, directory, NULL, 0, name, NULL))
		kernel_failed("a file cannot be made");
	kernel_forget(node, 1);
}

static uint64_t state = 88172645463325252;

static void move(struct file *file)
{
	uint32_t to = files[next_random(&state) % count].directory;
	char old[64], new[64];

	file_name(old, file->name);
	file_name(new, names);
	if (kernel_rename(directories[file->directory], old, directories[to], new, 0))
		kernel_failed("a file cannot be moved");
	file->name = names++;
	file->directory = to;
}

static double measure(void (*what)(struct file *), clockid_t clock)
{
	double start = seconds(clock);

	for (int i = 0; i < ROUNDS; i++)
		what(&files[next_random(&state) % count]);
	return (seconds(clock) - start) / ROUNDS * 1e9;
}

static void *loader(void *number)
{
	uint64_t own = 77 + (uintptr_t)number;

	while (!stop)
		path(&files[next_random(&own) % count]);
	return NULL;
}

static double load(void)
{
	pthread_t threads[LOADERS];
	double result;

	stop = 0;
	for (uintptr_t i = 0; i < LOADERS; i++)
		if (pthread_create(&threads[i], NULL, loader, (void *)i))
			kernel_failed("no thread");
	result = measure(move, CLOCK_MONOTONIC);
	stop = 1;
	for (int i = 0; i < LOADERS; i++)
		pthread_join(threads[i], NULL);
	return result;
}

int main(int argc, char **argv)
{
	clockid_t cpu = CLOCK_THREAD_CPUTIME_ID;
	uint32_t nodes, inner;
	char line[64];
	double start;
	long before;

	count = argc > 1 ? strtoul(argv[1], NULL, 10) / FILES * FILES : 0;
	if (!count) {
		fprintf(stderr, "usage: paths NODES\n");
		return 2;
	}
	files = calloc(count, sizeof(*files));
	directories = calloc(count / FILES, sizeof(*directories));
	if (!files || !directories)
		kernel_failed("no memory");
	memset(files, 1, count * sizeof(*files));
	memset(directories, 1, count / FILES * sizeof(*directories));
	kernel_start(&operations, NULL);
	before = resident();
	start = seconds(cpu);
	fill();
	nodes = count + 3;
	for (inner = count / FILES; ; inner = (inner + 31) / 32) {
		nodes += inner;
		if (inner == 1)
			break;
	}
	printf("nodes %u rss %ld fill %.0f\n", nodes, resident() - before,
	       (seconds(cpu) - start) / count * 1e9);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		double result = !strcmp(line, "lookup") ? measure(lookup, cpu)
			: !strcmp(line, "path") ? measure(path, cpu)
			: !strcmp(line, "create") ? measure(create, cpu)
			: !strcmp(line, "rename") ? measure(move, cpu)
			: !strcmp(line, "load") ? load() : -1;

		printf("%.1f\n", result);
		fflush(stdout);
	}
	return 0;
}
