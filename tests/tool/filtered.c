/* filtered ERRNO[:CALL] PROGRAM ARGUMENT...: runs PROGRAM under a seccomp filter that
 * answers a system call with ERRNO, or kills for it if that is 0. CALL is setup,
 * enter or register, of io_uring (default: setup), or memfd. */
#include "../fs/filter.h"

#include <stdlib.h>

int main(int argc, char **argv)
{
	char *colon = argc > 1 ? strchr(argv[1], ':') : NULL;

	if (argc < 3 || filter_call(filter_number(colon ? colon + 1 : "setup"), atoi(argv[1])) != 0)
		return 99;
	execvp(argv[2], argv + 2);
	return 98;
}
