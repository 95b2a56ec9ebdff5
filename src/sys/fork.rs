//! Descriptors that forked children must not keep.
//!
//! A child that goes on without exec(3) has all descriptors of the process. Those that
//! only the library knows of, nobody there could close; and as long as they are open the
//! mount of a dead server stays alive, with clients that wait for ever. So a child is
//! born without them. A `fork` waits while one is made or closed.
//!
//! What does not go through `fork` (`vfork`, `posix_spawn`, `system`, `popen`) executes
//! a program, which closes them anyhow.

use crate::errno::Result;
use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Once;

/// What becomes of a descriptor in a child.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Closed,
    /// The program knows the number, and may use it: nothing comes of that. It is this
    /// device, unless the program has closed it.
    Replaced(libc::dev_t),
}

/// The descriptors, under a lock that is taken before a fork and given back on both
/// sides of it. It spins: a lock with a queue could not be given back in the child,
/// where those who queue are not.
struct Listed {
    locked: AtomicBool,
    descriptors: UnsafeCell<Vec<(RawFd, Fate)>>,
}

// SAFETY: what is in it is used under the lock only.
unsafe impl Sync for Listed {}

static LISTED: Listed =
    Listed { locked: AtomicBool::new(false), descriptors: UnsafeCell::new(Vec::new()) };

impl Listed {
    fn lock(&self) {
        while self.locked.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
    }

    fn unlock(&self) {
        self.locked.store(false, Ordering::Release);
    }
}

/// Runs `f` on the descriptors; no fork comes between.
fn with_listed<T>(f: impl FnOnce(&mut Vec<(RawFd, Fate)>) -> T) -> T {
    static ONCE: Once = Once::new();
    // SAFETY: functions without arguments, which are there as long as the library.
    ONCE.call_once(|| unsafe {
        libc::pthread_atfork(Some(before), Some(after_in_parent), Some(after_in_child));
    });
    LISTED.lock();
    // SAFETY: locked, and `f` does not come back here.
    let result = f(unsafe { &mut *LISTED.descriptors.get() });
    LISTED.unlock();
    result
}

/// Runs `f`, during which the process does not fork.
pub fn undisturbed<T>(f: impl FnOnce() -> T) -> T {
    with_listed(|_| f())
}

/// How many forks lie between this process and the one that loaded the library.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Differs between a process and its forked children.
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Owns a descriptor that children are born without.
pub struct Unshared<T: AsRawFd> {
    owner: ManuallyDrop<T>,
    fd: RawFd,
    generation: u32,
}

impl<T: AsRawFd> Unshared<T> {
    /// What `make` opens.
    pub fn new(make: impl FnOnce() -> Result<T>) -> Result<Self> {
        with_listed(|listed| {
            let owner = make()?;
            let fd = owner.as_raw_fd();
            listed.push((fd, Fate::Closed));
            Ok(Self { owner: ManuallyDrop::new(owner), fd, generation: generation() })
        })
    }
}

impl<T: AsRawFd> Deref for Unshared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.owner
    }
}

impl<T: AsRawFd> DerefMut for Unshared<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.owner
    }
}

impl<T: AsRawFd> Drop for Unshared<T> {
    fn drop(&mut self) {
        if self.generation != generation() {
            // Closed at the child's birth: number and maps may be something else now.
            return;
        }
        with_listed(|listed| {
            listed.retain(|&entry| entry != (self.fd, Fate::Closed));
            // SAFETY: dropped here only, and not used any more.
            unsafe { ManuallyDrop::drop(&mut self.owner) };
        });
    }
}

/// Has children find nothing behind the number `fd`, which stays taken there, until
/// this is dropped.
pub struct Withheld(RawFd, Fate);

impl Withheld {
    /// Of a device that stays open for as long.
    pub fn new(fd: RawFd) -> Option<Self> {
        let fate = Fate::Replaced(super::fd::stat(fd)?.st_rdev);
        with_listed(|listed| listed.push((fd, fate)));
        Some(Self(fd, fate))
    }
}

impl Drop for Withheld {
    fn drop(&mut self) {
        let Self(fd, fate) = *self;
        with_listed(|listed| {
            let at = listed.iter().position(|&entry| entry == (fd, fate));
            at.map(|at| listed.swap_remove(at));
        });
    }
}

extern "C" fn before() {
    LISTED.lock();
}

extern "C" fn after_in_parent() {
    LISTED.unlock();
}

/// Does nothing but system calls: other threads' locks may be held for ever here.
extern "C" fn after_in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    // SAFETY: locked by `before`, in the thread that this one is a copy of.
    let listed = unsafe { &mut *LISTED.descriptors.get() };
    // SAFETY: descriptors that this process was born with and that nobody else here
    // knows, or numbers for which there is another file then.
    unsafe {
        let none = libc::open(c"/".as_ptr(), libc::O_PATH | libc::O_CLOEXEC);
        for &(fd, fate) in listed.iter() {
            match fate {
                Fate::Closed => drop(libc::close(fd)),
                Fate::Replaced(device) => {
                    if super::fd::stat(fd).is_some_and(|stat| stat.st_rdev == device) {
                        libc::dup3(none, fd, libc::O_CLOEXEC);
                    }
                }
            }
        }
        libc::close(none);
    }
    listed.clear();
    LISTED.unlock();
}
