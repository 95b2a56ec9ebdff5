//! The filesystems of `examples-c` do what they say: on both transports, and
//! compiled unchanged against the libfuse of this system and run on it.

mod support;

/// Defines each function as a module with the tests `dev`, `ring` and `stock`.
macro_rules! everywhere {
    ($(fn $name:ident($on:ident) $body:block)*) => {$(
        mod $name {
            use super::*;
            use $crate::support::Transport;

            fn run($on: On) $body

            #[test]
            fn dev() {
                on(On::Ours(Transport::Dev), run);
            }

            #[test]
            fn ring() {
                on(On::Ours(Transport::Ring), run);
            }

            #[test]
            fn stock() {
                on(On::Stock, run);
            }
        }
    )*};
}

#[path = "examples/example.rs"]
mod example;

#[path = "examples/path_api.rs"]
mod path_api;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::process::Command;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use example::*;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use support::{client, eventually, skip};

#[test]
fn all_compile_against_stock_without_a_warning() {
    let Some(flags) = stock_flags() else { return skip(NO_STOCK) };
    let mut count = 0;
    for entry in fs::read_dir(sources()).unwrap() {
        let source = entry.unwrap().path();
        if source.extension().is_none_or(|extension| extension != "c") {
            continue;
        }
        let output = Command::new("cc")
            .args(["-Wall", "-Wextra", "-Werror", "-fsyntax-only"])
            .arg(&source)
            .args(&flags)
            .output()
            .expect("cc");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", source.display());
        count += 1;
    }
    assert!(count >= 8, "only {count} examples");
}

#[test]
fn all_are_built_and_described() {
    let meson = fs::read_to_string(sources().join("meson.build")).unwrap();
    let readme = fs::read_to_string(sources().join("README.md")).unwrap();
    for entry in fs::read_dir(sources()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(program) = name.strip_suffix(".c") {
            assert!(meson.contains(&format!("'{program}'")), "{program} is not in meson.build");
            assert!(readme.contains(&format!("| `{program}` |")), "{program} is not in README.md");
        }
    }
}

fn open(file: impl AsRef<std::path::Path>, write: bool, flags: i32) -> File {
    OpenOptions::new().read(!write).write(write).custom_flags(flags).open(file).expect("open")
}

/// Waits in poll(2) for `wanted`; what came.
fn wait_for(file: &File, wanted: PollFlags) -> PollFlags {
    let limit = Timespec { tv_sec: client::PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let mut fds = [PollFd::from_borrowed_fd(file.as_fd(), wanted)];
    poll(&mut fds, Some(&limit)).expect("poll");
    fds[0].revents()
}

/// What holds right now.
fn ready(file: &File) -> PollFlags {
    let both = PollFlags::IN | PollFlags::OUT;
    let mut fds = [PollFd::from_borrowed_fd(file.as_fd(), both)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("poll");
    fds[0].revents()
}

/// A thread that waits for `wanted`, and is asleep in poll(2).
fn sleeper(file: File, wanted: PollFlags) -> JoinHandle<PollFlags> {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        tell.send(rustix::thread::gettid()).expect("a listener");
        wait_for(&file, wanted)
    });
    let id = told.recv().expect("a thread").as_raw_nonzero();
    let in_poll = [libc::SYS_poll, libc::SYS_ppoll].map(|call| format!("{call} "));
    eventually("a thread asleep in poll", || {
        fs::read_to_string(format!("/proc/self/task/{id}/syscall"))
            .is_ok_and(|call| in_poll.iter().any(|number| call.starts_with(number)))
    });
    thread
}

/// ioctl(2): the result and the data that came back, or the errno.
fn ioctl(file: &File, command: u64, data: &mut [u8]) -> Result<i32, i32> {
    let result = libc_ioctl(file.as_raw_fd(), command, data);
    if result >= 0 {
        Ok(result)
    } else {
        Err(io::Error::last_os_error().raw_os_error().unwrap())
    }
}

#[allow(unsafe_code)] // libc's ioctl is the thing under test
fn libc_ioctl(fd: i32, command: u64, data: &mut [u8]) -> i32 {
    // SAFETY: the commands' numbers bound what the kernel reads and writes, and
    // all callers pass at least that many bytes.
    unsafe { libc::ioctl(fd, command as _, data.as_mut_ptr()) }
}

/// The number of a command of ioctl_ll.h; direction 1 is in, 2 is out.
fn command(direction: u64, number: u64, size: u64) -> u64 {
    direction << 30 | size << 16 | u64::from(b'S') << 8 | number
}

everywhere! {
    fn hello(on) {
        let fs = Example::mount("hello_ll", on);
        assert_eq!(fs::read_to_string(fs.at("hello")).unwrap(), "Hello, world!\n");
    }

    fn memfs(on) {
        let fs = Example::mount("memfs_ll", on);
        fs::create_dir(fs.at("dir")).unwrap();
        fs::write(fs.at("dir/file"), "text").unwrap();
        fs::rename(fs.at("dir/file"), fs.at("moved")).unwrap();
        assert_eq!(fs::read_to_string(fs.at("moved")).unwrap(), "text");
        let mut names: Vec<_> =
            fs::read_dir(fs.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["dir", "moved"]);
    }

    fn passthrough(on) {
        let source = tempfile::tempdir().unwrap();
        let fs = Example::mount_with("passthrough_ll", on,
            &format!("source={}", source.path().display()));
        fs::write(fs.at("file"), "text").unwrap();
        assert_eq!(fs::read_to_string(source.path().join("file")).unwrap(), "text");
    }

    fn delay(on) {
        let fs = Example::mount_with("delay_ll", on, "delay=1");
        assert_eq!(fs::read_to_string(fs.at("delayed")).unwrap(), "This took 1 ms.\n");
    }

    fn notify(on) {
        let fs = Example::mount_with("notify_ll", on, "mode=store,interval=5");
        let file = File::open(fs.at("status")).unwrap();
        let text = || {
            let mut data = [0; 100];
            let length = file.read_at(&mut data, 0).unwrap();
            String::from_utf8_lossy(&data[..length]).into_owned()
        };
        let first = text();
        eventually("a change", || text() != first);
    }

    fn poll_tells_what_holds(on) {
        let fs = Example::mount("poll_ll", on);
        let reader = open(fs.at("a"), false, libc::O_NONBLOCK);
        let mut writer = open(fs.at("a"), true, libc::O_NONBLOCK);
        assert_eq!(ready(&reader), PollFlags::OUT, "empty: to be written to only");
        assert_eq!((&reader).read(&mut [0; 9]).unwrap_err().raw_os_error(), Some(libc::EAGAIN));
        writer.write_all(b"hello").unwrap();
        assert_eq!(ready(&reader), PollFlags::IN | PollFlags::OUT);
        assert_eq!(fs::metadata(fs.at("a")).unwrap().len(), 5);
        assert_eq!(writer.write(&[0; 5000]).unwrap(), 1024 - 5, "as much as there is room for");
        assert_eq!(ready(&reader), PollFlags::IN, "full");
        assert_eq!(writer.write(b"x").unwrap_err().raw_os_error(), Some(libc::EAGAIN));
        let mut text = [0; 5];
        (&reader).read_exact(&mut text).unwrap();
        assert_eq!(&text, b"hello");
        assert_eq!(ready(&open(fs.at("b"), false, 0)), PollFlags::OUT, "another box");
    }

    fn sleepers_in_poll_are_woken(on) {
        let fs = Example::mount("poll_ll", on);
        // Two with one open file, and one with a file of its own.
        let shared = open(fs.at("a"), false, 0);
        let files = [shared.try_clone().unwrap(), shared, open(fs.at("a"), false, 0)];
        let threads = files.map(|file| sleeper(file, PollFlags::IN));
        fs::write(fs.at("b"), "another box").unwrap();
        assert!(threads.iter().all(|thread| !thread.is_finished()));
        fs::write(fs.at("a"), "text").unwrap();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), PollFlags::IN);
        }
    }

    fn a_writer_is_woken_by_a_read(on) {
        let fs = Example::mount("poll_ll", on);
        let mut writer = open(fs.at("a"), true, 0);
        writer.write_all(&[b'x'; 1024]).unwrap();
        assert_eq!(writer.write(b"x").unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        let waiting = sleeper(writer, PollFlags::OUT);
        assert_eq!(fs::read(fs.at("a")).unwrap().len(), 1024);
        assert_eq!(waiting.join().unwrap(), PollFlags::OUT);
    }

    fn ioctls_of_several_sizes(on) {
        let fs = Example::mount("ioctl_ll", on);
        let file = File::open(fs.at("one")).unwrap();
        let mut number = 6_u32.to_ne_bytes();
        assert_eq!(ioctl(&file, command(1, 3, 4), &mut number), Ok(0), "set the size");
        assert_eq!(fs::read(fs.at("one")).unwrap(), [0; 6]);
        // 8 KiB in, 8 KiB out: more than a page
        let mut contents = vec![b'x'; 4 + 8192];
        contents[..4].copy_from_slice(&8192_u32.to_ne_bytes());
        let exchange = command(3, 4, 4 + 8192);
        assert_eq!(ioctl(&file, exchange, &mut contents), Ok(0));
        assert_eq!(contents[..10], [[6, 0, 0, 0].as_slice(), &[0; 6]].concat());
        assert_eq!(fs::read(fs.at("one")).unwrap(), [b'x'; 8192]);
        assert_eq!(ioctl(&file, command(2, 2, 4), &mut number), Ok(0), "get the size");
        assert_eq!(u32::from_ne_bytes(number), 8192);
        number = 8193_u32.to_ne_bytes();
        assert_eq!(ioctl(&file, command(1, 3, 4), &mut number), Err(libc::EFBIG));
        assert_eq!(ioctl(&file, command(0, 1, 0), &mut []), Ok(0), "clear");
        assert_eq!(fs::read(fs.at("one")).unwrap(), []);
        assert_eq!(ioctl(&file, command(0, 99, 0), &mut []), Err(libc::ENOTTY));
        // The same command with another size is another command.
        assert_eq!(ioctl(&file, command(2, 2, 8), &mut [0; 8]), Err(libc::ENOTTY));
    }

    fn ioctls_on_a_directory(on) {
        let fs = Example::mount("ioctl_ll", on);
        let (root, file) = (File::open(fs.root()).unwrap(), File::open(fs.at("two")).unwrap());
        let count = command(2, 6, 4);
        let mut number = 1_u32.to_ne_bytes();
        assert_eq!(ioctl(&file, command(1, 3, 4), &mut number), Ok(0));
        number = [9; 4];
        assert_eq!(ioctl(&root, count, &mut number), Ok(0));
        assert_eq!(u32::from_ne_bytes(number), 1);
        assert_eq!(ioctl(&root, command(2, 2, 4), &mut number), Err(libc::ENOTTY), "of files");
        assert_eq!(ioctl(&file, count, &mut number), Err(libc::ENOTTY), "of directories");
    }

    fn a_restricted_ioctl_cannot_ask_for_more(on) {
        let fs = Example::mount("ioctl_ll", on);
        let file = File::open(fs.at("one")).unwrap();
        let mut memory = [0_u8; 64];
        let mut reference = (memory.as_mut_ptr() as u64).to_ne_bytes().to_vec();
        reference.extend(64_u64.to_ne_bytes());
        assert_eq!(ioctl(&file, command(1, 5, 16), &mut reference), Err(libc::EIO));
        assert_eq!(memory, [0; 64]);
    }

    fn the_cache_is_looked_at_and_changed(on) {
        let fs = Example::mount("retrieve_ll", on);
        let peek = || fs::read_to_string(fs.at("peek")).unwrap();
        assert_eq!(peek(), "", "nothing is cached yet");
        assert_eq!(fs::read_to_string(fs.at("file")).unwrap(), "Hello, cache!\n");
        assert_eq!(peek(), "Hello, cache!\n");
        fs::write(fs.at("push"), "Store").unwrap();
        assert_eq!(peek(), "Store, cache!\n", "the kernel has the change, without a read");
        assert_eq!(fs::read_to_string(fs.at("file")).unwrap(), "Store, cache!\n");
    }

    fn a_store_makes_the_file_grow(on) {
        let fs = Example::mount("retrieve_ll", on);
        assert_eq!(fs::read(fs.at("file")).unwrap().len(), 14);
        let push = open(fs.at("push"), true, 0);
        // More than the first page, where nobody has read.
        let block = client::pattern(50_000, 7);
        push.write_all_at(&block, 14).unwrap();
        let wanted = [b"Hello, cache!\n".as_slice(), &block].concat();
        assert_eq!(fs::metadata(fs.at("file")).unwrap().len(), wanted.len() as u64);
        assert_eq!(fs::read(fs.at("peek")).unwrap(), wanted);
        assert_eq!(fs::read(fs.at("file")).unwrap(), wanted);
        assert_eq!(push.write_at(b"x", 65536).unwrap_err().raw_os_error(), Some(libc::EFBIG));
    }

    fn one_handler_at_a_time_is_enough(on) {
        for name in ["poll_ll", "retrieve_ll"] {
            let mut program = Example::program(name, on);
            program.arg("-s");
            let fs = Example::run(program, on);
            match name {
                "poll_ll" => {
                    let waiting = sleeper(open(fs.at("a"), false, 0), PollFlags::IN);
                    fs::write(fs.at("a"), "text").unwrap();
                    assert_eq!(waiting.join().unwrap(), PollFlags::IN);
                }
                _ => {
                    // Stores while others read what is stored there.
                    thread::scope(|scope| {
                        scope.spawn(|| {
                            for _ in 0..50 {
                                let file = open(fs.at("file"), false, 0);
                                assert_eq!(io::read_to_string(&file).unwrap().len(), 14);
                                rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)
                                    .unwrap();
                            }
                        });
                        for _ in 0..50 {
                            fs::write(fs.at("push"), "Store").unwrap();
                        }
                    });
                    assert_eq!(fs::read_to_string(fs.at("file")).unwrap(), "Store, cache!\n");
                }
            }
        }
    }

    fn many_look_at_the_cache_at_once(on) {
        let fs = Example::mount("retrieve_ll", on);
        fs::read(fs.at("file")).unwrap();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let peeked = fs::read_to_string(fs.at("peek")).unwrap();
                        assert_eq!(peeked, "Hello, cache!\n");
                    }
                });
            }
        });
    }
}
