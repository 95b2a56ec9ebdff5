//! Several entries on one ring: where they come from, and that nothing is held up when
//! a callback lasts all the same.

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::client::{eventually, stay_on};
use support::*;

/// Entries that a thread may have.
const MANY: i64 = 16;
const CLIENTS: u64 = 20;
/// What reads get when the filesystem has ended.
const ENDED: [Option<i32>; 3] =
    [Some(libc::ENOTCONN), Some(libc::ECONNABORTED), Some(libc::ECANCELED)];

fn opened(fs: &Mount, name: &str) -> Arc<File> {
    Arc::new(File::open(fs.at(name)).expect("open"))
}

fn read(file: &File, offset: u64) -> String {
    let mut data = [0; 64];
    let length = file.read_at(&mut data, offset).expect("read");
    String::from_utf8_lossy(&data[..length]).into_owned()
}

fn reader(fs: &Mount, name: &str) -> Pinned<String> {
    let file = opened(fs, name);
    pinned(cpus()[0], move || read(&file, 0))
}

fn number(fs: &Mount, name: &str) -> i64 {
    fs.command(&format!("queue {} {name}", cpus()[0]))
}

fn server(word: &str) -> Server {
    Server::new("engine_ll").env("RINGFUSE_BATCH", word)
}

/// Clients of one CPU that read as fast as they can, until they are dropped.
struct Load {
    stop: Arc<AtomicBool>,
    reads: Vec<Arc<AtomicU64>>,
    clients: Vec<Pinned<()>>,
}

impl Load {
    fn new(fs: &Mount) -> Self {
        let (mut reads, mut clients) = (Vec::new(), Vec::new());
        let stop = Arc::new(AtomicBool::new(false));
        for client in 0..CLIENTS {
            let (file, count) = (opened(fs, "fast"), Arc::new(AtomicU64::new(0)));
            reads.push(count.clone());
            let stop = stop.clone();
            clients.push(pinned(cpus()[0], move || {
                while !stop.load(Ordering::Relaxed) {
                    let offset = count.fetch_add(1, Ordering::Relaxed) << 8 | client;
                    let mut data = [0; 64];
                    match file.read_at(&mut data, offset) {
                        Ok(length) => {
                            assert_eq!(&data[..length], format!("fast@{offset}").as_bytes())
                        }
                        Err(error) if ENDED.contains(&error.raw_os_error()) => break,
                        Err(error) => panic!("a read: {error}"),
                    }
                }
            }));
        }
        Self { stop, reads, clients }
    }

    /// Every client gets that many answers more, sooner or later.
    fn goes_on(&self, more: u64) {
        let count = |count: &Arc<AtomicU64>| count.load(Ordering::Relaxed);
        let before: Vec<u64> = self.reads.iter().map(count).collect();
        let so_far = || -> Vec<u64> {
            let now = self.reads.iter().map(count);
            now.zip(&before).map(|(now, before)| (now - before).min(more)).collect()
        };
        let mut seen = so_far();
        while seen.iter().any(|&answers| answers < more) {
            eventually(&format!("those without {more} answers: {seen:?}"), || so_far() != seen);
            seen = so_far();
        }
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.drain(..).for_each(|client| client.join().expect("a client"));
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A mount whose first queue has come to work in batches.
fn batching(word: &str) -> (Mount, Load) {
    let fs = server(word).mount(Transport::Ring);
    let load = Load::new(&fs);
    eventually("a thread to have many entries", || number(&fs, "entries") >= MANY);
    (fs, load)
}

/// Runs `test` on rings.
fn on_rings(test: fn(Transport)) {
    if stock() {
        return skip("libfuse has its own rings");
    }
    machine::on(Transport::Ring, test);
}

#[test]
fn many_clients_come_in_batches() {
    on_rings(|_| {
        let (fs, load) = batching("yes");
        load.goes_on(500);
        // Of one thread, and those that others had before.
        assert!(number(&fs, "entries") < 4 * MANY, "{}", number(&fs, "entries"));
        load.end();
    });
}

#[test]
fn only_filesystems_that_proved_short() {
    on_rings(|_| {
        let before = |word| {
            let fs = server(word).mount(Transport::Ring);
            let load = Load::new(&fs);
            load.goes_on(200);
            let entries = number(&fs, "entries");
            load.end();
            entries
        };
        assert!(before("no") < MANY);
        assert!(before("10000000") < MANY);
        let (fs, load) = batching("500");
        assert!(number(&fs, "requests") >= 500);
        load.end();
        drop(fs);
        // Nor where the number of callbacks is bounded.
        let fs = server("yes").option("max_threads=3").mount(Transport::Ring);
        let load = Load::new(&fs);
        load.goes_on(200);
        assert!(number(&fs, "entries") < MANY, "{}", number(&fs, "entries"));
        load.end();
    });
}

#[test]
fn one_client_brings_no_more_entries() {
    on_rings(|_| {
        let few = || {
            let fs = server("yes").mount(Transport::Ring);
            let file = opened(&fs, "fast");
            let client = pinned(cpus()[0], move || (0..5000).for_each(|at| drop(read(&file, at))));
            client.join().expect("the client");
            number(&fs, "entries") < MANY
        };
        // Where a machine has little time for the guest that this is in, the client may be
        // as quick as several are.
        assert!((0..5).any(|_| few()));
    });
}

#[test]
fn a_callback_that_lasts_holds_nothing_up() {
    on_rings(|_| {
        let (fs, load) = batching("yes");
        let blocked = reader(&fs, "block");
        fs.until("blocked", 1);
        load.goes_on(300);
        // More of them, until threads that never had several entries are blocked, too.
        let more: Vec<_> = (0..3).map(|_| reader(&fs, "block")).collect();
        fs.until("blocked", 4);
        load.goes_on(300);
        fs.command("unblock");
        assert_eq!(blocked.join().expect("the client"), "block@0");
        more.into_iter().for_each(|client| drop(client.join().expect("a client")));
        load.goes_on(300);
        load.end();
    });
}

#[test]
fn handlers_that_wait_for_each_other() {
    on_rings(|_| {
        let (fs, load) = batching("yes");
        let (a, b) = (reader(&fs, "pair_a"), reader(&fs, "pair_b"));
        assert_eq!(a.join().expect("a client"), "pair_a@0");
        assert_eq!(b.join().expect("a client"), "pair_b@0");
        load.goes_on(100);
        load.end();
    });
}

#[test]
fn answers_are_not_held_up_by_the_next_callback() {
    on_rings(|_| {
        let (fs, load) = batching("yes");
        // Each computes for long, and the loop of the clients is answered beside.
        let lasting: Vec<_> = (0..4).map(|_| reader(&fs, "spin_200")).collect();
        load.goes_on(100);
        lasting.into_iter().for_each(|client| drop(client.join().expect("a client")));
        load.end();
    });
}

#[test]
fn requests_that_are_kept() {
    on_rings(|_| {
        let (fs, load) = batching("yes");
        let parked: Vec<_> = (0..200).map(|_| reader(&fs, "park")).collect();
        fs.until("parked", 200);
        load.goes_on(100);
        fs.command("release");
        parked.into_iter().for_each(|client| drop(client.join().expect("a client")));
        load.goes_on(100);
        load.end();
    });
}

/// While a callback blocks and nothing else happens, the keeper sleeps, although requests
/// may come to its thread's other entries; those that come then are served. (That the
/// kernel wakes the keeper for them is shown where it is asked to: `sys/put_off.rs`.)
#[test]
fn the_keeper_sleeps_while_a_callback_blocks() {
    on_rings(|_| {
        let (cpu, elsewhere) = (cpus()[0], cpus()[cpus().len() - 1]);
        if cpu == elsewhere {
            return skip("one CPU only");
        }
        let (fs, load) = batching("yes");
        load.end();
        let [block, park, fast] = ["block", "park", "fast"].map(|name| opened(&fs, name));
        let at = |file: &Arc<File>| {
            let file = file.clone();
            pinned(cpu, move || read(&file, 0))
        };
        thread::scope(|scope| {
            // What it asks the filesystem comes to another queue.
            let test = scope.spawn(|| {
                stay_on(elsewhere);
                let mut clients = vec![at(&block)];
                fs.until("blocked", 1);
                // The kernel uses first what was given back last: what others have.
                clients.extend((0..MANY / 2).map(|_| at(&park)));
                fs.until("parked", MANY / 2);
                eventually("threads that sleep", || {
                    let before = process::switches(fs.pid);
                    thread::sleep(Duration::from_millis(20));
                    process::switches(fs.pid) == before
                });
                let quick = at(&fast);
                eventually("a quick read", || quick.is_finished());
                fs.command("unblock");
                fs.command("release");
                clients.into_iter().for_each(|client| drop(client.join().expect("a client")));
            });
            test.join().expect("the test");
        });
    });
}

/// Entries are given up after each such callback, and collected again: they do not
/// become ever more.
#[test]
fn entries_and_threads_stay_few() {
    on_rings(|_| {
        let (fs, load) = batching("1000");
        for _ in 0..6 {
            let blocked = reader(&fs, "block");
            fs.until("blocked", 1);
            load.goes_on(100);
            fs.command("unblock");
            blocked.join().expect("the client");
            load.goes_on(1000);
        }
        let (entries, threads) = (number(&fs, "entries"), number(&fs, "threads"));
        assert!(entries < 4 * MANY && threads < 4 * MANY, "{entries} entries, {threads} threads");
        load.end();
    });
}

/// A call that a signal ends early (nanosleep does) is only interrupted where somebody
/// waits behind it.
#[test]
fn a_callback_is_not_interrupted_for_nothing() {
    on_rings(|_| {
        let (fs, load) = batching("yes");
        load.end();
        // A child that another test starts flushes our files, which is such a request.
        let slept_well = (0..20).any(|_| {
            let start = Instant::now();
            assert_eq!(reader(&fs, "sleep_100").join().expect("the client"), "sleep_100@0");
            start.elapsed() >= Duration::from_millis(100)
        });
        assert!(slept_well);
    });
}

#[test]
fn the_end_comes_in_the_middle_of_batches() {
    on_rings(|_| {
        for _ in 0..5 {
            let (fs, load) = batching("yes");
            load.goes_on(50);
            fs.signal(Signal::TERM);
            let ending = fs.ended();
            assert_eq!(ending.status.code(), Some(0), "{ending:?}");
            load.end();
        }
    });
}
