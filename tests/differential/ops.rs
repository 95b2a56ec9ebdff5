//! The operations of the clients.

use std::ffi::CString;

/// How many files and how many directories a client holds open at most.
pub const FILE_SLOTS: usize = 8;
pub const DIR_SLOTS: usize = 3;

/// What an operation on metadata is applied to.
#[derive(Clone, Debug)]
pub enum Target {
    /// A path; a symbolic link at its end is followed.
    Path(CString),
    /// A path; a symbolic link at its end is meant itself.
    Link(CString),
    /// An open file.
    Slot(usize),
}

/// One operation of a client. Paths are relative to the client's directory.
#[derive(Clone, Debug)]
pub enum Op {
    Open { slot: usize, path: CString, flags: i32, mode: u32 },
    Close { slot: usize },
    Read { slot: usize, at: Option<i64>, len: usize },
    Write { slot: usize, at: Option<i64>, len: usize, fill: u64 },
    ReadAll { path: CString },
    Seek { slot: usize, offset: i64, whence: i32 },
    Truncate { target: Target, len: i64 },
    Fallocate { slot: usize, mode: i32, at: i64, len: i64 },
    Copy { from: usize, from_at: i64, to: usize, to_at: i64, len: usize },
    Sync { slot: usize, data_only: bool },
    Flock { slot: usize, operation: i32 },
    Lock { slot: usize, command: i32, kind: i32, start: i64, len: i64 },
    LockNew { path: CString },
    Ioctl { slot: usize, request: u64 },
    Poll { slot: usize },
    Stat { target: Target },
    Statx { target: Target, sync: i32, mask: u32 },
    Statfs { target: Target },
    Access { path: CString, mode: i32 },
    Chmod { target: Target, mode: u32 },
    Chown { target: Target, uid: u32, gid: u32 },
    Utimens { target: Target, times: [(i64, i64); 2] },
    SetXattr { target: Target, name: CString, len: usize, fill: u64, flags: i32 },
    GetXattr { target: Target, name: CString, room: usize },
    ListXattr { target: Target, room: usize },
    RemoveXattr { target: Target, name: CString },
    Mknod { path: CString, mode: u32, device: u64 },
    Mkdir { path: CString, mode: u32 },
    Rmdir { path: CString },
    Unlink { path: CString },
    Rename { from: CString, to: CString, flags: u32 },
    HardLink { from: CString, to: CString },
    Symlink { text: CString, path: CString },
    Readlink { path: CString, room: usize },
    OpenDir { slot: usize, path: CString },
    ReadDir { slot: usize, room: usize },
    RewindDir { slot: usize },
    SyncDir { slot: usize },
    CloseDir { slot: usize },
    List { path: CString },
    DropCaches,
}
