/*
 * Prints the layout of every structure and the value of every constant, one per
 * line, as layout-x86_64.txt has them.
 */
#include <cuse_lowlevel.h>
#include <fuse_daemonize.h>
#include <fuse_lowlevel.h>
#include <ringfuse.h>
#include <stdio.h>
#include <string.h>

/* Where the bits set in an otherwise zero structure are. */
static void print_bits(const char *name, const void *structure, size_t size)
{
	const unsigned char *bytes = (const unsigned char *)structure;
	size_t first = 8 * size, width = 0;

	for (size_t bit = 0; bit < 8 * size; bit++) {
		if (bytes[bit / 8] >> bit % 8 & 1) {
			if (width == 0)
				first = bit;
			width++;
		}
	}
	printf("bits %s at %zu width %zu\n", name, first, width);
}

int main(void)
{
#define STRUCT(s, size64, size32)                                              \
	printf("struct %s size %zu align %zu\n", #s, sizeof(struct s), _Alignof(struct s));
#define FIELD(s, m, ...)                                                       \
	printf("field %s.%s at %zu size %zu\n", #s, #m, offsetof(struct s, m),  \
	       sizeof(((struct s *)0)->m));
#define BITS(s, m)                                                             \
	{                                                                      \
		struct s structure;                                            \
		memset(&structure, 0, sizeof(structure));                      \
		structure.m = ~structure.m;                                    \
		print_bits(#s "." #m, &structure, sizeof(structure));          \
	}
#include "fields.inc"
#define CONSTANT(name) printf("constant %s %lld\n", #name, (long long)(name));
#include "constants.inc"
	return 0;
}
