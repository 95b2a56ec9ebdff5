//! Many threads on one node table. A tree in memory stands for the file system,
//! so each path that an operation gets can be compared with where it leads, at
//! any time while the operation runs. As the kernel does, the test keeps
//! changes of names in one directory apart; everything else runs as it comes.

use parking_lot::{Mutex, RwLock};
use ringfuse::high::tree::{Counts, NodeError, Nodes, Path, Remember, Target, ROOT_ID};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const ROOT: u64 = 0;
const DIRECTORY_LOCKS: usize = 64;
const THREADS: u64 = 8;
const STEPS: usize = 4000;

#[derive(Default)]
struct Tree {
    files: HashMap<(u64, String), u64>,
    places: HashMap<u64, (u64, String)>,
    made: u64,
}

impl Tree {
    fn resolve(&self, path: &str) -> Option<u64> {
        path.split('/')
            .filter(|name| !name.is_empty())
            .try_fold(ROOT, |at, name| self.files.get(&(at, name.to_owned())).copied())
    }

    fn is_linked(&self, file: u64) -> bool {
        self.above(file).last() == Some(ROOT)
    }

    fn above(&self, file: u64) -> impl Iterator<Item = u64> + '_ {
        std::iter::successors(Some(file), |at| self.places.get(at).map(|place| place.0))
    }

    fn is_empty(&self, directory: u64) -> bool {
        !self.places.values().any(|place| place.0 == directory)
    }

    fn take(&mut self, place: &(u64, String)) -> Option<u64> {
        let file = self.files.remove(place)?;
        self.places.remove(&file);
        Some(file)
    }

    fn put(&mut self, place: (u64, String), file: u64) {
        assert!(self.files.insert(place.clone(), file).is_none());
        self.places.insert(file, place);
    }
}

struct World {
    nodes: Nodes,
    tree: Mutex<Tree>,
    directories: Vec<RwLock<()>>,
    renames: Mutex<()>,
    /// Which file each inode number was given for.
    numbers: Mutex<HashMap<u64, u64>>,
    done: [AtomicUsize; 5],
}

/// A file that this thread has looked up: inode number and file.
#[derive(Clone, Copy)]
struct Known {
    id: u64,
    file: u64,
}

impl World {
    /// The path leads to `file`, now and for as long as it is held.
    fn check(&self, path: &Path, file: u64) {
        for _ in 0..3 {
            let text = path.as_c_str().to_str().unwrap();
            assert_eq!(self.tree.lock().resolve(text), Some(file), "{text}");
            std::thread::yield_now();
        }
    }

    fn check_directory(&self, path: &Path, directory: u64) {
        let text = path.sibling(b"");
        assert_eq!(self.tree.lock().resolve(text.to_str().unwrap()), Some(directory));
    }

    fn gone(&self, error: NodeError, files: &[u64]) {
        assert_eq!(error, NodeError::NoName);
        let tree = self.tree.lock();
        assert!(files.iter().any(|&file| !tree.is_linked(file)));
    }

    fn lookup(&self, at: Known, name: &str, make: bool) -> Option<Known> {
        let lock = &self.directories[at.file as usize % DIRECTORY_LOCKS];
        let (_shared, _alone) = match make {
            true => (None, Some(lock.write())),
            false => (Some(lock.read()), None),
        };
        let path = match self.nodes.lock(Target::child(at.id, name.as_bytes())) {
            Ok(path) => path,
            Err(error) => {
                self.gone(error, &[at.file]);
                return None;
            }
        };
        self.check_directory(&path, at.file);
        let place = (at.file, name.to_owned());
        let mut tree = self.tree.lock();
        let file = match (tree.files.get(&place), make) {
            (Some(&file), _) => file,
            (None, false) => return None,
            (None, true) => {
                tree.made += 1;
                let file = tree.made;
                tree.put(place, file);
                file
            }
        };
        drop(tree);
        std::thread::yield_now();
        let id = path.lookup().id;
        assert_eq!(*self.numbers.lock().entry(id).or_insert(file), file);
        Some(Known { id, file })
    }

    fn read(&self, known: Known) {
        match self.nodes.lock(Target::node(known.id)) {
            Ok(path) => {
                self.check(&path, known.file);
                self.done[0].fetch_add(1, Relaxed);
            }
            Err(error) => self.gone(error, &[known.file]),
        }
    }

    fn remove(&self, at: Known, name: &str) {
        let _alone = self.directories[at.file as usize % DIRECTORY_LOCKS].write();
        let target = Target::child(at.id, name.as_bytes()).exclusive();
        let path = match self.nodes.lock(target) {
            Ok(path) => path,
            Err(error) => return self.gone(error, &[at.file]),
        };
        self.check_directory(&path, at.file);
        let place = (at.file, name.to_owned());
        let file = self.tree.lock().files.get(&place).copied();
        let Some(file) = file else { return };
        self.check(&path, file);
        {
            let mut tree = self.tree.lock();
            if !tree.is_empty(file) {
                return;
            }
            tree.take(&place);
        }
        std::thread::yield_now();
        path.removed();
        self.done[1].fetch_add(1, Relaxed);
    }

    fn rename(&self, from: (Known, &str), to: (Known, &str), exchange: bool) {
        let _renames = (from.0.file != to.0.file).then(|| self.renames.lock());
        let mut locks = [from.0.file, to.0.file].map(|file| file as usize % DIRECTORY_LOCKS);
        locks.sort_unstable();
        let _first = self.directories[locks[0]].write();
        let _second = (locks[0] != locks[1]).then(|| self.directories[locks[1]].write());
        let places = [from, to].map(|(at, name)| (at.file, name.to_owned()));
        let files = places.each_ref().map(|place| self.tree.lock().files.get(place).copied());
        let targets =
            [from, to].map(|(at, name)| Target::child(at.id, name.as_bytes()).exclusive());
        let pair = match self.nodes.lock_two(targets[0], targets[1]) {
            Ok(pair) => pair,
            Err(NodeError::Loop) => {
                let tree = self.tree.lock();
                let inside = |file: Option<u64>, directory: u64| {
                    file.is_some_and(|file| tree.above(directory).any(|above| above == file))
                };
                assert!(inside(files[0], to.0.file) || inside(files[1], from.0.file));
                self.done[4].fetch_add(1, Relaxed);
                return;
            }
            Err(error) => return self.gone(error, &[from.0.file, to.0.file]),
        };
        self.check_directory(&pair.first, from.0.file);
        self.check_directory(&pair.second, to.0.file);
        let Some(file) = files[0] else { return };
        self.check(&pair.first, file);
        let target = files[1];
        let same = places[0] == places[1];
        {
            let mut tree = self.tree.lock();
            let inside = |file: u64, directory: u64| tree.above(directory).any(|up| up == file);
            if same
                || (exchange && target.is_none())
                || (!exchange && target.is_some_and(|target| !tree.is_empty(target)))
                || inside(file, to.0.file)
                || target.is_some_and(|target| inside(target, from.0.file))
            {
                return;
            }
            tree.take(&places[0]);
            tree.take(&places[1]);
            tree.put(places[1].clone(), file);
            if let (true, Some(target)) = (exchange, target) {
                tree.put(places[0].clone(), target);
            }
        }
        std::thread::yield_now();
        match exchange {
            true => pair.exchanged(),
            false => pair.renamed(),
        }
        self.done[if exchange { 3 } else { 2 }].fetch_add(1, Relaxed);
    }

    fn run(&self, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let names = ["a", "b", "c", "a-name-that-is-longer-than-thirty-two-bytes"];
        for _ in 0..STEPS {
            let mut way = vec![Known { id: ROOT_ID, file: ROOT }];
            for _ in 0..random.usize(0..7) {
                let name = names[random.usize(0..4)];
                match self.lookup(way[way.len() - 1], name, random.u32(0..4) == 0) {
                    Some(known) => way.push(known),
                    None => break,
                }
            }
            let mut any = || way[random.usize(0..way.len())];
            let (known, other) = (any(), any());
            let (name, name2) = (names[random.usize(0..4)], names[random.usize(0..4)]);
            match random.u32(0..10) {
                0..=4 => self.read(known),
                5 | 6 => self.remove(known, name),
                7 | 8 => self.rename((known, name), (other, name2), false),
                _ => self.rename((known, name), (other, name2), true),
            }
            for known in &way[1..] {
                self.nodes.forget(known.id, 1);
            }
        }
    }
}

fn stress(remember: Remember) -> World {
    let world = World {
        nodes: Nodes::new(remember),
        tree: Mutex::default(),
        directories: (0..DIRECTORY_LOCKS).map(|_| RwLock::new(())).collect(),
        renames: Mutex::new(()),
        numbers: Mutex::default(),
        done: Default::default(),
    };
    std::thread::scope(|scope| {
        for seed in 0..THREADS {
            let world = &world;
            scope.spawn(move || world.run(seed));
        }
    });
    let done = world.done.each_ref().map(|count| count.load(Relaxed));
    println!("read, removed, renamed, exchanged, refused: {done:?}");
    assert!(done.iter().all(|&count| count > 0), "{done:?}");
    assert_eq!((world.nodes.waiters(), world.nodes.movers()), (0, 0));
    world
}

#[test]
fn a_path_stays_valid_while_it_is_held() {
    let world = stress(Remember::No);
    assert_eq!(world.nodes.counts(), Counts::default());
}

#[test]
fn remembered_nodes_are_those_that_have_names() {
    let world = stress(Remember::Forever);
    let counts = world.nodes.counts();
    assert_eq!((counts.lookups, counts.opens), (0, 0));
    // What lost its name may be kept only by what is below it.
    let tree = world.tree.lock();
    let mut walk = vec![(ROOT_ID, ROOT)];
    while let Some((id, directory)) = walk.pop() {
        for ((_, name), &file) in tree.files.iter().filter(|(place, _)| place.0 == directory) {
            if let Some(below) = world.nodes.find(id, name.as_bytes()) {
                assert_eq!(world.numbers.lock()[&below], file);
                walk.push((below, file));
            }
        }
    }
}
