/*
 * The layout of every structure and the value of every constant, as records in
 * the section "layout" of the object file: so a compiler for another machine
 * can tell it as well, whose programs do not run here. headers.rs reads them.
 */
#include <cuse_lowlevel.h>
#include <fuse.h>
#include <fuse_daemonize.h>
#include <fuse_lowlevel.h>
#include <ringfuse.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

enum kind { KIND_STRUCT, KIND_FIELD, KIND_BITS, KIND_CONSTANT };

struct head {
	char subject[96];
	uint32_t kind;
	uint32_t unused;
	int64_t first, second;
};

#define RECORD __attribute__((section("layout"), used, aligned(256)))
#define STRUCT(s, ...)                                                         \
	static const struct head struct_##s RECORD = {                         \
		"struct " #s, KIND_STRUCT, 0, sizeof(struct s), _Alignof(struct s) };
#define FIELD(s, m, ...)                                                       \
	static const struct head field_##s##_##m RECORD = {                    \
		"field " #s "." #m, KIND_FIELD, 0, offsetof(struct s, m),      \
		sizeof(((struct s *)0)->m) };
/* Behind the head an otherwise zero structure, with all of the field's bits set. */
#define BITS(s, m)                                                             \
	static const struct {                                                  \
		struct head head;                                              \
		struct s value;                                                \
	} bits_##s##_##m RECORD = {                                            \
		{ "bits " #s "." #m, KIND_BITS, 0, sizeof(struct s), 0 },      \
		{ .m = -1 } };                                                 \
	_Static_assert(sizeof(bits_##s##_##m) <= 256, #s " is too large");
#include "fields.inc"
#include "system.inc"
#define CONSTANT(name)                                                         \
	static const struct head constant_##name RECORD = {                    \
		"constant " #name, KIND_CONSTANT, 0, (int64_t)(name), 0 };
#include "constants.inc"
