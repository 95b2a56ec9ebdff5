//! What a session does with messages, byte by byte: the same script is played
//! to our two libraries and to an installed libfuse3 (3.14, Debian 12), with
//! the test as the kernel (`tests/fs/mock_ll.c`; of the path API `mock_path.c`).
//! What libfuse does otherwise is said at each script.
#![allow(missing_docs)]

#[path = "behaviour/path.rs"]
mod path;
#[path = "behaviour/path_files.rs"]
mod path_files;
#[path = "behaviour/paths.rs"]
mod paths;
#[path = "behaviour/script.rs"]
mod script;
mod support;

use script::*;

/// Requests: what every operation is called with. (Debian's 3.14.0 is right
/// about the name of SETXATTR, other builds of it are not.)
#[test]
fn every_operation_has_its_arguments() {
    let mut script = vec![init(2, 7, 31)];
    script.extend(every_request());
    let transcript = same(&["all"], &script);
    assert_eq!(count(&transcript, "error=-38"), 1, "only opcode 99 is unknown");
    for line in [
        "op setxattr ino=1 name=user.x value=abc flags=2",
        "op rename ino=1 name=from newparent=9 newname=to flags=1",
        "op getattr ino=1 fi=none",
    ] {
        assert_eq!(count(&transcript, line), 1, "{line}\n{}", transcript.join("\n"));
    }
    // The end of a lock that goes to the end of the file.
    assert_eq!(count(&transcript, "start=10 len=0 lock_pid=1234"), 3, "{transcript:#?}");
}

/// Requests: what is answered without a filesystem's help.
#[test]
fn requests_without_an_operation() {
    let mut script = vec![init(2, 7, 31)];
    script.extend(every_request());
    script.push(request(2, 0, body().u64(3)));
    script.push(request(42, 0, body().u32(2).u32(0).u64(5).u64(1).u64(6).u64(2)));
    script.push(request(41, 200, body().zeros(40)));
    let transcript = same(&["none"], &script);
    // OPEN, STATFS, RELEASE, OPENDIR, RELEASEDIR and INIT succeed.
    assert_eq!(count(&transcript, "error=0"), 6, "{transcript:#?}");
    assert_eq!(count(&transcript, "op "), 0);
}

/// A batch becomes single forgets where that is all the filesystem has.
#[test]
fn forgets() {
    let script = [
        init(2, 7, 31),
        request(2, 0, body().u64(3)),
        request(42, 0, body().u32(2).u32(0).u64(5).u64(1).u64(6).u64(2)),
    ];
    let transcript = same(&["all"], &script);
    for line in ["forget ino=1 nlookup=3", "forget ino=5 nlookup=1", "forget ino=6 nlookup=2"] {
        assert_eq!(count(&transcript, line), 1, "{transcript:#?}");
    }
    assert_eq!(count(&transcript, "answer"), 1, "only INIT is answered");
}

/// Answers: every answer, byte by byte.
#[test]
fn every_answer_has_its_bytes() {
    let mut script = vec![init(2, 7, 31)];
    let answers = [
        "err 0",
        "err 1",
        "err 133",
        "err 511",
        "entry 0",
        "entry 1",
        "entry 2",
        "entry 3",
        "entry 4",
        "negative 1",
        "create 1",
        "attr 0",
        "attr 1",
        "attr 2",
        "attr 3",
        "readlink",
        "open",
        "write 4096",
        "buf 0",
        "buf 6",
        "data",
        "iov",
        "statfs",
        "xattr 77",
        "lock 0",
        "lock 9",
        "bmap 12345678901",
        "ioctl 5",
        "ioctl -1",
        "ioctl_iov 6",
        "ioctl_retry",
        "poll 4",
        "lseek 99",
        "none",
    ];
    for (answer, number) in answers.iter().zip(5u64..) {
        script.push(reply(answer));
        // ioctl_retry needs an unrestricted IOCTL (CUSE); the rest does not care.
        let ioctl = body().u64(1).u32(2).u32(7).u64(0).u32(0).u32(0);
        script.push(request(39, 2 * number, ioctl));
    }
    let transcript = same(&["all"], &script);
    assert_eq!(count(&transcript, "answer"), answers.len(), "INIT, and all but `none`");
    // Two places to read from, one to write to: flags RETRY, 2 and 1, three iovecs.
    let retry = "body=00000000040000000200000001000000\
                 0010000000000000100000000000000000200000000000002000000000000000\
                 00200000000000002000000000000000";
    assert_eq!(count(&transcript, retry), 1, "{transcript:#?}");
}

/// Answers: numbers that are no errors. 3.16 and later have a lower limit,
/// see docs/compatibility.md.
#[test]
fn errors_that_are_none() {
    let mut script = vec![init(2, 7, 31)];
    for (value, number) in [-1, 1000, 5000].into_iter().zip(5u64..) {
        script.push(reply(&format!("err {value}")));
        script.push(request(1, 2 * number, body().name("x")));
    }
    let transcript = same(&["all"], &script);
    assert_eq!(count(&transcript, "error=-34"), 3, "{transcript:#?}");
}

/// INIT: requests before INIT, a second INIT, and CUSE's.
#[test]
fn init_comes_first_and_once() {
    let script = [
        request(1, 2, body().name("early")),
        init(4, 7, 31),
        init(6, 7, 31),
        request(4096, 8, body().zeros(24)),
        request(1, 10, body().name("now")),
    ];
    let transcript = same(&["all"], &script);
    assert_eq!(count(&transcript, "error=-5"), 3, "{transcript:#?}");
    assert_eq!(count(&transcript, "op lookup"), 1);
}

/// INIT: versions. Our own minor is that of 3.18.
#[test]
fn versions_of_the_protocol() {
    // Too old: the session is over. (libfuse 3.14 sends the error and stays.)
    let transcript = ours(&["all"], &[init(2, 6, 31)]);
    assert!(transcript.ends_with(&["exited".into()]), "{transcript:#?}");
    assert_eq!(count(&transcript, "error=-71"), 1);
    // Newer: told what we speak, asked again.
    let transcript = same(&["all"], &[init(2, 8, 0), init(4, 7, 31)]);
    assert_eq!(count(&transcript, "op init"), 1, "{transcript:#?}");
    // Kernels of long ago get the short answers of their time.
    for minor in [6, 11, 14, 17, 22, 23, 28] {
        same(&["all"], &[init(2, 7, minor), request(5, 4, body())]);
    }
}

/// INIT: what is agreed with a kernel that offers one thing only.
#[test]
fn every_offer_alone() {
    for bit in (0..30).filter(|bit| ![18, 19, 25].contains(bit)) {
        let offer = body().u32(7).u32(31).u32(0x20000).u32(1 << bit);
        same(&["all"], &[request(26, 2, offer)]);
        let offer = body().u32(7).u32(31).u32(0x20000).u32(1 << bit);
        same(&["none"], &[request(26, 2, offer)]);
    }
    // PARALLEL_DIROPS and HANDLE_KILLPRIV were wanted and never said up to
    // 3.16; now they are wanted only by who says so. Bit 25 is SUBMOUNTS.
    for bit in [18, 19] {
        let offer = body().u32(7).u32(31).u32(0x20000).u32(1 << bit);
        let transcript = ours(&["all"], &[request(26, 2, offer)]);
        assert_eq!(count(&transcript, "error=0"), 1, "{transcript:#?}");
    }
}

/// INIT: a mismatch between the option and init() ends the session.
#[test]
fn max_read_must_be_init_s() {
    let transcript = same(&["all", "-omax_read=4096"], &[init(2, 7, 31)]);
    assert_eq!(count(&transcript, "error=-71"), 1, "{transcript:#?}");
    assert_eq!(count(&transcript, "op destroy"), 1, "what init() made is given back");
}

/// Requests: `allow_root` comes before everything.
#[test]
fn allow_root_refuses_others() {
    let mut script = vec![init(2, 7, 31)];
    for (opcode, number) in [1, 3, 14, 15, 16, 18, 20, 25, 28, 29, 30, 44].into_iter().zip(5u64..) {
        let size = if opcode == 1 { 2 } else { 64 };
        script.push(request_of(1000, opcode, 2 * number, body().zeros(size)));
    }
    let transcript = same(&["all", "-oallow_root"], &script);
    // LOOKUP, GETATTR, OPEN and FLUSH.
    assert_eq!(count(&transcript, "error=-13"), 4, "{transcript:#?}");
}

/// Interrupts: the interrupt of a request that is yet to come.
///
/// libfuse sends it back with EAGAIN at the next request that is another one;
/// we remember it, see docs/compatibility.md.
#[test]
fn an_interrupt_before_its_request() {
    let interrupt = |unique, of| request(36, unique, body().u64(of));
    let script = [
        init(2, 7, 31),
        interrupt(21, 20),
        reply("interrupt"),
        request(1, 20, body().name("interrupted")),
        reply("interrupt"),
        request(1, 22, body().name("not-interrupted")),
    ];
    let transcript = same(&["all"], &script);
    assert_eq!(count(&transcript, "interrupted: 1"), 1, "{transcript:#?}");
    assert_eq!(count(&transcript, "unique=20 error=-4"), 1);
    assert_eq!(count(&transcript, "unique=22 error=0"), 1);
    let script = [
        init(2, 7, 31),
        interrupt(31, 30),
        request(1, 32, body().name("another")),
        reply("interrupt"),
        request(1, 30, body().name("interrupted")),
    ];
    let transcript = ours(&["all"], &script);
    assert_eq!(count(&transcript, "answer unique=31"), 0, "{transcript:#?}");
    assert_eq!(count(&transcript, "unique=30 error=-4"), 1, "{transcript:#?}");
}

const NOTIFICATIONS: &[&str] =
    &["inval_inode", "inval_entry", "delete", "store", "retrieve", "no_session", "no_poll"];

fn notifications(minor: u32) -> Vec<String> {
    let poll = request(40, 10, body().u64(1).u64(55).u32(1).u32(4));
    let mut script = vec![init(2, 7, minor), poll, notify("poll")];
    script.extend(NOTIFICATIONS.iter().map(|name| notify(name)));
    script
}

/// Notifications: every notification's bytes, and the kernels that have none.
#[test]
fn every_notification_has_its_bytes() {
    let transcript = same(&["all"], &notifications(31));
    assert_eq!(count(&transcript, "answer unique=0"), 6, "{transcript:#?}");
    for (minor, missing) in [(11, 5), (12, 3), (15, 1), (18, 0)] {
        let transcript = same(&["all"], &notifications(minor));
        assert_eq!(count(&transcript, "notified -38"), missing, "{minor}: {transcript:#?}");
    }
}

/// Notifications: no session yet. Up to 3.17 what is sent before INIT was sent.
#[test]
fn notifications_before_init() {
    let script: Vec<_> = NOTIFICATIONS[..5].iter().map(|name| notify(name)).collect();
    let transcript = ours(&["all"], &script);
    assert_eq!(count(&transcript, "notified -107"), 5, "{transcript:#?}");
}

/// Notifications: the answer to a retrieval finds its cookie, once.
#[test]
fn a_retrieval_and_its_answer() {
    let data =
        |size: u32, bytes: &[u8]| body().u64(0).u64(8).u32(size).u32(0).u64(0).u64(0).bytes(bytes);
    let script = [
        init(2, 7, 31),
        notify("retrieve"),
        request(41, 0, data(4, b"data")),
        request(41, 0, data(4, b"data")),
    ];
    let transcript = same(&["all"], &script);
    let line = "op retrieve_reply cookie=0x77 ino=1 off=8 size=4 data=data";
    assert_eq!(count(&transcript, line), 1, "{transcript:#?}");
}

/// INIT, since 3.17: after DESTROY nothing is served until another INIT.
#[test]
fn after_destroy() {
    let script = [
        init(2, 7, 31),
        request(38, 4, body()),
        request(1, 6, body().name("late")),
        init(8, 7, 31),
        request(1, 10, body().name("again")),
    ];
    let transcript = ours(&["all"], &script);
    assert_eq!(count(&transcript, "unique=6 error=-5"), 1, "{transcript:#?}");
    assert_eq!(count(&transcript, "op lookup"), 1, "{transcript:#?}");
}

/// INIT: the limits of background requests, as init() leaves them.
#[test]
fn background_limits_are_kept_within_their_words() {
    for (most, threshold) in [("70000", "0"), ("16", "20"), ("16", "0"), ("0", "9"), ("8", "3")] {
        let env = [("MOCK_MAX_BACKGROUND", most), ("MOCK_CONGESTION_THRESHOLD", threshold)];
        same_with(&env, &["all"], &[init(2, 7, 31)]);
    }
}

/// INIT: to want what the kernel has not ends the session.
#[test]
fn wanting_too_much() {
    let env = [("MOCK_WANT", "0x80000000")];
    let transcript = same_with(&env, &["all"], &[init(2, 7, 31)]);
    assert_eq!(count(&transcript, "error=-71"), 1, "{transcript:#?}");
    assert_eq!(count(&transcript, "exited"), 1, "{transcript:#?}");
}

/// INIT, since 3.17: a program with its own loop has its buffers already.
/// Up to 3.16 the larger size was said, and reading failed.
#[test]
fn a_larger_max_write_in_a_loop_of_its_own() {
    let smaller = [("MOCK_MAX_WRITE", "0x20000")];
    same_with(&smaller, &["all"], &[init(2, 7, 31)]);
    let larger = [("MOCK_MAX_WRITE", "0x400000")];
    let transcript = ours_with(&larger, &["all"], &[init(2, 7, 31)]);
    // max_write is at byte 20 of the answer: one mebibyte.
    let answer = transcript.iter().find(|line| line.contains("answer unique=2")).expect("INIT");
    let body = answer.split("body=").nth(1).expect("a body");
    assert_eq!(&body[40..48], "00001000", "{answer}");
}

/// Interrupts, since 3.17: a filesystem without interrupts says so once.
#[test]
fn no_interrupts() {
    let script = [init(2, 7, 31), request(36, 5, body().u64(4))];
    let transcript = ours_with(&[("MOCK_NO_INTERRUPT", "1")], &["all"], &script);
    assert_eq!(count(&transcript, "unique=5 error=-38"), 1, "{transcript:#?}");
}

/// Notifications, since 3.16: only for kernels that know it.
#[test]
fn expiring_entries() {
    let transcript = ours(&["all"], &[init(2, 7, 31), notify("expire_entry")]);
    assert_eq!(count(&transcript, "notified -38"), 1, "{transcript:#?}");
    let transcript = ours(&["all"], &[init(2, 7, 38), notify("expire_entry")]);
    let sent = "answer unique=0 error=3 body=010000000000000004000000010000006e616d6500";
    assert_eq!(count(&transcript, sent), 1, "{transcript:#?}");
}

/// Loops: what a loop returns. libfuse 3.14 takes back that the session
/// has exited; since 3.18 that is fuse_session_reset's.
#[test]
fn what_a_loop_returns() {
    let script = ["loop -".into(), "loop 0102".into()];
    let transcript = same(&["all"], &script[..1]);
    assert_eq!(count(&transcript, "loop -11"), 1, "{transcript:#?}");
    let transcript = same(&["all"], &script[1..]);
    assert_eq!(count(&transcript, "loop -5"), 1, "{transcript:#?}");
    let script = ["exit", "loop -", "exit", "reset", "loop -"].map(String::from);
    let transcript = ours(&["all"], &script);
    assert_eq!(count(&transcript, "loop 0"), 1, "{transcript:#?}");
    assert_eq!(count(&transcript, "loop -11"), 1, "{transcript:#?}");
}
