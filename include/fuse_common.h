/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef FUSE_COMMON_H_
#define FUSE_COMMON_H_

/**
 * @file
 * What the inode API (fuse_lowlevel.h) and the path API (fuse.h) share. A
 * program includes one of those, after
 *
 *     #define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 18)
 *
 * which says the API version the program is written for, 30 to 319. Where a
 * function or structure has changed over the releases, the program gets the
 * form of that version. File offsets have 8 bytes: on 32-bit systems compile
 * with -D_FILE_OFFSET_BITS=64, which `pkg-config --cflags fuse3` says.
 */

#include "fuse_log.h"
#include "fuse_opt.h"
#include "libfuse_config.h"
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * One number for a release: 30 to 39 for 3.0 to 3.9 by tradition, 310 and up
 * from 3.10 on. Write 30 to 39 as plain numbers; this macro is for the later.
 */
#define FUSE_MAKE_VERSION(maj, min) ((maj) * 100 + (min))
/** The release these headers are compatible with, to compare with 312 etc. */
#define FUSE_VERSION FUSE_MAKE_VERSION(FUSE_MAJOR_VERSION, FUSE_MINOR_VERSION)

#ifndef FUSE_USE_VERSION
#error "define FUSE_USE_VERSION, the libfuse API version this program is written for (30 to 319), before including this header"
#elif FUSE_USE_VERSION < 30
#error "FUSE_USE_VERSION is below 30: the API of libfuse 2 is not supported, port the program to 30 or later"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A program with a 4-byte off_t would pass other arguments than the library
 * takes.
 */
#if defined(__cplusplus) && __cplusplus >= 201103L
static_assert(sizeof(off_t) == 8, "off_t has not 8 bytes: compile with -D_FILE_OFFSET_BITS=64");
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
_Static_assert(sizeof(off_t) == 8, "off_t has not 8 bytes: compile with -D_FILE_OFFSET_BITS=64");
#else
extern char fuse_off_t_has_not_8_bytes_compile_with_D_FILE_OFFSET_BITS_64
	[sizeof(off_t) == 8 ? 1 : -1];
#endif

/** A session: one mount's connection to the kernel. See fuse_session_new(). */
struct fuse_session;
/** Somebody in the kernel who waits in poll(2). See fuse_pollhandle_destroy(). */
struct fuse_pollhandle;
/** Options of the connection. See fuse_parse_conn_info_opts(). */
struct fuse_conn_info_opts;

/** The release a program was compiled for; filled in by the headers. */
struct libfuse_version {
	/** FUSE_MAJOR_VERSION */
	uint32_t major;
	/** FUSE_MINOR_VERSION */
	uint32_t minor;
	/** FUSE_HOTFIX_VERSION */
	uint32_t hotfix;
	/** 0 */
	uint32_t padding;
};

/**
 * An open file or directory, as an operation sees it.
 *
 * The library owns the structure, and it ends with the operation: copy what is
 * needed later. What open, opendir and create leave in it goes back to the
 * kernel with the reply; `fh` then comes along with every further operation on
 * that open file. In other operations changes have no effect.
 */
struct fuse_file_info {
	/**
	 * The flags of open(2): in open, opendir and create, where creation
	 * flags are already left out; also in read, write and release.
	 */
	int32_t flags;
	/**
	 * In write: the data come from the kernel's page cache, maybe long
	 * after the write(2) and from several writers; `lock_owner` and the
	 * process of fuse_req_ctx() are then meaningless.
	 */
	uint32_t writepage : 1;
	/**
	 * Set by open and create: do not cache this file's data; each read(2)
	 * and write(2) is a request of its own, which may be cut short.
	 */
	uint32_t direct_io : 1;
	/** Set by open and create: what the kernel has cached is still valid. */
	uint32_t keep_cache : 1;
	/** In flush, and in release if a flush is to happen with it. */
	uint32_t flush : 1;
	/** Set by open and create: the file has no position, lseek(2) fails. */
	uint32_t nonseekable : 1;
	/** In release: drop the flock(2) locks of `lock_owner` as well. */
	uint32_t flock_release : 1;
	/**
	 * Set by opendir: the kernel may cache the listing. With `keep_cache`
	 * a listing cached before stays valid.
	 */
	uint32_t cache_readdir : 1;
	/** Set by open and create: do not send flush on close(2). */
	uint32_t noflush : 1;
	/**
	 * Set by open and create with `direct_io`: writes to this file may run
	 * at the same time; without it the kernel sends one after another.
	 */
	uint32_t parallel_direct_writes : 1;
	/**
	 * In open and create that truncate, and in write, if
	 * FUSE_CAP_HANDLE_KILLPRIV_V2 is wanted: clear the file's set-user-id
	 * and set-group-id bits, the caller has no right to keep them.
	 */
	uint32_t kill_suidgid : 1;
	/** 0 */
	uint32_t padding : 22;
	/** 0 */
	uint32_t padding2 : 32;
	/** 0 */
	uint32_t padding3 : 32;
	/** The filesystem's name for the open file; set by open, opendir, create. */
	uint64_t fh;
	/**
	 * Who owns the locks: in getlk, setlk, flock, flush, release, and in
	 * read and write when the file may have mandatory locks. Compare only.
	 */
	uint64_t lock_owner;
	/** In poll: the events asked for, POLLIN etc.; 0 if the kernel is silent. */
	uint32_t poll_events;
	/**
	 * Set by open and create: a number of fuse_passthrough_open(); reads
	 * and writes then go to that file without the filesystem. 0: they do
	 * not.
	 */
	int32_t backing_id;
	/** For the library's own use; 0. */
	uint64_t compat_flags;
	/** 0 */
	uint64_t reserved[2];
};

/*
 * How a multi-threaded loop works: a structure of the program up to version
 * 311, an object of the library with setters from 312 on.
 */
#if FUSE_USE_VERSION < FUSE_MAKE_VERSION(3, 12)

/**
 * With FUSE_USE_VERSION below 312: the settings of fuse_session_loop_mt(), filled
 * in by the program, where at most 10 threads run operations at a time.
 */
struct fuse_loop_config {
	/** Not 0: every thread reads requests from a descriptor of its own. */
	int clone_fd;
	/** Threads without work that are kept; any above end. */
	unsigned int max_idle_threads;
};

#else

/**
 * With FUSE_USE_VERSION 312 and later: the settings of fuse_session_loop_mt(), made
 * by fuse_loop_cfg_create(), without fields of the program's.
 */
struct fuse_loop_config;

/** The settings as they were before 3.12. See fuse_loop_cfg_convert(). */
struct fuse_loop_config_v1 {
	/** Not 0: every thread reads requests from a descriptor of its own. */
	int clone_fd;
	/** Threads without work that are kept; any above end. */
	unsigned int max_idle_threads;
};

/**
 * Makes the default settings: no clone_fd, idle threads are kept, at most 10
 * threads. The loop copies them when it starts. They are the caller's, who ends
 * them with fuse_loop_cfg_destroy().
 *
 * @return the settings, or NULL when out of memory
 */
struct fuse_loop_config *fuse_loop_cfg_create(void);

/** Frees settings of fuse_loop_cfg_create(). NULL is fine. */
void fuse_loop_cfg_destroy(struct fuse_loop_config *config);

/**
 * How many threads without work are kept on /dev/fuse. UINT_MAX, the default,
 * keeps them all; other values above 100000 are not taken.
 */
void fuse_loop_cfg_set_idle_threads(struct fuse_loop_config *config,
				    unsigned int value);

/**
 * How many threads may run operations at a time, over all CPUs. 1 means that
 * no two operations ever overlap.
 *
 * The default of 10 is for /dev/fuse. On rings, which need a thread per busy
 * CPU, there may be more than 10 unless the value was set to something else,
 * or `-o max_threads` was given.
 */
void fuse_loop_cfg_set_max_threads(struct fuse_loop_config *config,
				   unsigned int value);

/**
 * Whether every thread that reads /dev/fuse does so from a descriptor of its
 * own, which takes some contention away in the kernel.
 */
void fuse_loop_cfg_set_clone_fd(struct fuse_loop_config *config,
				unsigned int value);

/** Takes over what `v1_conf` says; the maximum of threads is left as it is. */
void fuse_loop_cfg_convert(struct fuse_loop_config *config,
			   struct fuse_loop_config_v1 *v1_conf);

#endif

/**
 * @defgroup capabilities Capabilities
 *
 * What a kernel can do and a filesystem can want. In init, ask for one with
 * fuse_set_feature_flag(), which refuses what the kernel does not offer.
 * "Default" means the library wants it by itself when it is offered.
 *
 * @{
 */

/** The kernel may have several reads of one open file under way. Default. */
#define FUSE_CAP_ASYNC_READ (1UL << 0)
/**
 * fcntl(2) locks come to getlk and setlk, so that they hold on all machines
 * that share the files. Without it the kernel keeps them itself. Default if
 * both operations exist.
 */
#define FUSE_CAP_POSIX_LOCKS (1UL << 1)
/** O_TRUNC reaches open instead of a setattr before it. Default. */
#define FUSE_CAP_ATOMIC_O_TRUNC (1UL << 3)
/**
 * The filesystem can look up "." and ".." of a node, also of one that the
 * kernel has forgotten: what an NFS server needs.
 */
#define FUSE_CAP_EXPORT_SUPPORT (1UL << 4)
/** The filesystem applies the umask to new files' modes, not the kernel. */
#define FUSE_CAP_DONT_MASK (1UL << 6)
/** The library may answer by splice(2); copying is just as allowed. */
#define FUSE_CAP_SPLICE_WRITE (1UL << 7)
/** The library may move pages instead of copying when it answers by splice. */
#define FUSE_CAP_SPLICE_MOVE (1UL << 8)
/**
 * The library may receive requests through a pipe; write_buf then may see
 * descriptors. Default if write_buf exists.
 */
#define FUSE_CAP_SPLICE_READ (1UL << 9)
/** flock(2) comes to the flock operation. Default if that exists. */
#define FUSE_CAP_FLOCK_LOCKS (1UL << 10)
/** Directories take ioctls as well. Default. */
#define FUSE_CAP_IOCTL_DIR (1UL << 11)
/**
 * The kernel drops a file's cached data when a getattr shows another size or
 * modification time. Default.
 */
#define FUSE_CAP_AUTO_INVAL_DATA (1UL << 12)
/** Directories are read by readdirplus. Default if that operation exists. */
#define FUSE_CAP_READDIRPLUS (1UL << 13)
/**
 * The kernel picks readdir where it expects no lookups to follow. Default if
 * both operations exist.
 */
#define FUSE_CAP_READDIRPLUS_AUTO (1UL << 14)
/** Direct I/O of one call may be split into requests that run together. Default. */
#define FUSE_CAP_ASYNC_DIO (1UL << 15)
/**
 * Writes are collected in the page cache and sent later. Size and times are
 * then the kernel's to know; files opened for writing only are read from too.
 */
#define FUSE_CAP_WRITEBACK_CACHE (1UL << 16)
/**
 * Files need no open: without that operation, or once it has answered ENOSYS,
 * neither open nor release is sent any more.
 */
#define FUSE_CAP_NO_OPEN_SUPPORT (1UL << 17)
/** Lookups and listings of one directory may run at the same time. */
#define FUSE_CAP_PARALLEL_DIROPS (1UL << 18)
/**
 * The kernel enforces POSIX ACLs, kept in the usual extended attributes; this
 * implies the mount option default_permissions.
 */
#define FUSE_CAP_POSIX_ACL (1UL << 19)
/**
 * The filesystem clears set-id bits and capabilities itself on write, truncate
 * and chown; the kernel does not send a setattr for it.
 */
#define FUSE_CAP_HANDLE_KILLPRIV (1UL << 20)
/**
 * As FUSE_CAP_HANDLE_KILLPRIV, but only where a request says so: see
 * `kill_suidgid` and FUSE_SET_ATTR_KILL_SUID. Capabilities are always cleared.
 */
#define FUSE_CAP_HANDLE_KILLPRIV_V2 (1UL << 21)
/** The kernel may cache the targets of symbolic links. */
#define FUSE_CAP_CACHE_SYMLINKS (1UL << 23)
/** FUSE_CAP_NO_OPEN_SUPPORT for directories: opendir and releasedir. */
#define FUSE_CAP_NO_OPENDIR_SUPPORT (1UL << 24)
/**
 * Cached data are dropped only when the filesystem says so, by
 * fuse_lowlevel_notify_inval_inode(). Not with FUSE_CAP_AUTO_INVAL_DATA.
 */
#define FUSE_CAP_EXPLICIT_INVAL_DATA (1UL << 25)
/** Tells only: fuse_lowlevel_notify_expire_entry() works. */
#define FUSE_CAP_EXPIRE_ONLY (1UL << 26)
/** setxattr requests tell whether to clear the set-group-id bit. */
#define FUSE_CAP_SETXATTR_EXT (1UL << 27)
/** Files with `direct_io` may be mapped shared by mmap(2). */
#define FUSE_CAP_DIRECT_IO_ALLOW_MMAP (1UL << 28)
/** Open files may be passed through, see fuse_passthrough_open(). */
#define FUSE_CAP_PASSTHROUGH (1UL << 29)
/** The filesystem cannot be exported; name_to_handle_at(2) fails at once. */
#define FUSE_CAP_NO_EXPORT_SUPPORT (1UL << 30)
/** Requests may travel over io_uring rings. The library decides by itself. */
#define FUSE_CAP_OVER_IO_URING (1UL << 31)
/** The mount may be mapped to other user and group ids, see mount_setattr(2). */
#define FUSE_CAP_ALLOW_IDMAP (1ULL << 32)
/** New files' security contexts are sent, see fuse_req_secctx_next(). */
#define FUSE_CAP_SECURITY_CTX (1ULL << 33)

/** @} */

/** Flag of ioctl: the caller is a 32-bit program on a 64-bit kernel. */
#define FUSE_IOCTL_COMPAT (1 << 0)
/** Flag of ioctl: any memory of the caller can be had, by retrying (CUSE). */
#define FUSE_IOCTL_UNRESTRICTED (1 << 1)
/** Used between library and kernel: the ioctl is to be sent again. */
#define FUSE_IOCTL_RETRY (1 << 2)
/** Flag of ioctl: the file is a directory. */
#define FUSE_IOCTL_DIR (1 << 4)
/** Most iovecs, in and out together, that fuse_reply_ioctl_retry() can name. */
#define FUSE_IOCTL_MAX_IOV 256

/** For `max_backing_stack_depth`: this mount may lie under an overlay. */
#define FUSE_BACKING_STACKED_UNDER 0
/** For `max_backing_stack_depth`: backing files may be on a stacked filesystem. */
#define FUSE_BACKING_STACKED_OVER 1

/**
 * The connection to the kernel, as init sees it.
 *
 * The library fills in what the kernel offers and its own defaults; init may
 * change the fields so marked, and the result is sent to the kernel when init
 * returns. The structure ends with init.
 */
struct fuse_conn_info {
	/** The kernel's protocol version, major; 7. */
	uint32_t proto_major;
	/** The kernel's protocol version, minor. */
	uint32_t proto_minor;
	/**
	 * Bytes of one write at most; init may change it. 1 MiB with 4 KiB
	 * pages. Receive buffers grow with it.
	 */
	uint32_t max_write;
	/**
	 * Bytes of one read at most, 0 for no limit of its own. init may set
	 * it, but to nothing else than the mount option max_read said (0 if it
	 * was not given): otherwise the session fails with EPROTO.
	 */
	uint32_t max_read;
	/** Bytes read ahead at most; init may lower it. */
	uint32_t max_readahead;
	/** The low 32 bits of `capable_ext`. */
	uint32_t capable;
	/**
	 * The low 32 bits of `want_ext`, for programs older than that. Change
	 * one or the other, or both by fuse_set_feature_flag().
	 */
	uint32_t want;
	/**
	 * Background requests (readahead, asynchronous direct I/O, write-back)
	 * under way at most, up to 65535; init may set it. 0 leaves it to the
	 * kernel.
	 */
	uint32_t max_background;
	/**
	 * Background requests under way from which on the filesystem counts as
	 * congested, at most `max_background`; init may set it. 0 means three
	 * quarters of that.
	 */
	uint32_t congestion_threshold;
	/**
	 * The granularity of file times in ns, 1 to 1000000000, in powers of
	 * ten; init may set it. Matters where the kernel makes times itself.
	 */
	uint32_t time_gran;
	/**
	 * How deep backing files of a passthrough may be stacked, with
	 * FUSE_CAP_PASSTHROUGH: FUSE_BACKING_STACKED_UNDER or
	 * FUSE_BACKING_STACKED_OVER; init may set it.
	 */
	uint32_t max_backing_stack_depth;
	/**
	 * init may set it: operations are never interrupted, and the kernel
	 * stops telling of interrupts.
	 */
	uint32_t no_interrupt : 1;
	/**
	 * init may set it: each ring is used by one thread only. Has no effect,
	 * as it is always so here. Since 3.19.
	 */
	uint32_t io_uring_single_issuer : 1;
	/** 0 */
	uint32_t padding : 30;
	/** What the kernel offers, FUSE_CAP_*. */
	uint64_t capable_ext;
	/** What the filesystem wants, FUSE_CAP_*; a part of `capable_ext`. */
	uint64_t want_ext;
	/**
	 * Seconds after which the kernel gives up the connection if a request
	 * is not answered; init may set it. 0: it waits.
	 */
	uint16_t request_timeout;
	/** 0 */
	uint16_t reserved[31];
};

/**
 * Asks for a capability, in init.
 *
 * `conn` must be the pointer that init got. Keeps `want` and `want_ext` in
 * step.
 *
 * @param flag one FUSE_CAP_* bit
 * @return false, with nothing changed, if the kernel does not offer it
 */
bool fuse_set_feature_flag(struct fuse_conn_info *conn, uint64_t flag);

/** For fuse_set_conn_flag(): sets `io_uring_single_issuer`. */
#define FUSE_CONN_FLAG_SINGLE_ISSUER (1ULL << 0)
/** For fuse_set_conn_flag(): sets `no_interrupt`. */
#define FUSE_CONN_FLAG_NO_INTERRUPT (1ULL << 1)

/**
 * Sets a property of the connection, in init. Since 3.19.
 *
 * @param flag one FUSE_CONN_FLAG_*
 * @return false, with nothing changed, if the library does not know it
 */
bool fuse_set_conn_flag(struct fuse_conn_info *conn, uint64_t flag);

/** Gives up a capability, in init: one of the defaults, for instance. */
void fuse_unset_feature_flag(struct fuse_conn_info *conn, uint64_t flag);

/**
 * Whether a capability is wanted so far.
 *
 * @param flag one FUSE_CAP_* bit
 * @return true if so
 */
bool fuse_get_feature_flag(struct fuse_conn_info *conn, uint64_t flag);

/**
 * Brings `want` and `want_ext` in step after init has changed one of them. The
 * library does so by itself after a session's init; this is for layers that
 * call an init of their own in between.
 *
 * @return 0; where both were changed in different ways this is logged, and
 *         `want_ext` holds
 */
int fuse_convert_to_conn_want_ext(struct fuse_conn_info *conn);

/**
 * Takes options about the connection out of `args`: max_write=, max_readahead=,
 * max_background=, congestion_threshold=, time_gran= (numbers), async_read,
 * sync_read, atomic_o_trunc, no_remote_lock, no_remote_flock,
 * no_remote_posix_lock, readdirplus=yes|no|auto, and splice_write, splice_move,
 * splice_read, auto_inval_data, async_dio, writeback_cache, each also with `no_`
 * in front.
 *
 * The library does not call this by itself: a program that wants its users to
 * have these options calls it before fuse_session_new(), and
 * fuse_apply_conn_info_opts() in init. The result is the caller's, to free()
 * when no init can come any more.
 *
 * @return the options, or NULL after a message
 */
struct fuse_conn_info_opts *fuse_parse_conn_info_opts(struct fuse_args *args);

/**
 * Applies what fuse_parse_conn_info_opts() found, in init. Capabilities the
 * kernel does not offer stay unwanted; where an option and its `no_` form were
 * both given, the latter holds.
 */
void fuse_apply_conn_info_opts(struct fuse_conn_info_opts *opts,
			       struct fuse_conn_info *conn);

/**
 * Goes into the background: forks, and the child goes on in a session of its
 * own with standard input, output and error on /dev/null. The current directory
 * becomes / in either case.
 *
 * Threads do not survive a fork: call it before starting any, and before the
 * session loop. The parent exits once the child has come this far.
 *
 * @param foreground not 0: no fork, only the change of directory
 * @return 0, in the child if there is one; or -1 after a message
 */
int fuse_daemonize(int foreground);

/**
 * The release of the library in use as one number.
 *
 * @return its FUSE_VERSION: 318 for libfuse3.so.4, 314 for libfuse3.so.3
 */
int fuse_version(void);

/**
 * The libfuse release the library in use stands for.
 *
 * @return a text like "3.18.3", which is never freed
 */
const char *fuse_pkgversion(void);

/**
 * Frees a poll handle. Whoever keeps the one that poll passed destroys it, once
 * no fuse_lowlevel_notify_poll() with it can come any more. NULL is fine.
 */
void fuse_pollhandle_destroy(struct fuse_pollhandle *ph);

/** What kind of buffer a `struct fuse_buf` is. */
enum fuse_buf_flags {
	/** It is the descriptor `fd`, not memory. */
	FUSE_BUF_IS_FD = (1 << 1),
	/** The descriptor is read or written at `pos`, not where it stands. */
	FUSE_BUF_FD_SEEK = (1 << 2),
	/**
	 * After a short transfer of the descriptor go on, until everything is
	 * there, the end of the file, or an error.
	 */
	FUSE_BUF_FD_RETRY = (1 << 3)
};

/** How data are copied from buffer to buffer. */
enum fuse_buf_copy_flags {
	/** Never by splice(2). */
	FUSE_BUF_NO_SPLICE = (1 << 1),
	/** By splice even where a copy would be cheaper; an error if it cannot. */
	FUSE_BUF_FORCE_SPLICE = (1 << 2),
	/** Where splice is used, try to move pages instead of copying them. */
	FUSE_BUF_SPLICE_MOVE = (1 << 3),
	/** Where splice is used, do not wait for the descriptors. */
	FUSE_BUF_SPLICE_NONBLOCK = (1 << 4)
};

/**
 * One piece of data, in memory or behind a descriptor. Neither is owned by the
 * structure: who fills it in sees to memory and descriptor.
 */
struct fuse_buf {
	/** Bytes of data. */
	size_t size;
	/** FUSE_BUF_* of `enum fuse_buf_flags`; 0 is memory. */
	enum fuse_buf_flags flags;
	/** The data, unless FUSE_BUF_IS_FD. */
	void *mem;
	/** The descriptor, if FUSE_BUF_IS_FD. */
	int fd;
	/** Where in the file, in bytes, if FUSE_BUF_FD_SEEK. */
	off_t pos;
	/**
	 * Bytes `mem` has room for. Used by fuse_session_receive_buf(), and not
	 * by all releases; do not rely on it.
	 */
	size_t mem_size;
};

/** A sequence of buffers, with a position that copying moves forward. */
struct fuse_bufvec {
	/** Number of buffers. */
	size_t count;
	/** The buffer the position is in. */
	size_t idx;
	/** The position within that buffer, in bytes. */
	size_t off;
	/** The buffers: allocate room for `count` of them. */
	struct fuse_buf buf[1];
};

/**
 * A vector of one memory buffer of `size__` bytes, which is still NULL: for
 * initialising, with the buffer filled in afterwards.
 */
#if defined(__cplusplus) && __cplusplus >= 201103L
#define FUSE_BUFVEC_INIT(size__)                                               \
	::fuse_bufvec { 1, 0, 0,                                               \
		{ { static_cast<size_t>(size__),                               \
		    static_cast< ::fuse_buf_flags>(0), nullptr, -1, 0, 0 } } }
#else
#define FUSE_BUFVEC_INIT(size__)                                               \
	((struct fuse_bufvec){                                                 \
		1, 0, 0,                                                       \
		{ { (size__), (enum fuse_buf_flags)0, NULL, -1, 0, 0 } } })
#endif

/**
 * How much there is in all buffers of `bufv` together, from the first one on.
 *
 * @return bytes, SIZE_MAX at most
 */
size_t fuse_buf_size(const struct fuse_bufvec *bufv);

/**
 * Copies from `src` to `dst`, each memory or descriptors, until one of them is
 * used up or an error comes. Both positions move forward by what was copied.
 *
 * Both may be the same pointer, then there is nothing to do. Buffers that
 * overlap in memory are allowed.
 *
 * @return bytes copied; or -errno if it failed before the first byte
 */
ssize_t fuse_buf_copy(struct fuse_bufvec *dst, struct fuse_bufvec *src,
		      enum fuse_buf_copy_flags flags);

/**
 * Lets SIGHUP, SIGINT and SIGTERM end the loop of `se`, and SIGPIPE do nothing.
 * Signals that the program handles or ignores already stay as they are.
 *
 * One session per process can have this; the last call holds. The loop returns
 * the number of the signal. Undo it with fuse_remove_signal_handlers() before
 * the session is destroyed.
 *
 * @return 0, or -1 after a message
 */
int fuse_set_signal_handlers(struct fuse_session *se);

/**
 * Makes the signals of crashes (SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE,
 * SIGSEGV) log a backtrace before the process aborts. Signals that the program
 * handles already stay as they are.
 *
 * @return 0, or -1 after a message
 */
int fuse_set_fail_signal_handlers(struct fuse_session *se);

/**
 * Undoes fuse_set_signal_handlers() and fuse_set_fail_signal_handlers(): what
 * still points to the library's handlers goes back to the default.
 */
void fuse_remove_signal_handlers(struct fuse_session *se);

#ifdef __cplusplus
}
#endif

#endif /* FUSE_COMMON_H_ */
