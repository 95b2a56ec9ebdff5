//! The node table and the path locks of the path-based API, rule by rule, and
//! against a model (`model.rs`). See `high_stress.rs` for many threads.

use ringfuse::high::tree::posix::{Kind, PosixLock};
use ringfuse::high::tree::{Counts, NodeError, Nodes, Path, Remember, Target, ROOT_ID};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[path = "high_nodes/model.rs"]
mod model;

/// `count`, or a part of it under a checker, where each step takes much longer. One
/// thread does it all, so that a checker finds in a part what it would find in all.
fn steps(count: u32) -> u32 {
    match () {
        () if cfg!(miri) => count / 500,
        () if std::env::var_os("RINGFUSE_TEST_CHECKED").is_some() => count / 10,
        () => count,
    }
}

fn text(path: &Path) -> String {
    path.as_c_str().to_str().unwrap().to_owned()
}

fn path(nodes: &Nodes, id: u64) -> Result<String, NodeError> {
    nodes.lock(Target::node(id)).map(|path| text(&path))
}

fn lookup(nodes: &Nodes, parent: u64, name: &str) -> u64 {
    nodes.lookup(parent, name.as_bytes()).unwrap().id
}

fn rename(nodes: &Nodes, from: (u64, &str), to: (u64, &str)) -> Result<(), NodeError> {
    let from = Target::child(from.0, from.1.as_bytes()).exclusive();
    let to = Target::child(to.0, to.1.as_bytes()).exclusive();
    nodes.lock_two(from, to).map(|pair| pair.renamed())
}

fn exchange(nodes: &Nodes, from: (u64, &str), to: (u64, &str)) -> Result<(), NodeError> {
    let from = Target::child(from.0, from.1.as_bytes()).exclusive();
    let to = Target::child(to.0, to.1.as_bytes()).exclusive();
    nodes.lock_two(from, to).map(|pair| pair.exchanged())
}

fn unlink(nodes: &Nodes, parent: u64, name: &str) -> Result<(), NodeError> {
    let target = Target::child(parent, name.as_bytes()).exclusive();
    nodes.lock(target).map(|path| path.removed())
}

#[test]
fn numbers_start_at_2_and_lookups_are_counted() {
    let nodes = Nodes::new(Remember::No);
    let a = nodes.lookup(ROOT_ID, b"a").unwrap();
    assert_eq!((a.id, a.generation), (2, 0));
    assert_eq!(lookup(&nodes, ROOT_ID, "a"), 2);
    assert_eq!(lookup(&nodes, 2, "b"), 3);
    assert_eq!(nodes.counts(), Counts { nodes: 2, named: 2, lookups: 3, opens: 0 });
    nodes.forget(2, 2);
    assert!(nodes.contains(2), "it has a child");
    nodes.forget(3, 1);
    assert_eq!(nodes.counts(), Counts::default());
    assert_eq!(path(&nodes, 2), Err(NodeError::Unknown(2)));
    assert_eq!(lookup(&nodes, ROOT_ID, "a"), 4);
    nodes.forget(4, 100);
    nodes.forget(4, 1);
    assert_eq!(nodes.counts(), Counts::default());
    assert_eq!(nodes.lookup(9, b"x"), Err(NodeError::Unknown(9)));
    assert_eq!(nodes.lookup(1 << 40, b"x"), Err(NodeError::Unknown(1 << 40)));
}

#[test]
fn the_counter_comes_round_with_another_generation() {
    let nodes = Nodes::new(Remember::No);
    assert_eq!((lookup(&nodes, ROOT_ID, "2"), lookup(&nodes, ROOT_ID, "3")), (2, 3));
    nodes.count_on_from(0, u32::MAX - 1);
    assert_eq!(lookup(&nodes, ROOT_ID, "last"), u64::from(u32::MAX) - 1);
    let next = nodes.lookup(ROOT_ID, b"first").unwrap();
    assert_eq!((next.id, next.generation), (4, 1), "not 0xffffffff, 0, 1, nor what is in use");
    assert_eq!(nodes.generation(next.id), Ok(1));
}

#[test]
fn paths_follow_names() {
    let nodes = Nodes::new(Remember::No);
    let long = "n".repeat(255);
    let mut at = ROOT_ID;
    let mut expected = String::new();
    for name in ["a", "exactly-thirty-two-bytes-long-xx", &long, "exactly-8", "12345678", "z"] {
        at = lookup(&nodes, at, name);
        expected = format!("{expected}/{name}");
        assert_eq!(path(&nodes, at).unwrap(), expected);
    }
    assert_eq!(path(&nodes, ROOT_ID).unwrap(), "/");
    let child = nodes.lock(Target::child(at, b"new")).unwrap();
    assert_eq!(text(&child), format!("{expected}/new"));
    assert_eq!(child.sibling(b"s").to_str().unwrap(), format!("{expected}/s"));
    assert_eq!(nodes.lock(Target::child(ROOT_ID, b"x")).unwrap().as_c_str(), c"/x");
    assert_eq!(nodes.parent(2), Ok(ROOT_ID));
    assert_eq!(nodes.parent(3), Ok(2));
    assert_eq!(nodes.lookup_self(3).unwrap().id, 3);
    assert_eq!(nodes.find(2, b"exactly-thirty-two-bytes-long-xx"), Some(3));
    assert_eq!(nodes.find(3, &long.as_bytes()[1..]), None);
}

#[test]
fn a_rename_moves_and_replaces() {
    let nodes = Nodes::new(Remember::No);
    let (a, b) = (lookup(&nodes, ROOT_ID, "a"), lookup(&nodes, ROOT_ID, "b"));
    let (x, y) = (lookup(&nodes, a, "x"), lookup(&nodes, b, "y"));
    rename(&nodes, (a, "x"), (b, "y")).unwrap();
    assert_eq!(path(&nodes, x).unwrap(), "/b/y");
    assert_eq!(path(&nodes, y), Err(NodeError::NoName));
    assert_eq!((nodes.find(a, b"x"), nodes.find(b, b"y")), (None, Some(x)));
    nodes.forget(a, 1);
    assert!(!nodes.contains(a));
    rename(&nodes, (ROOT_ID, "b"), (ROOT_ID, "c")).unwrap();
    assert_eq!(path(&nodes, x).unwrap(), "/c/y");
    rename(&nodes, (b, "y"), (b, "y")).unwrap();
    assert_eq!(path(&nodes, x).unwrap(), "/c/y");
    rename(&nodes, (b, "unknown"), (b, "y")).unwrap();
    assert_eq!(path(&nodes, x), Err(NodeError::NoName), "its name is another file's now");
    for id in [b, x, y] {
        nodes.forget(id, 1);
    }
    assert_eq!(nodes.counts(), Counts::default());
}

#[test]
fn an_exchange_swaps_subtrees() {
    let nodes = Nodes::new(Remember::No);
    let (a, b) = (lookup(&nodes, ROOT_ID, "a"), lookup(&nodes, ROOT_ID, "b"));
    let (x, y) = (lookup(&nodes, a, "x"), lookup(&nodes, b, "y"));
    let below = lookup(&nodes, x, "below");
    exchange(&nodes, (a, "x"), (b, "y")).unwrap();
    assert_eq!(path(&nodes, below).unwrap(), "/b/y/below");
    assert_eq!(path(&nodes, y).unwrap(), "/a/x");
    exchange(&nodes, (a, "x"), (b, "nobody-looked-it-up")).unwrap();
    assert_eq!(path(&nodes, y).unwrap(), "/b/nobody-looked-it-up");
    exchange(&nodes, (b, "y"), (b, "y")).unwrap();
    assert_eq!(path(&nodes, x).unwrap(), "/b/y");
    for id in [a, b, x, y, below] {
        nodes.forget(id, 1);
    }
    assert_eq!(nodes.counts(), Counts::default());
}

#[test]
fn a_directory_does_not_move_into_itself() {
    let nodes = Nodes::new(Remember::No);
    let a = lookup(&nodes, ROOT_ID, "a");
    let b = lookup(&nodes, a, "b");
    lookup(&nodes, b, "c");
    assert_eq!(rename(&nodes, (ROOT_ID, "a"), (b, "x")), Err(NodeError::Loop));
    assert_eq!(rename(&nodes, (b, "c"), (ROOT_ID, "a")), Err(NodeError::Loop));
    assert_eq!(path(&nodes, b).unwrap(), "/a/b", "nothing is left locked");
    rename(&nodes, (ROOT_ID, "a"), (ROOT_ID, "d")).unwrap();
}

#[test]
fn a_removed_name_leaves_its_node() {
    let nodes = Nodes::new(Remember::No);
    let dir = lookup(&nodes, ROOT_ID, "d");
    let file = lookup(&nodes, dir, "f");
    unlink(&nodes, dir, "f").unwrap();
    assert_eq!(path(&nodes, file), Err(NodeError::NoName));
    assert!(nodes.lock_if_named(Target::node(file)).unwrap().is_none());
    assert!(nodes.lock_if_named(Target::node(dir)).unwrap().is_some());
    let again = lookup(&nodes, dir, "f");
    assert_ne!(again, file);
    unlink(&nodes, ROOT_ID, "d").unwrap();
    assert_eq!(path(&nodes, again), Err(NodeError::NoName), "its directory was removed");
    for id in [file, again, dir] {
        nodes.forget(id, 1);
    }
    assert_eq!(nodes.counts(), Counts::default());
}

#[test]
fn an_open_file_is_hidden_until_its_last_release() {
    let nodes = Nodes::new(Remember::No);
    let file = lookup(&nodes, ROOT_ID, "f");
    nodes.open(file).unwrap();
    nodes.open(file).unwrap();
    let target = nodes.lock(Target::child(ROOT_ID, b"f").exclusive()).unwrap();
    assert_eq!((target.id(), target.open_count()), (Some(file), 2));
    let name = nodes.hidden_name(ROOT_ID, file);
    assert_eq!(name, b".fuse_hidden0000000200000001");
    assert!(target.hidden_as(&name));
    drop(target);
    assert_eq!(path(&nodes, file).unwrap(), "/.fuse_hidden0000000200000001");
    assert!(nodes.is_hidden(file));
    assert_eq!(nodes.hidden(), [file]);
    nodes.forget(file, 1);
    assert!(nodes.contains(file), "it is open");
    assert_eq!(nodes.release(file), Ok(false));
    // The last release removes it; it stays while its path is held for that.
    nodes.lookup_self(file).unwrap();
    assert_eq!(nodes.release(file), Ok(true));
    let last = nodes.lock(Target::node(file).exclusive()).unwrap();
    assert_eq!(text(&last), "/.fuse_hidden0000000200000001");
    last.removed();
    drop(last);
    assert!(nodes.hidden().is_empty());
    nodes.forget(file, 1);
    assert_eq!(nodes.counts(), Counts::default());
}

#[test]
fn a_hidden_name_that_is_taken_is_refused() {
    let nodes = Nodes::new(Remember::No);
    let file = lookup(&nodes, ROOT_ID, "f");
    lookup(&nodes, ROOT_ID, "taken");
    let target = nodes.lock(Target::child(ROOT_ID, b"f").exclusive()).unwrap();
    assert!(!target.hidden_as(b"taken"));
    drop(target);
    assert_eq!(path(&nodes, file).unwrap(), "/f");
    assert!(!nodes.is_hidden(file));
}

#[test]
fn forgotten_nodes_are_remembered_for_their_time() {
    let nodes = Nodes::new(Remember::Seconds(100));
    assert_eq!(nodes.prune_interval(), Some(Duration::from_secs(60)));
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let dir = lookup(&nodes, ROOT_ID, "d");
    let (a, b) = (lookup(&nodes, dir, "a"), lookup(&nodes, dir, "b"));
    nodes.forget(a, 1);
    nodes.forget(b, 1);
    nodes.forget(dir, 1);
    nodes.prune(after(98));
    assert_eq!(nodes.counts().nodes, 3);
    assert_eq!(lookup(&nodes, dir, "a"), a, "the same number");
    unlink(&nodes, dir, "b").unwrap();
    assert!(!nodes.contains(b), "what has no name is not remembered");
    nodes.prune(after(102));
    assert!(nodes.contains(a) && nodes.contains(dir), "looked up; has a child");
    nodes.forget(a, 1);
    nodes.prune(after(102));
    nodes.prune(after(204));
    assert_eq!(nodes.counts(), Counts::default());
}

#[test]
fn noforget_remembers_while_there_is_a_name() {
    let nodes = Nodes::new(Remember::Forever);
    assert_eq!(nodes.prune_interval(), None);
    let (a, b) = (lookup(&nodes, ROOT_ID, "a"), lookup(&nodes, ROOT_ID, "b"));
    nodes.forget(a, 1);
    nodes.forget(b, 1);
    nodes.prune(Instant::now() + Duration::from_secs(1 << 30));
    assert_eq!(lookup(&nodes, ROOT_ID, "a"), a);
    rename(&nodes, (ROOT_ID, "a"), (ROOT_ID, "b")).unwrap();
    assert!(!nodes.contains(b));
    unlink(&nodes, ROOT_ID, "b").unwrap();
    assert!(nodes.contains(a));
    nodes.forget(a, 1);
    assert_eq!(nodes.counts(), Counts::default());
}

#[test]
fn what_is_kept_with_a_node_goes_with_it() {
    let nodes = Nodes::new(Remember::No);
    let file = lookup(&nodes, ROOT_ID, "f");
    let now = Instant::now();
    assert!(!nodes.keep_cache(file), "never seen");
    nodes.update_stat(file, (5, 6), 7, now);
    assert!(!nodes.keep_cache(file), "the first open");
    assert!(nodes.keep_cache(file));
    nodes.update_stat(file, (5, 6), 7, now);
    assert!(nodes.keep_cache(file));
    nodes.update_stat(file, (5, 7), 7, now);
    assert!(!nodes.keep_cache(file), "changed");
    assert_eq!(nodes.stat(file).unwrap().at, now);
    let lock = PosixLock { owner: 1, pid: 1, kind: Kind::Write, start: 0, end: 9 };
    let other = PosixLock { owner: 2, pid: 2, ..lock };
    nodes.with_locks(file, |locks| locks.apply(lock)).unwrap();
    assert_eq!(nodes.with_locks(file, |locks| locks.conflict(&other)), Ok(Some(lock)));
    nodes.forget(file, 1);
    let next = lookup(&nodes, ROOT_ID, "g");
    assert!(nodes.stat(next).is_none() && nodes.with_locks(next, |l| l.is_empty()).unwrap());
}

/// Until `count` operations wait.
fn until_waiting(nodes: &Nodes, count: usize) {
    while nodes.waiters() != count {
        std::thread::yield_now();
    }
}

#[test]
fn whoever_needs_a_held_path_waits_and_nobody_else() {
    let nodes = Nodes::new(Remember::No);
    let (a, b) = (lookup(&nodes, ROOT_ID, "a"), lookup(&nodes, ROOT_ID, "b"));
    let x = lookup(&nodes, a, "x");
    let below = lookup(&nodes, x, "below");
    let renamed = AtomicBool::new(false);
    let from = Target::child(a, b"x").exclusive();
    let to = Target::child(b, b"y").exclusive();
    std::thread::scope(|scope| {
        let held = nodes.lock(Target::node(below)).unwrap();
        scope.spawn(|| {
            let pair = nodes.lock_two(from, to).unwrap();
            renamed.store(true, SeqCst);
            pair.renamed();
        });
        until_waiting(&nodes, 1);
        // A reader that comes later stays behind it, and sees what it did.
        let reader = scope.spawn(|| path(&nodes, below).unwrap());
        until_waiting(&nodes, 2);
        // Other names of the two directories, and the directories, are free.
        assert_eq!(path(&nodes, a).unwrap(), "/a");
        lookup(&nodes, a, "other");
        unlink(&nodes, a, "other").unwrap();
        rename(&nodes, (a, "p"), (b, "q")).unwrap();
        assert_eq!(nodes.lock(Target::child(a, b"x")).unwrap().as_c_str(), c"/a/x");
        assert!(!renamed.load(SeqCst));
        assert_eq!(text(&held), "/a/x/below");
        drop(held);
        assert_eq!(reader.join().unwrap(), "/b/y/below");
    });
    assert_eq!(nodes.waiters(), 0);
}

#[test]
fn who_moves_a_directory_waits_for_all_below_it() {
    let nodes = Nodes::new(Remember::No);
    let a = lookup(&nodes, ROOT_ID, "a");
    let b = lookup(&nodes, a, "b");
    let files = ["f", "g"].map(|name| lookup(&nodes, b, name));
    let aside = lookup(&nodes, ROOT_ID, "aside");
    for _ in 0..3 {
        std::thread::scope(|scope| {
            // More than there is room to write down: the rest locks everything.
            let held: Vec<_> =
                (0..300).map(|_| nodes.lock(Target::node(files[0])).unwrap()).collect();
            assert_eq!(nodes.movers(), 0);
            let mover = scope.spawn(|| {
                let path = nodes.lock(Target::child(ROOT_ID, b"a").exclusive()).unwrap();
                assert!(nodes.movers() > 0);
                // Its name may change now: nobody else has a path through it.
                drop(path);
            });
            until_waiting(&nodes, 1);
            // Who comes later waits for him, unless his path leads elsewhere.
            let later = scope.spawn(|| path(&nodes, files[1]).unwrap());
            until_waiting(&nodes, 2);
            assert_eq!(path(&nodes, aside).unwrap(), "/aside");
            assert!(held.iter().all(|path| text(path) == "/a/b/f"));
            drop(held);
            mover.join().unwrap();
            assert_eq!(later.join().unwrap(), "/a/b/g");
        });
        assert_eq!((nodes.waiters(), nodes.movers()), (0, 0));
    }
}

#[test]
fn a_directory_gets_its_first_node_while_it_is_held() {
    let nodes = Nodes::new(Remember::No);
    let a = lookup(&nodes, ROOT_ID, "a");
    std::thread::scope(|scope| {
        let held = nodes.lock(Target::child(ROOT_ID, b"a").exclusive()).unwrap();
        assert_eq!(nodes.movers(), 0);
        // As readdirplus does, which holds no path.
        let below = lookup(&nodes, a, "below");
        let deeper = lookup(&nodes, below, "deeper");
        assert_eq!(nodes.movers(), 1);
        let nodes = &nodes;
        let reader = scope.spawn(move || path(nodes, deeper).unwrap());
        until_waiting(nodes, 1);
        drop(held);
        assert_eq!(reader.join().unwrap(), "/a/below/deeper");
    });
    assert_eq!((nodes.waiters(), nodes.movers()), (0, 0));
    assert_eq!(path(&nodes, a).unwrap(), "/a");
}

#[test]
fn waiters_are_served_in_the_order_of_their_coming() {
    let nodes = Nodes::new(Remember::No);
    let file = lookup(&nodes, ROOT_ID, "f");
    let (sender, order) = mpsc::channel();
    std::thread::scope(|scope| {
        let held = nodes.lock(Target::node(file)).unwrap();
        for number in 0..20 {
            let (nodes, sender) = (&nodes, sender.clone());
            scope.spawn(move || {
                let path = nodes.lock(Target::node(file).exclusive()).unwrap();
                sender.send(number).unwrap();
                drop(path);
            });
            until_waiting(nodes, number + 1);
        }
        drop(held);
    });
    assert_eq!(order.try_iter().collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_waiter_learns_that_its_path_has_gone() {
    let nodes = Nodes::new(Remember::No);
    let dir = lookup(&nodes, ROOT_ID, "d");
    let file = lookup(&nodes, dir, "f");
    std::thread::scope(|scope| {
        let held = nodes.lock(Target::child(ROOT_ID, b"d").exclusive()).unwrap();
        let reader = scope.spawn(|| path(&nodes, file));
        until_waiting(&nodes, 1);
        held.removed();
        drop(held);
        assert_eq!(reader.join().unwrap(), Err(NodeError::NoName));
    });
    nodes.forget(file, 1);
    nodes.forget(dir, 1);
    assert_eq!(nodes.counts(), Counts::default());
}

#[test]
fn a_shared_name_keeps_a_rename_away_and_a_free_one_does_not() {
    let nodes = Nodes::new(Remember::No);
    let file = lookup(&nodes, ROOT_ID, "f");
    let free = nodes.lock(Target::child(ROOT_ID, b"f")).unwrap();
    rename(&nodes, (ROOT_ID, "f"), (ROOT_ID, "g")).unwrap();
    drop(free);
    std::thread::scope(|scope| {
        let held = nodes.lock(Target::child(ROOT_ID, b"g").shared()).unwrap();
        assert_eq!(held.id(), Some(file));
        scope.spawn(|| rename(&nodes, (ROOT_ID, "g"), (ROOT_ID, "h")).unwrap());
        until_waiting(&nodes, 1);
        drop(held);
    });
    assert_eq!(path(&nodes, file).unwrap(), "/h");
}

/// The tables grow and shrink by many times their first size.
#[test]
fn a_million_operations_leave_nothing() {
    let nodes = Nodes::new(Remember::No);
    let mut random = fastrand::Rng::with_seed(3);
    let mut known = vec![(ROOT_ID, 0)];
    for phase in 0..2 {
        for step in 0..steps(125_000) {
            let (parent, _) = known[random.usize(..known.len())];
            let id = lookup(&nodes, parent, &format!("{phase}-{step}"));
            known.push((id, 1));
            let again = random.usize(1..known.len());
            nodes.lookup_self(known[again].0).unwrap();
            known[again].1 += 1;
        }
        assert_eq!(nodes.counts().nodes, known.len() as u64 - 1);
        for &(id, _) in &known {
            assert!(nodes.contains(id));
        }
        random.shuffle(&mut known[1..]);
        for (id, lookups) in known.drain(1..) {
            nodes.forget(id, lookups - 1);
            nodes.forget(id, 1);
        }
        assert_eq!(nodes.counts(), Counts::default());
    }
}
