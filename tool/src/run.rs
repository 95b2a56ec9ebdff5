//! `ringfuse run`: a program made for libfuse3, on ringfuse.
//!
//! The program replaces this process, so its signals, its exit status and its
//! descriptors are its own. What it gets is a library path, or a preloaded
//! library where its own RPATH would win over the path.

use crate::elf::{Elf, Machine};
use crate::library::{self, Loaded, SONAMES};
use rustix::fs::{access, statvfs, Access, StatVfsMountFlags};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is to be run, and how.
pub struct Request {
    pub program: OsString,
    pub arguments: Vec<OsString>,
    pub libdir: Option<PathBuf>,
    /// Also if nothing in it needs libfuse3.
    pub anyway: bool,
}

/// Why it is not run. As in a shell, 127 and 126.
struct Refusal {
    status: u8,
    reason: String,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self { status: 126, reason }
    }
}

/// Runs it. Returns, with an exit status, only if that is not possible.
pub fn run(request: &Request) -> u8 {
    let refusal = match prepare(request) {
        Ok(mut command) => {
            let error = command.exec();
            Refusal::from(format!("cannot be run: {error}"))
        }
        Err(refusal) => refusal,
    };
    eprintln!("ringfuse: {}: {}", request.program.to_string_lossy(), refusal.reason);
    refusal.status
}

fn prepare(request: &Request) -> Result<Command, Refusal> {
    let (libdir, machine) = library::find(request.libdir.as_deref())?;
    let path = find_program(&request.program)?;
    let binary = Binary::behind(&path)?;
    let mut command = Command::new(&path);
    command.arg0(&request.program).args(&request.arguments);
    match binary.needs(machine)? {
        Need::Fuse3 { soname, stock } => {
            if soname == "libfuse3.so.3" && env::var_os(LAYOUT).is_none() && has_new_layout(&stock)
            {
                command.env(LAYOUT, "3.16");
            }
            let (name, value) = binary.way_to(&libdir, soname)?;
            command.env(name, value);
        }
        Need::None if request.anyway || binary.is_interpreter => {
            if !request.anyway {
                eprintln!(
                    "ringfuse: {}: {} does not need libfuse3 itself; what it loads or starts runs on ringfuse",
                    path.display(),
                    binary.path.display()
                );
            }
            command.env("LD_LIBRARY_PATH", before("LD_LIBRARY_PATH", &libdir));
        }
        Need::None => {
            return Err(format!(
                "{} does not use libfuse3. If it loads the library later, or starts programs that use it: ringfuse run --anyway",
                binary.path.display()
            )
            .into());
        }
    }
    Ok(command)
}

const LAYOUT: &str = "RINGFUSE_SO3_LAYOUT";

/// Whether this file, such as libfuse3.so.3.16.2, is of a release from 3.14.1 to
/// 3.16: programs of its system are compiled with that layout of the structures.
/// Where ringfuse is in its place, it is kept beside.
fn has_new_layout(stock: &Path) -> bool {
    let kept = stock.with_file_name("ringfuse-stock.libfuse3.so.3");
    let Ok(real) = kept.canonicalize().or_else(|_| stock.canonicalize()) else { return false };
    let name = real.file_name().unwrap_or_default().to_string_lossy();
    let Some(version) = name.strip_prefix("libfuse3.so.3.") else { return false };
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    ((14, 1)..(17, 0)).contains(&release)
}

/// As a shell does.
fn find_program(name: &OsStr) -> Result<PathBuf, Refusal> {
    let not_found = |reason: &str| Refusal { status: 127, reason: reason.into() };
    let runs = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if name.as_bytes().contains(&b'/') {
        let path = PathBuf::from(name);
        return match path.metadata() {
            Err(error) => Err(not_found(&format!("not found: {error}"))),
            Ok(_) if runs(&path) => Ok(path),
            Ok(_) => Err("it may not be executed".to_owned().into()),
        };
    }
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|path| runs(path))
        .ok_or_else(|| not_found("not found in PATH"))
}

/// The ELF program that the kernel runs in the end.
struct Binary {
    path: PathBuf,
    elf: Elf,
    /// It interprets the script that was named.
    is_interpreter: bool,
}

enum Need {
    Fuse3 { soname: &'static str, stock: PathBuf },
    None,
}

/// As many as the kernel follows.
const SCRIPTS: usize = 5;

impl Binary {
    /// Follows `#!` lines from `path` on. A script's set-user-ID bit means nothing.
    fn behind(path: &Path) -> Result<Self, Refusal> {
        let mut path = path.to_owned();
        for depth in 0..=SCRIPTS {
            let cannot = |error| format!("{} cannot be read: {error}", path.display());
            if let Some(elf) = Elf::read(&path).map_err(cannot)? {
                refuse_privileges(&path)?;
                return Ok(Self { path, elf, is_interpreter: depth > 0 });
            }
            let text = fs::read(&path).map_err(cannot)?;
            path = interpreter_of(&text)
                .ok_or_else(|| format!("{} is neither a program nor a script", path.display()))
                .and_then(|words| resolve_env(&words).map_err(|refusal| refusal.reason))?;
        }
        Err(format!("more than {SCRIPTS} scripts that interpret each other").into())
    }

    /// Which libfuse it needs, by its own dynamic linker; or why it cannot run on ours.
    fn needs(&self, ours: Machine) -> Result<Need, Refusal> {
        let what = self.path.display();
        if self.elf.machine != ours {
            return Err(format!(
                "{what} is a program for {}, and these libraries are for {ours}",
                self.elf.machine
            )
            .into());
        }
        let Some(interpreter) = &self.elf.interpreter else {
            return Err(if self.elf.is_ringfuse {
                format!("{what} is statically linked, with ringfuse in it: run it as it is")
            } else {
                format!("{what} is statically linked: its libfuse cannot be replaced")
            }
            .into());
        };
        let loaded = Loaded::ask(interpreter, &self.path, &[]).map_err(|error| {
            format!("{what} needs the dynamic linker {}: {error}", interpreter.display())
        })?;
        // What the program itself names comes first: the linker's word is lost
        // where it could not even begin.
        let needs = |name: &str| self.elf.needed.iter().any(|n| n == name) || loaded.has(name);
        if let Some(soname) = SONAMES.into_iter().find(|name| needs(name)) {
            let stock = loaded.path(soname).unwrap_or(Path::new("")).to_owned();
            return Ok(Need::Fuse3 { soname, stock });
        }
        if needs("libfuse.so.2") {
            return Err(format!(
                "{what} uses libfuse 2 (libfuse.so.2), which has another API; ringfuse is in the place of libfuse 3"
            )
            .into());
        }
        Ok(Need::None)
    }

    /// The variable that has the dynamic linker take our `soname`, tried out.
    fn way_to(&self, libdir: &Path, soname: &str) -> Result<(&'static str, PathBuf), Refusal> {
        let wanted = libdir.join(soname);
        if !wanted.exists() {
            return Err(format!("it needs {soname}, which is not in {}", libdir.display()).into());
        }
        let interpreter = self.elf.interpreter.as_deref().unwrap_or(Path::new(""));
        let ways = [
            ("LD_LIBRARY_PATH", before("LD_LIBRARY_PATH", libdir)),
            ("LD_PRELOAD", before("LD_PRELOAD", &wanted)),
        ];
        for way in ways {
            let loaded = Loaded::ask(interpreter, &self.path, std::slice::from_ref(&way))
                .map_err(|error| format!("{}: {error}", interpreter.display()))?;
            if loaded.path(soname).is_some_and(|path| library::same_file(path, &wanted)) {
                return Ok(way);
            }
        }
        Err(format!(
            "its dynamic linker {} takes {soname} from elsewhere, in spite of LD_LIBRARY_PATH and LD_PRELOAD",
            interpreter.display()
        )
        .into())
    }
}

/// `first`, and after it what the variable `name` has.
fn before(name: &str, first: &Path) -> PathBuf {
    let mut value = first.as_os_str().to_owned();
    if let Some(rest) = env::var_os(name).filter(|rest| !rest.is_empty()) {
        value.push(":");
        value.push(rest);
    }
    value.into()
}

/// A process with privileges of its file's ignores LD_LIBRARY_PATH and LD_PRELOAD.
fn refuse_privileges(path: &Path) -> Result<(), Refusal> {
    const SET_USER: u32 = 0o4000;
    const SET_GROUP: u32 = 0o2010; // with the group's execute bit, or it means locking
    let file = path.metadata().map_err(|error| error.to_string())?;
    if statvfs(path).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::NOSUID)) {
        return Ok(());
    }
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let what = if file.mode() & SET_USER != 0 && file.uid() != user {
        "set-user-ID"
    } else if file.mode() & SET_GROUP == SET_GROUP && file.gid() != group {
        "set-group-ID"
    } else if user != 0 && rustix::fs::getxattr(path, "security.capability", &mut [0; 64]).is_ok() {
        "privileged (it has file capabilities)"
    } else {
        return Ok(());
    };
    Err(format!(
        "{} is {what}: the dynamic linker then takes no library path from a user",
        path.display()
    )
    .into())
}

/// The words after `#!`, of which the kernel makes at most two.
fn interpreter_of(text: &[u8]) -> Option<Vec<OsString>> {
    let line = text.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let words: Vec<_> = line
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|word| !word.is_empty())
        .map(|word| OsStr::from_bytes(word).to_owned())
        .collect();
    (!words.is_empty()).then_some(words)
}

/// The interpreter; behind `/usr/bin/env`, the program that it would start.
fn resolve_env(words: &[OsString]) -> Result<PathBuf, Refusal> {
    let program = PathBuf::from(&words[0]);
    if program.file_name() != Some(OsStr::new("env")) {
        return Ok(program);
    }
    let is_setting = |word: &&OsString| {
        let bytes = word.as_bytes();
        bytes.starts_with(b"-") || bytes.contains(&b'=')
    };
    match words[1..].iter().find(|word| !is_setting(word)) {
        Some(name) => find_program(name).map_err(|refusal| Refusal {
            reason: format!("its interpreter {}: {}", name.to_string_lossy(), refusal.reason),
            ..refusal
        }),
        None => Ok(program),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_goes_by_the_file_name() {
        let directory =
            std::env::temp_dir().join(format!("ringfuse-layout-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        for (version, new) in [
            ("10.5", false),
            ("14.0", false),
            ("14.1", true),
            ("15.0", true),
            ("16.2", true),
            ("17.0", false),
        ] {
            let file = directory.join(format!("libfuse3.so.3.{version}"));
            fs::write(&file, "").unwrap();
            assert_eq!(has_new_layout(&file), new, "{version}");
            let ours = directory.join("libfuse3.so.3");
            let kept = directory.join("ringfuse-stock.libfuse3.so.3");
            fs::write(&ours, "").unwrap();
            std::os::unix::fs::symlink(&file, &kept).unwrap();
            assert_eq!(has_new_layout(&ours), new, "{version}");
            fs::remove_file(kept).unwrap();
        }
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn interpreters() {
        let words = interpreter_of(b"#! /bin/sh  -e\nrest").unwrap();
        assert_eq!(words, ["/bin/sh", "-e"]);
        assert!(interpreter_of(b"#!\n").is_none() && interpreter_of(b"text").is_none());
        let of_env = resolve_env(&["/usr/bin/env".into(), "-S".into(), "A=b".into(), "sh".into()]);
        assert!(of_env.is_ok_and(|path| path.ends_with("sh")));
    }
}
