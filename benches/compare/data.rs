//! Reads and writes: past the page cache, through it, mapped.
#![allow(unsafe_code)] // a mapping, and an io_uring that is handed buffers

use super::work::Step;
use io_uring::{opcode, types, IoUring};
use rustix::mm::{mmap, munmap, MapFlags, ProtFlags};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Result, Write};
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

pub const MIB: usize = 1 << 20;
const FILE: usize = 16 * MIB;
const CHUNK: usize = 128 << 10;
const PAGE: usize = 4096;

pub fn name(client: usize) -> String {
    format!("data{client}")
}

pub fn prepare(backing: &Path, clients: usize) -> Result<()> {
    (0..clients)
        .try_for_each(|client| fs::write(backing.join(name(client)), vec![client as u8 + 1; FILE]))
}

/// A buffer as programs use it with O_DIRECT: aligned to a page.
struct Aligned {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    fn new(len: usize) -> Self {
        let memory = vec![7; len + PAGE];
        let start = memory.as_ptr().align_offset(PAGE);
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
        .open(mount.join(name(client)))
}

pub fn direct_read(mount: &Path, client: usize, len: usize) -> Result<Step> {
    let (file, mut place, mut buffer) =
        (direct(mount, client)?, places(client, len), Aligned::new(len));
    Ok(Box::new(move || file.read_exact_at(buffer.bytes(), place()).map(|()| done(len))))
}

pub fn direct_write(mount: &Path, client: usize, len: usize) -> Result<Step> {
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

/// One step is this many reads, of which [`DEPTH`] are under way until the last
/// ones: a round ends with none.
const READS: usize = 256;
const DEPTH: usize = 32;

/// An asynchronous reader.
struct Deep {
    ring: IoUring,
    file: File,
    /// A page for each read that is under way; the kernel writes to it, so it is
    /// freed only when none is.
    pages: ManuallyDrop<Aligned>,
    under_way: usize,
}

impl Deep {
    fn submit(&mut self, slot: usize, place: u64) {
        let page = self.pages.bytes()[slot * PAGE..].as_mut_ptr();
        let read = opcode::Read::new(types::Fd(self.file.as_raw_fd()), page, PAGE as u32)
            .offset(place)
            .build()
            .user_data(slot as u64);
        // SAFETY: file and page live until the read has ended, see `pages`; only one
        // read at a time has the slot.
        unsafe { self.ring.submission().push(&read) }.expect("as many entries as reads");
        self.under_way += 1;
    }

    fn run(&mut self, mut place: impl FnMut() -> u64) -> Result<u64> {
        let mut outcome = Ok(READS as u64);
        let mut left = READS - DEPTH;
        (0..DEPTH).for_each(|slot| self.submit(slot, place()));
        while self.under_way > 0 {
            match self.ring.submit_and_wait(1) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let ended: Vec<_> = self.ring.completion().collect();
            for end in ended {
                self.under_way -= 1;
                match end.result() {
                    got if got == PAGE as i32 => {}
                    got if got < 0 => outcome = Err(io::Error::from_raw_os_error(-got)),
                    got => outcome = Err(io::Error::other(format!("a read of {got} bytes"))),
                }
                if left > 0 && outcome.is_ok() {
                    left -= 1;
                    self.submit(end.user_data() as usize, place());
                }
            }
        }
        outcome
    }
}

impl Drop for Deep {
    fn drop(&mut self) {
        if self.under_way == 0 {
            // SAFETY: dropped only here, and not used after.
            unsafe { ManuallyDrop::drop(&mut self.pages) }
        }
    }
}

pub fn deep_read(mount: &Path, client: usize) -> Result<Step> {
    let mut deep = Deep {
        ring: IoUring::new(DEPTH as u32)?,
        file: direct(mount, client)?,
        pages: ManuallyDrop::new(Aligned::new(DEPTH * PAGE)),
        under_way: 0,
    };
    let mut place = places(client, PAGE);
    Ok(Box::new(move || deep.run(&mut place)))
}

pub fn sequential_read(mount: &Path, client: usize) -> Result<Step> {
    let path = mount.join(name(client));
    let (mut file, mut buffer) = (File::open(&path)?, vec![0; CHUNK]);
    Ok(Box::new(move || match file.read(&mut buffer)? {
        0 => {
            file = File::open(&path)?; // which drops what the kernel has cached
            Ok(0)
        }
        got => Ok(got as u64),
    }))
}

pub fn sequential_write(mount: &Path, client: usize, sync: bool) -> Result<Step> {
    let path = mount.join(name(client));
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

/// A whole file in memory, read only. When the server goes while it is read, SIGBUS
/// ends this program, and scripts/bench.sh cleans up.
struct Mapping {
    start: *mut u8,
}

impl Mapping {
    /// Opening drops what the kernel has cached of the file.
    fn new(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let start = unsafe {
            mmap(std::ptr::null_mut(), FILE, ProtFlags::READ, MapFlags::SHARED, &file, 0)?
        };
        Ok(Self { start: start.cast() })
    }

    fn byte(&self, place: usize) -> u8 {
        assert!(place < FILE);
        // SAFETY: inside the mapping; volatile, as the file may change under it.
        unsafe { self.start.add(place).read_volatile() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody has references into it.
        let _ = unsafe { munmap(self.start.cast(), FILE) };
    }
}

pub fn mapped_read(mount: &Path, client: usize) -> Result<Step> {
    let path = mount.join(name(client));
    let (mut mapping, mut place) = (Some(Mapping::new(&path)?), 0);
    Ok(Box::new(move || {
        if place == FILE {
            mapping = None; // what is mapped would not be dropped
            place = 0;
        }
        let mapping = match &mapping {
            Some(mapping) => mapping,
            None => mapping.insert(Mapping::new(&path)?),
        };
        for page in (place..place + CHUNK).step_by(PAGE) {
            if mapping.byte(page) == 0 {
                return Err(io::Error::other("a mapped page has no data"));
            }
        }
        place += CHUNK;
        Ok(CHUNK as u64)
    }))
}
