//! `struct fuse_args` with its rules: who owns the vector, and how it grows.

use super::public::Args;
use crate::errno::{Errno, Result};
use crate::log_error;
use std::ffi::{c_char, c_int, CStr};

/// A `struct fuse_args`.
///
/// `argv` has `argc` C strings and a NULL after them. With `allocated` set,
/// the vector and its strings are malloc memory that this value owns (and that
/// a C program may free or reallocate); otherwise they are somebody else's,
/// outlive the value, and the vector cannot grow.
#[repr(transparent)]
pub struct ArgVec(Args);

impl ArgVec {
    /// No arguments; grows by [`push`](Self::push).
    pub const fn new() -> Self {
        Self(Args { argc: 0, argv: std::ptr::null_mut(), allocated: 0 })
    }

    /// A program's own structure, `None` for NULL.
    ///
    /// # Safety
    /// `args` is NULL, or points to a `struct fuse_args` that keeps the rules
    /// above and that nobody else uses for as long as the result lives.
    pub unsafe fn from_c<'a>(args: *mut Args) -> Option<&'a mut Self> {
        // SAFETY: the caller's promise; the representation is that of `Args`.
        unsafe { args.cast::<Self>().as_mut() }
    }

    /// What C callbacks get.
    pub fn as_c(&mut self) -> *mut Args {
        &mut self.0
    }

    /// The number of arguments.
    pub fn len(&self) -> usize {
        match self.0.argv.is_null() {
            true => 0,
            false => usize::try_from(self.0.argc).unwrap_or(0),
        }
    }

    /// Whether there is no argument, not even the program's name.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The argument at `index`.
    pub fn get(&self, index: usize) -> Option<&CStr> {
        if index >= self.len() {
            return None;
        }
        // SAFETY: `index` is below `argc`, so the element exists; a NULL there
        // would break the rules, and ends the vector early.
        unsafe {
            let argument = *self.0.argv.add(index);
            (!argument.is_null()).then(|| CStr::from_ptr(argument))
        }
    }

    /// All arguments in order.
    pub fn iter(&self) -> impl Iterator<Item = &CStr> {
        (0..self.len()).map_while(|index| self.get(index))
    }

    /// Appends a copy of `argument`.
    pub fn push(&mut self, argument: &CStr) -> Result<()> {
        self.insert(self.len(), argument)
    }

    /// Puts a copy of `argument` before the one at `position`.
    pub fn insert(&mut self, position: usize, argument: &CStr) -> Result<()> {
        let len = self.len();
        if self.0.allocated == 0 && !self.0.argv.is_null() {
            log_error!(
                "fuse: cannot add argument {argument:?} to a vector that was not allocated by \
                 fuse_opt_parse() or fuse_opt_add_arg()"
            );
            return Err(Errno(libc::EINVAL));
        }
        if position > len {
            log_error!("fuse: cannot insert argument {argument:?} at {position}: there are {len}");
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: the vector is NULL or malloc memory of `len + 1` pointers, and
        // becomes one of `len + 2`; `position <= len`, so the elements from there
        // on and the NULL behind them move up by one inside it.
        unsafe {
            let copy = libc::strdup(argument.as_ptr());
            let size = (len + 2) * size_of::<*mut c_char>();
            let argv: *mut *mut c_char = libc::realloc(self.0.argv.cast(), size).cast();
            if !argv.is_null() {
                self.0.argv = argv;
                self.0.allocated = 1;
                self.0.argc = len as c_int;
                *argv.add(len) = std::ptr::null_mut();
            }
            if copy.is_null() || argv.is_null() {
                libc::free(copy.cast());
                log_error!("fuse: cannot add argument {argument:?}: out of memory");
                return Err(Errno(libc::ENOMEM));
            }
            let here = argv.add(position);
            here.copy_to(here.add(1), len + 1 - position);
            *here = copy;
        }
        self.0.argc += 1;
        Ok(())
    }

    /// Drops the last argument.
    pub fn pop(&mut self) {
        let Some(last) = self.len().checked_sub(1) else { return };
        // SAFETY: `last` is below `argc`; an allocated vector owns its strings.
        unsafe {
            let slot = self.0.argv.add(last);
            if self.0.allocated != 0 {
                libc::free((*slot).cast());
            }
            *slot = std::ptr::null_mut();
        }
        self.0.argc = last as c_int;
    }

    /// Frees what is owned, and leaves an empty vector.
    pub fn clear(&mut self) {
        if self.0.allocated != 0 {
            // SAFETY: an allocated vector owns itself and its strings.
            unsafe {
                for index in 0..self.len() {
                    libc::free((*self.0.argv.add(index)).cast());
                }
                libc::free(self.0.argv.cast());
            }
        }
        self.0 = Args { argc: 0, argv: std::ptr::null_mut(), allocated: 0 };
    }
}

impl Default for ArgVec {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for ArgVec {
    fn drop(&mut self) {
        self.clear();
    }
}
