//! Programs that are built for the library as their users build them: with meson,
//! autotools, cmake and by hand, in C and C++, for each FUSE_USE_VERSION, with the
//! shared library and with the archive, on glibc and musl. All find it by
//! pkg-config, installed in a directory of its own; all are mounted and used.
//!
//! `consumers/project` is such a project: three filesystems (`note_ll.c` says what they do)
//! and the files of each build system.

mod support;

#[path = "examples/example.rs"]
mod example;
#[path = "consumers/note.rs"]
mod note;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::{panic, thread};

use note::{transports, use_it, PROGRAMS};
use support::machine::checked;
use support::process::run;
use support::{skip, stock, Transport};

/// The versions at which something changes in the API.
const USE_VERSIONS: [u32; 10] = [30, 31, 32, 34, 35, 312, 314, 317, 318, 319];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An empty directory of `test`'s own.
fn scratch(test: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("consumers").join(test);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("mkdir");
    directory
}

/// Runs all of `jobs`, two at a time at least, and fails if any does.
fn in_parallel<T: Sync>(jobs: &[T], job: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let work = || {
        while let Some(one) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = panic::catch_unwind(panic::AssertUnwindSafe(|| job(one)));
            if let Err(cause) = result {
                failure.lock().unwrap().get_or_insert(cause);
            }
        }
    };
    let count = thread::available_parallelism().map_or(2, |n| n.get()).clamp(2, 8);
    thread::scope(|scope| (0..count).for_each(|_| drop(scope.spawn(work))));
    if let Some(cause) = failure.into_inner().unwrap() {
        panic::resume_unwind(cause);
    }
}

/// Why nothing can be built for the library here, if so.
fn impossible() -> Option<&'static str> {
    if stock() {
        Some("the library under test is libfuse")
    } else if checked() {
        Some("the library under test is not the one that is installed")
    } else {
        None
    }
}

/// Configures, builds and installs a tree of ours below `directory`, with the Rust
/// half that is there already unless `options` are about another machine.
fn install(directory: &Path, options: &[&str]) -> PathBuf {
    let (build, prefix) = (directory.join("build"), directory.join("prefix"));
    if !build.join("build.ninja").exists() {
        fs::create_dir_all(&build).expect("mkdir");
        if options.is_empty() {
            symlink(root().join("build/cargo"), build.join("cargo")).expect("a link");
        }
        run(Command::new("meson")
            .args(["setup", "-Dtool=false", "-Dtests=false"])
            .arg(format!("-Dprefix={}", prefix.display()))
            .args(options)
            .args([&build, root()]));
    }
    // Of another machine's half only the work is looked at, not the speed.
    run(Command::new("ninja")
        .arg("-C")
        .arg(&build)
        .envs((!options.is_empty()).then_some(("CARGO_PROFILE_RELEASE_LTO", "off")))
        .envs((!options.is_empty()).then_some(("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"))));
    run(Command::new("meson").args(["install", "--no-rebuild", "--quiet", "-C"]).arg(&build));
    prefix
}

/// Where the library is installed.
fn prefix() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| install(&scratch("installed"), &[]))
}

/// A program of a build, with the environment of a user who has told pkg-config
/// where the library is.
fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig"));
    for variable in ["CC", "CXX", "CPPFLAGS", "CFLAGS", "CXXFLAGS", "LDFLAGS"] {
        command.env_remove(variable);
    }
    command
}

/// A copy of the project, for build systems that write beside the sources.
fn project(into: &Path) -> PathBuf {
    let copy = into.join("project");
    fs::create_dir(&copy).expect("mkdir");
    for file in fs::read_dir(root().join("tests/consumers/project")).expect("the project") {
        let file = file.expect("a file").path();
        fs::copy(&file, copy.join(file.file_name().expect("a name"))).expect("copy");
    }
    copy
}

/// Uses the three programs in `directory`, on each of `transports`.
fn use_all(directory: &Path, library: &Path, versions: [u32; 3], transports: &[Transport]) {
    for &on in transports {
        for ((name, about), version) in PROGRAMS.into_iter().zip(versions) {
            use_it(&directory.join(name), library, about, version, on);
        }
    }
}

/// The versions that the sources have by default.
const DEFAULTS: [u32; 3] = [314, 31, 35];

fn is_linked_to_library(program: &Path) -> bool {
    run(Command::new("readelf").args(["--wide", "--dynamic"]).arg(program))
        .contains("[libfuse3.so.4]")
}

/// What a build system has made: programs that need the shared library, and
/// programs that have all of it in them.
fn check(shared: &Path, static_: &Path) {
    for (name, _) in PROGRAMS {
        assert!(is_linked_to_library(&shared.join(name)), "{name}");
        assert!(!is_linked_to_library(&static_.join(name)), "{name}");
    }
    use_all(shared, &prefix().join("lib/ringfuse"), DEFAULTS, &transports());
    use_all(static_, Path::new("/nonexistent"), DEFAULTS, &transports());
}

/// Whether `programs` are here; what is missing is said.
fn have(programs: &[&str]) -> bool {
    if let Some(reason) = impossible() {
        skip(reason);
        return false;
    }
    let missing = |name: &&&str| Command::new(name).arg("--version").output().is_err();
    match programs.iter().find(missing) {
        Some(name) => skip(&format!("{name} is not installed")),
        None => return true,
    }
    false
}

#[test]
fn built_by_hand() {
    if !have(&["pkg-config", "c++"]) {
        return;
    }
    let scratch = scratch("hand");
    let script = root().join("tests/consumers/project/build.sh");
    let (shared, static_) = (scratch.join("shared"), scratch.join("static"));
    run(tool(script.to_str().unwrap()).arg(&shared));
    run(tool(script.to_str().unwrap()).arg(&static_).arg("--static"));
    check(&shared, &static_);
}

#[test]
fn built_with_meson() {
    if !have(&["meson", "c++"]) {
        return;
    }
    let scratch = scratch("meson");
    let project = project(&scratch);
    let builds = [("shared", "false"), ("static", "true")];
    let [shared, static_] = builds.map(|(name, prefer)| {
        let build = scratch.join(name);
        let prefer = format!("-Dprefer_static={prefer}");
        run(tool("meson").args(["setup", &prefer]).args([&build, &project]));
        run(tool("ninja").arg("-C").arg(&build));
        build
    });
    check(&shared, &static_);
}

#[test]
fn built_with_cmake() {
    if !have(&["cmake", "c++"]) {
        return;
    }
    let scratch = scratch("cmake");
    let project = project(&scratch);
    let [shared, static_] = [("shared", "OFF"), ("static", "ON")].map(|(name, option)| {
        let build = scratch.join(name);
        run(tool("cmake")
            .arg("-S")
            .arg(&project)
            .arg("-B")
            .arg(&build)
            .arg(format!("-DSTATIC={option}")));
        run(tool("cmake").arg("--build").arg(&build));
        build
    });
    check(&shared, &static_);
}

#[test]
fn built_with_autotools() {
    if !have(&["autoreconf", "automake", "make", "c++"]) {
        return;
    }
    let scratch = scratch("autotools");
    let project = project(&scratch);
    run(tool("autoreconf").arg("-i").arg(&project));
    let (shared, static_) = (scratch.join("shared"), scratch.join("static"));
    let builds =
        [(&shared, &[][..]), (&static_, &["PKG_CONFIG=pkg-config --static", "LDFLAGS=-static"])];
    in_parallel(&builds, |(build, options)| {
        fs::create_dir(build).expect("mkdir");
        run(tool(project.join("configure").to_str().unwrap()).args(*options).current_dir(build));
        run(tool("make").current_dir(build));
        // PKG_CHECK_MODULES has found ours, and what configure looks for is in it.
        let log = fs::read_to_string(build.join("config.log")).expect("config.log");
        assert!(log.contains("ac_cv_func_fuse_session_custom_io=yes"), "{log}");
    });
    check(&shared, &static_);
}

/// The headers as where there are no symbol versions.
fn unversioned_headers(into: &Path) -> PathBuf {
    let copy = into.join("include");
    fs::create_dir(&copy).expect("mkdir");
    for file in fs::read_dir(root().join("include")).expect("headers") {
        let file = file.expect("a file").path();
        let text = fs::read_to_string(&file).expect("a header");
        let text = text.replace("#define LIBFUSE_BUILT_WITH_VERSIONED_SYMBOLS 1", "");
        fs::write(copy.join(file.file_name().expect("a name")), text).expect("write");
    }
    copy
}

/// With the shared library, and with the archive and headers that know no symbol
/// versions, so that each form of a name is called under both of its names.
#[test]
fn built_for_each_version() {
    if !have(&["pkg-config", "c++"]) {
        return;
    }
    let scratch = scratch("versions");
    let script = root().join("tests/consumers/project/build.sh");
    let headers = unversioned_headers(&scratch);
    let builds = USE_VERSIONS.map(|version| {
        (version, scratch.join(format!("{version}")), scratch.join(format!("{version}-static")))
    });
    in_parallel(&builds, |(version, shared, static_)| {
        let flags = format!("-DFUSE_USE_VERSION={version}");
        run(tool(script.to_str().unwrap()).arg(shared).env("CPPFLAGS", &flags));
        let flags = format!("-I{} {flags}", headers.display());
        run(tool(script.to_str().unwrap()).arg(static_).arg("--static").env("CPPFLAGS", &flags));
    });
    let on = transports();
    for (version, shared, static_) in builds {
        use_all(&shared, &prefix().join("lib/ringfuse"), [version; 3], &on);
        // How a form is called has nothing to do with the transport.
        use_all(&static_, Path::new("/nonexistent"), [version; 3], &on[..on.len().min(1)]);
    }
}

/// What `pkg-config --static --libs fuse3` says is enough for each of them.
#[test]
fn linked_by_each_compiler_and_linker() {
    if !have(&["pkg-config"]) {
        return;
    }
    let scratch = scratch("linkers");
    let script = root().join("tests/consumers/project/build.sh");
    let mut builds = Vec::new();
    for (cc, cxx) in [("gcc", "g++"), ("clang", "clang++")] {
        for linker in ["bfd", "gold", "lld"] {
            if have(&[cc, cxx, &format!("ld.{linker}")]) {
                builds.push((cc, cxx, linker, scratch.join(format!("{cc}-{linker}"))));
            }
        }
    }
    in_parallel(&builds, |(cc, cxx, linker, directory)| {
        for (name, option) in [("shared", None), ("static", Some("--static"))] {
            let linker = format!("-fuse-ld={linker}");
            run(tool(script.to_str().unwrap()).arg(directory.join(name)).args(option).envs([
                ("CC", *cc),
                ("CXX", cxx),
                ("LDFLAGS", &linker),
            ]));
        }
    });
    let Some(on) = transports().pop() else { return };
    for (.., directory) in builds {
        use_all(&directory.join("shared"), &prefix().join("lib/ringfuse"), DEFAULTS, &[on]);
        use_all(&directory.join("static"), Path::new("/nonexistent"), DEFAULTS, &[on]);
    }
}

/// The cross-build for musl, installed.
fn musl_prefix() -> Result<PathBuf, String> {
    static PREFIX: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PREFIX.get_or_init(build_for_musl).clone()
}

/// The build stays, as its Rust half takes a while.
fn build_for_musl() -> Result<PathBuf, String> {
    const TARGET: &str = "x86_64-unknown-linux-musl";
    if let Some(reason) = impossible() {
        return Err(reason.into());
    }
    if !cfg!(target_arch = "x86_64") || Command::new("musl-gcc").arg("--version").output().is_err()
    {
        return Err("there is no musl-gcc for x86_64 here".into());
    }
    let libraries = run(Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .current_dir(root()));
    if !Path::new(libraries.trim()).exists() {
        return Err(format!("rustc has no standard library for {TARGET} (rustup target add)"));
    }
    let cross = root().join("meson/cross/x86_64-musl.ini");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("musl");
    Ok(install(&directory, &["--cross-file", cross.to_str().expect("UTF-8")]))
}

/// C only: musl-gcc has no C++ library. There are no symbol versions in the headers.
#[test]
fn built_for_musl() {
    let prefix = match musl_prefix() {
        Ok(prefix) => prefix,
        Err(reason) => return skip(&reason),
    };
    let scratch = scratch("musl-programs");
    let mut builds = Vec::new();
    for (name, about) in &PROGRAMS[..2] {
        for version in USE_VERSIONS {
            builds.push((*name, *about, version));
        }
    }
    let program =
        |name: &str, version: u32, option: &str| scratch.join(format!("{name}-{version}{option}"));
    in_parallel(&builds, |(name, _, version)| {
        for option in ["-static", "-pie"] {
            let flags = flags(&prefix, option == "-static");
            run(Command::new("musl-gcc")
                .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-fPIE", option])
                .arg(format!("-DFUSE_USE_VERSION={version}"))
                .arg(root().join(format!("tests/consumers/project/{name}.c")))
                .args(flags.split_whitespace())
                .arg("-o")
                .arg(program(name, *version, option)));
        }
    });
    for on in transports() {
        for (name, about, version) in &builds {
            let [static_, shared] =
                ["-static", "-pie"].map(|option| program(name, *version, option));
            use_it(&static_, Path::new("/nonexistent"), about, *version, on);
            if on == Transport::Dev || *version == 318 {
                use_it(&shared, &prefix.join("lib/ringfuse"), about, *version, on);
            }
        }
    }
}

/// What pkg-config says of the library in `prefix`.
fn flags(prefix: &Path, static_: bool) -> String {
    run(Command::new("pkg-config")
        .args(["--cflags", "--libs", "fuse3"])
        .args(static_.then_some("--static"))
        .env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")))
}

/// What the library finds out about a program (what it imports, what may be scheduled
/// otherwise) it finds out in a static program of musl, too.
#[test]
fn threads_on_musl() {
    let prefix = match musl_prefix() {
        Ok(prefix) => prefix,
        Err(reason) => return skip(&reason),
    };
    let scratch = scratch("musl-engine");
    let sources = root().join("tests/fs");
    // The kernel's headers, of which musl-tools has none.
    let machine = run(Command::new("cc").arg("-print-multiarch"));
    let machine = format!("/usr/include/{}", machine.trim());
    run(Command::new("musl-gcc")
        .args(["-static", "-D_FILE_OFFSET_BITS=64"])
        .args(["-idirafter", "/usr/include", "-idirafter", &machine])
        .args([sources.join("engine_ll.c"), sources.join("serve.c")])
        .args(flags(&prefix, true).split_whitespace())
        .arg("-o")
        .arg(scratch.join("engine_ll")));
    let output = Command::new(root().join("scripts/cargo.sh"))
        .args(["test", "--quiet", "--test", "engine", "--", "cpu_mask_of", "busy_handlers"])
        .env("RINGFUSE_TEST_BUILD", &scratch)
        .env_remove("RINGFUSE_TEST_CALLS")
        .output()
        .expect("cargo");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    for line in errors.lines() {
        if let Some((_, reason)) = line.split_once("skipped: ") {
            skip(&format!("on musl: {reason}"));
        }
    }
}
