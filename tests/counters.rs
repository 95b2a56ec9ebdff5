//! What `ringfuse.h` tells of each queue is what its clients did.

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use support::client::eventually;
use support::*;

/// Of a header, and of a READ's argument.
const HEADER_IN: i64 = 40;
const HEADER_OUT: i64 = 16;
const READ_IN: i64 = 40;

/// More than may come in addition: kicks, and FLUSH from the children that other tests
/// start, which have our descriptors until they execute their programs.
const FEW: i64 = 100;

const ENOENT: i64 = -(libc::ENOENT as i64);

/// Where the requests of clients on `cpu` are counted.
fn queue_of(fs: &Mount, cpu: usize) -> i64 {
    match fs.on {
        Transport::Ring => cpu as i64,
        Transport::Dev => -1,
    }
}

fn number(fs: &Mount, queue: i64, name: &str) -> i64 {
    fs.command(&format!("queue {queue} {name}"))
}

/// Operations that have returned after `nanos` or later, as far as the classes tell.
/// On /dev/fuse a client has its answer before.
fn lasted(fs: &Mount, queue: i64, nanos: u64) -> i64 {
    fs.until(&format!("queue {queue} handling"), 0);
    number(fs, queue, &format!("times {nanos}"))
}

/// All operations that have returned. Kicks are none.
fn returned(fs: &Mount, queue: i64) -> i64 {
    lasted(fs, queue, 0)
}

fn opened(fs: &Mount, name: &str) -> Arc<File> {
    Arc::new(File::open(fs.at(name)).expect("open"))
}

/// `count` reads of `size` bytes by one client on `cpu`. The file stays open: closing
/// is a request, too.
fn reads(file: &Arc<File>, cpu: usize, count: u64, size: usize) {
    let file = file.clone();
    let client = pinned(cpu, move || {
        let mut data = vec![0; size];
        (0..count).for_each(|_| assert!(file.read_at(&mut data, 0).expect("read") > 0));
    });
    client.join().unwrap();
}

/// `count` clients of one CPU that read something each, and wait.
fn waiting(file: &Arc<File>, cpu: usize, count: u64) -> Vec<Pinned<usize>> {
    let reader = |i| {
        let file = file.clone();
        pinned(cpu, move || file.read_at(&mut [0; 64], i).expect("read"))
    };
    (0..count).map(reader).collect()
}

fn all(clients: Vec<Pinned<usize>>) {
    clients.into_iter().for_each(|client| assert!(client.join().unwrap() > 0));
}

each_transport! {
    fn requests_are_counted_where_they_were_made(on) {
        if stock() {
            return skip("only ringfuse counts");
        }
        const COUNT: i64 = 1000;
        let fs = Server::new("engine_ll").mount(on);
        let file = opened(&fs, "fast");
        for cpu in cpus() {
            let queues: Vec<i64> = cpus().into_iter().map(|cpu| queue_of(&fs, cpu)).collect();
            let all = || queues.iter().map(|&queue| returned(&fs, queue)).collect::<Vec<_>>();
            let requests = || number(&fs, queue_of(&fs, cpu), "requests");
            let (before, requests_before) = (all(), requests());
            reads(&file, cpu, COUNT as u64, 64);
            let own = queue_of(&fs, cpu);
            for ((queue, before), after) in queues.iter().zip(&before).zip(all()) {
                let wanted = if *queue == own { COUNT } else { 0 };
                let more = after - before;
                assert!((wanted..wanted + FEW).contains(&more), "{more} on queue {queue}, CPU {cpu}");
            }
            let more = requests() - requests_before;
            assert!((COUNT..COUNT + FEW).contains(&more), "{more} requests");
        }
    }

    fn bytes_are_those_of_the_messages(on) {
        if stock() {
            return skip("only ringfuse counts");
        }
        const COUNT: i64 = 200;
        let fs = Server::new("engine_ll").mount(on);
        let (cpu, file) = (cpus()[0], opened(&fs, "zeros"));
        let queue = queue_of(&fs, cpu);
        for size in [0x1000, 0x20000] {
            let before = ["bytes_in", "bytes_out"].map(|name| number(&fs, queue, name));
            reads(&file, cpu, COUNT as u64, size);
            let after = ["bytes_in", "bytes_out"].map(|name| number(&fs, queue, name));
            let read = COUNT * (HEADER_OUT + size as i64);
            let asked = COUNT * (HEADER_IN + READ_IN);
            let [more_in, more_out] = [after[0] - before[0], after[1] - before[1]];
            let few = FEW * (HEADER_IN + READ_IN);
            assert!((asked..asked + few).contains(&more_in), "{more_in} for {asked}");
            assert!((read..read + few).contains(&more_out), "{more_out} for {read}");
        }
    }

    /// An operation is in the class of the time it took, or above: that it takes
    /// longer on a busy machine changes nothing.
    fn a_slow_operation_is_in_a_class_of_its_own(on) {
        if stock() {
            return skip("only ringfuse counts");
        }
        const SLEEP: u64 = 30_000_000;
        let fs = Server::new("engine_ll").mount(on);
        let (cpu, file) = (cpus()[0], opened(&fs, "sleep_30"));
        let queue = queue_of(&fs, cpu);
        let before = lasted(&fs, queue, SLEEP);
        let time = number(&fs, queue, "handler_time");
        reads(&file, cpu, 3, 64);
        assert!(lasted(&fs, queue, SLEEP) >= before + 3);
        assert!(number(&fs, queue, "handler_time") >= time + 3 * SLEEP as i64);
    }

    fn what_is_inside_and_what_is_parked(on) {
        if stock() {
            return skip("only ringfuse counts");
        }
        let fs = Server::new("engine_ll").mount(on);
        let cpu = cpus()[0];
        let queue = queue_of(&fs, cpu);
        let (block, park) = (opened(&fs, "block"), opened(&fs, "park"));
        let inside = waiting(&block, cpu, 5);
        fs.until("inside", 5);
        fs.until(&format!("queue {queue} handling"), 5);
        assert!(number(&fs, queue, "threads") >= 5);
        let parked = waiting(&park, cpu, 30);
        fs.until(&format!("queue {queue} parked"), 30);
        fs.until(&format!("queue {queue} handling"), 5);
        if on == Transport::Ring {
            assert!(number(&fs, queue, "entries_used") >= 35);
        }
        fs.command("release");
        fs.command("unblock");
        all(inside);
        all(parked);
        for name in ["parked", "handling", "entries_used"] {
            fs.until(&format!("queue {queue} {name}"), 0);
        }
        assert_eq!(number(&fs, queue, "foreign_answers"), 30);
    }

    /// What was once needed is told, also when it is over.
    fn peaks_stay(on) {
        if stock() {
            return skip("only ringfuse counts");
        }
        let fs = Server::new("engine_ll").mount(on);
        let cpu = cpus()[0];
        let queue = queue_of(&fs, cpu);
        let (block, park) = (opened(&fs, "block"), opened(&fs, "park"));
        let inside = waiting(&block, cpu, 6);
        fs.until("inside", 6);
        fs.command("unblock");
        all(inside);
        let parked = waiting(&park, cpu, 40);
        fs.until("parked", 40);
        fs.command("release");
        all(parked);
        fs.until(&format!("queue {queue} entries_used"), 0);
        let peak = number(&fs, queue, "threads_peak");
        assert!(peak >= 6, "{peak} threads");
        assert!(number(&fs, queue, "threads") <= peak);
        let entries = ["entries", "entries_used_peak"].map(|name| number(&fs, queue, name));
        match on {
            Transport::Ring => {
                assert!(entries[1] >= 40 && entries[0] >= entries[1], "{entries:?}");
                // What it took to get there.
                assert!(number(&fs, queue, "grown") > 0);
                assert!(number(&fs, queue, "handed_over") > 0);
                assert!(number(&fs, queue, "kicks") > 0);
            }
            Transport::Dev => assert_eq!(entries, [0, 0]),
        }
    }

    /// Where there are entries enough, kept requests come by themselves.
    fn kicks_end_when_growth_does(on) {
        if on == Transport::Dev {
            return skip("kicks are for rings");
        }
        if stock() {
            return skip("only ringfuse counts");
        }
        let fs = Server::new("engine_ll").mount(on);
        let cpu = cpus()[0];
        let (queue, park) = (queue_of(&fs, cpu), opened(&fs, "park"));
        let wave = || {
            let parked = waiting(&park, cpu, 40);
            fs.until("parked", 40);
            fs.command("release");
            all(parked);
        };
        (0..5).for_each(|_| wave());
        // The last of those that are made to be sure comes after a second.
        let kicks = || number(&fs, queue, "kicks");
        eventually("the last kick", || {
            let before = kicks();
            thread::sleep(Duration::from_millis(1500));
            kicks() == before
        });
        let before = kicks();
        (0..25).for_each(|_| wave());
        let more = kicks() - before;
        assert!(more < 50, "{more} kicks for 1000 requests");
    }

    /// The queues are those that ringfuse_session_stats() tells of.
    fn there_are_as_many_queues(on) {
        if stock() {
            return skip("only ringfuse counts");
        }
        let fs = Server::new("engine_ll").mount(on);
        let queues = fs.command("told") % 1000;
        for queue in 0..queues {
            assert!(number(&fs, queue, "entries") >= 1, "queue {queue}");
        }
        assert_eq!(number(&fs, queues, "requests"), ENOENT);
        assert!(number(&fs, -1, "requests") >= 1, "INIT");
        assert!(number(&fs, -1, "threads") >= 1);
    }

    fn in_a_serial_loop(on) {
        if stock() {
            return skip("only ringfuse counts");
        }
        let fs = Server::new("engine_ll").arg("-s").mount(on);
        let file = opened(&fs, "fast");
        for cpu in cpus() {
            let queue = queue_of(&fs, cpu);
            let before = returned(&fs, queue);
            reads(&file, cpu, 200, 64);
            let more = returned(&fs, queue) - before;
            assert!((200..200 + FEW).contains(&more), "{more} on queue {queue}");
            let threads = if on == Transport::Ring { 0 } else { 1 };
            assert_eq!(number(&fs, queue, "threads"), threads);
        }
    }
}
