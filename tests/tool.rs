//! The command `ringfuse`: `run`. `doctor` is in `tool_doctor.rs`, `status` in
//! `tool_status.rs`.

#[path = "support/command.rs"]
mod command;
mod support;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{chown, symlink, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use command::{root, row, tool, Lazily};
use support::machine::is_root;
use support::*;
use tempfile::TempDir;

const NOBODY: u32 = 65534;

/// A directory with a libfuse3 of somebody else's, and programs that use it.
struct Stage {
    dir: TempDir,
}

impl Stage {
    fn new() -> Self {
        let stage = Self { dir: TempDir::with_prefix("ringfuse-tool-").unwrap() };
        // Programs here are run as other users too.
        fs::set_permissions(stage.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        stage
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn cc(&self, output: &str, args: &[&str]) -> PathBuf {
        let path = self.at(output);
        let output = Command::new("cc").arg("-o").arg(&path).args(args).output().expect("cc");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        path
    }

    /// A library in `lib/` that says it is version 0, as a distribution installs it:
    /// `soname` is a link to `file`.
    fn stock(&self, soname: &str, file: &str) -> String {
        fs::create_dir_all(self.at("lib")).unwrap();
        let source = self.at("stock.c");
        fs::write(&source, "int fuse_version(void) { return 0; }\n").unwrap();
        let soname_option = format!("-Wl,-soname,{soname}");
        let source = source.to_str().unwrap();
        self.cc(&format!("lib/{file}"), &["-shared", "-fPIC", source, &soname_option]);
        let link = self.at("lib").join(soname);
        let _ = fs::remove_file(&link);
        symlink(file, &link).unwrap();
        link.to_str().unwrap().to_owned()
    }

    /// `tests/tool/probe.c` on that library.
    fn probe(&self, stock: &str, options: &[&str]) -> PathBuf {
        let source = root().join("tests/tool/probe.c");
        self.cc("probe", &[&[source.to_str().unwrap(), stock], options].concat())
    }

    /// That of Debian 12, which finds its library by LD_LIBRARY_PATH.
    fn plain(&self) -> PathBuf {
        self.probe(&self.stock("libfuse3.so.3", "libfuse3.so.3.14.0"), &[])
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("ringfuse")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(tool());
        command.arg("run").args(args).env("LD_LIBRARY_PATH", self.at("lib"));
        for name in ["LD_PRELOAD", "RINGFUSE_SO3_LAYOUT"] {
            command.env_remove(name);
        }
        command
    }

    /// What the probe said.
    fn said(&self, program: &Path) -> HashMap<String, String> {
        said(&self.run(&[program.to_str().unwrap()]))
    }

    /// It is refused, with this status, and all of these words.
    fn refused(&self, args: &[&str], status: i32, words: &[&str]) {
        let output = self.run(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{args:?}: {error}");
        assert!(error.starts_with("ringfuse: "), "{error}");
        for word in words {
            assert!(error.contains(word), "{args:?}: no '{word}' in: {error}");
        }
        assert!(output.stdout.is_empty(), "{args:?} was run");
    }
}

fn said(output: &Output) -> HashMap<String, String> {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(k, v)| (k.into(), v.into()))
        .collect()
}

/// Whether the probe ran on this build's `soname`.
fn on_ours(said: &HashMap<String, String>, soname: &str) {
    let ours = root().join("build").join(soname).canonicalize().unwrap();
    assert_eq!(said.get("library").map(Path::new), Some(&*ours), "{said:?}");
    assert_ne!(said["version"], "0");
}

#[test]
fn by_library_path() {
    for (soname, file) in
        [("libfuse3.so.3", "libfuse3.so.3.14.0"), ("libfuse3.so.4", "libfuse3.so.3.17.4")]
    {
        let stage = Stage::new();
        let link = stage.stock(soname, file);
        for options in [&[][..], &["-Wl,--enable-new-dtags,-rpath,$ORIGIN/lib"]] {
            let probe = stage.probe(&link, options);
            let direct =
                Command::new(&probe).env("LD_LIBRARY_PATH", stage.at("lib")).output().unwrap();
            assert_eq!(said(&direct)["version"], "0");
            let said = stage.said(&probe);
            on_ours(&said, soname);
            let path = format!("{}:{}", root().join("build").display(), stage.at("lib").display());
            assert_eq!((&*said["LD_LIBRARY_PATH"], &*said["LD_PRELOAD"]), (&*path, "-"));
        }
    }
}

/// Its RPATH wins over LD_LIBRARY_PATH.
#[test]
fn by_preload() {
    let stage = Stage::new();
    let stock = stage.stock("libfuse3.so.3", "libfuse3.so.3.14.0");
    let probe = stage.probe(&stock, &["-Wl,--disable-new-dtags,-rpath,$ORIGIN/lib"]);
    let said = stage.said(&probe);
    on_ours(&said, "libfuse3.so.3");
    assert!(said["LD_PRELOAD"].ends_with("build/libfuse3.so.3"), "{said:?}");
}

#[test]
fn a_library_needs_it() {
    let stage = Stage::new();
    let stock = stage.stock("libfuse3.so.3", "libfuse3.so.3.14.0");
    let source = stage.at("layer.c");
    fs::write(&source, "int fuse_version(void); int layer(void) { return fuse_version(); }\n")
        .unwrap();
    let layer =
        stage.cc("lib/liblayer.so", &["-shared", "-fPIC", source.to_str().unwrap(), &stock]);
    let main = stage.at("main.c");
    fs::write(&main, "int layer(void); int main(void) { return layer() ? 7 : 1; }\n").unwrap();
    let path = format!("-Wl,-rpath-link,{}", stage.at("lib").display());
    let program = stage.cc("program", &[main.to_str().unwrap(), layer.to_str().unwrap(), &path]);
    assert_eq!(stage.run(&[program.to_str().unwrap()]).status.code(), Some(7));
}

#[test]
fn scripts() {
    let stage = Stage::new();
    let probe = stage.plain();
    let script = |name: &str, text: String| {
        let path = stage.at(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let first = script("first", format!("#!{}\n", probe.display()));
    on_ours(&stage.said(&first), "libfuse3.so.3");
    on_ours(&stage.said(&script("second", format!("#!{}\n", first.display()))), "libfuse3.so.3");
    // The interpreter is in PATH.
    let of_env = script("third", "#!/usr/bin/env probe\n".into());
    let path = format!("{}:{}", stage.dir.path().display(), std::env::var("PATH").unwrap());
    let output = stage.command(&[of_env.to_str().unwrap()]).env("PATH", &path).output().unwrap();
    on_ours(&said(&output), "libfuse3.so.3");
    // So is the program.
    let output = stage.command(&["probe", "--json"]).env("PATH", &path).output().unwrap();
    on_ours(&said(&output), "libfuse3.so.3");
    assert_eq!(said(&output)["argument"], "--json");
    // A shell script starts it.
    let shell = script("shell", format!("#!/bin/sh\nexec {}\n", probe.display()));
    let output = stage.run(&[shell.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("does not need libfuse3 itself"));
    on_ours(&said(&output), "libfuse3.so.3");
    let output = stage.run(&["--anyway", "env", probe.to_str().unwrap()]);
    on_ours(&said(&output), "libfuse3.so.3");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn the_layout_is_that_of_the_installed_library() {
    for (file, layout) in [
        ("libfuse3.so.3.10.5", "-"),
        ("libfuse3.so.3.14.0", "-"),
        ("libfuse3.so.3.14.1", "3.16"),
        ("libfuse3.so.3.16.2", "3.16"),
    ] {
        let stage = Stage::new();
        let probe = stage.probe(&stage.stock("libfuse3.so.3", file), &[]);
        assert_eq!(stage.said(&probe)["RINGFUSE_SO3_LAYOUT"], layout, "{file}");
        let output = stage
            .command(&[probe.to_str().unwrap()])
            .env("RINGFUSE_SO3_LAYOUT", "3.14")
            .output()
            .unwrap();
        assert_eq!(said(&output)["RINGFUSE_SO3_LAYOUT"], "3.14", "{file}");
    }
}

/// What the dynamic linker finds is ours then, of release 99.
#[test]
fn the_layout_is_that_of_the_library_that_was_replaced() {
    for (file, layout) in [("libfuse3.so.3.14.0", "-"), ("libfuse3.so.3.16.2", "3.16")] {
        let stage = Stage::new();
        let link = PathBuf::from(stage.stock("libfuse3.so.3", file));
        let probe = stage.probe(link.to_str().unwrap(), &[]);
        fs::rename(&link, link.with_file_name("ringfuse-stock.libfuse3.so.3")).unwrap();
        let ours = link.with_file_name("libfuse3.so.3.99.0");
        fs::copy(root().join("build/libfuse3.so.3"), &ours).unwrap();
        symlink(&ours, &link).unwrap();
        let direct = Command::new(&probe).env("LD_LIBRARY_PATH", stage.at("lib")).output().unwrap();
        assert_ne!(said(&direct)["version"], "0");
        assert_eq!(stage.said(&probe)["RINGFUSE_SO3_LAYOUT"], layout, "{file}");
    }
}

#[test]
fn status_and_signals_are_the_programs() {
    let stage = Stage::new();
    let probe = stage.plain();
    let probe = probe.to_str().unwrap();
    for status in [0, 1, 42, 126] {
        let output = stage.run(&[probe, "exit", &status.to_string()]);
        assert_eq!(output.status.code(), Some(status));
    }
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let mut child = stage.command(&[probe, "wait"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "argument wait"));
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(signal.as_raw()));
    }
}

#[test]
fn what_cannot_be_run() {
    let stage = Stage::new();
    let probe = stage.plain();
    let probe = probe.to_str().unwrap();
    stage.refused(&["no-such-program"], 127, &["no-such-program", "not found in PATH"]);
    stage.refused(&["./no-such-program"], 127, &["not found"]);
    stage.refused(&["true"], 126, &["does not use libfuse3", "--anyway"]);
    stage.refused(&["--libdir", "/nowhere", probe], 126, &["/nowhere", "--libdir"]);
    let stock = stage.at("lib");
    stage.refused(&["--libdir", stock.to_str().unwrap(), probe], 126, &["not in"]);

    let plain = stage.at("plain");
    fs::write(&plain, "text\n").unwrap();
    let plain = plain.to_str().unwrap();
    stage.refused(&[plain], 126, &["may not be executed"]);
    fs::set_permissions(plain, fs::Permissions::from_mode(0o755)).unwrap();
    stage.refused(&[plain], 126, &["neither a program nor a script"]);

    let source = stage.at("static.c");
    fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let program = stage.cc("static", &["-static", source.to_str().unwrap()]);
    stage.refused(&[program.to_str().unwrap()], 126, &["statically linked"]);

    let old = stage.stock("libfuse.so.2", "libfuse.so.2.9.9");
    let old = stage.cc("old", &[root().join("tests/tool/probe.c").to_str().unwrap(), &old]);
    stage.refused(&[old.to_str().unwrap()], 126, &["libfuse 2"]);

    // The machine of an ELF header is at byte 18.
    let mut bytes = fs::read(probe).unwrap();
    const EM_S390: u8 = 22;
    bytes[18] = EM_S390;
    let foreign = stage.at("foreign");
    fs::write(&foreign, bytes).unwrap();
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o755)).unwrap();
    stage.refused(&[foreign.to_str().unwrap()], 126, &["a program for s390x"]);
}

#[test]
fn privileged_programs_cannot_be_run() {
    if !is_root() {
        return skip("only root can make set-user-ID programs");
    }
    let stage = Stage::new();
    let probe = stage.plain();
    let name = probe.to_str().unwrap();
    let mode = |mode| fs::set_permissions(&probe, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o4755);
    on_ours(&stage.said(&probe), "libfuse3.so.3"); // of root, for root: no privilege
    chown(&probe, Some(NOBODY), None).unwrap();
    mode(0o4755);
    stage.refused(&[name], 126, &["set-user-ID"]);
    chown(&probe, Some(0), Some(NOBODY)).unwrap();
    mode(0o2755);
    stage.refused(&[name], 126, &["set-group-ID"]);
    mode(0o755);
    let set = Command::new("setcap").args(["cap_net_raw+ep", name]).status();
    if !set.is_ok_and(|status| status.success()) {
        return skip("file capabilities: setcap is not installed, or does not work here");
    }
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(tool())
        .args(["run", name])
        .env("LD_LIBRARY_PATH", stage.at("lib"))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(126) && error.contains("capabilities"), "{output:?}");
}

#[test]
fn wrong_arguments() {
    for args in [&[][..], &["run"], &["jump"], &["status", "--libdir", "/"], &["doctor", "now"]] {
        let output = Command::new(tool()).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{args:?}: {output:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty());
    }
    for args in [["--help"], ["--version"]] {
        assert!(Command::new(tool()).args(args).output().unwrap().status.success());
    }
}

each_transport! {
    /// The distribution's sshfs, in the background, with an sftp-server at hand in
    /// place of a host.
    fn sshfs(on) {
        const SERVER: &str = "/usr/lib/openssh/sftp-server";
        if !Path::new(SERVER).exists() || Command::new("sshfs").arg("-V").output().is_err() {
            return skip("sshfs or openssh-sftp-server is not installed");
        }
        let stage = Stage::new();
        let ssh = stage.at("ssh");
        fs::write(&ssh, format!("#!/bin/sh\nexec {SERVER}\n")).unwrap();
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
        let (source, point) = (stage.at("source"), stage.at("mnt"));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&point).unwrap();
        fs::write(source.join("there"), "there").unwrap();
        let _stays_on = machine::rings_stay_on();
        let guard = Lazily(point.clone());
        let started = Command::new(tool())
            .args(["run", "sshfs", "-o", &format!("ssh_command={}", ssh.display())])
            .arg(format!("host:{}", source.display()))
            .arg(&point)
            .env("RINGFUSE_TRANSPORT", on.name())
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(started.success(), "{started}");
        assert_eq!(fs::read_to_string(point.join("there")).unwrap(), "there");
        fs::write(point.join("new"), "new").unwrap();
        assert_eq!(fs::read_to_string(source.join("new")).unwrap(), "new");
        let row = row(&point).expect("a row of this mount");
        assert_eq!((&row["program"], &row["transport"]), (&"sshfs".into(), &on.name().into()));
        let pid = row["pid"].as_u64().unwrap() as u32;
        drop(guard);
        eventually("the end of sshfs", || !process::alive(pid));
    }
}
