//! The same `passthrough_ll` binary on stock libfuse3 and on ours does the same;
//! and so does the path-based `passthrough`.
//!
//! Clients perform random operations on a mount, each in a directory of its
//! own, and record what came of every one. A run on stock is the model; the
//! runs on our library, on both transports, single- and multi-threaded, must
//! give the same records and leave the same files behind. Of `passthrough` there
//! is also a run in which the clients share directories, which they move while
//! others work in them (`differential/shared.rs`).
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
    pub mod shared;
    pub mod sys;
    pub mod tree;
}

use differential::client::{Cache, Client, FAILED};
use differential::generator::generate;
use differential::ops::Op;
use differential::server::{scratch, watch, Counts, Library, Programs};
use differential::shared;
use differential::sys;
use differential::tree::{self, Tree};
use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use support::machine;

const CLIENTS: usize = 4;
/// How often every operation must have reached the filesystem.
const LEAST: u64 = 50;

/// One configuration of the mount under which all variants are compared.
struct Profile {
    name: &'static str,
    example: &'static str,
    options: &'static str,
    cache: Cache,
    /// How many operations, unless the environment says.
    operations: usize,
    /// Whether files get second names. The path API takes each name for a file,
    /// so that what the kernel has cached of one name may be out of date.
    links: bool,
}

/// The inode-based example as it is.
const INODES: Profile = Profile {
    name: "uncached",
    example: "passthrough_ll",
    options: "cache=never,timeout=0",
    cache: Cache::Nothing,
    operations: 40_000,
    links: true,
};

/// The path-based one. Removed files are gone at once: hidden ones would go when
/// the kernel tells of the last close, some time after that.
const PATHS: Profile = Profile {
    name: "paths",
    example: "passthrough",
    options: "direct,hard_remove,attr_timeout=0,entry_timeout=0",
    cache: Cache::Nothing,
    operations: 16_000,
    links: true,
};

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
    compare(&INODES);
}

#[test]
fn cached() {
    compare(&Profile { name: "cached", options: "cache=auto", cache: Cache::Reads, ..INODES });
}

#[test]
fn writeback() {
    // Not cache=always: the kernel notices changes of a directory it has cached
    // by a time of coarse steps, so when it does is a matter of luck.
    let options = "cache=auto,timeout=86400,writeback";
    compare(&Profile { name: "writeback", options, cache: Cache::ReadsAndWrites, ..INODES });
}

/// Operations on open files get no path.
#[test]
fn paths() {
    compare(&PATHS);
}

/// All operations get a path, names are cached, and data until the next open. Not
/// auto_cache: whether a file has changed is told by a time of coarse steps.
#[test]
fn paths_cached() {
    let options = "hard_remove,attr_timeout=0,negative_timeout=1,paths,noplus";
    let cache = Cache::Reads;
    compare(&Profile { name: "paths-cached", options, cache, links: false, ..PATHS });
}

/// Clients in the same directories, which are moved meanwhile. Files that are
/// removed while open are hidden.
#[test]
fn paths_shared() {
    let options = "attr_timeout=0,entry_timeout=0";
    let profile = Profile { name: "paths-shared", options, operations: 12_000, ..PATHS };
    let Some(((_turn, programs), seed, count)) = prepared(&profile) else { return };
    let scratch = scratch("differential").unwrap_or_else(|error| panic!("{error}"));
    let bare = scratch.path().join("backing");
    fs::create_dir(&bare).expect("room on tmpfs");
    let work = |root: &Path, progress: &AtomicU64| shared::perform(root, seed, count, progress);
    // What happens without any FUSE in between is the model for stock, too.
    sys::clear_umask();
    let expected = (work(&bare, &AtomicU64::new(0)), tree::read(&bare, true));
    fs::remove_dir_all(&bare).expect("the model can be removed");
    assert!(expected.1.len() > 50, "{} names are left", expected.1.len());
    for variant in variants() {
        let run = run(&programs, &profile, variant, scratch.path(), work);
        println!("{}: {variant}: {}", profile.name, summary(&run.counts));
        let differences = differences(&expected.0, &run.records, |client, operation| {
            shared::describe(client, seed, operation)
        });
        let differences = differences + &different_files(&expected.1, &run.tree);
        assert!(
            differences.is_empty(),
            "{}: {variant} differs from the bare directory (RINGFUSE_DIFFERENTIAL_SEED={seed}):\n{differences}",
            profile.name
        );
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: this is not a number")))
}

/// The comparisons take turns: each keeps all CPUs busy, and the umask, which
/// they clear, is the process's.
static TURN: Mutex<()> = Mutex::new(());

/// What a comparison begins with: its turn and the programs, the seed and the
/// number of operations. `None` if it cannot be made here.
fn prepared(profile: &Profile) -> Option<((MutexGuard<'static, ()>, Programs), u64, usize)> {
    if let Err(reason) = machine::device() {
        machine::skip(&reason);
        return None;
    }
    let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let programs =
        Programs::build(profile.example, directory).unwrap_or_else(|error| panic!("{error}"));
    let seed = number("RINGFUSE_DIFFERENTIAL_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    let count =
        number("RINGFUSE_DIFFERENTIAL_OPS").map_or(profile.operations, |count| count as usize);
    // Not println: the seed is to be seen also when the test passes.
    let headline =
        format!("{}: {count} operations, RINGFUSE_DIFFERENTIAL_SEED={seed}\n", profile.name);
    std::io::stderr().write_all(headline.as_bytes()).expect("stderr");
    Some(((turn, programs), seed, count))
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
    let Some(((_turn, programs), seed, count)) = prepared(profile) else { return };
    let scratch = scratch("differential").unwrap_or_else(|error| panic!("{error}"));
    let mut seeds = fastrand::Rng::with_seed(seed);
    let plans: Vec<Vec<Op>> = (0..CLIENTS)
        .map(|_| rehearse(profile, seeds.u64(..), count.div_ceil(CLIENTS), scratch.path()))
        .collect();

    let work = |root: &Path, progress: &AtomicU64| perform(profile, &plans, root, progress);
    let mut model: Option<Run> = None;
    for variant in variants() {
        let run = run(&programs, profile, variant, scratch.path(), work);
        println!("{}: {variant}: {}", profile.name, summary(&run.counts));
        if count >= 10_000 {
            check_counts(profile, &run.counts, programs.release, variant);
        }
        match &model {
            None => model = Some(run),
            Some(model) => {
                let describe = |client: usize, i: usize| format!("{:?}", plans[client][i]);
                let differences = differences(&model.records, &run.records, describe)
                    + &different_files(&model.tree, &run.tree);
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
fn rehearse(profile: &Profile, seed: u64, count: usize, scratch: &Path) -> Vec<Op> {
    sys::clear_umask();
    let stage = scratch.join("rehearsal");
    fs::create_dir_all(stage.join("top")).expect("room on tmpfs");
    let mut client = Client::new(&stage, "top", Cache::Nothing);
    let plan = generate(seed, count, profile.links, |op| !client.run(op).starts_with(FAILED));
    tree::read(&stage, false); // for its side effect on the modes
    fs::remove_dir_all(&stage).expect("the rehearsal's files can be removed");
    plan
}

fn run(
    programs: &Programs,
    profile: &Profile,
    variant: Variant,
    scratch: &Path,
    work: impl FnOnce(&Path, &AtomicU64) -> Vec<Vec<String>>,
) -> Run {
    sys::clear_umask();
    let backing = scratch.join("backing");
    fs::create_dir(&backing).expect("room on tmpfs");
    let arguments: &[&str] = if variant.single { &["-s"] } else { &[] };
    let directory =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("differential-{}", profile.name));
    let server = programs
        .start(variant.library, &backing, &directory, profile.options, arguments)
        .unwrap_or_else(|error| panic!("{}: {error}", profile.name));

    let progress = AtomicU64::new(0);
    let records = watch(&[server.pid()], &progress, || work(server.mountpoint(), &progress));
    let records = records.unwrap_or_else(|| {
        panic!("{}: {variant} hangs; its output: {}", profile.name, server.log())
    });
    let (counts, _) =
        server.finish().unwrap_or_else(|error| panic!("{}: {variant}: {error}", profile.name));
    let hides = profile.example == "passthrough" && !profile.options.contains("hard_remove");
    if hides && variant.library == Library::Stock && programs.release < (3, 15) {
        remove_hidden(&backing);
    }
    // With a write-back cache the time of the last write-back may win.
    let tree = tree::read(&backing, profile.cache != Cache::ReadsAndWrites);
    fs::remove_dir_all(&backing).expect("the backing directory can be removed");
    Run { records, tree, counts }
}

/// Old libfuse forgets a hidden file if its last release came while it was being
/// hidden.
fn remove_hidden(directory: &Path) {
    for entry in fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("entry")) {
        if entry.file_type().expect("a type").is_dir() {
            remove_hidden(&entry.path());
        } else if entry.file_name().as_encoded_bytes().starts_with(b".fuse_hidden") {
            fs::remove_file(entry.path()).expect("a file of our own");
        }
    }
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
    for client in 0..plans.len() {
        fs::create_dir_all(mountpoint.join(format!("client{client}/top"))).expect("mkdir");
    }
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
fn check_counts(profile: &Profile, counts: &Counts, release: (u32, u32), variant: Variant) {
    // What the library that the binary was compiled against does not have.
    let unknown =
        |name: &str| name == "tmpfile" && release < (3, 17) || name == "statx" && release < (3, 18);
    // Only root can make the kernel forget many inodes at once.
    let unable = |name: &str| name == "forget_multi" && !machine::is_root();
    // What the path API keeps to itself, or the path-based example to the kernel.
    let inodes = ["lookup", "forget", "forget_multi", "tmpfile", "statx", "ioctl"];
    let locks = ["getlk", "setlk", "setlkw"];
    let absent = |name: &str| {
        profile.example == "passthrough" && (inodes.contains(&name) || locks.contains(&name))
            || profile.options.contains("noplus") && name == "readdirplus"
            || !profile.links && name == "link"
    };
    let excused = |name: &str| unknown(name) || unable(name) || absent(name);
    assert!(counts.len() > 35, "{variant}: the filesystem counts {} operations", counts.len());
    for (name, count) in counts.iter().filter(|(name, _)| !excused(name)) {
        assert!(*count >= LEAST, "{variant}: {name} was called {count} times, less than {LEAST}");
    }
}

/// The first difference of each client, in words. `describe` gives a client's
/// operation.
fn differences(
    model: &[Vec<String>],
    run: &[Vec<String>],
    describe: impl Fn(usize, usize) -> String,
) -> String {
    let mut text = String::new();
    for (client, (stock, ours)) in model.iter().zip(run).enumerate() {
        let differing: Vec<usize> = (0..stock.len()).filter(|&i| stock[i] != ours[i]).collect();
        if let Some(&first) = differing.first() {
            text += &format!(
                "client {client}, {} records differ, the first is operation {first}:\n",
                differing.len()
            );
            #[allow(clippy::needless_range_loop)] // three vectors at once
            for i in first.saturating_sub(8)..first {
                text += &format!("    before: {} -> {}\n", describe(client, i), stock[i]);
            }
            text += &format!(
                "    {}\n    model: {}\n    here:  {}\n",
                describe(client, first),
                stock[first],
                ours[first]
            );
        }
    }
    text
}

/// Every difference of the files, in words.
fn different_files(model: &Tree, run: &Tree) -> String {
    let mut text = String::new();
    for path in model.keys().chain(run.keys().filter(|path| !model.contains_key(*path))) {
        let (expected, here) = (model.get(path), run.get(path));
        if expected != here {
            text += &format!("{}:\n    model: {expected:?}\n    here:  {here:?}\n", path.display());
        }
    }
    text
}
