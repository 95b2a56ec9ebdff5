//! Messages that the library starts: notifications. They always travel over
//! `/dev/fuse` (or the program's own functions), whatever serves the requests.
//!
//! They may be sent from any thread. A filesystem that notifies about an inode
//! from within a request on that inode may deadlock with the kernel: the inode
//! is locked until the request is answered.
#![allow(unsafe_code)] // hands stored data to the filesystem's retrieve_reply

use super::dispatch::memory_bufvec;
use super::request::Request;
use super::Session;
use crate::abi::kernel::*;
use crate::abi::public::{cap, Buf, Bufvec, BUF_IS_FD};
use crate::errno::{Errno, Result};
use crate::transport::{custom, dev, no_answer};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::c_void;
use std::io::IoSlice;
use std::sync::atomic::{AtomicU64, Ordering};
use zerocopy::IntoBytes;

/// Numbers of retrievals: apart from the kernel's request numbers (which count
/// up from 2), and even, as a ring looks them up in the same table.
const RETRIEVAL_BASE: u64 = 1 << 62;

/// NOTIFY_RETRIEVEs whose data has not come yet.
#[derive(Default)]
pub struct Retrievals {
    waiting: Mutex<HashMap<u64, Cookie>>,
    next: AtomicU64,
}

struct Cookie(*mut c_void);
// SAFETY: the program's pointer, only passed back to it.
unsafe impl Send for Cookie {}

impl Session {
    /// Sends notification `code`, which kernels know since minor version `minor`.
    pub fn notify(&self, code: i32, minor: u32, parts: &[IoSlice<'_>]) -> Result<()> {
        if !self.is_initialized() {
            return Err(Errno(libc::ENOTCONN));
        }
        if self.negotiated().conn.proto_minor < minor {
            return Err(Errno(libc::ENOSYS));
        }
        let len = parts.iter().map(|part| part.len()).sum::<usize>() + size_of::<OutHeader>();
        let header = OutHeader { len: len as u32, error: code, unique: 0 };
        if self.options.debug {
            crate::log_debug!("notification {code} ({len} bytes)");
        }
        let iov: Vec<IoSlice<'_>> =
            std::iter::once(IoSlice::new(header.as_bytes())).chain(parts.iter().copied()).collect();
        match self.fd() {
            fd if self.custom_io().is_some() => custom::writev(self, fd, &iov),
            fd => dev::writev(fd, &iov),
        }
    }

    /// Somebody polls with this handle: look again.
    pub fn notify_poll(&self, kh: u64) -> Result<()> {
        let out = NotifyPollWakeupOut { kh };
        self.notify(notify::POLL, 0, &[IoSlice::new(out.as_bytes())])
    }

    /// Drops cached attributes, and data from `off` on (`len` 0: to the end;
    /// negative `off`: attributes only).
    pub fn notify_inval_inode(&self, ino: u64, off: i64, len: i64) -> Result<()> {
        let out = NotifyInvalInodeOut { ino, off, len };
        self.notify(notify::INVAL_INODE, 12, &[IoSlice::new(out.as_bytes())])
    }

    /// Drops a cached name, or with `flags` 1 only lets it expire.
    pub fn notify_inval_entry(&self, parent: u64, name: &[u8], flags: u32) -> Result<()> {
        if flags != 0 && !self.is_capable(cap::EXPIRE_ONLY) {
            return Err(Errno(libc::ENOSYS));
        }
        let out = NotifyInvalEntryOut { parent, namelen: name.len() as u32, flags };
        self.notify(
            notify::INVAL_ENTRY,
            12,
            &[IoSlice::new(out.as_bytes()), IoSlice::new(name), IoSlice::new(b"\0")],
        )
    }

    /// A name is gone, if it still means `child`.
    pub fn notify_delete(&self, parent: u64, child: u64, name: &[u8]) -> Result<()> {
        let out = NotifyDeleteOut { parent, child, namelen: name.len() as u32, padding: 0 };
        self.notify(
            notify::DELETE,
            18,
            &[IoSlice::new(out.as_bytes()), IoSlice::new(name), IoSlice::new(b"\0")],
        )
    }

    /// All cached names are stale.
    pub fn notify_increment_epoch(&self) -> Result<()> {
        self.notify(notify::INC_EPOCH, 44, &[])
    }

    /// Puts data into the page cache of `ino`.
    ///
    /// # Safety
    /// `bufv` is a valid `struct fuse_bufvec`; its position is advanced.
    pub unsafe fn notify_store(
        &self,
        ino: u64,
        offset: i64,
        bufv: *mut Bufvec,
        flags: u32,
    ) -> Result<()> {
        // SAFETY: the caller's promise.
        let (size, buffer_flags, mem) =
            unsafe { (crate::buf::size(bufv), (*bufv).buf[0].flags, (*bufv).buf[0].mem) };
        let out =
            NotifyStoreOut { nodeid: ino, offset: offset as u64, size: size as u32, padding: 0 };
        let send = |data: &[u8]| {
            self.notify(notify::STORE, 15, &[IoSlice::new(out.as_bytes()), IoSlice::new(data)])
        };
        // SAFETY: the caller's promise.
        if unsafe { (*bufv).count == 1 && (*bufv).off == 0 } && buffer_flags & BUF_IS_FD == 0 {
            // SAFETY: the caller's promise: `mem` holds `size` bytes.
            return send(unsafe { crate::sys::memory::bytes(mem, size) });
        }
        let mut memory: Vec<u8> = Vec::new();
        memory.try_reserve_exact(size).map_err(|_| Errno(libc::ENOMEM))?;
        let mut into = Bufvec {
            count: 1,
            idx: 0,
            off: 0,
            buf: [Buf::memory(memory.as_mut_ptr().cast(), size)],
        };
        // SAFETY: room for `size` bytes was reserved; `bufv` as promised.
        let copied = unsafe { crate::buf::copy(&mut into, bufv, flags)? };
        if copied < size {
            return Err(Errno(libc::EIO));
        }
        // SAFETY: filled by the copy.
        send(unsafe { std::slice::from_raw_parts(memory.as_ptr(), copied) })
    }

    /// Asks for cached data; it comes to `retrieve_reply` with `cookie`.
    pub fn notify_retrieve(
        &self,
        ino: u64,
        size: usize,
        offset: i64,
        cookie: *mut c_void,
    ) -> Result<()> {
        let number = RETRIEVAL_BASE + 2 * self.retrievals.next.fetch_add(1, Ordering::Relaxed);
        self.retrievals.waiting.lock().insert(number, Cookie(cookie));
        let out = NotifyRetrieveOut {
            notify_unique: number,
            nodeid: ino,
            offset: offset as u64,
            size: size as u32,
            padding: 0,
        };
        let sent = self.notify(notify::RETRIEVE, 15, &[IoSlice::new(out.as_bytes())]);
        if sent.is_err() {
            self.retrievals.waiting.lock().remove(&number);
        }
        sent
    }

    fn is_capable(&self, capability: u64) -> bool {
        let conn = self.negotiated().conn;
        (conn.capable_ext | u64::from(conn.capable)) & capability != 0
    }
}

/// The data of a NOTIFY_RETRIEVE arrived, as a request of its own number.
pub fn retrieved(session: &Session, req: &Request, args: &NotifyRetrieveIn, data: &[u8]) {
    let Some(Cookie(cookie)) = session.retrievals.waiting.lock().remove(&req.unique()) else {
        return no_answer(req);
    };
    match session.ops().retrieve_reply {
        Some(op) => {
            let mut bufv = memory_bufvec(data);
            // SAFETY: the filesystem's own function; the vector outlives the call.
            unsafe { op(req.as_c(), cookie, req.nodeid(), args.offset as i64, &mut bufv) };
        }
        None => no_answer(req),
    }
}
