/* Uses libfuse3, says which file that is and what environment it has, and ends
 * as its arguments say: `exit STATUS`, or `wait` for a signal. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int fuse_version(void);

int main(int argc, char **argv)
{
	static const char *const names[] = {
		"LD_LIBRARY_PATH", "LD_PRELOAD", "RINGFUSE_SO3_LAYOUT",
	};
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[4096];

	printf("version %d\n", fuse_version());
	while (maps && fgets(line, sizeof(line), maps))
		if (strstr(line, "/libfuse3.so") && strstr(line, "r-xp"))
			printf("library %s", strchr(line, '/'));
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		printf("%s %s\n", names[i], getenv(names[i]) ? getenv(names[i]) : "-");
	for (int i = 0; i < argc; i++)
		printf("argument %s\n", argv[i]);
	fflush(stdout);
	if (argc > 1 && strcmp(argv[1], "wait") == 0)
		pause();
	return argc > 2 ? atoi(argv[2]) : 0;
}
