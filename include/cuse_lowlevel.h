/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef CUSE_LOWLEVEL_H_
#define CUSE_LOWLEVEL_H_

/**
 * @file
 * Character devices in userspace: operations like those of fuse_lowlevel.h, for
 * one device in /dev that appears when the session runs and goes when it ends.
 *
 * Requests, answers and threads are as described there. Opening /dev/cuse takes
 * root's rights, or an administrator who gave them away.
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
	/** Its major number; 0 has the kernel choose one. */
	unsigned dev_major;
	/** Its minor number. */
	unsigned dev_minor;
	/** Number of lines in `dev_info_argv`. */
	unsigned dev_info_argc;
	/**
	 * Lines like "DEVNAME=mydevice", which becomes /dev/mydevice, for the
	 * kernel's event about the new device; together up to 4096 bytes.
	 */
	const char **dev_info_argv;
	/** CUSE_UNRESTRICTED_IOCTL, or 0. */
	unsigned flags;
};

/**
 * The operations of a device: as those of `struct fuse_lowlevel_ops`, without a
 * node. The table must stay in place until the session is destroyed.
 */
struct cuse_lowlevel_ops {
	/** The connection is there; the device is not yet. Nothing to answer. */
	void (*init)(void *userdata, struct fuse_conn_info *conn);
	/** The kernel has been told to make the device. Nothing to answer. */
	void (*init_done)(void *userdata);
	/** The end. */
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
	 * With CUSE_UNRESTRICTED_IOCTL the flags have FUSE_IOCTL_UNRESTRICTED.
	 *
	 * Replies: fuse_reply_ioctl(), fuse_reply_ioctl_iov(),
	 * fuse_reply_ioctl_retry()
	 */
	void (*ioctl)(fuse_req_t req, int cmd, void *arg,
		      struct fuse_file_info *fi, unsigned int flags,
		      const void *in_buf, size_t in_bufsz, size_t out_bufsz);
	/** Replies: fuse_reply_poll(). */
	void (*poll)(fuse_req_t req, struct fuse_file_info *fi,
		     struct fuse_pollhandle *ph);
};

/**
 * Makes a session for a device, not connected yet; as fuse_session_new(). What
 * `ci` says is copied.
 *
 * @return the session, or NULL after a message
 */
struct fuse_session *cuse_lowlevel_new(struct fuse_args *args,
				       const struct cuse_info *ci,
				       const struct cuse_lowlevel_ops *clop,
				       void *userdata);

/**
 * Does all that comes before the loop: parses the command line, makes the
 * session, opens /dev/cuse, sets signal handlers and goes into the background.
 * Undo it with cuse_lowlevel_teardown().
 *
 * @param multithreaded becomes 0 if the command line has -s, else 1
 * @return the session; or NULL after a message, or after -h or -V
 */
struct fuse_session *cuse_lowlevel_setup(int argc, char *argv[],
					 const struct cuse_info *ci,
					 const struct cuse_lowlevel_ops *clop,
					 int *multithreaded, void *userdata);

/** Takes the signal handlers away and ends the session of cuse_lowlevel_setup(). */
void cuse_lowlevel_teardown(struct fuse_session *se);

/**
 * Set-up, loop and teardown in one: what main() of a simple device does.
 *
 * @return the exit status: 0, or 1 after a message
 */
int cuse_lowlevel_main(int argc, char *argv[], const struct cuse_info *ci,
		       const struct cuse_lowlevel_ops *clop, void *userdata);

#ifdef __cplusplus
}
#endif

#endif /* CUSE_LOWLEVEL_H_ */
