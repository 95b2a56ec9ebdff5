//! Signals to clients that wait for an answer. FUSE_INTERRUPT comes through
//! /dev/fuse on either transport.

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use support::raw::{catch_interrupts, interrupt};
use support::*;

type Read = JoinHandle<Result<String, i32>>;

/// A client on the first CPU that reads `name`.
fn read(fs: &Mount, name: &str) -> Read {
    let file = File::open(fs.at(name)).expect("open");
    pinned(cpus()[0], move || {
        let mut data = [0; 64];
        match file.read_at(&mut data, 0) {
            Ok(length) => Ok(String::from_utf8_lossy(&data[..length]).into_owned()),
            Err(e) => Err(e.raw_os_error().expect("an errno")),
        }
    })
}

fn interrupted(fs: &Mount, name: &str, inside: (&str, i64)) {
    catch_interrupts();
    let reader = read(fs, name);
    fs.until(inside.0, inside.1);
    interrupt(&reader);
    assert_eq!(reader.join().unwrap(), Err(libc::EINTR), "{name}");
}

each_transport! {
    fn function_answers_a_parked_request(on) {
        let fs = Server::new("engine_ll").mount(on);
        interrupted(&fs, "intr_func", ("parked", 1));
        assert_eq!((fs.command("parked"), fs.command("interrupts")), (0, 1));
    }

    fn handler_polls(on) {
        let fs = Server::new("engine_ll").mount(on);
        interrupted(&fs, "intr_poll", ("inside", 1));
    }

    fn function_set_after_the_interrupt_is_called_at_once(on) {
        let fs = Server::new("engine_ll").mount(on);
        interrupted(&fs, "intr_late", ("inside", 1));
        assert_eq!(fs.command("interrupts"), 1);
    }

    fn answered_all_the_same(on) {
        catch_interrupts();
        let fs = Server::new("engine_ll").mount(on);
        let reader = read(&fs, "block");
        fs.until("inside", 1);
        interrupt(&reader);
        fs.command("unblock");
        assert_eq!(reader.join().unwrap(), Ok("block@0".to_string()));
    }

    fn only_the_one_that_was_meant(on) {
        catch_interrupts();
        let fs = Server::new("engine_ll").mount(on);
        let mut readers: Vec<_> = (0..20).map(|_| read(&fs, "intr_func")).collect();
        fs.until("parked", 20);
        for left in (10..20).rev() {
            let reader = readers.remove(left / 2);
            interrupt(&reader);
            assert_eq!(reader.join().unwrap(), Err(libc::EINTR));
            assert_eq!(fs.command("parked"), left as i64);
        }
        fs.command("release");
        for reader in readers {
            assert_eq!(reader.join().unwrap(), Ok("intr_func@0".to_string()));
        }
        assert_eq!(fs.command("interrupts"), 10);
    }

    /// The answer and the interrupt meet: whatever comes first wins, nothing
    /// hangs, and the filesystem serves on.
    fn races_with_answers(on) {
        catch_interrupts();
        let fs = Server::new("engine_ll").mount(on);
        for i in 0..200 {
            let reader = read(&fs, "sleep_1");
            if i % 2 == 0 {
                std::thread::sleep(std::time::Duration::from_micros(300 + 10 * i));
            }
            while !reader.is_finished() {
                interrupt(&reader);
            }
            let got = reader.join().unwrap();
            assert!(got == Ok("sleep_1@0".to_string()) || got == Err(libc::EINTR), "{got:?}");
        }
        assert_eq!(read(&fs, "fast").join().unwrap(), Ok("fast@0".to_string()));
    }

    fn killed_client(on) {
        let fs = Server::new("engine_ll").mount(on);
        let mut client = Command::new("head")
            .args(["-c", "8"])
            .arg(fs.at("intr_func"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        fs.until("parked", 1);
        client.kill().unwrap();
        // The interrupt function answers, and only then can the client end.
        client.wait().unwrap();
        assert_eq!((fs.command("parked"), fs.command("interrupts")), (0, 1));
        assert_eq!(read(&fs, "fast").join().unwrap(), Ok("fast@0".to_string()));
    }
}
