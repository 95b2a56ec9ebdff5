//! What the linked libraries look like from outside: their names and versions
//! against the tables in `tests/symbols/`, what they depend on, and what the
//! C half (`capi/`) promises. Reads the build in `build/`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn built(name: &str) -> PathBuf {
    let path = root().join("build").join(name);
    assert!(path.exists(), "{} is missing: run `make build` first", path.display());
    path
}

fn library(soname: u32) -> PathBuf {
    built(&format!("libfuse3.so.{soname}"))
}

fn run(command: &mut Command) -> String {
    let output = command.env("LC_ALL", "C").output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn readelf(what: &[&str], file: &Path) -> String {
    run(Command::new("readelf").arg("--wide").args(what).arg(file))
}

/// A golden table: the exported `name@NODE`s, and each node with its parent.
struct Table {
    names: BTreeSet<String>,
    nodes: BTreeSet<String>,
}

impl Table {
    fn expected(soname: u32) -> Self {
        let path = root().join(format!("tests/symbols/so{soname}.txt"));
        let text = std::fs::read_to_string(path).expect("golden table");
        let mut table = Table { names: BTreeSet::new(), nodes: BTreeSet::new() };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.strip_prefix("node ") {
                Some(node) => table.nodes.insert(node.to_owned()),
                None => table.names.insert(line.to_owned()),
            };
        }
        table
    }

    fn of_library(file: &Path) -> Self {
        let names = readelf(&["--dyn-syms"], file)
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            // number, value, size, type, binding, visibility, section, name
            .filter(|fields| fields.len() == 8 && fields[6].parse::<u32>().is_ok())
            .map(|fields| fields[7].to_owned())
            .collect();
        let mut nodes: Vec<String> = Vec::new();
        let versions = readelf(&["--version-info"], file);
        let definitions = versions
            .lines()
            .skip_while(|line| !line.starts_with("Version definition section"))
            .take_while(|line| !line.is_empty());
        for line in definitions.filter(|line| !line.contains("Flags: BASE")) {
            if let Some((_, name)) = line.split_once("Name: ") {
                nodes.push(name.trim().to_owned());
            } else if let Some((_, parent)) = line.split_once("Parent 1: ") {
                let node = nodes.last_mut().expect("a parent follows its node");
                *node = format!("{node} {}", parent.trim());
            }
        }
        Table { names, nodes: nodes.into_iter().collect() }
    }
}

#[test]
fn exports_are_exactly_those_of_the_releases() {
    for (soname, names) in [(3, 158), (4, 179)] {
        let expected = Table::expected(soname);
        let actual = Table::of_library(&library(soname));
        let own = expected.names.iter().filter(|name| name.ends_with("@@RINGFUSE_0.1")).count();
        assert_eq!(expected.names.len() - own, names, "so{soname}.txt has lost or gained names");
        let missing: Vec<_> = expected.names.difference(&actual.names).collect();
        let too_many: Vec<_> = actual.names.difference(&expected.names).collect();
        assert!(
            missing.is_empty() && too_many.is_empty(),
            "libfuse3.so.{soname}: missing {missing:?}, too many {too_many:?}"
        );
        assert_eq!(actual.nodes, expected.nodes, "libfuse3.so.{soname}: nodes and parents");
    }
}

/// Builds the shared libraries once more, with `compiler` and `linker`.
fn link_with(compiler: &str, linker: &str, option: &str) -> PathBuf {
    let build = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{compiler}-{linker}{option}"));
    let _ = std::fs::remove_dir_all(&build);
    std::fs::create_dir_all(&build).expect("a build directory");
    // The Rust half is the one that is there already.
    std::os::unix::fs::symlink(built("cargo"), build.join("cargo")).expect("a link");
    run(Command::new("meson")
        .args(["setup", "-Dtests=false", option])
        .args([&build, root()])
        .env("CC", compiler)
        .env("CC_LD", linker));
    run(Command::new("ninja").arg("-C").arg(&build).args(["libfuse3.so.3", "libfuse3.so.3.18.3"]));
    build
}

#[test]
fn every_compiler_and_linker_gives_the_same_names() {
    let is_there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    for compiler in ["gcc", "clang"] {
        for linker in ["bfd", "gold", "lld"] {
            if !is_there(compiler) || !is_there(&format!("ld.{linker}")) {
                println!("skipped: {compiler} with ld.{linker}, which is not installed");
                continue;
            }
            let build = link_with(compiler, linker, "-Dfuse319=false");
            for (soname, file) in [(3, "libfuse3.so.3"), (4, "libfuse3.so.3.18.3")] {
                let actual = Table::of_library(&build.join(file));
                let expected = Table::expected(soname);
                assert_eq!(actual.names, expected.names, "{compiler}, {linker}: {file}");
                // lld writes nodes without parents; no dynamic linker looks at those.
                if linker != "lld" {
                    assert_eq!(actual.nodes, expected.nodes, "{compiler}, {linker}: {file}");
                }
            }
        }
    }
}

/// With the option fuse319 the additions of 3.19 are there in both nodes, the new
/// one being the default; without it a program linked to them does not start.
#[test]
fn the_node_of_3_19_is_there_when_asked_for() {
    let build = link_with("gcc", "bfd", "-Dfuse319=true");
    let library = build.join("libfuse3.so.3.18.3");
    let mut expected = Table::expected(4);
    let added: BTreeSet<String> = expected
        .names
        .iter()
        .filter(|name| !name.starts_with("ringfuse_") && name.ends_with("@@RINGFUSE_0.1"))
        .cloned()
        .collect();
    assert!(added.len() >= 13, "{added:?}");
    for name in &added {
        let plain = name.split_once('@').expect("a version").0;
        expected.names.remove(name);
        expected.names.insert(format!("{plain}@RINGFUSE_0.1"));
        expected.names.insert(format!("{plain}@@FUSE_3.19"));
    }
    expected.nodes.insert("FUSE_3.19 FUSE_3.18".to_owned());
    let actual = Table::of_library(&library);
    assert_eq!(actual.names, expected.names);
    assert_eq!(actual.nodes, expected.nodes);
    // Table::of_library(3) is the same as without: that soname ended with 3.16.
    let names: Vec<_> = expected.names.into_iter().collect();
    let output = probe_library(&library, "names", &(names.join("\n") + "\n"), &[]);
    assert_eq!(text(&output.stdout), format!("checked {}\n", names.len()));

    let source = build.join("program.c");
    std::fs::write(
        &source,
        "#define FUSE_USE_VERSION 319\n#include <fuse_daemonize.h>\n\
         int main(void) { return fuse_daemonize_early_is_active(); }\n",
    )
    .expect("a source file");
    let program = build.join("program");
    run(Command::new("cc")
        .args(["-Iinclude", "-o"])
        .args([&program, &source, &library])
        .current_dir(root()));
    std::os::unix::fs::symlink(&library, build.join("libfuse3.so.4")).ok();
    let start = |directory: &Path| {
        Command::new(&program).env("LD_LIBRARY_PATH", directory).output().expect("a program")
    };
    assert!(readelf(&["--version-info"], &program).contains("FUSE_3.19"));
    let output = start(&build);
    assert!(output.status.success(), "{output:?}");
    let output = start(&root().join("build"));
    assert!(text(&output.stderr).contains("version `FUSE_3.19' not found"), "{output:?}");
}

#[test]
fn libraries_depend_on_nothing_but_libc() {
    for soname in [3, 4] {
        let dynamic = readelf(&["--dynamic"], &library(soname));
        let needed = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
        for line in needed {
            assert!(
                ["[libc.so.", "[ld-linux", "[libm.so."].iter().any(|libc| line.contains(libc)),
                "libfuse3.so.{soname}: {line}"
            );
        }
        assert!(dynamic.contains(&format!("soname: [libfuse3.so.{soname}]")), "{dynamic}");
        assert!(dynamic.contains("NODELETE"), "{dynamic}");
    }
}

/// What is built on a newer system serves programs of Debian 12, too.
#[test]
fn libraries_need_no_newer_libc_than_that_of_debian_12() {
    for soname in [3, 4] {
        let symbols = readelf(&["--dyn-syms", "--wide"], &library(soname));
        for name in symbols.split_whitespace().filter(|word| word.contains("@GLIBC_2.")) {
            let version = name.split("@GLIBC_2.").nth(1).and_then(|minor| {
                let digits = minor.split(|c: char| !c.is_ascii_digit()).next();
                digits?.parse::<u32>().ok()
            });
            assert!(version.is_some_and(|minor| minor <= 36), "libfuse3.so.{soname}: {name}");
        }
        assert!(symbols.contains("@GLIBC_2."), "{symbols}");
    }
}

fn compile(name: &str, arguments: &[&str]) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    run(Command::new("cc").args(arguments).arg("-o").arg(&program).current_dir(root()));
    program
}

fn probe(soname: u32, what: &str, input: &str, environment: &[(&str, &str)]) -> Output {
    probe_library(&library(soname), what, input, environment)
}

fn probe_library(library: &Path, what: &str, input: &str, environment: &[(&str, &str)]) -> Output {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let program = compile(
        &format!("probe-{}", NUMBER.fetch_add(1, Ordering::Relaxed)),
        &["-Wall", "-Wextra", "-Werror", "tests/symbols/probe.c", "-ldl"],
    );
    let mut child = Command::new(program)
        .arg(library)
        .arg(what)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the probe starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("the probe reads");
    child.wait_with_output().expect("the probe ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_dynamic_linker_finds_every_version() {
    for soname in [3, 4] {
        let names: Vec<_> = Table::expected(soname).names.into_iter().collect();
        let output = probe(soname, "names", &(names.join("\n") + "\n"), &[]);
        let printed = text(&output.stdout);
        assert!(output.status.success(), "libfuse3.so.{soname}: {printed}{}", text(&output.stderr));
        assert_eq!(printed, format!("checked {}\n", names.len()));
    }
}

#[test]
fn each_library_claims_the_release_of_its_programs() {
    for (soname, claim) in [(3, "314 3.14.0\n"), (4, "318 3.18.3\n")] {
        let output = probe(soname, "version", "", &[]);
        assert_eq!(text(&output.stdout), claim, "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
    }
}

#[test]
fn so_3_can_be_told_the_newer_layout() {
    let with = |layout| probe(3, "version", "", &[("RINGFUSE_SO3_LAYOUT", layout)]);
    assert_eq!(text(&with("3.16").stderr), "");
    assert_eq!(text(&with("3.14").stderr), "");
    let message = text(&with("3.99").stderr);
    assert!(message.contains("RINGFUSE_SO3_LAYOUT=3.99"), "{message}");
}

#[test]
fn messages_go_through_the_programs_log_function() {
    for soname in [3, 4] {
        let output = probe(soname, "log", "", &[]);
        let printed = text(&output.stdout);
        let lines: Vec<_> = printed.lines().collect();
        assert_eq!(lines[0], "6: formatted 42");
        let expected = [
            ("fuse_new()", "= (nil)"),
            ("fuse_session_new()", "= (nil)"),
            ("fuse_session_mount()", "= -1"),
        ];
        assert_eq!(lines.len(), 1 + 2 * expected.len(), "{printed}");
        for ((function, answer), pair) in expected.iter().zip(lines[1..].chunks(2)) {
            assert!(
                pair[0].starts_with(&format!("3: fuse: {function} was called ")),
                "{}",
                pair[0]
            );
            assert_eq!(pair[1], *answer, "{function}");
        }
        assert_eq!(text(&output.stderr), "to stderr\n");
    }
}

#[test]
fn the_archive_has_the_api_and_nothing_else() {
    let archive = built("libfuse3.a");
    let names: BTreeSet<_> =
        run(Command::new("nm").args(["--defined-only", "--extern-only"]).arg(archive))
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2).map(str::to_owned))
            .collect();
    let expected: BTreeSet<_> = Table::expected(4)
        .names
        .iter()
        .filter_map(|name| name.split_once("@@").map(|(name, _)| name.to_owned()))
        .collect();
    assert_eq!(names, expected);
}

#[test]
fn a_static_program_links_and_runs() {
    let program = compile(
        "hello_static",
        &[
            "-static",
            "-D_FILE_OFFSET_BITS=64",
            "-Iinclude",
            "examples-c/hello_ll.c",
            "build/libfuse3.a",
            "-lm",
        ],
    );
    let help = run(Command::new(program).arg("--help"));
    assert!(help.contains("-o allow_other"), "{help}");
}
