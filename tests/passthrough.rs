//! Passthrough: the kernel reads and writes the backing file itself, whatever
//! transport has the rest. On the filesystems of this machine that allow it, and
//! refused where they do not.

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags};
use support::*;
use tempfile::TempDir;

/// A directory that backs a mount, and what has to go with it.
struct Backing {
    path: PathBuf,
    mounted: Vec<PathBuf>,
    _dir: TempDir,
}

impl Backing {
    /// In a directory of the machine.
    fn in_directory(parent: &str) -> Backing {
        let dir = TempDir::with_prefix_in("ringfuse-backing-", parent).expect("a directory");
        Backing { path: dir.path().to_path_buf(), mounted: Vec::new(), _dir: dir }
    }

    /// On an overlay, which is a stacked filesystem.
    fn on_overlay() -> Result<Backing, String> {
        let dir = TempDir::with_prefix_in("ringfuse-overlay-", "/dev/shm").expect("a directory");
        for name in ["lower", "upper", "work", "merged"] {
            fs::create_dir(dir.path().join(name)).expect("mkdir");
        }
        let path = dir.path().join("merged");
        let at = |name| dir.path().join(name).display().to_string();
        let options =
            format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("upper"), at("work"));
        let data = std::ffi::CString::new(options).expect("no NUL");
        rustix::mount::mount("overlay", &path, "overlay", MountFlags::empty(), &*data)
            .map_err(|e| format!("no overlay can be mounted: {e}"))?;
        Ok(Backing { mounted: vec![path.clone()], path, _dir: dir })
    }

    /// On an ext4 of its own.
    fn on_ext4() -> Result<Backing, String> {
        let dir = TempDir::with_prefix("ringfuse-ext4-").expect("a directory");
        let image = dir.path().join("image");
        File::create(&image).and_then(|file| file.set_len(8 << 20)).expect("an image");
        let path = dir.path().join("mnt");
        fs::create_dir(&path).expect("mkdir");
        let run = |command: &mut Command| match command.output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
            }
            Err(error) => Err(format!("{command:?}: {error}")),
        };
        run(Command::new("mkfs.ext4").arg("-q").arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&path))?;
        Ok(Backing { mounted: vec![path.clone()], path, _dir: dir })
    }

    fn server(&self) -> Server {
        Server::new("backing_ll").env("BACKING", self.path.to_str().expect("UTF-8"))
    }
}

impl Drop for Backing {
    fn drop(&mut self) {
        for path in &self.mounted {
            let _ = rustix::mount::unmount(path, UnmountFlags::DETACH);
        }
    }
}

fn ready() -> Result<(), String> {
    if stock() {
        return Err("libfuse has passthrough since 3.17".into());
    }
    if !machine::is_root() {
        return Err("the kernel allows passthrough to root only".into());
    }
    Ok(())
}

/// Whether the kernel offers it: then an open has an id.
fn offered(fs: &Mount, backing: &Path) -> bool {
    fs::write(backing.join("probe"), "probe").expect("write");
    fs.command(&format!("open {}", backing.join("probe").display()));
    rustix::fs::statvfs(&fs.path).expect("statvfs");
    let id = fs.command("result");
    if id > 0 {
        fs.command(&format!("close {id}"));
        rustix::fs::statvfs(&fs.path).expect("statvfs");
        assert_eq!(fs.command("result"), 0);
        return true;
    }
    skip(&format!("the kernel has no passthrough: error {}", -id));
    false
}

/// Reads and writes of every kind, none of which the filesystem sees.
fn pass_through(fs: &Mount, backing: &Path) {
    let data = client::pattern(3_000_000, 11);
    fs::write(backing.join("file"), &data).expect("write");
    fs.trace.take();

    let file = OpenOptions::new().read(true).write(true).open(fs.at("file")).expect("open");
    assert!(fs.trace.one("backing").dec("id") > 0);
    let mut read = vec![0; 100_000];
    for offset in [0, 4095, 2_900_000] {
        file.read_exact_at(&mut read, offset).expect("read");
        assert!(read == data[offset as usize..][..read.len()]);
    }
    file.write_all_at(b"written", 5000).expect("write");
    let there = fs::read(backing.join("file")).expect("read");
    assert!(&there[5000..5007] == b"written" && there[..5000] == data[..5000]);
    // What others do to the backing file is seen at once: nothing is cached.
    let other = OpenOptions::new().write(true).open(backing.join("file")).expect("open");
    other.write_all_at(b"changed", 9000).expect("write");
    file.read_exact_at(&mut read[..7], 9000).expect("read");
    assert_eq!(&read[..7], b"changed");

    let map = raw::Map::of(&file, 3_000_000);
    assert_eq!(&map.bytes()[9000..9007], b"changed");
    map.write(20_000, b"through memory");
    let mut now = [0; 14];
    File::open(backing.join("file")).unwrap().read_exact_at(&mut now, 20_000).expect("read");
    assert_eq!(&now, b"through memory");
    drop(map);
    drop(file);
    assert_eq!(fs.trace.wait("release").dec("res"), 0);
    let seen = fs.trace.take();
    assert!(seen.iter().all(|line| line.op != "read" && line.op != "write"), "{seen:?}");

    // A new file, open for appending, twice at the same time.
    let mut first = File::create(fs.at("new")).expect("create");
    let mut second = OpenOptions::new().append(true).open(fs.at("new")).expect("open");
    first.write_all(b"one ").expect("write");
    second.write_all(b"two").expect("write");
    let mut text = String::new();
    File::open(fs.at("new")).unwrap().read_to_string(&mut text).expect("read");
    assert_eq!(text, "one two");
    drop((first, second));

    // Beside it the filesystem serves other files.
    fs.trace.take();
    fs::write(fs.at("plain"), "text").expect("write");
    assert_eq!(fs::read_to_string(fs.at("plain")).expect("read"), "text");
    let seen = fs.trace.take();
    assert!(seen.iter().any(|line| line.op == "write"), "{seen:?}");
}

each_transport! {
    fn tmpfs(on) {
        if let Err(reason) = ready() {
            return skip(&reason);
        }
        let backing = Backing::in_directory("/dev/shm");
        let fs = backing.server().mount(on);
        if offered(&fs, &backing.path) {
            pass_through(&fs, &backing.path);
        }
    }

    fn ext4(on) {
        let backing = match ready().and_then(|()| Backing::on_ext4()) {
            Ok(backing) => backing,
            Err(reason) => return skip(&reason),
        };
        let fs = backing.server().mount(on);
        if offered(&fs, &backing.path) {
            pass_through(&fs, &backing.path);
        }
    }

    fn other_loops(on) {
        if let Err(reason) = ready() {
            return skip(&reason);
        }
        for arg in ["-s", "-oclone_fd", "-omax_threads=1"] {
            let backing = Backing::in_directory("/dev/shm");
            let fs = backing.server().arg(arg).mount(on);
            if !offered(&fs, &backing.path) {
                return;
            }
            pass_through(&fs, &backing.path);
        }
    }

    /// A stacked filesystem only if the mount may be that deep.
    fn stacking(on) {
        let backing = match ready().and_then(|()| Backing::on_overlay()) {
            Ok(backing) => backing,
            Err(reason) => return skip(&reason),
        };
        let flat = Backing::in_directory("/dev/shm");
        {
            let fs = backing.server().mount(on);
            if !offered(&fs, &flat.path) {
                return;
            }
            fs::write(backing.path.join("file"), "text").expect("write");
            let error = File::open(fs.at("file")).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EIO));
            assert_eq!(fs.trace.one("backing").dec("errno"), i128::from(libc::ELOOP));
            let told = "is stacked deeper than max_backing_stack_depth allows";
            assert!(fs.log().contains(told), "{}", fs.log());
        }
        {
            // The filesystem serves it instead.
            let fs = backing.server().env("REFUSED", "1").mount(on);
            assert_eq!(fs::read_to_string(fs.at("file")).expect("read"), "text");
            assert!(fs.trace.take().iter().any(|line| line.op == "read"));
        }
        let fs = backing.server().env("STACKED", "1").mount(on);
        pass_through(&fs, &backing.path);
    }

    fn refusals_are_explained(on) {
        if let Err(reason) = ready() {
            return skip(&reason);
        }
        let backing = Backing::in_directory("/dev/shm");
        let fs = backing.server().mount(on);
        if !offered(&fs, &backing.path) {
            return;
        }
        let refused = |path: &Path| {
            fs.command(&format!("open {}", path.display()));
            rustix::fs::statvfs(&fs.path).expect("statvfs");
            -fs.command("result") as i32
        };
        assert!([libc::EISDIR, libc::EINVAL].contains(&refused(&backing.path)));
        assert!(fs.log().contains("only regular files"), "{}", fs.log());
        assert_eq!(refused(Path::new("/does/not/exist")), libc::EBADF);
        fs.command("close 4711");
        rustix::fs::statvfs(&fs.path).expect("statvfs");
        assert_eq!(fs.command("result"), -i64::from(libc::ENOENT));
        assert!(fs.log().contains("ending passthrough of backing id 4711"), "{}", fs.log());
        drop(fs);

        let fs = backing.server().env("NOT_WANTED", "1").env("REFUSED", "1").mount(on);
        fs::write(backing.path.join("file"), "text").expect("write");
        assert_eq!(fs::read_to_string(fs.at("file")).expect("read"), "text");
        assert_eq!(fs.trace.one("backing").dec("errno"), i128::from(libc::EPERM));
        assert!(fs.log().contains("init() did not ask for FUSE_CAP_PASSTHROUGH"), "{}", fs.log());
    }
}
