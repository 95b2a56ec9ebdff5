//! The submission queue entries that FUSE over io_uring takes, and what comes
//! back as `user_data`.
//!
//! `io_uring`'s `UringCmd80` has no `len`, which REGISTER needs: it is set
//! through a raw view of the built entry.

use super::entry::Entry;
use crate::abi::kernel::{UringCmdReq, URING_CMD_COMMIT_AND_FETCH, URING_CMD_REGISTER};
use io_uring::squeue::Entry128;
use io_uring::{opcode, types};
use std::os::fd::RawFd;
use std::ptr::NonNull;
use zerocopy::IntoBytes;

/// Where `len` is in every SQE.
const LEN_OFFSET: usize = 24;
const _: () = assert!(size_of::<Entry128>() == 128);

/// The slot of `/dev/fuse` among a ring's registered files.
const FUSE: types::Fixed = types::Fixed(0);

/// What a completion is about. Entries are page-aligned, so the low bits of
/// their address are free to say what happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// A request arrived in the entry (or its registration failed).
    Entry(NonNull<Entry>),
    /// Another thread hands over the entry with its request.
    HandedOver(NonNull<Entry>),
    /// Whether handing over the entry worked.
    HandOverSent(NonNull<Entry>),
    /// Another thread passes on the entry with its answer, to be committed.
    Adopt(NonNull<Entry>),
    /// Whether passing on the entry worked.
    AdoptSent(NonNull<Entry>),
    /// Register another entry for this queue.
    Grow(u16),
    /// Give the memory of available entries back.
    Cool,
    /// The thread that owns the ring was woken through its eventfd.
    Wake,
    /// `/dev/fuse` is readable.
    Device,
    /// The session was asked to exit.
    Exit,
    /// End.
    Stop,
    /// The kernel has refused what it had to refuse.
    Refused,
    /// Nothing that matters.
    Ignore,
}

const TAG_BITS: u64 = 0xf;

impl Token {
    /// As `user_data`.
    pub fn encode(self) -> u64 {
        match self {
            Self::Entry(entry) => entry.as_ptr() as u64,
            Self::HandedOver(entry) => entry.as_ptr() as u64 | 1,
            Self::HandOverSent(entry) => entry.as_ptr() as u64 | 2,
            Self::Grow(queue) => u64::from(queue) << 4 | 3,
            Self::Wake => 4,
            Self::Device => 5,
            Self::Exit => 6,
            Self::Stop => 7,
            Self::Ignore => 8,
            Self::Cool => 9,
            Self::Refused => 10,
            Self::Adopt(entry) => entry.as_ptr() as u64 | 11,
            Self::AdoptSent(entry) => entry.as_ptr() as u64 | 12,
        }
    }

    /// From `user_data`.
    pub fn decode(user_data: u64) -> Self {
        let pointer = NonNull::new((user_data & !TAG_BITS) as *mut Entry);
        match (user_data & TAG_BITS, pointer) {
            (0, Some(entry)) => Self::Entry(entry),
            (1, Some(entry)) => Self::HandedOver(entry),
            (2, Some(entry)) => Self::HandOverSent(entry),
            (3, _) => Self::Grow((user_data >> 4) as u16),
            (4, _) => Self::Wake,
            (5, _) => Self::Device,
            (6, _) => Self::Exit,
            (7, _) => Self::Stop,
            (9, _) => Self::Cool,
            (10, _) => Self::Refused,
            (11, Some(entry)) => Self::Adopt(entry),
            (12, Some(entry)) => Self::AdoptSent(entry),
            _ => Self::Ignore,
        }
    }
}

fn command(entry: &Entry, code: u32, commit_id: u64) -> Entry128 {
    let request = UringCmdReq { commit_id, qid: entry.queue(), ..UringCmdReq::default() };
    command_of(&request, code, entry.iovec_address())
        .user_data(Token::Entry(entry.pointer()).encode())
}

fn command_of(request: &UringCmdReq, code: u32, address: u64) -> Entry128 {
    let mut area = [0; 80];
    area[..size_of::<UringCmdReq>()].copy_from_slice(request.as_bytes());
    opcode::UringCmd80::new(FUSE, code).cmd(area).addr(Some(address)).build()
}

/// Makes `entry` known to the kernel, ready to receive a request.
pub fn register(entry: &Entry) -> Entry128 {
    let mut sqe = command(entry, URING_CMD_REGISTER, 0);
    set_len(&mut sqe, 2);
    sqe
}

/// Registers an entry for a queue that there is not.
pub fn refused() -> Entry128 {
    let request = UringCmdReq { qid: u16::MAX, ..UringCmdReq::default() };
    command_of(&request, URING_CMD_REGISTER, 0).user_data(Token::Refused.encode())
}

/// Does nothing.
pub fn nothing() -> Entry128 {
    opcode::Nop::new().build().user_data(Token::Ignore.encode()).into()
}

/// Answers the request in `entry` and makes it ready for the next.
pub fn commit(entry: &Entry) -> Entry128 {
    command(entry, URING_CMD_COMMIT_AND_FETCH, entry.commit_id())
}

#[allow(unsafe_code)]
fn set_len(sqe: &mut Entry128, len: u32) {
    // SAFETY: an SQE is 128 bytes of plain data, and `len` a u32 at offset 24
    // of every one of them (io_uring's uapi).
    unsafe {
        std::ptr::from_mut(sqe).cast::<u8>().add(LEN_OFFSET).cast::<u32>().write_unaligned(len)
    };
}

/// Posts `message` on the ring `target`; `sent` tells this ring how it went.
pub fn message(target: RawFd, message: Token, sent: Token) -> Entry128 {
    opcode::MsgRingData::new(types::Fd(target), 0, message.encode(), None)
        .build()
        .user_data(sent.encode())
        .into()
}

/// Completes once when `fd` is readable.
pub fn poll(fd: RawFd, token: Token) -> Entry128 {
    opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32)
        .build()
        .user_data(token.encode())
        .into()
}
