//! What a program changes in `struct fuse_conn_info`: feature flags, and the
//! connection options of its command line.
//!
//! Capabilities are wanted in two words, `want` (32 bits, all that programs
//! for `libfuse3.so.3` have) and `want_ext`. The functions here keep them
//! equal; programs that write to one of them directly do not, and
//! [`reconcile`] finds out afterwards what they meant. All of it happens in
//! init() or before, on the thread that handles INIT.

use crate::abi::args::ArgVec;
use crate::abi::public::{cap, layout, ConnInfo, Layout, CONN_NO_INTERRUPT, CONN_SINGLE_ISSUER};
use crate::errno::{Errno, Result};
use crate::log_error;
use crate::opt::{self, template, Matched, Receiver, Template, Verdict};
use std::cell::Cell;

/// The capabilities of the connection, from the word that the layout in force has.
fn capable(conn: &ConnInfo) -> u64 {
    match layout() {
        Layout::V317 => conn.capable_ext,
        _ => conn.capable.into(),
    }
}

/// Wants those of `flags` that the kernel is capable of; whether there are any.
pub fn set_feature(conn: &mut ConnInfo, flags: u64) -> bool {
    let flags = flags & capable(conn);
    conn.want |= flags as u32;
    if layout() == Layout::V317 {
        conn.want_ext |= flags;
    }
    flags != 0
}

/// Wants none of `flags`.
pub fn unset_feature(conn: &mut ConnInfo, flags: u64) {
    conn.want &= !(flags as u32);
    if layout() == Layout::V317 {
        conn.want_ext &= !flags;
    }
}

/// Whether the kernel is capable of any of `flags` (not whether it is wanted).
pub fn has_feature(conn: &ConnInfo, flags: u64) -> bool {
    capable(conn) & flags != 0
}

/// Switches on `flags` (`FUSE_CONN_FLAG_*`); false, with nothing changed, if the
/// layout in force has no place for one of them.
pub fn set_flag(conn: &mut ConnInfo, flags: u64) -> bool {
    const ALL: &[(u64, u32)] = &[(1 << 0, CONN_SINGLE_ISSUER), (1 << 1, CONN_NO_INTERRUPT)];
    let known = ALL.iter().fold(0, |all, (flag, _)| all | flag);
    if flags & !known != 0 || layout() != Layout::V317 {
        return false;
    }
    for (_, bit) in ALL.iter().filter(|(flag, _)| flags & flag != 0) {
        conn.bits |= bit;
    }
    true
}

/// Makes `want` and `want_ext` equal after a program changed `before` to
/// `after`, and returns the capabilities it wants.
///
/// What it did to one word counts; changes that it made to both through the
/// feature functions do not disturb. If the words were changed to contradict
/// each other, that is logged, and `want_ext` counts. Layouts without
/// `want_ext` have nothing to reconcile.
pub fn reconcile(before: &ConnInfo, after: &mut ConnInfo) -> u64 {
    if layout() != Layout::V317 {
        return after.want.into();
    }
    let low = after.want_ext as u32;
    let by_want = after.want ^ before.want;
    let by_ext = low ^ before.want_ext as u32;
    if by_want & by_ext == by_ext {
        after.want_ext = (after.want_ext >> 32 << 32) | u64::from(after.want);
    } else {
        if by_want & by_ext != by_want {
            log_error!(
                "fuse: init() changed want ({:#x}) and want_ext ({:#x}) to contradict each \
                 other; want_ext is used",
                after.want,
                after.want_ext
            );
        }
        after.want = low;
    }
    after.want_ext
}

thread_local! {
    /// What the init() that runs on this thread was given.
    static GIVEN: Cell<Option<ConnInfo>> = const { Cell::new(None) };
}

/// Calls `init` with `conn`, reconciles, and returns the capabilities wanted.
/// During the call [`convert`] knows what `conn` was before.
pub fn negotiate(conn: &mut ConnInfo, init: impl FnOnce(&mut ConnInfo)) -> u64 {
    let before = *conn;
    let outer = GIVEN.replace(Some(before));
    init(conn);
    GIVEN.set(outer);
    reconcile(&before, conn)
}

/// `fuse_convert_to_conn_want_ext`: reconciles early, for code inside init()
/// that reads `want_ext`. Outside of init() nobody knows what was changed, so
/// words that differ are an error there.
pub fn convert(conn: &mut ConnInfo) -> Result<()> {
    if let Some(before) = GIVEN.get() {
        reconcile(&before, conn);
    } else if layout() == Layout::V317 && conn.want != conn.want_ext as u32 {
        log_error!(
            "fuse: want ({:#x}) and want_ext ({:#x}) differ; use fuse_set_feature_flag() in init()",
            conn.want,
            conn.want_ext
        );
        return Err(Errno(libc::EINVAL));
    }
    Ok(())
}

/// `struct fuse_conn_info_opts`: what the command line says about a connection.
/// Plain data in malloc memory, which the program frees with free().
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct ConnOptions {
    set: u64,
    unset: u64,
    numbers: [Option<u32>; 5],
}

#[derive(Clone, Copy)]
enum Action {
    Set(u64),
    Unset(u64),
    /// READDIRPLUS is not unset after all; of the two capabilities `unset` is.
    Readdirplus {
        unset: u64,
    },
    Number(Number),
    Nothing,
}

/// Index into [`ConnOptions::numbers`].
#[derive(Clone, Copy)]
enum Number {
    MaxWrite,
    MaxReadahead,
    MaxBackground,
    CongestionThreshold,
    TimeGran,
}

const OPTIONS: &[Template<'_, Action>] = &[
    template(c"max_write=%u", Action::Number(Number::MaxWrite)),
    template(c"max_readahead=%u", Action::Number(Number::MaxReadahead)),
    template(c"max_background=%u", Action::Number(Number::MaxBackground)),
    template(c"congestion_threshold=%u", Action::Number(Number::CongestionThreshold)),
    template(c"time_gran=%u", Action::Number(Number::TimeGran)),
    template(c"async_read", Action::Set(cap::ASYNC_READ)),
    template(c"sync_read", Action::Unset(cap::ASYNC_READ)),
    template(c"atomic_o_trunc", Action::Nothing),
    template(c"no_remote_lock", Action::Unset(cap::POSIX_LOCKS | cap::FLOCK_LOCKS)),
    template(c"no_remote_flock", Action::Unset(cap::FLOCK_LOCKS)),
    template(c"no_remote_posix_lock", Action::Unset(cap::POSIX_LOCKS)),
    template(c"splice_write", Action::Set(cap::SPLICE_WRITE)),
    template(c"no_splice_write", Action::Unset(cap::SPLICE_WRITE)),
    template(c"splice_move", Action::Set(cap::SPLICE_MOVE)),
    template(c"no_splice_move", Action::Unset(cap::SPLICE_MOVE)),
    template(c"splice_read", Action::Set(cap::SPLICE_READ)),
    template(c"no_splice_read", Action::Unset(cap::SPLICE_READ)),
    template(c"auto_inval_data", Action::Set(cap::AUTO_INVAL_DATA)),
    template(c"no_auto_inval_data", Action::Unset(cap::AUTO_INVAL_DATA)),
    template(c"readdirplus=no", Action::Unset(cap::READDIRPLUS)),
    template(c"readdirplus=yes", Action::Readdirplus { unset: cap::READDIRPLUS_AUTO }),
    template(c"readdirplus=auto", Action::Readdirplus { unset: 0 }),
    template(c"async_dio", Action::Set(cap::ASYNC_DIO)),
    template(c"no_async_dio", Action::Unset(cap::ASYNC_DIO)),
    template(c"writeback_cache", Action::Set(cap::WRITEBACK_CACHE)),
    template(c"no_writeback_cache", Action::Unset(cap::WRITEBACK_CACHE)),
];

impl ConnOptions {
    /// Takes the connection options out of `args`.
    pub fn parse(args: &mut ArgVec) -> Result<Self> {
        let mut options = Self::default();
        opt::parse(args, OPTIONS, &mut options)?;
        Ok(options)
    }

    /// Overwrites in `conn` what was given. A capability that is both set and
    /// unset is not wanted, nor one that the kernel does not have.
    pub fn apply(&self, conn: &mut ConnInfo) {
        let fields = [
            &mut conn.max_write,
            &mut conn.max_readahead,
            &mut conn.max_background,
            &mut conn.congestion_threshold,
            &mut conn.time_gran,
        ];
        for (field, number) in fields.into_iter().zip(self.numbers) {
            *field = number.unwrap_or(*field);
        }
        set_feature(conn, self.set);
        unset_feature(conn, self.unset);
    }
}

impl Receiver<Action> for ConnOptions {
    fn matched(
        &mut self,
        action: &Action,
        matched: &Matched<'_>,
        _: &mut ArgVec,
    ) -> Result<Verdict> {
        match *action {
            Action::Set(flags) => self.set |= flags,
            Action::Unset(flags) => self.unset |= flags,
            Action::Readdirplus { unset } => {
                self.unset = self.unset & !(cap::READDIRPLUS | cap::READDIRPLUS_AUTO) | unset;
            }
            Action::Number(number) => self.numbers[number as usize] = Some(matched.unsigned()?),
            Action::Nothing => {}
        }
        Ok(Verdict::Drop)
    }
}
