//! The filesystems of `project/` on mounts. Their sources say what they do.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::example::{Example, On};
use super::support::{self, skip, Transport};

/// The filesystems, and what each says of itself in `about`.
pub const PROGRAMS: [(&str, &str); 3] =
    [("note_ll", "C low-level"), ("note_path", "C path"), ("note_main", "C++ path")];

/// The transports that this machine can test; of others it is said.
pub fn transports() -> Vec<Transport> {
    let mut transports = Vec::new();
    for (transport, possible) in [
        (Transport::Dev, support::machine::device()),
        (Transport::Ring, support::machine::device().and_then(|()| support::machine::rings())),
    ] {
        match possible {
            Ok(()) => transports.push(transport),
            Err(reason) => skip(&reason),
        }
    }
    transports
}

/// `NOTE_LENGTH` of note.h.
const NOTE_LENGTH: u64 = 2 << 30 | 4 << 16 | (b'n' as u64) << 8 | 1;

#[allow(unsafe_code)] // ioctl(2) is part of what is tested
fn length_by_ioctl(note: &File) -> u32 {
    let mut length = 0u32;
    // SAFETY: the command says that it writes four bytes.
    let result = unsafe { libc::ioctl(note.as_raw_fd(), NOTE_LENGTH as _, &mut length) };
    assert_eq!(result, 0, "ioctl: {}", std::io::Error::last_os_error());
    length
}

/// Mounts `program` and has it do all that it can.
pub fn use_it(program: &Path, library: &Path, about: &str, version: u32, on: Transport) {
    eprintln!("{} on {}", program.display(), on.name());
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", library);
    let fs = Example::run(command, On::Ours(on));
    let mut names: Vec<_> = fs::read_dir(fs.root())
        .expect("readdir")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["about", "note"]);
    assert!(fs::metadata(fs.at("nothing")).is_err());

    // The last operation of 3.18's table; older kernels and C libraries do not have it.
    if let Ok(born) = fs::metadata(fs.at("note")).expect("stat").created() {
        assert!(about == "C low-level" && version >= 318, "{about} {version} has no statx");
        assert_eq!(born, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    }

    let says = || fs::read_to_string(fs.at("about")).expect("about");
    assert_eq!(says(), format!("{about}, FUSE_USE_VERSION {version}, flushes 0\n"));
    let text = support::client::pattern(30_000, u64::from(version));
    fs::write(fs.at("note"), &text).expect("write");
    assert!(fs::read(fs.at("note")).expect("read") == text, "what is read was not written");
    let note = File::options().write(true).open(fs.at("note")).expect("open");
    assert_eq!(length_by_ioctl(&note), 30_000);
    note.set_len(10).expect("truncate");
    note.write_all_at(b"end", 10).expect("write");
    assert_eq!(length_by_ioctl(&note), 13);
    assert!(note.write_at(b"more than it holds", 65_536).is_err());
    drop(note);
    assert_eq!(fs::read(fs.at("note")).expect("read"), [&text[..10], b"end"].concat());
    // One of each descriptor of `note`, none of those of `about`; and of copies of the
    // former that processes closed which other tests have started meanwhile.
    let says = says();
    let flushes = says.strip_prefix(&format!("{about}, FUSE_USE_VERSION {version}, flushes "));
    let flushes: u32 = flushes.expect(&says).trim().parse().expect("a number");
    assert!(flushes >= 4, "{says}");
}
