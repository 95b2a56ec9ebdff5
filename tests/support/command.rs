//! The command `ringfuse`. Not part of `support`, where it would bring serde_json into
//! all tests.
#![allow(dead_code)] // each test program uses a part of it

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn tool() -> PathBuf {
    let tool = root().join("build/ringfuse");
    assert!(tool.exists(), "{} is not built: run `ninja -C build`", tool.display());
    tool
}

/// What `ringfuse status` says, started by the words of `wrapper`.
pub fn status_under(wrapper: &[&str]) -> Value {
    let tool = tool();
    let words = [wrapper, &[tool.to_str().unwrap(), "status", "--json"]].concat();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

pub fn status() -> Value {
    status_under(&[])
}

/// Its row about the mount at `path`.
pub fn row_in(status: &Value, path: &Path) -> Option<Value> {
    let rows = status["mounts"].as_array().expect("mounts");
    let mut rows = rows.iter().filter(|row| row["mount_point"] == path.to_str().unwrap());
    let row = rows.next().cloned();
    assert!(rows.next().is_none(), "two rows about one mount: {status:#}");
    row
}

pub fn row(path: &Path) -> Option<Value> {
    row_in(&status(), path)
}

/// A program of one C file of `tests/`, as `name` in `directory`.
pub fn compiled(directory: &Path, name: &str, source: &str) -> PathBuf {
    let program = directory.join(name);
    let output = Command::new("cc")
        .arg("-o")
        .arg(&program)
        .arg(root().join("tests").join(source))
        .output()
        .expect("cc");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

/// `engine_ll` compiled against the system's libfuse3.
pub fn stock_filesystem() -> Result<PathBuf, String> {
    let flags = Command::new("pkg-config")
        .args(["--cflags", "--libs", "fuse3"])
        .env_remove("PKG_CONFIG_PATH")
        .output()
        .ok()
        .filter(|output| output.status.success())
        .ok_or("libfuse3-dev and pkg-config are not installed")?;
    static ONCE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONCE.lock();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("engine_ll-stock");
    let output = Command::new("cc")
        .args(["-O1", "-w", "-o"])
        .arg(&program)
        .args(["engine_ll.c", "serve.c"].map(|file| root().join("tests/fs").join(file)))
        .args(String::from_utf8_lossy(&flags.stdout).split_whitespace())
        .arg("-pthread")
        .output()
        .map_err(|error| format!("cc: {error}"))?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(program)
}

/// Takes a mount away, whatever happens.
pub struct Lazily(pub PathBuf);

impl Drop for Lazily {
    fn drop(&mut self) {
        if crate::support::process::mounted(&self.0) {
            let _ = crate::support::mount::umount(&self.0, rustix::mount::UnmountFlags::DETACH);
        }
    }
}
