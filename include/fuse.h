/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef FUSE_H_
#define FUSE_H_

/**
 * @file
 * The path API: a filesystem gets operations on paths, and returns results like
 * system calls do.
 *
 * A program, in short:
 *
 *     static const struct fuse_operations ops = { .getattr = ..., };
 *     int main(int argc, char **argv)
 *     {
 *         return fuse_main(argc, argv, &ops, NULL);
 *     }
 *
 * **Paths** begin with a slash and are relative to the mount's root; names are
 * bytes, whatever the locale. While an operation runs, its path stays what it
 * is: a rename or removal of it or of a directory above it waits. It is the
 * library's and valid until the operation returns.
 *
 * **Results.** Operations return 0 (or a count, where stated) or a negative
 * errno value. An operation that the table leaves out fails with -ENOSYS, unless
 * stated otherwise.
 *
 * **Threads.** fuse_loop() runs one operation at a time, fuse_loop_mt() and
 * fuse_main() without -s many at once, also on one file. Functions here may be
 * called from any thread unless stated otherwise, but not from a signal handler.
 */

#include "fuse_common.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

struct statx;
struct timespec;

/** A path filesystem: made by fuse_new(), freed by fuse_destroy(). */
struct fuse;

/** What the `readdir` operation is asked for. */
enum fuse_readdir_flags {
	/** Names, with file types where they are at hand. */
	FUSE_READDIR_DEFAULTS = 0,
	/**
	 * Attributes too, where they are cheap: the kernel will probably ask for
	 * them. Fill them in with FUSE_FILL_DIR_PLUS.
	 */
	FUSE_READDIR_PLUS = (1 << 0)
};

/** What an entry given to a fuse_fill_dir_t comes with. */
enum fuse_fill_dir_flags {
	/** Of the attributes only st_ino and the type in st_mode count. */
	FUSE_FILL_DIR_DEFAULTS = 0,
	/** All attributes are valid: the kernel may keep them. */
	FUSE_FILL_DIR_PLUS = (1 << 1)
};

/**
 * Adds an entry to the directory that `readdir` lists.
 *
 * @param buf what readdir got
 * @param name the entry's name; copied
 * @param stbuf its attributes, or NULL; copied
 * @param off where the next entry begins, above 0 and up to the filesystem, or 0
 *     always
 * @param flags whether all attributes are valid
 * @return 1 if the entry did not fit (readdir is to return 0 then), else 0
 */
typedef int (*fuse_fill_dir_t)(void *buf, const char *name,
			       const struct stat *stbuf, off_t off,
			       enum fuse_fill_dir_flags flags);

/**
 * Settings of a filesystem. Options of the command line set some of them; `init`
 * gets the result and may change it.
 */
struct fuse_config {
	/** Whether `gid` replaces the st_gid of all files. */
	int32_t set_gid;
	/** See `set_gid`. */
	uint32_t gid;
	/** Whether `uid` replaces the st_uid of all files. */
	int32_t set_uid;
	/** See `set_uid`. */
	uint32_t uid;
	/** Whether umask, fmask and dmask replace the permissions of files. */
	int32_t set_mode;
	/** Permission bits to take away, where fmask and dmask are 0. */
	uint32_t umask;
	/** Seconds for which the kernel may keep names. 1 by default. */
	double entry_timeout;
	/** Seconds for which the kernel may keep the absence of names. 0. */
	double negative_timeout;
	/** Seconds for which the kernel may keep attributes. 1. */
	double attr_timeout;
	/** Whether `intr_signal` interrupts operations whose caller is killed. */
	int32_t intr;
	/** The signal that does; SIGUSR1 by default. It gets an empty handler. */
	int32_t intr_signal;
	/** Seconds for which nodes that the kernel forgot are remembered; -1: ever. */
	int32_t remember;
	/**
	 * Whether files that are open are removed at once. Otherwise they are
	 * renamed to `.fuse_hidden...` and removed when they are closed.
	 */
	int32_t hard_remove;
	/** Whether st_ino is the filesystem's; it must be unique then. */
	int32_t use_ino;
	/** Without use_ino: whether readdir gives the numbers of known nodes. */
	int32_t readdir_ino;
	/** Whether all files are opened without the page cache. */
	int32_t direct_io;
	/** Whether the page cache outlives the last close of a file. */
	int32_t kernel_cache;
	/** The same, unless its size or mtime changed since. */
	int32_t auto_cache;
	/** Whether ac_attr_timeout was set; otherwise it is attr_timeout. */
	int32_t ac_attr_timeout_set;
	/** Seconds for which auto_cache trusts attributes. */
	double ac_attr_timeout;
	/**
	 * Whether operations on open files take NULL for a path: read, write,
	 * flush, release, fsync, readdir, releasedir, fsyncdir, ioctl, poll, lock,
	 * flock, fallocate, copy_file_range, and those with a fuse_file_info.
	 */
	int32_t nullpath_ok;
	/** The library's own. */
	int32_t show_help;
	/** The library's own. */
	char *modules;
	/** The library's own. */
	int32_t debug;
	/** Permission bits to take away from what is not a directory. */
	uint32_t fmask;
	/** Permission bits to take away from directories. */
	uint32_t dmask;
	/** Whether closing a file that is open for reading only is not flushed. */
	int32_t no_rofd_flush;
	/** With direct_io: whether writes to one file may run at the same time. */
	int32_t parallel_direct_writes;
	/** None are defined. */
	uint32_t flags;
	/** Zero. */
	uint64_t reserved[48];
};

/**
 * The operations. All are optional.
 *
 * Paths may be NULL where `nullpath_ok` says so, and for files that were
 * removed while open (with hard_remove). `fi` is NULL where the operation was
 * asked for by path.
 */
struct fuse_operations {
	/** Attributes. st_dev and st_blksize are ignored, and st_ino without use_ino. */
	int (*getattr)(const char *path, struct stat *stbuf,
		       struct fuse_file_info *fi);
	/** Puts the target, cut off to `size` with its zero byte, into `buf`. */
	int (*readlink)(const char *path, char *buf, size_t size);
	/** Makes a file that is not a directory or link, if there is no `create`. */
	int (*mknod)(const char *path, mode_t mode, dev_t rdev);
	/** `mode` may lack S_IFDIR. */
	int (*mkdir)(const char *path, mode_t mode);
	/** Removes a file. */
	int (*unlink)(const char *path);
	/** Removes an empty directory. */
	int (*rmdir)(const char *path);
	/** Makes `path`, a link to `target`. */
	int (*symlink)(const char *target, const char *path);
	/** `flags`: RENAME_NOREPLACE, RENAME_EXCHANGE or 0; see rename(2). */
	int (*rename)(const char *from, const char *to, unsigned int flags);
	/** Makes `to`, another name of `from`. */
	int (*link)(const char *from, const char *to);
	/** Changes permission bits. */
	int (*chmod)(const char *path, mode_t mode, struct fuse_file_info *fi);
	/** Changes owners; -1 leaves one as it is. */
	int (*chown)(const char *path, uid_t uid, gid_t gid,
		     struct fuse_file_info *fi);
	/** Changes the size. */
	int (*truncate)(const char *path, off_t size, struct fuse_file_info *fi);
	/**
	 * May set fi->fh and the flags of fi. Not asked to create or truncate,
	 * unless FUSE_CAP_ATOMIC_O_TRUNC is wanted. Left out: always succeeds.
	 */
	int (*open)(const char *path, struct fuse_file_info *fi);
	/** @return the number of bytes; fewer than `size` mean the end of the file */
	int (*read)(const char *path, char *buf, size_t size, off_t off,
		    struct fuse_file_info *fi);
	/** @return the number of bytes, `size` unless the file is direct_io */
	int (*write)(const char *path, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi);
	/** f_favail, f_fsid and f_flag are ignored. */
	int (*statfs)(const char *path, struct statvfs *stbuf);
	/** A descriptor of the file is closed; may come more than once, or never. */
	int (*flush)(const char *path, struct fuse_file_info *fi);
	/** The last descriptor is closed; once for each open. The result is ignored. */
	int (*release)(const char *path, struct fuse_file_info *fi);
	/** `datasync`: data only. */
	int (*fsync)(const char *path, int datasync, struct fuse_file_info *fi);
	/** `flags`: XATTR_CREATE, XATTR_REPLACE or 0. */
	int (*setxattr)(const char *path, const char *name, const char *value,
			size_t size, int flags);
	/** `size` 0 asks for the size. @return the value's size, -ERANGE if larger */
	int (*getxattr)(const char *path, const char *name, char *value,
			size_t size);
	/** Names with their zero bytes, one after the other. @return their size */
	int (*listxattr)(const char *path, char *list, size_t size);
	/** Removes an extended attribute. */
	int (*removexattr)(const char *path, const char *name);
	/** May set fi->fh. Left out: always succeeds. */
	int (*opendir)(const char *path, struct fuse_file_info *fi);
	/**
	 * Lists a directory by calls of `fill`, in one of two ways: all entries
	 * with an offset of 0, in one go; or each with the offset of the next one,
	 * beginning at `off`, until `fill` returns 1.
	 */
	int (*readdir)(const char *path, void *buf, fuse_fill_dir_t fill,
		       off_t off, struct fuse_file_info *fi,
		       enum fuse_readdir_flags flags);
	/** As release, for directories. */
	int (*releasedir)(const char *path, struct fuse_file_info *fi);
	/** As fsync, for directories. */
	int (*fsyncdir)(const char *path, int datasync,
			struct fuse_file_info *fi);
	/**
	 * The connection is there; `conn` and `cfg` may be changed.
	 *
	 * @return becomes private_data of the context, in place of what
	 *     fuse_main() or fuse_new() got
	 */
	void *(*init)(struct fuse_conn_info *conn, struct fuse_config *cfg);
	/** The end; `private_data` is what init returned. */
	void (*destroy)(void *private_data);
	/** access(2), without the option default_permissions. */
	int (*access)(const char *path, int mask);
	/** Makes a file and opens it. Left out: mknod and open. */
	int (*create)(const char *path, mode_t mode, struct fuse_file_info *fi);
	/**
	 * POSIX locks: F_GETLK, F_SETLK, F_SETLKW. fi->lock_owner is the owner.
	 * Left out: the kernel does them, for this machine alone.
	 */
	int (*lock)(const char *path, struct fuse_file_info *fi, int cmd,
		    struct flock *lock);
	/** Access and modification time, tv[0] and tv[1]; tv_nsec may be UTIME_NOW or UTIME_OMIT. */
	int (*utimens)(const char *path, const struct timespec *tv,
		       struct fuse_file_info *fi);
	/** Block of the file to block of the device; for `blkdev` mounts. */
	int (*bmap)(const char *path, size_t blocksize, uint64_t *idx);
	/**
	 * `data` holds what the command's size says, in both directions. With
	 * FUSE_IOCTL_DIR in `flags` it is a directory.
	 */
#if FUSE_USE_VERSION < 35
	int (*ioctl)(const char *path, int cmd, void *arg,
		     struct fuse_file_info *fi, unsigned int flags, void *data);
#else
	int (*ioctl)(const char *path, unsigned int cmd, void *arg,
		     struct fuse_file_info *fi, unsigned int flags, void *data);
#endif
	/**
	 * Sets `reventsp`. If `ph` is not NULL, fuse_notify_poll() is to be called
	 * with it when something changes, and fuse_pollhandle_destroy() once.
	 */
	int (*poll)(const char *path, struct fuse_file_info *fi,
		    struct fuse_pollhandle *ph, unsigned *reventsp);
	/** As write, with data that may be in a pipe. Preferred to write. */
	int (*write_buf)(const char *path, struct fuse_bufvec *buf, off_t off,
			 struct fuse_file_info *fi);
	/**
	 * As read, but says where the data is. `*bufp` and memory in it come from
	 * malloc() and are freed by the library. Preferred to read.
	 */
	int (*read_buf)(const char *path, struct fuse_bufvec **bufp, size_t size,
			off_t off, struct fuse_file_info *fi);
	/** `op`: LOCK_SH, LOCK_EX or LOCK_UN, with LOCK_NB or not. */
	int (*flock)(const char *path, struct fuse_file_info *fi, int op);
	/** See fallocate(2). */
	int (*fallocate)(const char *path, int mode, off_t offset, off_t length,
			 struct fuse_file_info *fi);
	/** See copy_file_range(2). @return the number of bytes */
	ssize_t (*copy_file_range)(const char *path_in,
				   struct fuse_file_info *fi_in,
				   off_t offset_in, const char *path_out,
				   struct fuse_file_info *fi_out,
				   off_t offset_out, size_t size, int flags);
	/** SEEK_DATA and SEEK_HOLE. @return the offset */
	off_t (*lseek)(const char *path, off_t off, int whence,
		       struct fuse_file_info *fi);
	/** See statx(2). Left out: the kernel asks getattr. */
	int (*statx)(const char *path, int flags, int mask, struct statx *stxbuf,
		     struct fuse_file_info *fi);
};

/** Who asks for the operation that runs; see fuse_get_context(). */
struct fuse_context {
	/** The filesystem. */
	struct fuse *fuse;
	/** User of the calling process; 0 if it is in no mapped namespace. */
	uid_t uid;
	/** Its group. */
	gid_t gid;
	/** Its thread id; 0 if the kernel itself asks. */
	pid_t pid;
	/** What `init` returned. */
	void *private_data;
	/** Its umask; valid in operations that create something. */
	mode_t umask;
};

/**
 * What fuse_main() calls: it adds the size of the table and the version.
 *
 * @return see there
 */
int fuse_main_real_versioned(int argc, char *argv[],
			     const struct fuse_operations *op, size_t op_size,
			     struct libfuse_version *version, void *user_data);

/** What fuse_main() is. @return see there */
static inline int fuse_main_fn(int argc, char *argv[],
			       const struct fuse_operations *op,
			       void *user_data)
{
	struct libfuse_version version = { FUSE_MAJOR_VERSION,
					   FUSE_MINOR_VERSION,
					   FUSE_HOTFIX_VERSION, 0 };

	return fuse_main_real_versioned(argc, argv, op, sizeof(*op), &version,
					user_data);
}

/**
 * As fuse_main(), with the size of the table; fuse_main() is meant instead.
 *
 * @return see there
 */
static inline int fuse_main_real(int argc, char *argv[],
				 const struct fuse_operations *op,
				 size_t op_size, void *user_data)
{
	struct libfuse_version version = { FUSE_MAJOR_VERSION,
					   FUSE_MINOR_VERSION,
					   FUSE_HOTFIX_VERSION, 0 };

	fuse_log(FUSE_LOG_ERR,
		 "fuse_main_real() is not to be called, but fuse_main()\n");
	return fuse_main_real_versioned(argc, argv, op, op_size, &version,
					user_data);
}

/**
 * A whole program: parses the command line, mounts, goes to the background
 * unless told otherwise, handles HUP, INT, TERM and PIPE, serves with several
 * threads unless told otherwise, and unmounts.
 *
 * @param op the operations; copied
 * @param user_data private_data until `init` has returned another
 * @return 0, or for main() to return: 1 command line, 2 no mount point, 3
 *     fuse_new(), 4 mount, 5 background, 6 signal handlers, 7 loop settings, 8
 *     the loop failed or was ended by a signal
 */
#define fuse_main(argc, argv, op, user_data) \
	fuse_main_fn(argc, argv, op, user_data)

/** Prints the options of fuse_new(), and those of modules named in `args`. */
void fuse_lib_help(struct fuse_args *args);

/**
 * fuse_new() of FUSE_USE_VERSION 30: with -h and --help among its options.
 *
 * @return as fuse_new(); NULL also after the help
 */
struct fuse *_fuse_new_30(struct fuse_args *args,
			  const struct fuse_operations *op, size_t op_size,
			  struct libfuse_version *version, void *user_data);
/** fuse_new() of FUSE_USE_VERSION 31 and later. @return see there */
struct fuse *_fuse_new_31(struct fuse_args *args,
			  const struct fuse_operations *op, size_t op_size,
			  struct libfuse_version *version, void *user_data);

/**
 * Makes a filesystem, not mounted yet.
 *
 * Takes its options, and those of modules and of mounting, out of `args`; what
 * is left over is an error. `args` and the strings in it stay the caller's.
 *
 * @param op the operations; copied
 * @param op_size sizeof(struct fuse_operations)
 * @param user_data private_data until `init` has returned another
 * @return NULL after a message
 */
static inline struct fuse *fuse_new_fn(struct fuse_args *args,
				       const struct fuse_operations *op,
				       size_t op_size, void *user_data)
{
	struct libfuse_version version = { FUSE_MAJOR_VERSION,
					   FUSE_MINOR_VERSION,
					   FUSE_HOTFIX_VERSION, 0 };

#if FUSE_USE_VERSION == 30
	return _fuse_new_30(args, op, op_size, &version, user_data);
#else
	return _fuse_new_31(args, op, op_size, &version, user_data);
#endif
}
/** The name for fuse_new_fn(), in the form of the program's version. */
#define fuse_new(args, op, op_size, user_data) \
	fuse_new_fn(args, op, op_size, user_data)

/** Mounts. @return 0, or -1 after a message */
int fuse_mount(struct fuse *f, const char *mountpoint);

/** Unmounts, if that has not happened yet. */
void fuse_unmount(struct fuse *f);

/**
 * Frees everything, after `destroy` was called if it had not been, and removes
 * hidden files. No other thread may use `f`.
 */
void fuse_destroy(struct fuse *f);

/**
 * Serves, one operation at a time, on the calling thread, until fuse_exit(), an
 * unmount or a signal.
 *
 * @return 0, the number of the signal, or a negative errno
 */
int fuse_loop(struct fuse *f);

/** Ends the loop, which returns at once. May be called from a signal handler. */
void fuse_exit(struct fuse *f);

/* The multi-threaded loop, in the form of the program's version. */
#if FUSE_USE_VERSION < 32
/**
 * fuse_loop_mt() of FUSE_USE_VERSION 30 and 31, where clone_fd is all that can be
 * set.
 *
 * @return as fuse_loop()
 */
int fuse_loop_mt_31(struct fuse *f, int clone_fd);
#define fuse_loop_mt fuse_loop_mt_31
#elif FUSE_USE_VERSION < FUSE_MAKE_VERSION(3, 12)
/**
 * fuse_loop_mt() of FUSE_USE_VERSION 32 to 311. NULL means the defaults.
 *
 * @return as fuse_loop()
 */
int fuse_loop_mt_32(struct fuse *f, struct fuse_loop_config *config);
#define fuse_loop_mt fuse_loop_mt_32
#else
/**
 * As fuse_loop(), with several threads.
 *
 * @param config from fuse_loop_cfg_create(); NULL: defaults. The caller's.
 * @return as fuse_loop()
 */
int fuse_loop_mt(struct fuse *f, struct fuse_loop_config *config);

#ifndef LIBFUSE_BUILT_WITH_VERSIONED_SYMBOLS
/**
 * fuse_loop_mt() where there are no symbol versions.
 *
 * @return as fuse_loop()
 */
int fuse_loop_mt_312(struct fuse *f, struct fuse_loop_config *config);
#define fuse_loop_mt fuse_loop_mt_312
#endif
#endif

/**
 * Who asks for the operation that this thread runs.
 *
 * @return the library's, valid until the operation returns
 */
struct fuse_context *fuse_get_context(void);

/**
 * The supplementary groups of the caller of the operation that this thread runs.
 *
 * @param size room in `list`
 * @return their number, which may be more than `size`; -EINVAL outside of an
 *     operation; -ENOSYS where it cannot be told
 */
int fuse_getgroups(int size, gid_t list[]);

/** Whether the operation's caller was interrupted. @return 1, or else 0 */
int fuse_interrupted(void);

/**
 * Makes the kernel drop what it has cached of a file.
 *
 * @return 0; -ENOENT if the kernel knows nothing of it
 */
int fuse_invalidate_path(struct fuse *f, const char *path);

/**
 * Starts the thread that calls fuse_clean_cache(), where `remember` needs it. The
 * loops do so by themselves.
 *
 * @return 0 or -1
 */
int fuse_start_cleanup_thread(struct fuse *fuse);

/** Ends that thread. */
void fuse_stop_cleanup_thread(struct fuse *fuse);

/**
 * Forgets nodes that have been remembered for long enough; for programs with a
 * loop of their own and the option remember.
 *
 * @return seconds after which to call it again
 */
int fuse_clean_cache(struct fuse *fuse);

/** A layer of a filesystem: the filesystem itself, or a module above it. */
struct fuse_fs;

/**
 * @defgroup layers Layers and modules
 * The operations of a layer, for modules. Each calls the layer's operation, with
 * its private_data in the context, in a thread that runs an operation. Arguments
 * and results are those of the operation of the same name in struct
 * fuse_operations; -ENOSYS for one that the layer lacks, unless stated otherwise.
 * @{
 */
/** Attributes of a file. @return 0 or a negative errno */
int fuse_fs_getattr(struct fuse_fs *fs, const char *path, struct stat *buf,
		    struct fuse_file_info *fi);

/**
 * Moves a file, in place of one that is there.
 *
 * @return 0 or a negative errno
 */
int fuse_fs_rename(struct fuse_fs *fs, const char *oldpath,
		   const char *newpath, unsigned int flags);

/** Removes a file. @return 0 or a negative errno */
int fuse_fs_unlink(struct fuse_fs *fs, const char *path);

/** Removes an empty directory. @return 0 or a negative errno */
int fuse_fs_rmdir(struct fuse_fs *fs, const char *path);

/** Makes a symbolic link to `linkname`. @return 0 or a negative errno */
int fuse_fs_symlink(struct fuse_fs *fs, const char *linkname,
		    const char *path);

/** Makes another name of a file. @return 0 or a negative errno */
int fuse_fs_link(struct fuse_fs *fs, const char *oldpath, const char *newpath);

/**
 * Closes a file. 0 if the layer has no operation.
 *
 * @return 0 or a negative errno
 */
int fuse_fs_release(struct fuse_fs *fs, const char *path,
		    struct fuse_file_info *fi);

/**
 * Opens a file. 0 if the layer has no operation.
 *
 * @return 0 or a negative errno
 */
int fuse_fs_open(struct fuse_fs *fs, const char *path,
		 struct fuse_file_info *fi);

/**
 * Reads into `buf`, by read_buf if the layer has it.
 *
 * @return the number of bytes or a negative errno
 */
int fuse_fs_read(struct fuse_fs *fs, const char *path, char *buf, size_t size,
		 off_t off, struct fuse_file_info *fi);

/**
 * Says where the data to read is, by read_buf or else by read. The vector is the
 * caller's then: it and memory in it come from malloc().
 *
 * @return 0 or a negative errno
 */
int fuse_fs_read_buf(struct fuse_fs *fs, const char *path,
		     struct fuse_bufvec **bufp, size_t size, off_t off,
		     struct fuse_file_info *fi);

/**
 * Writes `buf`, by write_buf if the layer has it.
 *
 * @return the number of bytes or a negative errno
 */
int fuse_fs_write(struct fuse_fs *fs, const char *path, const char *buf,
		  size_t size, off_t off, struct fuse_file_info *fi);

/**
 * Writes what `buf` describes, by write_buf or else by write.
 *
 * @return the number of bytes or a negative errno
 */
int fuse_fs_write_buf(struct fuse_fs *fs, const char *path,
		      struct fuse_bufvec *buf, off_t off,
		      struct fuse_file_info *fi);

/** Brings a file to the disk. @return 0 or a negative errno */
int fuse_fs_fsync(struct fuse_fs *fs, const char *path, int datasync,
		  struct fuse_file_info *fi);

/** A descriptor of the file is closed. @return 0 or a negative errno */
int fuse_fs_flush(struct fuse_fs *fs, const char *path,
		  struct fuse_file_info *fi);

/**
 * Numbers about the filesystem. Without an operation f_namemax 255, f_bsize 512.
 *
 * @return 0 or a negative errno
 */
int fuse_fs_statfs(struct fuse_fs *fs, const char *path, struct statvfs *buf);

/**
 * Opens a directory. 0 if the layer has no operation.
 *
 * @return 0 or a negative errno
 */
int fuse_fs_opendir(struct fuse_fs *fs, const char *path,
		    struct fuse_file_info *fi);

/**
 * Lists a directory: the layer calls `filler` with `buf` for each entry.
 *
 * @return 0 or a negative errno
 */
int fuse_fs_readdir(struct fuse_fs *fs, const char *path, void *buf,
		    fuse_fill_dir_t filler, off_t off,
		    struct fuse_file_info *fi, enum fuse_readdir_flags flags);

/** Brings a directory to the disk. @return 0 or a negative errno */
int fuse_fs_fsyncdir(struct fuse_fs *fs, const char *path, int datasync,
		     struct fuse_file_info *fi);

/**
 * Closes a directory. 0 if the layer has no operation.
 *
 * @return 0 or a negative errno
 */
int fuse_fs_releasedir(struct fuse_fs *fs, const char *path,
		       struct fuse_file_info *fi);

/** Makes a file and opens it. @return 0 or a negative errno */
int fuse_fs_create(struct fuse_fs *fs, const char *path, mode_t mode,
		   struct fuse_file_info *fi);

/** POSIX locks. @return 0 or a negative errno */
int fuse_fs_lock(struct fuse_fs *fs, const char *path,
		 struct fuse_file_info *fi, int cmd, struct flock *lock);

/** BSD locks. @return 0 or a negative errno */
int fuse_fs_flock(struct fuse_fs *fs, const char *path,
		  struct fuse_file_info *fi, int op);

/** Changes permission bits. @return 0 or a negative errno */
int fuse_fs_chmod(struct fuse_fs *fs, const char *path, mode_t mode,
		  struct fuse_file_info *fi);

/** Changes owners. @return 0 or a negative errno */
int fuse_fs_chown(struct fuse_fs *fs, const char *path, uid_t uid, gid_t gid,
		  struct fuse_file_info *fi);

/** Changes the size of a file. @return 0 or a negative errno */
int fuse_fs_truncate(struct fuse_fs *fs, const char *path, off_t size,
		     struct fuse_file_info *fi);

/** Changes access and modification time. @return 0 or a negative errno */
int fuse_fs_utimens(struct fuse_fs *fs, const char *path,
		    const struct timespec *tv, struct fuse_file_info *fi);

/** Whether the caller may access a file. @return 0 or a negative errno */
int fuse_fs_access(struct fuse_fs *fs, const char *path, int mask);

/**
 * Puts the target of a symbolic link into `buf`, with its zero byte.
 *
 * @return 0 or a negative errno
 */
int fuse_fs_readlink(struct fuse_fs *fs, const char *path, char *buf,
		     size_t len);

/**
 * Makes a file that is not a directory or link.
 *
 * @return 0 or a negative errno
 */
int fuse_fs_mknod(struct fuse_fs *fs, const char *path, mode_t mode,
		  dev_t rdev);

/** Makes a directory. @return 0 or a negative errno */
int fuse_fs_mkdir(struct fuse_fs *fs, const char *path, mode_t mode);

/** Sets an extended attribute. @return 0 or a negative errno */
int fuse_fs_setxattr(struct fuse_fs *fs, const char *path, const char *name,
		     const char *value, size_t size, int flags);

/** Reads an extended attribute. @return its size or a negative errno */
int fuse_fs_getxattr(struct fuse_fs *fs, const char *path, const char *name,
		     char *value, size_t size);

/**
 * Lists the names of extended attributes.
 *
 * @return their size or a negative errno
 */
int fuse_fs_listxattr(struct fuse_fs *fs, const char *path, char *list,
		      size_t size);

/** Removes an extended attribute. @return 0 or a negative errno */
int fuse_fs_removexattr(struct fuse_fs *fs, const char *path,
			const char *name);

/** Block of the file to block of the device. @return 0 or a negative errno */
int fuse_fs_bmap(struct fuse_fs *fs, const char *path, size_t blocksize,
		 uint64_t *idx);
#if FUSE_USE_VERSION < 35

/** A command to a file. @return what the caller gets, or a negative errno */
int fuse_fs_ioctl(struct fuse_fs *fs, const char *path, int cmd, void *arg,
		  struct fuse_file_info *fi, unsigned int flags, void *data);
#else

/** A command to a file. @return what the caller gets, or a negative errno */
int fuse_fs_ioctl(struct fuse_fs *fs, const char *path, unsigned int cmd,
		  void *arg, struct fuse_file_info *fi, unsigned int flags,
		  void *data);
#endif

/**
 * Which events there are; `ph` as in the operation.
 *
 * @return 0 or a negative errno
 */
int fuse_fs_poll(struct fuse_fs *fs, const char *path,
		 struct fuse_file_info *fi, struct fuse_pollhandle *ph,
		 unsigned *reventsp);

/** Reserves or frees space of a file. @return 0 or a negative errno */
int fuse_fs_fallocate(struct fuse_fs *fs, const char *path, int mode,
		      off_t offset, off_t length, struct fuse_file_info *fi);

/** Copies from file to file. @return the number of bytes or a negative errno */
ssize_t fuse_fs_copy_file_range(struct fuse_fs *fs, const char *path_in,
				struct fuse_file_info *fi_in, off_t off_in,
				const char *path_out,
				struct fuse_file_info *fi_out, off_t off_out,
				size_t len, int flags);

/** Finds data or a hole. @return the offset or a negative errno */
off_t fuse_fs_lseek(struct fuse_fs *fs, const char *path, off_t off,
		    int whence, struct fuse_file_info *fi);

/** Attributes as of statx(2). @return 0 or a negative errno */
int fuse_fs_statx(struct fuse_fs *fs, const char *path, int flags, int mask,
		  struct statx *stxbuf, struct fuse_file_info *fi);

/**
 * The connection is there. What the layer's init returns becomes its private_data;
 * with no such operation that stays.
 */
void fuse_fs_init(struct fuse_fs *fs, struct fuse_conn_info *conn,
		  struct fuse_config *cfg);

/** Ends a layer and frees it: modules do so with the one below them. */
void fuse_fs_destroy(struct fuse_fs *fs);
/** @} */

/** Wakes the pollers that `ph` stands for. @return 0 or a negative errno */
int fuse_notify_poll(struct fuse_pollhandle *ph);

/**
 * Makes a layer, for modules.
 *
 * @param op its operations; copied
 * @param private_data private_data of the context in them
 * @return NULL without memory; freed by fuse_fs_destroy() of the layer above it,
 *     or with the filesystem
 */
struct fuse_fs *fuse_fs_new(const struct fuse_operations *op, size_t op_size,
			    void *private_data);

/**
 * Makes the layer of a module.
 *
 * @param args the command line: the factory takes its options out of it
 * @param fs the layer below, then NULL
 * @return a layer from fuse_fs_new(), or NULL after a message
 */
typedef struct fuse_fs *(*fuse_module_factory_t)(struct fuse_args *args,
						 struct fuse_fs *fs[]);

/**
 * Makes a shared object a module: libfusemod_NAME.so, found for the option
 * modules=NAME. Once, at the top level of a source file.
 *
 * @param name_ its name, not in quotes
 * @param factory_ its fuse_module_factory_t
 */
#define FUSE_REGISTER_MODULE(name_, factory_) \
	fuse_module_factory_t fuse_module_##name_##_factory = factory_

/**
 * The session below, for the functions of fuse_lowlevel.h.
 *
 * @return the library's, until fuse_destroy()
 */
struct fuse_session *fuse_get_session(struct fuse *f);

/**
 * Mounts without a filesystem: for programs that pass the descriptor to another.
 *
 * @param options mount options, separated by commas, or NULL
 * @return a descriptor of /dev/fuse, or -1
 */
int fuse_open_channel(const char *mountpoint, const char *options);

#ifdef __cplusplus
}
#endif

#endif /* FUSE_H_ */
