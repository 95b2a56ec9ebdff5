//! The clock of what is measured with every request: the CPU's counter where that runs
//! at one rate always, and CLOCK_MONOTONIC elsewhere.
//!
//! The counter is read in less than half the time (9 ns against 21 ns on the machine of
//! docs/performance.md; far less where the kernel's own clock is a slow one, which makes
//! of asking it a system call). Its rate is measured once, against the clock.

use std::sync::OnceLock;

/// For how long the counter is compared with the clock, in nanoseconds.
const COMPARED: u64 = 50_000;
/// Pairs of which the closest one counts: between the others something came.
const PAIRS: usize = 8;

/// Nanoseconds of a tick, with 32 bits behind the point; 0 if ticks are the clock's
/// nanoseconds.
static SCALE: OnceLock<u64> = OnceLock::new();

/// A moment in this process.
#[derive(Clone, Copy, Debug)]
pub struct Moment(u64);

/// Measures the counter's rate, so that nobody waits for it later.
pub fn prepare() {
    scale();
}

impl Moment {
    /// This one.
    #[inline]
    pub fn now() -> Self {
        Self(if scale() == 0 { clock() } else { counter() })
    }

    /// Nanoseconds since then; 0 if this CPU's counter is behind that one's.
    #[inline]
    pub fn elapsed(self) -> u64 {
        let ticks = |now: u64| u64::try_from(now.wrapping_sub(self.0) as i64).unwrap_or(0);
        match scale() {
            0 => ticks(clock()),
            scale => ((u128::from(ticks(counter())) * u128::from(scale)) >> 32) as u64,
        }
    }
}

#[inline]
fn scale() -> u64 {
    *SCALE.get_or_init(measured)
}

fn measured() -> u64 {
    if !is_steady() {
        return 0;
    }
    let (first, begin) = both();
    while clock() - begin < COMPARED {
        std::hint::spin_loop();
    }
    let (last, end) = both();
    let (ticks, nanos) = (last.wrapping_sub(first), end - begin);
    // From 100 MHz to 20 GHz.
    match (nanos / 10..nanos * 20).contains(&ticks) {
        true => ((u128::from(nanos) << 32) / u128::from(ticks)) as u64,
        false => 0,
    }
}

/// Counter and clock at about the same moment.
fn both() -> (u64, u64) {
    let pair = |_| {
        let before = counter();
        let nanos = clock();
        let width = counter().wrapping_sub(before);
        (width, before.wrapping_add(width / 2), nanos)
    };
    let (_, ticks, nanos) = (0..PAIRS).map(pair).min().expect("some pairs");
    (ticks, nanos)
}

fn clock() -> u64 {
    let mut now = super::timespec(0, 0);
    // SAFETY: a valid place for the result.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    #[allow(clippy::unnecessary_cast)] // longs are shorter on some machines
    (now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

#[cfg(target_arch = "x86")]
use std::arch::x86 as cpu;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64 as cpu;

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[inline]
fn counter() -> u64 {
    // SAFETY: every such CPU that Linux runs on has it; what a process forbids itself
    // by PR_SET_TSC, the system's clock needs as well.
    unsafe { cpu::_rdtsc() }
}

/// Whether the CPU says that its counter never changes its rate, nor stops.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
#[allow(unused_unsafe)] // later compilers find it safe
fn is_steady() -> bool {
    const POWER: u32 = 0x8000_0007;
    const INVARIANT: u32 = 1 << 8;
    // SAFETY: no memory involved; every such CPU that Rust is compiled for has CPUID.
    unsafe { cpu::__cpuid(0x8000_0000).eax >= POWER && cpu::__cpuid(POWER).edx & INVARIANT != 0 }
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
fn counter() -> u64 {
    clock()
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
fn is_steady() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// What is inside of an interval is no longer than what is around it.
    #[test]
    fn as_long_as_the_clock_says() {
        prepare();
        let around = Instant::now();
        let moment = Moment::now();
        let inside = Instant::now();
        std::thread::sleep(Duration::from_millis(20));
        let inside = inside.elapsed().as_nanos() as u64;
        let elapsed = moment.elapsed();
        let around = around.elapsed().as_nanos() as u64;
        // The rate is right to a hundredth, at least.
        assert!(elapsed >= inside - inside / 100, "{elapsed} < {inside}");
        assert!(elapsed <= around + around / 100, "{elapsed} > {around}");
    }

    #[test]
    fn the_future_is_now() {
        assert_eq!(Moment(Moment::now().0 + (1 << 40)).elapsed(), 0);
    }
}
