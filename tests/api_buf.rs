//! `fuse_buf_size` and `fuse_buf_copy`, and the same results as stock libfuse3.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, missing_docs)]

mod api_support;

use api_support::{ours, stock, Api, Random};
use libc::{c_uint, c_void, off_t};
use ringfuse::abi::public::*;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

/// A `struct fuse_bufvec` with elements as far apart as the library has them.
struct Vector(Vec<u64>);

impl Vector {
    fn new(stride: usize, idx: usize, off: usize, buffers: &[Buf]) -> Self {
        // A word more than needed: `Bufvec` has one buffer of the larger size.
        let mut memory = vec![0x5555_5555_5555_5555; (24 + (buffers.len() + 1) * stride) / 8 + 1];
        memory[..3].copy_from_slice(&[buffers.len() as u64, idx as u64, off as u64]);
        for (index, buffer) in buffers.iter().enumerate() {
            let words = unsafe {
                std::slice::from_raw_parts(std::ptr::from_ref(buffer).cast::<u64>(), stride / 8)
            };
            memory[3 + index * stride / 8..][..stride / 8].copy_from_slice(words);
        }
        Self(memory)
    }

    fn pointer(&mut self) -> *mut Bufvec {
        self.0.as_mut_ptr().cast()
    }

    fn position(&self) -> (u64, u64) {
        (self.0[1], self.0[2])
    }
}

fn memory(bytes: &mut [u8]) -> Buf {
    Buf::memory(bytes.as_mut_ptr().cast::<c_void>(), bytes.len())
}

fn fd(file: &File, size: usize, flags: c_uint, pos: off_t) -> Buf {
    Buf {
        size,
        flags: BUF_IS_FD | flags,
        mem: std::ptr::null_mut(),
        fd: file.as_raw_fd(),
        pos,
        mem_size: 0,
    }
}

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.rewind().unwrap();
    file
}

fn pipe(flags: libc::c_int) -> (File, File) {
    let mut ends = [0; 2];
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), flags | libc::O_CLOEXEC) }, 0);
    unsafe { (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])) }
}

fn content(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ seed).collect()
}

/// Copies with our library from the beginning of `src` to that of `dst`.
fn copy(dst: &[Buf], src: &[Buf], flags: c_uint) -> (isize, (u64, u64), (u64, u64)) {
    let api = ours();
    let (mut dst, mut src) =
        (Vector::new(api.stride, 0, 0, dst), Vector::new(api.stride, 0, 0, src));
    let result = unsafe { (api.buf_copy)(dst.pointer(), src.pointer(), flags) };
    (result, dst.position(), src.position())
}

#[test]
fn sizes_add_up() {
    let size = |buffers: &[Buf]| unsafe {
        (ours().buf_size)(Vector::new(ours().stride, 0, 0, buffers).pointer())
    };
    let of = |size| Buf::memory(std::ptr::null_mut(), size);
    assert_eq!(size(&[]), 0);
    assert_eq!(size(&[of(3), of(0), of(4)]), 7);
    assert_eq!(size(&[of(3), of(usize::MAX), of(4)]), usize::MAX);
    let mut half_way = Vector::new(ours().stride, 1, 2, &[of(3), of(4)]);
    assert_eq!(unsafe { (ours().buf_size)(half_way.pointer()) }, 7);
}

#[test]
fn a_vector_onto_itself_is_its_size() {
    let mut bytes = pattern(9, 0);
    let mut vector = Vector::new(ours().stride, 0, 2, &[memory(&mut bytes)]);
    let pointer = vector.pointer();
    assert_eq!(unsafe { (ours().buf_copy)(pointer, pointer, 0) }, 9);
    assert_eq!(vector.position(), (0, 2));
}

#[test]
fn memory_to_memory_advances_both() {
    let (mut a, mut b) = (pattern(5, 0), pattern(7, 9));
    let (mut c, mut d) = (vec![0; 8], vec![0; 3]);
    let (result, dst, src) =
        copy(&[memory(&mut c), memory(&mut d)], &[memory(&mut a), memory(&mut b)], 0);
    assert_eq!((result, dst, src), (11, (2, 3), (1, 6)));
    assert_eq!([c, d].concat(), [&a[..], &b[..6]].concat());
}

#[test]
fn copying_goes_on_from_the_positions() {
    let (mut from, mut to) = (pattern(10, 0), vec![0; 10]);
    let stride = ours().stride;
    let mut src = Vector::new(stride, 0, 4, &[memory(&mut from)]);
    let mut dst = Vector::new(stride, 0, 7, &[memory(&mut to)]);
    assert_eq!(unsafe { (ours().buf_copy)(dst.pointer(), src.pointer(), 0) }, 3);
    assert_eq!((dst.position(), src.position()), ((1, 10), (0, 7)));
    assert_eq!(to[7..], from[4..7]);
    assert_eq!(unsafe { (ours().buf_copy)(dst.pointer(), src.pointer(), 0) }, 0);
}

#[test]
fn the_target_stays_where_it_is_when_the_source_ends() {
    let (mut from, mut to) = (pattern(4, 0), vec![0; 4]);
    let (result, dst, src) = copy(&[memory(&mut to)], &[memory(&mut from)], 0);
    assert_eq!((result, dst, src), (4, (0, 0), (1, 4)));
}

#[test]
fn overlapping_memory_moves() {
    let mut bytes = pattern(100, 0);
    let expected = bytes[..90].to_vec();
    let src = Buf::memory(bytes.as_mut_ptr().cast(), 90);
    let dst = Buf::memory(bytes[10..].as_mut_ptr().cast(), 90);
    assert_eq!(copy(&[dst], &[src], 0).0, 90);
    assert_eq!(bytes[10..], expected);
}

#[test]
fn memory_to_file_and_back() {
    let (mut bytes, target) = (pattern(6000, 1), file(b"0123456789"));
    assert_eq!(copy(&[fd(&target, 6000, BUF_FD_SEEK, 4)], &[memory(&mut bytes)], 0).0, 6000);
    assert_eq!(content(&target), [b"0123", &bytes[..]].concat());

    let mut back = vec![0; 7000];
    let (result, dst, src) = copy(&[memory(&mut back)], &[fd(&target, 7000, BUF_FD_SEEK, 4)], 0);
    assert_eq!((result, dst, src), (6000, (0, 6000), (0, 6000)));
    assert_eq!(back[..6000], bytes);
    // Without FD_SEEK the descriptor's own offset counts.
    let (mut sequential, mut part) = (file(b"abcdef"), vec![0; 3]);
    sequential.seek(SeekFrom::Start(2)).unwrap();
    assert_eq!(copy(&[memory(&mut part)], &[fd(&sequential, 3, 0, 99)], 0).0, 3);
    assert_eq!((part, sequential.stream_position().unwrap()), (b"cde".to_vec(), 5));
}

#[test]
fn file_to_file_goes_through_memory() {
    let (source, bytes) = (file(&pattern(10_000, 3)), pattern(10_000, 3));
    for flags in [0, BUF_NO_SPLICE] {
        let target = file(b"");
        let (result, ..) = copy(
            &[fd(&target, 9000, BUF_FD_SEEK, 10)],
            &[fd(&source, 9000, BUF_FD_SEEK, 500)],
            flags,
        );
        assert_eq!(result, 9000);
        assert_eq!(content(&target)[10..], bytes[500..9500]);
    }
    let target = file(b"");
    let (result, dst, src) =
        copy(&[fd(&target, 10, 0, 0)], &[fd(&source, 10, 0, 0)], BUF_FORCE_SPLICE);
    assert_eq!((result, dst, src), (-libc::EINVAL as isize, (0, 0), (0, 0)));
}

#[test]
fn pipes_are_spliced() {
    let (source, bytes) = (file(&pattern(9000, 5)), pattern(9000, 5));
    let (mut read, write) = pipe(0);
    let flags = BUF_FORCE_SPLICE | BUF_SPLICE_MOVE | BUF_SPLICE_NONBLOCK;
    assert_eq!(
        copy(&[fd(&write, 8000, 0, 0)], &[fd(&source, 8000, BUF_FD_SEEK, 7)], flags).0,
        8000
    );
    let mut start = vec![0; 4000];
    read.read_exact(&mut start).unwrap();
    assert_eq!(start, bytes[7..4007]);
    let target = file(b"");
    drop(write);
    let dst = fd(&target, 9000, BUF_FD_SEEK | BUF_FD_RETRY, 0);
    assert_eq!(copy(&[dst], &[fd(&read, 9000, 0, 0)], flags).0, 4000);
    assert_eq!(content(&target), bytes[4007..8007]);
}

#[test]
fn retry_decides_about_short_reads() {
    for (retry, expected) in [(0, 10), (BUF_FD_RETRY, 20)] {
        let (read, mut write) = pipe(0);
        write.write_all(&pattern(10, 0)).unwrap();
        let mut bytes = vec![0; 30];
        let late = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            write.write_all(&pattern(10, 0)).unwrap();
        });
        let (result, dst, src) = copy(&[memory(&mut bytes)], &[fd(&read, 30, retry, 0)], 0);
        assert_eq!((result, dst, src), (expected, (0, expected as u64), (0, expected as u64)));
        late.join().unwrap();
    }
}

#[test]
fn an_error_counts_only_if_nothing_was_copied() {
    let (mut bytes, read_only) = (pattern(10, 0), File::open("/dev/null").unwrap());
    assert_eq!(
        copy(&[fd(&read_only, 10, 0, 0)], &[memory(&mut bytes)], 0).0,
        -libc::EBADF as isize
    );
    let mut start = vec![0; 4];
    let (result, dst, src) =
        copy(&[memory(&mut start), fd(&read_only, 10, 0, 0)], &[memory(&mut bytes)], 0);
    assert_eq!((result, dst, src), (4, (1, 0), (0, 4)));
}

/// What fails, by the combination of memory and descriptors, with an order to
/// splice and without; the same as stock where that is installed.
#[test]
fn sources_and_targets_that_fail() {
    let directory = File::open("/").unwrap();
    let (gone_read, gone_write) = pipe(0);
    drop(gone_read); // a target whose reader is gone (Rust ignores SIGPIPE)
    let (empty, writer) = pipe(0);
    drop(writer); // a source whose writer is gone
    let target = file(b"");
    let data = file(&pattern(100, 0));
    let closed = Buf { fd: -1, ..fd(&data, 100, 0, 0) };
    let (_reader, full) = pipe(0);
    let mut bytes = [pattern(100, 1), vec![0; 100]];
    let [source, sink] = bytes.each_mut().map(|bytes| memory(bytes));
    let cases = [
        // (to, from, without an order, with an order to splice)
        (sink, closed, -libc::EBADF, -libc::EBADF),
        (closed, source, -libc::EBADF, -libc::EBADF),
        (closed, fd(&data, 100, BUF_FD_SEEK, 0), -libc::EBADF, -libc::EBADF),
        (fd(&target, 100, 0, 0), closed, -libc::EBADF, -libc::EBADF),
        (sink, fd(&directory, 100, 0, 0), -libc::EISDIR, -libc::EISDIR),
        (fd(&target, 100, 0, 0), fd(&directory, 100, 0, 0), -libc::EISDIR, -libc::EINVAL),
        (sink, fd(&empty, 100, BUF_FD_RETRY, 0), 0, 0),
        (fd(&target, 100, 0, 0), fd(&empty, 100, BUF_FD_RETRY, 0), 0, 0),
        (fd(&gone_write, 100, 0, 0), source, -libc::EPIPE, -libc::EPIPE),
        (fd(&gone_write, 100, 0, 0), fd(&data, 100, BUF_FD_SEEK, 0), -libc::EPIPE, -libc::EPIPE),
        // A pipe has no positions.
        (sink, fd(&empty, 100, BUF_FD_SEEK, 5), -libc::ESPIPE, -libc::ESPIPE),
        (fd(&full, 100, BUF_FD_SEEK, 5), source, -libc::ESPIPE, -libc::ESPIPE),
        (fd(&target, 100, 0, 0), fd(&empty, 100, BUF_FD_SEEK, 5), -libc::ESPIPE, -libc::ESPIPE),
    ];
    let stock = stock("sources_and_targets_that_fail (stock)");
    for (index, (to, from, plain, ordered)) in cases.iter().enumerate() {
        for (flags, expected) in [(0, plain), (BUF_FORCE_SPLICE, ordered)] {
            for api in [Some(ours()), stock].into_iter().flatten() {
                let mut dst = Vector::new(api.stride, 0, 0, &[*to]);
                let mut src = Vector::new(api.stride, 0, 0, &[*from]);
                let result = unsafe { (api.buf_copy)(dst.pointer(), src.pointer(), flags) };
                assert_eq!(result, *expected as isize, "case {index}, flags {flags}");
                assert_eq!((dst.position(), src.position()), ((0, 0), (0, 0)), "case {index}");
            }
        }
    }
}

/// What a buffer of a random vector is made of.
#[derive(Clone, Debug)]
enum Kind {
    Memory,
    /// A file of `len` bytes with its offset at `at`.
    File {
        len: usize,
        at: u64,
        flags: c_uint,
        pos: off_t,
    },
    /// The end of a pipe that does not block and holds `len` bytes.
    Pipe {
        len: usize,
        flags: c_uint,
    },
    /// A descriptor that is not open.
    Closed,
}

#[derive(Clone, Debug)]
struct Plan {
    idx: usize,
    off: usize,
    buffers: Vec<(Kind, usize)>,
}

fn plan(random: &mut Random, source: bool) -> Plan {
    let size = |random: &mut Random| match random.below(6) {
        0 => 0,
        1 => random.below(10),
        2 => 4096,
        3 => random.below(5000),
        _ => random.below(20_000),
    };
    let retry = |random: &mut Random| if random.below(2) == 0 { BUF_FD_RETRY } else { 0 };
    let buffers: Vec<_> = (0..random.below(5))
        .map(|_| {
            let kind = match random.below(7) {
                0 => Kind::File {
                    len: size(random),
                    at: random.below(3000) as u64,
                    flags: retry(random),
                    pos: 77,
                },
                1 | 2 => Kind::File {
                    len: size(random),
                    at: 3,
                    flags: BUF_FD_SEEK | retry(random),
                    pos: if random.below(20) == 0 { -5 } else { random.below(9000) as off_t },
                },
                3 | 4 => {
                    Kind::Pipe { len: if source { size(random) } else { 0 }, flags: retry(random) }
                }
                5 if random.below(6) == 0 => Kind::Closed,
                _ => Kind::Memory,
            };
            (kind, size(random))
        })
        .collect();
    let off = match buffers.first() {
        Some((_, size)) if random.below(3) == 0 => random.below(size + 1),
        _ => 0,
    };
    Plan { idx: 0, off, buffers }
}

/// A plan come true, to be looked at afterwards.
struct Real {
    vector: Vector,
    memories: Vec<Vec<u8>>,
    files: Vec<File>,
    pipes: Vec<(File, File)>,
}

fn build(plan: &Plan, stride: usize, source: bool) -> Real {
    let (mut memories, mut files, mut pipes) = (Vec::new(), Vec::new(), Vec::new());
    let mut buffers = Vec::new();
    for (index, (kind, size)) in plan.buffers.iter().enumerate() {
        let seed = index as u8 + if source { 1 } else { 101 };
        buffers.push(match *kind {
            Kind::Memory => {
                let mut bytes = pattern(*size, seed);
                let buffer = memory(&mut bytes);
                memories.push(bytes);
                buffer
            }
            Kind::File { len, at, flags, pos } => {
                let mut file = file(&pattern(len, seed));
                file.seek(SeekFrom::Start(at)).unwrap();
                let buffer = fd(&file, *size, flags, pos);
                files.push(file);
                buffer
            }
            Kind::Pipe { len, flags } => {
                let (read, mut write) = pipe(libc::O_NONBLOCK);
                unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, 8192) };
                let _ = write.write(&pattern(len, seed));
                let buffer = fd(if source { &read } else { &write }, *size, flags, 0);
                pipes.push((read, write));
                buffer
            }
            Kind::Closed => Buf { fd: -1, ..fd(&File::open("/dev/null").unwrap(), *size, 0, 0) },
        });
    }
    Real { vector: Vector::new(stride, plan.idx, plan.off, &buffers), memories, files, pipes }
}

type Observed = ((u64, u64), Vec<Vec<u8>>);

fn look(real: Real) -> Observed {
    let mut contents = real.memories;
    for mut file in real.files {
        contents.push(file.stream_position().unwrap().to_le_bytes().to_vec());
        contents.push(content(&file));
    }
    for (mut read, write) in real.pipes {
        drop(write);
        let mut rest = Vec::new();
        read.read_to_end(&mut rest).unwrap();
        contents.push(rest);
    }
    (real.vector.position(), contents)
}

fn play(api: Api, dst: &Plan, src: &Plan, flags: c_uint) -> (isize, usize, Observed, Observed) {
    let (mut dst, mut src) = (build(dst, api.stride, false), build(src, api.stride, true));
    let result = unsafe { (api.buf_copy)(dst.vector.pointer(), src.vector.pointer(), flags) };
    let size = unsafe { (api.buf_size)(src.vector.pointer()) };
    (result, size, look(dst), look(src))
}

#[test]
fn same_results_as_stock() {
    let Some(stock) = stock("same_results_as_stock (buffers)") else { return };
    let mut random = Random::from_environment();
    let (mut copied, mut failed) = (0, 0);
    for round in 0..2000 {
        let (dst, src) = (plan(&mut random, false), plan(&mut random, true));
        let flags = *random.pick(&[
            0,
            0,
            BUF_NO_SPLICE,
            BUF_FORCE_SPLICE,
            BUF_SPLICE_MOVE,
            BUF_SPLICE_NONBLOCK,
            BUF_SPLICE_MOVE | BUF_SPLICE_NONBLOCK,
        ]);
        let (mine, theirs) = (play(ours(), &dst, &src, flags), play(stock, &dst, &src, flags));
        if mine != theirs {
            let short = |o: &Observed| (o.0, o.1.iter().map(|c| c.len()).collect::<Vec<_>>());
            panic!(
                "round {round}: flags {flags}, from {src:?} to {dst:?}:\nours {:?} {:?} {:?}\nstock {:?} {:?} {:?}",
                mine.0, short(&mine.2), short(&mine.3), theirs.0, short(&theirs.2), short(&theirs.3)
            );
        }
        copied += i32::from(mine.0 > 0);
        failed += i32::from(mine.0 < 0);
    }
    assert!(copied > 500 && failed > 50, "{copied} copied, {failed} failed");
}
