//! The path API (`fuse.h`), on top of the inode API.
//!
//! | module | what |
//! |---|---|
//! | [`layer`] | tables of operations: the filesystem and the modules above it |
//! | [`context`] | who asks for the operation that a thread runs |
//! | [`options`] | what the command line sets |
//! | [`run`] | making, mounting, serving, destroying |
//! | [`modules`] | `subdir`, `iconv`, and those loaded by name |
//! | [`ops`] | the session's operations, done by the layers' |
//! | [`tree`] | nodes, their names, and paths that hold |
//!
//! # Who owns what
//! The program owns a [`Fuse`], from `fuse_new` to `fuse_destroy`. It owns its
//! session, its settings, its nodes and the uppermost layer, through which the
//! layers below are reached and in the end destroyed. The session's operations
//! are this module's; their `userdata` is the [`Fuse`].
//!
//! # Settings
//! `fuse_new` reads them from the command line, `init` may change them, with
//! INIT, before any other operation. From then on they do not change.
#![allow(unsafe_code)] // settings are handed to C and read back

pub mod context;
pub mod layer;
pub mod modules;
pub mod ops;
pub mod options;
pub mod run;
pub mod tree;

use crate::abi::args::ArgVec;
use crate::abi::high::{Config, ConfigCell};
use crate::errno::Result;
use crate::session::Session;
use layer::Layer;
use libc::c_void;
use once_cell::sync::OnceCell;
use ops::{Directories, Pruning};
use parking_lot::Mutex;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::Arc;
use tree::Nodes;

/// `struct fuse`.
pub struct Fuse {
    layers: Layers,
    settings: Settings,
    session: Option<Arc<Session>>,
    /// Made with the settings that `init` leaves.
    nodes: Arc<OnceCell<Nodes>>,
    directories: Directories,
    pruning: Pruning,
}

/// Owns the layers: the filesystem, and modules above it.
struct Layers {
    top: *mut Layer,
    filesystem: *mut Layer,
    /// `destroy` has been called: modules and what is below them are gone.
    ended: AtomicBool,
}

// SAFETY: a layer's operations may run on any thread.
unsafe impl Send for Layers {}
// SAFETY: as above, at the same time.
unsafe impl Sync for Layers {}

impl Layers {
    fn new(filesystem: Box<Layer>) -> Self {
        let filesystem = Box::into_raw(filesystem);
        Self { top: filesystem, filesystem, ended: AtomicBool::new(false) }
    }

    /// Puts the module `name` on top.
    fn push(&mut self, name: &CStr, args: &mut ArgVec) -> Result<()> {
        self.top = modules::push(name, args, self.top)?;
        Ok(())
    }

    /// Calls `destroy` of the layers, once.
    fn end(&self) {
        if !self.ended.swap(true, Ordering::AcqRel) {
            // SAFETY: not destroyed before; the layer's own function.
            unsafe { (*self.top).destroy() };
        }
    }
}

impl Drop for Layers {
    fn drop(&mut self) {
        if self.top != self.filesystem && !self.ended.load(Ordering::Acquire) {
            // Never served: modules free what they have and the layers below them,
            // but the filesystem is not to see an end without a beginning.
            // SAFETY: alive, and nobody else uses the layers any more.
            unsafe { (*self.filesystem).never_started() };
            self.end();
        }
        // SAFETY: made by `Layer::new`; modules have freed the layers below.
        drop(unsafe { Box::from_raw(self.top) });
    }
}

/// The settings in force: replaced as a whole, never changed.
struct Settings {
    current: AtomicPtr<Config>,
    /// All there have been: readers may still look at an older one.
    #[allow(clippy::vec_box)] // they stay where they are
    all: Mutex<Vec<Box<Config>>>,
    /// What `init` got, in the program's own form. It stays where it is: some
    /// programs keep the pointer.
    cell: Mutex<Box<ConfigCell>>,
}

// SAFETY: what `Config` points to (the names of modules) is only read.
unsafe impl Send for Settings {}
// SAFETY: as above; all else is atomic or under a lock.
unsafe impl Sync for Settings {}

impl Settings {
    fn new(config: Config) -> Self {
        let mut first = Box::new(config);
        let current = AtomicPtr::new(&raw mut *first);
        let cell = Mutex::new(Box::new(ConfigCell::new(&config)));
        Self { current, all: Mutex::new(vec![first]), cell }
    }

    fn get(&self) -> &Config {
        // SAFETY: one of `all`, which keeps it in its place until the end.
        unsafe { &*self.current.load(Ordering::Acquire) }
    }

    fn replace(&self, config: Config) {
        let mut next = Box::new(config);
        self.current.store(&raw mut *next, Ordering::Release);
        self.all.lock().push(next);
    }
}

impl Fuse {
    /// What C calls it.
    pub fn as_c(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// The uppermost layer.
    pub fn layer(&self) -> &Layer {
        // SAFETY: alive until `self.layers` is dropped.
        unsafe { &*self.layers.top }
    }

    /// Whether the layers have been destroyed, by DESTROY or at the end.
    pub fn has_ended(&self) -> bool {
        self.layers.ended.load(Ordering::Acquire)
    }

    /// The nodes that the kernel knows.
    pub fn nodes(&self) -> &Nodes {
        self.nodes.get_or_init(|| Nodes::new(self.remember()))
    }

    /// The settings in force.
    pub fn config(&self) -> &Config {
        self.settings.get()
    }

    /// Lets `init` of the filesystem see and change the settings.
    pub fn change_settings(&self, change: impl FnOnce(*mut Config)) {
        let mut cell = self.settings.cell.lock();
        **cell = ConfigCell::new(self.config());
        change(cell.as_ptr());
        let mut config = *self.config();
        cell.read(&mut config);
        self.settings.replace(config);
    }
}
