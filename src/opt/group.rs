//! The text of a `-o` group: members with commas between them, in which a
//! backslash takes the next character as it is, or three octal digits as a byte.

use std::ffi::{CStr, CString};

/// The members of a group, without their escapes. A text without a comma is one
/// member, also if it is empty.
pub(super) fn members(text: &[u8]) -> impl Iterator<Item = CString> + '_ {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let mut bytes = rest?;
        let mut member = Vec::with_capacity(bytes.len());
        rest = loop {
            bytes = match bytes {
                [] => break None,
                [b',', tail @ ..] => break Some(tail),
                [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                    member.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                    tail
                }
                [b'\\', literal, tail @ ..] | [literal, tail @ ..] => {
                    member.push(*literal);
                    tail
                }
            };
        };
        Some(c_string(member))
    })
}

/// `member` as it is written in a group.
pub fn escape(member: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(member.len());
    for &byte in member {
        if matches!(byte, b',' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
    text
}

/// The text of a group that is being put together.
#[derive(Default)]
pub struct Group(Option<Vec<u8>>);

impl Group {
    /// A group that begins as `text` does, which is in its escaped form.
    pub fn starting_with(text: Option<&CStr>) -> Self {
        Self(text.map(|text| text.to_bytes().to_vec()))
    }

    /// Appends `member`, escaped.
    pub fn push(&mut self, member: &CStr) {
        self.push_escaped(&escape(member.to_bytes()));
    }

    /// Appends `text` as it is, with a comma before it unless it comes first. (An
    /// empty text in front leaves no trace; programs know it so.)
    pub fn push_escaped(&mut self, text: &[u8]) {
        let group = self.0.get_or_insert_with(Vec::new);
        if !group.is_empty() {
            group.push(b',');
        }
        group.extend_from_slice(text);
    }

    /// The text, `None` if nothing was ever appended.
    pub fn take(&mut self) -> Option<CString> {
        self.0.take().map(c_string)
    }
}

/// `bytes` up to the first NUL, which an octal escape may have brought.
pub(super) fn c_string(mut bytes: Vec<u8>) -> CString {
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(end);
    }
    CString::new(bytes).unwrap_or_default()
}
