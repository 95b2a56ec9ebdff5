//! System calls that rustix does not have.
#![allow(unsafe_code)] // what they take is checked by their signatures here

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::thread::JoinHandleExt;
use std::path::Path;
use std::thread::JoinHandle;

use rustix::io::Errno;

fn result(value: i64) -> Result<i64, Errno> {
    if value == -1 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).expect("an errno"));
    }
    Ok(value)
}

pub fn truncate(path: &Path, size: i64) -> Result<(), Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: `path` is a C string that outlives the call.
    result(unsafe { libc::truncate(path.as_ptr(), size) }.into()).map(drop)
}

/// Sets the umask of this thread, which shares it with no other test from now on; tells
/// the former one.
pub fn own_umask(mask: u32) -> u32 {
    // SAFETY: no memory involved.
    unsafe {
        assert_eq!(libc::unshare(libc::CLONE_FS), 0, "unshare");
        libc::umask(mask)
    }
}

/// A close whose error matters.
pub fn close(fd: OwnedFd) -> Result<(), Errno> {
    // SAFETY: the descriptor was ours, and nobody has it any more.
    result(unsafe { libc::close(fd.into_raw_fd()) }.into()).map(drop)
}

/// Two connected sockets that keep the bounds of messages and know an end.
pub fn packet_sockets() -> (OwnedFd, OwnedFd) {
    let mut fds = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: room for two descriptors.
    let made = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) };
    assert_eq!(made, 0, "socketpair: {}", std::io::Error::last_os_error());
    // SAFETY: both are new, and nobody else's.
    let [one, other] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    (one, other)
}

/// An ioctl without an argument but a number.
pub fn ioctl(fd: impl AsFd, request: u32, argument: usize) -> Result<i64, Errno> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: the requests of the tests take a number here, no pointer.
    result(unsafe { libc::ioctl(fd, request as _, argument) }.into())
}

/// An ioctl that reads or writes `N` bytes.
pub fn ioctl_data<const N: usize>(
    fd: impl AsFd,
    request: u32,
    data: &mut [u8; N],
) -> Result<i64, Errno> {
    assert!((request >> 16) as usize & 0x3fff == N, "the request says how much it moves");
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: `data` is as long as the request says, checked above.
    result(unsafe { libc::ioctl(fd, request as _, data.as_mut_ptr()) }.into())
}

/// The block of the device that block `index` of the file is in (FIBMAP).
pub fn fibmap(fd: impl AsFd, index: u32) -> Result<u32, Errno> {
    const FIBMAP: u32 = 1;
    let mut block = index;
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: FIBMAP reads and writes one int.
    result(unsafe { libc::ioctl(fd, FIBMAP as _, &mut block) }.into()).map(|_| block)
}

/// A record lock; `command` is F_GETLK, F_SETLK, F_SETLKW or an F_OFD_ form.
pub fn fcntl_lock(fd: impl AsFd, command: i32, lock: &mut libc::flock) -> Result<(), Errno> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: `lock` is a valid struct flock, which these commands take.
    result(unsafe { libc::fcntl(fd, command, std::ptr::from_mut(lock)) }.into()).map(drop)
}

/// The description of a lock from `start` on; `length` 0: to the end.
pub fn lock_of(kind: i32, start: i64, length: i64) -> libc::flock {
    libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}

/// A signal that only interrupts: its handler does nothing, and system calls
/// are not restarted.
pub const INTERRUPT: i32 = libc::SIGUSR1;

pub fn catch_interrupts() {
    extern "C" fn nothing(_: i32) {}
    let handler: extern "C" fn(i32) = nothing;
    // SAFETY: an all-zero sigaction is valid (no flags, empty mask), and the
    // handler does nothing, which is safe at any point.
    let done = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        libc::sigaction(INTERRUPT, &action, std::ptr::null_mut())
    };
    assert_eq!(done, 0);
}

/// Interrupts the system call of a thread. Call `catch_interrupts` before.
pub fn interrupt<T>(thread: &JoinHandle<T>) {
    // SAFETY: the thread has not been joined, since its handle still exists.
    unsafe { libc::pthread_kill(thread.as_pthread_t(), INTERRUPT) };
}

/// A shared map of a file, from its start.
pub struct Map {
    start: *mut u8,
    length: usize,
}

impl Map {
    pub fn of(file: impl AsFd, length: usize) -> Map {
        let fd = file.as_fd().as_raw_fd();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new map, of which nobody else knows.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), length, access, libc::MAP_SHARED, fd, 0) };
        assert_ne!(start, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        Map { start: start.cast(), length }
    }

    pub fn bytes(&self) -> Vec<u8> {
        // SAFETY: the map has that many bytes, all of them inside the file.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }.to_vec()
    }

    pub fn write(&self, at: usize, data: &[u8]) {
        assert!(at + data.len() <= self.length);
        // SAFETY: inside the map, as checked.
        unsafe { self.start.add(at).copy_from(data.as_ptr(), data.len()) };
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: our map, which is not used after this.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

/// A loop device that goes when it is dropped.
pub struct LoopDevice {
    pub path: String,
    _file: tempfile::NamedTempFile,
}

impl LoopDevice {
    pub fn new() -> Result<LoopDevice, String> {
        if !super::machine::is_root() {
            return Err("only root may set up a loop device".into());
        }
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(1 << 20).expect("set_len");
        let output = std::process::Command::new("losetup")
            .args(["--find", "--show"])
            .arg(file.path())
            .output();
        match output {
            Ok(output) if output.status.success() => {
                let path = String::from_utf8_lossy(&output.stdout).trim().to_string();
                Ok(LoopDevice { path, _file: file })
            }
            Ok(output) => {
                Err(format!("losetup: {}", String::from_utf8_lossy(&output.stderr).trim()))
            }
            Err(e) => Err(format!("losetup: {e}")),
        }
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = std::process::Command::new("losetup").args(["--detach", &self.path]).status();
    }
}
