/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * wakeups FILE PID COUNT: one client reads FILE past the cache, 4 KiB COUNT times, one
 * after the other, from a filesystem whose server is process PID. Prints, for 1000
 * reads: how often the client found itself on another CPU than before, and how often
 * the client and all threads of the server gave up their CPU (voluntary), or lost it.
 * Counts, not times: they mean the same on emulated CPUs.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct switches {
	long voluntary, forced;
};

static void add(const char *path, struct switches *sum)
{
	FILE *file = fopen(path, "re");
	char line[128];
	long number;

	if (!file)
		return; /* a thread that has ended */
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "voluntary_ctxt_switches: %ld", &number) == 1)
			sum->voluntary += number;
		if (sscanf(line, "nonvoluntary_ctxt_switches: %ld", &number) == 1)
			sum->forced += number;
	}
	fclose(file);
}

static struct switches of(const char *pid)
{
	struct switches sum = { 0, 0 };
	char path[300];
	struct dirent *entry;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%s/task", pid);
	tasks = opendir(path);
	while (tasks && (entry = readdir(tasks))) {
		snprintf(path, sizeof(path), "/proc/%s/task/%s/status", pid, entry->d_name);
		if (entry->d_name[0] != '.')
			add(path, &sum);
	}
	if (tasks)
		closedir(tasks);
	return sum;
}

int main(int argc, char **argv)
{
	struct switches client, server;
	long count, moves = 0;
	void *data;
	int fd, cpu = -1;

	if (argc != 4 || (count = atol(argv[3])) <= 0) {
		fprintf(stderr, "usage: wakeups FILE PID COUNT\n");
		return 2;
	}
	fd = open(argv[1], O_RDONLY | O_DIRECT);
	if (fd < 0 || posix_memalign(&data, 4096, 4096) != 0) {
		perror(argv[1]);
		return 1;
	}
	/* What comes first is no steady state. */
	for (long i = -count / 2; i < count; i++) {
		if (i == 0) {
			client = of("self");
			server = of(argv[2]);
			cpu = sched_getcpu();
			moves = 0;
		}
		if (pread(fd, data, 4096, 0) != 4096) {
			perror("pread");
			return 1;
		}
		if (sched_getcpu() != cpu) {
			cpu = sched_getcpu();
			moves++;
		}
	}
	struct switches client_now = of("self"), server_now = of(argv[2]);

	printf("%ld %ld+%ld %ld+%ld\n", moves * 1000 / count,
	       (client_now.voluntary - client.voluntary) * 1000 / count,
	       (client_now.forced - client.forced) * 1000 / count,
	       (server_now.voluntary - server.voluntary) * 1000 / count,
	       (server_now.forced - server.forced) * 1000 / count);
	return 0;
}
