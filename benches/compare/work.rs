//! What the clients do: the rows of the table.
//!
//! The mounts do not cache names or attributes, so that every call reaches the
//! server. Each client has files of its own.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Result, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// One operation; gives how many units (see [`Row::unit`]) it did.
pub type Step = Box<dyn FnMut() -> Result<u64>>;

#[derive(Clone, Copy, PartialEq)]
pub enum Unit {
    Calls,
    Bytes,
}

pub struct Row {
    pub name: &'static str,
    pub unit: Unit,
    /// Options of the mounts.
    pub options: &'static str,
    /// Makes the step of one client on one mount.
    pub start: fn(mount: &Path, client: usize) -> Result<Step>,
}

const DIRECT: &str = "cache=auto,timeout=0";
/// Without a timeout the kernel asks for the attributes with every read.
const DATA: &str = "cache=auto,timeout=60";
const WRITEBACK: &str = "cache=auto,timeout=0,writeback";

pub const ROWS: &[Row] = &[
    Row { name: "stat", unit: Unit::Calls, options: DIRECT, start: stat },
    Row { name: "open and close", unit: Unit::Calls, options: DIRECT, start: open_close },
    Row { name: "create and unlink", unit: Unit::Calls, options: DIRECT, start: create_unlink },
    Row { name: "readdir, 200 names", unit: Unit::Calls, options: DIRECT, start: list },
    Row {
        name: "4 KiB reads, O_DIRECT",
        unit: Unit::Calls,
        options: DATA,
        start: |m, c| direct_read(m, c, 4096),
    },
    Row {
        name: "4 KiB writes, O_DIRECT",
        unit: Unit::Calls,
        options: DATA,
        start: |m, c| direct_write(m, c, 4096),
    },
    Row {
        name: "1 MiB reads, O_DIRECT",
        unit: Unit::Bytes,
        options: DATA,
        start: |m, c| direct_read(m, c, MIB),
    },
    Row {
        name: "1 MiB writes, O_DIRECT",
        unit: Unit::Bytes,
        options: DATA,
        start: |m, c| direct_write(m, c, MIB),
    },
    Row { name: "sequential reads", unit: Unit::Bytes, options: DATA, start: sequential_read },
    Row {
        name: "sequential writes",
        unit: Unit::Bytes,
        options: DATA,
        start: |m, c| sequential_write(m, c, false),
    },
    Row {
        name: "sequential writes, write-back",
        unit: Unit::Bytes,
        options: WRITEBACK,
        start: |m, c| sequential_write(m, c, true),
    },
];

const MIB: usize = 1 << 20;
const FILE: usize = 16 * MIB;
const CHUNK: usize = 128 << 10;
const NAMES: usize = 200;

fn data(client: usize) -> String {
    format!("data{client}")
}

fn names(client: usize) -> String {
    format!("names{client}")
}

/// Makes the files of all clients in the directory that the servers show.
pub fn prepare(backing: &Path, clients: usize) -> Result<()> {
    for client in 0..clients {
        fs::create_dir_all(backing.join(names(client)))?;
        fs::write(backing.join(data(client)), vec![client as u8 + 1; FILE])?;
        for name in 0..NAMES {
            File::create(backing.join(names(client)).join(format!("name{name}")))?;
        }
    }
    Ok(())
}

fn stat(mount: &Path, client: usize) -> Result<Step> {
    let path = mount.join(data(client));
    Ok(Box::new(move || fs::metadata(&path).map(|_| 1)))
}

fn open_close(mount: &Path, client: usize) -> Result<Step> {
    let path = mount.join(data(client));
    Ok(Box::new(move || File::open(&path).map(|_| 1)))
}

fn create_unlink(mount: &Path, client: usize) -> Result<Step> {
    let path = mount.join(names(client)).join("new");
    Ok(Box::new(move || {
        File::create_new(&path)?;
        fs::remove_file(&path).map(|()| 1)
    }))
}

fn list(mount: &Path, client: usize) -> Result<Step> {
    let path = mount.join(names(client));
    Ok(Box::new(move || match fs::read_dir(&path)?.count() {
        NAMES => Ok(1),
        other => Err(std::io::Error::other(format!("{other} names instead of {NAMES}"))),
    }))
}

/// A buffer as programs use it with O_DIRECT: aligned to a page.
struct Aligned {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    fn new(len: usize) -> Self {
        let memory = vec![7; len + 4096];
        let start = memory.as_ptr().align_offset(4096);
        Self { memory, start, len }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

/// Places in the file in an order that readahead could not guess.
fn places(client: usize, len: usize) -> impl FnMut() -> u64 {
    let mut rng = fastrand::Rng::with_seed(client as u64);
    move || (rng.usize(0..FILE / len) * len) as u64
}

fn direct(mount: &Path, client: usize) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(mount.join(data(client)))
}

fn direct_read(mount: &Path, client: usize, len: usize) -> Result<Step> {
    let (file, mut place, mut buffer) =
        (direct(mount, client)?, places(client, len), Aligned::new(len));
    Ok(Box::new(move || file.read_exact_at(buffer.bytes(), place()).map(|()| done(len))))
}

fn direct_write(mount: &Path, client: usize, len: usize) -> Result<Step> {
    let (file, mut place, mut buffer) =
        (direct(mount, client)?, places(client, len), Aligned::new(len));
    Ok(Box::new(move || file.write_all_at(buffer.bytes(), place()).map(|()| done(len))))
}

/// Small transfers count as calls, large ones as bytes.
fn done(len: usize) -> u64 {
    if len < MIB {
        1
    } else {
        len as u64
    }
}

fn sequential_read(mount: &Path, client: usize) -> Result<Step> {
    let path = mount.join(data(client));
    let (mut file, mut buffer) = (File::open(&path)?, vec![0; CHUNK]);
    Ok(Box::new(move || match file.read(&mut buffer)? {
        0 => {
            file = File::open(&path)?; // which drops what the kernel has cached
            Ok(0)
        }
        got => Ok(got as u64),
    }))
}

fn sequential_write(mount: &Path, client: usize, sync: bool) -> Result<Step> {
    let path = mount.join(data(client));
    let open = move || OpenOptions::new().write(true).open(&path);
    let (mut file, mut written, chunk) = (open()?, 0, vec![9; CHUNK]);
    Ok(Box::new(move || {
        if written == FILE {
            if sync {
                file.sync_data()?; // only now has the server seen everything
            }
            file = open()?;
            written = 0;
        }
        file.write_all(&chunk)?;
        written += CHUNK;
        Ok(CHUNK as u64)
    }))
}
