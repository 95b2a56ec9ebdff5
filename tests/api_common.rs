//! Versions, loop configuration, connection options and feature flags, as
//! programs of `libfuse3.so.4` see them (`api_layout.rs`: of `.so.3`).
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, missing_docs)]

mod api_support;

use api_support::{load_stock, logged, Command, Random};
use libc::c_void;
use ringfuse::abi::public::{cap, Args, ConnInfo, LoopConfig, LoopConfigV1};
use ringfuse::conn;
use ringfuse::ffi::common::*;
use std::ffi::CStr;

#[test]
fn versions() {
    assert_eq!(fuse_version(), 318);
    assert_eq!(unsafe { CStr::from_ptr(fuse_pkgversion()) }, c"3.18.3");
}

#[test]
fn loop_configuration() {
    let config = fuse_loop_cfg_create();
    let get = || {
        let LoopConfig { version_id, clone_fd, max_idle_threads, max_threads } = unsafe { *config };
        assert_eq!(version_id, LoopConfig::VERSION_ID);
        (clone_fd, max_idle_threads, max_threads)
    };
    assert_eq!(get(), (0, -1, 10));
    unsafe {
        fuse_loop_cfg_set_max_threads(config, 3);
        fuse_loop_cfg_set_clone_fd(config, 1);
        fuse_loop_cfg_set_idle_threads(config, 5);
        assert_eq!(get(), (1, 5, 3));
        let ((), log) = logged(|| fuse_loop_cfg_set_idle_threads(config, u32::MAX));
        assert_eq!((get().1, log.as_str()), (5, ""));
        let ((), log) = logged(|| fuse_loop_cfg_set_idle_threads(config, 100_001));
        assert!(get().1 == 5 && log.contains("max_idle_threads=100001"), "{log:?}");
        fuse_loop_cfg_set_idle_threads(config, 100_000);
        assert_eq!(get().1, 100_000);
        fuse_loop_cfg_set_max_threads(config, u32::MAX);
        assert_eq!(get().2, u32::MAX);
        fuse_loop_cfg_destroy(config);

        // An 8-byte configuration keeps the ten threads, whatever it says.
        let config = fuse_loop_cfg_create();
        for (max_idle_threads, expected) in [(u32::MAX, -1), (0, 0), (7, 7)] {
            fuse_loop_cfg_convert(config, &LoopConfigV1 { clone_fd: 1, max_idle_threads });
            assert_eq!(
                ((*config).clone_fd, (*config).max_idle_threads, (*config).max_threads),
                (1, expected, 10)
            );
        }
        fuse_loop_cfg_destroy(config);
        fuse_loop_cfg_destroy(std::ptr::null_mut());
    }
}

fn capable_of(flags: u64) -> ConnInfo {
    ConnInfo { capable: flags as u32, capable_ext: flags, ..ConnInfo::default() }
}

#[test]
fn features_are_set_in_both_words() {
    let high = cap::ALLOW_IDMAP;
    let mut conn = capable_of(1 | 2 | high);
    unsafe {
        assert!(fuse_set_feature_flag(&mut conn, 1));
        assert_eq!((conn.want, conn.want_ext), (1, 1));
        assert!(fuse_set_feature_flag(&mut conn, high));
        assert_eq!((conn.want, conn.want_ext), (1, 1 | high));
        assert!(!fuse_set_feature_flag(&mut conn, 4));
        assert_eq!((conn.want, conn.want_ext), (1, 1 | high));
        // Of several flags the possible ones.
        assert!(fuse_set_feature_flag(&mut conn, 2 | 8));
        assert_eq!((conn.want, conn.want_ext), (3, 3 | high));
        fuse_unset_feature_flag(&mut conn, 1 | high);
        assert_eq!((conn.want, conn.want_ext), (2, 2));
        // What is asked for is the capability, not the wish.
        assert!(fuse_get_feature_flag(&conn, 1) && fuse_get_feature_flag(&conn, high | 4));
        assert!(!fuse_get_feature_flag(&conn, 4));
    }
}

/// Reconciles what `init` does to a connection that starts with `want`.
fn reconciled(want: u64, init: impl FnOnce(&mut ConnInfo)) -> (u64, String) {
    let mut conn = ConnInfo { want: want as u32, want_ext: want, ..capable_of(u64::MAX) };
    let before = conn;
    init(&mut conn);
    let (result, log) = logged(|| conn::reconcile(&before, &mut conn));
    assert_eq!((result, result as u32), (conn.want_ext, conn.want));
    (result, log)
}

#[test]
fn either_word_may_be_changed() {
    let high = 1 << 40;
    let silent = String::new();
    assert_eq!(reconciled(5 | high, |_| ()), (5 | high, silent.clone()));
    assert_eq!(reconciled(5 | high, |conn| conn.want = 2), (2 | high, silent.clone()));
    assert_eq!(reconciled(5, |conn| conn.want_ext = 2 | high), (2 | high, silent.clone()));
    // The same in both.
    assert_eq!(reconciled(5, |conn| (conn.want, conn.want_ext) = (6, 6)), (6, silent.clone()));
    // A feature function and a direct change of one word.
    let mixed = reconciled(5, |conn| {
        conn.want |= 8;
        conn::set_feature(conn, 16);
        conn::unset_feature(conn, 1);
    });
    assert_eq!(mixed, (4 | 8 | 16, silent.clone()));
    let mixed = reconciled(5, |conn| {
        conn::set_feature(conn, 16);
        conn.want_ext = (conn.want_ext | high) & !4;
    });
    assert_eq!(mixed, (1 | 16 | high, silent));
}

#[test]
fn contradictions_are_logged_and_the_long_word_counts() {
    let (want, log) = reconciled(1, |conn| (conn.want, conn.want_ext) = (3, 5));
    assert_eq!(want, 5);
    assert!(log.contains("want (0x3)") && log.contains("want_ext (0x5)"), "{log:?}");
}

#[test]
fn early_conversion_inside_init() {
    let mut conn = ConnInfo { want: 1, want_ext: 1, ..capable_of(0xff) };
    let want = conn::negotiate(&mut conn, |conn| {
        conn.want |= 4;
        assert_eq!(unsafe { fuse_convert_to_conn_want_ext(conn) }, 0);
        assert_eq!(conn.want_ext, 5);
        conn.want_ext |= 8;
    });
    assert_eq!((want, conn.want), (13, 13));
    // Outside of init() words that differ cannot be explained.
    assert_eq!(unsafe { fuse_convert_to_conn_want_ext(&mut conn) }, 0);
    conn.want = 2;
    let (result, log) = logged(|| unsafe { fuse_convert_to_conn_want_ext(&mut conn) });
    assert_eq!((result, conn.want, conn.want_ext), (-libc::EINVAL, 2, 13));
    assert!(log.contains("differ"), "{log:?}");
}

/// Parses `options`, applies them to `conn`, and returns what was left over.
fn apply(options: &str, conn: &mut ConnInfo) -> Vec<String> {
    let mut command = Command::new(&["p", "-o", options]);
    unsafe {
        let parsed = fuse_parse_conn_info_opts(&mut command.args);
        assert!(!parsed.is_null());
        fuse_apply_conn_info_opts(parsed, conn);
        libc::free(parsed.cast::<c_void>());
        let rest = command.arguments();
        ringfuse::ffi::opt::fuse_opt_free_args(&mut command.args);
        rest
    }
}

#[test]
fn connection_options() {
    let mut conn = capable_of(u64::MAX);
    conn.max_readahead = 9;
    let rest = apply(
        "max_write=1,max_background=2,congestion_threshold=3,time_gran=4,ro,atomic_o_trunc",
        &mut conn,
    );
    assert_eq!(rest, ["p", "-o", "ro"]);
    let numbers = [
        conn.max_write,
        conn.max_readahead,
        conn.max_background,
        conn.congestion_threshold,
        conn.time_gran,
    ];
    assert_eq!(numbers, [1, 9, 2, 3, 4]);
    assert_eq!((conn.want, conn.want_ext), (0, 0));
    apply("max_readahead=0", &mut conn);
    assert_eq!((conn.max_write, conn.max_readahead), (1, 0));
}

#[test]
fn connection_options_about_features() {
    let all = capable_of(u64::MAX);
    let after = |want: u64, options: &str| {
        let mut conn = ConnInfo { want: want as u32, want_ext: want, ..all };
        apply(options, &mut conn);
        assert_eq!(u64::from(conn.want), conn.want_ext & 0xffff_ffff);
        conn.want_ext
    };
    for (name, flag) in [
        ("splice_write", cap::SPLICE_WRITE),
        ("splice_move", cap::SPLICE_MOVE),
        ("splice_read", cap::SPLICE_READ),
        ("auto_inval_data", cap::AUTO_INVAL_DATA),
        ("async_dio", cap::ASYNC_DIO),
        ("writeback_cache", cap::WRITEBACK_CACHE),
    ] {
        assert_eq!(after(0, name), flag, "{name}");
        assert_eq!(after(u64::MAX, &format!("no_{name}")), !flag, "no_{name}");
        assert_eq!(after(0, &format!("no_{name},{name}")), 0, "both forms of {name}");
    }
    assert_eq!(after(0, "async_read"), cap::ASYNC_READ);
    assert_eq!(after(u64::MAX, "sync_read"), !cap::ASYNC_READ);
    assert_eq!(after(u64::MAX, "no_remote_lock"), !(cap::POSIX_LOCKS | cap::FLOCK_LOCKS));
    assert_eq!(after(u64::MAX, "no_remote_flock"), !cap::FLOCK_LOCKS);
    assert_eq!(after(u64::MAX, "no_remote_posix_lock"), !cap::POSIX_LOCKS);
    assert_eq!(after(u64::MAX, "readdirplus=no"), !cap::READDIRPLUS);
    assert_eq!(after(u64::MAX, "readdirplus=yes"), !cap::READDIRPLUS_AUTO);
    assert_eq!(after(u64::MAX, "readdirplus=auto"), u64::MAX);
    assert_eq!(after(u64::MAX, "readdirplus=no,readdirplus=yes"), !cap::READDIRPLUS_AUTO);

    let mut incapable = capable_of(0);
    apply("writeback_cache", &mut incapable);
    assert_eq!((incapable.want, incapable.want_ext), (0, 0));
}

#[test]
fn a_bad_connection_option_is_an_error() {
    let mut command = Command::new(&["p", "-omax_write=x"]);
    let (parsed, log) = logged(|| unsafe { fuse_parse_conn_info_opts(&mut command.args) });
    assert!(parsed.is_null());
    assert_eq!(command.arguments(), ["p", "-omax_write=x"]);
    assert!(log.contains("invalid parameter in option `max_write=x'"), "{log:?}");
}

const OPTIONS: &[&str] = &[
    "max_write=1",
    "max_write=0",
    "max_readahead=2",
    "max_background=3",
    "congestion_threshold=4",
    "time_gran=5",
    "async_read",
    "sync_read",
    "atomic_o_trunc",
    "no_remote_lock",
    "no_remote_flock",
    "no_remote_posix_lock",
    "splice_write",
    "no_splice_write",
    "splice_move",
    "no_splice_move",
    "splice_read",
    "no_splice_read",
    "auto_inval_data",
    "no_auto_inval_data",
    "readdirplus=no",
    "readdirplus=yes",
    "readdirplus=auto",
    "readdirplus=x",
    "async_dio",
    "no_async_dio",
    "writeback_cache",
    "no_writeback_cache",
    "other",
    "max_write=x",
];

#[test]
fn same_results_as_stock() {
    let Some(stock) = load_stock("same_results_as_stock (connection options)") else { return };
    type Parse = unsafe extern "C" fn(*mut Args) -> *mut c_void;
    type Apply = unsafe extern "C" fn(*const c_void, *mut ConnInfo);
    let parse: Parse = stock.function(c"fuse_parse_conn_info_opts", c"FUSE_3.0");
    let apply: Apply = stock.function(c"fuse_apply_conn_info_opts", c"FUSE_3.0");
    // Stock from 3.17 on looks for the session around the connection.
    let mut around = vec![0u64; 1 << 14];
    let inside: *mut ConnInfo = around[1 << 13..].as_mut_ptr().cast();
    let mut random = Random::from_environment();
    let mut failed = 0;
    for round in 0..5000 {
        let options: Vec<_> = (0..random.below(8)).map(|_| *random.pick(OPTIONS)).collect();
        let group = options.join(",");
        let want = u64::from(random.below(1 << 22) as u32);
        let conn = ConnInfo {
            want: want as u32,
            want_ext: want,
            max_write: 77,
            ..capable_of(0xffff_ffff)
        };

        let mut theirs = Command::new(&["p", "-o", &group]);
        let parsed = unsafe { parse(&mut theirs.args) };
        let mut mine = Command::new(&["p", "-o", &group]);
        let (options, _) = logged(|| unsafe { fuse_parse_conn_info_opts(&mut mine.args) });
        assert_eq!(parsed.is_null(), options.is_null(), "round {round}: {group}");
        assert_eq!(mine.arguments(), theirs.arguments(), "round {round}: {group}");
        if parsed.is_null() {
            failed += 1;
            continue;
        }
        let mut applied = conn;
        unsafe {
            inside.write(conn);
            apply(parsed, inside);
            fuse_apply_conn_info_opts(options, &mut applied);
            libc::free(parsed);
            libc::free(options.cast());
            ringfuse::ffi::opt::fuse_opt_free_args(&mut mine.args);
            ringfuse::ffi::opt::fuse_opt_free_args(&mut theirs.args);
        }
        let both = [applied, unsafe { *inside }].map(|c| {
            [
                c.want,
                c.max_write,
                c.max_readahead,
                c.max_background,
                c.congestion_threshold,
                c.time_gran,
            ]
        });
        assert_eq!(both[0], both[1], "round {round}: {group} on {want:#x}");
        assert_eq!(u64::from(applied.want), applied.want_ext);
    }
    assert!(failed > 100, "{failed} failed");
}
