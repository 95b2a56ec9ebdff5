//! The public headers: they compile everywhere without a warning, refer to the
//! names that the library exports, and lay out structures as libfuse 3.18.3 and
//! as our own mirrors of them (`ringfuse::abi::public`) do.
//!
//! `headers/api.c` uses all of the API, `headers/layout.c` tells its layout, on
//! each machine for which there is a compiler (`headers/layout-*.txt`); both are
//! driven by the lists in `headers/*.inc`, which are written from libfuse's ABI
//! and not from our headers. `arch.rs` has the mirrors on other machines.

#[path = "headers/mirrors.rs"]
mod mirrors;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use std::thread;
use support::skip;

/// The versions at which something changes.
const USE_VERSIONS: [u32; 10] = [30, 31, 32, 34, 35, 312, 314, 317, 318, 319];
/// All that there are, which come with less of the combinations.
const ALL_VERSIONS: [u32; 20] =
    [30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 310, 311, 312, 313, 314, 315, 316, 317, 318, 319];
const C: [&str; 3] = ["-std=c99", "-std=gnu11", "-std=c17"];
const CXX: [&str; 2] = ["-std=c++11", "-std=c++17"];
const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-pedantic", "-Werror"];

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/headers").join(name)
}

/// A directory of `test`'s own that does not exist yet.
fn scratch(test: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("headers-{test}"));
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn include_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include")
}

/// A copy of the headers configured as where there are no symbol versions.
fn include_dir_without_versions(scratch: &Path) -> PathBuf {
    let copy = scratch.join("include");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(include_dir()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    let config = copy.join("libfuse_config.h");
    let text = fs::read_to_string(&config).unwrap();
    let define = "#define LIBFUSE_BUILT_WITH_VERSIONED_SYMBOLS 1";
    assert!(text.contains(define), "libfuse_config.h has no line `{define}`");
    fs::write(&config, text.replace(define, "")).unwrap();
    copy
}

/// Runs `command`; `Err` says what was run and what it wrote if that failed.
fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| {
        format!("{:?} cannot be run: {error}; install it", command.get_program())
    })?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

fn compiler(name: &str, include: &Path, use_version: u32) -> Command {
    let mut command = Command::new(name);
    command
        .args(if name.ends_with("++") { ["-x", "c++"] } else { ["-x", "c"] })
        .args(WARNINGS)
        .arg("-D_FILE_OFFSET_BITS=64")
        .arg(format!("-DFUSE_USE_VERSION={use_version}"))
        .arg("-I")
        .arg(include);
    command
}

/// Runs all of `commands`, a few at a time, and fails with what all that failed wrote.
fn run_all(commands: Vec<Command>) {
    let threads = thread::available_parallelism().map_or(2, |n| n.get()).min(8);
    let next = AtomicUsize::new(0);
    let count = commands.len();
    let commands: Vec<_> = commands.into_iter().map(Mutex::new).collect();
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(command) = commands.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(message) = run(&mut command.lock().unwrap()) {
                        failures.lock().unwrap().push(message);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {count} failed:\n{}", failures.len(), failures.join("\n"));
}

/// The compilers to test with: gcc must be there, clang need not.
fn compilers() -> Vec<(&'static str, &'static [&'static str])> {
    let mut compilers: Vec<(&str, &[&str])> = vec![("gcc", &C), ("g++", &CXX)];
    for clang in [("clang", &C[..]), ("clang++", &CXX[..])] {
        match Command::new(clang.0).arg("--version").output() {
            Ok(_) => compilers.push(clang),
            Err(error) => skip(&format!("{} cannot be run: {error}", clang.0)),
        }
    }
    compilers
}

#[test]
fn compile_without_warnings_everywhere() {
    let unversioned = include_dir_without_versions(&scratch("warnings"));
    let mut commands = Vec::new();
    for (name, standards) in compilers() {
        for standard in standards {
            for include in [&include_dir(), &unversioned] {
                let all = standard == standards.last().expect("standards");
                for &version in if all { &ALL_VERSIONS[..] } else { &USE_VERSIONS } {
                    let mut command = compiler(name, include, version);
                    command.args([standard, "-fsyntax-only"]).arg(source("api.c"));
                    commands.push(command);
                }
            }
        }
    }
    run_all(commands);
}

#[test]
fn each_header_stands_alone() {
    let dir = scratch("alone");
    let mut commands = Vec::new();
    for header in [
        "fuse_opt.h",
        "fuse_log.h",
        "libfuse_config.h",
        "ringfuse.h",
        "fuse_daemonize.h",
        "fuse_common.h",
        "fuse_lowlevel.h",
        "fuse.h",
        "cuse_lowlevel.h",
    ] {
        let file = dir.join(format!("{header}.c"));
        fs::write(
            &file,
            format!("#include <{header}>\n#include <{header}>\nint main(void) {{ return 0; }}\n"),
        )
        .unwrap();
        for (name, standard) in [("gcc", "-std=c99"), ("g++", "-std=c++11")] {
            let mut command = compiler(name, &include_dir(), 318);
            if !matches!(header, "fuse_common.h" | "fuse_lowlevel.h" | "fuse.h") {
                command.arg("-UFUSE_USE_VERSION");
            }
            command.args([standard, "-fsyntax-only"]).arg(&file);
            commands.push(command);
        }
    }
    run_all(commands);
}

/// Expects `command` to fail with a message that has `text` in it.
fn expect_error(command: &mut Command, text: &str) {
    match run(command) {
        Ok(_) => panic!("{command:?} succeeds, expected an error with `{text}`"),
        Err(message) => assert!(message.contains(text), "no `{text}` in the error:\n{message}"),
    }
}

#[test]
fn a_missing_or_ancient_use_version_is_refused() {
    for header in ["fuse_common.h", "fuse_lowlevel.h", "fuse.h"] {
        let file = scratch(&format!("version-{header}")).join("test.c");
        fs::write(&file, format!("#include <{header}>\n")).unwrap();
        let gcc = || compiler("gcc", &include_dir(), 29);
        expect_error(gcc().arg("-fsyntax-only").arg(&file), "FUSE_USE_VERSION is below 30");
        expect_error(
            gcc().args(["-UFUSE_USE_VERSION", "-fsyntax-only"]).arg(&file),
            "define FUSE_USE_VERSION",
        );
    }
}

/// The i386 headers of glibc are those of x86_64 but for one file, a list of
/// functions that do nothing; with an empty one they serve to compile.
#[test]
fn an_off_t_of_4_bytes_is_refused() {
    let dir = scratch("off_t");
    fs::create_dir(dir.join("gnu")).unwrap();
    fs::write(dir.join("gnu/stubs-32.h"), "").unwrap();
    let probe = dir.join("probe.c");
    fs::write(
        &probe,
        "#include <fcntl.h>\n#include <stdint.h>\nint main(void) { return sizeof(off_t); }\n",
    )
    .unwrap();
    let file = dir.join("test.c");
    fs::write(&file, "#include <cuse_lowlevel.h>\nint main(void) { return 0; }\n").unwrap();
    let gcc32 = |name: &str| {
        let mut command = compiler(name, &include_dir(), 318);
        command
            .args(["-m32", "-fsyntax-only", "-I"])
            .arg(&dir)
            .args(["-I", "/usr/include/x86_64-linux-gnu"]);
        command
    };
    if let Err(message) = run(gcc32("gcc").arg(&probe)) {
        skip(&format!("gcc -m32 finds no C library here: {message}"));
        return;
    }
    for (name, standard) in [("gcc", "-std=c99"), ("gcc", "-std=c17"), ("g++", "-std=c++11")] {
        run(gcc32(name).arg(standard).arg(&file)).unwrap();
        expect_error(
            gcc32(name).args([standard, "-U_FILE_OFFSET_BITS"]).arg(&file),
            if standard == "-std=c99" {
                "compile_with_D_FILE_OFFSET_BITS_64"
            } else {
                "-D_FILE_OFFSET_BITS=64"
            },
        );
    }
    for version in USE_VERSIONS {
        let redefine = ["-UFUSE_USE_VERSION".to_string(), format!("-DFUSE_USE_VERSION={version}")];
        run(gcc32("gcc").args(redefine).arg(source("api.c"))).unwrap();
    }
}

/// The name in the object file that a source name stands for.
fn linked_name(name: &str, use_version: u32, versioned: bool) -> &str {
    match name {
        "fuse_session_new" | "fuse_session_new_fn" => "fuse_session_new_versioned",
        "fuse_session_custom_io" => "fuse_session_custom_io_317",
        "fuse_main_fn" | "fuse_main_real" => "fuse_main_real_versioned",
        "fuse_new_fn" if use_version == 30 => "_fuse_new_30",
        "fuse_new_fn" => "_fuse_new_31",
        "fuse_loop_mt" if use_version < 32 => "fuse_loop_mt_31",
        "fuse_loop_mt" if use_version < 312 => "fuse_loop_mt_32",
        "fuse_loop_mt" if !versioned => "fuse_loop_mt_312",
        "fuse_session_loop_mt" if use_version < 32 => "fuse_session_loop_mt_31",
        "fuse_session_loop_mt" if use_version < 312 => "fuse_session_loop_mt_32",
        "fuse_session_loop_mt" if !versioned => "fuse_session_loop_mt_312",
        "fuse_parse_cmdline" if !versioned && use_version < 312 => "fuse_parse_cmdline_30",
        "fuse_parse_cmdline" if !versioned => "fuse_parse_cmdline_312",
        name => name,
    }
}

#[test]
fn source_names_stand_for_the_right_symbols() {
    let list = fs::read_to_string(source("functions.inc")).unwrap();
    let names: BTreeSet<&str> = list
        .lines()
        .filter_map(|line| line.strip_prefix("FUNCTION(")?.split(", ").nth(1))
        .collect();
    assert!(names.len() > 95, "only {} functions in functions.inc", names.len());

    // The names a program is linked to by default: those with a `@@`.
    let exports = fs::read_to_string(source("../symbols/so4.txt")).unwrap();
    let exports: BTreeSet<&str> =
        exports.lines().filter_map(|line| Some(line.split_once("@@")?.0)).collect();

    let dir = scratch("symbols");
    let unversioned = include_dir_without_versions(&dir);
    for (name, versions) in [("gcc", &USE_VERSIONS[..]), ("g++", &[318])] {
        for &version in versions {
            for (include, versioned) in [(&include_dir(), true), (&unversioned, false)] {
                let object = dir.join("api.o");
                run(compiler(name, include, version)
                    .args(["-O0", "-c", "-o"])
                    .arg(&object)
                    .arg(source("api.c")))
                .unwrap();
                let nm = run(Command::new("nm").args(["-u", "-j"]).arg(&object)).unwrap();
                let nm = String::from_utf8(nm.stdout).unwrap();
                let found: BTreeSet<&str> =
                    nm.lines().filter(|name| name.contains("use_")).collect();
                let expected: BTreeSet<&str> = names
                    .iter()
                    .filter(|name| version >= 312 || !name.starts_with("fuse_loop_cfg_"))
                    .map(|name| linked_name(name, version, versioned))
                    .collect();
                let case =
                    format!("{name}, FUSE_USE_VERSION {version}, versioned symbols: {versioned}");
                assert_eq!(found, expected, "{case}");
                let missing: Vec<_> = found.difference(&exports).collect();
                assert!(missing.is_empty(), "{case}: libfuse3.so.4 does not export {missing:?}");
            }
        }
    }
}

/// A machine whose layout is known: the prefix of its programs in Debian, and
/// the size of C's `time_t` there if it can be chosen.
struct Machine {
    name: &'static str,
    tools: &'static str,
    time_bits: Option<u32>,
}

const X86_64_TOOLS: &str = if cfg!(target_arch = "x86_64") { "" } else { "x86_64-linux-gnu-" };
const MACHINES: [Machine; 6] = [
    Machine { name: "x86_64", tools: X86_64_TOOLS, time_bits: None },
    Machine { name: "i386", tools: "i686-linux-gnu-", time_bits: Some(32) },
    Machine { name: "armhf", tools: "arm-linux-gnueabihf-", time_bits: Some(32) },
    Machine { name: "armhf-time64", tools: "arm-linux-gnueabihf-", time_bits: Some(64) },
    Machine { name: "aarch64", tools: "aarch64-linux-gnu-", time_bits: None },
    Machine { name: "riscv64", tools: "riscv64-linux-gnu-", time_bits: None },
];

/// What `layout.c` tells: a line's subject ("field fuse_buf.mem"), and the rest.
fn header_layout(test: &str, tools: &str, time_bits: Option<u32>) -> BTreeMap<String, String> {
    let dir = scratch(test);
    let (object, data) = (dir.join("layout.o"), dir.join("layout.data"));
    let mut gcc = compiler(&format!("{tools}gcc"), &include_dir(), 318);
    if let Some(bits) = time_bits {
        gcc.args(["-U_TIME_BITS", &format!("-D_TIME_BITS={bits}")]);
    }
    gcc.args(["-std=gnu11", "-Wno-overflow", "-Wno-missing-field-initializers", "-c", "-o"])
        .arg(&object)
        .arg(source("layout.c"));
    run(&mut gcc).unwrap();
    run(Command::new(format!("{tools}objcopy"))
        .args(["-O", "binary", "-j", "layout"])
        .args([&object, &data]))
    .unwrap();
    fs::read(&data).unwrap().chunks(256).map(layout_line).collect()
}

/// A record of `layout.c`; all machines here are little-endian.
fn layout_line(record: &[u8]) -> (String, String) {
    let number = |at: usize| i64::from_le_bytes(record[at..at + 8].try_into().unwrap());
    let (first, second) = (number(104), number(112));
    let subject: Vec<u8> = record[..96].iter().copied().take_while(|&byte| byte != 0).collect();
    let value = match record[96] {
        0 => format!("size {first} align {second}"),
        1 => format!("at {first} size {second}"),
        2 => {
            let structure = &record[120..120 + first as usize];
            let is_set = |bit: &usize| structure[bit / 8] >> (bit % 8) & 1 != 0;
            let set: Vec<usize> = (0..8 * structure.len()).filter(is_set).collect();
            format!("at {} width {}", set[0], set.len())
        }
        _ => first.to_string(),
    };
    (String::from_utf8(subject).unwrap(), value)
}

fn parse_layout(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .map(|line| {
            let subject_end =
                line.match_indices(' ').nth(1).expect("kind, name and value in each line").0;
            (line[..subject_end].to_string(), line[subject_end + 1..].to_string())
        })
        .collect()
}

#[test]
fn layouts_and_constants_are_those_of_libfuse() {
    for machine in MACHINES {
        let Machine { name, tools, time_bits } = machine;
        if let Err(error) = Command::new(format!("{tools}gcc")).arg("--version").output() {
            skip(&format!("the layout on {name}: {tools}gcc cannot be run: {error}"));
            continue;
        }
        let file = format!("layout-{name}.txt");
        let expected = parse_layout(&fs::read_to_string(source(&file)).unwrap());
        assert!(expected.len() > 250, "only {} lines in {file}", expected.len());
        let actual = header_layout(&format!("layout-{name}"), tools, time_bits);
        assert_eq!(actual, expected, "{name}");
    }
}

#[test]
fn rust_mirrors_the_structures_of_the_headers() {
    let mirrored = mirrors::structures();
    // Every line of a structure that has a mirror, so a field without one is missed.
    let structures: BTreeSet<&str> =
        mirrored.keys().filter_map(|line| line.strip_prefix("struct ")).collect();
    let header: BTreeMap<_, _> = header_layout("mirrors", "", None)
        .into_iter()
        .filter(|(subject, _)| {
            let (kind, name) = subject.split_once(' ').unwrap();
            kind != "constant" && structures.contains(name.split('.').next().unwrap())
        })
        .collect();
    assert_eq!(mirrored, header);
}

#[test]
fn rust_mirrors_the_constants_of_the_headers() {
    let header = header_layout("constants", "", None);
    let capabilities = mirrors::capabilities();
    let in_header = header.keys().filter(|name| name.starts_with("constant FUSE_CAP_")).count();
    assert_eq!(in_header, capabilities.len(), "a capability of the headers is not compared here");
    for (name, value) in
        capabilities.iter().chain(&mirrors::buffer_flags()).chain(&mirrors::directory_flags())
    {
        assert_eq!(header.get(*name), Some(&value.to_string()), "{name}");
    }
}
