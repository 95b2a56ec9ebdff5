//! Mirrors of the structures of `fuse.h`.
#![allow(missing_docs)] // include/fuse.h has them

use super::public::{layout, Bufvec, ConnInfo, FileInfo, Layout, PollHandle};
use libc::{
    c_char, c_int, c_uint, c_void, dev_t, flock64, gid_t, mode_t, off64_t, pid_t, size_t, ssize_t,
    stat64, statvfs64, statx, timespec, uid_t,
};

type Path = *const c_char;

/// `fuse_fill_dir_t`.
pub type FillDir =
    Option<unsafe extern "C" fn(*mut c_void, Path, *const stat64, off64_t, c_uint) -> c_int>;

/// `enum fuse_readdir_flags`.
pub const READDIR_PLUS: c_uint = 1 << 0;
/// `enum fuse_fill_dir_flags`.
pub const FILL_DIR_PLUS: c_uint = 1 << 1;

/// `struct fuse_operations` of 3.18 (43 slots); shorter tables are padded with
/// `None`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
#[allow(clippy::type_complexity)] // the C prototypes are what they are
pub struct Operations {
    pub getattr: Option<unsafe extern "C" fn(Path, *mut stat64, *mut FileInfo) -> c_int>,
    pub readlink: Option<unsafe extern "C" fn(Path, *mut c_char, size_t) -> c_int>,
    pub mknod: Option<unsafe extern "C" fn(Path, mode_t, dev_t) -> c_int>,
    pub mkdir: Option<unsafe extern "C" fn(Path, mode_t) -> c_int>,
    pub unlink: Option<unsafe extern "C" fn(Path) -> c_int>,
    pub rmdir: Option<unsafe extern "C" fn(Path) -> c_int>,
    pub symlink: Option<unsafe extern "C" fn(Path, Path) -> c_int>,
    pub rename: Option<unsafe extern "C" fn(Path, Path, c_uint) -> c_int>,
    pub link: Option<unsafe extern "C" fn(Path, Path) -> c_int>,
    pub chmod: Option<unsafe extern "C" fn(Path, mode_t, *mut FileInfo) -> c_int>,
    pub chown: Option<unsafe extern "C" fn(Path, uid_t, gid_t, *mut FileInfo) -> c_int>,
    pub truncate: Option<unsafe extern "C" fn(Path, off64_t, *mut FileInfo) -> c_int>,
    pub open: Option<unsafe extern "C" fn(Path, *mut FileInfo) -> c_int>,
    pub read:
        Option<unsafe extern "C" fn(Path, *mut c_char, size_t, off64_t, *mut FileInfo) -> c_int>,
    pub write:
        Option<unsafe extern "C" fn(Path, *const c_char, size_t, off64_t, *mut FileInfo) -> c_int>,
    pub statfs: Option<unsafe extern "C" fn(Path, *mut statvfs64) -> c_int>,
    pub flush: Option<unsafe extern "C" fn(Path, *mut FileInfo) -> c_int>,
    pub release: Option<unsafe extern "C" fn(Path, *mut FileInfo) -> c_int>,
    pub fsync: Option<unsafe extern "C" fn(Path, c_int, *mut FileInfo) -> c_int>,
    pub setxattr: Option<unsafe extern "C" fn(Path, Path, *const c_char, size_t, c_int) -> c_int>,
    pub getxattr: Option<unsafe extern "C" fn(Path, Path, *mut c_char, size_t) -> c_int>,
    pub listxattr: Option<unsafe extern "C" fn(Path, *mut c_char, size_t) -> c_int>,
    pub removexattr: Option<unsafe extern "C" fn(Path, Path) -> c_int>,
    pub opendir: Option<unsafe extern "C" fn(Path, *mut FileInfo) -> c_int>,
    pub readdir: Option<
        unsafe extern "C" fn(Path, *mut c_void, FillDir, off64_t, *mut FileInfo, c_uint) -> c_int,
    >,
    pub releasedir: Option<unsafe extern "C" fn(Path, *mut FileInfo) -> c_int>,
    pub fsyncdir: Option<unsafe extern "C" fn(Path, c_int, *mut FileInfo) -> c_int>,
    pub init: Option<unsafe extern "C" fn(*mut ConnInfo, *mut Config) -> *mut c_void>,
    pub destroy: Option<unsafe extern "C" fn(*mut c_void)>,
    pub access: Option<unsafe extern "C" fn(Path, c_int) -> c_int>,
    pub create: Option<unsafe extern "C" fn(Path, mode_t, *mut FileInfo) -> c_int>,
    pub lock: Option<unsafe extern "C" fn(Path, *mut FileInfo, c_int, *mut flock64) -> c_int>,
    pub utimens: Option<unsafe extern "C" fn(Path, *const timespec, *mut FileInfo) -> c_int>,
    pub bmap: Option<unsafe extern "C" fn(Path, size_t, *mut u64) -> c_int>,
    pub ioctl: Option<
        unsafe extern "C" fn(
            Path,
            c_uint,
            *mut c_void,
            *mut FileInfo,
            c_uint,
            *mut c_void,
        ) -> c_int,
    >,
    pub poll:
        Option<unsafe extern "C" fn(Path, *mut FileInfo, *mut PollHandle, *mut c_uint) -> c_int>,
    pub write_buf: Option<unsafe extern "C" fn(Path, *mut Bufvec, off64_t, *mut FileInfo) -> c_int>,
    pub read_buf: Option<
        unsafe extern "C" fn(Path, *mut *mut Bufvec, size_t, off64_t, *mut FileInfo) -> c_int,
    >,
    pub flock: Option<unsafe extern "C" fn(Path, *mut FileInfo, c_int) -> c_int>,
    pub fallocate:
        Option<unsafe extern "C" fn(Path, c_int, off64_t, off64_t, *mut FileInfo) -> c_int>,
    pub copy_file_range: Option<
        unsafe extern "C" fn(
            Path,
            *mut FileInfo,
            off64_t,
            Path,
            *mut FileInfo,
            off64_t,
            size_t,
            c_int,
        ) -> ssize_t,
    >,
    pub lseek: Option<unsafe extern "C" fn(Path, off64_t, c_int, *mut FileInfo) -> off64_t>,
    pub statx: Option<unsafe extern "C" fn(Path, c_int, c_int, *mut statx, *mut FileInfo) -> c_int>,
}

/// `struct fuse_config` as 3.17 and later have it, which is also what the
/// library itself works with.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Config {
    pub set_gid: i32,
    pub gid: u32,
    pub set_uid: i32,
    pub uid: u32,
    pub set_mode: i32,
    pub umask: u32,
    pub entry_timeout: f64,
    pub negative_timeout: f64,
    pub attr_timeout: f64,
    pub intr: i32,
    pub intr_signal: i32,
    pub remember: i32,
    pub hard_remove: i32,
    pub use_ino: i32,
    pub readdir_ino: i32,
    pub direct_io: i32,
    pub kernel_cache: i32,
    pub auto_cache: i32,
    pub ac_attr_timeout_set: i32,
    pub ac_attr_timeout: f64,
    pub nullpath_ok: i32,
    pub show_help: i32,
    pub modules: *mut c_char,
    pub debug: i32,
    pub fmask: u32,
    pub dmask: u32,
    pub no_rofd_flush: i32,
    pub parallel_direct_writes: i32,
    pub flags: u32,
    pub reserved: [u64; 48],
}

/// An older form of `struct fuse_config`: the fields up to `auto_cache`, which
/// never changed, then those given.
macro_rules! old_config {
    ($(#[$meta:meta])* $name:ident, $($tail:ident: $type:ty),*) => {
        old_config!(@ $(#[$meta])* $name, set_gid: i32, gid: u32, set_uid: i32, uid: u32,
            set_mode: i32, umask: u32, entry_timeout: f64, negative_timeout: f64,
            attr_timeout: f64, intr: i32, intr_signal: i32, remember: i32, hard_remove: i32,
            use_ino: i32, readdir_ino: i32, direct_io: i32, kernel_cache: i32,
            auto_cache: i32, $($tail: $type),*);
    };
    (@ $(#[$meta:meta])* $name:ident, $($field:ident: $type:ty),*) => {
        $(#[$meta])*
        #[derive(Clone, Copy)]
        #[repr(C)]
        pub struct $name {
            $(pub $field: $type),*
        }

        impl $name {
            fn new(config: &Config) -> Self {
                Self { $($field: config.$field),* }
            }

            fn read(&self, config: &mut Config) {
                $(config.$field = self.$field;)*
            }
        }
    };
}

old_config! {
    /// `struct fuse_config` of 3.11 to 3.14.0. 3.10 lacks `no_rofd_flush`, which
    /// cannot be told: programs of that release see what follows it shifted.
    ConfigV311,
    no_rofd_flush: i32, ac_attr_timeout_set: i32, ac_attr_timeout: f64, nullpath_ok: i32,
    show_help: i32, modules: *mut c_char, debug: i32
}
old_config! {
    /// `struct fuse_config` of 3.14.1 to 3.16.
    ConfigV3141,
    no_rofd_flush: i32, ac_attr_timeout_set: i32, ac_attr_timeout: f64, nullpath_ok: i32,
    parallel_direct_writes: i32, show_help: i32, modules: *mut c_char, debug: i32
}

/// A `struct fuse_config` in the form that the program was compiled with.
#[derive(Clone, Copy)]
#[allow(clippy::large_enum_variant)] // there is one in a process, mostly
pub enum ConfigCell {
    V317(Config),
    V3141(ConfigV3141),
    V311(ConfigV311),
}

impl ConfigCell {
    /// `config` as the program sees it.
    pub fn new(config: &Config) -> Self {
        match layout() {
            Layout::V317 => Self::V317(*config),
            Layout::V3141 => Self::V3141(ConfigV3141::new(config)),
            Layout::V310 => Self::V311(ConfigV311::new(config)),
        }
    }

    /// What the program gets. It is of its own type, whatever this one says.
    pub fn as_ptr(&mut self) -> *mut Config {
        match self {
            Self::V317(config) => config,
            Self::V3141(config) => (config as *mut ConfigV3141).cast(),
            Self::V311(config) => (config as *mut ConfigV311).cast(),
        }
    }

    /// Takes what the program made of it.
    pub fn read(&self, config: &mut Config) {
        match self {
            Self::V317(changed) => *config = *changed,
            Self::V3141(changed) => changed.read(config),
            Self::V311(changed) => changed.read(config),
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<Config>() == 520);
    assert!(size_of::<ConfigV3141>() == 136);
    assert!(size_of::<ConfigV311>() == 128);
    assert!(size_of::<Operations>() == 43 * 8);
    assert!(size_of::<Context>() == 40);
};

/// `struct fuse_context`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Context {
    pub fuse: *mut c_void,
    pub uid: uid_t,
    pub gid: gid_t,
    pub pid: pid_t,
    pub private_data: *mut c_void,
    pub umask: mode_t,
}
