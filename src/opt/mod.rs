//! Option parsing: `-o name=value,...`, `-x`, `--long`, and what belongs to none.
//!
//! [`parse`] walks an argument vector with a table of templates and asks a
//! [`Receiver`] about every argument: what it keeps becomes the new vector.
//! The C functions use it with a program's table (`ffi::opt`), the library with
//! its own. Everything runs on the calling thread; a failure has been logged
//! when it is returned.

mod group;
mod template;

pub use group::{escape, Group};
pub use template::matches;

use crate::abi::args::ArgVec;
use crate::errno::{Errno, Result};
use crate::log_error;
use crate::sys::scan;
use std::ffi::{CStr, CString};

/// One row of an option table.
///
/// `text` is `name` or `-x` (matches exactly that), `name=` or `name=%u` (every
/// argument that begins so), `-n ` or `-n %s` (`-nVALUE`, and `-n VALUE` as two
/// arguments). What follows the separator is the value's `sscanf` conversion.
#[derive(Clone, Copy)]
pub struct Template<'a, A> {
    /// The pattern.
    pub text: &'a CStr,
    /// What the receiver gets with a match.
    pub action: A,
}

/// Shorthand for rows of a table.
pub const fn template<A>(text: &CStr, action: A) -> Template<'_, A> {
    Template { text, action }
}

/// An argument that begins as a template does.
pub struct Matched<'a> {
    /// All of it; `-n VALUE` as `-nVALUE`.
    pub argument: &'a CStr,
    /// The template's conversion, empty if it has none.
    pub conversion: &'a CStr,
    /// What follows the separator; empty if the template has none.
    pub value: &'a CStr,
}

impl Matched<'_> {
    /// The value as `%u` reads it.
    pub fn unsigned(&self) -> Result<u32> {
        scan::unsigned(self.value).ok_or_else(|| self.invalid())
    }

    /// The value as `%d` reads it.
    pub fn signed(&self) -> Result<i32> {
        scan::signed(self.value).ok_or_else(|| self.invalid())
    }

    /// The value as `%o` reads it.
    pub fn octal(&self) -> Result<u32> {
        scan::octal(self.value).ok_or_else(|| self.invalid())
    }

    /// The value as `%lf` reads it.
    pub fn double(&self) -> Result<f64> {
        scan::double(self.value).ok_or_else(|| self.invalid())
    }

    /// Logs that the value is not what the template asks for.
    pub fn invalid(&self) -> Errno {
        log_error!("fuse: invalid parameter in option `{}'", self.argument.to_string_lossy());
        Errno(libc::EINVAL)
    }
}

/// What kind of argument matched no template.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It begins with `-`, or is a member of a `-o` group.
    Option,
    /// It does not, or comes after `--`.
    NonOption,
}

/// What happens to an argument that was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It stays in the vector.
    Keep,
    /// It is gone.
    Drop,
}

/// Decides about arguments. Both functions may add to `out`, the vector that is
/// being built; an error ends the parsing.
pub trait Receiver<A> {
    /// `matched` fits the template with `action`. Called once for each such
    /// template, in the order of the table.
    fn matched(&mut self, action: &A, matched: &Matched<'_>, out: &mut ArgVec) -> Result<Verdict>;

    /// `argument` fits no template.
    fn unmatched(&mut self, kind: Kind, argument: &CStr, out: &mut ArgVec) -> Result<Verdict> {
        let _ = (kind, argument, out);
        Ok(Verdict::Keep)
    }
}

/// Parses `args` and puts what is kept in their place: first the program's
/// name, then one `-o` with all kept group members, then the rest in order.
/// Nothing changes on failure, nor if there is no argument at all.
pub fn parse<A>(
    args: &mut ArgVec,
    table: &[Template<'_, A>],
    receiver: &mut impl Receiver<A>,
) -> Result<()> {
    if args.is_empty() {
        return Ok(());
    }
    let parser =
        Parser { table, receiver, input: args.iter(), out: ArgVec::new(), kept: Group::default() };
    *args = parser.run()?;
    Ok(())
}

/// Where a kept argument goes.
#[derive(Clone, Copy)]
enum Place {
    Vector,
    Group,
}

struct Parser<'a, A, R, I> {
    table: &'a [Template<'a, A>],
    receiver: &'a mut R,
    input: I,
    out: ArgVec,
    kept: Group,
}

impl<'a, A, R: Receiver<A>, I: Iterator<Item = &'a CStr>> Parser<'a, A, R, I> {
    fn run(mut self) -> Result<ArgVec> {
        if let Some(program) = self.input.next() {
            self.out.push(program)?;
        }
        let mut rest_starts = None;
        while let Some(argument) = self.input.next() {
            match argument.to_bytes() {
                _ if rest_starts.is_some() => self.rest(argument)?,
                b"-o" => {
                    let members = self.following(argument)?;
                    self.group(members.to_bytes())?;
                }
                [b'-', b'o', members @ ..] => self.group(members)?,
                b"--" => {
                    self.out.push(argument)?;
                    rest_starts = Some(self.out.len());
                }
                [b'-', ..] => self.option(argument, Place::Vector)?,
                _ => self.rest(argument)?,
            }
        }
        if let Some(kept) = self.kept.take() {
            self.out.insert(1, c"-o")?;
            self.out.insert(2, &kept)?;
        }
        // A `--` that nothing follows says nothing. It is looked for where it
        // was put: if a kept group has moved it since, it stays.
        if rest_starts == Some(self.out.len()) && self.out.iter().last() == Some(c"--") {
            self.out.pop();
        }
        Ok(self.out)
    }

    /// The second word of an option that needs one.
    fn following(&mut self, option: &CStr) -> Result<&'a CStr> {
        self.input.next().ok_or_else(|| {
            log_error!("fuse: missing argument after `{}'", option.to_string_lossy());
            Errno(libc::EINVAL)
        })
    }

    fn rest(&mut self, argument: &CStr) -> Result<()> {
        self.unmatched(Kind::NonOption, argument, Place::Vector)
    }

    fn group(&mut self, members: &[u8]) -> Result<()> {
        group::members(members).try_for_each(|member| self.option(&member, Place::Group))
    }

    fn option(&mut self, argument: &CStr, place: Place) -> Result<()> {
        let mut known = false;
        for template in self.table {
            let Some(separator) = template::separator(template.text, argument) else { continue };
            known = true;
            let joined;
            let argument = if separator.wants_next(argument) {
                joined = concat(argument, self.following(argument)?);
                &joined
            } else {
                argument
            };
            let matched = separator.split(template.text, argument);
            let verdict = self.receiver.matched(&template.action, &matched, &mut self.out)?;
            self.settle(verdict, argument, place)?;
        }
        match known {
            true => Ok(()),
            false => self.unmatched(Kind::Option, argument, place),
        }
    }

    fn unmatched(&mut self, kind: Kind, argument: &CStr, place: Place) -> Result<()> {
        let verdict = self.receiver.unmatched(kind, argument, &mut self.out)?;
        self.settle(verdict, argument, place)
    }

    fn settle(&mut self, verdict: Verdict, argument: &CStr, place: Place) -> Result<()> {
        match (verdict, place) {
            (Verdict::Drop, _) => Ok(()),
            (Verdict::Keep, Place::Vector) => self.out.push(argument),
            (Verdict::Keep, Place::Group) => {
                self.kept.push(argument);
                Ok(())
            }
        }
    }
}

fn concat(first: &CStr, second: &CStr) -> CString {
    let mut bytes = first.to_bytes().to_vec();
    bytes.extend_from_slice(second.to_bytes());
    group::c_string(bytes)
}
