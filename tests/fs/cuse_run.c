/*
 * Sets up and serves the mailbox of cuse_dev.c in each way there is.
 *
 *   cuse_dev [OPTIONS OF ITS OWN] [-- OPTIONS OF LIBFUSE]
 *     --entry=main|setup|new[_319]  the function to begin with (main)
 *     --fd=N          serve the kernel's side of a socket, with new[_319] only
 *     --name=NAME     DEVNAME; empty: no dev_info at all
 *     --info=BYTES    a dev_info line of so many bytes more
 *     --maj=N --min=N the device's number
 *     --flags=N       flags of struct cuse_info (CUSE_UNRESTRICTED_IOCTL)
 *     --table=BYTES   the size that the _319 functions are told of the table
 *     --loop=own      receive and process, in place of libfuse's loops
 *     --loop=mt       several threads, with new[_319]
 *     --rounds=N      set up, serve and tear down so many times, with setup
 *     --few           operations other than read are missing
 *     --max-write=N   what init() sets
 *
 * Functions are called as programs of their time call them, by name and symbol
 * version. Prints "result N" at the end, N being what the function or the loop
 * returned. Each operation is a line in the file that CUSE_DEV_TRACE names.
 */
#include "cuse_dev.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *entry = "main", *loop = "", *name = "ringfuse-test";
static int session_fd = -1, few, rounds = 1;
static unsigned major_number, minor_number, info_flags;
static size_t extra_info, table_size = sizeof(struct cuse_lowlevel_ops);
static int userdata = 42;

static void *find(const char *function, const char *node)
{
	void *address = dlvsym(RTLD_DEFAULT, function, node);

	if (!address) {
		fprintf(stderr, "%s\n", dlerror());
		exit(2);
	}
	return address;
}

static ssize_t socket_read(int fd, void *buf, size_t size, void *data)
{
	ssize_t got = read(fd, buf, size);

	(void)data;
	return got < 0 ? -errno : got;
}

static ssize_t socket_writev(int fd, struct iovec *iov, int count, void *data)
{
	ssize_t sent = writev(fd, iov, count);

	(void)data;
	return sent < 0 ? -errno : sent;
}

static const struct fuse_custom_io socket_io = { .read = socket_read, .writev = socket_writev };

static int run_loop(struct fuse_session *se, int multithreaded)
{
	struct fuse_buf buf = { .mem = NULL };
	int got;

	if (strcmp(loop, "own") != 0)
		return multithreaded ? fuse_session_loop_mt(se, NULL) : fuse_session_loop(se);
	while ((got = fuse_session_receive_buf(se, &buf)) > 0 || got == -EINTR)
		if (got > 0)
			fuse_session_process_buf(se, &buf);
	free(buf.mem);
	return got;
}

static struct cuse_lowlevel_ops operations;
static struct cuse_info info;

static int run_new(int argc, char **argv, int is_319)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct libfuse_version {
		uint32_t major, minor, hotfix, padding;
	} version = { 3, 19, 0, 0 };
	struct fuse_session *se;
	int result;

	if (is_319) {
		struct fuse_session *(*new_319)(struct fuse_args *, const struct cuse_info *,
						const struct cuse_lowlevel_ops *, size_t,
						const struct libfuse_version *, void *) =
			find("cuse_lowlevel_new_319", "RINGFUSE_0.1");
		se = new_319(&args, &info, &operations, table_size, &version, &userdata);
	} else {
		struct fuse_session *(*new)(struct fuse_args *, const struct cuse_info *,
					    const struct cuse_lowlevel_ops *, void *) =
			find("cuse_lowlevel_new", "FUSE_3.0");
		se = new(&args, &info, &operations, &userdata);
	}
	if (!se) {
		fuse_opt_free_args(&args);
		return 1;
	}
	/* What they say was copied. */
	memset(&operations, 0x5a, sizeof(operations));
	memset(&info, 0x5a, sizeof(info));
	if (session_fd < 0) {
		result = 0; /* never connected */
	} else {
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17) && FUSE_USE_VERSION >= 317
		result = fuse_session_custom_io(se, &socket_io, sizeof(socket_io), session_fd);
#else
		result = fuse_session_custom_io(se, &socket_io, session_fd);
#endif
		if (result == 0)
			result = run_loop(se, strcmp(loop, "mt") == 0);
	}
	fuse_session_destroy(se);
	fuse_opt_free_args(&args);
	return result;
}

static int run_setup(int argc, char **argv, int is_319)
{
	struct fuse_session *se;
	int multithreaded = -1, result;

	if (is_319) {
		struct fuse_session *(*setup_319)(int, char **, const struct cuse_info *,
						  const struct cuse_lowlevel_ops *, size_t,
						  const void *, int *, void *) =
			find("cuse_lowlevel_setup_319", "RINGFUSE_0.1");
		se = setup_319(argc, argv, &info, &operations, table_size,
			       &(uint32_t[4]){ 3, 19, 0, 0 }, &multithreaded, &userdata);
	} else {
		struct fuse_session *(*setup)(int, char **, const struct cuse_info *,
					      const struct cuse_lowlevel_ops *, int *, void *) =
			find("cuse_lowlevel_setup", "FUSE_3.0");
		se = setup(argc, argv, &info, &operations, &multithreaded, &userdata);
	}
	if (!se)
		return 1;
	trace("setup multithreaded=%d fd=%d", multithreaded, fuse_session_fd(se) > 2);
	result = run_loop(se, multithreaded);
	((void (*)(struct fuse_session *))find("cuse_lowlevel_teardown", "FUSE_3.0"))(se);
	return result;
}

/* Descriptors of this process. */
static int count_descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static int run_rounds(int argc, char **argv, int is_319)
{
	int result = 0;

	for (int round = 0; round < rounds; round++) {
		result = run_setup(argc, argv, is_319);
		trace("round fds=%d memory=%zu", count_descriptors(), mallinfo2().uordblks);
	}
	return result;
}

static int run_main(int argc, char **argv, int is_319)
{
	if (is_319) {
		int (*main_319)(int, char **, const struct cuse_info *,
				const struct cuse_lowlevel_ops *, size_t, const void *, void *) =
			find("cuse_lowlevel_main_319", "RINGFUSE_0.1");
		return main_319(argc, argv, &info, &operations, table_size,
				&(uint32_t[4]){ 3, 19, 0, 0 }, &userdata);
	}
	int (*main_30)(int, char **, const struct cuse_info *, const struct cuse_lowlevel_ops *,
		       void *) = find("cuse_lowlevel_main", "FUSE_3.0");
	return main_30(argc, argv, &info, &operations, &userdata);
}

static int option(const char *word, const char *prefix, const char **value)
{
	size_t length = strlen(prefix);

	if (strncmp(word, prefix, length) != 0)
		return 0;
	*value = word + length;
	return 1;
}

static int parse(int argc, char **argv)
{
	const char *value = "";
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (option(argv[i], "--entry=", &value))
			entry = value;
		else if (option(argv[i], "--fd=", &value))
			session_fd = atoi(value);
		else if (option(argv[i], "--name=", &value))
			name = value;
		else if (option(argv[i], "--info=", &value))
			extra_info = strtoul(value, NULL, 0);
		else if (option(argv[i], "--maj=", &value))
			major_number = strtoul(value, NULL, 0);
		else if (option(argv[i], "--min=", &value))
			minor_number = strtoul(value, NULL, 0);
		else if (option(argv[i], "--flags=", &value))
			info_flags = strtoul(value, NULL, 0);
		else if (option(argv[i], "--table=", &value))
			table_size = strtoul(value, NULL, 0);
		else if (option(argv[i], "--max-write=", &value))
			mailbox_max_write = atoi(value);
		else if (option(argv[i], "--loop=", &value))
			loop = value;
		else if (option(argv[i], "--rounds=", &value))
			rounds = atoi(value);
		else if (strcmp(argv[i], "--few") == 0)
			few = 1;
		else {
			fprintf(stderr, "cuse_dev: unknown option %s\n", argv[i]);
			exit(2);
		}
	}
	return i < argc ? i : argc - 1;
}

int main(int argc, char **argv)
{
	char first[128], *second = NULL;
	const char *lines[2] = { first, NULL };
	int used_words = parse(argc, argv), is_319, result;
	char *program = argv[0];

	if (getenv("CUSE_DEV_TRACE"))
		trace_fd = open(getenv("CUSE_DEV_TRACE"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	snprintf(first, sizeof(first), "DEVNAME=%s", name);
	info = (struct cuse_info){
		.dev_major = major_number,
		.dev_minor = minor_number,
		.dev_info_argc = *name ? 1 : 0,
		.dev_info_argv = lines,
		.flags = info_flags,
	};
	if (extra_info) {
		second = malloc(extra_info + 1);
		memset(second, 'x', extra_info);
		second[extra_info] = '\0';
		lines[info.dev_info_argc++] = second;
	}
	operations = few ? mailbox_few_operations : mailbox_operations;

	argv += used_words;
	argc -= used_words;
	argv[0] = program;
	is_319 = strstr(entry, "_319") != NULL;
	if (strncmp(entry, "new", 3) == 0)
		result = run_new(argc, argv, is_319);
	else if (strncmp(entry, "setup", 5) == 0)
		result = run_rounds(argc, argv, is_319);
	else
		result = run_main(argc, argv, is_319);
	free(second);
	printf("result %d\n", result);
	return strncmp(entry, "main", 4) == 0 ? result : result != 0;
}
