//! Variables of the program and of shared objects, by name.

use std::ffi::{c_void, CStr};
use std::ptr::NonNull;

/// What the dynamic linker said last.
fn last_error() -> String {
    // SAFETY: NULL or a string that lives until the next call of this thread.
    unsafe {
        let text = libc::dlerror();
        if text.is_null() {
            return "no reason given".into();
        }
        CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}

fn look_up(handle: *mut c_void, name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: a handle of dlopen, or the default one.
    NonNull::new(unsafe { libc::dlsym(handle, name.as_ptr()) })
}

/// The variable `name` of the program or of a library it has loaded.
pub fn variable(name: &CStr) -> Option<NonNull<c_void>> {
    look_up(libc::RTLD_DEFAULT, name)
}

/// Loads the shared object `file`, for good.
pub fn load(file: &CStr) -> Result<(), String> {
    // SAFETY: runs the object's constructors, which is what is asked for.
    match unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) } {
        handle if handle.is_null() => Err(last_error()),
        _ => Ok(()),
    }
}

/// The variable `name` of the shared object `file`, which was loaded.
pub fn variable_of(file: &CStr, name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: only finds what is there.
    let handle = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) };
    (!handle.is_null()).then(|| look_up(handle, name)).flatten()
}
