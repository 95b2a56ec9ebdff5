//! The C functions under test, ours and those of an installed libfuse3, behind
//! one set of function pointers; and what several tests need.
//!
//! `RINGFUSE_STOCK=PATH` names the library to compare with; else it is the
//! system's `libfuse3.so.3`, or `libfuse3.so.4`.
#![allow(dead_code)] // every test uses a part of this

use libc::{c_char, c_int, c_uint, c_void};
use ringfuse::abi::public::{Args, Bufvec, CmdlineOpts, Opt, OptProc};
use ringfuse::ffi;
use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::io::Write;
use std::sync::Once;

/// The functions that both libraries have.
#[derive(Clone, Copy)]
pub struct Api {
    pub parse: unsafe extern "C" fn(*mut Args, *mut c_void, *const Opt, Option<OptProc>) -> c_int,
    pub add_opt: unsafe extern "C" fn(*mut *mut c_char, *const c_char) -> c_int,
    pub add_opt_escaped: unsafe extern "C" fn(*mut *mut c_char, *const c_char) -> c_int,
    pub add_arg: unsafe extern "C" fn(*mut Args, *const c_char) -> c_int,
    pub insert_arg: unsafe extern "C" fn(*mut Args, c_int, *const c_char) -> c_int,
    pub free_args: unsafe extern "C" fn(*mut Args),
    pub matches: unsafe extern "C" fn(*const Opt, *const c_char) -> c_int,
    pub cmdline_30: unsafe extern "C" fn(*mut Args, *mut CmdlineOpts) -> c_int,
    pub cmdline_312: unsafe extern "C" fn(*mut Args, *mut CmdlineOpts) -> c_int,
    pub buf_size: unsafe extern "C" fn(*const Bufvec) -> usize,
    pub buf_copy: unsafe extern "C" fn(*mut Bufvec, *mut Bufvec, c_uint) -> isize,
    /// Bytes from one buffer of a vector to the next.
    pub stride: usize,
}

pub fn ours() -> Api {
    Api {
        parse: ffi::opt::fuse_opt_parse,
        add_opt: ffi::opt::fuse_opt_add_opt,
        add_opt_escaped: ffi::opt::fuse_opt_add_opt_escaped,
        add_arg: ffi::opt::fuse_opt_add_arg,
        insert_arg: ffi::opt::fuse_opt_insert_arg,
        free_args: ffi::opt::fuse_opt_free_args,
        matches: ffi::opt::fuse_opt_match,
        cmdline_30: ffi::cmdline::fuse_parse_cmdline_30,
        cmdline_312: ffi::cmdline::fuse_parse_cmdline_312,
        buf_size: ffi::buf::fuse_buf_size,
        buf_copy: ffi::buf::fuse_buf_copy,
        stride: ringfuse::abi::public::Buf::stride(),
    }
}

extern "C" fn quiet(_level: c_int, _format: *const c_char, _arguments: *mut c_void) {}

/// An installed libfuse3.
pub struct Stock(*mut c_void);

impl Stock {
    /// A function, which must exist, as the pointer type `F`.
    pub fn function<F: Copy>(&self, name: &CStr, version: &CStr) -> F {
        let found = unsafe { libc::dlvsym(self.0, name.as_ptr(), version.as_ptr()) };
        assert!(!found.is_null(), "stock libfuse3 lacks {name:?} of {version:?}");
        assert_eq!(size_of::<F>(), size_of_val(&found));
        unsafe { std::mem::transmute_copy(&found) }
    }
}

/// The installed libfuse3, made silent, or `None` after saying that `test` is
/// skipped.
pub fn load_stock(test: &str) -> Option<Stock> {
    let named = std::env::var("RINGFUSE_STOCK").ok();
    let candidates = match &named {
        Some(path) => vec![path.as_str()],
        None => vec!["libfuse3.so.3", "libfuse3.so.4"],
    };
    let library = candidates.into_iter().find_map(|name| {
        let name = CString::new(name).unwrap();
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        let is = |name: &CStr| !unsafe { libc::dlsym(library, name.as_ptr()) }.is_null();
        (!library.is_null() && !is(c"ringfuse_version")).then_some(Stock(library))
    });
    let Some(stock) = library else {
        assert!(named.is_none(), "RINGFUSE_STOCK does not name a libfuse3: {named:?}");
        skip(
            test,
            "no libfuse3.so.3 or .so.4 other than ours is installed (apt-get install libfuse3-3)",
        );
        return None;
    };
    // Its error lines would drown the test's own.
    type SetLogFunc = extern "C" fn(extern "C" fn(c_int, *const c_char, *mut c_void));
    stock.function::<SetLogFunc>(c"fuse_set_log_func", c"FUSE_3.7")(quiet);
    Some(stock)
}

/// The installed libfuse3's functions, as [`load_stock`].
pub fn stock(test: &str) -> Option<Api> {
    let stock = load_stock(test)?;
    let version: extern "C" fn() -> c_int = stock.function(c"fuse_version", c"FUSE_3.0");
    Some(Api {
        parse: stock.function(c"fuse_opt_parse", c"FUSE_3.0"),
        add_opt: stock.function(c"fuse_opt_add_opt", c"FUSE_3.0"),
        add_opt_escaped: stock.function(c"fuse_opt_add_opt_escaped", c"FUSE_3.0"),
        add_arg: stock.function(c"fuse_opt_add_arg", c"FUSE_3.0"),
        insert_arg: stock.function(c"fuse_opt_insert_arg", c"FUSE_3.0"),
        free_args: stock.function(c"fuse_opt_free_args", c"FUSE_3.0"),
        matches: stock.function(c"fuse_opt_match", c"FUSE_3.0"),
        cmdline_30: stock.function(c"fuse_parse_cmdline", c"FUSE_3.0"),
        cmdline_312: stock.function(c"fuse_parse_cmdline", c"FUSE_3.12"),
        buf_size: stock.function(c"fuse_buf_size", c"FUSE_3.0"),
        buf_copy: stock.function(c"fuse_buf_copy", c"FUSE_3.0"),
        stride: if version() < 317 { 40 } else { 48 },
    })
}

/// Says, past the test harness's capture, that and why `test` did not run.
pub fn skip(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

thread_local! {
    static LOG: RefCell<String> = const { RefCell::new(String::new()) };
}

extern "C" fn collect(_level: c_int, message: *const c_char) {
    let message = unsafe { CStr::from_ptr(message) }.to_string_lossy();
    LOG.with_borrow_mut(|log| log.push_str(&message));
}

/// What our library logged on this thread during `action`, and its result.
pub fn logged<T>(action: impl FnOnce() -> T) -> (T, String) {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| ringfuse::log::set_sink(collect));
    LOG.take();
    let result = action();
    (result, LOG.take())
}

/// An argument vector that belongs to the test: `allocated` is 0.
pub struct Command {
    _strings: Vec<CString>,
    _pointers: Vec<*mut c_char>,
    pub args: Args,
}

impl Command {
    pub fn new<S: AsRef<[u8]>>(arguments: &[S]) -> Self {
        let strings: Vec<_> = arguments.iter().map(|a| CString::new(a.as_ref()).unwrap()).collect();
        let mut pointers: Vec<_> = strings.iter().map(|s| s.as_ptr().cast_mut()).collect();
        pointers.push(std::ptr::null_mut());
        let args =
            Args { argc: arguments.len() as c_int, argv: pointers.as_mut_ptr(), allocated: 0 };
        Self { _strings: strings, _pointers: pointers, args }
    }

    /// What is in the vector now; checks the NULL behind it.
    pub fn arguments(&self) -> Vec<String> {
        arguments(&self.args)
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        unsafe { ringfuse::ffi::opt::fuse_opt_free_args(&mut self.args) };
    }
}

/// What is in `args`; checks the NULL behind it.
pub fn arguments(args: &Args) -> Vec<String> {
    if args.argv.is_null() {
        assert_eq!(args.argc, 0);
        return Vec::new();
    }
    let argc = args.argc as usize;
    unsafe {
        assert!((*args.argv.add(argc)).is_null(), "no NULL behind the last argument");
        (0..argc).map(|i| text(*args.argv.add(i)).unwrap()).collect()
    }
}

/// A C string as text, `None` for NULL.
pub unsafe fn text(pointer: *const c_char) -> Option<String> {
    let string = (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) })?;
    Some(string.to_bytes().escape_ascii().to_string())
}

/// Random numbers that are the same for the same seed.
pub struct Random(u64);

impl Random {
    /// From `RINGFUSE_SEED`, or a fixed seed; printed, so that a failure can be repeated.
    pub fn from_environment() -> Self {
        let seed = std::env::var("RINGFUSE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(318);
        println!("RINGFUSE_SEED={seed}");
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % end
    }

    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}
