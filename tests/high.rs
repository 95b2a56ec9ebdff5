//! The path API on mounts (`tests/fs/path_trace.c`): every operation with its
//! arguments checked on both sides, the settings of `struct fuse_config`,
//! directories, hidden files, locks, and what is there beside operations.
//! `make test-stock` runs the same on libfuse.
#![allow(missing_docs)]

#[macro_use]
mod support;

#[path = "high/attributes.rs"]
mod attributes;
#[path = "high/dirs.rs"]
mod dirs;
#[path = "high/files.rs"]
mod files;
#[path = "high/hidden.rs"]
mod hidden;
#[path = "high/locks.rs"]
mod locks;
#[path = "high/modules.rs"]
mod modules;
#[path = "high/names.rs"]
mod names;
#[path = "high/settings.rs"]
mod settings;
#[path = "high/shown.rs"]
mod shown;
#[path = "high/tables.rs"]
mod tables;
