//! `fuse_opt.h`: every rule of the parser, and the same results as stock libfuse3.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, missing_docs)]

mod api_support;

use api_support::{arguments, logged, ours, stock, text, Api, Command, Random};
use libc::{c_char, c_int, c_ulong, c_void};
use ringfuse::abi::public::{Args, Opt};
use std::ffi::{CStr, CString};
use std::mem::offset_of;
use std::ptr::null_mut;

const KEY: c_ulong = u32::MAX as c_ulong;
const KEY_OPT: c_int = -1;
const KEY_NONOPT: c_int = -2;
const KEY_KEEP: c_int = -3;
const KEY_DISCARD: c_int = -4;

/// Where options are stored, and what the callback saw.
#[repr(C)]
struct Data {
    int: c_int,
    other: c_int,
    long: c_ulong,
    double: f64,
    string: *mut c_char,
    api: Api,
    calls: Vec<(c_int, String)>,
    /// What the callback answers, by the argument.
    answer: fn(&[u8], c_int) -> Answer,
}

enum Answer {
    Abort,
    Drop,
    Keep,
    /// Drops the argument and adds `added`.
    Replace,
}

unsafe extern "C" fn callback(
    data: *mut c_void,
    arg: *const c_char,
    key: c_int,
    out: *mut Args,
) -> c_int {
    let data = unsafe { &mut *data.cast::<Data>() };
    let argument = unsafe { CStr::from_ptr(arg) };
    data.calls.push((key, argument.to_bytes().escape_ascii().to_string()));
    match (data.answer)(argument.to_bytes(), key) {
        Answer::Abort => -1,
        Answer::Drop => 0,
        Answer::Keep => 1,
        Answer::Replace => {
            assert_eq!(unsafe { (data.api.add_arg)(out, c"added".as_ptr()) }, 0);
            0
        }
    }
}

/// A table in C's form.
struct Table(Vec<Opt>, #[allow(dead_code)] Vec<CString>);

impl Table {
    fn new(rows: &[(&str, c_ulong, c_int)]) -> Self {
        let texts: Vec<_> = rows.iter().map(|row| CString::new(row.0).unwrap()).collect();
        let row = |(text, row): (&CString, &(&str, c_ulong, c_int))| Opt {
            templ: text.as_ptr(),
            offset: row.1,
            value: row.2,
        };
        let mut table: Vec<_> = texts.iter().zip(rows).map(row).collect();
        table.push(Opt { templ: std::ptr::null(), offset: 0, value: 0 });
        Self(table, texts)
    }
}

/// Everything that a call to `fuse_opt_parse` leaves behind.
#[derive(PartialEq, Debug)]
struct Outcome {
    result: c_int,
    arguments: Vec<String>,
    allocated: c_int,
    int: c_int,
    other: c_int,
    long: c_ulong,
    double: u64,
    string: Option<String>,
    calls: Vec<(c_int, String)>,
}

const INT: c_ulong = offset_of!(Data, int) as c_ulong;
const OTHER: c_ulong = offset_of!(Data, other) as c_ulong;
const LONG: c_ulong = offset_of!(Data, long) as c_ulong;
const DOUBLE: c_ulong = offset_of!(Data, double) as c_ulong;
const STRING: c_ulong = offset_of!(Data, string) as c_ulong;

fn run_with<S: AsRef<[u8]>>(
    api: Api,
    command: &[S],
    rows: &[(&str, c_ulong, c_int)],
    answer: Option<fn(&[u8], c_int) -> Answer>,
) -> Outcome {
    let mut command = Command::new(command);
    let table = Table::new(rows);
    let mut data = Data {
        int: -7,
        other: -7,
        long: 7,
        double: 0.5,
        string: unsafe { libc::strdup(c"before".as_ptr()) },
        api,
        calls: Vec::new(),
        answer: answer.unwrap_or(|_, _| Answer::Keep),
    };
    let callback = answer.map(|_| callback as ringfuse::abi::public::OptProc);
    let pointer: *mut Data = &mut data;
    let result =
        unsafe { (api.parse)(&mut command.args, pointer.cast(), table.0.as_ptr(), callback) };
    let outcome = Outcome {
        result,
        arguments: command.arguments(),
        allocated: command.args.allocated,
        int: data.int,
        other: data.other,
        long: data.long,
        double: data.double.to_bits(),
        string: unsafe { text(data.string) },
        calls: data.calls,
    };
    unsafe {
        libc::free(data.string.cast());
        (api.free_args)(&mut command.args);
    }
    assert_eq!((command.args.argc, command.args.allocated), (0, 0));
    outcome
}

fn run(command: &[&str], rows: &[(&str, c_ulong, c_int)]) -> Outcome {
    run_with(ours(), command, rows, Some(|_, _| Answer::Keep))
}

fn calls(outcome: &Outcome) -> Vec<(c_int, &str)> {
    outcome.calls.iter().map(|(key, argument)| (*key, argument.as_str())).collect()
}

#[test]
fn plain_templates_match_exactly() {
    let rows = [("abc", INT, 1), ("-x", OTHER, 2), ("--long", INT, 3)];
    let outcome = run(&["prog", "-o", "abc,abcd", "-x", "-xy", "--longer"], &rows);
    assert_eq!((outcome.result, outcome.allocated, outcome.int, outcome.other), (0, 1, 1, 2));
    assert_eq!(outcome.arguments, ["prog", "-o", "abcd", "-xy", "--longer"]);
    assert_eq!(run(&["prog", "--long"], &rows).int, 3);
}

#[test]
fn values_are_converted() {
    let rows = [
        ("num=%u", INT, 0),
        ("-n %d", OTHER, 0),
        ("long=%lu", LONG, 0),
        ("dbl=%lf", DOUBLE, 0),
        ("str=%s", STRING, 0),
    ];
    let outcome = run(&["prog", "-o", "num=5,long=99,dbl=2.5,str=a=b", "-n-3"], &rows);
    assert_eq!((outcome.int, outcome.other, outcome.long), (5, -3, 99));
    assert_eq!(outcome.double, 2.5f64.to_bits());
    assert_eq!(outcome.string.as_deref(), Some("a=b"));
    assert_eq!(outcome.arguments, ["prog"]);
    // What is behind a number, and blanks before it, do not matter.
    assert_eq!(run(&["prog", "-onum= 6x"], &rows).int, 6);
}

#[test]
fn a_malformed_number_fails_and_changes_no_argument() {
    let (outcome, log) = logged(|| run(&["prog", "-o", "num=x", "y"], &[("num=%u", INT, 0)]));
    assert_eq!((outcome.result, outcome.allocated), (-1, 0));
    assert_eq!(outcome.arguments, ["prog", "-o", "num=x", "y"]);
    assert!(log.contains("invalid parameter in option") && log.contains("num=x"), "{log:?}");
}

#[test]
fn a_separator_without_conversion_stores_the_value() {
    let outcome = run(&["prog", "-onum=5,num="], &[("num=", INT, 9)]);
    assert_eq!((outcome.int, outcome.arguments), (9, vec!["prog".to_string()]));
    let outcome = run(&["prog", "-onum=5"], &[("num=", KEY, 9)]);
    assert_eq!(calls(&outcome), [(9, "num=5")]);
}

#[test]
fn an_option_may_be_two_arguments() {
    for template in ["-n ", "-n %s"] {
        let rows = [(template, KEY, 4)];
        let outcome = run(&["prog", "-n", "VAL", "-nX"], &rows);
        assert_eq!(calls(&outcome), [(4, "-nVAL"), (4, "-nX")]);
        let (outcome, log) = logged(|| run(&["prog", "-n"], &rows));
        assert_eq!(outcome.result, -1);
        assert!(log.contains("missing argument after `-n'"), "{log:?}");
    }
    assert_eq!(run(&["prog", "-n", "VAL"], &[("-n %s", STRING, 0)]).string.as_deref(), Some("VAL"));
    let (outcome, log) = logged(|| run(&["prog", "-o"], &[]));
    assert_eq!(outcome.result, -1);
    assert!(log.contains("missing argument after `-o'"), "{log:?}");
}

#[test]
fn separators_elsewhere_are_text() {
    let rows = [("a=b", INT, 1), ("-c d", OTHER, 2)];
    let outcome = run(&["prog", "-oa=b,a=c", "-c d", "-cd"], &rows);
    assert_eq!((outcome.int, outcome.other), (1, 2));
    assert_eq!(outcome.arguments, ["prog", "-o", "a=c", "-cd"]);
}

#[test]
fn all_matching_rows_count_in_order() {
    let rows = [("x=", KEY, 1), ("x=%u", INT, 0), ("x=5", KEY, 2), ("x=", KEY, KEY_DISCARD)];
    let outcome = run(&["prog", "-ox=5"], &rows);
    assert_eq!(calls(&outcome), [(1, "x=5"), (2, "x=5")]);
    assert_eq!(outcome.int, 5);
    assert_eq!(outcome.arguments, ["prog", "-o", "x=5,x=5"]);
}

#[test]
fn the_callback_decides() {
    fn answer(argument: &[u8], _: c_int) -> Answer {
        match argument {
            b"abort" => Answer::Abort,
            b"drop" => Answer::Drop,
            b"replace" => Answer::Replace,
            _ => Answer::Keep,
        }
    }
    let run = |command: &[&str]| run_with(ours(), command, &[], Some(answer));
    let outcome = run(&["prog", "keep", "drop", "-odrop,keep", "replace", "-z"]);
    assert_eq!(outcome.arguments, ["prog", "-o", "keep", "keep", "added", "-z"]);
    assert_eq!(
        calls(&outcome),
        [
            (KEY_NONOPT, "keep"),
            (KEY_NONOPT, "drop"),
            (KEY_OPT, "drop"),
            (KEY_OPT, "keep"),
            (KEY_NONOPT, "replace"),
            (KEY_OPT, "-z")
        ]
    );
    let outcome = run(&["prog", "keep", "abort", "never"]);
    assert_eq!((outcome.result, outcome.calls.len()), (-1, 2));
    assert_eq!(outcome.arguments, ["prog", "keep", "abort", "never"]);
}

#[test]
fn without_callback_everything_unknown_stays() {
    let rows = [("known", INT, 1), ("keyed", KEY, 2)];
    let outcome = run_with(ours(), &["prog", "-oknown,keyed,other", "x", "-y"], &rows, None);
    assert_eq!(outcome.arguments, ["prog", "-o", "keyed,other", "x", "-y"]);
}

#[test]
fn keep_and_discard_do_not_ask() {
    let outcome = run(&["prog", "-ok,d"], &[("k", KEY, KEY_KEEP), ("d", KEY, KEY_DISCARD)]);
    assert_eq!(outcome.arguments, ["prog", "-o", "k"]);
    assert_eq!(calls(&outcome), []);
}

#[test]
fn groups_are_unescaped_and_escaped() {
    let outcome = run(&["prog", r"-oa\,b,c\\d,\101\x,,e\"], &[]);
    let seen: Vec<_> =
        calls(&outcome).into_iter().map(|(_, argument)| argument.to_string()).collect();
    assert_eq!(seen, ["a,b", r"c\\d", "Ax", "", r"e\\"]); // as escape_ascii writes them
    assert_eq!(outcome.arguments[2], r"a\,b,c\\d,Ax,,e\\".escape_default().to_string());
}

#[test]
fn three_octal_digits_are_a_byte() {
    let outcome = run(&["prog", r"-o\041,\377,\400,\08,\1"], &[]);
    let seen: Vec<_> =
        calls(&outcome).into_iter().map(|(_, argument)| argument.to_string()).collect();
    assert_eq!(seen, ["!", r"\xff", "400", "08", "1"]);
}

#[test]
fn kept_groups_become_one_in_front() {
    let outcome = run(&["prog", "first", "-oa", "-z", "-o", "b,c", "last"], &[]);
    assert_eq!(outcome.arguments, ["prog", "-o", "a,b,c", "first", "-z", "last"]);
}

#[test]
fn dashes() {
    let outcome = run(&["prog", "-", "--", "-a", "--", "-o", "b"], &[]);
    assert_eq!(outcome.arguments, ["prog", "-", "--", "-a", "--", "-o", "b"]);
    assert_eq!(
        calls(&outcome),
        [
            (KEY_OPT, "-"),
            (KEY_NONOPT, "-a"),
            (KEY_NONOPT, "--"),
            (KEY_NONOPT, "-o"),
            (KEY_NONOPT, "b")
        ]
    );
    assert_eq!(run(&["prog", "a", "--"], &[]).arguments, ["prog", "a"]);
}

#[test]
fn nothing_to_parse() {
    unsafe {
        assert_eq!(ffi_parse(null_mut()), 0);
        let mut args = Args { argc: 0, argv: null_mut(), allocated: 0 };
        assert_eq!(ffi_parse(&mut args), 0);
        assert_eq!((args.argc, args.allocated), (0, 0));
        let mut args = Args { argc: 3, argv: null_mut(), allocated: 0 };
        assert_eq!(ffi_parse(&mut args), 0);
        let mut command = Command::new(&["prog", "-x"]);
        assert_eq!(ffi_parse(&mut command.args), 0);
        assert_eq!((command.arguments().len(), command.args.allocated), (2, 1));
        (ours().free_args)(&mut command.args);
    }
}

unsafe fn ffi_parse(args: *mut Args) -> c_int {
    unsafe { (ours().parse)(args, null_mut(), std::ptr::null(), None) }
}

#[test]
fn vectors_grow() {
    let api = ours();
    unsafe {
        let mut args = Args { argc: 0, argv: null_mut(), allocated: 0 };
        assert_eq!((api.add_arg)(&mut args, c"b".as_ptr()), 0);
        assert_eq!((api.add_arg)(&mut args, c"d".as_ptr()), 0);
        assert_eq!((api.insert_arg)(&mut args, 0, c"a".as_ptr()), 0);
        assert_eq!((api.insert_arg)(&mut args, 2, c"c".as_ptr()), 0);
        assert_eq!((api.insert_arg)(&mut args, 4, c"e".as_ptr()), 0);
        assert_eq!(
            (arguments(&args), args.allocated),
            (["a", "b", "c", "d", "e"].map(String::from).to_vec(), 1)
        );
        let (result, log) = logged(|| (api.insert_arg)(&mut args, 6, c"x".as_ptr()));
        assert_eq!(result, -1);
        assert!(log.contains("cannot insert argument \"x\" at 6"), "{log:?}");
        assert_eq!((api.insert_arg)(&mut args, -1, c"x".as_ptr()), -1);
        assert_eq!(arguments(&args).len(), 5);
        (api.free_args)(&mut args);
        assert_eq!((args.argc, args.argv, args.allocated), (0, null_mut(), 0));
        (api.free_args)(null_mut());
    }
}

#[test]
fn a_vector_of_the_program_cannot_grow() {
    let mut command = Command::new(&["prog"]);
    let (result, log) = logged(|| unsafe { (ours().add_arg)(&mut command.args, c"x".as_ptr()) });
    assert_eq!((result, command.arguments()), (-1, vec!["prog".to_string()]));
    assert!(log.contains("cannot add argument \"x\""), "{log:?}");
    unsafe { (ours().free_args)(&mut command.args) };
    assert_eq!((command.args.argc, command.args.argv), (0, null_mut()));
}

#[test]
fn groups_are_joined() {
    let api = ours();
    unsafe {
        let mut group = null_mut();
        assert_eq!((api.add_opt)(&mut group, c"a,b\\".as_ptr()), 0);
        assert_eq!((api.add_opt_escaped)(&mut group, c"c,d\\".as_ptr()), 0);
        assert_eq!((api.add_opt)(&mut group, c"".as_ptr()), 0);
        assert_eq!(CStr::from_ptr(group), c"a,b\\,c\\,d\\\\,");
        libc::free(group.cast());
        let mut group = null_mut();
        assert_eq!((api.add_opt_escaped)(&mut group, c"".as_ptr()), 0);
        assert_eq!(CStr::from_ptr(group), c"");
        libc::free(group.cast());
    }
}

#[test]
fn matching_follows_the_same_rules() {
    let table = Table::new(&[("abc", 0, 0), ("num=%u", 0, 0), ("-n ", 0, 0), ("a=b", 0, 0)]);
    let matches =
        |argument: &CStr| unsafe { (ours().matches)(table.0.as_ptr(), argument.as_ptr()) };
    for argument in [c"abc", c"num=", c"num=x", c"-n", c"-nx", c"a=b"] {
        assert_eq!(matches(argument), 1, "{argument:?}");
    }
    for argument in [c"abcd", c"ab", c"num", c"-", c"a=", c"a=c", c""] {
        assert_eq!(matches(argument), 0, "{argument:?}");
    }
}

/// Templates with the field that their conversion fits.
const TEMPLATES: &[(&str, c_ulong)] = &[
    ("abc", INT),
    ("abc", OTHER),
    ("-x", INT),
    ("x", OTHER),
    ("--long", INT),
    ("--long=%s", STRING),
    ("num=%u", INT),
    ("num=", OTHER),
    ("num=%i", OTHER),
    ("num=5", OTHER),
    ("hex=%x", INT),
    ("oct=%o", INT),
    ("ch=%c", INT),
    ("long=%lu", LONG),
    ("dbl=%lf", DOUBLE),
    ("str=%s", STRING),
    ("str=%sfoo", STRING),
    ("-n %s", STRING),
    ("-n ", OTHER),
    ("-n", INT),
    ("-N %u", INT),
    ("-N=%u", INT),
    ("-m ", INT),
    ("-m x", INT),
    ("a=b=%u", INT),
    ("a=b", INT),
    ("-e f=%s", STRING),
    ("=%u", INT),
    (" %u", INT),
    ("=", INT),
    ("", INT),
    ("-", INT),
    ("--", INT),
    ("-o", INT),
    ("oo %u", INT),
];

const PIECES: &[&str] = &[
    "abc",
    "-x",
    "x",
    "--long",
    "--long=",
    "num=",
    "hex=",
    "oct=",
    "ch=",
    "long=",
    "dbl=",
    "str=",
    "-n",
    "-N",
    "-m",
    "a=b",
    "-e",
    "=",
    "5",
    "6x",
    " 7",
    "-3",
    "08",
    "0x1f",
    "1e3",
    "99999999999999999999",
    "",
    "-",
    "--",
    "-o",
    "oo",
    ",",
    ",,",
    "\\",
    "\\,",
    "\\\\",
    "\\101",
    "\\08",
    "\\400",
    "\\000",
    "\\7",
    "word",
    "a b",
    "\u{fc}",
];

fn answer_by_content(argument: &[u8], key: c_int) -> Answer {
    let sum = argument
        .iter()
        .fold(key as u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    match sum % 23 {
        0 => Answer::Abort,
        1..=7 => Answer::Drop,
        8..=9 => Answer::Replace,
        _ => Answer::Keep,
    }
}

#[test]
fn same_results_as_stock() {
    let Some(stock) = stock("same_results_as_stock (options)") else { return };
    let mut random = Random::from_environment();
    let (mut succeeded, mut failed) = (0, 0);
    for round in 0..40_000 {
        let rows: Vec<_> = (0..random.below(8))
            .map(|_| {
                let &(text, field) = random.pick(TEMPLATES);
                let keyed = random.below(3) == 0;
                let value = *random.pick(&[0, 1, 42, 7, KEY_KEEP, KEY_DISCARD]);
                (text, if keyed { KEY } else { field }, value)
            })
            .collect();
        let mut command = vec!["prog".to_string()];
        for _ in 0..random.below(6) {
            let prefix = *random.pick(&["", "", "", "-o", "-o"]);
            let pieces = (0..random.below(4)).map(|_| *random.pick(PIECES)).collect::<String>();
            command.push(format!("{prefix}{pieces}"));
        }
        let answer =
            (random.below(4) > 0).then_some(answer_by_content as fn(&[u8], c_int) -> Answer);
        let (mine, _) = logged(|| run_with(ours(), &command, &rows, answer));
        let theirs = run_with(stock, &command, &rows, answer);
        assert_eq!(mine, theirs, "round {round}: {command:?} with {rows:?}");
        let table = Table::new(&rows);
        for argument in &command {
            let argument = CString::new(argument.as_str()).unwrap();
            let matches = |api: Api| unsafe { (api.matches)(table.0.as_ptr(), argument.as_ptr()) };
            assert_eq!(
                matches(ours()),
                matches(stock),
                "round {round}: {argument:?} with {rows:?}"
            );
        }
        *if mine.result == 0 { &mut succeeded } else { &mut failed } += 1;
    }
    assert!(succeeded > 1000 && failed > 1000, "{succeeded} succeeded, {failed} failed");
}

#[test]
fn same_groups_and_vectors_as_stock() {
    let Some(stock) = stock("same_groups_and_vectors_as_stock") else { return };
    let mut random = Random::from_environment();
    for _ in 0..2000 {
        let words: Vec<_> = (0..1 + random.below(5))
            .map(|_| {
                (random.below(2), random.below(4), CString::new(*random.pick(PIECES)).unwrap())
            })
            .collect();
        let build = |api: Api| unsafe {
            let mut group = null_mut();
            let mut args = Args { argc: 0, argv: null_mut(), allocated: 0 };
            for (escaped, position, word) in &words {
                let add = if *escaped == 1 { api.add_opt_escaped } else { api.add_opt };
                assert_eq!(add(&mut group, word.as_ptr()), 0);
                let position = (*position as c_int).min(args.argc);
                assert_eq!((api.insert_arg)(&mut args, position, word.as_ptr()), 0);
            }
            let built = (text(group), arguments(&args));
            libc::free(group.cast());
            (api.free_args)(&mut args);
            built
        };
        assert_eq!(build(ours()), build(stock), "{words:?}");
    }
}
