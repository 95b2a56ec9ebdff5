//! Counters of one queue, or of some slots of `/dev/fuse`: a cell of the page.

use crate::sys::ticks::Moment;
use memoffset::offset_of;
use std::sync::atomic::{fence, AtomicI32, AtomicU64, Ordering};
use zerocopy::FromZeros;

/// Classes of times: less than [`FIRST_BOUND`] nanoseconds, then each up to twice as
/// long as the one before, and the last one without an end.
pub const TIMES: usize = 32;
/// See above.
const FIRST_BOUND: u64 = 256;

/// First what is written with every request, then what threads write that answer
/// later, and then what changes rarely.
#[repr(C, align(64))]
pub struct Cell {
    /// Requests that came.
    pub requests: AtomicU64,
    /// Their bytes.
    bytes_in: AtomicU64,
    /// Those of the answers that callbacks gave.
    bytes_out: AtomicU64,
    /// Nanoseconds in callbacks.
    time: AtomicU64,
    /// Requests whose callback returned without an answer.
    parked: AtomicU64,
    /// Requests that were kicks, and so had no callback.
    pub kicked: AtomicU64,
    /// Entries that the kernel could put no request into, at most.
    used_peak: AtomicU64,
    /// Entries that were given to the kernel and have not come back.
    pub available: AtomicI32,
    reserved: u32,
    /// Callbacks by the time they took, see [`TIMES`].
    times: [AtomicU64; TIMES],
    /// Of the parked requests those that have been answered since.
    answered_later: AtomicU64,
    /// The bytes of answers that other threads gave.
    bytes_out_later: AtomicU64,
    padding: [u64; 6],
    /// Entries that there are.
    pub entries: AtomicU64,
    /// Handler threads that serve the queue: now, and at most.
    threads: AtomicU64,
    threads_peak: AtomicU64,
    /// The next ones are those of `ringfuse.h`.
    pub kicks: AtomicU64,
    /// Threads added because operations lasted.
    pub grown: AtomicU64,
    /// Requests that were moved to a thread.
    pub handed_over: AtomicU64,
    more_padding: [u64; 10],
}

const _: () = assert!(offset_of!(Cell, times) == 64 && offset_of!(Cell, answered_later) == 320);
const _: () = assert!(offset_of!(Cell, entries) == 384 && size_of::<Cell>() == 512);

impl Cell {
    /// A request has that many bytes.
    #[inline]
    pub fn received(&self, bytes: u32) {
        self.bytes_in.fetch_add(bytes.into(), Ordering::Relaxed);
    }

    /// A callback that began then has returned.
    #[inline]
    pub fn served(&self, began: Moment) {
        let time = began.elapsed();
        self.time.fetch_add(time, Ordering::Relaxed);
        self.times[class_of(time)].fetch_add(1, Ordering::Relaxed);
    }

    /// It has returned without an answer.
    pub fn parked(&self) {
        self.parked.fetch_add(1, Ordering::Relaxed);
    }

    /// A callback gives an answer of that many bytes.
    #[inline]
    pub fn answered(&self, bytes: u32) {
        self.bytes_out.fetch_add(bytes.into(), Ordering::Relaxed);
    }

    /// Another thread gives one.
    pub fn answered_elsewhere(&self, bytes: u32) {
        self.bytes_out_later.fetch_add(bytes.into(), Ordering::Relaxed);
    }

    /// A parked request was answered.
    pub fn unparked(&self) {
        self.answered_later.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that wait for an answer, their callback having returned.
    pub fn waiting(&self) -> u64 {
        let answered = self.answered_later.load(Ordering::Relaxed);
        self.parked.load(Ordering::Relaxed).saturating_sub(answered)
    }

    /// A request has come in one of the entries, which is the kernel's no more. How many
    /// there are now, without those that are parked.
    #[inline]
    pub fn came(&self) -> u64 {
        let available = self.available.fetch_sub(1, Ordering::SeqCst) - 1;
        self.requests.fetch_add(1, Ordering::SeqCst);
        let used = used(self.entries.load(Ordering::Relaxed), available);
        if used > self.used_peak.load(Ordering::Relaxed) {
            self.used_peak.fetch_max(used, Ordering::Relaxed);
        }
        used.saturating_sub(self.waiting())
    }

    /// Another thread serves the queue.
    pub fn thread_came(&self) {
        let now = self.threads.fetch_add(1, Ordering::Relaxed) + 1;
        self.threads_peak.fetch_max(now, Ordering::Relaxed);
    }

    /// One does no more.
    pub fn thread_left(&self) {
        self.threads.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts from 0 again.
    pub fn clear(&self) {
        self.available.store(0, Ordering::Relaxed);
        for counter in [
            &self.requests,
            &self.bytes_in,
            &self.bytes_out,
            &self.time,
            &self.parked,
            &self.kicked,
            &self.used_peak,
            &self.answered_later,
            &self.bytes_out_later,
            &self.entries,
            &self.threads,
            &self.threads_peak,
            &self.kicks,
            &self.grown,
            &self.handed_over,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
        self.times.iter().for_each(|counter| counter.store(0, Ordering::Relaxed));
    }
}

fn used(entries: u64, available: i32) -> u64 {
    entries.saturating_sub(available.max(0) as u64)
}

/// Which of [`TIMES`] a time in nanoseconds belongs to.
#[inline]
fn class_of(time: u64) -> usize {
    let doublings = u64::BITS - (time / FIRST_BOUND).leading_zeros();
    (doublings as usize).min(TIMES - 1)
}

/// `struct ringfuse_queue_stats`, of one cell or of several; see `ringfuse.h` for the
/// fields.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
#[allow(missing_docs)]
pub struct QueueStats {
    pub size: usize,
    pub requests: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub handling: u64,
    pub parked: u64,
    pub threads: u64,
    pub threads_peak: u64,
    pub entries: u64,
    pub entries_used: u64,
    pub entries_used_peak: u64,
    pub kicks: u64,
    pub grown: u64,
    pub handed_over: u64,
    pub foreign_answers: u64,
    pub handler_time: u64,
    pub handler_times: [u64; TIMES],
}

impl Default for QueueStats {
    fn default() -> Self {
        Self { size: size_of::<Self>(), ..Self::new_zeroed() }
    }
}

impl QueueStats {
    fn add(&mut self, cell: &Cell) {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // What ends is read before what begins, so that no difference is too small.
        let mut returned = number(&cell.kicked);
        for (sum, counter) in self.handler_times.iter_mut().zip(&cell.times) {
            *sum += number(counter);
            returned += number(counter);
        }
        let answered_later = number(&cell.answered_later);
        let available = cell.available.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let (requests, entries) = (number(&cell.requests), number(&cell.entries));
        self.requests += requests;
        self.handling += requests.saturating_sub(returned);
        self.foreign_answers += answered_later;
        self.parked += number(&cell.parked).saturating_sub(answered_later);
        self.bytes_in += number(&cell.bytes_in);
        self.bytes_out += number(&cell.bytes_out) + number(&cell.bytes_out_later);
        self.threads += number(&cell.threads);
        self.threads_peak += number(&cell.threads_peak);
        self.entries += entries;
        self.entries_used += used(entries, available);
        self.entries_used_peak += number(&cell.used_peak);
        self.kicks += number(&cell.kicks);
        self.grown += number(&cell.grown);
        self.handed_over += number(&cell.handed_over);
        self.handler_time += number(&cell.time);
    }
}

impl<'a> FromIterator<&'a Cell> for QueueStats {
    fn from_iter<T: IntoIterator<Item = &'a Cell>>(cells: T) -> Self {
        let mut sums = Self::default();
        cells.into_iter().for_each(|cell| sums.add(cell));
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_times() {
        let bounds = (1..TIMES as u32).map(|class| FIRST_BOUND << (class - 1));
        for (class, bound) in bounds.enumerate() {
            assert_eq!(class_of(bound - 1), class);
            assert_eq!(class_of(bound), class + 1);
        }
        assert_eq!((class_of(0), class_of(u64::MAX)), (0, TIMES - 1));
    }
}
