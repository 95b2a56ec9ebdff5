//! Modules: layers that the user puts on top of a filesystem (`-o modules=`).
//!
//! `subdir` and `iconv` are built in. Any other NAME is the variable
//! `fuse_module_NAME_factory`, of the program itself (a factory that it
//! registers) or of `libfusemod_NAME.so`. A factory takes its options out of the
//! command line and gives a layer that calls the one below.
#![allow(unsafe_code)] // factories are C functions, found by name

pub mod iconv;
pub mod subdir;
mod translating;

use super::layer::Layer;
use crate::abi::args::ArgVec;
use crate::abi::public::Args;
use crate::errno::{Errno, Result};
use crate::log_error;
use crate::opt::{self, template, Matched, Receiver, Template, Verdict};
use crate::sys::dynamic;
use std::ffi::{CStr, CString};

/// `fuse_module_factory_t`. The layers below end with a NULL.
pub type Factory = unsafe extern "C" fn(args: *mut Args, below: *mut *mut Layer) -> *mut Layer;

/// The factory of the module `name`.
fn factory(name: &CStr) -> Result<Factory> {
    match name.to_bytes() {
        b"subdir" => return Ok(subdir::new),
        b"iconv" => return Ok(iconv::new),
        _ => {}
    }
    let text = name.to_string_lossy();
    let variable = CString::new(format!("fuse_module_{text}_factory")).map_err(|_| no(name))?;
    let file = CString::new(format!("libfusemod_{text}.so")).map_err(|_| no(name))?;
    let found = dynamic::variable(&variable).or_else(|| {
        dynamic::load(&file)
            .map_err(|why| log_error!("fuse: module {text} cannot be loaded: {why}"))
            .ok()?;
        dynamic::variable_of(&file, &variable)
    });
    match found {
        // SAFETY: that is what a variable of this name is; it is set for good.
        Some(variable) => match unsafe { *variable.cast::<Option<Factory>>().as_ptr() } {
            Some(factory) => Ok(factory),
            None => Err(no(name)),
        },
        None => Err(no(name)),
    }
}

fn no(name: &CStr) -> Errno {
    log_error!("fuse: there is no module `{}'", name.to_string_lossy());
    Errno(libc::ENOENT)
}

/// Puts the module `name` on top of `below`, which belongs to it from then on.
pub fn push(name: &CStr, args: &mut ArgVec, below: *mut Layer) -> Result<*mut Layer> {
    let factory = factory(name)?;
    let mut layers = [below, std::ptr::null_mut()];
    // SAFETY: a factory by its name, with what it wants.
    let layer = unsafe { factory(args.as_c(), layers.as_mut_ptr()) };
    if layer.is_null() {
        log_error!("fuse: module `{}' could not be set up", name.to_string_lossy());
        return Err(Errno(libc::EINVAL));
    }
    Ok(layer)
}

/// The options of the modules that are built in, and of those that `args` names.
pub fn help(args: &mut ArgVec) {
    let mut named = Named::default();
    let _ = opt::parse(args, NAMES, &mut named);
    let built_in = [c"subdir", c"iconv"].map(CString::from);
    let others = named.0.into_iter().filter(|name| !built_in.contains(name));
    for name in built_in.iter().cloned().chain(others) {
        let Ok(factory) = factory(&name) else { continue };
        let mut asking = ArgVec::new();
        if asking.push(c"").and_then(|()| asking.push(c"-h")).is_ok() {
            let mut none = [std::ptr::null_mut()];
            // SAFETY: a factory by its name, asked for help only.
            unsafe { factory(asking.as_c(), none.as_mut_ptr()) };
        }
    }
}

/// The modules of a command line that is only looked at.
#[derive(Default)]
struct Named(Vec<CString>);

const NAMES: &[Template<'static, ()>] = &[template(c"modules=", ())];

impl Receiver<()> for Named {
    fn matched(&mut self, _: &(), matched: &Matched<'_>, _: &mut ArgVec) -> Result<Verdict> {
        self.0 = names(matched.value);
        Ok(Verdict::Keep)
    }
}

/// The names in the value of the option `modules`, the lowest first.
pub fn names(value: &CStr) -> Vec<CString> {
    let names = value.to_bytes().split(|&byte| byte == b':').filter(|name| !name.is_empty());
    names.filter_map(|name| CString::new(name).ok()).collect()
}
