//! ringfuse: a drop-in replacement for libfuse3.
#![deny(unsafe_code)]

pub mod abi;
pub mod errno;
pub mod log;
pub mod sys;
