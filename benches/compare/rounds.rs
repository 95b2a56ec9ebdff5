//! Clients that work on one mount after the other, a short round each.

use super::work::{Row, Step};
use crate::server::{watch, Result, Server};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Clone, Copy)]
pub struct Plan {
    /// How many rounds every mount gets.
    pub rounds: usize,
    pub length: Duration,
    /// The first part of a round, which brings the server back into the
    /// caches, is not measured.
    pub warm_up: Duration,
}

/// Units per second of every round: `rates[server][round]`, all clients
/// together. Rounds of the same number followed each other.
pub fn measure(
    row: &Row,
    clients: usize,
    servers: &[Server],
    plan: &Plan,
) -> Result<Vec<Vec<f64>>> {
    let pids: Vec<u32> = servers.iter().map(Server::pid).collect();
    let progress = AtomicU64::new(0);
    watch(&pids, &progress, || {
        rounds(row, clients, servers, plan, &progress)
    })
    .ok_or("a server answered nothing for a long time".to_string())?
}

fn rounds(
    row: &Row,
    clients: usize,
    servers: &[Server],
    plan: &Plan,
    progress: &AtomicU64,
) -> Result<Vec<Vec<f64>>> {
    const OVER: usize = usize::MAX;
    let barrier = Barrier::new(clients + 1);
    let turn = AtomicUsize::new(0);
    let sum = Mutex::new(Ok(0.0));
    let mut rates = vec![Vec::new(); servers.len()];

    thread::scope(|scope| {
        for client in 0..clients {
            let (barrier, turn, sum) = (&barrier, &turn, &sum);
            scope.spawn(move || {
                let steps: std::io::Result<Vec<Step>> = servers
                    .iter()
                    .map(|server| (row.start)(server.mountpoint(), client))
                    .collect();
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
        'all: for number in 0..plan.rounds {
            for place in 0..servers.len() {
                // Each comes first, in the middle and last equally often.
                let server = (place + number) % servers.len();
                *sum.lock().expect("no client panics") = Ok(0.0);
                turn.store(server, Ordering::Release);
                barrier.wait();
                barrier.wait();
                match &*sum.lock().expect("no client panics") {
                    Ok(rate) => rates[server].push(*rate),
                    Err(error) => {
                        failure = Some(error.clone());
                        break 'all;
                    }
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
