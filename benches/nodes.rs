//! The node table alone: time per operation and memory per node, at growing
//! numbers of nodes. `cargo bench --bench nodes -- [NODES]...`
//!
//! Each size is a tree of depth 8 whose leaves are looked up and never
//! forgotten, in random order afterwards. Times are CPU time of the thread in
//! nanoseconds, but for the slowest first lookup: that one is by the clock, and
//! means something on a quiet machine only.

use ringfuse::high::tree::{Nodes, Remember, Target, ROOT_ID};
use std::hint::black_box;
use std::time::Instant;

/// Files of one directory.
const FILES: u64 = 64;
const ROUNDS: usize = 200_000;

/// Resident memory in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc/self/statm");
    let pages: u64 = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("pages");
    pages * 4096
}

/// What this thread has run, in nanoseconds: others on the machine do not count.
fn running() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("schedstat");
    text.split(' ').next().and_then(|n| n.parse().ok()).expect("nanoseconds")
}

fn per_round(start: f64) -> f64 {
    (running() - start) / ROUNDS as f64
}

fn measure(count: u64) {
    let before = resident();
    let nodes = Nodes::new(Remember::Forever);
    let start = running();
    let (mut leaves, mut slowest) = (Vec::with_capacity(count as usize), 0);
    let mut made = 0;
    while made < count {
        // Six directories above the leaves' own; the upper ones are shared.
        let mut at = ROOT_ID;
        let mut number = made / FILES;
        for level in 0..7 {
            let name = match level {
                0..=2 => format!("level{level}"),
                _ => format!("directory{:02}", number % 32),
            };
            if level > 2 {
                number /= 32;
            }
            at = nodes.lookup(at, name.as_bytes()).expect("the parent is known").id;
        }
        for file in 0..FILES {
            let name = format!("file-{file:08}");
            let one = Instant::now();
            let id = nodes.lookup(at, name.as_bytes()).expect("the parent is known").id;
            slowest = slowest.max(one.elapsed().as_micros());
            leaves.push((id as u32, at as u32));
            made += 1;
        }
    }
    let filling = (running() - start) / count as f64;
    let memory = (resident() - before) as f64 - (leaves.len() * 8) as f64;
    let total = nodes.counts().nodes;

    let mut random = fastrand::Rng::with_seed(1);
    let mut any = |of: &[(u32, u32)]| {
        let (id, parent) = of[random.usize(..of.len())];
        (u64::from(id), u64::from(parent), format!("file-{:08}", random.u64(..FILES)))
    };
    let start = running();
    for _ in 0..ROUNDS {
        black_box(any(&leaves));
    }
    let overhead = per_round(start);

    let start = running();
    for _ in 0..ROUNDS {
        let (_, parent, name) = any(&leaves);
        let path = nodes.lock(Target::child(parent, name.as_bytes())).expect("it has a name");
        black_box(path.as_c_str());
        let id = path.lookup().id;
        drop(path);
        nodes.forget(id, 1);
    }
    let lookup = per_round(start) - overhead;

    let start = running();
    for _ in 0..ROUNDS {
        let (id, ..) = any(&leaves);
        black_box(nodes.lock(Target::node(id)).expect("it has a name").as_c_str());
    }
    let path = per_round(start) - overhead;

    let start = running();
    for _ in 0..ROUNDS {
        let (_, parent, _) = any(&leaves);
        let made = nodes.lock(Target::child(parent, b"created")).expect("it has a name").lookup();
        nodes.lock(Target::child(parent, b"created").exclusive()).expect("a name").removed();
        nodes.forget(made.id, 1);
    }
    let create = per_round(start) - overhead;

    let start = running();
    for round in 0..ROUNDS {
        let (_, parent, name) = any(&leaves);
        let (_, other, _) = any(&leaves);
        let new = format!("renamed-{round}");
        let from = Target::child(parent, name.as_bytes()).exclusive();
        let to = Target::child(other, new.as_bytes()).exclusive();
        nodes.lock_two(from, to).expect("files").renamed();
    }
    let rename = per_round(start) - overhead;
    println!(
        "{total:>9} {filling:>8.0} {slowest:>12} {lookup:>12.0} {path:>8.0} {create:>14.0} \
         {rename:>8.0} {:>11.0}",
        memory / total as f64
    );
}

fn main() {
    let asked: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    println!(
        "    nodes ns/first  slowest (us)  lookup+path     path  create+unlink   rename  bytes/node"
    );
    match asked.is_empty() {
        true => [10_000, 1_000_000, 10_000_000].into_iter().for_each(measure),
        false => asked.into_iter().for_each(measure),
    }
}
