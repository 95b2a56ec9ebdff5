//! Where ringfuse's own libraries are, and what the dynamic linker would load.

use crate::elf::{Elf, Machine};
use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The sonames that ringfuse stands in for.
pub const SONAMES: [&str; 2] = ["libfuse3.so.4", "libfuse3.so.3"];

/// `libdir`, relative to the prefix, as it was configured.
const LIBDIR: &str = match option_env!("RINGFUSE_LIBDIR") {
    Some(libdir) => libdir,
    None => "lib",
};

/// The directory of ringfuse's libraries, absolute, and which machine they are
/// for: `explicit`, or where this executable was built, or installed.
pub fn find(explicit: Option<&Path>) -> Result<(PathBuf, Machine), String> {
    let places = match explicit {
        Some(directory) => vec![directory.to_owned()],
        None => {
            let own = env::current_exe().map_err(|e| format!("cannot tell where I am: {e}"))?;
            let beside = own.parent().unwrap_or(Path::new("/"));
            let prefix = beside.parent().unwrap_or(Path::new("/"));
            vec![beside.to_owned(), prefix.join(LIBDIR)]
        }
    };
    for place in &places {
        for soname in SONAMES {
            if let Ok(Some(elf)) = Elf::read(&place.join(soname)) {
                if elf.is_ringfuse {
                    let place = place.canonicalize().unwrap_or(place.clone());
                    return Ok((place, elf.machine));
                }
            }
        }
    }
    let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
    Err(format!(
        "ringfuse's libraries are not in {}; --libdir says where they are",
        places.join(" nor in ")
    ))
}

/// What one program would load, by the dynamic linker's own account.
#[derive(Debug, Default)]
pub struct Loaded(Vec<(String, Option<PathBuf>)>);

impl Loaded {
    /// Asks `interpreter`, the dynamic linker of `program`, which finds the
    /// libraries as it would for a run with `env`, and runs nothing of the program.
    pub fn ask(interpreter: &Path, program: &Path, env: &[(&str, PathBuf)]) -> io::Result<Self> {
        let mut command = Command::new(interpreter);
        command.arg("--list").arg(program).stdin(Stdio::null()).stderr(Stdio::null());
        for (name, value) in env {
            command.env(name, value);
        }
        let output = command.output()?;
        Ok(Self::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Lines are `NAME => PATH (0xADDRESS)`, `NAME => not found` or, for what
    /// was named by path, `PATH (0xADDRESS)`.
    fn parse(text: &str) -> Self {
        let libraries = text.lines().filter_map(|line| {
            let line = line.trim();
            let without_address = line.rsplit_once(" (0x").map_or(line, |(rest, _)| rest);
            match without_address.split_once(" => ") {
                Some((name, "not found")) => Some((name.to_owned(), None)),
                Some((name, path)) => Some((name.to_owned(), Some(path.into()))),
                None => {
                    let path = PathBuf::from(without_address);
                    let name = path.file_name()?.to_str()?.to_owned();
                    path.is_absolute().then_some((name, Some(path)))
                }
            }
        });
        Self(libraries.collect())
    }

    /// Whether `name` is needed.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(library, _)| library == name)
    }

    /// The file that `name` is loaded from.
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.0.iter().find(|(library, _)| library == name)?.1.as_deref()
    }
}

/// Whether both are the same file.
pub fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linkers_account() {
        let loaded = Loaded::parse(
            "\tlinux-vdso.so.1 (0x00007fff)\n\tlibfuse3.so.3 => /lib/libfuse3.so.3 (0x00007f)\n\
             \t/opt/a b/libx.so (0x00007f)\n\tliby.so.1 => not found\n\tstatically linked\n",
        );
        assert_eq!(loaded.path("libfuse3.so.3"), Some(Path::new("/lib/libfuse3.so.3")));
        assert_eq!(loaded.path("libx.so"), Some(Path::new("/opt/a b/libx.so")));
        assert!(loaded.has("liby.so.1") && loaded.path("liby.so.1").is_none());
        assert!(!loaded.has("statically linked"));
    }
}
