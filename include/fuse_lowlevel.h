/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef FUSE_LOWLEVEL_H_
#define FUSE_LOWLEVEL_H_

/**
 * @file
 * The inode API: a filesystem gets the kernel's requests as they are, about
 * nodes and names, and answers each of them when it likes.
 *
 * A program, in short:
 *
 *     struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
 *     struct fuse_cmdline_opts opts;
 *     fuse_parse_cmdline(&args, &opts);
 *     se = fuse_session_new(&args, &ops, sizeof(ops), userdata);
 *     fuse_set_signal_handlers(se);
 *     fuse_session_mount(se, opts.mountpoint);
 *     fuse_daemonize(opts.foreground);
 *     fuse_session_loop_mt(se, config);
 *     fuse_session_unmount(se);
 *     fuse_remove_signal_handlers(se);
 *     fuse_session_destroy(se);
 *
 * **Requests.** Each operation gets a request, `req`, and the request gets one
 * answer: exactly one call of a fuse_reply_* function that the operation allows,
 * from any thread, inside the operation or any time later. The answer ends the
 * request whether or not it succeeds; `req` must not be used after it.
 *
 * **Arguments.** What an operation gets by pointer (names, data, fuse_file_info)
 * ends with the operation or with the answer, whichever comes first. Copy what
 * is needed later.
 *
 * **Threads.** fuse_session_loop() runs one operation at a time, on the thread
 * that called it. fuse_session_loop_mt() runs many, on threads of the library.
 * Except where stated otherwise every function here may be called from any
 * thread, but not from a signal handler.
 *
 * **Errors.** Functions that return an int return 0 or a negative errno value,
 * unless stated otherwise. -ENOENT from a fuse_reply_* function says that the
 * kernel no longer waits for this answer, because the caller was interrupted.
 */

#include "fuse_common.h"
#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <utime.h>

#ifdef __cplusplus
extern "C" {
#endif

struct statx;

/** The node number of the root directory. */
#define FUSE_ROOT_ID 1

/**
 * A node number: the filesystem's name for a file, chosen by it and given to
 * the kernel with a lookup. Not 0. It stays in use until it is forgotten.
 */
typedef uint64_t fuse_ino_t;

/** A request that waits for its answer. The library's; ends with the answer. */
typedef struct fuse_req *fuse_req_t;

/** What a name stands for: the answer to lookup, mknod, mkdir and so on. */
struct fuse_entry_param {
	/**
	 * The node. 0, as the answer to lookup, says that the name does not
	 * exist, and lets the kernel remember that for `entry_timeout`; ENOENT
	 * says so without being remembered.
	 */
	fuse_ino_t ino;
	/**
	 * Tells apart nodes that had the same number one after another. The
	 * pair must be unique for the life of the filesystem where it can be
	 * exported (NFS); any constant will do elsewhere.
	 */
	uint64_t generation;
	/** Its attributes; st_ino need not be the node number. */
	struct stat attr;
	/** Seconds the kernel may use `attr` without asking again. */
	double attr_timeout;
	/** Seconds the kernel may use the name without asking again. */
	double entry_timeout;
};

/** Who caused a request. */
struct fuse_ctx {
	/** The user id the call is made with (fsuid). */
	uid_t uid;
	/** The group id the call is made with (fsgid). */
	gid_t gid;
	/**
	 * The calling thread, in the session's pid namespace; 0 if it is not in
	 * there, or for what the kernel does by itself.
	 */
	pid_t pid;
	/** Its umask: in mknod, mkdir, create and tmpfile. */
	mode_t umask;
};

/** One node of forget_multi. */
struct fuse_forget_data {
	/** The node. */
	fuse_ino_t ino;
	/** Lookups to take off its count. */
	uint64_t nlookup;
};

/**
 * Functions that stand in for /dev/fuse, see fuse_session_custom_io(). Each gets
 * the descriptor, then the arguments of the system call it is named after, then
 * the session's userdata, and returns like that call: -1 with errno on failure.
 * Several threads call them at once.
 */
struct fuse_custom_io {
	/**
	 * Sends one whole message; required. Returns the bytes sent: after fewer
	 * than all it is called again with the rest; -1 with errno set if that
	 * fails.
	 */
	ssize_t (*writev)(int fd, struct iovec *iov, int count, void *userdata);
	/**
	 * Receives one whole message; required. 0 ends the session; -1 with errno
	 * set if it fails: ENODEV ends the session, too, after EINTR and ENOENT it
	 * is called again.
	 */
	ssize_t (*read)(int fd, void *buf, size_t buf_len, void *userdata);
	/**
	 * Receives a message into a pipe; NULL if there is no such thing: then
	 * FUSE_CAP_SPLICE_READ is not offered. This library receives by `read`.
	 */
	ssize_t (*splice_receive)(int fdin, off_t *offin, int fdout,
				  off_t *offout, size_t len, unsigned int flags,
				  void *userdata);
	/**
	 * Sends a message from a pipe, as splice(2) does; NULL if there is no such
	 * thing: then neither FUSE_CAP_SPLICE_WRITE nor FUSE_CAP_SPLICE_MOVE is
	 * offered. Used for answers that FUSE_BUF_FORCE_SPLICE is given with.
	 */
	ssize_t (*splice_send)(int fdin, off_t *offin, int fdout,
			       off_t *offout, size_t len, unsigned int flags,
			       void *userdata);
	/**
	 * Makes a further descriptor of the same connection, for the setting
	 * clone_fd; returns it, or a negative errno, or -1 with errno set. The
	 * library closes it. NULL if there is no such thing.
	 */
	int (*clone_fd)(int master_fd);
};

/** What to do with a name that is no longer right. */
enum fuse_notify_entry_flags {
	/** Drop it from the cache at once. */
	FUSE_LL_INVALIDATE = 0,
	/** Look it up again before its next use; what is open there stays. */
	FUSE_LL_EXPIRE_ONLY = (1 << 0)
};

/**
 * @defgroup setattr Bits of setattr
 *
 * What a setattr sets. FORCE, FILE, KILL_PRIV, OPEN, TIMES_SET and TOUCH are
 * names of the kernel's that never arrive.
 *
 * @{
 */

/** The permissions, st_mode. */
#define FUSE_SET_ATTR_MODE (1 << 0)
/** The owner, st_uid. */
#define FUSE_SET_ATTR_UID (1 << 1)
/** The group, st_gid. */
#define FUSE_SET_ATTR_GID (1 << 2)
/** The size in bytes, st_size. */
#define FUSE_SET_ATTR_SIZE (1 << 3)
/** The time of the last access, st_atim. */
#define FUSE_SET_ATTR_ATIME (1 << 4)
/** The time of the last change of the data, st_mtim. */
#define FUSE_SET_ATTR_MTIME (1 << 5)
/** The access time becomes the time of now, whatever st_atim says. */
#define FUSE_SET_ATTR_ATIME_NOW (1 << 7)
/** The modification time becomes the time of now, whatever st_mtim says. */
#define FUSE_SET_ATTR_MTIME_NOW (1 << 8)
/** Never arrives. */
#define FUSE_SET_ATTR_FORCE (1 << 9)
/** The time of the last change of the attributes, st_ctim (write-back cache). */
#define FUSE_SET_ATTR_CTIME (1 << 10)
/** Clear the set-user-id bit. */
#define FUSE_SET_ATTR_KILL_SUID (1 << 11)
/** Clear the set-group-id bit. */
#define FUSE_SET_ATTR_KILL_SGID (1 << 12)
/** Never arrives. */
#define FUSE_SET_ATTR_FILE (1 << 13)
/** Never arrives. */
#define FUSE_SET_ATTR_KILL_PRIV (1 << 14)
/** Never arrives. */
#define FUSE_SET_ATTR_OPEN (1 << 15)
/** Never arrives. */
#define FUSE_SET_ATTR_TIMES_SET (1 << 16)
/** Never arrives. */
#define FUSE_SET_ATTR_TOUCH (1 << 17)
/** @} */

/**
 * The operations of a filesystem. The table is copied by fuse_session_new();
 * NULL where there is none, which answers ENOSYS except where stated otherwise.
 *
 * "Replies" names the functions that may answer; fuse_reply_err() always may.
 *
 * **Lookup counts.** The kernel counts, per node, the answers it got from
 * lookup, mknod, mkdir, symlink, link, create, tmpfile and readdirplus, and gives
 * them back by forget. The filesystem keeps the same count: while it is not 0
 * the node number must go on meaning that file, even when its last name is gone.
 * After the unmount all counts are 0, without a forget.
 */
struct fuse_lowlevel_ops {
	/**
	 * The connection is there; `conn` says what the kernel offers and takes
	 * what the filesystem wants. First of all operations, once, before any
	 * request, on a thread of the loop. There is nothing to answer, and
	 * notifications do not work yet (-ENOTCONN).
	 *
	 * @param userdata what fuse_session_new() got
	 */
	void (*init)(void *userdata, struct fuse_conn_info *conn);

	/**
	 * The end: on the unmount, or else in fuse_session_destroy(). Once, and
	 * last of all operations. The connection may be gone: no notifications.
	 */
	void (*destroy)(void *userdata);

	/**
	 * Finds `name` in the directory `parent`, with its attributes, and
	 * raises the node's lookup count by one.
	 *
	 * Replies: fuse_reply_entry()
	 */
	void (*lookup)(fuse_req_t req, fuse_ino_t parent, const char *name);

	/**
	 * Lowers the lookup count of `ino` by `nlookup`. At 0 the number is
	 * free, once the file is not open any more. Nobody waits for it, and it
	 * cannot fail. NULL ignores it.
	 *
	 * Replies: fuse_reply_none() only
	 */
	void (*forget)(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup);

	/**
	 * Reads the attributes.
	 *
	 * Replies: fuse_reply_attr()
	 *
	 * @param fi the open file in question, or NULL
	 */
	void (*getattr)(fuse_req_t req, fuse_ino_t ino,
			struct fuse_file_info *fi);

	/**
	 * Changes those attributes that `to_set` names, FUSE_SET_ATTR_*, to the
	 * values in `attr`; the other fields of `attr` mean nothing. The answer
	 * is all attributes as they are then. Also chmod, chown, truncate and
	 * utimensat of a caller end here.
	 *
	 * Replies: fuse_reply_attr()
	 *
	 * @param fi the open file in question (ftruncate(2)), or NULL
	 */
	void (*setattr)(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
			int to_set, struct fuse_file_info *fi);

	/**
	 * Reads the target of a symbolic link.
	 *
	 * Replies: fuse_reply_readlink()
	 */
	void (*readlink)(fuse_req_t req, fuse_ino_t ino);

	/**
	 * Makes a file that is not a directory: regular, device, fifo or socket.
	 * Raises the new node's lookup count by one.
	 *
	 * Replies: fuse_reply_entry()
	 *
	 * @param mode type and permissions; the umask is applied, except with
	 *             FUSE_CAP_DONT_MASK
	 * @param rdev the device number, for device files
	 */
	void (*mknod)(fuse_req_t req, fuse_ino_t parent, const char *name,
		      mode_t mode, dev_t rdev);

	/**
	 * Makes a directory, `mode` as in mknod but without type. Raises the new
	 * node's lookup count by one.
	 *
	 * Replies: fuse_reply_entry()
	 */
	void (*mkdir)(fuse_req_t req, fuse_ino_t parent, const char *name,
		      mode_t mode);

	/**
	 * Removes the name of a file. The file lives on while it has other
	 * names, is open, or has a lookup count.
	 *
	 * Replies: fuse_reply_err() only, 0 for success
	 */
	void (*unlink)(fuse_req_t req, fuse_ino_t parent, const char *name);

	/**
	 * Removes an empty directory, ENOTEMPTY if it is not; it lives on as
	 * with unlink.
	 *
	 * Replies: fuse_reply_err() only, 0 for success
	 */
	void (*rmdir)(fuse_req_t req, fuse_ino_t parent, const char *name);

	/**
	 * Makes a symbolic link `name` to `link`. Raises the new node's lookup
	 * count by one.
	 *
	 * Replies: fuse_reply_entry()
	 */
	void (*symlink)(fuse_req_t req, const char *link, fuse_ino_t parent,
			const char *name);

	/**
	 * Gives a file another name, atomically, replacing what has that name.
	 * What is replaced lives on as with unlink.
	 *
	 * Replies: fuse_reply_err() only, 0 for success
	 *
	 * @param flags those of renameat2(2): RENAME_NOREPLACE,
	 *              RENAME_EXCHANGE; EINVAL for what is not supported
	 */
	void (*rename)(fuse_req_t req, fuse_ino_t parent, const char *name,
		       fuse_ino_t newparent, const char *newname,
		       unsigned int flags);

	/**
	 * Gives the file `ino` one more name. Raises its lookup count by one.
	 *
	 * Replies: fuse_reply_entry()
	 */
	void (*link)(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent,
		     const char *newname);

	/**
	 * Opens a file. fi->flags has the flags of open(2) without O_CREAT,
	 * O_EXCL and O_NOCTTY; O_TRUNC with FUSE_CAP_ATOMIC_O_TRUNC only.
	 * Checking permissions is up to the filesystem, except with the mount
	 * option default_permissions. What may be set in `fi`: see there.
	 *
	 * If the answer returns -ENOENT the open did not take place, there will
	 * be no release. NULL succeeds with fh 0. With
	 * FUSE_CAP_NO_OPEN_SUPPORT it answers ENOSYS instead, as the operation
	 * may too: then every open succeeds without asking.
	 *
	 * Replies: fuse_reply_open()
	 */
	void (*open)(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

	/**
	 * Reads `size` bytes at `off`. Fewer mean the end of the file: the
	 * kernel takes the rest as zeros. Only with direct_io the caller gets a
	 * short answer as it is.
	 *
	 * Replies: fuse_reply_buf(), fuse_reply_iov(), fuse_reply_data()
	 */
	void (*read)(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		     struct fuse_file_info *fi);

	/**
	 * Writes `size` bytes at `off`, all of them; only with direct_io it may
	 * be fewer. The file may have been opened for appending, the offset is
	 * right even so. Not called where write_buf exists.
	 *
	 * Replies: fuse_reply_write()
	 */
	void (*write)(fuse_req_t req, fuse_ino_t ino, const char *buf,
		      size_t size, off_t off, struct fuse_file_info *fi);

	/**
	 * A descriptor of the file was closed: the last occasion to report an
	 * error to the caller, by close(2). As descriptors can be duplicated,
	 * there may be many per open, or none. Also the POSIX locks of
	 * fi->lock_owner on the file are to be dropped.
	 *
	 * ENOSYS counts as success and ends further calls.
	 *
	 * Replies: fuse_reply_err() only, 0 for success
	 */
	void (*flush)(fuse_req_t req, fuse_ino_t ino,
		      struct fuse_file_info *fi);

	/**
	 * Nobody has the file open any more: exactly once for every open or
	 * create that succeeded, after everything else with its `fh`. The kernel
	 * does not wait, an error goes nowhere. NULL succeeds.
	 *
	 * Replies: fuse_reply_err() only, 0 for success
	 */
	void (*release)(fuse_req_t req, fuse_ino_t ino,
			struct fuse_file_info *fi);

	/**
	 * Puts the file's content on stable storage. ENOSYS counts as success
	 * and ends further calls.
	 *
	 * Replies: fuse_reply_err() only, 0 for success
	 *
	 * @param datasync not 0: the data, without attributes they do not need
	 */
	void (*fsync)(fuse_req_t req, fuse_ino_t ino, int datasync,
		      struct fuse_file_info *fi);

	/**
	 * Opens a directory; as open, with FUSE_CAP_NO_OPENDIR_SUPPORT.
	 *
	 * Replies: fuse_reply_open()
	 */
	void (*opendir)(fuse_req_t req, fuse_ino_t ino,
			struct fuse_file_info *fi);

	/**
	 * Lists a directory from `off` on, in a buffer of at most `size` bytes
	 * made by fuse_add_direntry(). `off` is 0 or the one given with an entry
	 * of an earlier answer; what is listed after it must not depend on
	 * entries coming and going meanwhile. An empty answer is the end.
	 *
	 * No lookup count changes.
	 *
	 * Replies: fuse_reply_buf(), fuse_reply_iov(), fuse_reply_data()
	 */
	void (*readdir)(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			struct fuse_file_info *fi);

	/**
	 * Nobody has the directory open any more; as release.
	 *
	 * Replies: fuse_reply_err() only, 0 for success
	 */
	void (*releasedir)(fuse_req_t req, fuse_ino_t ino,
			   struct fuse_file_info *fi);

	/**
	 * Puts a directory's content on stable storage; as fsync.
	 *
	 * Replies: fuse_reply_err() only, 0 for success
	 */
	void (*fsyncdir)(fuse_req_t req, fuse_ino_t ino, int datasync,
			 struct fuse_file_info *fi);

	/**
	 * Tells sizes and limits of the filesystem. NULL answers with names of
	 * 255 bytes, blocks of 512 bytes, and zeros.
	 *
	 * Replies: fuse_reply_statfs()
	 *
	 * @param ino the node asked about, maybe 0
	 */
	void (*statfs)(fuse_req_t req, fuse_ino_t ino);

	/**
	 * Sets the extended attribute `name` to the `size` bytes of `value`,
	 * which do not end in a 0. ENOSYS ends further calls; the callers get
	 * EOPNOTSUPP.
	 *
	 * Replies: fuse_reply_err() only, 0 for success
	 *
	 * @param flags XATTR_CREATE (EEXIST if there is one), XATTR_REPLACE
	 *              (ENODATA if there is none), or 0
	 */
	void (*setxattr)(fuse_req_t req, fuse_ino_t ino, const char *name,
			 const char *value, size_t size, int flags);

	/**
	 * Reads an extended attribute: with `size` 0 its length, by
	 * fuse_reply_xattr(); else its value, by fuse_reply_buf(), ERANGE if
	 * that is more than `size` bytes. ENODATA if there is none. ENOSYS as in
	 * setxattr.
	 *
	 * Replies: fuse_reply_xattr(), fuse_reply_buf(), fuse_reply_data()
	 */
	void (*getxattr)(fuse_req_t req, fuse_ino_t ino, const char *name,
			 size_t size);

	/**
	 * Lists the names of the extended attributes, each ended by a 0 byte;
	 * `size` as in getxattr, counting the 0 bytes.
	 *
	 * Replies: fuse_reply_xattr(), fuse_reply_buf(), fuse_reply_data()
	 */
	void (*listxattr)(fuse_req_t req, fuse_ino_t ino, size_t size);

	/**
	 * Removes an extended attribute; ENODATA if there is none.
	 *
	 * Replies: fuse_reply_err() only, 0 for success
	 */
	void (*removexattr)(fuse_req_t req, fuse_ino_t ino, const char *name);

	/**
	 * Whether the caller may do this, for access(2) and chdir(2); not called
	 * with the mount option default_permissions. ENOSYS counts as success
	 * and ends further calls.
	 *
	 * Replies: fuse_reply_err() only, 0 for yes, EACCES for no
	 *
	 * @param mask R_OK, W_OK, X_OK; F_OK asks for existence
	 */
	void (*access)(fuse_req_t req, fuse_ino_t ino, int mask);

	/**
	 * Makes a regular file and opens it. `mode` as in mknod, `fi` as in
	 * open. Raises the new node's lookup count by one. ENOSYS ends further
	 * calls: the kernel does mknod and open then.
	 *
	 * If the answer returns -ENOENT there will be neither release nor forget.
	 *
	 * Replies: fuse_reply_create()
	 */
	void (*create)(fuse_req_t req, fuse_ino_t parent, const char *name,
		       mode_t mode, struct fuse_file_info *fi);

	/**
	 * Whether a POSIX lock could be set: the answer is a lock in its way,
	 * or one of type F_UNLCK. Who asks is fi->lock_owner.
	 *
	 * Replies: fuse_reply_lock()
	 *
	 * @param lock the lock in question; l_whence is SEEK_SET, l_len 0 means
	 *             to the end of the file
	 */
	void (*getlk)(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		      struct flock *lock);

	/**
	 * Sets, changes or removes (F_UNLCK) a POSIX lock of fi->lock_owner.
	 * With `sleep` the answer waits until the lock can be had: do not wait
	 * inside the operation, keep the request; it may be interrupted. Without
	 * `sleep` EAGAIN if somebody is in the way.
	 *
	 * Replies: fuse_reply_err() only, 0 for success
	 */
	void (*setlk)(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		      struct flock *lock, int sleep);

	/**
	 * Which block of the device holds block `idx` of the file; only on
	 * mounts of a block device (option blkdev).
	 *
	 * Replies: fuse_reply_bmap()
	 *
	 * @param blocksize bytes per block
	 */
	void (*bmap)(fuse_req_t req, fuse_ino_t ino, size_t blocksize,
		     uint64_t idx);

	/**
	 * An ioctl(2).
	 *
	 * Files: the kernel has read the direction and size out of `cmd`, so
	 * `in_buf` has the caller's data, and up to `out_bufsz` bytes can go
	 * back. With FUSE_IOCTL_UNRESTRICTED (CUSE) nothing is there at first:
	 * ask for it by fuse_reply_ioctl_retry(). `cmd` is an int up to
	 * FUSE_USE_VERSION 34. ENOTTY for unknown commands.
	 *
	 * Replies: fuse_reply_ioctl(), fuse_reply_ioctl_iov(),
	 * fuse_reply_ioctl_retry()
	 *
	 * @param arg the caller's argument: a number, or an address in the
	 *            caller's memory, not in this process
	 * @param flags FUSE_IOCTL_*
	 */
	void (*ioctl)(fuse_req_t req, fuse_ino_t ino,
#if FUSE_USE_VERSION < 35
		      int cmd,
#else
		      unsigned int cmd,
#endif
		      void *arg, struct fuse_file_info *fi, unsigned flags,
		      const void *in_buf, size_t in_bufsz, size_t out_bufsz);

	/**
	 * Which of fi->poll_events hold, for poll(2) and select(2). If `ph` is
	 * not NULL somebody waits: keep it, and when one of the events comes
	 * call fuse_lowlevel_notify_poll(). The filesystem owns `ph`, and ends
	 * it with fuse_pollhandle_destroy(). ENOSYS ends further calls: the file
	 * is always ready then.
	 *
	 * Replies: fuse_reply_poll()
	 */
	void (*poll)(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		     struct fuse_pollhandle *ph);

	/**
	 * Writes the data of `bufv`, fuse_buf_size() bytes, at `off`; the same
	 * as write, but ready for fuse_buf_copy(), from memory or descriptors.
	 * Preferred to write if both exist.
	 *
	 * Replies: fuse_reply_write()
	 */
	void (*write_buf)(fuse_req_t req, fuse_ino_t ino,
			  struct fuse_bufvec *bufv, off_t off,
			  struct fuse_file_info *fi);

	/**
	 * What the kernel had in its cache, asked for by
	 * fuse_lowlevel_notify_retrieve(). There may be less than was asked
	 * for, down to nothing. NULL drops it.
	 *
	 * Replies: fuse_reply_none() only
	 *
	 * @param cookie what the call that asked got
	 */
	void (*retrieve_reply)(fuse_req_t req, void *cookie, fuse_ino_t ino,
			       off_t offset, struct fuse_bufvec *bufv);

	/**
	 * Several forgets at once. NULL calls forget for each of them.
	 *
	 * Replies: fuse_reply_none() only, once
	 */
	void (*forget_multi)(fuse_req_t req, size_t count,
			     struct fuse_forget_data *forgets);

	/**
	 * A flock(2) of fi->lock_owner: LOCK_SH, LOCK_EX or LOCK_UN, with
	 * LOCK_NB if it must not wait (EAGAIN). Waiting as in setlk.
	 *
	 * Replies: fuse_reply_err() only, 0 for success
	 */
	void (*flock)(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		      int op);

	/**
	 * Allocates, frees or moves `length` bytes from `offset` on, as
	 * fallocate(2) with this `mode`; EOPNOTSUPP for modes that are not
	 * supported. ENOSYS ends further calls.
	 *
	 * Replies: fuse_reply_err() only, 0 for success
	 */
	void (*fallocate)(fuse_req_t req, fuse_ino_t ino, int mode,
			  off_t offset, off_t length,
			  struct fuse_file_info *fi);

	/**
	 * Lists a directory as readdir does, with the attributes of the entries,
	 * in a buffer made by fuse_add_direntry_plus(). Every entry but "." and
	 * ".." with a node number raises that node's lookup count by one.
	 *
	 * Replies: fuse_reply_buf(), fuse_reply_iov(), fuse_reply_data()
	 */
	void (*readdirplus)(fuse_req_t req, fuse_ino_t ino, size_t size,
			    off_t off, struct fuse_file_info *fi);

	/**
	 * Copies `len` bytes from one open file to another, as
	 * copy_file_range(2). Fewer are allowed. ENOSYS ends further calls: the
	 * kernel reads and writes then.
	 *
	 * Replies: fuse_reply_write()
	 *
	 * @param flags 0
	 */
	void (*copy_file_range)(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
				struct fuse_file_info *fi_in,
				fuse_ino_t ino_out, off_t off_out,
				struct fuse_file_info *fi_out, size_t len,
				int flags);

	/**
	 * Finds data or holes: `whence` is SEEK_DATA or SEEK_HOLE, ENXIO if
	 * there is none from `off` on. ENOSYS ends further calls: the file has
	 * no holes then.
	 *
	 * Replies: fuse_reply_lseek()
	 */
	void (*lseek)(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		      struct fuse_file_info *fi);

	/**
	 * Makes a file without a name in the directory `parent` and opens it,
	 * for O_TMPFILE; otherwise as create. ENOSYS ends further calls.
	 *
	 * Replies: fuse_reply_create()
	 */
	void (*tmpfile)(fuse_req_t req, fuse_ino_t parent, mode_t mode,
			struct fuse_file_info *fi);

	/**
	 * Reads the attributes that `mask` names (STATX_*), for statx(2). ENOSYS
	 * ends further calls: the kernel uses getattr then.
	 *
	 * Replies: fuse_reply_statx()
	 *
	 * @param flags AT_STATX_* of the caller
	 * @param fi the open file in question, or NULL
	 */
	void (*statx)(fuse_req_t req, fuse_ino_t ino, int flags, int mask,
		      struct fuse_file_info *fi);

	/**
	 * Writes everything of the filesystem to stable storage, for syncfs(2)
	 * and sync(2); `ino` is the node it was asked through. Linux sends it
	 * to fuseblk mounts (6.18) and virtiofs only. ENOSYS ends further
	 * calls. Since 3.19.
	 *
	 * Replies: fuse_reply_err()
	 */
	void (*syncfs)(fuse_req_t req, fuse_ino_t ino);
};

/**
 * @defgroup replies Answers
 *
 * Each request gets exactly one answer, from any thread, inside its operation or
 * any time later until the session is destroyed. The answer ends the request,
 * `req`, even where it fails. What is handed over by pointer has been read when
 * the function returns, and stays the caller's.
 *
 * @return 0; -ENOENT if nobody waits for the answer any more because the caller was
 *         killed (over a ring the kernel takes it even then, and this is 0); or
 *         another negative errno value, after a message, if the kernel did not take
 *         the answer, such as -EINVAL for more data than were asked for
 *
 * @{
 */

/**
 * Answers with an error, or with plain success.
 *
 * @param err a positive errno value, or 0 for success where the operation
 *            allows it; what is no errno value is logged and becomes ERANGE
 */
int fuse_reply_err(fuse_req_t req, int err);

/** Ends a request that has no answer: forget, forget_multi, retrieve_reply. */
void fuse_reply_none(fuse_req_t req);

/**
 * Answers with a node; its lookup count goes up by one, unless `e->ino` is 0.
 * Timeouts below 0 count as 0.
 *
 * If this fails, the kernel has not taken the node, and does not forget it.
 */
int fuse_reply_entry(fuse_req_t req, const struct fuse_entry_param *e);

/**
 * Answers with a node, as fuse_reply_entry(), and the open file `fi`, as
 * fuse_reply_open(). If it fails there will be neither forget nor release.
 */
int fuse_reply_create(fuse_req_t req, const struct fuse_entry_param *e,
		      const struct fuse_file_info *fi);

/**
 * Answers with attributes.
 *
 * @param attr_timeout seconds the kernel may use them without asking again
 */
int fuse_reply_attr(fuse_req_t req, const struct stat *attr,
		    double attr_timeout);

/**
 * Answers readlink.
 *
 * @param link the target, at most PATH_MAX - 1 bytes, ended by a 0
 */
int fuse_reply_readlink(fuse_req_t req, const char *link);

/**
 * Takes a file open in this process for reads and writes that the kernel then
 * does on it without asking (FUSE_CAP_PASSTHROUGH): put the number into
 * `backing_id` when answering open or create. `req` is any request under way; it
 * is not answered by this. `fd` may be closed right after.
 *
 * @return the number, above 0; or 0, after a message
 */
int fuse_passthrough_open(fuse_req_t req, int fd);

/**
 * Gives a number of fuse_passthrough_open() back. Files opened with it keep
 * going.
 *
 * @return 0, or -1 after a message
 */
int fuse_passthrough_close(fuse_req_t req, int backing_id);

/**
 * Answers open and opendir. The fields of `fi` that go to the kernel: fh,
 * direct_io, keep_cache, nonseekable, cache_readdir, noflush,
 * parallel_direct_writes, backing_id.
 *
 * If this fails the file does not count as open: there will be no release.
 */
int fuse_reply_open(fuse_req_t req, const struct fuse_file_info *fi);

/**
 * Answers write, write_buf and copy_file_range.
 *
 * @param count bytes that were written or copied
 */
int fuse_reply_write(fuse_req_t req, size_t count);

/**
 * Answers with `size` bytes of memory, which is the caller's again when this
 * returns. 0 bytes are allowed, `buf` may be NULL then.
 */
int fuse_reply_buf(fuse_req_t req, const char *buf, size_t size);

/**
 * Answers with the data of `bufv`, memory or descriptors. The data have been
 * read when this returns: files may be changed or closed, memory freed. The
 * vector stays the caller's, its position moves forward.
 *
 * With FUSE_BUF_FORCE_SPLICE the kernel moves the data of descriptors, without
 * this process reading them, if the request came over /dev/fuse; where that
 * cannot be done, and on rings, they are read as without it.
 *
 * @param flags FUSE_BUF_* of `enum fuse_buf_copy_flags`, or 0
 */
int fuse_reply_data(fuse_req_t req, struct fuse_bufvec *bufv,
		    enum fuse_buf_copy_flags flags);

/**
 * Answers with pieces of memory, one after another.
 *
 * @param iov the pieces
 * @param count their number; 0 is allowed
 */
int fuse_reply_iov(fuse_req_t req, const struct iovec *iov, int count);

/**
 * Answers statfs.
 *
 * @param stbuf sizes and limits; of its fields f_bsize, f_frsize, f_blocks, f_bfree,
 *              f_bavail, f_files, f_ffree and f_namemax go to the kernel
 */
int fuse_reply_statfs(fuse_req_t req, const struct statvfs *stbuf);

/**
 * Answers getxattr and listxattr of size 0.
 *
 * @param count bytes that the value, or the list, takes
 */
int fuse_reply_xattr(fuse_req_t req, size_t count);

/**
 * Answers getlk.
 *
 * @param lock the lock in the way: type, start, length and process; l_type F_UNLCK
 *             says that nothing is
 */
int fuse_reply_lock(fuse_req_t req, const struct flock *lock);

/**
 * Answers bmap.
 *
 * @param idx the number of the device's block, in blocks of the size asked with
 */
int fuse_reply_bmap(fuse_req_t req, uint64_t idx);

/**
 * Adds an entry to a buffer for readdir.
 *
 * `req` is not used. Of `stbuf` only st_ino and the type in st_mode are. If the
 * entry does not fit nothing is written, so compare:
 *
 *     size_t need = fuse_add_direntry(req, p, rest, name, &st, off);
 *     if (need > rest)
 *         break;
 *
 * @param buf where to; NULL only asks for the size
 * @param bufsize bytes left there
 * @param stbuf number and type; may be NULL if only the size is asked for
 * @param off where to go on after this entry: the `off` of a later readdir
 * @return bytes the entry takes
 */
size_t fuse_add_direntry(fuse_req_t req, char *buf, size_t bufsize,
			 const char *name, const struct stat *stbuf, off_t off);

/**
 * Adds an entry to a buffer for readdirplus; as fuse_add_direntry(), with all
 * of a lookup's answer. `e->ino` 0 gives only number and type of `e->attr`, and
 * counts as no lookup.
 */
size_t fuse_add_direntry_plus(fuse_req_t req, char *buf, size_t bufsize,
			      const char *name,
			      const struct fuse_entry_param *e, off_t off);

/**
 * Asks the kernel to send an ioctl again, with the caller's memory `in_iov`
 * as its input and with room for `out_iov`; addresses are the caller's. Only
 * for requests with FUSE_IOCTL_UNRESTRICTED, and for at most
 * FUSE_IOCTL_MAX_IOV pieces.
 */
int fuse_reply_ioctl_retry(fuse_req_t req, const struct iovec *in_iov,
			   size_t in_count, const struct iovec *out_iov,
			   size_t out_count);

/**
 * Answers an ioctl.
 *
 * @param result what the caller's ioctl(2) returns
 * @param buf `size` bytes for the caller, at most `out_bufsz`; NULL with 0
 */
int fuse_reply_ioctl(fuse_req_t req, int result, const void *buf, size_t size);

/**
 * Answers an ioctl with pieces of memory, one after another.
 *
 * @param result what the caller's ioctl(2) returns
 * @param iov the pieces; together at most `out_bufsz` bytes
 * @param count their number
 */
int fuse_reply_ioctl_iov(fuse_req_t req, int result, const struct iovec *iov,
			 int count);

/**
 * Answers poll.
 *
 * @param revents the events that hold, POLLIN etc.
 */
int fuse_reply_poll(fuse_req_t req, unsigned revents);

/**
 * Answers lseek.
 *
 * @param off the position found, in bytes from the start of the file
 */
int fuse_reply_lseek(fuse_req_t req, off_t off);

/**
 * Answers statx. `statx->stx_mask` says which fields are there.
 *
 * @param flags 0
 * @param attr_timeout seconds the kernel may use them without asking again
 */
int fuse_reply_statx(fuse_req_t req, int flags, struct statx *statx,
		     double attr_timeout);

/** @} */

/**
 * @defgroup notifications Notifications
 *
 * What a filesystem tells the kernel without being asked. They may be sent by
 * any thread while the session is connected, which is from after init until the
 * unmount: -ENOTCONN before, -EINVAL without a session, -ENOSYS where the kernel
 * is too old. They go through /dev/fuse, also when requests travel on rings.
 *
 * The kernel takes locks that callers hold while their requests wait: a
 * notification about a file from inside an operation on that file, or one that a
 * thread sends which has to answer such a request, can block for ever.
 *
 * @return 0; one of the errors named here; or another negative errno value if the
 *         kernel refuses
 *
 * @{
 */

/**
 * Tells those who wait in poll(2) with this handle to ask again. It stays the
 * filesystem's, and usable. NULL is fine. Waits for no lock of the kernel's that an
 * operation may hold, so this one may be sent from inside operations.
 */
int fuse_lowlevel_notify_poll(struct fuse_pollhandle *ph);

/**
 * Makes what the kernel has cached of the open files, names and attributes of
 * the whole mount count as old, so that it is looked up again before its next
 * use.
 */
int fuse_lowlevel_notify_increment_epoch(struct fuse_session *se);

/**
 * Drops nodes from the kernel's cache that nothing there uses; those in use stay
 * as they are. Each node that goes is forgotten as usual. Since 3.19, Linux 6.18.
 *
 * @param nodeids the nodes; the caller's
 * @param count how many, not 0
 * @return also -EINVAL without nodes
 */
int fuse_lowlevel_notify_prune(struct fuse_session *se, fuse_ino_t *nodeids,
			       uint32_t count);

/**
 * Drops the attributes of `ino` that the kernel has cached, and the data from
 * `off` on: `len` bytes, 0 or less for all; `off` below 0 for no data.
 *
 * @return also -ENOENT: the kernel does not know the node
 */
int fuse_lowlevel_notify_inval_inode(struct fuse_session *se, fuse_ino_t ino,
				     off_t off, off_t len);

/**
 * Drops a name that the kernel has cached, also one known not to exist, and the
 * cached attributes of the directory `parent`.
 *
 * @param namelen bytes of `name`, without a 0
 * @return also -ENOENT: the kernel does not know the directory or the name
 */
int fuse_lowlevel_notify_inval_entry(struct fuse_session *se, fuse_ino_t parent,
				     const char *name, size_t namelen);

/**
 * Makes the kernel look a name up again before its next use. Other than
 * fuse_lowlevel_notify_inval_entry() it never unmounts or detaches what is in
 * use there.
 *
 * @param namelen bytes of `name`, without a 0
 * @return also -ENOSYS: not offered, see FUSE_CAP_EXPIRE_ONLY
 */
int fuse_lowlevel_notify_expire_entry(struct fuse_session *se,
				      fuse_ino_t parent, const char *name,
				      size_t namelen);

/**
 * Tells that a name has been removed elsewhere, so that watchers of inotify(7)
 * hear of it.
 *
 * @param child the node that had the name; another one there is left alone
 * @param namelen bytes of `name`, without a 0
 * @return also -ENOENT (not known), -ENOTEMPTY, -EBUSY (a directory in use)
 */
int fuse_lowlevel_notify_delete(struct fuse_session *se, fuse_ino_t parent,
				fuse_ino_t child, const char *name,
				size_t namelen);

/**
 * Puts the data of `bufv` into the kernel's cache of `ino`, at `offset`; the
 * file grows if they go beyond its end. Data have been read when this returns;
 * the vector stays the caller's, its position moves forward. If descriptors give
 * less than they should nothing is stored (-EIO).
 *
 * @param flags FUSE_BUF_* of `enum fuse_buf_copy_flags`, or 0; as for
 *              fuse_reply_data()
 */
int fuse_lowlevel_notify_store(struct fuse_session *se, fuse_ino_t ino,
			       off_t offset, struct fuse_bufvec *bufv,
			       enum fuse_buf_copy_flags flags);

/**
 * Asks for what the kernel has cached of `ino` at `offset`, also if not written
 * yet; the operation retrieve_reply brings it later, maybe before this returns,
 * once, with `cookie`. The kernel sends at most max_write bytes at once.
 *
 * @param size bytes
 * @param offset bytes from the start of the file
 * @param cookie handed on as it is
 * @return also -ENOENT: the kernel does not know the node, and no retrieve_reply
 *         comes
 */
int fuse_lowlevel_notify_retrieve(struct fuse_session *se, fuse_ino_t ino,
				  size_t size, off_t offset, void *cookie);

/** @} */

/**
 * The filesystem's own data. Until the answer.
 *
 * @return the `userdata` that fuse_session_new() got
 */
void *fuse_req_userdata(fuse_req_t req);

/**
 * Who caused the request.
 *
 * @return the library's structure, valid until the answer; never NULL
 */
const struct fuse_ctx *fuse_req_ctx(fuse_req_t req);

/**
 * Reads the supplementary groups of the caller, from /proc: not cheap, and only
 * right while the caller waits.
 *
 * @param size room in `list`, in ids; 0 only asks for the number
 * @return the number of groups, which may be above `size`; or a negative errno
 *         value: -ENOENT if the caller is gone, or not in our pid namespace
 */
int fuse_req_getgroups(fuse_req_t req, int size, gid_t list[]);

/** Called when a request is interrupted. See fuse_req_interrupt_func(). */
typedef void (*fuse_interrupt_func_t)(fuse_req_t req, void *data);

/**
 * Has `func` called when the caller is interrupted by a signal; at once if it
 * has been already. The function then usually answers EINTR, or makes somebody
 * else do so; it is never called after the request's answer.
 *
 * It runs, once, on the thread that received the interrupt, at the same time as
 * others may be busy with the request. An answer given by another thread waits for
 * its end: so it must not wait for a lock that is held while answering. `func` NULL
 * clears it: when this returns the function is not running and will not be called.
 *
 * @param func the function, or NULL
 * @param data for the function; must be there until the answer
 */
void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func,
			     void *data);

/**
 * Whether the caller has been interrupted by a signal. From any thread, until the
 * answer.
 *
 * @return not 0 if so
 */
int fuse_req_interrupted(fuse_req_t req);

/**
 * How many security contexts the request has: what security modules of the
 * kernel want the new file's labels to be. Only mknod, mkdir, symlink, create
 * and tmpfile have any, and only if FUSE_CAP_SECURITY_CTX is wanted. Since 3.19.
 *
 * One thread at a time looks at a request's contexts.
 *
 * @return their number, 0 if there are none
 */
uint32_t fuse_req_secctx_count(fuse_req_t req);

/** The first security context is the next one again. Since 3.19. */
void fuse_req_secctx_reset(fuse_req_t req);

/**
 * Gives the next security context. Since 3.19.
 *
 * @param name gets the name of the extended attribute, such as "security.selinux";
 *             valid until the request's answer
 * @param ctx gets the label, which need not end with a 0; valid as long
 * @param size gets the label's size in bytes
 * @return 0, -ENOENT after the last one, -EIO if the kernel sent nonsense
 */
int fuse_req_secctx_next(fuse_req_t req, const char **name, const char **ctx,
			 uint32_t *size);

/**
 * Whether the request came over a ring. Until the answer.
 *
 * @return true if so; false if it came over /dev/fuse
 */
bool fuse_req_is_uring(fuse_req_t req);

/**
 * Gives the memory of a ring request that its answer's data go to, so that they
 * can be put there without a copy: fill it from the start, then answer by
 * fuse_reply_buf() with the same pointer. It also is where the request's own
 * data are, those of a write for instance. Valid until the answer.
 *
 * @param payload_sz gets its size in bytes
 * @param mr gets a handle of the memory's registration, or NULL where there is
 *           none; the pointer itself may be NULL
 * @return 0, or -EINVAL if the request did not come over a ring
 */
int fuse_req_get_payload(fuse_req_t req, char **payload, size_t *payload_sz,
			 void **mr);

/** Prints, on standard output, the version of the kernel's protocol that the library knows,
 *  and lets `fusermount3`, if there is one, print its own. */
void fuse_lowlevel_version(void);

/** Prints, on standard output, the options that fuse_session_new() takes. */
void fuse_lowlevel_help(void);

/** Prints, on standard output, the options that fuse_parse_cmdline() takes. */
void fuse_cmdline_help(void);

/** What fuse_parse_cmdline() found. */
struct fuse_cmdline_opts {
	/** -s: run one operation at a time; use fuse_session_loop(). */
	int singlethread;
	/** -f or -d: stay in the foreground; for fuse_daemonize(). */
	int foreground;
	/** -d or -o debug. */
	int debug;
	/** A subtype or fsname was given: none was made from the program's name. */
	int nodefault_subtype;
	/** The mount point, NULL if none was given; the caller free()s it. */
	char *mountpoint;
	/** -V: print versions and end. */
	int show_version;
	/** -h: print help and end. */
	int show_help;
	/** -o clone_fd; for fuse_loop_cfg_set_clone_fd(). */
	int clone_fd;
	/** -o max_idle_threads; for fuse_loop_cfg_set_idle_threads(). */
	unsigned int max_idle_threads;
	/** -o max_threads; for fuse_loop_cfg_set_max_threads(). 10 by default. */
	unsigned int max_threads;
};

/**
 * Takes the options every filesystem has out of `args`: -h, --help, -V,
 * --version, -d, -f, -s, -o clone_fd, max_idle_threads=N, max_threads=N, and the
 * mount point, which is made an absolute path.
 *
 * Nothing is printed for -h and -V, and a missing mount point is no error: the
 * caller looks at `opts`. Unless fsname or subtype is given, a subtype made of
 * the program's name is added to `args`.
 *
 * @return 0, or -1 after a message
 */
int fuse_parse_cmdline(struct fuse_args *args, struct fuse_cmdline_opts *opts);

#ifndef LIBFUSE_BUILT_WITH_VERSIONED_SYMBOLS
/**
 * fuse_parse_cmdline() of FUSE_USE_VERSION below 312: `opts` ends before
 * max_threads.
 *
 * @return 0, or -1 after a message
 */
int fuse_parse_cmdline_30(struct fuse_args *args,
			  struct fuse_cmdline_opts *opts);
/**
 * fuse_parse_cmdline() of FUSE_USE_VERSION 312 and later.
 *
 * @return 0, or -1 after a message
 */
int fuse_parse_cmdline_312(struct fuse_args *args,
			   struct fuse_cmdline_opts *opts);
#if FUSE_USE_VERSION < FUSE_MAKE_VERSION(3, 12)
#define fuse_parse_cmdline fuse_parse_cmdline_30
#else
#define fuse_parse_cmdline fuse_parse_cmdline_312
#endif
#endif

/**
 * What fuse_session_new() calls. For languages without C's headers: `version` is
 * the release the caller knows the API of; it is read before this returns.
 *
 * @return the session, or NULL after a message
 */
struct fuse_session *
fuse_session_new_versioned(struct fuse_args *args,
			   const struct fuse_lowlevel_ops *op, size_t op_size,
			   struct libfuse_version *version, void *userdata);

/**
 * fuse_session_new() under another name: hands on the headers' release.
 *
 * @return the session, or NULL after a message
 */
static inline struct fuse_session *
fuse_session_new_fn(struct fuse_args *args, const struct fuse_lowlevel_ops *op,
		    size_t op_size, void *userdata)
{
	struct libfuse_version version = { FUSE_MAJOR_VERSION,
					   FUSE_MINOR_VERSION,
					   FUSE_HOTFIX_VERSION, 0 };

	return fuse_session_new_versioned(args, op, op_size, &version,
					  userdata);
}

/**
 * Makes a session, which is not connected to anything yet.
 *
 *     struct fuse_session *fuse_session_new(struct fuse_args *args,
 *             const struct fuse_lowlevel_ops *op, size_t op_size,
 *             void *userdata);
 *
 * Takes the options of the session and of the mount out of `args` (for a list
 * see fuse_lowlevel_help() and mount.fuse3(8)); what is left over then, besides
 * argv[0], is an error. The `args` stay the caller's, to be freed by
 * fuse_opt_free_args(). The session ends with fuse_session_destroy().
 *
 * @param op the operations; copied
 * @param op_size sizeof(struct fuse_lowlevel_ops)
 * @param userdata for init, destroy and fuse_req_userdata()
 * @return the session, or NULL after a message
 */
#define fuse_session_new fuse_session_new_fn

/**
 * What fuse_session_custom_io() calls, whatever the program's version.
 *
 * @return as fuse_session_custom_io()
 */
int fuse_session_custom_io_317(struct fuse_session *se,
			       const struct fuse_custom_io *io, size_t op_size,
			       int fd);

/**
 * Connects a session to `fd` and the functions `io` in place of mounting: for
 * requests that come from elsewhere, over a socket for instance. Such a session
 * never uses rings.
 *
 * `io` is copied. The descriptor is the session's from then on, and closed by
 * fuse_session_destroy(). FUSE_USE_VERSION below 317 has no `op_size`.
 *
 * @param op_size sizeof(struct fuse_custom_io)
 * @return 0, -EBADF (fd below 0), -EINVAL (`io` NULL, or without read or writev),
 *         -EBUSY (done before)
 */
static inline int fuse_session_custom_io(struct fuse_session *se,
					 const struct fuse_custom_io *io,
#if FUSE_USE_VERSION >= FUSE_MAKE_VERSION(3, 17)
					 size_t op_size,
#endif
					 int fd)
{
#if FUSE_USE_VERSION < FUSE_MAKE_VERSION(3, 17)
	/* The structure of that time, which ended before clone_fd. */
	size_t op_size = offsetof(struct fuse_custom_io, clone_fd);
#endif

	return fuse_session_custom_io_317(se, io, op_size, fd);
}

/**
 * Mounts the session at `mountpoint`: by the kernel itself where the process may,
 * else with the help of fusermount3. Requests wait in the kernel until the loop
 * runs.
 *
 * The form /dev/fd/N takes descriptor N as the open /dev/fuse of a mount that
 * somebody else has made, and unmounts nothing at the end.
 *
 * @return 0, or -1 after a message
 */
int fuse_session_mount(struct fuse_session *se, const char *mountpoint);

/**
 * Serves requests, one at a time and all on this thread, until the session ends:
 * by the unmount, by fuse_session_exit(), by a signal, or by an error.
 *
 * @return 0; the number of the signal, see fuse_set_signal_handlers(); or -errno
 */
int fuse_session_loop(struct fuse_session *se);

/*
 * The multi-threaded loop, in the form of the program's version. The suffixed
 * names are always exported; the plain one has its forms as symbol versions.
 */
#if FUSE_USE_VERSION < 32
/**
 * fuse_session_loop_mt() of FUSE_USE_VERSION 30 and 31, where clone_fd is all that
 * can be set.
 *
 * @return as fuse_session_loop_mt() of later versions
 */
int fuse_session_loop_mt_31(struct fuse_session *se, int clone_fd);
#define fuse_session_loop_mt fuse_session_loop_mt_31
#elif FUSE_USE_VERSION < FUSE_MAKE_VERSION(3, 12)
/**
 * fuse_session_loop_mt() of FUSE_USE_VERSION 32 to 311. NULL means the defaults.
 *
 * @return as fuse_session_loop_mt() of later versions
 */
int fuse_session_loop_mt_32(struct fuse_session *se,
			    struct fuse_loop_config *config);
#define fuse_session_loop_mt fuse_session_loop_mt_32
#else
/**
 * Serves requests on threads of the library, until the session ends as
 * fuse_session_loop() does; this thread only waits. When it returns no operation
 * is running any more, while requests that the program keeps may still be
 * answered.
 *
 * On rings there are one queue and at least one thread for each CPU that is
 * busy, and more where operations last; otherwise the threads share /dev/fuse.
 * HUP, INT, TERM and QUIT are blocked on them. Their stack is the system's
 * default, or FUSE_THREAD_STACK bytes from the environment.
 *
 * @param config settings of fuse_loop_cfg_create(), the caller's; NULL means
 *               the defaults
 * @return 0; the number of the signal, see fuse_set_signal_handlers(); or -errno
 */
int fuse_session_loop_mt(struct fuse_session *se,
			 struct fuse_loop_config *config);

#ifndef LIBFUSE_BUILT_WITH_VERSIONED_SYMBOLS
/**
 * fuse_session_loop_mt() where there are no symbol versions.
 *
 * @return as fuse_session_loop_mt()
 */
int fuse_session_loop_mt_312(struct fuse_session *se,
			     struct fuse_loop_config *config);
#define fuse_session_loop_mt fuse_session_loop_mt_312
#endif
#endif

/**
 * Ends the session's loop, at once: operations under way are finished, nothing
 * new is begun. From any thread, and also from a signal handler. The session
 * stays mounted.
 */
void fuse_session_exit(struct fuse_session *se);

/** Logs every request and answer from now on, as the option debug. Since 3.19. */
void fuse_session_set_debug(struct fuse_session *se);

/**
 * Has fuse_session_mount() return only when INIT is answered, and fail if INIT
 * does; or, with false, when the mount is there. To be called before it. While it
 * runs, init and other operations are called on a thread of the library.
 * Since 3.19.
 *
 * Without a call, INIT is answered in the loop, except between
 * fuse_daemonize_early_start() and its end where there are no rings. With true
 * the session never uses rings, as those need to know the loop. Needs Linux 6.18
 * and the right to mount; else INIT is answered in the loop, after a message.
 */
void fuse_session_set_sync_init(struct fuse_session *se, bool enable);

/** Called when the teardown watchdog's time is over. */
typedef void (*fuse_timeout_cb)(void *data);

/**
 * Ends a process that does not end by itself: when the kernel has ended the
 * connection (by an unmount or an abort), the session is asked to exit, and
 * `timeout` seconds later `cb` is called on a thread of the library, or, if it is
 * NULL, the process ends with status 1 and without exit handlers. Since 3.19.
 *
 * The session must be mounted by fuse_session_mount(). If the program unmounts it
 * by itself, the watch is over.
 *
 * @param timeout 0 or more
 * @return for fuse_session_stop_teardown_watchdog(); or NULL after a message, or
 *         if `se` is NULL or `timeout` negative, or there is a watchdog already
 */
void *fuse_session_start_teardown_watchdog(struct fuse_session *se,
					   int timeout, fuse_timeout_cb cb,
					   void *data);

/**
 * Ends the watchdog and frees `data`, the result of its start. When this returns
 * the callback is not running and will not be called; it may itself call this.
 * NULL is fine. Since 3.19.
 */
void fuse_session_stop_teardown_watchdog(void *data);

/**
 * Makes a session whose loop has ended fit for another loop. Not while a loop is
 * running.
 */
void fuse_session_reset(struct fuse_session *se);

/**
 * Whether the session has ended: by fuse_session_exit(), a signal, the unmount or an
 * error.
 *
 * @return not 0 if so, until fuse_session_reset()
 */
int fuse_session_exited(struct fuse_session *se);

/**
 * Unmounts what fuse_session_mount() mounted, also while it is in use (then the
 * mount goes away when that ends), and closes the connection. Does nothing if it
 * is not mounted any more. Not while a loop is running.
 */
void fuse_session_unmount(struct fuse_session *se);

/**
 * Ends a session. No loop may be running, and no request may be answered any
 * more. Runs the operation destroy if that has not been yet.
 */
void fuse_session_destroy(struct fuse_session *se);

/**
 * The connection's descriptor, for poll(2) in a loop of one's own. It stays the
 * session's: not to be closed, and to be read by fuse_session_receive_buf() only.
 *
 * @return the descriptor, or -1 before the mount and after the unmount
 */
int fuse_session_fd(struct fuse_session *se);

/**
 * Runs the operation that a received message asks for, on this thread. `buf`
 * stays the caller's and may be used again when this returns, whether or not the
 * request has been answered.
 */
void fuse_session_process_buf(struct fuse_session *se,
			      const struct fuse_buf *buf);

/**
 * Receives one message, for a loop of the program's own; such a session stays on
 * /dev/fuse. Waits for one unless the descriptor is non-blocking.
 *
 * `buf->mem` NULL has the library malloc() it, large enough for every message;
 * use it again for the next one, and free() it in the end. Memory of the caller's
 * own has to be as large: 4096 bytes more than max_write is, which is 1 MiB
 * unless init() says otherwise. With other libraries the data may come as
 * a descriptor instead, if FUSE_CAP_SPLICE_READ is wanted: have the same thread
 * call fuse_session_process_buf() before the next message.
 *
 * Several threads may receive at the same time, each with its own buffer, and so
 * may a child after a fork, or a thread that is cancelled meanwhile.
 * fuse_session_exit() does not wake who waits here: send that thread a signal.
 *
 * @return bytes received; 0 if the session has ended; -errno, among them -EINTR
 *         and -EAGAIN, after which the caller may go on, and -EOPNOTSUPP if a
 *         loop of the library has put the session on rings before
 */
int fuse_session_receive_buf(struct fuse_session *se, struct fuse_buf *buf);

#ifdef __cplusplus
}
#endif

#endif /* FUSE_LOWLEVEL_H_ */
