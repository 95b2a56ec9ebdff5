//! The test bed: real mounts of the C filesystems in `tests/fs`, on each
//! transport, with a guard that lets no mount and no process outlive a test.
//!
//! A test is written once and run on both transports:
//!
//! ```ignore
//! each_transport! {
//!     fn a_name_is_looked_up(on) {
//!         let fs = Server::new("trace_ll").mount(on);
//!         ...
//!     }
//! }
//! ```
//!
//! Environment:
//! * `RINGFUSE_TEST_BUILD`: where the test filesystems are; by default
//!   `build/tests/fs` of this tree.
//! * `RINGFUSE_TEST_LIBDIR`: a directory with another library to test.
//! * `RINGFUSE_TEST_CALLS`: a directory for what the filesystems called, see
//!   `record.rs`.
//! * `RINGFUSE_TEST_ROUNDS`: how often what is quick is repeated, by default 100 times.
//! * `RINGFUSE_TEST_CHECKED`: set by `scripts/sanitize.sh`, which runs the
//!   filesystems under a checker: how to link a program that it can watch.
//! * `RINGFUSE_TEST_STOCK=1`: the library under test is libfuse; what only
//!   ringfuse does is skipped.

#![allow(dead_code, unused_imports)] // each test program uses a part of it
#![allow(missing_docs)]

pub mod client;
pub mod machine;
pub mod mount;
pub mod process;
pub mod raw;
pub mod record;
pub mod trace;

pub use client::{eventually, fnv, me, pinned, Pinned};
pub use machine::{cpus, rounds, skip, stock, Transport};
pub use mount::{narrow, Ending, Mount, Server};
pub use trace::Line;

/// Defines each function as a module with two tests, `dev` and `ring`.
#[macro_export]
macro_rules! each_transport {
    ($($(#[$meta:meta])* fn $name:ident($on:ident) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn run($on: $crate::support::Transport) $body

            #[test]
            fn dev() {
                $crate::support::machine::on($crate::support::Transport::Dev, run);
            }

            #[test]
            fn ring() {
                $crate::support::machine::on($crate::support::Transport::Ring, run);
            }
        }
    )*};
}
