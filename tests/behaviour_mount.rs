//! What mount options do on a mount that is served, what the kernel is told,
//! and what users are told who may not mount.
#![allow(missing_docs)]

mod support;

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::process::Signal;
use support::machine::is_root;
use support::*;

fn built(name: &str) -> PathBuf {
    std::env::var_os("RINGFUSE_TEST_BUILD")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("build/tests/fs"), PathBuf::from)
        .join(name)
}

fn about(list: &[&str]) -> Server {
    list.iter().fold(Server::new("about_ll"), |server, option| server.option(option))
}

/// `MOUNT-OPTIONS TYPE SOURCE SUPERBLOCK-OPTIONS` from mountinfo.
fn mounted_as(fs: &Mount) -> String {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let line = mountinfo
        .lines()
        .find(|line| line.split(' ').nth(4).map(Path::new) == Some(&fs.path))
        .expect("mounted");
    let (tree, what) = line.split_once(" - ").expect("mountinfo");
    format!("{} {what}", tree.split(' ').nth(5).expect("options"))
}

fn text_of(fs: &Mount) -> String {
    fs::read_to_string(fs.at("about")).expect("read")
}

/// Runs `command` as another user, in a way that needs no file of the mount.
fn as_nobody(command: &str, path: &Path) -> Output {
    Command::new("timeout")
        .args(["20", "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .args(["sh", "-c", command, "sh"])
        .arg(path)
        .output()
        .expect("setpriv")
}

/// What the kernel says about a connection, in a namespace with a fusectl.
fn limits_of(minor: u32) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let script = "mount -t fusectl fusectl \"$1\" && cd \"$1/$2\" && \
                  cat max_background congestion_threshold";
    let output = Command::new("timeout")
        .args(["20", "unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(minor.to_string())
        .output()
        .expect("unshare");
    String::from_utf8(output.stdout).expect("UTF-8")
}

each_transport! {
    fn restricting_options(on) {
        if !is_root() {
            return skip("only root has mount flags taken as they are");
        }
        let fs = about(&[
            "noexec", "noatime", "nodiratime", "nosymfollow", "sync", "dirsync", "nosuid",
            "nodev", "fsname=a name", "subtype=sub", "default_permissions", "allow_other",
            "max_read=65536", "init_max_read=65536", "user=me", "x-note=1",
        ]).arg("-r").arg("-n").mount(on);
        assert_eq!(
            mounted_as(&fs),
            "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow fuse.sub a\\040name \
             ro,sync,dirsync,user_id=0,group_id=0,default_permissions,allow_other,max_read=65536"
        );
        let error = File::create(fs.at("new")).expect_err("a filesystem to be read only");
        assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
    }

    fn releasing_options(on) {
        if !is_root() {
            return skip("only root may mount with suid and dev");
        }
        let fs = about(&[
            "ro", "rw", "suid", "dev", "noexec", "exec", "sync", "async", "noatime", "atime",
            "nostrictatime", "nosymfollow", "symfollow",
        ]).mount(on);
        let how = mounted_as(&fs);
        assert!(how.starts_with("rw,relatime fuse") && how.contains(" rw,user_id=0"), "{how}");
        fs::write(fs.at("about"), "written").expect("write");
    }

    /// What the connection options ask for is what the kernel takes.
    fn connection_options(on) {
        let list = [
            "max_write=131072", "max_readahead=65536", "max_background=7",
            "congestion_threshold=5", "time_gran=1000", "async_read", "sync_read",
            "atomic_o_trunc", "no_remote_lock", "no_remote_flock", "no_remote_posix_lock",
            "splice_write", "no_splice_write", "splice_move", "no_splice_move", "splice_read",
            "no_splice_read", "auto_inval_data", "no_auto_inval_data", "readdirplus=no",
            "async_dio", "no_async_dio", "writeback_cache", "no_writeback_cache",
        ];
        let mut server = about(&list);
        let directory = tempfile::tempdir().expect("a directory");
        let trace = directory.path().join("trace");
        server = server.option(&format!("trace={}", trace.display()));
        let fs = server.mount(on);
        let init = fs::read_to_string(trace).expect("trace");
        for word in [
            "max_write=131072", "max_readahead=65536", "max_background=7",
            "congestion_threshold=5", "time_gran=1000",
        ] {
            assert!(init.contains(word), "{word} in {init}");
        }
        // Whatever the "no" forms name is not wanted: the later form wins.
        let want = init.split("want=").nth(1).expect("want").trim();
        let want = u32::from_str_radix(want, 16).expect("a number");
        const TAKEN_AWAY: u32 = 1 | 1 << 1 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 12
            | 1 << 13 | 1 << 15 | 1 << 16;
        assert_eq!(want & TAKEN_AWAY, 0, "{want:#x}");
        if is_root() {
            let minor = rustix::fs::minor(fs::metadata(&fs.path).expect("stat").dev());
            assert_eq!(limits_of(minor), "7\n5\n", "max_background and congestion_threshold");
        } else {
            skip("the kernel's limits: only root may mount fusectl");
        }
    }

    /// Only root and who mounted may begin anything; what is open stays usable.
    fn allow_root(on) {
        if !is_root() {
            return skip("only root may become another user");
        }
        let fs = about(&["allow_root"]).mount(on);
        assert!(mounted_as(&fs).contains(",allow_other"), "the kernel has to let them through");
        assert!(text_of(&fs).starts_with("uring="));
        let output = as_nobody("cat \"$1\"", &fs.at("about"));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains("Permission denied"), "{error}");
        let mut open = File::open(fs.at("about")).expect("open");
        let output = Command::new("timeout")
            .args(["20", "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .args(["dd", "status=none", "bs=128", "count=1"])
            .stdin(open.try_clone().expect("dup"))
            .output()
            .expect("dd");
        assert!(output.stdout.starts_with(b"uring="), "READ is for everybody: {output:?}");
        open.read_to_end(&mut Vec::new()).expect("read");
    }

    /// The mount goes when its filesystem is killed.
    fn auto_unmount(on) {
        if !is_root() {
            return skip("users have fusermount3 of Debian 12, which cannot: see docs/compatibility.md");
        }
        let fs = about(&["auto_unmount"]).mount(on);
        assert!(text_of(&fs).starts_with("uring="));
        fs.signal(Signal::KILL);
        eventually("the end of the mount", || !process::mounted(&fs.path));
        assert!(!fs.ended().status.success());
    }

    /// The options of a security module reach the kernel as they were given,
    /// but for the quotes around them.
    fn security_contexts_reach_the_kernel(on) {
        if !is_root() {
            return skip("users mount through fusermount3, which cannot be looked at");
        }
        let directory = tempfile::tempdir().expect("a directory");
        let calls = directory.path().join("calls");
        let fs = about(&["fscontext=b", "defcontext=c", "rootcontext=d"])
            .option("context=system_u:object_r:a_t:s0")
            .env("LD_PRELOAD", built("mount_calls.so").to_str().expect("UTF-8"))
            .env("MOUNT_CALLS", calls.to_str().expect("UTF-8"))
            .mount(on);
        let calls = fs::read_to_string(calls).expect("calls");
        for wanted in [
            "context=system_u:object_r:a_t:s0", "fscontext=b", "defcontext=c", "rootcontext=d",
        ] {
            assert_eq!(calls.lines().filter(|line| *line == wanted).count(), 1, "{calls}");
        }
        assert!(text_of(&fs).starts_with("uring="));
    }

    /// Every request and answer is told, whichever way that was asked for.
    fn debugging(on) {
        for server in [about(&["debug"]), about(&[]).arg("-d"), about(&[]).arg("--debug")] {
            let fs = server.mount(on);
            assert!(text_of(&fs).starts_with("uring="));
            let log = fs.log();
            for told in ["FUSE library version", "INIT: kernel 7.", "Lookup", "Read,"] {
                assert!(log.contains(told), "no {told} in:\n{log}");
            }
        }
    }

    fn about_the_request(on) {
        let fs = about(&[]).mount(on);
        let (uring, payload, transport) = match on {
            Transport::Dev => (0, -22, 1),
            Transport::Ring => (1, 0, 2),
        };
        assert_eq!(text_of(&fs), format!("uring={uring} payload={payload} userdata=1\n"));
        let file = fs::OpenOptions::new().write(true).open(fs.at("about")).expect("open");
        file.write_all_at(&[7; 5000], 0).expect("where the payload is");
        (&file).write_all(b"once more").expect("write");
        assert_eq!(fs.command("transport"), transport);
        assert!(fs.command("reason") > 0 && fs.command("version") > 0);
        let fd = fs.command("fd");
        let target = fs::read_link(format!("/proc/{}/fd/{fd}", fs.pid)).expect("readlink");
        assert_eq!(target, Path::new("/dev/fuse"));
    }

    /// A user's mounts: what /etc/fuse.conf forbids is told as fusermount3 tells
    /// it, and what it allows works, `allow_root` included.
    fn users_and_fuse_conf(on) {
        if !is_root() {
            return skip("only root can make a namespace with another /etc/fuse.conf");
        }
        let refused = as_user(on, "", "allow_other", "");
        assert!(!refused.status.success());
        for text in [
            "option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf",
            "fuse: mount failed: ",
        ] {
            assert!(error_of(&refused).contains(text), "{}", error_of(&refused));
        }
        let refused = as_user(on, "mount_max = 0", "rw", "");
        assert!(!refused.status.success());
        for text in ["too many FUSE filesystems mounted; mount_max=N", "fuse: mount failed: "] {
            assert!(error_of(&refused).contains(text), "{}", error_of(&refused));
        }
        let check = "cat m/about; setpriv --reuid 1234 --clear-groups cat m/about";
        let served = as_user(on, "user_allow_other", "allow_root", check);
        let (text, error) = (String::from_utf8_lossy(&served.stdout), error_of(&served));
        let uring = u32::from(on == Transport::Ring);
        let wanted = format!("uring={uring} ");
        assert_eq!(text.matches(&wanted).count(), 1, "root may, 1234 may not:\n{text}\n{error}");
        assert_eq!(error.matches("Permission denied").count(), 1, "{error}");
        assert!(served.status.success(), "{error}");
    }
}

fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Mounts about_ll as the user nobody, where /etc/fuse.conf is `conf` and
/// everybody may open /dev/fuse: in a namespace, which takes all with it. Then
/// runs `check` as root and ends the filesystem. The status is the filesystem's.
fn as_user(on: Transport, conf: &str, options: &str, check: &str) -> Output {
    const SCRIPT: &str = r#"
        mount -t tmpfs tmpfs "$DIRECTORY" && cd "$DIRECTORY" &&
        mknod fuse c 10 229 && chmod 666 fuse && mount --bind fuse /dev/fuse &&
        cp -a /etc . && mount --bind etc /etc && echo "$CONF" >/etc/fuse.conf &&
        ln -sf /proc/self/mounts /etc/mtab &&
        cp "$PROGRAM" program && cp -L "$LIBRARIES"/libfuse3.so.[34] . && mkdir m &&
        chown 65534 m || exit 9
        mkfifo input && exec 3<>input
        LD_LIBRARY_PATH=. setpriv --reuid 65534 --regid 65534 --clear-groups \
            ./program m -f -o "$OPTIONS" <&3 >output &
        pid=$!
        until grep -q mounted output || ! kill -0 $pid 2>/dev/null; do :; done
        if grep -q mounted output; then
            eval "$CHECK"
            kill -TERM $pid
        fi
        wait $pid
    "#;
    let directory = tempfile::tempdir().expect("a directory");
    let program = built("about_ll");
    let libraries = built("../..");
    let _stays_on = support::machine::rings_stay_on();
    Command::new("timeout")
        .args(["-s", "KILL", "60", "unshare", "-m", "--propagation", "private"])
        .args(["sh", "-c", SCRIPT])
        .env("DIRECTORY", directory.path())
        .env("PROGRAM", program)
        .env("LIBRARIES", libraries)
        .env("CONF", conf)
        .env("OPTIONS", options)
        .env("CHECK", check)
        .env("RINGFUSE_TRANSPORT", on.name())
        .output()
        .expect("unshare")
}
