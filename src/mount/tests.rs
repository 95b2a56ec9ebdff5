//! Real mounts, which nobody serves: what counts is what the kernel says about
//! them in /proc/self/mountinfo. Nothing here may look inside one.
//!
//! Each test runs this binary again in a mount namespace of its own with a
//! /dev/fuse that everybody may open. So the machine stays as it is, and
//! whatever a failing test leaves behind goes with the namespace.

use std::env;
use std::ffi::{c_char, c_int, CStr, CString};
use std::fs;
use std::io::Write;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::direct::{self, Api};
use super::*;
use crate::sys::spawn;

fn mount(options: &MountOptions, mountpoint: &CStr) -> Result<Mounted> {
    super::mount(options, mountpoint, None)
}

const NOBODY: u32 = 65534;
const DIRECTORY: &str = "RINGFUSE_TEST_MOUNTS";
const SETUP: &str = r#"
    mount -t tmpfs tmpfs "$DIRECTORY" && cd "$DIRECTORY" &&
    mknod fuse c 10 229 && chmod 666 fuse && mount --bind fuse /dev/fuse &&
    if ! [ -e /etc/mtab ]; then # of which fusermount3 makes sure
        cp -a /etc . && mount --bind etc /etc && ln -s /proc/self/mounts /etc/mtab
    fi &&
    cp "$0" test && cp "$(command -v setpriv)" . && mkdir m && chown "$USER_ID" m &&
    eval "$PREPARE" &&
    exec ./setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups ./test "$@"
"#;

/// Runs `body` in the namespace as user `uid`, after the shell commands `prepare`.
/// `body` gets the mountpoint: an empty directory.
fn in_namespace(test: &str, uid: u32, prepare: &str, body: impl FnOnce(&CStr)) {
    if let Some(directory) = env::var_os(DIRECTORY) {
        return body(&c_string(directory.to_str().unwrap().to_owned() + "/m"));
    }
    if sys::real_ids().0 != 0 {
        skip(format_args!("{test}: only root may make the namespace for it"));
        return;
    }
    let directory = env::temp_dir().join(format!("ringfuse-{test}-{}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    let output = Command::new("timeout")
        .args(["60", "unshare", "-m", "--propagation", "private", "sh", "-c", SETUP])
        .arg(env::current_exe().unwrap())
        .args(["--exact", &format!("mount::tests::{test}"), "--nocapture"])
        .env(DIRECTORY, &directory)
        .env("DIRECTORY", &directory)
        .env("USER_ID", uid.to_string())
        .env("PREPARE", prepare)
        .output()
        .unwrap();
    fs::remove_dir(&directory).unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "in the namespace: {}\n{text}",
        output.status
    );
}

/// Past the test runner, which shows what a test prints only if it fails.
fn skip(reason: fmt::Arguments<'_>) {
    writeln!(std::io::stderr(), "skipped: {reason}").unwrap();
}

fn c_string(text: String) -> CString {
    CString::new(text).unwrap()
}

fn options(list: &[&CStr]) -> MountOptions {
    let mut options = MountOptions::default();
    for option in list {
        assert!(options.take(option).unwrap(), "{option:?}");
    }
    options
}

/// `MOUNT-OPTIONS TYPE SOURCE SUPERBLOCK-OPTIONS` of what is mounted there.
fn mounted_at(mountpoint: &CStr) -> Option<String> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mountinfo.lines().rev().find_map(|line| {
        let (tree, what) = line.split_once(" - ").unwrap();
        let mut tree = tree.split(' ').skip(4);
        (tree.next() == mountpoint.to_str().ok())
            .then(|| format!("{} {what}", tree.next().unwrap()))
    })
}

static LOG: Mutex<String> = Mutex::new(String::new());

fn keep_log() {
    extern "C" fn keep(_level: c_int, message: *const c_char) {
        // SAFETY: a log sink gets a C string.
        #[allow(unsafe_code)]
        let message = unsafe { CStr::from_ptr(message) };
        eprint!("{}", message.to_string_lossy());
        LOG.lock().unwrap().push_str(message.to_str().unwrap());
    }
    crate::log::set_sink(keep);
}

fn logged(part: &str) -> bool {
    LOG.lock().unwrap().contains(part)
}

#[test]
fn both_apis_mount_the_same() {
    in_namespace("both_apis_mount_the_same", 0, "", |mountpoint| {
        let cases: [(&[&CStr], &str); 4] = [
            (&[], "rw,nosuid,nodev,relatime fuse /dev/fuse rw,user_id=0,group_id=0"),
            (
                &[c"suid", c"dev", c"subtype=sub"],
                "rw,relatime fuse.sub sub rw,user_id=0,group_id=0",
            ),
            (
                &[
                    c"ro",
                    c"noexec",
                    c"noatime",
                    c"nodiratime",
                    c"nosymfollow",
                    c"sync",
                    c"dirsync",
                    c"fsname=a,b\\c d",
                ],
                "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow \
                 fuse a,b\\134c\\040d ro,sync,dirsync,user_id=0,group_id=0",
            ),
            (
                &[
                    c"allow_other",
                    c"default_permissions",
                    c"max_read=65536",
                    c"fsname=name",
                    c"subtype=sub",
                ],
                "rw,nosuid,nodev,relatime fuse.sub name \
                 rw,user_id=0,group_id=0,default_permissions,allow_other,max_read=65536",
            ),
        ];
        for (list, expected) in cases {
            for api in [Api::Context, Api::Classic] {
                let target = Target::find(mountpoint).unwrap();
                let device = Path::new(direct::DEVICE);
                let fd = direct::attempt(api, device, &options(list), &target, None).0.unwrap();
                assert_eq!(mounted_at(mountpoint).as_deref(), Some(expected), "{api:?} {list:?}");
                Mount { mountpoint: target.path, watcher: None }.unmount(fd);
                assert_eq!(mounted_at(mountpoint), None, "{api:?} {list:?}");
            }
        }
    });
}

#[test]
fn the_kernel_explains_what_it_refuses() {
    in_namespace("the_kernel_explains_what_it_refuses", 0, "", |mountpoint| {
        keep_log();
        // Only for block devices.
        assert_eq!(
            mount(&options(&[c"blksize=512"]), mountpoint).unwrap_err(),
            Errno(libc::EINVAL)
        );
        assert!(
            logged("mount failed") && logged("blksize") && logged(mountpoint.to_str().unwrap())
        );
        assert_eq!(mounted_at(mountpoint), None);
    });
}

#[test]
fn a_file_can_be_mounted_on_and_a_relative_path_is_kept_absolute() {
    let name = "a_file_can_be_mounted_on_and_a_relative_path_is_kept_absolute";
    in_namespace(name, 0, ": > file; ln -s file link", |mountpoint| {
        let file =
            c_string(mountpoint.to_str().unwrap().strip_suffix('m').unwrap().to_owned() + "file");
        let mounted = mount(&MountOptions::default(), c"link").unwrap();
        let mount = mounted.mount.unwrap();
        assert_eq!(mount.mountpoint(), &*file);
        assert!(mounted_at(&file).unwrap().contains(" fuse /dev/fuse "));
        assert!(device_of(&file).is_some_and(|device| libc::major(device) == 0));
        env::set_current_dir("/").unwrap();
        mount.unmount(mounted.fd);
        assert_eq!(mounted_at(&file), None);
        assert_eq!(device_of(&file), None);
    });
}

#[test]
fn a_mount_that_is_gone_is_not_unmounted_again() {
    in_namespace(
        "a_mount_that_is_gone_is_not_unmounted_again",
        0,
        "mount -t tmpfs below m",
        |mountpoint| {
            let mounted = mount(&MountOptions::default(), mountpoint).unwrap();
            sys::detach(mountpoint).unwrap();
            mounted.mount.unwrap().unmount(mounted.fd);
            assert!(mounted_at(mountpoint).unwrap().contains(" tmpfs below "));
        },
    );
}

#[test]
fn a_handed_over_descriptor_is_the_session_s() {
    let null = fs::File::open("/dev/null").unwrap().into_raw_fd();
    let mounted = mount(&MountOptions::default(), &c_string(format!("/dev/fd/{null}"))).unwrap();
    assert_eq!(mounted.fd.as_raw_fd(), null);
    assert!(mounted.mount.is_none());
    assert_eq!(mount(&MountOptions::default(), c"/dev/fd/99999").unwrap_err(), Errno(libc::EBADF));
}

#[test]
fn only_a_whole_number_names_a_descriptor() {
    assert_eq!(descriptor_number(c"/dev/fd/12"), Some(12));
    for other in
        [c"/dev/fd/", c"/dev/fd/1x", c"/dev/fd/-1", c"/dev/fd/+1", c"/dev/fd/1/", c"/tmp/dev/fd/1"]
    {
        assert_eq!(descriptor_number(other), None, "{other:?}");
    }
    assert_eq!(descriptor_number(c"/dev/fd/99999999999"), None);
}

#[test]
fn a_mountpoint_that_does_not_exist_is_named() {
    keep_log();
    let error = mount(&MountOptions::default(), c"/nonexistent/ringfuse").unwrap_err();
    assert_eq!(error, Errno(libc::ENOENT));
    assert!(logged("mountpoint not accessible: /nonexistent/ringfuse: No such file"));
}

#[test]
fn a_user_mounts_through_fusermount3() {
    in_namespace("a_user_mounts_through_fusermount3", NOBODY, "", |mountpoint| {
        let list = [
            c"noexec",
            c"default_permissions",
            c"max_read=8192",
            c"fsname=a,b\\c",
            c"subtype=s,t",
            c"x-note=1",
        ];
        for _ in 0..3 {
            let mounted = mount(&options(&list), mountpoint).unwrap();
            let expected = "rw,nosuid,nodev,noexec,relatime fuse.s,t a,b\\134c \
                 rw,user_id=65534,group_id=65534,default_permissions,max_read=8192";
            assert_eq!(mounted_at(mountpoint).as_deref(), Some(expected));
            assert!(is_close_on_exec(mounted.fd.as_raw_fd()));
            mounted.mount.unwrap().unmount(mounted.fd);
            assert_eq!(mounted_at(mountpoint), None);
        }
        assert!(!has_children(), "a helper is left");
    });
}

#[test]
fn auto_unmount_watches_over_a_user_s_mount_and_a_root_s() {
    let name = "auto_unmount_watches_over_a_user_s_mount_and_a_root_s";
    for uid in [0, NOBODY] {
        in_namespace(name, uid, "", |mountpoint| {
            for _ in 0..3 {
                let mounted =
                    mount(&options(&[c"auto_unmount", c"subtype=sub"]), mountpoint).unwrap();
                assert!(mounted_at(mountpoint).unwrap().contains(" fuse.sub sub "));
                let mount = mounted.mount.unwrap();
                assert!(mount.watcher.is_some());
                mount.unmount(mounted.fd);
                assert_eq!(mounted_at(mountpoint), None);
            }
            assert!(!has_children(), "a helper is left");
        });
    }
}

#[test]
fn auto_unmount_unmounts_what_died() {
    in_namespace("auto_unmount_unmounts_what_died", 0, "", check_auto_unmount);
}

#[test]
fn auto_unmount_unmounts_a_user_s_mount_that_died() {
    let name = "auto_unmount_unmounts_a_user_s_mount_that_died";
    let version = Command::new("fusermount3").arg("-V").output().unwrap();
    if String::from_utf8_lossy(&version.stdout).contains("version: 3.14.0") {
        // Debian 12's takes the EACCES that root gets from a user's mount for a sign of life.
        skip(format_args!("{name}: fusermount3 3.14.0 unmounts for users only with allow_other"));
        return;
    }
    in_namespace(name, NOBODY, "", check_auto_unmount);
}

fn check_auto_unmount(mountpoint: &CStr) {
    // As a crash does, and as a filesystem that closes the end it was told of.
    let crash = |mounted: Mounted| drop(mounted);
    let hint = |mounted: Mounted| {
        let end = env::var("_FUSE_COMMFD2").unwrap().parse().unwrap();
        drop(mounted.fd);
        drop(sys::adopt(end).unwrap());
        let mut others = Vec::new();
        while others.last().map_or(-1, AsRawFd::as_raw_fd) != end {
            others.push(fs::File::open("/dev/null").unwrap());
            assert!(others.len() < 100, "{end} is not free");
        }
        drop(mounted.mount);
        assert!(spawn::identity(end).is_some(), "the number's next owner lost it");
    };
    for end in [&crash as &dyn Fn(Mounted), &hint] {
        let mounted = mount(&options(&[c"auto_unmount"]), mountpoint).unwrap();
        assert!(mounted_at(mountpoint).is_some());
        end(mounted);
        let start = Instant::now();
        while mounted_at(mountpoint).is_some() {
            assert!(start.elapsed() < Duration::from_secs(10), "still mounted");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn without_fusermount3_the_messages_say_what_to_do() {
    for uid in [0, NOBODY] {
        let name = "without_fusermount3_the_messages_say_what_to_do";
        in_namespace(name, uid, "mount -t tmpfs none /usr/bin", |mountpoint| {
            keep_log();
            let result = mount(&options(&[c"auto_unmount"]), mountpoint);
            assert!(
                logged("fusermount3 is neither in") && logged("install the system's fuse3 package")
            );
            match sys::real_ids().0 {
                0 => {
                    let mounted = result.unwrap();
                    assert!(logged("auto_unmount has no effect"));
                    mounted.mount.unwrap().unmount(mounted.fd);
                }
                _ => {
                    assert_eq!(result.unwrap_err(), Errno(libc::ENOENT));
                    assert_eq!(
                        mount(&MountOptions::default(), mountpoint).unwrap_err(),
                        Errno(libc::ENOENT)
                    );
                    assert!(logged("this process may not mount (Operation not permitted"));
                }
            }
        });
    }
}

#[test]
fn a_device_that_is_missing_or_forbidden_is_named() {
    let prepare = "mkdir dev; mount --rbind dev /dev; mknod /dev/null c 1 3";
    in_namespace("a_device_that_is_missing_or_forbidden_is_named", 0, prepare, |mountpoint| {
        keep_log();
        assert_eq!(mount(&MountOptions::default(), mountpoint).unwrap_err(), Errno(libc::ENOENT));
        assert!(logged("device not found: /dev/fuse (try `modprobe fuse'"));
        env::set_var("FUSE_KERN_DEVICE", "/dev/fuse.other");
        assert_eq!(mount(&MountOptions::default(), mountpoint).unwrap_err(), Errno(libc::ENOENT));
        assert!(logged("device not found: /dev/fuse.other"));
        env::set_var("FUSE_KERN_DEVICE", "/etc/passwd");
        assert_eq!(mount(&MountOptions::default(), mountpoint).unwrap_err(), Errno(libc::ENOENT));
        assert!(logged("FUSE_KERN_DEVICE=/etc/passwd is no character device below /dev"));
    });
}

fn has_children() -> bool {
    // SAFETY: a null status is allowed.
    #[allow(unsafe_code)]
    let result = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
    !(result == -1 && Errno::last() == Errno(libc::ECHILD))
}

fn is_close_on_exec(fd: RawFd) -> bool {
    let info = fs::read_to_string(PathBuf::from(format!("/proc/self/fdinfo/{fd}"))).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    i32::from_str_radix(flags.trim(), 8).unwrap() & libc::O_CLOEXEC != 0
}
