//! What the clients of a mount need beside rustix.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long anything that should happen at once may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds; panics when it does not come to that.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// This thread, as requests name their clients. A process that another test starts
/// has our descriptors, too, until it executes its program: it flushes them then.
pub fn me() -> i128 {
    rustix::thread::gettid().as_raw_nonzero().get().into()
}

pub type Pinned<T> = JoinHandle<T>;

/// Runs `f` in a thread that stays on one CPU, so that all its requests go to
/// the queue of that CPU. Its stack is small: tests start a thousand.
pub fn pinned<T: Send + 'static>(cpu: usize, f: impl FnOnce() -> T + Send + 'static) -> Pinned<T> {
    let body = move || {
        stay_on(cpu);
        f()
    };
    thread::Builder::new().stack_size(256 << 10).spawn(body).expect("a thread")
}

/// Binds the calling thread to one CPU.
pub fn stay_on(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set).expect("sched_setaffinity");
}

/// 64-bit FNV-1a, as the test filesystems compute it.
pub fn fnv(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Bytes without a period that is near a power of two.
pub fn pattern(size: usize, seed: u64) -> Vec<u8> {
    const PERIOD: usize = 65521; // a prime
    let mut block = vec![0; PERIOD];
    fastrand::Rng::with_seed(seed).fill(&mut block);
    let mut data = block.repeat(size.div_ceil(PERIOD));
    data.truncate(size);
    data
}
