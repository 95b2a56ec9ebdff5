//! Streams: requests that move much data and that nobody waits for one by one
//! (readahead, writeback).
//!
//! A thread that is bound to its client's CPU answers sooner, but while it
//! copies, the client cannot. For a stream it is better to work beside the
//! client, as long as there is a CPU to spare: the threads of a queue that
//! carries a stream *roam*, unless about as many queues are busy as there are
//! CPUs. A thread is bound, or let go, when it serves the next request: those that
//! have nothing to do stay where they are.

use super::Engine;
use crate::abi::kernel::{Opcode, ReadIn, WriteIn, WRITE_CACHE};
use std::sync::atomic::Ordering;
use zerocopy::FromBytes;

/// From here on a request moves much data.
const MUCH: u32 = 64 << 10;
/// Looks that must agree before threads start or stop roaming.
const LOOKS: u8 = 4;

/// Whether the request is one of a stream.
pub fn is_part_of_one(opcode: Opcode, op_in: &[u8]) -> bool {
    match opcode {
        // Whoever reads past the cache waits for the answer.
        Opcode::Read => ReadIn::read_from_prefix(op_in)
            .is_ok_and(|(read, _)| read.size >= MUCH && read.flags & libc::O_DIRECT as u32 == 0),
        Opcode::Write => WriteIn::read_from_prefix(op_in)
            .is_ok_and(|(write, _)| write.size >= MUCH && write.write_flags & WRITE_CACHE != 0),
        _ => false,
    }
}

/// What the keeper remembers of one queue.
#[derive(Clone, Copy, Default)]
pub struct Seen {
    delivered: u64,
    streamed: u64,
    looks: u8,
}

impl Engine {
    /// Lets the threads of each queue roam or not; called with every look of the
    /// keeper.
    pub(super) fn look_at_streams(&self, seen: &mut Vec<Seen>) {
        if !self.placement.is_pinned() {
            return;
        }
        seen.resize(self.queues.len(), Seen::default());
        let mut busy = 0;
        let mut streams = 0;
        for (seen, queue) in seen.iter().zip(&self.queues) {
            let moved = queue.counters.requests.load(Ordering::Relaxed) - seen.delivered;
            let streamed = queue.streamed.load(Ordering::Relaxed) - seen.streamed;
            busy += usize::from(moved > 0);
            streams += usize::from(2 * streamed > moved);
        }
        let room = busy < self.placement.cpus() && streams > 0;
        for (seen, queue) in seen.iter_mut().zip(&self.queues) {
            let (delivered, streamed) = (
                queue.counters.requests.load(Ordering::Relaxed),
                queue.streamed.load(Ordering::Relaxed),
            );
            let moved = delivered - seen.delivered;
            if moved == 0 {
                continue;
            }
            let should = room && 2 * (streamed - seen.streamed) > moved;
            seen.looks =
                if should == queue.roams.load(Ordering::Relaxed) { 0 } else { seen.looks + 1 };
            if seen.looks >= LOOKS {
                queue.roams.store(should, Ordering::Relaxed);
                seen.looks = 0;
            }
            (seen.delivered, seen.streamed) = (delivered, streamed);
        }
    }
}
