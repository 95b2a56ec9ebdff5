//! The life of a [`Fuse`]: made, mounted, served, destroyed; and `fuse_main`,
//! which is all of that.
#![allow(unsafe_code)] // the session and the layers are C's too

use super::context::Operation;
use super::layer::Layer;
use super::ops::{self, Directories, Pruning};
use super::options::{self, HighOptions};
use super::{modules, Fuse, Layers, Settings};
use crate::abi::args::ArgVec;
use crate::abi::high::Operations;
use crate::abi::public::CmdlineOpts;
use crate::errno::{Errno, Result};
use crate::session::options::SessionOptions;
use crate::session::workers::{self, Threads};
use crate::session::Session;
use crate::sys::process;
use crate::{cmdline, daemonize, log_error, mount, signals};
use libc::{c_int, c_void};
use std::ffi::CStr;
use std::sync::Arc;

/// What `fuse_main` returns: which step failed.
#[derive(Clone, Copy)]
pub enum Failed {
    /// The command line.
    CommandLine = 1,
    /// There is no mount point.
    NoMountpoint,
    /// `fuse_new`.
    New,
    /// Mounting.
    Mount,
    /// Going to the background.
    Daemonize,
    /// Signal handlers.
    Signals,
    /// The loop, which also fails if a signal ends it.
    Loop = 8,
}

impl Operations {
    /// A copy of the program's table, which may be older and shorter than ours.
    /// A longer one has operations that this library does not know.
    ///
    /// # Safety
    /// `op` is NULL or has `size` bytes.
    pub unsafe fn read(op: *const Self, size: usize) -> Self {
        let mut ops = Self::default();
        if op.is_null() {
            return ops;
        }
        if size > size_of::<Self>() {
            log_error!(
                "fuse: the operation table is newer than this library ({size} bytes, {} known); the rest is ignored",
                size_of::<Self>()
            );
        }
        // SAFETY: the caller's promise; a table is a row of pointers or None.
        unsafe {
            let to = (&raw mut ops).cast::<u8>();
            to.copy_from_nonoverlapping(op.cast(), size.min(size_of::<Self>()));
        }
        ops
    }
}

impl Fuse {
    /// A filesystem with the operations `ops`; takes its options, those of its
    /// modules and the session's out of `args`.
    pub fn new(
        args: &mut ArgVec,
        ops: Operations,
        private: *mut c_void,
        with_help: bool,
    ) -> Result<Box<Self>> {
        let options = HighOptions::parse(args, with_help)?;
        if options.help {
            help(args);
            return Err(Errno(libc::EINVAL));
        }
        let mut layers = Layers::new(Layer::new(ops, private));
        for name in &options.modules {
            layers.push(name, args)?;
        }
        let mut fuse = Box::new(Self {
            layers,
            settings: Settings::new(options.config),
            session: None,
            nodes: Arc::default(),
            directories: Directories::default(),
            pruning: Pruning::default(),
        });
        fuse.layer().set_debug(options.config.debug != 0);
        let session_options = SessionOptions::parse(args)?;
        let session = Session::new(ops::low_level(), fuse.as_c(), session_options)?;
        let nodes = fuse.nodes.clone();
        session.count_paths_by(Box::new(move |stats| {
            if let Some(nodes) = nodes.get() {
                stats.nodes = nodes.count();
                stats.path_waiters = nodes.waiters() as u64;
            }
        }));
        fuse.session = Some(session);
        Ok(fuse)
    }

    /// The session below.
    pub fn session(&self) -> &Arc<Session> {
        self.session.as_ref().expect("set before anybody has the filesystem")
    }

    /// Serves with one thread. 0, the number of the signal that ended it, or a
    /// negative errno.
    pub fn run_serial(&self) -> i32 {
        let _pruner = self.start_pruning();
        workers::run_serial(self.session())
    }

    /// Serves with several threads.
    pub fn run_threads(&self, threads: Threads) -> i32 {
        let _pruner = self.start_pruning();
        workers::run_threads(self.session(), threads)
    }

    /// Ends everything: files that were hidden are removed, `destroy` is called.
    pub fn destroy(self: Box<Self>) {
        self.stop_cleanup_thread();
        let _operation = Operation::of_the_library(&self);
        self.remove_hidden_files();
        self.session().destroy();
    }
}

/// `fuse_main`: 0, or which step failed. The arguments are used up.
pub fn main(args: &mut ArgVec, ops: Operations, private: *mut c_void) -> c_int {
    let result = run(args, ops, private);
    // What parsing has made of them is nobody else's.
    args.clear();
    match result {
        Ok(()) => 0,
        Err(failed) => failed as c_int,
    }
}

fn run(
    args: &mut ArgVec,
    ops: Operations,
    private: *mut c_void,
) -> std::result::Result<(), Failed> {
    let mut opts = MainOptions(cmdline::DEFAULTS);
    cmdline::parse(args, &mut opts.0).map_err(|_| Failed::CommandLine)?;
    if opts.0.show_version != 0 {
        process::print(&cmdline::library_version());
        cmdline::print_lowlevel_version();
        return Ok(());
    }
    if opts.0.show_help != 0 {
        if let Some(program) = args.get(0).filter(|program| !program.is_empty()) {
            process::print(&cmdline::usage(program));
        }
        process::print(c"FUSE options:\n");
        process::print(cmdline::HELP);
        help(args);
        return Ok(());
    }
    let Some(mountpoint) = opts.mountpoint() else {
        log_error!("fuse: no mountpoint specified");
        return Err(Failed::NoMountpoint);
    };
    let fuse = Fuse::new(args, ops, private, false).map_err(|_| Failed::New)?;
    let result = serve(&fuse, &opts.0, mountpoint);
    fuse.session().unmount();
    fuse.destroy();
    result
}

/// Mounts and serves; the caller unmounts.
fn serve(fuse: &Fuse, opts: &CmdlineOpts, mountpoint: &CStr) -> std::result::Result<(), Failed> {
    let session = fuse.session();
    session.mount(mountpoint).map_err(|_| Failed::Mount)?;
    daemonize::daemonize(opts.foreground != 0).map_err(|_| Failed::Daemonize)?;
    let handled = Arc::as_ptr(session).cast_mut();
    signals::set(handled).map_err(|_| Failed::Signals)?;
    let status = if opts.singlethread != 0 {
        fuse.run_serial()
    } else {
        fuse.run_threads(Threads {
            clone_fd: opts.clone_fd != 0,
            max_idle: i32::try_from(opts.max_idle_threads).ok().map(|threads| threads as u32),
            max: opts.max_threads,
            explicit: cmdline::max_threads_was_given(),
        })
    };
    signals::remove(handled);
    if status == 0 {
        Ok(())
    } else {
        Err(Failed::Loop)
    }
}

/// `struct fuse_cmdline_opts` with the mount point's string, which is its own.
struct MainOptions(CmdlineOpts);

impl MainOptions {
    fn mountpoint(&self) -> Option<&CStr> {
        // SAFETY: NULL or a string from malloc.
        (!self.0.mountpoint.is_null()).then(|| unsafe { CStr::from_ptr(self.0.mountpoint) })
    }
}

impl Drop for MainOptions {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::free(self.0.mountpoint.cast()) };
    }
}

/// `fuse_lib_help`: the options of `fuse_new`, and of the modules that `args`
/// name.
pub fn help(args: &mut ArgVec) {
    process::print(options::HELP);
    process::print(cmdline::LOWLEVEL_HELP);
    modules::help(args);
}

/// `fuse_open_channel`: mounts, and gives the descriptor away.
pub fn open_channel(mountpoint: &CStr, options: Option<&CStr>) -> Result<std::os::fd::OwnedFd> {
    let mut args = ArgVec::new();
    args.push(c"fuse")?;
    if let Some(options) = options {
        args.push(c"-o")?;
        args.push(options)?;
    }
    let options = SessionOptions::parse(&mut args);
    let mounted = options.and_then(|options| mount::mount(&options.mount, mountpoint, None));
    args.clear();
    // The mount stays; whoever gets the descriptor serves it.
    mounted.map(|mounted| mounted.fd)
}
