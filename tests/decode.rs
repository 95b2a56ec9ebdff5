//! The wire decoder against bytes that nobody promised anything about: cut
//! short, too long, random, and valid ones with single bytes changed. Every
//! message ends right before an inaccessible page, so reading one byte too many
//! ends the test.

#![allow(unsafe_code)] // guard pages

use ringfuse::abi::kernel::Opcode;
use ringfuse::session::decode::{decode, fixed_len, Dialect, Operation};

/// Memory whose end is followed by a page that cannot be read.
struct Guarded {
    start: *mut u8,
    len: usize,
}

impl Guarded {
    fn new(len: usize) -> Self {
        let page = 4096;
        let len = usize::next_multiple_of(len, page);
        // SAFETY: a new private map; its last page is then made inaccessible.
        let start = unsafe {
            let map = libc::mmap(
                std::ptr::null_mut(),
                len + page,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(map, libc::MAP_FAILED);
            assert_eq!(libc::mprotect(map.cast::<u8>().add(len).cast(), page, libc::PROT_NONE), 0);
            map.cast()
        };
        Self { start, len }
    }

    /// `bytes`, put right before the inaccessible page.
    fn put(&mut self, bytes: &[u8]) -> &[u8] {
        assert!(bytes.len() <= self.len);
        // SAFETY: within the accessible part.
        unsafe {
            let at = self.start.add(self.len - bytes.len());
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len());
            std::slice::from_raw_parts(at, bytes.len())
        }
    }
}

/// xorshift64*: enough to spread bytes, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Touches every byte that an operation borrows.
fn touch(operation: &Operation<'_>) -> usize {
    let data = match operation {
        Operation::BatchForget { entries } => entries,
        Operation::Write { data, .. }
        | Operation::Ioctl { data, .. }
        | Operation::NotifyReply { data, .. } => data,
        Operation::Setxattr { value, .. } => value,
        _ => &[][..],
    };
    let names = format!("{operation:?}");
    data.iter().map(|&byte| usize::from(byte)).sum::<usize>() + names.len()
}

/// Decodes a body as a worker of `/dev/fuse` would cut it; whether it was taken.
fn try_body(
    fixed_memory: &mut Guarded,
    rest_memory: &mut Guarded,
    opcode: Opcode,
    dialect: Dialect,
    body: &[u8],
) -> bool {
    let cut = fixed_len(opcode, dialect);
    if cut > body.len() {
        return false;
    }
    let (fixed, rest) = body.split_at(cut);
    match decode(opcode, fixed_memory.put(fixed), rest_memory.put(rest)) {
        Ok(Some(operation)) => {
            touch(&operation);
            true
        }
        Ok(None) => true,
        Err(_) => false,
    }
}

/// A body that is right for `opcode`.
fn valid(opcode: Opcode, dialect: Dialect) -> Vec<u8> {
    let mut body = vec![0; fixed_len(opcode, dialect)];
    match opcode {
        Opcode::Symlink | Opcode::Rename | Opcode::Rename2 => body.extend(b"one\0two\0"),
        Opcode::Setxattr => {
            body[0] = 5;
            body.extend(b"user.name\0value");
        }
        Opcode::Write => {
            body[16] = 100;
            body.extend([7; 100]);
        }
        Opcode::Ioctl => {
            body[24] = 8;
            body.extend([7; 8]);
        }
        Opcode::BatchForget => {
            body[0] = 3;
            body.extend([1; 48]);
        }
        Opcode::NotifyReply => {
            body.extend([0; 40]);
            body[16] = 10;
            body.extend([7; 10]);
        }
        Opcode::Init => body.extend([0; 64]),
        Opcode::Lookup
        | Opcode::Unlink
        | Opcode::Rmdir
        | Opcode::Removexattr
        | Opcode::Mknod
        | Opcode::Mkdir
        | Opcode::Link
        | Opcode::Create
        | Opcode::Getxattr => body.extend(b"name\0"),
        _ => {}
    }
    body
}

const DIALECTS: [Dialect; 2] = [Dialect { setxattr_ext: false }, Dialect { setxattr_ext: true }];

#[test]
fn whole_messages_are_taken_and_shorter_ones_refused() {
    let (mut fixed, mut rest) = (Guarded::new(4096), Guarded::new(4096));
    for &opcode in Opcode::ALL {
        for dialect in DIALECTS {
            let body = valid(opcode, dialect);
            assert!(try_body(&mut fixed, &mut rest, opcode, dialect, &body), "{opcode:?}: valid");
            for len in 0..body.len() {
                let taken = try_body(&mut fixed, &mut rest, opcode, dialect, &body[..len]);
                // INIT of a kernel of another version has only 8 or 16 bytes.
                let may = opcode == Opcode::Init && len >= 8;
                let unused = opcode == Opcode::Syncfs;
                assert!(
                    !taken || may || unused,
                    "{opcode:?}: {len} of {} bytes were taken",
                    body.len()
                );
            }
        }
    }
}

#[test]
fn longer_messages_are_read_no_further_than_they_say() {
    let (mut fixed, mut rest) = (Guarded::new(4096), Guarded::new(8192));
    for &opcode in Opcode::ALL {
        for dialect in DIALECTS {
            let mut body = valid(opcode, dialect);
            body.extend([0xff; 4000]);
            assert!(try_body(&mut fixed, &mut rest, opcode, dialect, &body), "{opcode:?}: longer");
        }
    }
}

#[test]
fn random_messages_do_no_harm() {
    let seed =
        std::env::var("RINGFUSE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0x5eed);
    println!("seed {seed}");
    let mut random = Random(seed);
    let (mut fixed, mut rest) = (Guarded::new(4096), Guarded::new(4096));
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..200_000 {
        let opcode = Opcode::ALL[random.below(Opcode::ALL.len())];
        let dialect = DIALECTS[random.below(2)];
        let body: Vec<u8> = if random.below(2) == 0 {
            (0..random.below(300)).map(|_| random.next() as u8).collect()
        } else {
            let mut body = valid(opcode, dialect);
            for _ in 0..=random.below(3) {
                if !body.is_empty() {
                    let at = random.below(body.len());
                    body[at] = random.next() as u8;
                }
            }
            body
        };
        if try_body(&mut fixed, &mut rest, opcode, dialect, &body) {
            taken += 1;
        } else {
            refused += 1;
        }
    }
    assert!(
        taken > 1000 && refused > 1000,
        "{taken} taken, {refused} refused: the generator is one-sided"
    );
}

#[test]
fn a_length_that_lies_is_refused() {
    let (mut fixed, mut rest) = (Guarded::new(4096), Guarded::new(4096));
    let plain = DIALECTS[0];
    for (opcode, at) in [
        (Opcode::Write, 16),
        (Opcode::Ioctl, 24),
        (Opcode::BatchForget, 0),
        (Opcode::Setxattr, 0),
        (Opcode::NotifyReply, 16),
    ] {
        for size in [u32::MAX, 1 << 31, 4096] {
            let mut body = valid(opcode, plain);
            body[at..at + 4].copy_from_slice(&size.to_ne_bytes());
            assert!(!try_body(&mut fixed, &mut rest, opcode, plain, &body), "{opcode:?}: {size}");
        }
    }
}
