//! `fuse_parse_cmdline` and the help texts.

use crate::abi::args::ArgVec;
use crate::abi::public::{Args, CmdlineOpts};
use crate::cmdline;
use crate::sys::process;
use memoffset::offset_of;
use std::ffi::c_int;

/// Parses into the structure of 3.12 and later: 0 or -1. `opts` is written in
/// either case, and `opts.mountpoint` is the program's to free.
///
/// # Safety
/// `args` points to a vector; `opts` can be written, and need not be initialised.
#[no_mangle]
pub unsafe extern "C" fn fuse_parse_cmdline_312(args: *mut Args, opts: *mut CmdlineOpts) -> c_int {
    // SAFETY: the caller's promise.
    let (args, opts) = unsafe {
        opts.write(cmdline::DEFAULTS);
        (ArgVec::from_c(args), &mut *opts)
    };
    args.map_or(0, |args| if cmdline::parse(args, opts).is_ok() { 0 } else { -1 })
}

/// Parses into the shorter structure of before 3.12, which has no `max_threads`.
///
/// # Safety
/// As [`fuse_parse_cmdline_312`], with the 40 bytes of that structure.
#[no_mangle]
pub unsafe extern "C" fn fuse_parse_cmdline_30(args: *mut Args, opts: *mut CmdlineOpts) -> c_int {
    let mut all = cmdline::DEFAULTS;
    let common = offset_of!(CmdlineOpts, max_threads);
    // SAFETY: the caller's promise; only the common part is written.
    unsafe {
        let result = fuse_parse_cmdline_312(args, &mut all);
        opts.cast::<u8>().copy_from((&raw const all).cast(), common);
        result
    }
}

/// Prints the options of [`fuse_parse_cmdline_312`] to standard output.
#[no_mangle]
pub extern "C" fn fuse_cmdline_help() {
    process::print(cmdline::HELP);
}

/// Prints the options of a session to standard output.
#[no_mangle]
pub extern "C" fn fuse_lowlevel_help() {
    process::print(cmdline::LOWLEVEL_HELP);
}

/// Prints the version of the kernel's protocol to standard output.
#[no_mangle]
pub extern "C" fn fuse_lowlevel_version() {
    cmdline::print_lowlevel_version();
}
