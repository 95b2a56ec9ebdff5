//! Files that are removed while they are open: they get a hidden name, and go
//! with their last release.

use super::{no_stat, Op};
use crate::errno::{Errno, Result};
use crate::high::context::Operation;
use crate::high::tree::{Path, Pin, Target, ROOT_ID};
use crate::high::Fuse;
use libc::{EBUSY, EINVAL, ENOENT};
use std::ffi::CStr;

/// Names that are tried.
const ATTEMPTS: usize = 10;

#[allow(unsafe_code)] // the layer takes C's pointers
impl Op<'_> {
    /// Whether removing the file of `path`, which is held exclusively, is to hide
    /// it instead.
    pub(super) fn is_to_be_hidden(&self, path: &Path<'_>) -> bool {
        self.config().hard_remove == 0 && path.open_count() > 0
    }

    /// Renames the file of `path` to a hidden name. The caller lets the path go
    /// and then calls [`Op::after_hiding`].
    pub(super) fn hide(&self, path: &Path<'_>) -> Result<Pin<'_>> {
        let (Some(id), parent) = (path.id(), path.parent_id()) else {
            return Err(Errno(EBUSY));
        };
        let node = self.nodes().pin(id)?;
        for _ in 0..ATTEMPTS {
            let name = self.nodes().hidden_name(parent, id);
            let hidden = path.sibling(&name);
            let mut stat = no_stat();
            // SAFETY: the path and the attributes live as long as the call.
            let found = self.call(|layer| unsafe {
                layer.getattr(hidden.as_ptr(), &mut stat, std::ptr::null_mut())
            });
            if found != Err(Errno(ENOENT)) {
                continue;
            }
            let from = path.as_c_str().as_ptr();
            // SAFETY: both paths live as long as the call.
            self.call(|layer| unsafe { layer.rename(from, hidden.as_ptr(), 0) })?;
            if path.hidden_as(&name) {
                return Ok(node);
            }
        }
        Err(Errno(EBUSY))
    }

    /// A release takes no exclusive path: the last one may have come when the
    /// file was about to be hidden. Then it is removed here.
    pub(super) fn after_hiding(&self, node: &Pin<'_>) {
        if !self.nodes().is_open(node) {
            self.remove_hidden(node.id());
        }
    }

    /// Removes the hidden file `ino`, which nobody has open any more.
    pub(super) fn remove_hidden(&self, ino: u64) {
        self.fuse.remove_hidden_file(ino);
    }
}

#[allow(unsafe_code)] // the layer takes C's pointers
impl Fuse {
    fn remove_hidden_file(&self, ino: u64) {
        if let Ok(path) = self.nodes().lock(Target::node(ino).exclusive()) {
            // SAFETY: the path lives as long as the call.
            let result = unsafe { self.layer().unlink(path.as_c_str().as_ptr()) };
            if result == 0 {
                path.removed();
            }
        }
    }

    /// At the end: removes all files that are still hidden.
    pub fn remove_hidden_files(&self) {
        let _operation = Operation::of_the_library(self);
        for ino in self.nodes().hidden() {
            self.remove_hidden_file(ino);
        }
    }

    /// Makes the kernel drop what it has cached of `path`.
    pub fn invalidate_path(&self, path: &CStr) -> Result<()> {
        let path = path.to_bytes();
        if path.first() != Some(&b'/') {
            return Err(Errno(EINVAL));
        }
        let mut names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
        let ino = names
            .try_fold(ROOT_ID, |dir, name| self.nodes().find(dir, name))
            .ok_or(Errno(ENOENT))?;
        self.session().notify_inval_inode(ino, 0, 0)
    }
}
