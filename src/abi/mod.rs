//! Data layouts, and nothing else: what crosses the boundary to the kernel
//! (`kernel`) and to C programs (`public`, and `high` for `fuse.h`). `layout` asserts at compile time
//! that both are what they must be. `args` has the one structure with rules of
//! its own: an argument vector.
#![allow(unsafe_code)] // zerocopy's derives, and reads of C structs of varying size

pub mod args;
pub mod high;
pub mod kernel;
pub mod layout;
pub mod public;
