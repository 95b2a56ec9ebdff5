//! The command line of a filesystem: the options that its main() obeys, and the
//! texts that explain them.

use crate::abi::args::ArgVec;
use crate::abi::kernel::{KERNEL_MINOR_VERSION, KERNEL_VERSION};
use crate::abi::public::{layout, CmdlineOpts, Layout, LoopConfig};
use crate::errno::{Errno, Result};
use crate::log_error;
use crate::mount;
use crate::opt::{self, template, Kind, Matched, Receiver, Template, Verdict};
use crate::sys::process;
use std::ffi::{c_char, CStr, CString};
use std::sync::atomic::{AtomicBool, Ordering};

static MAX_THREADS_GIVEN: AtomicBool = AtomicBool::new(false);

/// Whether any command line of this process said `max_threads=`: then it is a
/// bound that somebody asked for, else it is only the default.
pub fn max_threads_was_given() -> bool {
    MAX_THREADS_GIVEN.load(Ordering::Relaxed)
}

/// What holds if the command line says nothing.
pub const DEFAULTS: CmdlineOpts = CmdlineOpts {
    singlethread: 0,
    foreground: 0,
    debug: 0,
    nodefault_subtype: 0,
    mountpoint: std::ptr::null_mut(),
    show_version: 0,
    show_help: 0,
    clone_fd: 0,
    max_idle_threads: u32::MAX,
    max_threads: LoopConfig::DEFAULT_MAX_THREADS,
};

#[derive(Clone, Copy)]
enum Action {
    Help,
    Version,
    Debug,
    Foreground,
    SingleThread,
    Named,
    CloneFd,
    MaxIdleThreads,
    MaxThreads,
}

const OPTIONS: &[Template<'_, Action>] = &[
    template(c"-h", Action::Help),
    template(c"--help", Action::Help),
    template(c"-V", Action::Version),
    template(c"--version", Action::Version),
    template(c"-d", Action::Debug),
    template(c"debug", Action::Debug),
    template(c"-f", Action::Foreground),
    template(c"-s", Action::SingleThread),
    template(c"fsname=", Action::Named),
    template(c"subtype=", Action::Named),
    template(c"clone_fd", Action::CloneFd),
    template(c"max_idle_threads=%u", Action::MaxIdleThreads),
    template(c"max_threads=%u", Action::MaxThreads),
];

/// Takes the options of main() out of `args` and into `opts`, which starts from
/// [`DEFAULTS`]; what was read before a failure stays there. Unless a name was
/// given, `-osubtype=` with the program's own is appended.
///
/// `opts.mountpoint` is NULL, or a malloc'ed string that the caller frees.
pub fn parse(args: &mut ArgVec, opts: &mut CmdlineOpts) -> Result<()> {
    opt::parse(args, OPTIONS, opts)?;
    match args.get(0) {
        Some(program) if opts.nodefault_subtype == 0 => {
            let subtype = subtype_option(program);
            args.push(&subtype)
        }
        _ => Ok(()),
    }
}

impl Receiver<Action> for CmdlineOpts {
    fn matched(
        &mut self,
        action: &Action,
        matched: &Matched<'_>,
        _: &mut ArgVec,
    ) -> Result<Verdict> {
        match action {
            Action::Help => self.show_help = 1,
            Action::Version => self.show_version = 1,
            Action::Debug => (self.debug, self.foreground) = (1, 1),
            Action::Foreground => self.foreground = 1,
            Action::SingleThread => self.singlethread = 1,
            Action::Named => self.nodefault_subtype = 1,
            Action::CloneFd => self.clone_fd = 1,
            Action::MaxIdleThreads => self.max_idle_threads = matched.unsigned()?,
            Action::MaxThreads => {
                self.max_threads = matched.unsigned()?;
                MAX_THREADS_GIVEN.store(true, Ordering::Relaxed);
            }
        }
        match action {
            // The session wants to see these, too.
            Action::Debug | Action::Named => Ok(Verdict::Keep),
            _ => Ok(Verdict::Drop),
        }
    }

    fn unmatched(&mut self, kind: Kind, argument: &CStr, _: &mut ArgVec) -> Result<Verdict> {
        if kind == Kind::Option {
            return Ok(Verdict::Keep);
        }
        if !self.mountpoint.is_null() {
            log_error!(
                "fuse: invalid argument `{}': there already is a mount point",
                argument.to_string_lossy()
            );
            return Err(Errno(libc::EINVAL));
        }
        self.mountpoint = mountpoint(argument)?;
        Ok(Verdict::Drop)
    }
}

/// The mount point that `argument` names, as a malloc'ed string: its real path,
/// or `/dev/fd/N` as it is, which is a session that somebody else has opened.
fn mountpoint(argument: &CStr) -> Result<*mut c_char> {
    let path = match argument.to_bytes().strip_prefix(b"/dev/fd/") {
        Some(number) if !number.is_empty() && number.iter().all(u8::is_ascii_digit) => {
            process::strdup(argument)
        }
        _ => process::realpath(argument),
    };
    path.inspect_err(|errno| {
        log_error!("fuse: bad mount point `{}': {errno}", argument.to_string_lossy());
    })
}

fn subtype_option(program: &CStr) -> CString {
    let path = program.to_bytes();
    let name = match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) if slash + 1 < path.len() => &path[slash + 1..],
        Some(slash) => &path[slash..],
        None => path,
    };
    let option = [b"-osubtype=", &*opt::escape(name)].concat();
    CString::new(option).unwrap_or_default() // a C string's bytes have no NUL
}

/// The text of `fuse_cmdline_help`.
pub const HELP: &CStr = c"    -h   --help            show this help
    -V   --version         show versions
    -d   -o debug          log every request (stays in the foreground)
    -f                     stay in the foreground
    -s                     serve one request at a time
    -o clone_fd            a /dev/fuse descriptor of its own for every thread
    -o max_idle_threads=N  end threads beyond N when they are idle
                           (default: never)
    -o max_threads=N       serve at most N requests at a time
                           (default: 10; on io_uring rings, as many as needed)
";

/// The text of `fuse_lowlevel_help`.
pub const LOWLEVEL_HELP: &CStr = c"    -o allow_other         let all users use the filesystem
    -o allow_root          let root use the filesystem
    -o auto_unmount        unmount when the filesystem's process ends
    -o io_uring            use io_uring rings (default: if the kernel has them)
    -o no_io_uring         use /dev/fuse only
    -o io_uring_q_depth=N  entries that each ring may have
    -o io_uring_max_parked=N
                           requests that may wait for a later answer
                           (default: 8192)
";

/// The release of libfuse that the library is compatible with.
pub fn pkgversion() -> &'static CStr {
    match layout() {
        Layout::V317 => c"3.18.3",
        _ => c"3.14.0",
    }
}

/// How to call `program`, for its `--help`.
pub fn usage(program: &CStr) -> CString {
    let text = [b"usage: ", program.to_bytes(), b" [options] <mountpoint>\n\n"].concat();
    CString::new(text).unwrap_or_default() // C strings' bytes have no NUL
}

/// What `--version` says first.
pub fn library_version() -> CString {
    let name = [b"FUSE library version ", pkgversion().to_bytes(), b"\n"].concat();
    CString::new(name).unwrap_or_default()
}

/// `fuse_lowlevel_version`: the kernel's protocol, and the program that mounts for
/// users.
pub fn print_lowlevel_version() {
    let text =
        format!("using FUSE kernel interface version {KERNEL_VERSION}.{KERNEL_MINOR_VERSION}\n");
    process::print(&CString::new(text).unwrap_or_default()); // no NUL in it
                                                             // That program writes to the descriptor, past what the C library has buffered.
    process::flush();
    mount::print_version();
}
