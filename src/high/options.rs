//! The options of `fuse_new`.

use crate::abi::args::ArgVec;
use crate::abi::high::Config;
use crate::errno::Result;
use crate::high::modules;
use crate::opt::{self, template, Matched, Receiver, Template, Verdict};
use std::ffi::{CStr, CString};

/// What holds if the command line says nothing.
pub const DEFAULTS: Config = Config {
    set_gid: 0,
    gid: 0,
    set_uid: 0,
    uid: 0,
    set_mode: 0,
    umask: 0,
    entry_timeout: 1.0,
    negative_timeout: 0.0,
    attr_timeout: 1.0,
    intr: 0,
    intr_signal: libc::SIGUSR1,
    remember: 0,
    hard_remove: 0,
    use_ino: 0,
    readdir_ino: 0,
    direct_io: 0,
    kernel_cache: 0,
    auto_cache: 0,
    ac_attr_timeout_set: 0,
    ac_attr_timeout: 0.0,
    nullpath_ok: 0,
    show_help: 0,
    modules: std::ptr::null_mut(),
    debug: 0,
    fmask: 0,
    dmask: 0,
    no_rofd_flush: 0,
    parallel_direct_writes: 0,
    flags: 0,
    reserved: [0; 48],
};

/// What the command line says.
pub struct HighOptions {
    /// The settings, but for `modules`.
    pub config: Config,
    /// Names of modules, the lowest first.
    pub modules: Vec<CString>,
    /// Whether help was asked for; only known to `fuse_new` of 3.0.
    pub help: bool,
}

#[derive(Clone, Copy)]
enum Action {
    Help,
    Debug,
    KernelCache,
    AutoCache(bool),
    NoRofdFlush,
    Umask,
    Fmask,
    Dmask,
    Uid,
    Gid,
    EntryTimeout,
    AttrTimeout,
    AcAttrTimeout,
    NegativeTimeout,
    Noforget,
    Remember,
    Modules,
    ParallelDirectWrites,
}

const TABLE: &[Template<'static, Action>] = &[
    template(c"debug", Action::Debug),
    template(c"-d", Action::Debug),
    template(c"--debug", Action::Debug),
    template(c"kernel_cache", Action::KernelCache),
    template(c"auto_cache", Action::AutoCache(true)),
    template(c"noauto_cache", Action::AutoCache(false)),
    template(c"no_rofd_flush", Action::NoRofdFlush),
    template(c"umask=%o", Action::Umask),
    template(c"fmask=%o", Action::Fmask),
    template(c"dmask=%o", Action::Dmask),
    template(c"uid=%d", Action::Uid),
    template(c"gid=%d", Action::Gid),
    template(c"entry_timeout=%lf", Action::EntryTimeout),
    template(c"attr_timeout=%lf", Action::AttrTimeout),
    template(c"ac_attr_timeout=%lf", Action::AcAttrTimeout),
    template(c"negative_timeout=%lf", Action::NegativeTimeout),
    template(c"noforget", Action::Noforget),
    template(c"remember=%u", Action::Remember),
    template(c"modules=", Action::Modules),
    template(c"parallel_direct_write=%d", Action::ParallelDirectWrites),
];

/// What `fuse_new` of 3.0 knows beside them.
const HELP_TABLE: &[Template<'static, Action>] =
    &[template(c"-h", Action::Help), template(c"--help", Action::Help)];

/// The text of `fuse_lib_help`, without that of modules.
pub const HELP: &CStr =
    c"    -o kernel_cache        keep the page cache of files when they are opened
    -o [no]auto_cache      the same, unless they have changed (default: off)
    -o no_rofd_flush       no flush when a file open for reading is closed
    -o umask=M             take permission bits away (octal)
    -o fmask=M             the same, not from directories
    -o dmask=M             the same, from directories
    -o uid=N               the owner of all files
    -o gid=N               the group of all files
    -o entry_timeout=T     keep names for T seconds (default: 1)
    -o negative_timeout=T  keep the absence of names for T seconds (default: 0)
    -o attr_timeout=T      keep attributes for T seconds (default: 1)
    -o ac_attr_timeout=T   auto_cache trusts attributes for T seconds
                           (default: attr_timeout)
    -o noforget            never forget which file a number stands for
    -o remember=T          remember that for T seconds (default: 0)
    -o modules=M1[:M2...]  put modules on top of the filesystem
    -o parallel_direct_write=N
                           let direct_io writes to one file run together
";

impl Receiver<Action> for HighOptions {
    fn matched(
        &mut self,
        action: &Action,
        matched: &Matched<'_>,
        _out: &mut ArgVec,
    ) -> Result<Verdict> {
        let config = &mut self.config;
        match action {
            Action::Help => self.help = true,
            // The session wants to see it, too.
            Action::Debug => {
                config.debug = 1;
                return Ok(Verdict::Keep);
            }
            Action::KernelCache => config.kernel_cache = 1,
            Action::AutoCache(on) => config.auto_cache = i32::from(*on),
            Action::NoRofdFlush => config.no_rofd_flush = 1,
            Action::Umask => (config.set_mode, config.umask) = (1, matched.octal()?),
            Action::Fmask => (config.set_mode, config.fmask) = (1, matched.octal()?),
            Action::Dmask => (config.set_mode, config.dmask) = (1, matched.octal()?),
            Action::Uid => (config.set_uid, config.uid) = (1, matched.signed()? as u32),
            Action::Gid => (config.set_gid, config.gid) = (1, matched.signed()? as u32),
            Action::EntryTimeout => config.entry_timeout = matched.double()?,
            Action::AttrTimeout => config.attr_timeout = matched.double()?,
            Action::AcAttrTimeout => {
                (config.ac_attr_timeout_set, config.ac_attr_timeout) = (1, matched.double()?);
            }
            Action::NegativeTimeout => config.negative_timeout = matched.double()?,
            Action::Noforget => config.remember = -1,
            Action::Remember => config.remember = matched.unsigned()? as i32,
            Action::Modules => {
                self.modules = modules::names(matched.value);
            }
            Action::ParallelDirectWrites => config.parallel_direct_writes = matched.signed()?,
        }
        Ok(Verdict::Drop)
    }
}

impl HighOptions {
    /// Takes the options out of `args`, which keeps what is unknown here;
    /// `with_help`: also -h and --help.
    pub fn parse(args: &mut ArgVec, with_help: bool) -> Result<Self> {
        let mut options = Self { config: DEFAULTS, modules: Vec::new(), help: false };
        if with_help {
            opt::parse(args, HELP_TABLE, &mut options)?;
        }
        opt::parse(args, TABLE, &mut options)?;
        Ok(options)
    }
}
