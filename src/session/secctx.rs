//! Security contexts: what a security module such as SELinux wants a new file's
//! label to be, sent with the request that creates it.
//!
//! They stand behind the names, in an extension with a header of its own; other
//! extensions may stand before it. They are copied, as a filesystem may look at
//! them until it answers.

use super::decode::Malformed;
use crate::abi::kernel::{ExtHeader, Opcode, Secctx, MAX_NR_SECCTX};
use std::ffi::CStr;
use zerocopy::FromBytes;

/// The contexts of one request, and how far they have been looked at.
#[derive(Debug, Default)]
pub struct SecurityContexts {
    /// The extension behind its header.
    bytes: Box<[u8]>,
    count: u32,
    /// Contexts handed out, and where the next one begins.
    taken: u32,
    at: usize,
}

/// How many names stand before the extensions; `None`: there are none of them.
fn names_before(opcode: Opcode) -> Option<usize> {
    match opcode {
        Opcode::Mknod | Opcode::Mkdir | Opcode::Create | Opcode::Tmpfile => Some(1),
        Opcode::Symlink => Some(2),
        _ => None,
    }
}

impl SecurityContexts {
    /// Looks for security contexts in `rest`, what follows the fixed argument of
    /// a request. `None` if there are none.
    pub fn find(opcode: Opcode, rest: &[u8]) -> Option<Self> {
        let mut rest = rest;
        for _ in 0..names_before(opcode)? {
            let end = rest.iter().position(|&byte| byte == 0)?;
            rest = &rest[end + 1..];
        }
        loop {
            let (header, _) = ExtHeader::read_from_prefix(rest).ok()?;
            let size = header.size as usize;
            let whole = rest.get(..size).unwrap_or(rest);
            if header.kind <= MAX_NR_SECCTX {
                let bytes = whole.get(size_of::<ExtHeader>()..).unwrap_or_default().into();
                return Some(Self { bytes, count: header.kind, taken: 0, at: 0 });
            }
            rest = rest.get(size.next_multiple_of(8).max(size_of::<ExtHeader>())..)?;
        }
    }

    /// How many the request says it has.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Starts again with the first.
    pub fn reset(&mut self) {
        (self.taken, self.at) = (0, 0);
    }

    /// The next one: the attribute's name, and the label. A malformed one is not
    /// passed over.
    pub fn next_one(&mut self) -> Option<Result<(&CStr, &[u8]), Malformed>> {
        if self.taken >= self.count {
            return None;
        }
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let cut = cut(rest);
        if let Ok((name, label)) = cut {
            let length = size_of::<Secctx>() + name.count_bytes() + 1 + label.len();
            self.taken += 1;
            self.at += length.next_multiple_of(8);
        }
        Some(cut)
    }
}

/// Cuts the first context off `bytes`.
fn cut(bytes: &[u8]) -> Result<(&CStr, &[u8]), Malformed> {
    let (head, rest) = Secctx::read_from_prefix(bytes).map_err(|_| Malformed)?;
    let name = CStr::from_bytes_until_nul(rest).map_err(|_| Malformed)?;
    let label = rest[name.count_bytes() + 1..].get(..head.size as usize).ok_or(Malformed)?;
    Ok((name, label))
}
