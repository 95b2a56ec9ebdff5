//! What a capability does on a real mount, where that can be seen, and the limits
//! that init() sets. `tests/init.rs` looks at what the kernel is told.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, missing_docs)]

mod support;

use ringfuse::abi::public::cap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use support::{skip, stock, Line, Mount, Server, Transport};

/// What fusectl says of a mount, mounted where nobody else is.
fn control(mount: &Mount, name: &str) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let none = rustix::mount::MountFlags::empty();
    rustix::mount::mount("fusectl", dir.path(), "fusectl", none, None).expect("fusectl");
    let device = rustix::fs::minor(fs::metadata(&mount.path).expect("stat").dev());
    let text = fs::read_to_string(dir.path().join(format!("{device}/{name}")));
    rustix::mount::unmount(dir.path(), rustix::mount::UnmountFlags::DETACH).expect("umount");
    text.expect("a file of the connection").trim().parse().expect("a number")
}

/// A mount of `init_ll` with capabilities set and unset; None, after saying why,
/// with stock libfuse.
fn mount_with(on: Transport, set: u64, unset: u64) -> Option<Mount> {
    mount_as(on, set, unset, &[])
}

fn mount_as(on: Transport, set: u64, unset: u64, more: &[&str]) -> Option<Mount> {
    if stock() {
        skip("libfuse has not what init_ll uses before 3.19");
        return None;
    }
    let server =
        Server::new("init_ll").option(&format!("set={set:x}")).option(&format!("unset={unset:x}"));
    Some(more.iter().fold(server, |server, option| server.option(option)).mount(on))
}

/// Makes a copy of the mount whose user ids are mapped; nobody sees it.
fn map_ids(mount: &Mount) -> Result<(), i32> {
    const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
    let mut holder = std::process::Command::new("unshare")
        .args(["--user", "cat"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("unshare");
    // It answers once its user namespace is there.
    writeln!(holder.stdin.as_mut().expect("piped")).expect("cat");
    std::io::Read::read_exact(holder.stdout.as_mut().expect("piped"), &mut [0]).expect("cat");
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{map}", holder.id()), "0 1000 1").expect("a map of ids");
    }
    let namespace = File::open(format!("/proc/{}/ns/user", holder.id())).expect("a namespace");
    let path = std::ffi::CString::new(mount.path.to_str().unwrap()).unwrap();
    let clone = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    let attributes: [u64; 4] = [MOUNT_ATTR_IDMAP, 0, 0, namespace.as_raw_fd() as u64];
    let result = unsafe {
        let tree = libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), clone);
        assert!(tree >= 0, "open_tree: {}", std::io::Error::last_os_error());
        let tree = OwnedFd::from_raw_fd(tree as i32);
        let (fd, empty) = (tree.as_raw_fd(), libc::AT_EMPTY_PATH);
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            c"".as_ptr(),
            empty,
            &attributes,
            size_of_val(&attributes),
        )
    };
    let error = std::io::Error::last_os_error().raw_os_error().expect("an errno");
    drop(holder.stdin.take());
    holder.wait().expect("wait");
    if result == 0 {
        Ok(())
    } else {
        Err(error)
    }
}

fn count(lines: &[Line], op: &str) -> usize {
    lines.iter().filter(|line| line.op == op).count()
}

each_transport! {
    fn limits_of_background_requests(on) {
        let limits = |options: &[&str]| {
            let server = options.iter().fold(Server::new("trace_ll"), |s, o| s.option(o));
            let mount = server.mount(on);
            (control(&mount, "max_background"), control(&mount, "congestion_threshold"))
        };
        if !support::machine::is_root() {
            return skip("only root mounts fusectl");
        }
        assert_eq!(limits(&["max_background=30", "congestion_threshold=20"]), (30, 20));
        assert_eq!(limits(&["max_background=40"]), (40, 30));
        let (max, threshold) = limits(&[]);
        match on {
            Transport::Dev => assert_eq!((max, threshold), (12, 9)),
            Transport::Ring => assert!(max >= 64 && threshold >= 48 && threshold < max, "{max} {threshold}"),
        }
    }

    fn cached_symbolic_links(on) {
        for (set, unset, requests) in [(cap::CACHE_SYMLINKS, 0, 1), (0, cap::CACHE_SYMLINKS, 3)] {
            let Some(mount) = mount_with(on, set, unset) else { return };
            for _ in 0..3 {
                assert_eq!(fs::read_link(mount.at("link")).unwrap().to_str(), Some("file"));
            }
            assert_eq!(count(&mount.trace.take(), "readlink"), requests);
        }
    }

    fn truncation_in_open(on) {
        for (set, unset) in [(cap::ATOMIC_O_TRUNC, 0), (0, cap::ATOMIC_O_TRUNC)] {
            let Some(mount) = mount_with(on, set, unset) else { return };
            OpenOptions::new().write(true).truncate(true).open(mount.at("file")).unwrap();
            let lines = mount.trace.take();
            let open = lines.iter().find(|line| line.op == "open").expect("an open");
            assert_eq!(open.hex("flags") & libc::O_TRUNC as u64 != 0, set != 0, "{lines:?}");
            assert_eq!(count(&lines, "setattr"), usize::from(set == 0), "{lines:?}");
        }
    }

    fn the_umask(on) {
        let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        rustix::process::umask(mask);
        for (set, unset) in [(cap::DONT_MASK, 0), (0, cap::DONT_MASK)] {
            let Some(mount) = mount_with(on, set, unset) else { return };
            let mode = OpenOptions::new().write(true).create_new(true).mode(0o777).open(mount.at("new"));
            mode.unwrap();
            let expected = if set != 0 { 0o777 } else { 0o777 & !mask.as_raw_mode() };
            assert_eq!(mount.trace.one("create").oct("mode") as u32 & 0o7777, expected);
        }
    }

    fn cached_writes(on) {
        for (set, unset) in [(cap::WRITEBACK_CACHE, 0), (0, cap::WRITEBACK_CACHE)] {
            let Some(mount) = mount_with(on, set, unset) else { return };
            let mut file = OpenOptions::new().write(true).open(mount.at("file")).unwrap();
            file.write_all(b"x").unwrap();
            file.write_all(b"y").unwrap();
            // Before any flush: with the cache nothing has been sent, or the page was.
            let sent: Vec<_> = mount.trace.all("write");
            if set == 0 {
                assert_eq!(sent.len(), 2, "{sent:?}");
            }
            drop(file);
            let all: Vec<_> = sent.into_iter().chain(mount.trace.all("write")).collect();
            assert!(all.iter().all(|line| line.dec("writepage") == i128::from(set != 0)), "{all:?}");
            assert!(!all.is_empty());
        }
    }

    fn exporting(on) {
        for (set, unset) in [(cap::NO_EXPORT_SUPPORT, 0), (0, cap::NO_EXPORT_SUPPORT)] {
            let Some(mount) = mount_with(on, set, unset) else { return };
            let file = std::ffi::CString::new(mount.at("file").to_str().unwrap()).unwrap();
            // A handle of 0 bytes asks for the size that it takes.
            let (mut handle, mut id) = ([0u32; 2], 0);
            let result = unsafe {
                libc::syscall(libc::SYS_name_to_handle_at, libc::AT_FDCWD, file.as_ptr(), handle.as_mut_ptr(), &mut id, 0)
            };
            let errno = std::io::Error::last_os_error().raw_os_error();
            let expected = if set != 0 { libc::EOPNOTSUPP } else { libc::EOVERFLOW };
            assert_eq!((result, errno), (-1, Some(expected)));
        }
    }

    fn files_that_need_no_open(on) {
        for (set, unset) in [(cap::NO_OPEN_SUPPORT, 0), (0, cap::NO_OPEN_SUPPORT)] {
            let Some(mount) = mount_as(on, set, unset, &["no_open", "debug"]) else { return };
            for _ in 0..3 {
                assert_eq!(fs::read(mount.at("file")).unwrap(), b"contents\n");
            }
            // The first one is answered with ENOSYS if that is known to be understood.
            let opens = mount.log().matches(": Open,").count();
            assert_eq!(opens, if set != 0 { 1 } else { 3 }, "{}", mount.log());
        }
    }

    fn mapping_of_files_without_a_cache(on) {
        for (set, unset) in [(cap::DIRECT_IO_ALLOW_MMAP, 0), (0, cap::DIRECT_IO_ALLOW_MMAP)] {
            let Some(mount) = mount_as(on, set, unset, &["direct"]) else { return };
            let file = OpenOptions::new().read(true).write(true).open(mount.at("file")).unwrap();
            let map = unsafe {
                libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
            };
            let errno = std::io::Error::last_os_error().raw_os_error();
            if set == 0 {
                assert_eq!((map, errno), (libc::MAP_FAILED, Some(libc::ENODEV)));
            } else {
                assert_ne!(map, libc::MAP_FAILED, "{errno:?}");
                let seen = unsafe { std::slice::from_raw_parts(map.cast::<u8>(), 9) }.to_vec();
                unsafe { libc::munmap(map, 4096) };
                assert_eq!(seen, b"contents\n");
            }
        }
    }

    /// The two forms of the request must be told apart on either transport.
    fn extended_attributes(on) {
        for (set, unset) in [(cap::SETXATTR_EXT, 0), (0, cap::SETXATTR_EXT)] {
            let Some(mount) = mount_with(on, set, unset) else { return };
            let create = rustix::fs::XattrFlags::CREATE;
            rustix::fs::setxattr(mount.at("file"), "user.name", b"value", create).unwrap();
            let line = mount.trace.one("setxattr");
            assert_eq!((line.text("name"), line.text("value")), ("user.name", "value"));
            assert_eq!(line.hex("flags"), 1);
        }
    }

    fn mapped_user_ids(on) {
        if !support::machine::is_root() {
            return skip("only root maps the ids of a mount");
        }
        let unshare = std::process::Command::new("unshare").args(["--user", "true"]).output();
        let unshare = unshare.expect("unshare");
        if !unshare.status.success() {
            let why = String::from_utf8_lossy(&unshare.stderr).into_owned();
            return skip(&format!("no user namespace to be had (in a chroot?): {why}"));
        }
        for (set, unset) in [(cap::ALLOW_IDMAP, 0), (0, cap::ALLOW_IDMAP)] {
            let Some(mount) = mount_as(on, set, unset, &["default_permissions"]) else { return };
            assert_eq!(map_ids(&mount), if set != 0 { Ok(()) } else { Err(libc::EINVAL) });
        }
    }

    fn pruned_nodes_are_forgotten(on) {
        if stock() {
            return skip("libfuse cannot prune before 3.19");
        }
        let mount = Server::new("init_ll").option("commands").mount(on);
        fs::metadata(mount.at("file")).unwrap();
        let file = File::open(mount.at("link")).unwrap();
        match mount.command("prune 2") {
            // Linux 6.18 has it; what is open stays.
            0 => {}
            error => {
                assert_eq!(error, -i64::from(libc::ENOSYS));
                return skip("this kernel cannot prune");
            }
        }
        assert_eq!(count(&mount.trace.take(), "forget"), 0);
        drop(file);
        support::eventually("the FORGET of a node that was pruned", || {
            assert_eq!(mount.command("prune 2"), 0);
            count(&mount.trace.take(), "forget") > 0
        });
    }

    /// Nothing to be seen without SELinux, but files must be made all the same.
    fn new_files_with_security_contexts(on) {
        let Some(mount) = mount_with(on, cap::SECURITY_CTX | cap::SETXATTR_EXT, 0) else { return };
        OpenOptions::new().write(true).create_new(true).open(mount.at("new")).unwrap();
        assert_eq!(mount.trace.one("create").text("name"), "new");
    }
}
