//! The word of a node that says what keeps it and who holds it: references in
//! its low half, the path lock in its high half. One word, so that both change in
//! one step. The [contract](super) says what path locks are for.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

const REFERENCES: u64 = (1 << 32) - 1;
const SHARE: u64 = 1 << 32;
const SHARERS: u64 = PARENT - SHARE;
/// The node has, or had, nodes below it.
const PARENT: u64 = 1 << 60;
/// Somebody in the queue wants to share it.
const SHARED_WANTED: u64 = 1 << 61;
/// Somebody in the queue wants it for himself: nobody overtakes.
const EXCLUSIVE_WANTED: u64 = 1 << 62;
const HELD: u64 = 1 << 63;

/// How a node's path lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// With others.
    Shared,
    /// Alone.
    Exclusive,
}

/// Who asks for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Somebody who has just come and does not move directories: wishes bind him,
    /// and he does not get a directory with nodes below it for himself.
    Arriving,
    /// The same, of whom the [walks](super::walks) know that he may move one.
    Moving,
    /// Somebody in the queue, whom the words' wishes do not bind.
    Queue,
}

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is held. Of an exclusive lock: whether there were nodes below it then.
    Yes { parent: bool },
    /// Somebody holds it, or wants it first.
    No,
    /// It has nodes below it: the walks must be stopped first.
    StopWalks,
}

/// What a lock was when it was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetGo {
    /// Somebody in the queue may have waited for that.
    pub waited_for: bool,
    /// There are nodes below it.
    pub parent: bool,
    /// The last reference went with it.
    pub last: bool,
}

/// The word.
#[derive(zerocopy::FromZeros)]
#[repr(transparent)]
pub struct Hold(AtomicU64);

impl Hold {
    /// Takes the lock if nobody holds it against `mode` and, outside of the
    /// queue, nobody waits for it against `mode`; with `pin` a reference too.
    pub fn try_take(&self, mode: Mode, asker: Asker, pin: bool) -> Taken {
        let (step, against) = match (mode, asker) {
            (Mode::Shared, Asker::Queue) => (SHARE, HELD),
            (Mode::Shared, _) => (SHARE, HELD | EXCLUSIVE_WANTED),
            (Mode::Exclusive, Asker::Queue) => (HELD, HELD | SHARERS),
            (Mode::Exclusive, Asker::Moving) => {
                (HELD, HELD | SHARERS | EXCLUSIVE_WANTED | SHARED_WANTED)
            }
            (Mode::Exclusive, Asker::Arriving) => {
                (HELD, HELD | SHARERS | EXCLUSIVE_WANTED | SHARED_WANTED | PARENT)
            }
        };
        let step = step + u64::from(pin);
        let mut word = self.0.load(Relaxed);
        loop {
            if word & against != 0 {
                return match word & against & PARENT != 0 {
                    true => Taken::StopWalks,
                    false => Taken::No,
                };
            }
            match self.0.compare_exchange_weak(word, word + step, Acquire, Relaxed) {
                Ok(_) => return Taken::Yes { parent: word & PARENT != 0 },
                Err(now) => word = now,
            }
        }
    }

    /// One reference more, if there is one at all, and with it, if it is wanted and
    /// somebody who has just come may have it, the lock to share: whether that is held.
    pub fn pin(&self, share: bool) -> Option<bool> {
        let mut word = self.0.load(Relaxed);
        while word & REFERENCES != 0 {
            let shared = share && word & (HELD | EXCLUSIVE_WANTED) == 0;
            let more = 1 + if shared { SHARE } else { 0 };
            match self.0.compare_exchange_weak(word, word + more, Acquire, Relaxed) {
                Ok(_) => return Some(shared),
                Err(now) => word = now,
            }
        }
        None
    }

    /// Shares the lock, which nobody can hold alone now.
    pub fn share(&self) {
        self.0.fetch_add(SHARE, Acquire);
    }

    /// Lets the lock go; with `unpin` also a reference.
    pub fn let_go(&self, mode: Mode, unpin: bool) -> LetGo {
        let (step, flags) = match mode {
            Mode::Shared => (SHARE, EXCLUSIVE_WANTED),
            Mode::Exclusive => (HELD, EXCLUSIVE_WANTED | SHARED_WANTED),
        };
        let before = self.0.fetch_sub(step + u64::from(unpin), AcqRel);
        LetGo {
            waited_for: before & flags != 0,
            parent: before & PARENT != 0,
            last: unpin && before & REFERENCES == 1,
        }
    }

    /// Says that somebody in the queue wants it.
    pub fn wish(&self, mode: Mode) {
        self.0.fetch_or(flag(mode), AcqRel);
    }

    /// Says that nobody in the queue wants it any longer.
    pub fn unwish(&self, mode: Mode) {
        self.0.fetch_and(!flag(mode), AcqRel);
    }

    /// Says that it has nodes below it; whether that is known now. It is not if
    /// somebody holds it alone who took it as one that has none.
    pub fn try_become_parent(&self) -> bool {
        let parent = |word: u64| (word & (HELD | PARENT) == 0).then_some(word | PARENT);
        self.0.load(Relaxed) & PARENT != 0 || self.0.fetch_update(AcqRel, Relaxed, parent).is_ok()
    }

    /// The same in any case; whether it is held alone by somebody who took it as
    /// one that has none.
    pub fn become_parent(&self) -> bool {
        self.0.fetch_or(PARENT, AcqRel) & (HELD | PARENT) == HELD
    }

    /// One reference more.
    pub fn refer(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// One reference less; whether it was the last.
    pub fn unrefer(&self) -> bool {
        self.0.fetch_sub(1, AcqRel) & REFERENCES == 1
    }

    /// Whether nothing refers to it.
    pub fn is_unreferred(&self) -> bool {
        self.0.load(Acquire) & REFERENCES == 0
    }

    /// The word of a new node, with one reference.
    pub fn begin(&self) {
        self.0.store(1, Release);
    }
}

fn flag(mode: Mode) -> u64 {
    match mode {
        Mode::Shared => SHARED_WANTED,
        Mode::Exclusive => EXCLUSIVE_WANTED,
    }
}
