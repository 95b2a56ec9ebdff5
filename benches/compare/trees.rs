//! Work on many small files, as programs do it: a tar archive that is unpacked,
//! and something like a parallel compilation, both by processes of their own.

use super::work::Step;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Result, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The parts of this project that are in the archive.
const SOURCES: &[&str] = &["capi", "examples-c", "include", "src", "tests"];
const ARCHIVE: &str = "tree.tar";

const HEADERS: usize = 40;
/// Where a compiler looks for headers; they are in the last one.
const INCLUDE: [&str; 3] = ["include-a", "include-b", "include"];
/// Files that one process compiles.
const UNITS: usize = 4;

pub fn prepare(backing: &Path, clients: usize) -> Result<()> {
    // A tree that has only its Rust half unpacks, too.
    let sources = SOURCES.iter().filter(|part| project().join(part).exists());
    let mut tar = Command::new("tar");
    tar.arg("-cf").arg(beside(backing)).arg("-C").arg(project()).args(sources);
    run(&mut tar)?;
    for directory in INCLUDE {
        fs::create_dir(backing.join(directory))?;
    }
    for header in 0..HEADERS {
        let text = vec![b'h'; 500 + 400 * header];
        fs::write(backing.join(INCLUDE[2]).join(format!("{header}.h")), text)?;
    }
    for client in 0..clients {
        let directory = backing.join(format!("source{client}"));
        fs::create_dir(&directory)?;
        for unit in 0..UNITS {
            fs::write(directory.join(format!("{unit}.c")), vec![b'c'; 6000])?;
        }
    }
    Ok(())
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The archive is beside the directory that the servers show, not in it.
fn beside(backing: &Path) -> PathBuf {
    backing.with_file_name(ARCHIVE)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program}: {}: {}", output.status, errors.trim())))
}

/// A new directory on a mount, for one client; removed with all that is in it,
/// through the mount, so that the kernel forgets it there.
struct Place(PathBuf);

impl Place {
    /// All mounts show the same files, so the name has that of the mount in it.
    fn new(mount: &Path, what: &str, client: usize) -> Result<Self> {
        let server = mount.parent().and_then(Path::file_name).unwrap_or_default();
        let path = mount.join(format!("{what}-{}-{client}", server.to_string_lossy()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Unpacks the archive into one new directory after the other.
pub fn untar(mount: &Path, client: usize) -> Result<Step> {
    let place = Place::new(mount, "untar", client)?;
    // The mounts are at SCRATCH/serverN/mnt.
    let scratch = mount.ancestors().nth(2).unwrap_or(mount);
    let archive = scratch.join(ARCHIVE);
    let mut count = 0;
    Ok(Box::new(move || {
        let directory = place.0.join(count.to_string());
        count += 1;
        fs::create_dir(&directory)?;
        run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&directory))?;
        Ok(1)
    }))
}

/// The word that makes this program one of the processes of [`compile`].
pub const COMPILE: &str = "--compile";

/// One step is one process that compiles [`UNITS`] files.
pub fn compile(mount: &Path, client: usize) -> Result<Step> {
    let place = Place::new(mount, "objects", client)?;
    let mount = mount.to_path_buf();
    let program = std::env::current_exe()?;
    Ok(Box::new(move || {
        let mut process = Command::new(&program);
        process.arg(COMPILE).arg(&mount).arg(format!("source{client}")).arg(&place.0);
        run(&mut process)?;
        Ok(UNITS as u64)
    }))
}

/// What a compiler does to files: looks for each header in several directories,
/// reads it, writes an object in pieces, and a build tool looks at all of it.
pub fn compile_all(mount: &Path, sources: &Path, objects: &Path) -> Result<()> {
    for unit in 0..UNITS {
        let source = mount.join(sources).join(format!("{unit}.c"));
        read(&source)?;
        for header in 0..HEADERS {
            let name = format!("{header}.h");
            for directory in INCLUDE {
                match read(&mount.join(directory).join(&name)) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    other => other?,
                }
            }
        }
        let (object, temporary) =
            (objects.join(format!("{unit}.o")), objects.join(format!("{unit}.tmp")));
        let mut file = File::create(&temporary)?;
        for _ in 0..10 {
            file.write_all(&[b'o'; 4096])?;
        }
        drop(file);
        fs::rename(&temporary, &object)?;
        fs::metadata(&source)?;
        fs::metadata(&object)?;
        (0..HEADERS)
            .map(|header| mount.join(INCLUDE[2]).join(format!("{header}.h")))
            .try_for_each(|header| fs::metadata(header).map(drop))?;
    }
    Ok(())
}

/// Open, fstat, read to the end, close.
fn read(path: &Path) -> Result<()> {
    let mut file = File::open(path)?;
    let mut text = Vec::with_capacity(file.metadata()?.len() as usize + 1);
    file.read_to_end(&mut text).map(drop)
}
