//! What a client probably has: the names below its directory and its open
//! files. It need not be right (symbolic links, for one, are not followed); a
//! wrong model only leads to operations that fail.

use super::ops::{Op, DIR_SLOTS, FILE_SLOTS};
use std::collections::BTreeMap;
use std::ffi::CString;

/// What a name stands for.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    File,
    Dir,
    Link,
    Fifo,
}

/// What an open file allows.
#[derive(Clone, Copy)]
pub struct Handle {
    pub reads: bool,
    pub writes: bool,
    pub appends: bool,
}

#[derive(Default)]
pub struct Model {
    pub tree: BTreeMap<Vec<u8>, Kind>,
    pub files: [Option<Handle>; FILE_SLOTS],
    pub dirs: [bool; DIR_SLOTS],
}

impl Model {
    /// Takes in that `op` was performed.
    pub fn learn(&mut self, op: &Op, succeeded: bool) {
        if let Op::Open { slot, .. } = op {
            self.files[*slot] = None; // what was open there is closed first
        }
        if let Op::OpenDir { slot, .. } = op {
            self.dirs[*slot] = succeeded;
        }
        if !succeeded {
            return;
        }
        match op {
            Op::Open { slot, path, flags, .. } => {
                if flags & libc::O_CREAT != 0 {
                    self.add(path, Kind::File);
                }
                let access = flags & libc::O_ACCMODE;
                let data = flags & (libc::O_PATH | libc::O_DIRECTORY) == 0;
                self.files[*slot] = Some(Handle {
                    reads: data && access != libc::O_WRONLY,
                    writes: data && access != libc::O_RDONLY,
                    appends: flags & libc::O_APPEND != 0,
                });
            }
            Op::Close { slot } => self.files[*slot] = None,
            Op::CloseDir { slot } => self.dirs[*slot] = false,
            Op::Mknod { path, mode, .. } if mode & libc::S_IFMT == libc::S_IFREG => {
                self.add(path, Kind::File)
            }
            Op::Mknod { path, .. } => self.add(path, Kind::Fifo),
            Op::Mkdir { path, .. } => self.add(path, Kind::Dir),
            Op::Symlink { path, .. } => self.add(path, Kind::Link),
            Op::HardLink { from, to } => {
                if let Some(&kind) = self.tree.get(from.to_bytes()) {
                    self.add(to, kind);
                }
            }
            Op::Unlink { path } | Op::Rmdir { path } => drop(self.detach(path.to_bytes())),
            Op::Rename { from, to, flags } => {
                let (source, goal) = (self.detach(from.to_bytes()), self.detach(to.to_bytes()));
                self.attach(to.to_bytes(), source);
                if *flags == libc::RENAME_EXCHANGE {
                    self.attach(from.to_bytes(), goal);
                }
            }
            _ => {}
        }
    }

    /// Does everything up to the last slash of `path` exist?
    pub fn has_parent(&self, path: &[u8]) -> bool {
        match path.iter().rposition(|&byte| byte == b'/') {
            Some(end) => self.tree.get(&path[..end]) == Some(&Kind::Dir),
            None => true,
        }
    }

    fn add(&mut self, path: &CString, kind: Kind) {
        self.tree.entry(path.to_bytes().to_vec()).or_insert(kind);
    }

    /// Takes `path` and everything below it out of the model; keys become
    /// what follows `path`.
    fn detach(&mut self, path: &[u8]) -> BTreeMap<Vec<u8>, Kind> {
        let inside = [path, b"/"].concat();
        let below: Vec<Vec<u8>> = self
            .tree
            .keys()
            .filter(|key| *key == path || key.starts_with(&inside))
            .cloned()
            .collect();
        below
            .into_iter()
            .filter_map(|key| self.tree.remove(&key).map(|kind| (key[path.len()..].to_vec(), kind)))
            .collect()
    }

    fn attach(&mut self, path: &[u8], below: BTreeMap<Vec<u8>, Kind>) {
        self.tree.extend(below.into_iter().map(|(rest, kind)| ([path, &rest].concat(), kind)));
    }
}
