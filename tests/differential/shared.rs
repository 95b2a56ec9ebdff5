//! Clients that work in the same directories at the same time, while these are
//! moved about.
//!
//! Every name belongs to one client, and each client moves directories of its
//! own between two that stay. Directories are used by descriptors, so where they
//! have been moved to makes no difference to what an operation does: in whatever
//! order the clients run, the outcomes and the final tree are the same. To the
//! filesystem, which works with paths, it makes all the difference.

use super::client::hash;
use fastrand::Rng;
use rustix::fs::{self, AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Result;
use std::fs::create_dir_all;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

pub const CLIENTS: usize = 6;
/// Names that a client has in each directory.
const NAMES: usize = 6;
const DATA: [usize; 4] = [0, 1, 5000, 70_000];

/// One operation. Directories are numbers, names those of the client.
#[derive(Debug)]
enum Step {
    Create {
        at: (usize, usize),
        data: usize,
    },
    Append {
        at: (usize, usize),
        len: usize,
    },
    /// Removes the file while it is open, and reads it afterwards.
    Orphan {
        at: (usize, usize),
    },
    Read {
        at: (usize, usize),
    },
    Stat {
        at: (usize, usize),
    },
    Unlink {
        at: (usize, usize),
    },
    Rename {
        from: (usize, usize),
        to: (usize, usize),
        flags: RenameFlags,
    },
    Link {
        from: (usize, usize),
        to: (usize, usize),
    },
    Symlink {
        at: (usize, usize),
    },
    Mkdir {
        at: (usize, usize),
    },
    Rmdir {
        at: (usize, usize),
    },
    /// The client's own shared directory goes to the other place.
    Move,
}

fn plan(seed: u64, client: usize, count: usize) -> Vec<Step> {
    let mut rng = Rng::with_seed(seed.wrapping_add(client as u64 * 0x9e37_79b9));
    let mut step = || {
        let mut at = || (rng.usize(0..CLIENTS), rng.usize(0..NAMES));
        let (at, to) = (at(), at());
        match rng.u32(0..100) {
            0..=19 => Step::Create { at, data: DATA[rng.usize(0..DATA.len())] },
            20..=29 => Step::Append { at, len: rng.usize(1..9000) },
            30..=37 => Step::Orphan { at },
            38..=47 => Step::Read { at },
            48..=55 => Step::Stat { at },
            56..=63 => Step::Unlink { at },
            64..=76 => Step::Rename { from: at, to, flags: RenameFlags::empty() },
            77..=79 => Step::Rename { from: at, to, flags: RenameFlags::EXCHANGE },
            80..=83 => Step::Link { from: at, to },
            84..=86 => Step::Symlink { at },
            87..=90 => Step::Mkdir { at },
            91..=93 => Step::Rmdir { at },
            _ => Step::Move,
        }
    };
    (0..count).map(|_| step()).collect()
}

/// A client's operation, for messages.
pub fn describe(client: usize, seed: u64, operation: usize) -> String {
    format!("{:?}", plan(seed, client, operation + 1)[operation])
}

fn pattern(client: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + client * 13) as u8).collect()
}

struct Client {
    number: usize,
    /// The two places that stay.
    places: [OwnedFd; 2],
    /// The shared directories.
    dirs: Vec<OwnedFd>,
    here: usize,
}

impl Client {
    /// The directory and the client's name in it.
    fn at(&self, (dir, name): (usize, usize)) -> (&OwnedFd, String) {
        (&self.dirs[dir], format!("client{}-{name}", self.number))
    }

    fn write(&self, at: (usize, usize), flags: OFlags, len: usize) -> Result<String> {
        let (dir, name) = self.at(at);
        let flags = flags | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = fs::openat(dir, name, flags, Mode::from_raw_mode(0o644))?;
        let data = pattern(self.number, len);
        let mut written = 0;
        while written < len {
            written += rustix::io::write(&file, &data[written..])?;
        }
        Ok(format!("{written} bytes"))
    }

    fn contents(file: &OwnedFd) -> Result<String> {
        let (mut data, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            match rustix::io::read(file, &mut buffer)? {
                0 => return Ok(format!("{} bytes {:x}", data.len(), hash(&data))),
                got => data.extend_from_slice(&buffer[..got]),
            }
        }
    }

    fn perform(&mut self, step: &Step) -> Result<String> {
        let done = |()| "done".to_string();
        let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match *step {
            Step::Create { at, data } => self.write(at, OFlags::CREATE | OFlags::EXCL, data),
            Step::Append { at, len } => self.write(at, OFlags::APPEND | OFlags::NOFOLLOW, len),
            Step::Orphan { at } => {
                let (dir, name) = self.at(at);
                let file = fs::openat(dir, &*name, read | OFlags::NOFOLLOW, Mode::empty())?;
                fs::unlinkat(dir, &*name, AtFlags::empty())?;
                let contents = Self::contents(&file)?;
                let gone = fs::statat(dir, &*name, AtFlags::SYMLINK_NOFOLLOW).map(drop);
                Ok(format!("{contents} {gone:?}"))
            }
            Step::Read { at } => {
                let (dir, name) = self.at(at);
                Self::contents(&fs::openat(dir, name, read, Mode::empty())?)
            }
            Step::Stat { at } => {
                let (dir, name) = self.at(at);
                // Not the number of links: a file that is still hidden has one more.
                let stat = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                let size = (stat.st_mode & libc::S_IFMT != libc::S_IFDIR).then_some(stat.st_size);
                Ok(format!("mode {:o} size {size:?}", stat.st_mode))
            }
            Step::Unlink { at } => {
                let (dir, name) = self.at(at);
                fs::unlinkat(dir, name, AtFlags::empty()).map(done)
            }
            Step::Rename { from, to, flags } => {
                let ((dir, name), (dir2, name2)) = (self.at(from), self.at(to));
                fs::renameat_with(dir, name, dir2, name2, flags).map(done)
            }
            Step::Link { from, to } => {
                let ((dir, name), (dir2, name2)) = (self.at(from), self.at(to));
                fs::linkat(dir, name, dir2, name2, AtFlags::empty()).map(done)
            }
            Step::Symlink { at } => {
                let (dir, name) = self.at(at);
                fs::symlinkat("nowhere", dir, name).map(done)
            }
            Step::Mkdir { at } => {
                let (dir, name) = self.at(at);
                fs::mkdirat(dir, name, Mode::from_raw_mode(0o755)).map(done)
            }
            Step::Rmdir { at } => {
                let (dir, name) = self.at(at);
                fs::unlinkat(dir, name, AtFlags::REMOVEDIR).map(done)
            }
            Step::Move => {
                let (from, to) = (&self.places[self.here], &self.places[1 - self.here]);
                let name = format!("shared{}", self.number);
                fs::renameat(from, &*name, to, &*name)?;
                self.here = 1 - self.here;
                Ok("moved".into())
            }
        }
    }
}

/// All clients, with `count` operations together, below `root`; the records of
/// each in order.
pub fn perform(root: &Path, seed: u64, count: usize, progress: &AtomicU64) -> Vec<Vec<String>> {
    let places = ["one", "two/deeper/still"].map(|place| root.join(place));
    for place in &places {
        create_dir_all(place).expect("mkdir");
    }
    for number in 0..CLIENTS {
        create_dir_all(places[0].join(format!("shared{number}"))).expect("mkdir");
    }
    let open = |path: &Path| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        fs::open(path, flags, Mode::empty()).expect("a directory")
    };
    let client = |number: usize| Client {
        number,
        places: places.each_ref().map(|place| open(place)),
        dirs: (0..CLIENTS).map(|dir| open(&places[0].join(format!("shared{dir}")))).collect(),
        here: 0,
    };
    // All have found their directories before one is moved.
    let clients: Vec<Client> = (0..CLIENTS).map(client).collect();
    let run = |mut client: Client| {
        let plan = plan(seed, client.number, count.div_ceil(CLIENTS));
        let record = |step| {
            progress.fetch_add(1, Ordering::Relaxed);
            client.perform(step).unwrap_or_else(|error| format!("failed: {error}"))
        };
        plan.iter().map(record).collect()
    };
    thread::scope(|scope| {
        let threads: Vec<_> =
            clients.into_iter().map(|client| scope.spawn(|| run(client))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a client does not panic")).collect()
    })
}
