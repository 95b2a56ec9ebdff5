//! Every function that C programs call, and nothing else: a function here
//! checks and converts its arguments, and calls what does the work.
#![allow(unsafe_code)] // C's pointers come in here

pub mod buf;
pub mod cmdline;
pub mod common;
pub mod cuse;
pub mod daemonize;
pub mod high;
pub mod notify;
pub mod opt;
pub mod reply;
pub mod ringfuse;
pub mod secctx;
pub mod session;
pub mod signals;
