//! CPU time, of a thread, and of those that came and went unseen.
//!
//! The process's clock counts what its ended threads have used, and a thread
//! cannot live without using any. So the process's time less that of the living
//! threads grows by every thread that ends. (Seen on emulated CPUs: their clock may
//! stand still while a short thread lives. Then it takes another thread.)

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

/// Nanoseconds that thread `tid` of this process has used; `None` if it has ended.
pub fn of_thread(tid: i32) -> Option<u64> {
    read(clock_of(tid))
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
    use crate::sys::thread::{foreign, spawn, turnover, SignalMask};
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::Arc;

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

    /// In a process without other tests, whose threads would be noticed.
    #[test]
    fn threads_of_the_library_are_not_noticed() {
        const ALONE: &str = "RINGFUSE_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let name = "sys::cputime::tests::threads_of_the_library_are_not_noticed";
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", name, "--test-threads=1"])
                .env(ALONE, "1")
                .status();
            assert!(status.unwrap().success());
            return;
        }
        // Each lasts until there were two good pictures of what is left of the
        // one before, so that these are compared.
        let pictures = Arc::new(AtomicU64::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let starter = {
            let (pictures, over) = (pictures.clone(), over.clone());
            let body = move || {
                for _ in 0..500 {
                    spawn(c"short", SignalMask::All, || ()).unwrap().join();
                    let enough = pictures.load(Ordering::SeqCst) + 2;
                    while pictures.load(Ordering::SeqCst) < enough {
                        std::thread::yield_now();
                    }
                }
                over.store(true, Ordering::SeqCst);
            };
            spawn(c"starter", SignalMask::All, body).unwrap()
        };
        let mut last = None;
        while !over.load(Ordering::SeqCst) {
            let Some(before) = turnover() else { continue };
            let (Some(ended), threads) = (of_ended_threads(), foreign()) else { continue };
            if turnover() != Some(before) {
                continue;
            }
            let (same, high, known) = last.take().unwrap_or((0, 0, threads.clone()));
            assert_eq!(threads, known);
            assert!(before != same || ended.low <= high, "{ended:?}, but {high} before");
            let high = if before == same { high.min(ended.high) } else { ended.high };
            last = Some((before, high, known));
            pictures.fetch_add(1, Ordering::SeqCst);
        }
        starter.join();
    }
}
