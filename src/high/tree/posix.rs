//! The POSIX locks of one file as the library has recorded them, so that it can
//! answer F_GETLK and knows what an owner still holds.

/// What a lock does, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// F_RDLCK.
    Read,
    /// F_WRLCK.
    Write,
    /// F_UNLCK.
    Unlock,
}

/// A locked range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PosixLock {
    /// Whose it is (the kernel's lock_owner).
    pub owner: u64,
    /// The process that took it.
    pub pid: i32,
    /// What it does.
    pub kind: Kind,
    /// The first byte.
    pub start: u64,
    /// The last byte; `i64::MAX as u64` to the end of the file, however long.
    pub end: u64,
}

impl PosixLock {
    fn overlaps(&self, other: &PosixLock) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    fn touches(&self, other: &PosixLock) -> bool {
        self.start <= other.end.saturating_add(1) && other.start <= self.end.saturating_add(1)
    }
}

/// All locks of a file. Those of one owner never overlap, and two of a kind
/// never touch.
#[derive(Default)]
pub struct LockList(Vec<PosixLock>);

impl LockList {
    /// A lock of another owner that `lock` would have to wait for.
    pub fn conflict(&self, lock: &PosixLock) -> Option<PosixLock> {
        self.0.iter().copied().find(|held| {
            held.owner != lock.owner
                && held.overlaps(lock)
                && (held.kind == Kind::Write || lock.kind == Kind::Write)
        })
    }

    /// Records that `lock` was granted: it replaces what its owner held in the
    /// range ([`Kind::Unlock`] with nothing).
    pub fn apply(&mut self, mut lock: PosixLock) {
        let mut kept = Vec::with_capacity(self.0.len() + 2);
        for held in self.0.drain(..) {
            if held.owner != lock.owner {
                kept.push(held);
            } else if held.kind == lock.kind && held.touches(&lock) {
                lock.start = lock.start.min(held.start);
                lock.end = lock.end.max(held.end);
            } else if held.overlaps(&lock) {
                if held.start < lock.start {
                    kept.push(PosixLock { end: lock.start - 1, ..held });
                }
                if held.end > lock.end {
                    kept.push(PosixLock { start: lock.end + 1, ..held });
                }
            } else {
                kept.push(held);
            }
        }
        if lock.kind != Kind::Unlock {
            kept.push(lock);
        }
        self.0 = kept;
    }

    /// Whether nobody holds any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The locks, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &PosixLock> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(owner: u64, kind: Kind, start: u64, end: u64) -> PosixLock {
        PosixLock { owner, pid: owner as i32, kind, start, end }
    }

    /// Against one byte per entry: the same kinds everywhere.
    #[test]
    fn ranges_split_and_merge_as_bytes_do() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut list, mut bytes) = (LockList::default(), [[Kind::Unlock; 40]; 2]);
        for _ in 0..5000 {
            let owner = random.u64(0..2);
            let (a, b) = (random.u64(0..40), random.u64(0..40));
            let kind = [Kind::Read, Kind::Write, Kind::Unlock][random.usize(0..3)];
            let new = lock(owner, kind, a.min(b), a.max(b));
            let other = &bytes[1 - owner as usize][new.start as usize..=new.end as usize];
            let conflict = other.iter().any(|&held| match kind {
                Kind::Read => held == Kind::Write,
                Kind::Write => held != Kind::Unlock,
                Kind::Unlock => held == Kind::Write,
            });
            assert_eq!(list.conflict(&new).is_some(), conflict);
            list.apply(new);
            bytes[owner as usize][new.start as usize..=new.end as usize].fill(kind);
            for (owner, kinds) in bytes.iter().enumerate() {
                let runs = (0..40)
                    .filter(|&i| kinds[i] != Kind::Unlock && (i == 0 || kinds[i - 1] != kinds[i]))
                    .count();
                assert_eq!(list.iter().filter(|held| held.owner == owner as u64).count(), runs);
            }
            for held in list.iter() {
                let covered = &bytes[held.owner as usize][held.start as usize..=held.end as usize];
                assert!(covered.iter().all(|&kind| kind == held.kind));
            }
        }
    }

    #[test]
    fn the_last_byte_does_not_overflow() {
        let mut list = LockList::default();
        list.apply(lock(1, Kind::Write, 10, u64::MAX));
        list.apply(lock(1, Kind::Write, 0, 9));
        assert_eq!(list.iter().count(), 1);
        list.apply(lock(1, Kind::Unlock, 0, u64::MAX));
        assert!(list.is_empty());
    }
}
