/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef CUSE_LOWLEVEL_H_
#define CUSE_LOWLEVEL_H_

/**
 * @file
 * Character devices in userspace: operations like those of fuse_lowlevel.h, for
 * one device in /dev that appears when the session runs and goes when it ends.
 *
 * Requests, answers and threads are as described there. The kernel needs the
 * module `cuse`, and opening /dev/cuse takes root's rights, or an administrator
 * who gave them away. Requests travel by read and write on /dev/cuse, never over
 * io_uring rings, which the kernel does not have for devices.
 *
 * When the session ends, by fuse_session_destroy() or with its process, the
 * device is gone at once; clients that still have it open get errors.
 */

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 30
#endif

#include "fuse_lowlevel.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Flag of `struct cuse_info`: ioctls may reach for any memory of the caller. */
#define CUSE_UNRESTRICTED_IOCTL (1 << 0)

/** The device to make. */
struct cuse_info {
	/** Its major number; 0, with minor number 0, has the kernel choose both. */
	unsigned dev_major;
	/** Its minor number. */
	unsigned dev_minor;
	/** Number of lines in `dev_info_argv`. */
	unsigned dev_info_argc;
	/**
	 * Lines, together up to 4096 bytes. "DEVNAME=mydevice" must be one of
	 * them: the device becomes /dev/mydevice.
	 */
	const char **dev_info_argv;
	/** CUSE_UNRESTRICTED_IOCTL, or 0. */
	unsigned flags;
};

/**
 * The operations of a device: as those of `struct fuse_lowlevel_ops`, without a
 * node. What is NULL is answered as there: open and release succeed, all else
 * fails with ENOSYS. The table is copied.
 */
struct cuse_lowlevel_ops {
	/**
	 * The connection is there; the device is not yet. Nothing to answer.
	 *
	 * `conn` offers no capabilities; of what is in it only `max_write` may be
	 * changed: the bytes of a write, of which the kernel sends 128 KiB at most.
	 */
	void (*init)(void *userdata, struct fuse_conn_info *conn);
	/**
	 * The device is there. Nothing to answer. Not called when the kernel
	 * refuses to make it: then the loop ends with -ENODEV after a message.
	 */
	void (*init_done)(void *userdata);
	/** The end of the session; called only if init was (or would have been). */
	void (*destroy)(void *userdata);
	/** Replies: fuse_reply_open(). */
	void (*open)(fuse_req_t req, struct fuse_file_info *fi);
	/**
	 * May answer with fewer bytes, as devices do; `off` is 0 always.
	 *
	 * Replies: fuse_reply_buf(), fuse_reply_iov(), fuse_reply_data()
	 */
	void (*read)(fuse_req_t req, size_t size, off_t off,
		     struct fuse_file_info *fi);
	/** May take fewer bytes. Replies: fuse_reply_write(). */
	void (*write)(fuse_req_t req, const char *buf, size_t size, off_t off,
		      struct fuse_file_info *fi);
	/** Replies: fuse_reply_err() only, 0 for success. */
	void (*flush)(fuse_req_t req, struct fuse_file_info *fi);
	/** Replies: fuse_reply_err() only, 0 for success. */
	void (*release)(fuse_req_t req, struct fuse_file_info *fi);
	/** Replies: fuse_reply_err() only, 0 for success. */
	void (*fsync)(fuse_req_t req, int datasync, struct fuse_file_info *fi);
	/**
	 * Without CUSE_UNRESTRICTED_IOCTL the kernel moves what the size and the
	 * direction in `cmd` say. With it, `flags` has FUSE_IOCTL_UNRESTRICTED and
	 * nothing is moved at first: fuse_reply_ioctl_retry() tells which memory of
	 * the caller is to be read and written, and the same ioctl comes again with
	 * it. FUSE_IOCTL_COMPAT in `flags` tells that the caller's structures are
	 * those of a 32-bit program.
	 *
	 * Replies: fuse_reply_ioctl(), fuse_reply_ioctl_iov(),
	 * fuse_reply_ioctl_retry(), fuse_reply_err()
	 */
#if FUSE_USE_VERSION < FUSE_MAKE_VERSION(3, 19)
	void (*ioctl)(fuse_req_t req, int cmd, void *arg,
		      struct fuse_file_info *fi, unsigned int flags,
		      const void *in_buf, size_t in_bufsz, size_t out_bufsz);
#else
	void (*ioctl)(fuse_req_t req, unsigned int cmd, void *arg,
		      struct fuse_file_info *fi, unsigned int flags,
		      const void *in_buf, size_t in_bufsz, size_t out_bufsz);
#endif
	/**
	 * As in fuse_lowlevel.h: `ph`, if not NULL, is for one
	 * fuse_lowlevel_notify_poll() and then fuse_pollhandle_destroy().
	 *
	 * Replies: fuse_reply_poll()
	 */
	void (*poll)(fuse_req_t req, struct fuse_file_info *fi,
		     struct fuse_pollhandle *ph);
};

/**
 * Makes a session for a device, not connected yet; as fuse_session_new(). What
 * `ci` says is copied. To be connected by fuse_session_custom_io(), or by
 * fuse_session_mount() with a mount point "/dev/fd/N" where N is an open
 * /dev/cuse.
 *
 * @return the session, for fuse_session_destroy(); or NULL after a message: an
 *         unknown option, no DEVNAME, more than 4096 bytes of lines
 */
struct fuse_session *cuse_lowlevel_new(struct fuse_args *args,
				       const struct cuse_info *ci,
				       const struct cuse_lowlevel_ops *clop,
				       void *userdata);

/**
 * Does all that comes before the loop: parses the command line (-f, -s, -d, and
 * options of fuse_session_new(); those of the program must have been taken out
 * of it), makes the session, opens /dev/cuse, sets signal handlers and goes into
 * the background unless -f or -d is there. Undo it with cuse_lowlevel_teardown().
 *
 * @param multithreaded becomes 0 if the command line has -s, else 1
 * @return the session; or NULL after a message, or after the text of -h or -V
 */
struct fuse_session *cuse_lowlevel_setup(int argc, char *argv[],
					 const struct cuse_info *ci,
					 const struct cuse_lowlevel_ops *clop,
					 int *multithreaded, void *userdata);

/**
 * Takes the signal handlers away and destroys the session of
 * cuse_lowlevel_setup(). No loop may run.
 */
void cuse_lowlevel_teardown(struct fuse_session *se);

/**
 * Set-up, loop and teardown in one: what main() of a simple device does.
 *
 * @return the exit status: 0 (also when a signal ended it, and after -h and -V),
 *         or 1 after a message
 */
int cuse_lowlevel_main(int argc, char *argv[], const struct cuse_info *ci,
		       const struct cuse_lowlevel_ops *clop, void *userdata);

/**
 * @name What the three functions above are in libfuse 3.19
 *
 * Exported by `libfuse3.so.4` for programs that were built with its headers. The
 * first `clop_size` bytes of the table count; `version`, which may be NULL, is
 * that of the headers.
 * @{
 */
/** cuse_lowlevel_new() as libfuse 3.19's headers call it. @return as there */
struct fuse_session *cuse_lowlevel_new_319(struct fuse_args *args,
					   const struct cuse_info *ci,
					   const struct cuse_lowlevel_ops *clop,
					   size_t clop_size,
					   const struct libfuse_version *version,
					   void *userdata);
/** cuse_lowlevel_setup() as libfuse 3.19's headers call it. @return as there */
struct fuse_session *cuse_lowlevel_setup_319(int argc, char *argv[],
					     const struct cuse_info *ci,
					     const struct cuse_lowlevel_ops *clop,
					     size_t clop_size,
					     const struct libfuse_version *version,
					     int *multithreaded, void *userdata);
/** cuse_lowlevel_main() as libfuse 3.19's headers call it. @return as there */
int cuse_lowlevel_main_319(int argc, char *argv[], const struct cuse_info *ci,
			   const struct cuse_lowlevel_ops *clop,
			   size_t clop_size,
			   const struct libfuse_version *version,
			   void *userdata);
/** @} */

#ifdef __cplusplus
}
#endif

#endif /* CUSE_LOWLEVEL_H_ */
