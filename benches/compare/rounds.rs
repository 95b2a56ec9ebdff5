//! Clients that work on one mount after the other, a short round each.

use super::process::cpu_time;
use super::work::{Start, Step};
use crate::server::{watch, Server};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Clone, Copy)]
pub struct Plan {
    /// How many times the servers are started anew: where a server's threads
    /// and memory end up is luck, and lasts as long as it does.
    pub sittings: usize,
    /// How many rounds every mount gets in one sitting.
    pub rounds: usize,
    pub length: Duration,
    /// The first part of a round, which brings the server back into the
    /// caches, is not measured.
    pub warm_up: Duration,
    /// How long a server with slow handlers is watched, after as long again.
    pub slow: Duration,
    /// Requests that a new server gets before anything is measured.
    pub settle: u64,
}

/// What one server did in one sitting.
#[derive(Clone, Copy)]
pub struct Sample {
    /// Units per second, all clients together.
    pub rate: f64,
    /// CPU seconds of the server per unit.
    pub cpu: f64,
}

/// Why nothing was measured, and the place of the server whose fault it is.
pub struct Failure {
    pub server: usize,
    pub reason: String,
}

pub const HUNG: &str = "answered nothing for 30 s";

/// One sitting, the `number`th: what each server did on average over its rounds.
pub fn measure(
    start: Start,
    clients: usize,
    servers: &[&Server],
    plan: &Plan,
    number: usize,
) -> Result<Vec<Sample>, Failure> {
    let pids: Vec<u32> = servers.iter().map(|server| server.pid()).collect();
    let progress = AtomicU64::new(0);
    let turn = AtomicUsize::new(0);
    // Each server comes first, in the middle and last equally often.
    let first = number * plan.rounds;
    let turns = (0..plan.rounds).flat_map(|round| {
        (0..servers.len()).map(move |place| (first + round + place) % servers.len())
    });
    watch(&pids, &progress, || rounds(start, clients, servers, turns, plan, &progress, &turn))
        .unwrap_or_else(|| {
            Err(Failure { server: turn.load(Ordering::Acquire), reason: HUNG.into() })
        })
}

/// What all clients did in one round so far.
#[derive(Default)]
struct Sum {
    rate: f64,
    /// With those of the warm-up, whose CPU time is counted as well.
    units: u64,
}

fn rounds(
    start: Start,
    clients: usize,
    servers: &[&Server],
    turns: impl Iterator<Item = usize>,
    plan: &Plan,
    progress: &AtomicU64,
    turn: &AtomicUsize,
) -> Result<Vec<Sample>, Failure> {
    let barrier = Barrier::new(clients + 1);
    let over = AtomicUsize::new(0);
    let sum = Mutex::new(Ok(Sum::default()));
    let mut samples = vec![Sample { rate: 0.0, cpu: 0.0 }; servers.len()];

    thread::scope(|scope| {
        for client in 0..clients {
            let (barrier, over, sum) = (&barrier, &over, &sum);
            scope.spawn(move || {
                let mut steps: Vec<std::io::Result<Step>> =
                    servers.iter().map(|server| start(server.mountpoint(), client)).collect();
                loop {
                    barrier.wait();
                    if over.load(Ordering::Acquire) != 0 {
                        break;
                    }
                    let outcome = match &mut steps[turn.load(Ordering::Acquire)] {
                        Ok(step) => round(step, plan, progress).map_err(|error| error.to_string()),
                        Err(error) => Err(error.to_string()),
                    };
                    let mut sum = sum.lock().expect("no client panics");
                    match (&mut *sum, outcome) {
                        (Ok(sum), Ok(more)) => {
                            sum.rate += more.rate;
                            sum.units += more.units;
                        }
                        (sum, Err(error)) => *sum = Err(error),
                        (Err(_), Ok(_)) => {}
                    }
                    drop(sum);
                    barrier.wait();
                }
            });
        }
        let mut outcome = Ok(());
        for server in turns {
            *sum.lock().expect("no client panics") = Ok(Sum::default());
            turn.store(server, Ordering::Release);
            let before = cpu_time(servers[server].pid());
            barrier.wait(); // the clients begin
            barrier.wait(); // they have ended
            let cpu = cpu_time(servers[server].pid()).saturating_sub(before);
            match &*sum.lock().expect("no client panics") {
                Ok(sum) => {
                    let sample = &mut samples[server];
                    sample.rate += sum.rate / plan.rounds as f64;
                    sample.cpu += cpu.as_secs_f64() / sum.units as f64 / plan.rounds as f64;
                }
                Err(reason) => {
                    outcome = Err(Failure { server, reason: reason.clone() });
                    break;
                }
            }
        }
        over.store(1, Ordering::Release);
        barrier.wait();
        outcome.map(|()| samples)
    })
}

/// One client's part of a round.
fn round(step: &mut Step, plan: &Plan, progress: &AtomicU64) -> std::io::Result<Sum> {
    let warm = Instant::now() + plan.warm_up;
    let mut warm_units = 0;
    while Instant::now() < warm {
        warm_units += step()?;
    }
    progress.fetch_add(1, Ordering::Relaxed);
    let start = Instant::now();
    let mut units = 0;
    loop {
        units += step()?;
        let elapsed = start.elapsed();
        if elapsed >= plan.length {
            let rate = units as f64 / elapsed.as_secs_f64();
            return Ok(Sum { rate, units: warm_units + units });
        }
    }
}
