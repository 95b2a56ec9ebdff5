//! `fuse_opt.h`.
//!
//! Strings handed out are malloc memory of the program, which may free or
//! reallocate them.

use crate::abi::args::ArgVec;
use crate::abi::public::{Args, Opt, OptProc};
use crate::errno::{Errno, Result};
use crate::log_error;
use crate::opt::{self, Group, Kind, Matched, Receiver, Template, Verdict};
use crate::sys::scan::scan;
use std::ffi::{c_char, c_int, c_ulong, c_void, CStr};

const KEY_OPT: c_int = -1;
const KEY_NONOPT: c_int = -2;
const KEY_KEEP: c_int = -3;
const KEY_DISCARD: c_int = -4;

/// Parses `args` with the program's table, data and callback: 0, or -1 with
/// `args` as it was.
///
/// # Safety
/// As C has it: `table` ends with a row without template, its offsets and
/// conversions fit `data`, and `callback` may be called with `data`.
#[no_mangle]
pub unsafe extern "C" fn fuse_opt_parse(
    args: *mut Args,
    data: *mut c_void,
    table: *const Opt,
    callback: Option<OptProc>,
) -> c_int {
    // SAFETY: the caller's promise.
    let (args, table) = unsafe { (ArgVec::from_c(args), rows(table)) };
    status(args.map_or(Ok(()), |args| opt::parse(args, &table, &mut Program { data, callback })))
}

/// Appends `text` to the group `*group` as it is.
///
/// # Safety
/// `*group` is NULL or malloc memory; `text` is a C string.
#[no_mangle]
pub unsafe extern "C" fn fuse_opt_add_opt(group: *mut *mut c_char, text: *const c_char) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { append(group, |group| group.push_escaped(CStr::from_ptr(text).to_bytes())) }
}

/// Appends `text` to the group `*group`, its commas and backslashes escaped.
///
/// # Safety
/// As [`fuse_opt_add_opt`].
#[no_mangle]
pub unsafe extern "C" fn fuse_opt_add_opt_escaped(
    group: *mut *mut c_char,
    text: *const c_char,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { append(group, |group| group.push(CStr::from_ptr(text))) }
}

/// Appends a copy of `argument`.
///
/// # Safety
/// `args` points to a vector, `argument` to a C string.
#[no_mangle]
pub unsafe extern "C" fn fuse_opt_add_arg(args: *mut Args, argument: *const c_char) -> c_int {
    // SAFETY: the caller's promise.
    let (args, argument) = unsafe { (ArgVec::from_c(args), CStr::from_ptr(argument)) };
    status(args.ok_or(Errno(libc::EINVAL)).and_then(|args| args.push(argument)))
}

/// Inserts a copy of `argument` before the one at `position`.
///
/// # Safety
/// As [`fuse_opt_add_arg`].
#[no_mangle]
pub unsafe extern "C" fn fuse_opt_insert_arg(
    args: *mut Args,
    position: c_int,
    argument: *const c_char,
) -> c_int {
    // SAFETY: the caller's promise.
    let (args, argument) = unsafe { (ArgVec::from_c(args), CStr::from_ptr(argument)) };
    let position = usize::try_from(position).unwrap_or(usize::MAX);
    status(args.ok_or(Errno(libc::EINVAL)).and_then(|args| args.insert(position, argument)))
}

/// Empties `args`, and frees it if it was allocated; NULL is fine.
///
/// # Safety
/// `args` is NULL or points to a vector.
#[no_mangle]
pub unsafe extern "C" fn fuse_opt_free_args(args: *mut Args) {
    // SAFETY: the caller's promise.
    if let Some(args) = unsafe { ArgVec::from_c(args) } {
        args.clear();
    }
}

/// 1 if a row of `table` stands for `argument`, else 0.
///
/// # Safety
/// As [`fuse_opt_parse`]; `argument` is a C string.
#[no_mangle]
pub unsafe extern "C" fn fuse_opt_match(table: *const Opt, argument: *const c_char) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { opt::matches(&rows(table), CStr::from_ptr(argument)) as c_int }
}

fn status(result: Result<()>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(_) => -1,
    }
}

/// Replaces the malloc'ed `*text` by what `change` makes of it.
///
/// # Safety
/// `*text` is NULL or a malloc'ed C string.
unsafe fn append(text: *mut *mut c_char, change: impl FnOnce(&mut Group)) -> c_int {
    // SAFETY: the caller's promise.
    let old = unsafe { (*text).as_ref().map(|first| CStr::from_ptr(first)) };
    let mut group = Group::starting_with(old);
    change(&mut group);
    let new = group.take().unwrap_or_default();
    // SAFETY: `old`, which borrows `*text`, is not used any more.
    unsafe {
        let new = libc::strdup(new.as_ptr());
        if new.is_null() {
            log_error!("fuse: cannot add to an option group: out of memory");
            return -1;
        }
        libc::free((*text).cast());
        *text = new;
    }
    0
}

/// What a row of a C table asks for.
struct Row {
    offset: c_ulong,
    value: c_int,
}

impl Row {
    /// `FUSE_OPT_KEY`: the callback is asked, with `value` as the key.
    const KEY: c_ulong = u32::MAX as c_ulong;
}

/// The rows of a C table; none for NULL.
///
/// # Safety
/// `table` is NULL, or ends with a row without template and outlives the result.
unsafe fn rows<'a>(table: *const Opt) -> Vec<Template<'a, Row>> {
    let mut rows = Vec::new();
    let mut next = table;
    // SAFETY: rows are read up to the one without template, which exists.
    unsafe {
        while let Some(row) = next.as_ref().filter(|row| !row.templ.is_null()) {
            let text = CStr::from_ptr(row.templ);
            rows.push(opt::template(text, Row { offset: row.offset, value: row.value }));
            next = next.add(1);
        }
    }
    rows
}

/// A C program's side of the parser.
struct Program {
    data: *mut c_void,
    callback: Option<OptProc>,
}

impl Program {
    fn call(&self, key: c_int, argument: &CStr, out: &mut ArgVec) -> Result<Verdict> {
        let callback = match (key, self.callback) {
            (KEY_DISCARD, _) => return Ok(Verdict::Drop),
            (KEY_KEEP, _) | (_, None) => return Ok(Verdict::Keep),
            (_, Some(callback)) => callback,
        };
        // SAFETY: `fuse_opt_parse`'s caller vouches for callback and data.
        match unsafe { callback(self.data, argument.as_ptr(), key, out.as_c()) } {
            -1 => Err(Errno(libc::EINVAL)),
            0 => Ok(Verdict::Drop),
            _ => Ok(Verdict::Keep),
        }
    }
}

impl Receiver<Row> for Program {
    fn matched(&mut self, row: &Row, matched: &Matched<'_>, out: &mut ArgVec) -> Result<Verdict> {
        if row.offset == Row::KEY {
            return self.call(row.value, matched.argument, out);
        }
        let field = self.data.cast::<u8>().wrapping_add(row.offset as usize);
        // SAFETY: `fuse_opt_parse`'s caller vouches that `data` has, at this
        // offset, what the row says: an int, a malloc'ed string, or what the
        // conversion stores.
        unsafe {
            if matched.conversion.is_empty() {
                *field.cast::<c_int>() = row.value;
            } else if matched.conversion.to_bytes().starts_with(b"%s") {
                let copy = libc::strdup(matched.value.as_ptr());
                if copy.is_null() {
                    log_error!("fuse: cannot keep option {:?}: out of memory", matched.argument);
                    return Err(Errno(libc::ENOMEM));
                }
                libc::free(field.cast::<*mut c_void>().replace(copy.cast()));
            } else if !scan(matched.value.as_ptr(), matched.conversion.as_ptr(), field.cast()) {
                return Err(matched.invalid());
            }
        }
        Ok(Verdict::Drop)
    }

    fn unmatched(&mut self, kind: Kind, argument: &CStr, out: &mut ArgVec) -> Result<Verdict> {
        let key = match kind {
            Kind::Option => KEY_OPT,
            Kind::NonOption => KEY_NONOPT,
        };
        self.call(key, argument, out)
    }
}
