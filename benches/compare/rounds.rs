//! Clients that work on one mount after the other, a short round each.

use super::work::{Row, Step};
use crate::server::{watch, Result, Server};
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
    /// Requests that a new server gets before anything is measured.
    pub settle: u64,
}

/// One sitting, the `number`th: the units per second of each server, all
/// clients together, on average over its rounds.
pub fn measure(
    row: &Row,
    clients: usize,
    servers: &[Server],
    plan: &Plan,
    number: usize,
) -> Result<Vec<f64>> {
    let pids: Vec<u32> = servers.iter().map(Server::pid).collect();
    let progress = AtomicU64::new(0);
    // Each server comes first, in the middle and last equally often.
    let first = number * plan.rounds;
    let turns = (0..plan.rounds).flat_map(|round| {
        (0..servers.len()).map(move |place| (first + round + place) % servers.len())
    });
    watch(&pids, &progress, || rounds(row, clients, servers, turns, plan, &progress))
        .ok_or("a server answered nothing for a long time".to_string())?
}

fn rounds(
    row: &Row,
    clients: usize,
    servers: &[Server],
    turns: impl Iterator<Item = usize>,
    plan: &Plan,
    progress: &AtomicU64,
) -> Result<Vec<f64>> {
    const OVER: usize = usize::MAX;
    let barrier = Barrier::new(clients + 1);
    let turn = AtomicUsize::new(0);
    let sum = Mutex::new(Ok(0.0));
    let mut rates = vec![0.0; servers.len()];

    thread::scope(|scope| {
        for client in 0..clients {
            let (barrier, turn, sum) = (&barrier, &turn, &sum);
            scope.spawn(move || {
                let steps: std::io::Result<Vec<Step>> =
                    servers.iter().map(|server| (row.start)(server.mountpoint(), client)).collect();
                let mut steps = steps.map_err(|error| error.to_string());
                loop {
                    barrier.wait();
                    let server = turn.load(Ordering::Acquire);
                    if server == OVER {
                        break;
                    }
                    let rate = match &mut steps {
                        Ok(steps) => round(&mut steps[server], plan, progress)
                            .map_err(|error| error.to_string()),
                        Err(error) => Err(error.clone()),
                    };
                    match (&mut *sum.lock().expect("no client panics"), rate) {
                        (Ok(sum), Ok(rate)) => *sum += rate,
                        (sum, Err(error)) => *sum = Err(error),
                        (Err(_), Ok(_)) => {}
                    }
                    barrier.wait();
                }
            });
        }
        let mut failure = None;
        for server in turns {
            *sum.lock().expect("no client panics") = Ok(0.0);
            turn.store(server, Ordering::Release);
            barrier.wait(); // the clients begin
            barrier.wait(); // they have ended
            match &*sum.lock().expect("no client panics") {
                Ok(rate) => rates[server] += rate / plan.rounds as f64,
                Err(error) => {
                    failure = Some(error.clone());
                    break;
                }
            }
        }
        turn.store(OVER, Ordering::Release);
        barrier.wait();
        match failure {
            Some(error) => Err(error),
            None => Ok(rates),
        }
    })
}

/// One client's part of a round: its units per second.
fn round(step: &mut Step, plan: &Plan, progress: &AtomicU64) -> std::io::Result<f64> {
    let warm = Instant::now() + plan.warm_up;
    while Instant::now() < warm {
        step()?;
    }
    progress.fetch_add(1, Ordering::Relaxed);
    let start = Instant::now();
    let mut units = 0;
    loop {
        units += step()?;
        let elapsed = start.elapsed();
        if elapsed >= plan.length {
            return Ok(units as f64 / elapsed.as_secs_f64());
        }
    }
}
