//! The examples of the path API.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{symlink, FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::thread;

use rustix::fs::{FallocateFlags, SeekFrom, XattrFlags};

use super::example::*;
use super::support::{client, eventually};

/// The names in a directory, in order.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a listing");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

/// What a filesystem that can be written to has to do.
fn works(fs: &Example, on: On) {
    fs::create_dir_all(fs.at("a/b")).unwrap();
    let data = client::pattern(3_000_000, 5);
    fs::write(fs.at("a/b/file"), &data).unwrap();
    assert!(fs::read(fs.at("a/b/file")).unwrap() == data);
    fs::hard_link(fs.at("a/b/file"), fs.at("a/link")).unwrap();
    assert_eq!(fs::metadata(fs.at("a/link")).unwrap().nlink(), 2);
    symlink("b/file", fs.at("a/soft")).unwrap();
    assert_eq!(fs::read_link(fs.at("a/soft")).unwrap(), Path::new("b/file"));
    assert!(fs::read(fs.at("a/soft")).unwrap() == data);
    assert_eq!(names(&fs.at("a")), ["b", "link", "soft"]);
    fs::set_permissions(fs.at("a/b/file"), fs::Permissions::from_mode(0o604)).unwrap();
    // By the same name: to the path API two links are two files, each cached.
    assert_eq!(fs::metadata(fs.at("a/b/file")).unwrap().mode() & 0o7777, 0o604);
    assert_eq!(errno(fs::remove_dir(fs.at("a"))), Some(libc::ENOTEMPTY));
    assert_eq!(errno(fs::create_dir(fs.at("a/b"))), Some(libc::EEXIST));

    // A file takes another one's place; both are open, and stay what they were.
    fs::write(fs.at("new"), "new").unwrap();
    let mut old = OpenOptions::new().read(true).write(true).open(fs.at("a/b/file")).unwrap();
    let new = File::open(fs.at("new")).unwrap();
    fs::remove_file(fs.at("a/link")).unwrap();
    fs::rename(fs.at("new"), fs.at("a/b/file")).unwrap();
    assert_eq!(fs::read_to_string(fs.at("a/b/file")).unwrap(), "new");
    assert_eq!(io::read_to_string(&new).unwrap(), "new");
    old.write_all_at(b"still", 100).unwrap();
    old.set_len(105).unwrap();
    let mut text = Vec::new();
    old.read_to_end(&mut text).unwrap();
    assert!(text.starts_with(&data[..100]) && text.ends_with(b"still") && text.len() == 105);
    drop((old, new));
    // The kernel tells of a close after close(2) has returned.
    eventually("the end of the hidden file", || names(&fs.at("a/b")) == ["file"]);

    let file = OpenOptions::new().read(true).append(true).open(fs.at("a/b/file")).unwrap();
    (&file).write_all(b"er").unwrap();
    assert_eq!(fs::read_to_string(fs.at("a/soft")).unwrap(), "newer");
    fs::write(fs.at("a/b/file"), "x").unwrap();
    assert_eq!(file.metadata().unwrap().len(), 1);
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 5000).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 5000);

    let many: Vec<_> = (0..1000).map(|i| format!("{i:04}")).collect();
    fs::create_dir(fs.at("many")).unwrap();
    many.iter().for_each(|name| drop(File::create(fs.at("many").join(name)).unwrap()));
    assert_eq!(names(&fs.at("many")), many);

    rustix::fs::setxattr(fs.at("a"), "user.color", b"green", XattrFlags::CREATE).unwrap();
    let mut value = [0; 20];
    let length = rustix::fs::getxattr(fs.at("a"), "user.color", &mut value).unwrap();
    assert_eq!(&value[..length], b"green");
    let again = rustix::fs::setxattr(fs.at("a"), "user.color", b"red", XattrFlags::CREATE);
    assert_eq!(again, Err(rustix::io::Errno::EXIST));
    rustix::fs::removexattr(fs.at("a"), "user.color").unwrap();
    assert_eq!(
        rustix::fs::getxattr(fs.at("a"), "user.color", &mut value),
        Err(rustix::io::Errno::NODATA)
    );

    fs::create_dir(fs.at("clients")).unwrap();
    thread::scope(|scope| {
        for client in 0..4 {
            let dir = fs.at(&format!("clients/{client}"));
            scope.spawn(move || {
                for i in 0..50 {
                    fs::create_dir_all(&dir).unwrap();
                    fs::write(dir.join("one"), vec![client; i]).unwrap();
                    fs::rename(dir.join("one"), dir.join("two")).unwrap();
                    assert_eq!(fs::read(dir.join("two")).unwrap(), vec![client; i]);
                    // libfuse can leave a hidden file behind if this meets the
                    // release of the file, which comes after close(2) has returned.
                    if on != On::Stock {
                        fs::remove_file(dir.join("two")).unwrap();
                        eventually("an empty directory", || match fs::remove_dir(&dir) {
                            Err(error) if error.raw_os_error() == Some(libc::ENOTEMPTY) => false,
                            result => result.map(|()| true).unwrap(),
                        });
                    }
                }
            });
        }
    });
    assert_eq!(names(fs.root()), ["a", "clients", "many"]);
}

everywhere! {
    fn hello(on) {
        let mut program = Example::program("hello", on);
        program.arg("--text=Good morning");
        let fs = Example::run(program, on);
        assert_eq!(names(fs.root()), ["hello"]);
        assert_eq!(fs::read_to_string(fs.at("hello")).unwrap(), "Good morning");
        assert_eq!(errno(OpenOptions::new().append(true).open(fs.at("hello"))), Some(libc::EACCES));
        assert_eq!(errno(File::open(fs.at("other"))), Some(libc::ENOENT));
    }

    fn null(on) {
        let fs = Example::run_on_file(Example::program("null", on), on);
        let file = OpenOptions::new().read(true).write(true).open(fs.root()).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 1 << 40);
        file.write_all_at(&vec![b'x'; 1 << 20], 5).unwrap();
        let mut data = vec![b'y'; 1 << 20];
        file.read_exact_at(&mut data, 1 << 39).unwrap();
        assert!(data.iter().all(|&byte| byte == 0));
    }

    fn passthrough(on) {
        let source = tempfile::tempdir().unwrap();
        let at = format!("source={}", source.path().display());
        let fs = Example::mount_with("passthrough", on, &at);
        works(&fs, on);
        assert_eq!(names(source.path()), ["a", "clients", "many"]);
        fs::write(source.path().join("below"), "text").unwrap();
        assert_eq!(fs::read_to_string(fs.at("below")).unwrap(), "text");
    }

    fn passthrough_without_readdirplus(on) {
        let source = tempfile::tempdir().unwrap();
        let at = format!("source={},noplus,paths", source.path().display());
        works(&Example::mount_with("passthrough", on, &at), on);
    }

    fn memfs(on) {
        works(&Example::mount("memfs", on), on);
    }

    fn memfs_serves_one_at_a_time(on) {
        let mut program = Example::program("memfs", on);
        program.arg("-s");
        works(&Example::run(program, on), on);
    }

    fn memfs_knows_holes_and_its_size(on) {
        let fs = Example::mount_with("memfs", on, "size=8m");
        let mut file = OpenOptions::new()
            .create_new(true)
            .read(true)
            .write(true)
            .open(fs.at("sparse"))
            .unwrap();
        file.write_all_at(b"data", 1 << 20).unwrap();
        assert_eq!(rustix::fs::seek(&file, SeekFrom::Data(0)), Ok(1 << 20));
        assert_eq!(rustix::fs::seek(&file, SeekFrom::Hole(1 << 20)), Ok((1 << 20) + 4));
        assert_eq!(file.metadata().unwrap().blocks(), 8);
        file.rewind().unwrap();
        assert_eq!(io::copy(&mut (&file).take(1 << 20), &mut io::sink()).unwrap(), 1 << 20);
        let all = fs::write(fs.at("big"), vec![1; 9 << 20]);
        assert_eq!(errno(all), Some(libc::ENOSPC));
        let space = rustix::fs::statvfs(fs.root()).unwrap();
        assert_eq!(space.f_blocks * space.f_frsize, 8 << 20);
    }

    fn a_module_changes_names(on) {
        let (source, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mount = |modules: &str| {
            let mut program = Example::program("passthrough", on);
            program
                .env("LD_LIBRARY_PATH", module_dir("rot13", on, scratch.path()))
                .args(["-o", &format!("modules={modules},source={}", source.path().display())]);
            Example::run(program, on)
        };
        let fs = mount("rot13");
        works(&fs, on);
        assert_eq!(names(source.path()), ["n", "pyvragf", "znal"]);
        assert_eq!(fs::read_link(source.path().join("n/fbsg")).unwrap(), Path::new("o/svyr"));
        symlink("/etc/passwd", fs.at("absolute")).unwrap();
        assert_eq!(fs::read_link(fs.at("absolute")).unwrap(), Path::new("/etc/passwd"));
        drop(fs);
        let twice = mount("rot13:rot13");
        assert_eq!(names(twice.root()), ["n", "nofbyhgr", "pyvragf", "znal"]);
        assert_eq!(fs::read(twice.at("n/o/svyr")).unwrap().len(), 5000);
    }
}
