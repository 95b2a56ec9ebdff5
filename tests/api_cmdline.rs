//! `fuse_parse_cmdline`, the help texts, and the same results as stock libfuse3.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, missing_docs)]

mod api_support;

use api_support::{logged, ours, stock, text, Api, Command, Random};
use libc::c_int;
use ringfuse::abi::public::CmdlineOpts;
use ringfuse::cmdline::max_threads_was_given;
use ringfuse::ffi::cmdline::*;
use std::mem::{offset_of, MaybeUninit};
use std::process::Command as Process;

/// All that a call leaves behind.
#[derive(PartialEq, Debug)]
struct Outcome {
    result: c_int,
    arguments: Vec<String>,
    allocated: c_int,
    flags: [c_int; 7],
    max_idle_threads: u32,
    max_threads: u32,
    mountpoint: Option<String>,
}

/// Runs the form that `old` tells on memory full of 0x55.
fn run_with<S: AsRef<[u8]>>(api: Api, old: bool, command: &[S]) -> Outcome {
    let mut command = Command::new(command);
    let mut memory = MaybeUninit::<CmdlineOpts>::uninit();
    unsafe {
        memory.as_mut_ptr().write_bytes(0x55, 1);
        let parse = if old { api.cmdline_30 } else { api.cmdline_312 };
        let result = parse(&mut command.args, memory.as_mut_ptr());
        if old && result != 0 {
            // Stock from 3.12 on writes nothing then, 3.11 and we do.
            let mountpoint = memory.assume_init_ref().mountpoint;
            if mountpoint as usize != 0x5555_5555_5555_5555 {
                libc::free(mountpoint.cast());
            }
            memory.as_mut_ptr().write_bytes(0, 1);
        }
        let opts = memory.assume_init();
        let outcome = Outcome {
            result,
            arguments: command.arguments(),
            allocated: command.args.allocated,
            flags: [
                opts.singlethread,
                opts.foreground,
                opts.debug,
                opts.nodefault_subtype,
                opts.show_version,
                opts.show_help,
                opts.clone_fd,
            ],
            max_idle_threads: opts.max_idle_threads,
            max_threads: opts.max_threads,
            mountpoint: text(opts.mountpoint),
        };
        libc::free(opts.mountpoint.cast());
        (api.free_args)(&mut command.args);
        outcome
    }
}

fn run(command: &[&str]) -> Outcome {
    run_with(ours(), false, command)
}

#[test]
fn defaults() {
    let outcome = run(&["path/prog"]);
    assert_eq!(outcome.result, 0);
    assert_eq!(outcome.arguments, ["path/prog", "-osubtype=prog"]);
    assert_eq!(outcome.flags, [0; 7]);
    assert_eq!((outcome.max_idle_threads, outcome.max_threads), (u32::MAX, 10));
    assert_eq!(outcome.mountpoint, None);
}

#[test]
fn options_are_taken_out() {
    let outcome = run(&["p", "-s", "-f", "-oclone_fd,max_idle_threads=3", "--help", "-V", "/tmp"]);
    assert_eq!((outcome.result, outcome.flags), (0, [1, 1, 0, 0, 1, 1, 1]));
    assert_eq!((outcome.max_idle_threads, outcome.max_threads), (3, 10));
    assert_eq!(outcome.mountpoint.as_deref(), Some("/tmp"));
    assert_eq!(outcome.arguments, ["p", "-osubtype=p"]);
}

#[test]
fn what_the_session_needs_stays() {
    for debug in ["-d", "-odebug"] {
        let outcome = run(&["p", debug]);
        assert_eq!(outcome.flags, [0, 1, 1, 0, 0, 0, 0]);
        assert!(outcome.arguments.iter().any(|a| a == debug || a == "debug"), "{outcome:?}");
    }
    let outcome = run(&["p", "--debug", "-fs", "-oallow_other,fsname=x"]);
    assert_eq!(outcome.flags, [0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(outcome.arguments, ["p", "-o", "allow_other,fsname=x", "--debug", "-fs"]);
    assert_eq!(run(&["p", "-osubtype=y"]).arguments, ["p", "-o", "subtype=y"]);
}

#[test]
fn the_default_subtype_is_the_last_part_of_the_name() {
    for (program, subtype) in [("/usr/bin/x", "x"), ("x", "x"), ("dir/", "/"), ("/", "/"), ("", "")]
    {
        assert_eq!(run(&[program]).arguments[1], format!("-osubtype={subtype}"));
    }
    // A comma in the name is not the end of the option.
    assert_eq!(run(&["a,b"]).arguments[1], r"-osubtype=a\\,b");
}

#[test]
fn the_mount_point_is_resolved() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().canonicalize().unwrap();
    let dotted = real.join("../").join(real.file_name().unwrap()).join(".");
    let outcome = run(&["p", dotted.to_str().unwrap()]);
    assert_eq!(outcome.mountpoint.as_deref(), real.to_str());

    let missing = real.join("missing");
    let (outcome, log) = logged(|| run(&["p", missing.to_str().unwrap()]));
    assert_eq!((outcome.result, outcome.mountpoint, outcome.allocated), (-1, None, 0));
    assert!(
        log.contains("bad mount point") && log.contains("missing") && log.contains("No such file"),
        "{log:?}"
    );

    let (outcome, log) = logged(|| run(&["p", "/tmp", "/usr"]));
    assert_eq!(
        (outcome.result, outcome.arguments),
        (-1, vec!["p".into(), "/tmp".into(), "/usr".to_string()])
    );
    assert!(log.contains("invalid argument `/usr'"), "{log:?}");
}

#[test]
fn an_open_session_is_a_mount_point() {
    assert_eq!(run(&["p", "/dev/fd/99"]).mountpoint.as_deref(), Some("/dev/fd/99"));
    for not_a_number in ["/dev/fd/", "/dev/fd/9x", "/dev/fd/-1"] {
        let (outcome, _) = logged(|| run(&["p", not_a_number]));
        // Only its real path counts then, if it has one.
        assert_ne!(outcome.mountpoint.as_deref(), Some(not_a_number));
    }
}

#[test]
fn the_old_form_writes_only_its_own_part() {
    let outcome = run_with(ours(), true, &["p", "-omax_idle_threads=4", "/tmp"]);
    assert_eq!(
        (outcome.result, outcome.max_idle_threads, outcome.max_threads),
        (0, 4, 0x5555_5555)
    );
    assert_eq!(offset_of!(CmdlineOpts, max_threads), 40);
    assert_eq!(outcome.mountpoint.as_deref(), Some("/tmp"));
}

#[test]
fn the_structure_is_written_on_failure_too() {
    for parse in [fuse_parse_cmdline_30, fuse_parse_cmdline_312] {
        let mut command = Command::new(&["p", "-s", "-omax_idle_threads=x"]);
        let mut memory = MaybeUninit::<CmdlineOpts>::uninit();
        let (result, _) = logged(|| unsafe {
            memory.as_mut_ptr().write_bytes(0x55, 1);
            parse(&mut command.args, memory.as_mut_ptr())
        });
        let opts = unsafe { memory.assume_init() };
        assert_eq!((result, opts.singlethread, opts.foreground), (-1, 1, 0));
        assert!(opts.mountpoint.is_null());
    }
}

#[test]
fn a_bad_number_is_an_error() {
    let (outcome, log) = logged(|| run(&["p", "-omax_idle_threads=many"]));
    assert_eq!(outcome.result, -1);
    assert!(log.contains("invalid parameter in option `max_idle_threads=many'"), "{log:?}");
}

/// Runs the ignored test `name` in a process of its own and returns what it wrote.
fn in_its_own_process(name: &str) -> String {
    let output = Process::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "--test-threads=1", name])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "run by an_explicit_max_threads_is_remembered in a process of its own"]
fn remember() {
    assert!(!max_threads_was_given());
    assert_eq!(run(&["p", "-omax_idle_threads=4"]).result, 0);
    assert!(!max_threads_was_given());
    let (outcome, _) = logged(|| run(&["p", "-omax_threads=x"]));
    assert_eq!(outcome.result, -1);
    assert!(!max_threads_was_given());
    assert_eq!(run(&["p", "-omax_threads=10"]).max_threads, 10);
    assert!(max_threads_was_given());
    assert_eq!(run(&["p"]).result, 0);
    assert!(max_threads_was_given());
}

#[test]
fn an_explicit_max_threads_is_remembered() {
    assert!(in_its_own_process("remember").contains("1 passed"));
}

#[test]
#[ignore = "run by help_goes_to_standard_output in a process of its own"]
fn print_help() {
    // The C library buffers this; the texts must come after it all the same.
    unsafe { libc::printf(c"usage first\n".as_ptr()) };
    fuse_cmdline_help();
    fuse_lowlevel_help();
    fuse_lowlevel_version();
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

#[test]
fn help_goes_to_standard_output() {
    let text = in_its_own_process("print_help");
    let texts = [
        "usage first",
        "--help",
        "--version",
        "-d ",
        "-f ",
        "-s ",
        "clone_fd",
        "max_idle_threads",
        "max_threads",
        "allow_other",
        "allow_root",
        "auto_unmount",
        "io_uring ",
        "no_io_uring",
        "io_uring_q_depth",
        "io_uring_max_parked",
        "using FUSE kernel interface version 7.45\n",
    ];
    let mut rest = text.as_str();
    for expected in texts {
        let found = rest.find(expected).unwrap_or_else(|| panic!("no {expected:?} in {rest:?}"));
        rest = &rest[found + expected.len()..];
    }
}

const PIECES: &[&str] = &[
    "-h",
    "--help",
    "-V",
    "--version",
    "-d",
    "-odebug",
    "--debug",
    "-f",
    "-s",
    "-fs",
    "-ofsname=a",
    "-ofsname=",
    "-ofsname",
    "-osubtype=b",
    "-o",
    "debug,clone_fd",
    "-oclone_fd",
    "-omax_idle_threads=5",
    "-omax_threads=6x",
    "-omax_threads=",
    "-omax_threads=-1",
    "-omax_idle_threads= 7,max_threads=8",
    "-oallow_other,ro",
    "--",
    "-",
    "/tmp",
    "/dev/fd/7",
    "/dev/fd/",
    "/dev/fd/7x",
    "/dev/fd/007",
    "/usr/../tmp/.",
    "/no/such/place",
    "",
    "-x",
];

#[test]
fn same_results_as_stock() {
    let Some(stock) = stock("same_results_as_stock (command line)") else { return };
    let mut random = Random::from_environment();
    let mut results = [0, 0];
    for round in 0..20_000 {
        let mut command =
            vec![*random.pick(&["prog", "/usr/bin/prog", "./p", "dir/", "/", "//", "-p", ""])];
        command.extend((0..random.below(6)).map(|_| *random.pick(PIECES)));
        let old = random.below(3) == 0;
        let (mine, _) = logged(|| run_with(ours(), old, &command));
        let theirs = run_with(stock, old, &command);
        assert_eq!(mine, theirs, "round {round}: {command:?}, old form: {old}");
        results[(mine.result == 0) as usize] += 1;
    }
    assert!(results[0] > 1000 && results[1] > 1000, "{results:?}");
}
