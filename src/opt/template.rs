//! Which arguments a template stands for.

use super::{Matched, Template};
use std::ffi::CStr;

/// Where a matching template's value begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Separator {
    /// The template is matched word for word.
    None,
    /// `name=`: the index of the `=`.
    Equals(usize),
    /// `-n `: the index of the space, which arguments do not have.
    Space(usize),
}

/// How `argument` matches the template `text`, if it does.
pub(super) fn separator(text: &CStr, argument: &CStr) -> Option<Separator> {
    let (bytes, argument) = (text.to_bytes(), argument.to_bytes());
    let found = find(bytes, b'=').map(Separator::Equals);
    let found = found.or_else(|| find(bytes, b' ').map(Separator::Space));
    if let Some(separator) = found {
        let prefix = &bytes[..separator.value_at()];
        let separates = matches!(separator.conversion(text).to_bytes(), [] | [b'%', ..]);
        if separates && argument.starts_with(prefix) {
            return Some(match separator {
                // With nothing in front of it, it separates nothing.
                Separator::Equals(0) | Separator::Space(0) => Separator::None,
                _ => separator,
            });
        }
    }
    (bytes == argument).then_some(Separator::None)
}

/// Whether a row of `table` stands for `argument`.
pub fn matches<A>(table: &[Template<'_, A>], argument: &CStr) -> bool {
    table.iter().any(|template| separator(template.text, argument).is_some())
}

impl Separator {
    /// The index in an argument at which its value begins.
    fn value_at(self) -> usize {
        match self {
            Self::None => 0,
            Self::Equals(index) => index + 1,
            Self::Space(index) => index,
        }
    }

    fn conversion(self, text: &CStr) -> &CStr {
        match self {
            Self::None => c"",
            Self::Equals(index) | Self::Space(index) => &text[index + 1..],
        }
    }

    /// Whether the value of `argument` is the argument after it.
    pub(super) fn wants_next(self, argument: &CStr) -> bool {
        matches!(self, Self::Space(index) if argument.count_bytes() == index)
    }

    pub(super) fn split<'a>(self, text: &'a CStr, argument: &'a CStr) -> Matched<'a> {
        let value = match self {
            Self::None => c"",
            _ => &argument[self.value_at()..],
        };
        Matched { argument, conversion: self.conversion(text), value }
    }
}

fn find(bytes: &[u8], wanted: u8) -> Option<usize> {
    bytes.iter().position(|&byte| byte == wanted)
}
