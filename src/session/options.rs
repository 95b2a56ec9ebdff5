//! What the command line of `fuse_session_new` and the environment ask for.

use crate::abi::args::ArgVec;
use crate::errno::{Errno, Result};
use crate::mount::MountOptions;
use crate::opt::{self, template, Kind, Matched, Receiver, Template, Verdict};
use std::ffi::CStr;

/// Which transport may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Rings if the kernel offers them.
    #[default]
    Auto,
    /// As `Auto`, and a failure to use them is told as a warning.
    Ring,
    /// `/dev/fuse`, because somebody said so: the text says who.
    Dev(&'static str),
}

/// The session's own options.
#[derive(Default)]
pub struct SessionOptions {
    /// Log every request and answer.
    pub debug: bool,
    /// Serve only root and whoever made the session.
    pub allow_root: bool,
    /// Which transport may be used.
    pub transport: Transport,
    /// Ring entries that each queue starts with; at least 1.
    pub queue_depth: u32,
    /// Requests that may be kept for a later answer on rings, if somebody said a number.
    pub max_parked: Option<u32>,
    /// Everything that concerns mounting.
    pub mount: MountOptions,
}

#[derive(Clone, Copy)]
enum Action {
    Debug,
    AllowRoot,
    Uring,
    NoUring,
    QueueDepth,
    MaxParked,
}

const TABLE: &[Template<'static, Action>] = &[
    template(c"debug", Action::Debug),
    template(c"-d", Action::Debug),
    template(c"--debug", Action::Debug),
    template(c"allow_root", Action::AllowRoot),
    template(c"io_uring", Action::Uring),
    template(c"no_io_uring", Action::NoUring),
    template(c"io_uring_q_depth=%u", Action::QueueDepth),
    template(c"io_uring_max_parked=%u", Action::MaxParked),
];

#[derive(Default)]
struct Collector {
    options: SessionOptions,
    unknown: Vec<String>,
}

impl Receiver<Action> for Collector {
    fn matched(
        &mut self,
        action: &Action,
        matched: &Matched<'_>,
        _out: &mut ArgVec,
    ) -> Result<Verdict> {
        match action {
            Action::Debug => self.options.debug = true,
            Action::AllowRoot => {
                self.options.allow_root = true;
                self.options.mount.allow_other();
            }
            Action::Uring => self.options.transport = Transport::Ring,
            Action::NoUring => self.options.transport = Transport::Dev("option no_io_uring"),
            Action::QueueDepth => self.options.queue_depth = matched.unsigned()?,
            Action::MaxParked => match matched.unsigned()? {
                0 => return Err(matched.invalid()),
                max => self.options.max_parked = Some(max),
            },
        }
        Ok(Verdict::Drop)
    }

    fn unmatched(&mut self, kind: Kind, argument: &CStr, _out: &mut ArgVec) -> Result<Verdict> {
        if kind == Kind::Option && self.options.mount.take(argument)? {
            return Ok(Verdict::Drop);
        }
        self.unknown.push(argument.to_string_lossy().into_owned());
        Ok(Verdict::Keep)
    }
}

impl SessionOptions {
    /// Takes the session's options out of `args`, which keeps what is unknown.
    pub fn parse(args: &mut ArgVec) -> Result<Self> {
        if args.is_empty() {
            crate::log_error!("fuse: empty argv passed to fuse_session_new()");
            return Err(Errno(libc::EINVAL));
        }
        let mut collector = Collector::default();
        collector.options.environment();
        opt::parse(args, TABLE, &mut collector)?;
        if args.iter().next().is_some_and(|program| program.to_bytes().starts_with(b"-")) {
            crate::log_warning!(
                "fuse: the program name (argv[0]) looks like an option; it was not parsed"
            );
        }
        if !collector.unknown.is_empty() {
            crate::log_error!("fuse: unknown option(s): `{}'", collector.unknown.join(" "));
            args.clear();
            return Err(Errno(libc::EINVAL));
        }
        collector.options.queue_depth = collector.options.queue_depth.clamp(1, 1024);
        Ok(collector.options)
    }

    fn environment(&mut self) {
        let get = |name| std::env::var(name).ok();
        match get("FUSE_URING_ENABLE").as_deref() {
            Some("0") => self.transport = Transport::Dev("FUSE_URING_ENABLE=0"),
            Some(_) => self.transport = Transport::Ring,
            None => {}
        }
        match get("RINGFUSE_TRANSPORT").as_deref() {
            None | Some("" | "auto") => {}
            Some("dev") => self.transport = Transport::Dev("RINGFUSE_TRANSPORT=dev"),
            Some("ring") => self.transport = Transport::Ring,
            Some(other) => crate::log_warning!(
                "RINGFUSE_TRANSPORT={other}: must be auto, dev or ring; auto is used"
            ),
        }
        if let Some(text) = get("FUSE_URING_QUEUE_DEPTH") {
            match text.parse() {
                Ok(depth) => self.queue_depth = depth,
                Err(_) => {
                    crate::log_warning!("FUSE_URING_QUEUE_DEPTH={text}: not a number; ignored")
                }
            }
        }
        if let Some(text) = get("RINGFUSE_MAX_PARKED") {
            match text.parse() {
                Ok(max @ 1..) => self.max_parked = Some(max),
                _ => crate::log_warning!(
                    "RINGFUSE_MAX_PARKED={text}: must be a number, at least 1; ignored"
                ),
            }
        }
    }
}
