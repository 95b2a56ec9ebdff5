//! Conversion between character sets: iconv(3).

use crate::errno::{Errno, Result};
use libc::{c_char, c_void};
use parking_lot::Mutex;
use std::ffi::{CStr, CString};

extern "C" {
    // Not in the libc crate for every target; iconv(3).
    fn iconv_open(to: *const c_char, from: *const c_char) -> *mut c_void;
    fn iconv(
        cd: *mut c_void,
        from: *mut *mut c_char,
        from_left: *mut usize,
        to: *mut *mut c_char,
        to_left: *mut usize,
    ) -> usize;
    fn iconv_close(cd: *mut c_void) -> libc::c_int;
}

/// A direction of conversion. It has a state, so one thread at a time uses it.
pub struct Converter(Mutex<*mut c_void>);

// SAFETY: a conversion descriptor belongs to nobody; the lock keeps threads apart.
unsafe impl Send for Converter {}
// SAFETY: as above.
unsafe impl Sync for Converter {}

impl Converter {
    /// From one character set to another, by the names that iconv(1) knows.
    pub fn new(from: &CStr, to: &CStr) -> Result<Self> {
        // SAFETY: C strings.
        let descriptor = unsafe { iconv_open(to.as_ptr(), from.as_ptr()) };
        match descriptor as isize {
            -1 => Err(Errno::last()),
            _ => Ok(Self(Mutex::new(descriptor))),
        }
    }

    /// `text` in the other character set; EILSEQ if it has something that is not
    /// there.
    pub fn convert(&self, text: &CStr) -> Result<CString> {
        let descriptor = self.0.lock();
        let bytes = text.to_bytes();
        // No character set needs more than four bytes for one, and a shift back.
        let mut out = vec![0u8; 4 * bytes.len() + 16];
        let (mut from, mut left) = (bytes.as_ptr().cast_mut().cast::<c_char>(), bytes.len());
        let (mut to, mut room) = (out.as_mut_ptr().cast::<c_char>(), out.len());
        let null = std::ptr::null_mut();
        // SAFETY: the pointers and lengths are those of `bytes` and `out`, which
        // iconv moves on; without input it sets its state back.
        unsafe {
            iconv(*descriptor, null, null.cast(), null, null.cast());
            if iconv(*descriptor, &mut from, &mut left, &mut to, &mut room) == usize::MAX {
                return Err(Errno::last());
            }
            iconv(*descriptor, null, null.cast(), &mut to, &mut room);
        }
        let len = out.len() - room;
        out.truncate(len);
        CString::new(out).map_err(|_| Errno(libc::EILSEQ))
    }
}

impl Drop for Converter {
    fn drop(&mut self) {
        // SAFETY: opened by `new`, closed once.
        unsafe { iconv_close(*self.0.get_mut()) };
    }
}

/// The character set of the user's locale, whatever the program has set.
pub fn of_the_locale() -> CString {
    // SAFETY: a locale object of our own; the name is copied before it goes.
    unsafe {
        let locale = libc::newlocale(libc::LC_CTYPE_MASK, c"".as_ptr(), std::ptr::null_mut());
        if locale.is_null() {
            return c"ANSI_X3.4-1968".to_owned();
        }
        let name = CStr::from_ptr(libc::nl_langinfo_l(libc::CODESET, locale)).to_owned();
        libc::freelocale(locale);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latin_and_back() {
        let down = Converter::new(c"UTF-8", c"ISO-8859-1").unwrap();
        let up = Converter::new(c"ISO-8859-1", c"UTF-8").unwrap();
        let latin = down.convert(c"/K\u{f6}ln").unwrap();
        assert_eq!(latin.to_bytes(), b"/K\xf6ln");
        assert_eq!(up.convert(&latin).unwrap().as_c_str(), c"/K\u{f6}ln");
        assert_eq!(down.convert(c"\u{65e5}").unwrap_err(), Errno(libc::EILSEQ));
    }

    #[test]
    fn unknown() {
        assert!(Converter::new(c"UTF-8", c"no such thing").is_err());
    }
}
