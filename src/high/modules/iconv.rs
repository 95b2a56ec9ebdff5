//! `-o modules=iconv,from_code=A,to_code=B`: names in B above, in A below.
#![allow(unsafe_code)] // a factory is a C function

use super::translating::{self, Translation};
use crate::abi::args::ArgVec;
use crate::abi::public::Args;
use crate::errno::{Errno, Result};
use crate::high::layer::Layer;
use crate::log_error;
use crate::opt::{self, template, Matched, Receiver, Template, Verdict};
use crate::sys::charset::{self, Converter};
use crate::sys::process;
use std::borrow::Cow;
use std::ffi::{CStr, CString};

#[derive(Default)]
struct Options {
    from: Option<CString>,
    to: Option<CString>,
    help: bool,
}

#[derive(Clone, Copy)]
enum Action {
    Help,
    From,
    To,
}

const TABLE: &[Template<'static, Action>] = &[
    template(c"-h", Action::Help),
    template(c"--help", Action::Help),
    template(c"from_code=", Action::From),
    template(c"to_code=", Action::To),
];

impl Receiver<Action> for Options {
    fn matched(
        &mut self,
        action: &Action,
        matched: &Matched<'_>,
        _out: &mut ArgVec,
    ) -> Result<Verdict> {
        match action {
            Action::Help => self.help = true,
            Action::From => self.from = Some(matched.value.to_owned()),
            Action::To => self.to = Some(matched.value.to_owned()),
        }
        Ok(Verdict::Drop)
    }
}

/// Names above are in the set `to_code`, names below in `from_code`.
struct Iconv {
    down: Converter,
    up: Converter,
}

impl Translation for Iconv {
    fn path(&self, path: &CStr) -> Result<CString> {
        self.down.convert(path)
    }

    fn target<'a>(&self, target: &'a CStr) -> Result<Cow<'a, CStr>> {
        self.down.convert(target).map(Cow::from)
    }

    fn found_target<'a>(&self, _path: &CStr, target: &'a CStr) -> Result<Cow<'a, CStr>> {
        self.up.convert(target).map(Cow::from)
    }

    fn found_name<'a>(&self, name: &'a CStr) -> Result<Cow<'a, CStr>> {
        self.up.convert(name).map(Cow::from)
    }
}

/// The factory.
///
/// # Safety
/// As `fuse_module_factory_t`: `args` is a vector, `below` a layer and a NULL.
pub unsafe extern "C" fn new(args: *mut Args, below: *mut *mut Layer) -> *mut Layer {
    // SAFETY: the caller's promise.
    unsafe { translating::make(args, below, parse) }
}

fn parse(args: &mut ArgVec) -> Result<Iconv> {
    let mut options = Options::default();
    opt::parse(args, TABLE, &mut options)?;
    if options.help {
        help();
        return Err(Errno(libc::EINVAL));
    }
    let from = options.from.unwrap_or_else(|| c"UTF-8".to_owned());
    let to = options.to.unwrap_or_else(charset::of_the_locale);
    let converter = |a: &CStr, b: &CStr| {
        Converter::new(a, b).inspect_err(|errno| {
            log_error!(
                "fuse: the module iconv cannot convert from {} to {}: {errno}",
                a.to_string_lossy(),
                b.to_string_lossy()
            );
        })
    };
    Ok(Iconv { down: converter(&to, &from)?, up: converter(&from, &to)? })
}

/// For `fuse_lib_help`.
fn help() {
    let text = format!(
        "\nOptions of the module iconv:\n    \
             -o from_code=CHARSET   how names are written below (default: UTF-8)\n    \
             -o to_code=CHARSET     how they are shown (default: {})\n",
        charset::of_the_locale().to_string_lossy()
    );
    process::print(&CString::new(text).unwrap_or_default());
}
