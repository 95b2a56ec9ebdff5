//! Threads, as a filesystem's callbacks will see them.

use super::Seconds;
use crate::errno::{Errno, Result};
use parking_lot::Mutex;
use std::cell::Cell;
use std::ffi::{c_void, CStr};

/// gettid(2).
pub fn gettid() -> i32 {
    // SAFETY: no memory involved.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// Whether thread `tid` of this process sleeps, says the kernel; false if it
/// cannot be told.
pub fn is_asleep(tid: i32) -> bool {
    let Ok(stat) = std::fs::read(format!("/proc/self/task/{tid}/stat")) else {
        return false;
    };
    // The state is behind the name, which is in parentheses and may hold any byte.
    let state = stat.iter().rposition(|&byte| byte == b')').and_then(|end| stat.get(end + 2));
    matches!(state, Some(b'S' | b'D'))
}

/// getuid(2).
pub fn getuid() -> libc::uid_t {
    // SAFETY: no memory involved.
    unsafe { libc::getuid() }
}

/// Which signals a new thread leaves to others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SignalMask {
    /// Those that ask the process to end (HUP, INT, TERM, QUIT), beside what the
    /// program's thread blocks that the library's threads descend from: callbacks
    /// run here, and may wait for signals.
    Handler,
    /// All of them: a thread of the library's own.
    All,
}

/// A joinable thread.
pub struct Thread(libc::pthread_t);

// SAFETY: a name for a thread, a pointer in some C libraries, which any thread may use.
unsafe impl Send for Thread {}

impl Thread {
    /// Waits until the thread has ended.
    pub fn join(self) {
        // SAFETY: created by `spawn`, joined once.
        unsafe { libc::pthread_join(self.0, std::ptr::null_mut()) };
    }

    /// Lets the thread end unjoined.
    pub fn detach(self) {
        // SAFETY: created by `spawn`, neither joined nor detached before.
        unsafe { libc::pthread_detach(self.0) };
    }

    /// Joins those of `threads` that have ended.
    pub fn join_finished(threads: &Mutex<Vec<Self>>) {
        let mut threads = threads.lock();
        let all = std::mem::take(&mut *threads);
        threads.extend(all.into_iter().filter_map(|thread| thread.join_for(0).err()));
    }

    /// Waits as long as [`Thread::join`], but gives up after `millis`, with the
    /// thread handed back.
    pub fn join_for(self, millis: u32) -> std::result::Result<(), Self> {
        // SAFETY: plain data, valid pointer.
        let deadline = unsafe {
            let mut now: libc::timespec = std::mem::zeroed();
            libc::clock_gettime(libc::CLOCK_REALTIME, &mut now);
            let nanos = now.tv_nsec + libc::c_long::from((millis % 1000) as i32) * 1_000_000;
            now.tv_sec += Seconds::from((millis / 1000) as i32);
            now.tv_sec += (nanos / 1_000_000_000) as Seconds;
            now.tv_nsec = nanos % 1_000_000_000;
            now
        };
        // SAFETY: as for `join`; on a timeout the thread stays joinable.
        match unsafe { libc::pthread_timedjoin_np(self.0, std::ptr::null_mut(), &deadline) } {
            0 => Ok(()),
            _ => Err(self),
        }
    }
}

type Start = Box<dyn FnOnce() + Send>;

/// What is known of the threads that [`spawn`] starts.
struct Ours {
    /// On their way: they have not said their number yet.
    coming: usize,
    here: Vec<i32>,
    /// They have said goodbye; the kernel may have them a while longer.
    going: Vec<i32>,
    /// How many have been started and have said goodbye.
    turnover: u64,
}

static OURS: Mutex<Ours> =
    Mutex::new(Ours { coming: 0, here: Vec::new(), going: Vec::new(), turnover: 0 });

impl Ours {
    /// Forgets those that the kernel has forgotten: their CPU time is the
    /// process's now.
    fn see_off(&mut self) {
        self.going.retain(|&tid| exists(tid));
    }
}

/// Whether the kernel still has thread `tid` of this process.
fn exists(tid: i32) -> bool {
    // SAFETY: no memory involved; signal 0 is none.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, 0) == 0 }
}

extern "C" fn start(argument: *mut c_void) -> *mut c_void {
    // SAFETY: `spawn` leaked exactly this box for us.
    let start = unsafe { Box::from_raw(argument.cast::<Start>()) };
    let tid = gettid();
    {
        let mut ours = OURS.lock();
        ours.coming -= 1;
        // Numbers are used again.
        ours.going.retain(|&other| other != tid);
        ours.here.push(tid);
    }
    start();
    let mut ours = OURS.lock();
    ours.here.retain(|&other| other != tid);
    ours.see_off();
    ours.going.push(tid);
    ours.turnover += 1;
    std::ptr::null_mut()
}

/// The threads of this process.
pub fn all() -> Vec<i32> {
    std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// The threads of this process that the library did not start. Some of the
/// library's may be among them while [`turnover`] is `None` or changes.
pub fn foreign() -> Vec<i32> {
    let all = all();
    let ours = OURS.lock();
    all.into_iter().filter(|tid| !ours.here.contains(tid)).collect()
}

/// Changes whenever a thread of the library's begins or ends; `None` while one is
/// about it. If it is the same before and after something is read, then the
/// library's threads were the same all the time, for the kernel as well.
pub fn turnover() -> Option<u64> {
    let mut ours = OURS.lock();
    ours.see_off();
    (ours.coming == 0 && ours.going.is_empty()).then_some(ours.turnover)
}

/// What thread `tid` of this process is called; "?" if it has ended.
pub fn name(tid: i32) -> String {
    let name = std::fs::read(format!("/proc/self/task/{tid}/comm"));
    name.map_or("?".into(), |name| String::from_utf8_lossy(name.trim_ascii_end()).into_owned())
}

/// The living children that thread `tid` has made; `None` if the kernel does
/// not tell.
pub fn children(tid: i32) -> Option<Vec<i32>> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{tid}/children")).ok()?;
    Some(text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

/// Changes whenever a child of this process is waited for.
pub fn waited_children() -> i64 {
    // SAFETY: plain data, filled by the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    // Every process faults pages in before it ends.
    (usage.ru_minflt + usage.ru_majflt + usage.ru_nvcsw + usage.ru_nivcsw) as i64
}

/// Bytes of stack that FUSE_THREAD_STACK asks for.
fn stack_size() -> Option<usize> {
    let text = std::env::var_os("FUSE_THREAD_STACK")?;
    match text.to_str().and_then(|text| text.trim().parse().ok()) {
        Some(size) => Some(size),
        None => {
            crate::log_error!(
                "FUSE_THREAD_STACK={}: not a number of bytes; ignored",
                text.to_string_lossy()
            );
            None
        }
    }
}

thread_local! {
    /// What the program's thread blocked from which this one descends; none on a
    /// thread of the program's.
    static PROGRAMS_MASK: Cell<Option<libc::sigset_t>> = const { Cell::new(None) };
}

/// Starts a thread with pthread's default attributes (or the stack that
/// FUSE_THREAD_STACK names), called `name` (15 bytes at most).
pub fn spawn(name: &CStr, mask: SignalMask, f: impl FnOnce() + Send + 'static) -> Result<Thread> {
    // SAFETY: plain data initialised by the call.
    let programs = PROGRAMS_MASK.get().unwrap_or_else(|| unsafe {
        let mut blocked: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut blocked);
        blocked
    });
    let body = move || {
        PROGRAMS_MASK.set(Some(programs));
        f();
    };
    let argument: *mut Start = Box::into_raw(Box::new(Box::new(body)));
    // SAFETY: plain data initialised by the calls themselves; the box is taken
    // back if no thread was made for it.
    unsafe {
        let mut attr: libc::pthread_attr_t = std::mem::zeroed();
        libc::pthread_attr_init(&mut attr);
        if mask == SignalMask::Handler {
            if let Some(size) = stack_size() {
                let error = libc::pthread_attr_setstacksize(&mut attr, size);
                if error != 0 {
                    crate::log_error!("FUSE_THREAD_STACK={size}: {}; ignored", Errno(error));
                }
            }
        }
        let mut block = programs;
        let mut old: libc::sigset_t = std::mem::zeroed();
        match mask {
            SignalMask::Handler => {
                for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGQUIT] {
                    libc::sigaddset(&mut block, signal);
                }
            }
            SignalMask::All => {
                libc::sigfillset(&mut block);
            }
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &block, &mut old);
        let mut thread: libc::pthread_t = std::mem::zeroed();
        {
            let mut ours = OURS.lock();
            ours.coming += 1;
            ours.turnover += 1;
        }
        let error = libc::pthread_create(&mut thread, &attr, start, argument.cast());
        libc::pthread_sigmask(libc::SIG_SETMASK, &old, std::ptr::null_mut());
        libc::pthread_attr_destroy(&mut attr);
        if error != 0 {
            OURS.lock().coming -= 1;
            drop(Box::from_raw(argument));
            return Err(Errno(error));
        }
        libc::pthread_setname_np(thread, name.as_ptr());
        Ok(Thread(thread))
    }
}
