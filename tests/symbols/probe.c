/*
 * Looks at a shared library from inside, as the dynamic linker gives it:
 *   probe LIBRARY names    reads lines "NAME@NODE" or "NAME@@NODE" and checks
 *                          that each is found, and which one is the default
 *   probe LIBRARY version  prints what fuse_version and fuse_pkgversion claim
 *   probe LIBRARY log      prints what a log function of our own receives from
 *                          functions that this version does not support, with
 *                          their answers
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *library;

static void *find(const char *name)
{
	void *address = dlsym(library, name);

	if (!address) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	return address;
}

static int check_names(void)
{
	char line[256];
	int failed = 0, checked = 0;

	while (fgets(line, sizeof(line), stdin)) {
		char *node, *address, *plain;
		int is_default;

		line[strcspn(line, "\n")] = 0;
		node = strchr(line, '@');
		*node++ = 0;
		is_default = *node == '@';
		address = dlvsym(library, line, node + is_default);
		plain = dlsym(library, line);
		checked++;
		if (!address || (is_default && address != plain) || (!is_default && address == plain)) {
			printf("%s in %s: at %p, the default at %p\n", line, node, (void *)address,
			       (void *)plain);
			failed = 1;
		}
	}
	printf("checked %d\n", checked);
	return failed;
}

static void print_message(int level, const char *format, va_list ap)
{
	printf("%d: ", level);
	vprintf(format, ap);
}

static int check_log(void)
{
	void (*set_log_func)(void (*)(int, const char *, va_list)) = find("fuse_set_log_func");
	void (*log_message)(int, const char *, ...) = find("fuse_log");
	void *(*new_31)(void *, const void *, size_t, void *) = find("fuse_new_31");
	void *(*session_new)(void *, const void *, size_t, void *) = find("fuse_session_new");
	int (*session_mount)(void *, const char *) = find("fuse_session_mount");

	set_log_func(print_message);
	log_message(6, "%s %d\n", "formatted", 42);
	printf("= %p\n", new_31(NULL, NULL, 0, NULL));
	printf("= %p\n", session_new(NULL, NULL, 0, NULL));
	printf("= %d\n", session_mount(NULL, NULL));
	set_log_func(NULL);
	fflush(stdout);
	log_message(6, "to stderr\n");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	library = dlopen(argv[1], RTLD_NOW);
	if (!library) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	if (strcmp(argv[2], "names") == 0)
		return check_names();
	if (strcmp(argv[2], "log") == 0)
		return check_log();
	printf("%d %s\n", ((int (*)(void))find("fuse_version"))(),
	       ((const char *(*)(void))find("fuse_pkgversion"))());
	return 0;
}
