//! ringfuse: a drop-in replacement for libfuse3 that serves C filesystems over
//! io_uring rings where the kernel offers them.
//!
//! | module | what |
//! |---|---|
//! | [`ffi`] | every function that C calls; converts, and calls the rest |
//! | [`session`] | sessions, INIT, dispatch, requests, replies, notifications, loops; character devices |
//! | [`transport`] | how requests come and answers go: `/dev/fuse`, rings, the program's own functions |
//! | [`high`] | the path API, on top of sessions |
//! | [`mount`] | mounting and unmounting |
//! | [`opt`], [`cmdline`], [`conn`], [`loop_config`] | options, command line, connection settings |
//! | [`buf`], [`daemonize`], [`signals`], [`log`], [`errno`] | what is left of the API |
//! | [`abi`], [`sys`] | data layouts; system calls |
//!
//! # The life of a request
//! A client's system call becomes a FUSE request. On `/dev/fuse` a worker reads
//! it ([`session::workers`], [`transport::dev`]); on a ring the kernel writes it
//! into an entry, and a handler thread finds its completion
//! ([`transport::ring`]). Either way the bytes become a typed operation
//! ([`session::decode`]), and the filesystem's callback runs on that thread
//! ([`session::dispatch`]) with a pointer to the [`session::request::Request`].
//! The callback, or any thread later, calls a `fuse_reply_*` ([`ffi::reply`],
//! [`session::reply`]), and the answer travels the way the request came
//! ([`transport::answer`]): written to the descriptor, or put into the entry,
//! which is committed to the kernel and fetches the next request.
#![deny(unsafe_code)]

pub mod abi;
pub mod buf;
pub mod cmdline;
pub mod conn;
pub mod daemonize;
pub mod errno;
pub mod ffi;
pub mod high;
pub mod log;
pub mod loop_config;
pub mod mount;
pub mod opt;
pub mod session;
pub mod signals;
pub mod sys;
pub mod transport;
