/*
 * Takes every function and field of the headers at its type in libfuse 3.18.3,
 * and uses the macros as filesystems do. Compiled, never run, in C and C++, for
 * every FUSE_USE_VERSION; what the object file refers to is compared with what
 * the library exports.
 */
#include <cuse_lowlevel.h>
#include <fuse.h>
#include <fuse_daemonize.h>
#include <fuse_lowlevel.h>
#include <ringfuse.h>

#ifdef __cplusplus
#include <type_traits>
#define SAME_TYPE(a, ...) (std::is_same<decltype(a), __VA_ARGS__>::value)
#define MEMBER(s, m) ::s::m
#else
#define SAME_TYPE(a, ...) __builtin_types_compatible_p(__typeof__(a), __VA_ARGS__)
#define MEMBER(s, m) ((struct s *)0)->m
#endif

#define CHECK(name, condition) extern char name[(condition) ? 1 : -1];

/* Structures. */
#if defined(__x86_64__) && defined(__LP64__)
#define STRUCT(s, size64, size32) CHECK(size_of_##s, sizeof(struct s) == size64)
#elif defined(__i386__)
#define STRUCT(s, size64, size32) CHECK(size_of_##s, sizeof(struct s) == size32)
#else
#define STRUCT(s, size64, size32) CHECK(size_of_##s, sizeof(struct s) > 0)
#endif
#define FIELD(s, m, ...) CHECK(type_of_##s##_##m, SAME_TYPE(MEMBER(s, m), __VA_ARGS__))
#define BITS(s, m)
#include "fields.inc"

CHECK(type_of_capabilities, sizeof(FUSE_CAP_ASYNC_READ) == sizeof(long) && FUSE_CAP_OVER_IO_URING > 0)

/* Functions. */
void every_function(void);
void every_function(void)
{
#define FUNCTION(result, name, parameters)                                     \
	{                                                                      \
		result(*const function) parameters = name;                     \
		(void)function;                                                \
	}
#include "functions.inc"
}

/* Macros and calls, as filesystems write them. */
struct settings {
	char *source;
	unsigned size;
	int debug;
};

int main(int argc, char *argv[])
{
	static const struct fuse_opt options[] = {
		{ "source=%s", offsetof(struct settings, source), 0 },
		{ "size=%u", offsetof(struct settings, size), 0 },
		{ "debug", offsetof(struct settings, debug), 1 },
		FUSE_OPT_KEY("--keep", FUSE_OPT_KEY_KEEP),
		FUSE_OPT_END
	};
	struct settings settings = { NULL, 0, 0 };
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	static struct fuse_lowlevel_ops ops;
	struct fuse_cmdline_opts opts;
	struct fuse_session *session;
	struct fuse_bufvec to = FUSE_BUFVEC_INIT(sizeof(settings));
	struct fuse_bufvec from = FUSE_BUFVEC_INIT(argc > 1 ? 0 : 1);
	int result = 1;

	to.buf[0].flags = (enum fuse_buf_flags)(FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK);
	from = FUSE_BUFVEC_INIT(0);
	fuse_buf_copy(&to, &from, (enum fuse_buf_copy_flags)0);

	if (fuse_opt_parse(&args, &settings, options, NULL) == -1 ||
	    fuse_parse_cmdline(&args, &opts) == -1)
		return 1;
	session = fuse_session_new(&args, &ops, sizeof(ops), &settings);
	if (session == NULL)
		return 1;
	if (fuse_session_mount(session, opts.mountpoint) == 0) {
#if FUSE_USE_VERSION < 32
		result = fuse_session_loop_mt(session, opts.clone_fd);
#elif FUSE_USE_VERSION < FUSE_MAKE_VERSION(3, 12)
		struct fuse_loop_config config;
		config.clone_fd = opts.clone_fd;
		config.max_idle_threads = opts.max_idle_threads;
		result = fuse_session_loop_mt(session, &config);
#else
		struct fuse_loop_config *config = fuse_loop_cfg_create();
		fuse_loop_cfg_set_max_threads(config, opts.max_threads);
		result = fuse_session_loop_mt(session, config);
		fuse_loop_cfg_destroy(config);
#endif
	}
	fuse_session_unmount(session);
	fuse_session_destroy(session);
	fuse_opt_free_args(&args);
	return result;
}
