//! Files that are removed while they are open: they get a hidden name, and go
//! with their last release.

use super::{no_stat, Op};
use crate::errno::{Errno, Result};
use crate::high::context::Operation;
use crate::high::tree::{Path, Target, ROOT_ID};
use crate::high::Fuse;
use libc::{EBUSY, EINVAL, ENOENT};
use std::ffi::CStr;
use std::sync::atomic::fence;
use std::sync::atomic::Ordering::SeqCst;

/// Names that are tried.
const ATTEMPTS: usize = 10;

#[allow(unsafe_code)] // the layer takes C's pointers
impl Op<'_> {
    /// Whether removing the file of `path`, which is held exclusively, is to hide
    /// it instead.
    pub(super) fn is_to_be_hidden(&self, path: &Path<'_>) -> bool {
        self.config().hard_remove == 0 && path.open_count() > 0
    }

    /// Renames the file of `path` to a hidden name.
    pub(super) fn hide(&self, path: &Path<'_>) -> Result<()> {
        let (Some(id), parent) = (path.id(), path.parent_id()) else {
            return Err(Errno(EBUSY));
        };
        for _ in 0..ATTEMPTS {
            let name = self.nodes().hidden_name(parent, id);
            let hidden = path.sibling(&name);
            let mut stat = no_stat();
            // SAFETY: the path and the attributes live as long as the call.
            let found = self.call(|layer| unsafe {
                layer.getattr(hidden.as_ptr(), &mut stat, std::ptr::null_mut())
            });
            match found {
                Err(Errno(ENOENT)) => {}
                Ok(_) => continue,
                Err(_) => break, // nor would it tell of another name
            }
            let from = path.as_ptr();
            // SAFETY: both paths live as long as the call.
            self.call(|layer| unsafe { layer.rename(from, hidden.as_ptr(), 0) })?;
            if !path.hidden_as(&name) {
                continue;
            }
            // Whoever releases the file looks the other way round: one of both
            // sees what the other did, or both do.
            fence(SeqCst);
            if path.open_count() == 0 {
                // SAFETY: as above.
                self.call(|layer| unsafe { layer.unlink(hidden.as_ptr()) })?;
                path.removed();
            }
            return Ok(());
        }
        Err(Errno(EBUSY))
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
            let result = unsafe { self.layer().unlink(path.as_ptr()) };
            if result == 0 {
                path.removed();
            }
        }
    }

    /// At the end: removes all files that are still hidden, unless the layer has
    /// ended before.
    pub fn remove_hidden_files(&self) {
        if self.has_ended() {
            return;
        }
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
