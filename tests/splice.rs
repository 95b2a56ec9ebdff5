//! Answers and stored data from descriptors, with and without the order to
//! splice: always the bytes that a copy would give, whatever the source, the
//! pipe and the device do. Only `/dev/fuse` is spliced to; on a ring the bytes
//! are read into the payload.

mod support;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use support::*;

fn content(size: usize, offset: usize) -> Vec<u8> {
    (offset..offset + size).map(|at| (at % 251) as u8 ^ (at / 4096) as u8).collect()
}

fn read(fs: &Mount, name: &str, size: usize, offset: usize) -> io::Result<Vec<u8>> {
    let file = File::open(fs.at(name)).expect("open");
    // On a page boundary, so that it is one request.
    let mut memory = vec![0; size + 4096];
    let start = memory.as_ptr().align_offset(4096);
    let data = &mut memory[start..start + size];
    let length = file.read_at(data, offset as u64)?;
    Ok(data[..length].to_vec())
}

/// Reads `size` bytes, of which there are `expected`.
fn check(fs: &Mount, name: &str, size: usize, expected: usize) {
    for offset in [0, 5000] {
        let data = read(fs, name, size, offset).unwrap_or_else(|e| panic!("{name}: {e}"));
        let same = data == content(expected, offset);
        assert!(same, "{name}: {} of {size} bytes at {offset}\n{}", data.len(), fs.log());
    }
}

fn error(fs: &Mount, name: &str) -> Option<i32> {
    read(fs, name, 20_000, 0).err().and_then(|error| error.raw_os_error())
}

/// Whether our library must have used splice since the last call.
fn check_spliced(fs: &Mount, expected: bool, name: &str) {
    let (into, out) = (fs.command("in"), fs.command("out"));
    if !stock() {
        let really = (into > 0, out > 0);
        assert_eq!(really, (expected, expected), "{name}: {into} into pipes, {out} to the device");
    }
}

const SOURCES: [&str; 5] = ["file", "seq", "mix", "pipe", "packets,retry"];
const FLAGS: [&str; 4] = ["force", "force,move", "force,nonblock", "force,move,thread"];

each_transport! {
    fn answers(on) {
        let fs = Server::new("splice_ll").mount(on);
        for source in SOURCES {
            for flags in FLAGS {
                if stock() && source.starts_with("packets") {
                    continue; // "short read back from pipe", and no answer
                }
                for size in [1, 4096, 5001, 20_000] {
                    // Pieces in excess of what the pipe of the library holds are
                    // not waited for, if that is the order.
                    if source.starts_with("packets") && flags.contains("nonblock") {
                        continue;
                    }
                    let name = format!("{source},{flags}");
                    check(&fs, &name, size, size);
                    // Many packets do not fit into the pipe: they are read.
                    let many = source.starts_with("packets") && size > 1000;
                    if many {
                        assert_eq!(fs.command("out"), 0, "{name}");
                        fs.command("in");
                    } else {
                        check_spliced(&fs, on == Transport::Dev, &name);
                    }
                }
            }
        }
        for name in ["file", "seq,move", "mix,nonblock", "file,nosplice,force", "mem,force"] {
            check(&fs, name, 20_000, 20_000);
            check_spliced(&fs, false, name);
        }
    }

    fn large_answers(on) {
        let fs = Server::new("splice_ll").mount(on);
        for name in ["file,force", "mix,force,move", "file,force,retry"] {
            check(&fs, name, 1 << 20, 1 << 20);
            fs.command("in");
            fs.command("out");
            // This much any user's pipe holds.
            check(&fs, name, 1 << 19, 1 << 19);
            check_spliced(&fs, on == Transport::Dev, name);
        }
    }

    fn short_sources(on) {
        let fs = Server::new("splice_ll").mount(on);
        for flags in ["force", "force,retry", "force,thread", "retry"] {
            check(&fs, &format!("short,{flags}"), 20_000, 10_000);
            check(&fs, &format!("gone,{flags}"), 20_000, 0);
        }
        if stock() {
            return skip("libfuse waits for what is announced");
        }
        // The writer is still there: nobody waits for more, unless told to.
        for flags in ["force", "force,nonblock", "force,thread"] {
            check(&fs, &format!("some,{flags}"), 20_000, 10);
        }
        // Told to go on and not to wait: the second holds where splice is used.
        if on == Transport::Dev && !stock() {
            check(&fs, "some,force,nonblock,retry", 20_000, 10);
        }
        // A packet is read at a time.
        check(&fs, "packets", 5000, 100);
    }

    fn failing_sources(on) {
        let fs = Server::new("splice_ll").mount(on);
        for flags in ["force", "force,retry", "nosplice", "force,thread"] {
            assert_eq!(error(&fs, &format!("closed,{flags}")), Some(libc::EBADF));
            assert_eq!(error(&fs, &format!("dir,{flags}")), Some(libc::EISDIR));
        }
        // It cannot be spliced, so it is read.
        let number = 0x0102_0304_u64.to_ne_bytes();
        assert_eq!(read(&fs, "number,force", 20_000, 0).unwrap(), number);
        if on == Transport::Dev && !stock() {
            assert_eq!(error(&fs, "none,force,nonblock"), Some(libc::EAGAIN));
        }
    }

    fn a_pipe_that_cannot_be_made_or_is_too_small(on) {
        if stock() {
            return skip("libfuse asks for its pipes at other times");
        }
        let fs = Server::new("splice_ll").mount(on);
        for errno in [libc::EMFILE, libc::ENFILE] {
            // Another thread has no pipe yet.
            fs.command(&format!("no_pipe {errno}"));
            check(&fs, "mix,force,thread", 100_000, 100_000);
            check_spliced(&fs, false, "no pipe");
        }
        drop(fs);
        // Without CAP_SYS_RESOURCE a pipe holds 1 MiB at most.
        let fs = Server::new("splice_ll")
            .under(&["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource"])
            .mount(on);
        check(&fs, "file,force", 1 << 20, 1 << 20);
        check_spliced(&fs, false, "1 MiB");
        check(&fs, "file,force", 1 << 19, 1 << 19);
        check_spliced(&fs, on == Transport::Dev, "512 KiB");
    }

    fn splice_that_fails_or_falls_short(on) {
        if stock() {
            return skip("libfuse gives no answer when the device refuses a splice");
        }
        let fs = Server::new("splice_ll").mount(on);
        for errno in [libc::EINVAL, libc::ENOMEM, libc::EIO, libc::EAGAIN] {
            for fault in ["fault_in", "fault_out"] {
                fs.command(&format!("{fault} {errno}"));
                for source in SOURCES {
                    check(&fs, &format!("{source},force"), 20_000, 20_000);
                }
                fs.command(&format!("{fault} 0"));
            }
        }
        for few in [1, 1000, 4096] {
            fs.command(&format!("few {few}"));
            for source in ["file", "seq", "mix", "pipe,retry"] {
                check(&fs, &format!("{source},force"), 20_000, 20_000);
            }
        }
        fs.command("few 0");
        fs.command("out");
        check(&fs, "file,force", 20_000, 20_000);
        assert!(stock() || (fs.command("out") > 0) == (on == Transport::Dev));
    }

    /// The pipe was emptied and the device did not take it: the client hears of it.
    fn data_that_is_lost(on) {
        if on == Transport::Ring || stock() {
            return skip("only our answers on /dev/fuse are spliced one by one");
        }
        let fs = Server::new("splice_ll").mount(on);
        fs.command("lose");
        assert_eq!(error(&fs, "file,force"), Some(libc::EIO));
        assert!(fs.log().contains("writing device: answer to request"), "{}", fs.log());
        check(&fs, "file,force", 20_000, 20_000);
    }

    fn stored_data(on) {
        let fs = Server::new("splice_ll").mount(on);
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NOATIME).open(fs.at("stored"));
        let file = file.expect("open");
        for source in ["file", "seq", "mix", "mem", "pipe"] {
            for flags in ["", ",force", ",force,move"] {
                for size in [8192, 40960] {
                    fs.command("out");
                    let name = format!("{source}{flags}");
                    assert_eq!(fs.command(&format!("store {name} {size}")), 0, "{name}");
                    let spliced = !flags.is_empty() && source != "mem";
                    assert!(stock() || (fs.command("out") > 0) == spliced, "{name}");
                    let reads = fs.command("reads");
                    let mut data = vec![0; size];
                    file.read_exact_at(&mut data, 0).expect("read");
                    assert!(data == content(size, 0), "{name}");
                    // Readahead may have asked for what lies behind.
                    assert!(fs.command("reads") == reads || size > 32768, "{name}");
                }
            }
        }
        if !stock() {
            for flags in ["", ",force"] {
                let eio = -i64::from(libc::EIO);
                assert_eq!(fs.command(&format!("store short{flags} 8192")), eio);
                let ebadf = -i64::from(libc::EBADF);
                assert_eq!(fs.command(&format!("store closed{flags} 8192")), ebadf);
            }
        }
    }
}
