//! `-o modules=subdir,subdir=DIR`: shows DIR of the filesystem below as the root.
#![allow(unsafe_code)] // a factory is a C function

use super::translating::{self, Translation};
use crate::abi::args::ArgVec;
use crate::abi::public::Args;
use crate::errno::{Errno, Result};
use crate::high::layer::Layer;
use crate::log_error;
use crate::opt::{self, template, Matched, Receiver, Template, Verdict};
use crate::sys::process;
use std::borrow::Cow;
use std::ffi::{CStr, CString};

/// For `fuse_lib_help`.
const HELP: &CStr = c"
Options of the module subdir:
    -o subdir=DIR          show this directory as the root (needed)
    -o [no]rellinks        make absolute links into it relative
";

#[derive(Default)]
struct Subdir {
    /// With a slash at its end.
    base: Vec<u8>,
    relative_links: bool,
    help: bool,
}

#[derive(Clone, Copy)]
enum Action {
    Help,
    Directory,
    RelativeLinks(bool),
}

const TABLE: &[Template<'static, Action>] = &[
    template(c"-h", Action::Help),
    template(c"--help", Action::Help),
    template(c"subdir=", Action::Directory),
    template(c"rellinks", Action::RelativeLinks(true)),
    template(c"norellinks", Action::RelativeLinks(false)),
];

impl Receiver<Action> for Subdir {
    fn matched(
        &mut self,
        action: &Action,
        matched: &Matched<'_>,
        _out: &mut ArgVec,
    ) -> Result<Verdict> {
        match action {
            Action::Help => self.help = true,
            Action::Directory => self.base = matched.value.to_bytes().to_vec(),
            Action::RelativeLinks(on) => self.relative_links = *on,
        }
        Ok(Verdict::Drop)
    }
}

impl Translation for Subdir {
    fn path(&self, path: &CStr) -> Result<CString> {
        let path = path.to_bytes();
        let rest = path.strip_prefix(b"/").unwrap_or(path);
        Ok(CString::new([&*self.base, rest].concat()).unwrap_or_default())
    }

    fn found_target<'a>(&self, path: &CStr, target: &'a CStr) -> Result<Cow<'a, CStr>> {
        let inside = target.to_bytes().strip_prefix(&*self.base);
        let Some(rest) = inside.filter(|_| self.relative_links) else {
            return Ok(target.into());
        };
        // As many steps up as the link is deep.
        let path = path.to_bytes();
        let depth = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).count();
        let up = b"../".repeat(depth.saturating_sub(1));
        let relative = match [&*up, rest].concat() {
            here if here.is_empty() => b".".to_vec(),
            relative => relative,
        };
        Ok(CString::new(relative).unwrap_or_default().into())
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

fn parse(args: &mut ArgVec) -> Result<Subdir> {
    let mut subdir = Subdir::default();
    opt::parse(args, TABLE, &mut subdir)?;
    if subdir.help {
        process::print(HELP);
        return Err(Errno(libc::EINVAL));
    }
    if subdir.base.is_empty() {
        log_error!("fuse: the module subdir needs the option subdir=DIR");
        return Err(Errno(libc::EINVAL));
    }
    if !subdir.base.ends_with(b"/") {
        subdir.base.push(b'/');
    }
    Ok(subdir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subdir() -> Subdir {
        Subdir { base: b"/foo/".to_vec(), relative_links: true, help: false }
    }

    #[test]
    fn paths() {
        for (path, below) in [(c"/", c"/foo/"), (c"/a", c"/foo/a"), (c"/a/b", c"/foo/a/b")] {
            assert_eq!(subdir().path(path).unwrap().as_c_str(), below);
        }
    }

    #[test]
    fn links() {
        for (path, target, shown) in [
            (c"/link", c"/foo/x/y", c"x/y"),
            (c"/d/e/link", c"/foo/x/y", c"../../x/y"),
            (c"/link", c"/foo/", c"."),
            (c"/link", c"/food", c"/food"),
            (c"/link", c"rel/x", c"rel/x"),
        ] {
            assert_eq!(subdir().found_target(path, target).unwrap().as_ref(), shown);
        }
    }
}
