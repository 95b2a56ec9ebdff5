//! What our mirrors in Rust say of the structures and constants of the headers,
//! in the lines that `layout.c` prints.

use libc::{flock64, iovec, stat64, statvfs64};
use memoffset::span_of;
use ringfuse::abi::high::{self, Config, Context, Operations};
use ringfuse::abi::public::{
    self, cap, Args, Buf, Bufvec, CmdlineOpts, ConnInfo, Ctx, CuseInfo, CuseOps, CustomIo,
    EntryParam, FileBit, FileInfo, ForgetData, Layout, LibfuseVersion, LoopConfigV1, LowlevelOps,
    Opt,
};
use ringfuse::session::page::QueueStats;
use ringfuse::session::stats::Stats;
use std::collections::BTreeMap;

/// Lines like those of `layout.c`, for a mirror in Rust.
macro_rules! mirror {
    ($lines:ident, $c:literal, $rust:ident { $($field:ident),* $(,)? }) => {
        $lines.insert(
            concat!("struct ", $c).to_string(),
            format!("size {} align {}", size_of::<$rust>(), align_of::<$rust>()),
        );
        $(
            let span = span_of!($rust, $field);
            $lines.insert(
                concat!("field ", $c, ".", stringify!($field)).to_string(),
                format!("at {} size {}", span.start, span.len()),
            );
        )*
    };
}

/// The bit-fields of `struct fuse_file_info` with their masks in `layout`.
pub fn file_bits(layout: Layout) -> impl Iterator<Item = (&'static str, u32)> {
    [
        ("writepage", FileBit::Writepage),
        ("direct_io", FileBit::DirectIo),
        ("keep_cache", FileBit::KeepCache),
        ("flush", FileBit::Flush),
        ("nonseekable", FileBit::Nonseekable),
        ("flock_release", FileBit::FlockRelease),
        ("cache_readdir", FileBit::CacheReaddir),
        ("noflush", FileBit::Noflush),
        ("parallel_direct_writes", FileBit::ParallelDirectWrites),
        ("kill_suidgid", FileBit::KillSuidgid),
    ]
    .into_iter()
    .map(move |(name, bit)| (name, bit.mask(layout)))
}

/// The bit-fields that our mirrors keep in plain integers.
fn mirrored_bits(lines: &mut BTreeMap<String, String>) {
    let mut bit = |name: &str, word: usize, mask: u32| {
        let at = 8 * word + mask.trailing_zeros() as usize;
        lines.insert(format!("bits {name}"), format!("at {at} width {}", mask.count_ones()));
    };
    let mut used = 0;
    for (name, mask) in file_bits(Layout::V317) {
        bit(&format!("fuse_file_info.{name}"), span_of!(FileInfo, bits).start, mask);
        used |= mask;
    }
    bit("fuse_file_info.padding", span_of!(FileInfo, bits).start, !used);
    bit("fuse_file_info.padding2", span_of!(FileInfo, padding2).start, u32::MAX);
    bit("fuse_file_info.padding3", span_of!(FileInfo, padding3).start, u32::MAX);
    let conn = span_of!(ConnInfo, bits).start;
    bit("fuse_conn_info.no_interrupt", conn, public::CONN_NO_INTERRUPT);
    bit("fuse_conn_info.io_uring_single_issuer", conn, public::CONN_SINGLE_ISSUER);
    bit("fuse_conn_info.padding", conn, !(public::CONN_NO_INTERRUPT | public::CONN_SINGLE_ISSUER));
}

#[rustfmt::skip]
pub fn structures() -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    mirror!(lines, "fuse_opt", Opt { templ, offset, value });
    mirror!(lines, "fuse_args", Args { argc, argv, allocated });
    mirror!(lines, "libfuse_version", LibfuseVersion { major, minor, hotfix, padding });
    mirror!(lines, "fuse_file_info", FileInfo {
        flags, fh, lock_owner, poll_events, backing_id, compat_flags, reserved
    });
    mirror!(
        lines,
        "fuse_loop_config_v1",
        LoopConfigV1 { clone_fd, max_idle_threads }
    );
    mirror!(lines, "fuse_conn_info", ConnInfo {
        proto_major, proto_minor, max_write, max_read, max_readahead, capable, want,
        max_background, congestion_threshold, time_gran, max_backing_stack_depth,
        capable_ext, want_ext, request_timeout, reserved,
    });
    mirror!(lines, "fuse_buf", Buf { size, flags, mem, fd, pos, mem_size });
    mirror!(lines, "fuse_bufvec", Bufvec { count, idx, off, buf });
    mirror!(lines, "fuse_entry_param", EntryParam { ino, generation, attr, attr_timeout, entry_timeout });
    mirror!(lines, "fuse_ctx", Ctx { uid, gid, pid, umask });
    mirror!(lines, "fuse_forget_data", ForgetData { ino, nlookup });
    mirror!(lines, "fuse_custom_io", CustomIo { writev, read, splice_receive, splice_send, clone_fd });
    mirror!(lines, "fuse_lowlevel_ops", LowlevelOps {
        init, destroy, lookup, forget, getattr, setattr, readlink, mknod, mkdir, unlink,
        rmdir, symlink, rename, link, open, read, write, flush, release, fsync, opendir,
        readdir, releasedir, fsyncdir, statfs, setxattr, getxattr, listxattr,
        removexattr, access, create, getlk, setlk, bmap, ioctl, poll, write_buf,
        retrieve_reply, forget_multi, flock, fallocate, readdirplus, copy_file_range,
        lseek, tmpfile, statx, syncfs,
    });
    mirror!(lines, "fuse_cmdline_opts", CmdlineOpts {
        singlethread, foreground, debug, nodefault_subtype, mountpoint, show_version,
        show_help, clone_fd, max_idle_threads, max_threads,
    });
    mirror!(lines, "fuse_config", Config {
        set_gid, gid, set_uid, uid, set_mode, umask, entry_timeout, negative_timeout,
        attr_timeout, intr, intr_signal, remember, hard_remove, use_ino, readdir_ino, direct_io,
        kernel_cache, auto_cache, ac_attr_timeout_set, ac_attr_timeout, nullpath_ok, show_help,
        modules, debug, fmask, dmask, no_rofd_flush, parallel_direct_writes, flags, reserved,
    });
    mirror!(lines, "fuse_operations", Operations {
        getattr, readlink, mknod, mkdir, unlink, rmdir, symlink, rename, link, chmod, chown,
        truncate, open, read, write, statfs, flush, release, fsync, setxattr, getxattr,
        listxattr, removexattr, opendir, readdir, releasedir, fsyncdir, init, destroy, access,
        create, lock, utimens, bmap, ioctl, poll, write_buf, read_buf, flock, fallocate,
        copy_file_range, lseek, statx,
    });
    mirror!(lines, "fuse_context", Context { fuse, uid, gid, pid, private_data, umask });
    mirror!(lines, "cuse_info", CuseInfo { dev_major, dev_minor, dev_info_argc, dev_info_argv, flags });
    mirror!(lines, "cuse_lowlevel_ops", CuseOps {
        init, init_done, destroy, open, read, write, flush, release, fsync, ioctl, poll,
    });
    mirror!(lines, "ringfuse_stats", Stats {
        size, transport, queues, dev_requests, ring_requests, threads, threads_peak, entries,
        parked, kicks, grown, handed_over, foreign_answers, nodes, path_waiters,
    });
    mirror!(lines, "ringfuse_queue_stats", QueueStats {
        size, requests, bytes_in, bytes_out, handling, parked, threads, threads_peak, entries,
        entries_used, entries_used_peak, kicks, grown, handed_over, foreign_answers,
        handler_time, handler_times,
    });
    mirror!(lines, "stat", stat64 {
        st_dev, st_ino, st_mode, st_nlink, st_uid, st_gid, st_rdev, st_size, st_blksize,
        st_blocks, st_atime, st_mtime, st_ctime,
    });
    mirror!(lines, "statvfs", statvfs64 {
        f_bsize, f_frsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree, f_favail, f_fsid,
        f_flag, f_namemax,
    });
    mirror!(lines, "flock", flock64 { l_type, l_whence, l_start, l_len, l_pid });
    mirror!(lines, "iovec", iovec { iov_base, iov_len });
    mirrored_bits(&mut lines);
    lines
}

macro_rules! constants {
    ($prefix:literal, $module:ident { $($name:ident),* $(,)? }) => {
        vec![$((concat!("constant ", $prefix, stringify!($name)), u64::from($module::$name))),*]
    };
}

#[rustfmt::skip]
pub fn capabilities() -> Vec<(&'static str, u64)> {
    constants!("FUSE_CAP_", cap {
        ASYNC_READ, POSIX_LOCKS, ATOMIC_O_TRUNC, EXPORT_SUPPORT, DONT_MASK, SPLICE_WRITE,
        SPLICE_MOVE, SPLICE_READ, FLOCK_LOCKS, IOCTL_DIR, AUTO_INVAL_DATA, READDIRPLUS,
        READDIRPLUS_AUTO, ASYNC_DIO, WRITEBACK_CACHE, NO_OPEN_SUPPORT, PARALLEL_DIROPS,
        POSIX_ACL, HANDLE_KILLPRIV, HANDLE_KILLPRIV_V2, CACHE_SYMLINKS, NO_OPENDIR_SUPPORT,
        EXPLICIT_INVAL_DATA, EXPIRE_ONLY, SETXATTR_EXT, DIRECT_IO_ALLOW_MMAP, PASSTHROUGH,
        NO_EXPORT_SUPPORT, OVER_IO_URING, ALLOW_IDMAP, SECURITY_CTX,
    })
}

#[rustfmt::skip]
pub fn buffer_flags() -> Vec<(&'static str, u64)> {
    constants!("FUSE_", public {
        BUF_IS_FD, BUF_FD_SEEK, BUF_FD_RETRY, BUF_NO_SPLICE, BUF_FORCE_SPLICE,
        BUF_SPLICE_MOVE, BUF_SPLICE_NONBLOCK,
    })
}

#[rustfmt::skip]
pub fn directory_flags() -> Vec<(&'static str, u64)> {
    constants!("FUSE_", high { READDIR_PLUS, FILL_DIR_PLUS })
}
