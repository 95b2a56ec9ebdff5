//! Other machines: the layouts of the Rust half, cross-builds of the libraries,
//! and the i386 build at work, which this kernel runs. `headers.rs` has what C
//! says of the layouts.
//!
//! The builds are kept in cargo's target directory, so that only what changed is
//! built again. What is not installed is skipped (`scripts/deps.sh test` has it).

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use support::machine::rings_stay_on;
use support::process::{mounted, ring_counts, run};
use support::{client, eventually, skip, stock, Server, Transport};
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Why there is no Rust standard library for `target` here, if there is none.
fn rust_missing(target: &str) -> Option<String> {
    let directory = run(Command::new("rustc")
        .args(["--print", "target-libdir", "--target", target])
        .current_dir(root()));
    let found = fs::read_dir(directory.trim()).is_ok_and(|mut files| files.next().is_some());
    (!found).then(|| format!("rustc has no standard library for {target} (rustup target add)"))
}

/// A machine that the library is linked for.
struct Machine {
    name: &'static str,
    target: &'static str,
    compiler: &'static str,
    /// As readelf calls it.
    elf: &'static str,
    built: OnceLock<Result<PathBuf, String>>,
}

static I386: Machine = Machine {
    name: "i386",
    target: "i686-unknown-linux-gnu",
    compiler: "i686-linux-gnu-gcc",
    elf: "Intel 80386",
    built: OnceLock::new(),
};
static AARCH64: Machine = Machine {
    name: "aarch64",
    target: "aarch64-unknown-linux-gnu",
    compiler: "aarch64-linux-gnu-gcc",
    elf: "AArch64",
    built: OnceLock::new(),
};

impl Machine {
    /// The build directory with the libraries, examples and test filesystems;
    /// `Err` says what is not installed.
    fn build(&self) -> Result<PathBuf, String> {
        self.built.get_or_init(|| self.try_build()).clone()
    }

    fn try_build(&self) -> Result<PathBuf, String> {
        if stock() {
            return Err("the library under test is libfuse".into());
        }
        Command::new(self.compiler)
            .arg("--version")
            .output()
            .map_err(|error| format!("{} cannot be run: {error}", self.compiler))?;
        rust_missing(self.target).map_or(Ok(()), Err)?;
        let build = kept(&format!("meson-{}", self.name));
        if !build.join("build.ninja").exists() {
            let cross = root().join(format!("meson/cross/{}.ini", self.name));
            run(Command::new("meson").args(["setup", "-Dtool=false", "--cross-file"]).args([
                &cross,
                &build,
                root(),
            ]));
        }
        // Flags for this machine; they would also hide those of .cargo/config.toml.
        run(Command::new("ninja")
            .arg("-C")
            .arg(&build)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS"));
        Ok(build)
    }

    /// That no name is undefined is the linker's business: `-z defs`.
    fn check_libraries(&self) {
        let build = match self.build() {
            Ok(build) => build,
            Err(reason) => return skip(&reason),
        };
        for soname in [3, 4] {
            let name = format!("libfuse3.so.{soname}");
            let library = build.join(&name);
            let header = readelf("--file-header", &library);
            assert!(header.contains(self.elf), "{name}: {header}");
            let dynamic = readelf("--dynamic", &library);
            assert!(dynamic.contains(&format!("soname: [{name}]")), "{name}: {dynamic}");
            for line in dynamic.lines().filter(|line| line.contains("(NEEDED)")) {
                let known = ["[libc.so.6]", "[libm.so.6]", "[ld-linux"];
                assert!(known.iter().any(|libc| line.contains(libc)), "{name}: {line}");
            }
            // symbols.rs compares those of this machine with the golden tables.
            let native = root().join("build").join(&name);
            let (names, nodes) = (exports(&library), version_nodes(&library));
            assert!(names.len() > 150 && nodes.len() > 5, "{name}: {names:?} {nodes:?}");
            assert_eq!(names, exports(&native), "{name}");
            assert_eq!(nodes, version_nodes(&native), "{name}");
        }
        let example = readelf("--dynamic", &build.join("examples-c/memfs_ll"));
        assert!(example.contains("[libfuse3.so.4]"), "{example}");
    }
}

fn readelf(what: &str, file: &Path) -> String {
    run(Command::new("readelf").args(["--wide", what]).arg(file))
}

/// The names that `library` defines, with their versions.
fn exports(library: &Path) -> BTreeSet<String> {
    let symbols = readelf("--dyn-syms", library);
    let fields = symbols.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    // number, value, size, type, binding, visibility, section, name
    fields
        .filter(|fields| fields.len() == 8 && fields[6].parse::<u32>().is_ok())
        .filter(|fields| fields[3] != "SECTION")
        .map(|fields| fields[7].to_string())
        .collect()
}

/// The version nodes that `library` defines, each followed by its parents.
fn version_nodes(library: &Path) -> Vec<String> {
    let text = readelf("--version-info", library);
    text.lines()
        .skip_while(|line| !line.starts_with("Version definition section"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| !line.contains("Flags: BASE"))
        .filter_map(|line| {
            Some(line.rsplit_once("Name: ").or(line.rsplit_once(": "))?.1.to_string())
        })
        .collect()
}

#[test]
fn aarch64_libraries_link_with_all_their_names() {
    AARCH64.check_libraries();
}

#[test]
fn i386_libraries_link_with_all_their_names() {
    I386.check_libraries();
}

/// Compiling `src/abi/layout.rs` is the check: it asserts every layout. The
/// builds above do that for i386 and aarch64.
#[test]
fn rust_has_the_layouts_of_machines_that_nothing_is_linked_for() {
    let wide_times = [
        "--config",
        r#"target.'cfg(target_pointer_width = "32")'.rustflags=['--cfg=libc_unstable_gnu_time_bits="64"']"#,
    ];
    for (directory, target, options) in [
        ("check", "armv7-unknown-linux-gnueabihf", &[][..]),
        ("check-time64", "armv7-unknown-linux-gnueabihf", &wide_times),
        ("check", "riscv64gc-unknown-linux-gnu", &[]),
    ] {
        if let Some(reason) = rust_missing(target) {
            skip(&reason);
            continue;
        }
        run(Command::new(root().join("scripts/cargo.sh"))
            .args(["check", "--quiet", "--lib", "--target", target])
            .args(options)
            // These would hide the flags of .cargo/config.toml.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("CARGO_TARGET_DIR", kept(directory)));
    }
}

/// The i386 build, if this kernel runs its programs.
fn i386_programs() -> Result<PathBuf, String> {
    let build = I386.build()?;
    match Command::new(build.join("examples-c/hello_ll")).arg("--version").output() {
        Ok(output) if output.status.success() => Ok(build),
        Ok(output) => Err(format!("an i386 program fails here: {output:?}")),
        Err(error) => {
            Err(format!("this kernel runs no i386 programs, or libc6-i386 is missing: {error}"))
        }
    }
}

/// The tests of a 64-bit client, with a 32-bit filesystem.
#[test]
fn i386_filesystems_pass_the_tests_of_the_native_ones() {
    let build = match i386_programs() {
        Ok(build) => build,
        Err(reason) => return skip(&reason),
    };
    let mut tests = Command::new(root().join("scripts/cargo.sh"));
    tests.args(["test", "--quiet", "--no-fail-fast"]);
    for name in [
        "batch",
        "dirs",
        "engine",
        "interrupts",
        "io",
        "lifecycle",
        "locks",
        "notify",
        "ops",
        "threads",
        "transport",
    ] {
        tests.args(["--test", name]);
    }
    let output = tests.env("RINGFUSE_TEST_BUILD", build.join("tests/fs")).output().expect("cargo");
    let (text, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}{errors}");
    for line in errors.lines() {
        if let Some((_, reason)) = line.split_once("skipped: ") {
            skip(reason);
        }
    }
}

/// An example on a mount; unmounts it and ends the process when dropped.
struct Example {
    child: Child,
    dir: TempDir,
}

impl Example {
    /// `arguments` may name the directories `mnt` and `backing`.
    fn mount(program: &Path, arguments: &[&str], on: Transport) -> Example {
        let dir = TempDir::with_prefix("ringfuse-test-").expect("a temporary directory");
        for name in ["mnt", "backing"] {
            fs::create_dir(dir.path().join(name)).expect("mkdir");
        }
        let _stays_on = rings_stay_on();
        let child = Command::new(program)
            .args(arguments)
            .env("RINGFUSE_TRANSPORT", on.name())
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(File::create(dir.path().join("log")).expect("log"))
            .spawn()
            .expect("started");
        let example = Example { child, dir };
        eventually("the mount", || mounted(&example.path()));
        rustix::fs::statvfs(example.path()).expect("statvfs");
        let rings = ring_counts(example.child.id()).rings;
        assert_eq!(rings > 0, on == Transport::Ring, "{}", example.log());
        example
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    fn backing(&self) -> PathBuf {
        self.dir.path().join("backing")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let unmounted = rustix::mount::unmount(self.path(), rustix::mount::UnmountFlags::empty());
        if unmounted.is_err() {
            let _ = rustix::mount::unmount(self.path(), rustix::mount::UnmountFlags::FORCE);
            let _ = rustix::mount::unmount(self.path(), rustix::mount::UnmountFlags::DETACH);
            let _ = self.child.kill();
        }
        let status = self.child.wait();
        if !std::thread::panicking() {
            let log = self.log();
            assert!(unmounted.is_ok(), "{unmounted:?}: {log}");
            assert!(status.as_ref().is_ok_and(|status| status.success()), "{status:?}: {log}");
        }
    }
}

each_transport! {
    /// Offsets and inode numbers wider than a `long`, through a filesystem that
    /// passes them on.
    fn i386_passthrough_serves_files_of_more_than_4_gib(on) {
        let build = match i386_programs() {
            Ok(build) => build,
            Err(reason) => return skip(&reason),
        };
        let program = build.join("examples-c/passthrough_ll");
        let fs = Example::mount(&program, &["-f", "-o", "source=backing", "mnt"], on);
        const FAR: u64 = (5 << 30) + 4096;
        let data = client::pattern(3 << 20, 386);
        let path = fs.path().join("file");
        let mut file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        file.write_all_at(&data, FAR).unwrap();
        file.write_all_at(b"near", 0).unwrap();
        rustix::fs::fsync(&file).unwrap();
        let backing = File::open(fs.backing().join("file")).unwrap();
        assert_eq!(file.metadata().unwrap().len(), FAR + data.len() as u64);
        assert_eq!(file.metadata().unwrap().ino(), backing.metadata().unwrap().ino());
        let mut there = vec![0; data.len()];
        backing.read_exact_at(&mut there, FAR).unwrap();
        assert!(there == data, "what was written is not in the backing file");
        drop(file);

        file = File::options().read(true).write(true).open(&path).unwrap();
        let hole_ends = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(1 << 20)).unwrap();
        assert_eq!(hole_ends, rustix::fs::seek(&backing, rustix::fs::SeekFrom::Data(1 << 20)).unwrap());
        assert!(hole_ends > 4 << 30, "{hole_ends}");
        file.seek(SeekFrom::Start(FAR)).unwrap();
        there.fill(0);
        file.read_exact(&mut there).unwrap();
        assert!(there == data, "what is read is not what was written");

        file.set_len(6 << 30).unwrap();
        assert_eq!(backing.metadata().unwrap().len(), 6 << 30);
        let statistics = rustix::fs::statvfs(fs.path()).unwrap();
        let wanted = rustix::fs::statvfs(fs.backing()).unwrap();
        assert_eq!((statistics.f_blocks, statistics.f_files), (wanted.f_blocks, wanted.f_files));
    }

    fn i386_memfs_stores_what_it_is_given(on) {
        let build = match i386_programs() {
            Ok(build) => build,
            Err(reason) => return skip(&reason),
        };
        let fs = Example::mount(&build.join("examples-c/memfs_ll"), &["-f", "mnt"], on);
        let data = client::pattern(20 << 20, 32);
        let mut file = File::create(fs.path().join("file")).unwrap();
        file.write_all(&data).unwrap();
        drop(file);
        fs::rename(fs.path().join("file"), fs.path().join("renamed")).unwrap();
        assert!(fs::read(fs.path().join("renamed")).unwrap() == data);
    }

    /// The kernel tells that the caller's structures are those of 32 bits.
    fn ioctl_of_an_i386_client(on) {
        let build = match i386_programs() {
            Ok(build) => build,
            Err(reason) => return skip(&reason),
        };
        const COMPAT_AND_32BIT: u64 = 1 | 8;
        let client = i386_client(on);
        for filesystem in [root().join("build"), build] {
            let filesystem = filesystem.join("tests/fs/trace_ll");
            let fs = Server::new(filesystem.to_str().expect("UTF-8")).mount(on);
            fs::write(fs.at("file"), "").unwrap();
            let result = |request: u32| {
                fs.trace.take();
                let output = Command::new(&client).arg(fs.at("file")).arg(request.to_string()).output();
                let text = String::from_utf8(output.expect("started").stdout).expect("text");
                (text, fs.trace.one("ioctl"))
            };
            let (text, line) = result(0x5401);
            assert_eq!((text.as_str(), line.hex("ioctl_flags")), ("7 0\n", COMPAT_AND_32BIT));
            assert_eq!(line.hex("arg"), 0x9abc_def0);
            // Granted by the library, refused by the kernel.
            let (text, _) = result(0x5405);
            assert_eq!(text, format!("-1 {}\n", libc::EIO));
        }
    }
}

/// A program that makes one ioctl and prints its result and errno.
fn i386_client(on: Transport) -> PathBuf {
    let (source, program) =
        (kept(&format!("ioctl-{}.c", on.name())), kept(&format!("ioctl-{}", on.name())));
    fs::write(
        &source,
        "#include <errno.h>\n#include <fcntl.h>\n#include <stdio.h>\n#include <stdlib.h>\n\
         #include <sys/ioctl.h>\n\
         int main(int argc, char **argv)\n{\n\
         int fd = open(argv[argc - 2], O_RDONLY);\n\
         int result = ioctl(fd, strtoul(argv[argc - 1], NULL, 10), 0x9abcdef0ul);\n\
         printf(\"%d %d\\n\", result, result < 0 ? errno : 0);\nreturn 0;\n}\n",
    )
    .unwrap();
    run(Command::new(I386.compiler).arg("-static").arg("-o").args([&program, &source]));
    program
}
