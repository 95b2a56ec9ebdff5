//! The mount options of a session: which arguments are one, and how the kernel
//! and `fusermount3` want to hear them.
//!
//! Pure: nothing here makes a system call. Values are byte strings as the user
//! gave them, already unescaped by the argument parser.

use std::ffi::{c_ulong, CStr, CString};

use libc::{
    MS_DIRSYNC, MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW,
    MS_RDONLY, MS_STRICTATIME, MS_SYNCHRONOUS,
};

use crate::errno::{Errno, Result};
use crate::log_error;

/// An option that sets (`true`) or clears a flag of the mount. The order is
/// that in which `fusermount3` is told of the set ones.
const FLAGS: &[(&str, c_ulong, bool)] = &[
    ("rw", MS_RDONLY, false),
    ("ro", MS_RDONLY, true),
    ("-r", MS_RDONLY, true),
    ("suid", MS_NOSUID, false),
    ("nosuid", MS_NOSUID, true),
    ("dev", MS_NODEV, false),
    ("nodev", MS_NODEV, true),
    ("exec", MS_NOEXEC, false),
    ("noexec", MS_NOEXEC, true),
    ("async", MS_SYNCHRONOUS, false),
    ("sync", MS_SYNCHRONOUS, true),
    ("dirsync", MS_DIRSYNC, true),
    ("atime", MS_NOATIME, false),
    ("noatime", MS_NOATIME, true),
    ("nodiratime", MS_NODIRATIME, true),
    ("nostrictatime", MS_STRICTATIME, false),
    ("symfollow", MS_NOSYMFOLLOW, false),
    ("nosymfollow", MS_NOSYMFOLLOW, true),
];

/// A parameter that the kernel's fuse filesystem (or the security module)
/// understands: `name` or `name=value`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parameter {
    /// The name.
    pub name: CString,
    /// The value, without the quotes that protect its commas in a list.
    pub value: Option<CString>,
}

/// What the command line says about the mount.
#[derive(Clone, Debug)]
pub struct MountOptions {
    flags: c_ulong,
    parameters: Vec<Parameter>,
    fsname: Option<CString>,
    subtype: Option<CString>,
    blkdev: bool,
    auto_unmount: bool,
    max_read: u32,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            flags: MS_NOSUID | MS_NODEV,
            parameters: Vec::new(),
            fsname: None,
            subtype: None,
            blkdev: false,
            auto_unmount: false,
            max_read: 0,
        }
    }
}

impl MountOptions {
    /// Takes one option of the command line: a member of an `-o` list, or
    /// `-r` or `-n`. False when it is no mount option; an error, already
    /// logged, when its value is malformed. A later option overrides an
    /// earlier one of the same name.
    pub fn take(&mut self, option: &CStr) -> Result<bool> {
        let bytes = option.to_bytes();
        if let Some(&(_, flag, set)) = FLAGS.iter().find(|(name, ..)| name.as_bytes() == bytes) {
            self.flags = if set { self.flags | flag } else { self.flags & !flag };
            return Ok(true);
        }
        let (name, value) = match bytes.iter().position(|&byte| byte == b'=') {
            Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
            None => (bytes, None),
        };
        match (name, value) {
            (b"allow_other" | b"default_permissions", None) => self.set_parameter(name, None),
            (b"blksize", Some(_)) => self.set_parameter(name, value),
            (b"context" | b"fscontext" | b"defcontext" | b"rootcontext", Some(value)) => {
                self.set_parameter(name, Some(unquoted(value)));
            }
            (b"max_read", Some(size)) => {
                self.max_read = parse_size(size).ok_or_else(|| {
                    log_error!(
                        "fuse: invalid parameter in option `{}': expected a number of bytes below 4 GiB",
                        option.to_string_lossy()
                    );
                    Errno(libc::EINVAL)
                })?;
                let digits = self.max_read.to_string();
                self.set_parameter(name, Some(digits.as_bytes()));
            }
            (b"fsname", Some(value)) => self.fsname = non_empty(value),
            (b"subtype", Some(value)) => self.subtype = non_empty(value),
            (b"blkdev", None) => self.blkdev = true,
            (b"auto_unmount", None) => self.auto_unmount = true,
            // Notes for /etc/mtab, which nothing keeps any more: see the module `mount`.
            (b"-n", None) | (b"user", Some(_)) => {}
            _ if name.starts_with(b"x-") => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Lets other users than the one who mounts into the mount.
    pub fn allow_other(&mut self) {
        self.set_parameter(b"allow_other", None);
    }

    /// The size of a READ that the mount was limited to; 0 when it was not.
    pub fn max_read(&self) -> u32 {
        self.max_read
    }

    /// Whether the mount shall go when the filesystem dies.
    pub fn auto_unmount(&self) -> bool {
        self.auto_unmount
    }

    /// `MS_*` flags.
    pub fn flags(&self) -> c_ulong {
        self.flags
    }

    /// Parameters for the kernel, in the order given.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The part of the filesystem type after `fuse.`.
    pub fn subtype(&self) -> Option<&CStr> {
        self.subtype.as_deref()
    }

    /// `fsname=`, as the user gave it.
    pub fn fsname(&self) -> Option<&CStr> {
        self.fsname.as_deref()
    }

    /// What is shown as mounted: the fsname, else the subtype, else `device`.
    pub fn source<'a>(&'a self, device: &'a CStr) -> &'a CStr {
        self.fsname().or(self.subtype()).unwrap_or(device)
    }

    /// The filesystem type without subtype.
    pub fn fs_type(&self) -> &'static CStr {
        if self.blkdev {
            c"fuseblk"
        } else {
            c"fuse"
        }
    }

    /// The kernel's parameters as one list for `mount(2)`, each preceded by a
    /// comma. Values with commas are quoted, as the security modules expect.
    pub fn parameter_list(&self) -> Vec<u8> {
        let mut list = Vec::new();
        for Parameter { name, value } in &self.parameters {
            list.push(b',');
            list.extend_from_slice(name.to_bytes());
            if let Some(value) = value.as_deref().map(CStr::to_bytes) {
                let quote: &[u8] = if value.contains(&b',') { b"\"" } else { b"" };
                list.extend_from_slice(&[b"=", quote, value, quote].concat());
            }
        }
        list
    }

    /// The `-o` argument of `fusermount3`. It knows flags and parameters by
    /// name, and undoes backslashes before commas and backslashes.
    pub fn helper_list(&self, with_subtype: bool, with_auto_unmount: bool) -> CString {
        let mut list: Vec<u8> =
            if self.flags & MS_RDONLY == 0 { b"rw".to_vec() } else { b"ro".to_vec() };
        for &(name, flag, set) in FLAGS {
            if set && flag != MS_RDONLY && self.flags & flag != 0 {
                append(&mut list, name.as_bytes(), None);
            }
        }
        for Parameter { name, value } in &self.parameters {
            append(&mut list, name.to_bytes(), value.as_deref());
        }
        if let Some(fsname) = &self.fsname {
            append(&mut list, b"fsname", Some(fsname));
        }
        if self.blkdev {
            append(&mut list, b"blkdev", None);
        }
        if with_auto_unmount {
            append(&mut list, b"auto_unmount", None);
        }
        if let (true, Some(subtype)) = (with_subtype, &self.subtype) {
            append(&mut list, b"subtype", Some(subtype));
        }
        c_string(&list)
    }

    fn set_parameter(&mut self, name: &[u8], value: Option<&[u8]>) {
        self.parameters.retain(|parameter| parameter.name.to_bytes() != name);
        self.parameters.push(Parameter { name: c_string(name), value: value.map(c_string) });
    }
}

/// Appends `,name` or `,name=value`, escaped, to a helper list.
fn append(list: &mut Vec<u8>, name: &[u8], value: Option<&CStr>) {
    list.push(b',');
    list.extend_from_slice(name);
    if let Some(value) = value {
        list.push(b'=');
        for &byte in value.to_bytes() {
            if matches!(byte, b',' | b'\\') {
                list.push(b'\\');
            }
            list.push(byte);
        }
    }
}

/// Copies bytes that came out of a C string.
fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).expect("a part of a C string holds no NUL")
}

fn non_empty(value: &[u8]) -> Option<CString> {
    (!value.is_empty()).then(|| c_string(value))
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value)
}

fn parse_size(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
