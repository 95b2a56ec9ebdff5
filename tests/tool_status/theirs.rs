//! A mount of somebody else's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::command::{root, Lazily};
use crate::support::mount::Watchdog;
use tempfile::TempDir;

/// Runs a program as a user who is nobody else.
pub const NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// `hello_ll` over `/dev/fuse`: root mounts, and nobody serves.
pub struct Theirs {
    child: Child,
    watchdog: Option<Watchdog>,
    lazily: Option<Lazily>,
    pub point: PathBuf,
    _dir: TempDir,
}

impl Theirs {
    pub fn mount() -> Self {
        let dir = TempDir::with_prefix("ringfuse-tool-").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let point = dir.path().join("mnt");
        fs::create_dir(&point).unwrap();
        // Where nobody may read them: the tree may be in a directory that only root enters.
        for file in ["examples-c/hello_ll", "libfuse3.so.4"] {
            let file = root().join("build").join(file);
            fs::copy(&file, dir.path().join(file.file_name().unwrap())).unwrap();
        }
        // The new mount calls look at what they have mounted, which is another user's.
        let script = "exec 9<>/dev/fuse
            LIBMOUNT_FORCE_MOUNT2=always mount -i -t fuse -o fd=9,rootmode=40000,user_id=65534,group_id=65534 ringfuse \"$1\" || exit 9
            shift
            exec \"$@\" /dev/fd/9";
        let child = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(&point)
            .args(NOBODY)
            .arg(dir.path().join("hello_ll"))
            .arg("-f")
            .env("LD_LIBRARY_PATH", dir.path())
            .env("RINGFUSE_TRANSPORT", "dev")
            .stderr(Stdio::null())
            .spawn()
            .expect("sh");
        let watchdog = Some(Watchdog::new(child.id(), &point));
        Self { child, watchdog, lazily: Some(Lazily(point.clone())), point, _dir: dir }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        drop(self.lazily.take());
        self.child.wait().expect("wait");
        let fired = self.watchdog.take().is_some_and(Watchdog::has_fired);
        assert!(!fired || std::thread::panicking());
    }
}
