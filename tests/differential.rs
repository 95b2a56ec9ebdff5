//! The same `passthrough_ll` binary on stock libfuse3 and on ours does the same.
//!
//! Clients perform random operations on a mount, each in a directory of its
//! own, and record what came of every one. A run on stock is the model; the
//! runs on our library, on both transports, single- and multi-threaded, must
//! give the same records and leave the same files behind.
//!
//! RINGFUSE_DIFFERENTIAL_SEED=N repeats a run, RINGFUSE_DIFFERENTIAL_OPS=N
//! makes it longer or shorter. RINGFUSE_TEST_STOCK=1 runs stock only,
//! which shows that the comparison itself raises no false alarm.

mod support;

mod differential {
    pub mod client;
    pub mod generator;
    pub mod model;
    pub mod ops;
    pub mod server;
    pub mod sys;
    pub mod tree;
}

use differential::client::{Cache, Client, FAILED};
use differential::generator::generate;
use differential::ops::Op;
use differential::server::{scratch, watch, Counts, Library, Programs};
use differential::sys;
use differential::tree::{self, Tree};
use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use support::machine;

const CLIENTS: usize = 4;
/// How often every operation must have reached the filesystem.
const LEAST: u64 = 50;

/// One configuration of the mount under which all variants are compared.
struct Profile {
    name: &'static str,
    options: &'static str,
    cache: Cache,
}

#[derive(Clone, Copy)]
struct Variant {
    library: Library,
    single: bool,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {}",
            self.library,
            if self.single { "single-threaded" } else { "multi-threaded" }
        )
    }
}

/// What a run leaves for the comparison: the records of each client in order,
/// and the files.
struct Run {
    records: Vec<Vec<String>>,
    tree: Tree,
    counts: Counts,
}

#[test]
fn uncached() {
    compare(&Profile { name: "uncached", options: "cache=never,timeout=0", cache: Cache::Nothing });
}

#[test]
fn cached() {
    compare(&Profile { name: "cached", options: "cache=auto", cache: Cache::Reads });
}

#[test]
fn writeback() {
    // Not cache=always: the kernel notices changes of a directory it has cached
    // by a time of coarse steps, so when it does is a matter of luck.
    let options = "cache=auto,timeout=86400,writeback";
    compare(&Profile { name: "writeback", options, cache: Cache::ReadsAndWrites });
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: this is not a number")))
}

/// The comparisons take turns: each keeps all CPUs busy, and the umask, which
/// they clear, is the process's.
fn programs() -> &'static Mutex<Programs> {
    static PROGRAMS: OnceLock<Mutex<Programs>> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Mutex::new(Programs::build(directory).unwrap_or_else(|error| panic!("{error}")))
    })
}

fn variants() -> Vec<Variant> {
    let mut libraries = vec![Library::Stock];
    if !machine::stock() {
        libraries.push(Library::OursOnDev);
        match machine::rings() {
            Ok(()) => libraries.push(Library::OursOnRings),
            Err(reason) => machine::skip(&format!("the runs on rings: {reason}")),
        }
    }
    libraries
        .into_iter()
        .flat_map(|library| [true, false].map(|single| Variant { library, single }))
        .collect()
}

fn compare(profile: &Profile) {
    if let Err(reason) = machine::device() {
        return machine::skip(&reason);
    }
    let programs = programs().lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let seed = number("RINGFUSE_DIFFERENTIAL_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    let count = number("RINGFUSE_DIFFERENTIAL_OPS").unwrap_or(40_000) as usize;
    // Not println: the seed is to be seen also when the test passes.
    let headline =
        format!("{}: {count} operations, RINGFUSE_DIFFERENTIAL_SEED={seed}\n", profile.name);
    std::io::stderr().write_all(headline.as_bytes()).expect("stderr");
    let scratch = scratch("differential").unwrap_or_else(|error| panic!("{error}"));
    let mut seeds = fastrand::Rng::with_seed(seed);
    let plans: Vec<Vec<Op>> = (0..CLIENTS)
        .map(|_| rehearse(seeds.u64(..), count.div_ceil(CLIENTS), scratch.path()))
        .collect();

    let mut model: Option<Run> = None;
    for variant in variants() {
        let run = run(&programs, profile, variant, &plans, scratch.path());
        println!("{}: {variant}: {}", profile.name, summary(&run.counts));
        if count >= 10_000 {
            check_counts(&run.counts, programs.release, variant);
        }
        match &model {
            None => model = Some(run),
            Some(model) => {
                let differences = differences(&plans, model, &run);
                assert!(
                    differences.is_empty(),
                    "{}: {variant} differs from stock (RINGFUSE_DIFFERENTIAL_SEED={seed}):\n{differences}",
                    profile.name
                );
            }
        }
    }
}

/// One client's operations, made up while they are performed on a directory
/// without any FUSE in between.
fn rehearse(seed: u64, count: usize, scratch: &Path) -> Vec<Op> {
    sys::clear_umask();
    let stage = scratch.join("rehearsal");
    fs::create_dir_all(stage.join("top")).expect("room on tmpfs");
    let mut client = Client::new(&stage, "top", Cache::Nothing);
    let plan = generate(seed, count, |op| !client.run(op).starts_with(FAILED));
    tree::read(&stage, false); // for its side effect on the modes
    fs::remove_dir_all(&stage).expect("the rehearsal's files can be removed");
    plan
}

fn run(
    programs: &Programs,
    profile: &Profile,
    variant: Variant,
    plans: &[Vec<Op>],
    scratch: &Path,
) -> Run {
    sys::clear_umask();
    let backing = scratch.join("backing");
    for client in 0..CLIENTS {
        fs::create_dir_all(backing.join(format!("client{client}/top"))).expect("room on tmpfs");
    }
    let arguments: &[&str] = if variant.single { &["-s"] } else { &[] };
    let work =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("differential-{}", profile.name));
    let server = programs
        .start(variant.library, &backing, &work, profile.options, arguments)
        .unwrap_or_else(|error| panic!("{}: {error}", profile.name));

    let progress = AtomicU64::new(0);
    let records = watch(&[server.pid()], &progress, || {
        perform(profile, plans, server.mountpoint(), &progress)
    });
    let records = records.unwrap_or_else(|| {
        panic!("{}: {variant} hangs; its output: {}", profile.name, server.log())
    });
    let (counts, _) =
        server.finish().unwrap_or_else(|error| panic!("{}: {variant}: {error}", profile.name));
    // With a write-back cache the time of the last write-back may win.
    let tree = tree::read(&backing, profile.cache != Cache::ReadsAndWrites);
    fs::remove_dir_all(&backing).expect("the backing directory can be removed");
    Run { records, tree, counts }
}

/// All clients at the same time, each with its plan in its directory.
fn perform(
    profile: &Profile,
    plans: &[Vec<Op>],
    mountpoint: &Path,
    progress: &AtomicU64,
) -> Vec<Vec<String>> {
    // Alone, because the kernel tries a newer request first, and gives up
    // copying altogether if two of those fail at the same time.
    let (from, to) = (mountpoint.join("from"), mountpoint.join("to"));
    fs::write(&from, "copied").and_then(|()| fs::copy(&from, &to)).expect("the mount can copy");
    thread::scope(|scope| {
        let clients: Vec<_> = plans
            .iter()
            .enumerate()
            .map(|(client, plan)| {
                scope.spawn(move || {
                    let mut client =
                        Client::new(mountpoint, &format!("client{client}/top"), profile.cache);
                    let record = |op| {
                        progress.fetch_add(1, Ordering::Relaxed);
                        client.run(op)
                    };
                    plan.iter().map(record).collect()
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("a client does not panic")).collect()
    })
}

fn summary(counts: &Counts) -> String {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

/// Everything that the filesystem implements was really asked of it.
fn check_counts(counts: &Counts, release: (u32, u32), variant: Variant) {
    // What the library that the binary was compiled against does not have.
    let unknown =
        |name: &str| name == "tmpfile" && release < (3, 17) || name == "statx" && release < (3, 18);
    // Only root can make the kernel forget many inodes at once.
    let unable = |name: &str| name == "forget_multi" && !machine::is_root();
    assert!(counts.len() > 35, "{variant}: passthrough_ll counts {} operations only", counts.len());
    for (name, count) in counts.iter().filter(|(name, _)| !unknown(name) && !unable(name)) {
        assert!(*count >= LEAST, "{variant}: {name} was called {count} times, less than {LEAST}");
    }
}

/// The first difference of each client and of the files, in words.
fn differences(plans: &[Vec<Op>], model: &Run, run: &Run) -> String {
    let mut text = String::new();
    for (client, plan) in plans.iter().enumerate() {
        let (stock, ours) = (&model.records[client], &run.records[client]);
        let differing: Vec<usize> = (0..plan.len()).filter(|&i| stock[i] != ours[i]).collect();
        if let Some(&first) = differing.first() {
            text += &format!(
                "client {client}, {} records differ, the first is operation {first}:\n",
                differing.len()
            );
            for i in first.saturating_sub(8)..first {
                text += &format!("    before: {:?} -> {}\n", plan[i], stock[i]);
            }
            text += &format!(
                "    {:?}\n    stock: {}\n    here:  {}\n",
                plan[first], stock[first], ours[first]
            );
        }
    }
    for path in
        model.tree.keys().chain(run.tree.keys().filter(|path| !model.tree.contains_key(*path)))
    {
        let (stock, ours) = (model.tree.get(path), run.tree.get(path));
        if stock != ours {
            text += &format!("{}:\n    stock: {stock:?}\n    here:  {ours:?}\n", path.display());
        }
    }
    text
}
