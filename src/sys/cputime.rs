//! CPU time, used to notice threads that came and went unseen.
//!
//! The process's clock counts what its ended threads have used, and a thread
//! cannot live without using any. So the process's time less that of the living
//! threads grows by every thread that ends.

use super::thread::{self, gettid};

fn read(clock: libc::clockid_t) -> Option<u64> {
    let mut time = super::timespec(0, 0);
    // SAFETY: a valid place for the result.
    match unsafe { libc::clock_gettime(clock, &mut time) } {
        0 => Some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64),
        _ => None,
    }
}

/// The clock of thread `tid`, as the kernel numbers clocks: the inverted id,
/// "one thread", "scheduled time".
fn clock_of(tid: i32) -> libc::clockid_t {
    (!tid << 3) | 4 | 2
}

/// Nanoseconds that the ended threads of this process have used: between the two.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// No less than this.
    pub low: u64,
    /// No more than this.
    pub high: u64,
}

/// What ended threads have used; `None` if one ended while this was found out.
pub fn of_ended_threads() -> Option<Ended> {
    let own = gettid();
    let others: Vec<i32> = thread::all().into_iter().filter(|&tid| tid != own).collect();
    let process_before = read(libc::CLOCK_PROCESS_CPUTIME_ID)?;
    let own_then = read(clock_of(own))?;
    let living = others.into_iter().try_fold(0, |sum, tid| Some(sum + read(clock_of(tid))?))?;
    let own_after = read(clock_of(own))?;
    let process_after = read(libc::CLOCK_PROCESS_CPUTIME_ID)?;
    // Time passes between the readings: what the living threads used is too large
    // for the first reading of the process's clock, and too small for the last.
    Some(Ended {
        low: process_before.saturating_sub(living + own_then),
        high: process_after.saturating_sub(living + own_after),
    })
}

#[cfg(test)]
mod tests {
    use super::of_ended_threads;

    #[test]
    fn a_thread_that_came_and_went_is_noticed() {
        let settled = || (0..100).find_map(|_| of_ended_threads()).unwrap();
        // Other tests' threads come and go as well: it can only grow more.
        let before = settled();
        assert!(before.low <= before.high);
        for _ in 0..3 {
            std::thread::spawn(|| ()).join().unwrap();
        }
        assert!((0..100).any(|_| settled().low > before.high));
    }
}
