//! Starting a helper program and receiving a descriptor from it.

use std::ffi::{c_char, c_int, c_void, CStr};
use std::mem::{size_of, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;

use crate::errno::{Errno, Result};

extern "C" {
    /// The process environment as C programs see and change it.
    static environ: *const *mut c_char;
}

/// A program to start: `posix_spawn` with this process's environment, no
/// blocked signals, and SIGCHLD and SIGPIPE at their defaults.
pub struct Command<'a> {
    /// The program: a path, or a name to look up in PATH.
    pub program: &'a CStr,
    /// Its arguments, its own name first.
    pub arguments: &'a [&'a CStr],
    /// A close-on-exec descriptor that the program gets all the same, under the same number.
    pub keep: Option<BorrowedFd<'a>>,
    /// Standard output and error go to /dev/null.
    pub quiet: bool,
}

/// The functions of the `posix_spawn` family return their error.
fn check(error: c_int) -> Result<()> {
    match error {
        0 => Ok(()),
        error => Err(Errno(error)),
    }
}

/// Initialised file actions, destroyed with the value.
struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    fn new() -> Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: initialises what it is given.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: initialised just above.
        Ok(Self(unsafe { actions.assume_init() }))
    }

    fn keep(&mut self, fd: RawFd) -> Result<()> {
        // dup2 of a descriptor to itself is how a spawned program keeps one that is close-on-exec.
        // SAFETY: the actions are initialised.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&mut self.0, fd, fd) })
    }

    fn silence(&mut self, fd: RawFd) -> Result<()> {
        // SAFETY: the actions are initialised; the path is a C string, which is copied.
        check(unsafe {
            libc::posix_spawn_file_actions_addopen(
                &mut self.0,
                fd,
                c"/dev/null".as_ptr(),
                libc::O_WRONLY,
                0,
            )
        })
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: initialised, and not used again.
        unsafe { libc::posix_spawn_file_actions_destroy(&mut self.0) };
    }
}

/// Initialised spawn attributes, destroyed with the value.
struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: initialises what it is given.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: initialised just above.
        let mut this = Self(unsafe { attributes.assume_init() });
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        // SAFETY: the attributes are initialised; sigemptyset initialises the
        // set before anything reads it; the sets are copied.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            check(libc::posix_spawnattr_setsigmask(&mut this.0, set.as_ptr()))?;
            libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
            libc::sigaddset(set.as_mut_ptr(), libc::SIGPIPE);
            check(libc::posix_spawnattr_setsigdefault(&mut this.0, set.as_ptr()))?;
            check(libc::posix_spawnattr_setflags(&mut this.0, flags as _))?;
        }
        Ok(this)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised, and not used again.
        unsafe { libc::posix_spawnattr_destroy(&mut self.0) };
    }
}

impl Command<'_> {
    /// Starts the program and returns its process id; `ENOENT` when it does not exist.
    pub fn spawn(&self) -> Result<libc::pid_t> {
        let mut actions = FileActions::new()?;
        if let Some(fd) = self.keep {
            actions.keep(fd.as_raw_fd())?;
        }
        if self.quiet {
            actions.silence(1)?;
            actions.silence(2)?;
        }
        let attributes = Attributes::new()?;
        let mut arguments: Vec<*mut c_char> =
            self.arguments.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
        arguments.push(ptr::null_mut());
        let mut pid = 0;
        // SAFETY: the program and the arguments are C strings, the vector and
        // `environ` end in null, and all of them live during the call.
        check(unsafe {
            libc::posix_spawnp(
                &mut pid,
                self.program.as_ptr(),
                &actions.0,
                &attributes.0,
                arguments.as_ptr(),
                environ,
            )
        })?;
        Ok(pid)
    }
}

/// Waits for the end of the child `pid`. `ECHILD` when there is nothing to
/// wait for: another thread did, SIGCHLD is ignored, or it is another
/// process's child since this one forked.
pub fn wait(pid: libc::pid_t) -> Result<ExitStatus> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is valid for writes.
        if unsafe { libc::waitpid(pid, &mut status, 0) } == pid {
            return Ok(ExitStatus::from_raw(status));
        }
        match Errno::last() {
            Errno(libc::EINTR) => continue,
            errno => return Err(errno),
        }
    }
}

/// Receives one byte and the descriptor that comes with it, which becomes
/// close-on-exec. None when the other end was closed, or sent no descriptor.
pub fn receive_descriptor(socket: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    const LENGTH: u32 = size_of::<RawFd>() as u32;
    let mut byte = 0u8;
    let mut data = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // u64s for the alignment of cmsghdr; a header and one descriptor need 24 bytes.
    let mut control = [0u64; 8];
    // SAFETY: a msghdr of zeros is a valid one.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &mut data;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast::<c_void>();
    // SAFETY: plain arithmetic.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(LENGTH) } as _;
    loop {
        // SAFETY: the message points to buffers on this stack of the sizes it says.
        match unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) } {
            0 => return Ok(None),
            1 => break,
            _ => match Errno::last() {
                Errno(libc::EINTR) => continue,
                errno => return Err(errno),
            },
        }
    }
    // SAFETY: recvmsg has filled the control buffer in, to the length it set.
    let header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    if header.is_null() {
        return Ok(None);
    }
    // SAFETY: not null, so it points to a whole header in the control buffer.
    let (level, kind, length) =
        unsafe { ((*header).cmsg_level, (*header).cmsg_type, (*header).cmsg_len) };
    // SAFETY: plain arithmetic.
    let expected = unsafe { libc::CMSG_LEN(LENGTH) };
    if (level, kind, length as u32) != (libc::SOL_SOCKET, libc::SCM_RIGHTS, expected) {
        return Ok(None);
    }
    // SAFETY: the message carries one descriptor, which is ours from here on.
    Ok(Some(unsafe {
        OwnedFd::from_raw_fd(ptr::read_unaligned(libc::CMSG_DATA(header).cast::<RawFd>()))
    }))
}

/// Device and inode of the file behind `fd`: whether a number still stands for
/// the same open file. None when it is closed.
pub fn identity(fd: RawFd) -> Option<(libc::dev_t, libc::ino64_t)> {
    let mut stat = MaybeUninit::<libc::stat64>::uninit();
    // SAFETY: `stat` is valid for writes.
    if unsafe { libc::fstat64(fd, stat.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: fstat has filled it in.
    let stat = unsafe { stat.assume_init() };
    Some((stat.st_dev, stat.st_ino))
}
