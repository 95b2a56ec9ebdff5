/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef FUSE_OPT_H_
#define FUSE_OPT_H_

/**
 * @file
 * Command lines taken apart: a table of templates, one pass that stores what
 * matches into a structure of the program, and the rest handed on, usually to
 * fuse_parse_cmdline() and fuse_session_new().
 *
 * No function here keeps state; calls that work on different data may run on
 * different threads at once. All strings that these functions hand out are
 * malloc() memory.
 */

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * One row of the table: an argument's pattern and what to do about it.
 *
 * The pattern is one of
 *  - `abc`, `-x`, `--long`: exactly this;
 *  - `name=%u`, `-n %u`: this beginning, the rest is converted by that
 *    sscanf(3) format and stored; `%s` stores a new copy of the rest, after
 *    free() of the pointer that was there;
 *  - `name=`: this beginning with anything behind it, nothing converted;
 *  - `-n `, ending in a space: `-n`, and the value in the same or in the next
 *    argument.
 *
 * Patterns without a leading `-` are those of the `-o` lists. All rows that
 * match an argument take effect, in table order.
 */
struct fuse_opt {
	/** The pattern; NULL ends the table. */
	const char *templ;
	/**
	 * Where in the data of fuse_opt_parse() to store, in bytes, from
	 * offsetof(). FUSE_OPT_KEY() puts the mark 0xffffffff here: do not
	 * store, call the processing function.
	 */
	unsigned long offset;
	/**
	 * What is stored, as an `int`, where the pattern has no format; for
	 * FUSE_OPT_KEY() the key the processing function gets.
	 */
	int value;
};

/** A row that calls the processing function with `key` where `templ` matches. */
#define FUSE_OPT_KEY(templ, key) { templ, -1U, key }

/** The row that ends a table. */
#define FUSE_OPT_END { NULL, 0, 0 }

/** An argument vector that grows and shrinks as options are taken out. */
struct fuse_args {
	/** Number of arguments, without the NULL at the end. */
	int argc;
	/** The arguments, a NULL behind the last one. */
	char **argv;
	/**
	 * Not 0: the vector and its strings are malloc() memory that
	 * fuse_opt_free_args() frees. 0: they are the program's own, and the
	 * library replaces the vector before it changes anything.
	 */
	int allocated;
};

/** Initialises a `struct fuse_args` with what main() got. */
#define FUSE_ARGS_INIT(argc, argv) { argc, argv, 0 }

/** Key of an option that no row matched. */
#define FUSE_OPT_KEY_OPT (-1)
/**
 * Key of an argument that is no option: it does not begin with `-`, or it
 * stands behind `--`.
 */
#define FUSE_OPT_KEY_NONOPT (-2)
/** As a row's key: keep the argument, do not call the processing function. */
#define FUSE_OPT_KEY_KEEP (-3)
/** As a row's key: drop the argument, do not call the processing function. */
#define FUSE_OPT_KEY_DISCARD (-4)

/**
 * A program's processing function: decides about arguments that rows with a
 * key, or no row at all, matched.
 *
 * `data` is what fuse_opt_parse() got. `arg` is the whole argument, a member of
 * an `-o` list without the `-o`; it ends with the call. For a pattern with a
 * value in the next argument both come joined. `outargs` are the arguments kept
 * so far, and more may be added to them.
 *
 * @return -1 gives up, 0 drops the argument, 1 keeps it
 */
typedef int (*fuse_opt_proc_t)(void *data, const char *arg, int key,
			       struct fuse_args *outargs);

/**
 * Parses `args`: matching options are taken out and stored into `data`, the
 * rest stays.
 *
 * argv[0] is kept untouched. Members of `-o a,b` are parsed one by one; a
 * backslash protects the next character, or begins an octal byte. What is kept
 * of them comes back as a single `-o` list at the front. Arguments behind `--`
 * are no options.
 *
 * On success `args` owns malloc() memory (see `allocated`): end with
 * fuse_opt_free_args(). On failure it is unchanged. Without arguments (`args`
 * or its vector NULL, argc 0) there is nothing to do, and it succeeds.
 *
 * @param data the structure the offsets of `opts` refer to; may be NULL if no
 *             row stores
 * @param opts the table; NULL is an empty one
 * @param proc the processing function; NULL keeps whatever no row stored
 * @return 0, or -1 after a message (a value that does not convert, a missing
 *         value, `proc` gave up, out of memory)
 */
int fuse_opt_parse(struct fuse_args *args, void *data,
		   const struct fuse_opt opts[], fuse_opt_proc_t proc);

/**
 * Adds `opt` to the comma separated list `*opts` as it is. `*opts` is NULL or
 * malloc() memory, and is replaced.
 *
 * @return 0, or -1 when out of memory
 */
int fuse_opt_add_opt(char **opts, const char *opt);

/**
 * As fuse_opt_add_opt(), with a backslash before every comma and backslash of
 * `opt`, so that it remains one member of the list.
 *
 * @return 0, or -1 when out of memory
 */
int fuse_opt_add_opt_escaped(char **opts, const char *opt);

/**
 * Appends a copy of `arg`. The vector must be empty (argv NULL) or allocated.
 *
 * @return 0, or -1 when out of memory
 */
int fuse_opt_add_arg(struct fuse_args *args, const char *arg);

/**
 * Inserts a copy of `arg` so that it becomes argv[pos]; `pos` is at most argc.
 * The vector must be empty (argv NULL) or allocated.
 *
 * @return 0, or -1 when out of memory
 */
int fuse_opt_insert_arg(struct fuse_args *args, int pos, const char *arg);

/**
 * Frees the vector and its strings if they are allocated, and makes `args`
 * empty in any case. NULL is fine.
 */
void fuse_opt_free_args(struct fuse_args *args);

/**
 * Whether a row of `opts` matches the option `opt`.
 *
 * @return 1 if so, else 0
 */
int fuse_opt_match(const struct fuse_opt opts[], const char *opt);

#ifdef __cplusplus
}
#endif

#endif /* FUSE_OPT_H_ */
