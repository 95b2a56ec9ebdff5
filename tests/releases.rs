//! libfuse's releases, as Debian packages them: what a program sees of their headers
//! and of ours, and programs that were compiled and linked with each of them, on our
//! libraries. `scripts/releases.sh` fetches the packages; without network only the
//! release that this system has installed is looked at.

mod support;

#[path = "releases/dump.rs"]
mod dump;
#[path = "examples/example.rs"]
mod example;
#[allow(dead_code)] // the constants are for headers.rs
#[path = "headers/mirrors.rs"]
mod mirrors;
#[path = "consumers/note.rs"]
mod note;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use dump::Lines;
use ringfuse::abi::high::ConfigV311;
use ringfuse::abi::public::{Buf, Layout};
use support::machine::checked;
use support::process::run;
use support::{skip, stock};

/// The versions at which something changes in the API.
const USE_VERSIONS: [u32; 9] = [30, 31, 32, 34, 35, 312, 314, 317, 318];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn scratch(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("releases").join(name);
    fs::create_dir_all(&directory).expect("mkdir");
    directory
}

/// A release that programs can be compiled and linked with.
#[derive(Debug)]
struct Release {
    /// "3.17" of 3.17.2.
    series: String,
    /// As FUSE_USE_VERSION: 317.
    number: u32,
    include: PathBuf,
    library: PathBuf,
}

/// The only file below `directory` for which `is_it` is true.
fn find(directory: &Path, is_it: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
    fs::read_dir(directory).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            return find(&path, is_it);
        }
        is_it(path.file_name()?.to_str()?).then_some(path)
    })
}

impl Release {
    /// The release whose packages have been unpacked in `root`.
    fn unpacked(root: &Path) -> Release {
        let named = |wanted: &'static str| find(root, &move |name| name == wanted);
        let pc = fs::read_to_string(named("fuse3.pc").expect("fuse3.pc")).expect("text");
        let version = pc.lines().find_map(|line| line.strip_prefix("Version:")).expect("a version");
        let numbers: Vec<u32> = version.trim().split('.').map_while(|n| n.parse().ok()).collect();
        let library = find(root, &|name| name == "libfuse3.so.3" || name == "libfuse3.so.4");
        Release {
            series: format!("{}.{}", numbers[0], numbers[1]),
            number: 100 * numbers[0] + numbers[1],
            include: named("fuse_common.h").expect("headers").parent().expect("fuse3").into(),
            library: library.expect("the library"),
        }
    }

    /// That of the system, if it has libfuse's headers.
    fn installed() -> Option<Release> {
        let ask = |what: &str| {
            let output = Command::new("pkg-config").args([what, "fuse3"]).output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            output.status.success().then(|| text.trim().to_owned())
        };
        let version = ask("--modversion")?;
        let numbers: Vec<u32> = version.split('.').map_while(|n| n.parse().ok()).collect();
        let include = PathBuf::from(ask("--variable=includedir")?).join("fuse3");
        let library = PathBuf::from(ask("--variable=libdir")?).join("libfuse3.so");
        let is_ours = include.join("ringfuse.h").exists();
        (!is_ours && numbers.len() > 1 && include.join("fuse.h").exists()).then(|| Release {
            series: format!("{}.{}", numbers[0], numbers[1]),
            number: 100 * numbers[0] + numbers[1],
            include,
            library,
        })
    }

    /// The versions that programs for this release may have been written for.
    fn use_versions(&self) -> impl Iterator<Item = u32> + '_ {
        USE_VERSIONS.into_iter().filter(|&version| version <= self.number)
    }
}

/// The releases that are here; what cannot be had is said.
fn releases() -> &'static [Release] {
    static RELEASES: OnceLock<Vec<Release>> = OnceLock::new();
    RELEASES.get_or_init(|| {
        let output = Command::new(root().join("scripts/releases.sh")).output().expect("bash");
        if !output.status.success() {
            skip(&format!(
                "releases of libfuse: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
        let unpacked = fs::read_dir(root().join("build/releases")).into_iter().flatten().flatten();
        let complete =
            unpacked.map(|entry| entry.path()).filter(|path| path.join("complete").exists());
        let mut releases: Vec<_> = complete.map(|path| Release::unpacked(&path)).collect();
        let is_new = |new: &Release| releases.iter().all(|old| old.series != new.series);
        let installed = Release::installed().filter(is_new);
        releases.extend(installed);
        releases.sort_by_key(|release| release.number);
        releases
    })
}

/// What only one of the two has, or has otherwise: `-` is `theirs`, `+` is `ours`.
fn difference(theirs: &Lines, ours: &Lines) -> Vec<String> {
    let mut lines = Vec::new();
    for subject in theirs.keys().chain(ours.keys().filter(|subject| !theirs.contains_key(*subject)))
    {
        let (old, new) = (theirs.get(subject), ours.get(subject));
        if old != new {
            lines.extend(old.map(|value| format!("- {subject}: {value}")));
            lines.extend(new.map(|value| format!("+ {subject}: {value}")));
        }
    }
    lines
}

#[test]
fn headers_differ_as_is_written_down() {
    for release in releases() {
        let mut versions_of: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for version in release.use_versions() {
            let dump = |name: &str, include: &Path| {
                let directory = scratch(&format!("{}-{name}-{version}", release.series));
                dump::headers(include, version, &directory)
            };
            let (theirs, ours) =
                (dump("theirs", &release.include), dump("ours", &root().join("include")));
            assert!(theirs.len() > 400, "{}: only {} lines", release.series, theirs.len());
            for line in difference(&theirs, &ours) {
                versions_of.entry(line).or_default().push(version);
            }
        }
        let all: Vec<_> = release.use_versions().collect();
        let found: Vec<_> = versions_of
            .into_iter()
            .map(|(line, versions)| match versions == all {
                true => line,
                false => format!("{line} {versions:?}"),
            })
            .collect();
        let file = root().join(format!("tests/releases/{}.txt", release.series));
        let common = fs::read_to_string(file.with_file_name("common.txt")).expect("text");
        let Ok(text) = fs::read_to_string(&file) else {
            skip(&format!("nothing is written down about libfuse {}", release.series));
            continue;
        };
        let expected: Vec<_> = common
            .lines()
            .chain(text.lines())
            .filter(|line| line.starts_with(['-', '+']))
            .map(str::to_owned)
            .collect();
        let new: Vec<_> = found.iter().filter(|line| !expected.contains(line)).collect();
        let gone: Vec<_> = expected.iter().filter(|line| !found.contains(line)).collect();
        assert!(
            new.is_empty() && gone.is_empty(),
            "{} does not say: {new:#?}\nand says what is not so: {gone:#?}",
            file.display()
        );
    }
}

/// Each field of a release's structures is where the library looks for it: of 3.14 in
/// libfuse3.so.3, of later ones in libfuse3.so.4. `headers.rs` compares the mirrors with
/// our own headers.
#[test]
fn the_library_has_the_structures_of_each_release() {
    for release in releases() {
        let scratch = scratch(&format!("{}-mirrors", release.series));
        let theirs = dump::headers(&release.include, 312, &scratch);
        let so3 = release.number < 317;
        let mirrors = mirrors::structures();
        let mut count = 0;
        for (subject, place) in &theirs {
            let Some((structure, field)) =
                subject.strip_prefix("field ").and_then(|field| field.split_once('.'))
            else {
                continue;
            };
            let place: Vec<_> = place.split([' ', ':']).collect();
            let (at, width): (usize, usize) =
                (place[1].parse().unwrap(), place[3].parse().unwrap());
            // Room for what came later.
            let unused = ["padding", "padding2", "padding3", "reserved"].contains(&field);
            if unused {
                continue;
            }
            let bits = format!("bits {structure}.{field}");
            let (mirror, expected) = match mirrors.get(&bits) {
                Some(mirror) => (Some(mirror.clone()), format!("at {at} width {width}")),
                None => {
                    let subject = format!("field {structure}.{field}");
                    let mirror = match structure {
                        "fuse_config" if so3 => config_of_so3(field),
                        _ => mirrors.get(&subject).cloned(),
                    };
                    (mirror, format!("at {} size {}", at / 8, width / 8))
                }
            };
            // A vector of one buffer, which has grown.
            if so3 && subject == "field fuse_bufvec.buf" {
                assert_eq!(expected, format!("at 24 size {}", size_before_mem_size()));
                continue;
            }
            assert_eq!(mirror.as_ref(), Some(&expected), "{subject} of {}", release.series);
            count += 1;
        }
        for (name, mask) in mirrors::file_bits(if so3 { Layout::V310 } else { Layout::V317 }) {
            let place = format!("at {} width 1: unsigned int", 32 + mask.trailing_zeros());
            let theirs = theirs.get(&format!("field fuse_file_info.{name}"));
            assert!(
                theirs.is_none_or(|theirs| *theirs == place),
                "{name} of {}: {theirs:?}",
                release.series
            );
        }
        assert!(count > 190, "{}: only {count} fields", release.series);
    }
}

/// A buffer of a vector up to 3.16.
fn size_before_mem_size() -> usize {
    memoffset::offset_of!(Buf, mem_size)
}

/// As `mirrors::structures()`, for `struct fuse_config` of 3.11 to 3.14.0.
fn config_of_so3(field: &str) -> Option<String> {
    macro_rules! fields {
        ($($name:ident),*) => {
            [$((stringify!($name), memoffset::span_of!(ConfigV311, $name))),*]
        };
    }
    let all = fields![
        set_gid,
        gid,
        set_uid,
        uid,
        set_mode,
        umask,
        entry_timeout,
        negative_timeout,
        attr_timeout,
        intr,
        intr_signal,
        remember,
        hard_remove,
        use_ino,
        readdir_ino,
        direct_io,
        kernel_cache,
        auto_cache,
        no_rofd_flush,
        ac_attr_timeout_set,
        ac_attr_timeout,
        nullpath_ok,
        show_help,
        modules,
        debug
    ];
    let (_, span) = all.into_iter().find(|(name, _)| *name == field)?;
    Some(format!("at {} size {}", span.start, span.len()))
}

/// Tests of what only a later release than a program's lets it have: an operation, a
/// setting, a table of that size.
const SINCE: [(&str, u32); 6] = [
    ("tmpfile", 317),
    ("direct_io_writes_may_run_together", 317),
    ("statx_with_birth_time", 318),
    ("statx_is_asked_for_what_getattr_lacks", 318),
    ("every_operation_goes_through", 318),
    ("tables_of_every_size", 318),
];

/// Compiles `sources` with the headers of `release` and links them to its library, for a
/// program that runs on ours.
fn compile(release: &Release, output: &Path, sources: &[PathBuf], version: u32, options: &[&str]) {
    let is_cpp = sources[0].extension().is_some_and(|extension| extension == "cpp");
    run(Command::new(if is_cpp { "g++" } else { "gcc" })
        .args(["-O1", "-pthread", "-fPIC", "-D_FILE_OFFSET_BITS=64", "-I"])
        .arg(&release.include)
        .arg(format!("-DFUSE_USE_VERSION={version}"))
        .args(options)
        .args(sources)
        .arg(&release.library)
        // It may need a newer glibc than there is here, but is not run.
        .args(["-Wl,--allow-shlib-undefined", "-o"])
        .arg(output));
    let loaded = run(Command::new("ldd").arg(output).env("LD_LIBRARY_PATH", root().join("build")));
    let ours = format!("{}/build/libfuse3.so.", root().display());
    assert!(loaded.contains(&ours), "{loaded}");
}

/// The filesystems of the tests, made with `release`: its headers, its library.
fn programs(release: &Release) -> PathBuf {
    let directory = scratch(&format!("{}-programs", release.series));
    let sources = root().join("tests/fs");
    for (name, files, options) in [
        (
            "trace_ll",
            &["trace_ll", "trace_files", "trace_dirs", "trace_commands", "nodes", "serve"][..],
            &[][..],
        ),
        ("path_trace", &["path_trace", "path_trace_files", "path_trace_dirs", "serve"], &[]),
        ("libfusemod_loud.so", &["path_loud"], &["-shared"]),
    ] {
        let files: Vec<_> = files.iter().map(|name| sources.join(format!("{name}.c"))).collect();
        compile(release, &directory.join(name), &files, release.number, options);
    }
    directory
}

/// Programs made with each release, on our libraries, through the tests that our own
/// programs pass.
#[test]
fn programs_of_each_release_pass_the_tests_of_our_own() {
    if stock() || checked() {
        return skip("the library under test is not that of build/");
    }
    for release in releases() {
        let later = SINCE.iter().filter(|test| test.1 > release.number);
        let output = Command::new(root().join("scripts/cargo.sh"))
            .args(["test", "--quiet", "--no-fail-fast"])
            .args(["--test=ops", "--test=io", "--test=high", "--"])
            .args(later.flat_map(|test| ["--skip", test.0]))
            .env("RINGFUSE_TEST_BUILD", programs(release))
            .env("RINGFUSE_TEST_LIBDIR", root().join("build"))
            .env_remove("RINGFUSE_TEST_CALLS")
            .output()
            .expect("cargo");
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "made with {}: {text}{errors}", release.series);
        for line in errors.lines() {
            if let Some((_, reason)) = line.split_once("skipped: ") {
                skip(&format!("made with {}: {reason}", release.series));
            }
        }
    }
}

/// The same in C and C++, for each FUSE_USE_VERSION that the release knows.
#[test]
fn programs_of_each_release_and_version_work() {
    if stock() || checked() {
        return skip("the library under test is not that of build/");
    }
    let sources = root().join("tests/consumers/project");
    let transports = note::transports();
    for release in releases() {
        let directory = scratch(&format!("{}-notes", release.series));
        for (name, about) in note::PROGRAMS {
            let extension = if name == "note_main" { "cpp" } else { "c" };
            let source = sources.join(format!("{name}.{extension}"));
            for version in release.use_versions() {
                let program = directory.join(format!("{name}-{version}"));
                compile(release, &program, std::slice::from_ref(&source), version, &[]);
                // How a form is called has nothing to do with the transport.
                let all = version == release.number;
                for &on in &transports[..transports.len().min(if all { 2 } else { 1 })] {
                    note::use_it(&program, &root().join("build"), about, version, on);
                }
            }
        }
    }
}
