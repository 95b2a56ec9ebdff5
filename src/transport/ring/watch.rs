//! What the keeper sees when it looks, and what it makes of it.
//!
//! A look compares the counters of queues and handler threads with those of the
//! look before. Nothing is asked of the threads; they count in their own cache
//! lines. Only for a thread that seems to hold its queue up the kernel is asked
//! whether it sleeps or merely waits for a CPU, where more threads would not
//! help.

use super::entry::Entry;
use super::worker::Worker;
use super::Engine;
use std::sync::atomic::Ordering;
use std::sync::Arc;

/// Looks after which a callback that computes counts as lasting.
const PATIENCE_WITH_RUNNING: u32 = 4;
/// Sightings of a queue without an available entry whose threads sleep, before
/// it gets another thread although requests go through.
const SATURATED: u32 = 4;

/// Threads of a queue of which the kernel is asked whether they sleep.
const ASKED: usize = 8;

/// What the last look saw.
#[derive(Default)]
pub struct Watch {
    queues: Vec<SeenQueue>,
}

#[derive(Clone, Copy, Default)]
struct SeenQueue {
    delivered: u64,
    /// How often it was seen saturated with sleeping threads, lately.
    saturated: u32,
}

/// What is to be done.
#[derive(Default)]
pub struct Findings {
    /// Answered entries whose callback goes on: to be committed.
    pub held_up: Vec<&'static Entry>,
    /// Queues that need more threads, and how many.
    pub grow: Vec<(u16, usize)>,
    /// Whether anything moved.
    pub moved: bool,
    /// Whether a callback lasts.
    pub lasts: bool,
    /// Threads in such callbacks that hold something up.
    pub stuck: Vec<i32>,
}

impl Watch {
    /// Looks at every queue and every handler thread.
    pub fn look(&mut self, engine: &Engine) -> Findings {
        let workers: Vec<Arc<Worker>> = engine.workers.lock().clone();
        self.queues.resize(engine.queues.len(), SeenQueue::default());
        let mut findings = Findings::default();
        let mut lasting = vec![0; self.queues.len()];
        let mut asleep = vec![(0, 0); self.queues.len()];
        let mut unreachable = vec![0; self.queues.len()];
        for worker in workers.iter().filter(|worker| worker.activity.is_busy()) {
            if let Some(queue) = worker.queue() {
                unreachable[queue] += worker.behind.load(Ordering::Relaxed) as i32;
            }
        }
        // What comes to the entries of a busy thread waits for that.
        let available = |queue: usize| {
            engine.queues[queue].available.load(Ordering::SeqCst) - unreachable[queue]
        };
        for worker in &workers {
            let looks = worker.looks_in_same_callback();
            if looks > 0 {
                if looks == 1 {
                    worker.begins_to_last();
                }
                findings.held_up.extend(worker.take_held_up());
            } else {
                worker.call_keeper(false);
            }
            let Some(queue) = worker.queue() else { continue };
            if !worker.activity.is_busy() {
                continue;
            }
            let dry = available(queue) <= 0;
            let could_hold_up = looks > 0 && worker.could_hold_up();
            let sleeps = match asleep[queue] {
                // These must not be missed, and are few.
                _ if could_hold_up => worker.sleeps(),
                _ if !dry => false,
                // A few are asked; the others are taken to do the same.
                (sleeping, busy) if busy >= ASKED => 2 * sleeping > busy,
                _ => worker.sleeps(),
            };
            let lasts = match sleeps {
                true => looks > 0,
                false => looks >= PATIENCE_WITH_RUNNING && worker.computes(looks - 1),
            };
            if dry {
                let (sleeping, busy) = &mut asleep[queue];
                *sleeping += usize::from(sleeps);
                *busy += 1;
                lasting[queue] += usize::from(lasts);
            }
            findings.lasts |= lasts;
            if lasts && could_hold_up && !engine.gone.load(Ordering::SeqCst) {
                // Something may come to its entries at any time. As many looks follow as
                // the keeper makes before it sleeps, should this have been too late.
                let called = worker.call_keeper(true);
                findings.moved |= !called && worker.behind.load(Ordering::Relaxed) > 0;
                if worker.holds_up() {
                    findings.moved = true;
                    findings.stuck.extend(worker.tid());
                }
            }
        }
        for (index, (seen, queue)) in self.queues.iter_mut().zip(&engine.queues).enumerate() {
            let delivered = queue.counters.requests.load(Ordering::SeqCst);
            let available = available(index) > 0;
            let moved = seen.delivered != delivered;
            findings.moved |= moved;
            let (sleeping, busy) = asleep[index];
            seen.saturated = match (available, 2 * sleeping > busy) {
                (false, true) => seen.saturated + 1,
                _ => seen.saturated.saturating_sub(1),
            };
            if !available && lasting[index] > 0 && lasting[index] == busy {
                // All of them: as many again.
                findings.grow.push((index as u16, lasting[index]));
                seen.saturated = 0;
            } else if seen.saturated >= SATURATED {
                findings.grow.push((index as u16, 1));
                findings.lasts = true;
                seen.saturated = 0;
            }
            seen.delivered = delivered;
        }
        findings
    }
}
