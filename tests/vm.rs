//! The guest lab's scenarios: Debian kernels booted by `tests/vm/run` with
//! this tree's binaries inside.
//!
//! Nothing here is skipped: without qemu, or when a kernel cannot be fetched,
//! the lab says what to do and the test fails with its words. No privileges
//! are needed. The binaries come from `build/`.

use std::path::Path;
use std::process::{Command, Stdio};

/// The integration tests that `make test` runs in each guest, beside
/// `vm/smoke`: those of the transport that is expected there.
const SOME: &[&str] = &["ops"];

/// Those that `make test-kernels` runs.
const MOST: &[&str] = &[
    "ops",
    "io",
    "dirs",
    "locks",
    "notify",
    "interrupts",
    "lifecycle",
    "engine",
    "batch",
    "threads",
    "faults",
    "cpus",
    "transport",
    "memory",
    "cuse",
];

/// The tests of a target that are for a kernel where `transport` serves mounts.
/// A device has its own, /dev/cuse, everywhere; what is refused is rings, and batches
/// are theirs.
fn filter(test: &str, transport: &str) -> String {
    match test {
        "cuse" => "device::".into(),
        "faults" | "batch" => "".into(),
        _ => format!("::{transport}"),
    }
}

/// More possible CPUs than online ones, on two nodes.
const SPARSE: &[&str] = &["--cpus", "4", "--online", "2", "--nodes", "2"];

/// The exit status with which the lab reports its own failures and the
/// kernel's, as opposed to those of the command.
const LAB_FAILED: i32 = 125;

struct Guest {
    /// What the guest printed: the lab's line about the machine, then the command's output.
    output: String,
    /// What the lab itself had to say.
    log: String,
    status: i32,
}

fn lab(options: &[&str], command: &[&str]) -> Guest {
    lab_with(&[], options, command)
}

fn lab_with(environment: &[(&str, &str)], options: &[&str], command: &[&str]) -> Guest {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = Command::new(root.join("tests/vm/run"))
        .args(options)
        .arg("--build")
        .arg(root.join("build"))
        .arg("--")
        .args(command)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("tests/vm/run starts (it needs bash)");
    let guest = Guest {
        output: String::from_utf8_lossy(&run.stdout).into_owned(),
        log: String::from_utf8_lossy(&run.stderr).into_owned(),
        status: run.status.code().expect("tests/vm/run exits"),
    };
    println!("tests/vm/run {options:?} {command:?}");
    println!("{}{}", guest.output, guest.log);
    guest
}

/// The executable of an integration test of this package, up to date.
fn test_executable(target: &str) -> String {
    let cargo = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/cargo.sh"))
        .env("CARGO", env!("CARGO"))
        .args(["test", "--no-run", "--message-format=json"])
        .args(["--test", target])
        .output()
        .expect("scripts/cargo.sh starts");
    assert!(
        cargo.status.success(),
        "building the test {target} for the guest:\n{}",
        String::from_utf8_lossy(&cargo.stderr)
    );
    let messages = String::from_utf8_lossy(&cargo.stdout);
    let (_, path) =
        messages.split_once("\"executable\":\"").expect("cargo tells the executable's path");
    path.split('"').next().unwrap().to_owned()
}

/// Runs the smoke test and the integration tests `tests` of a transport on a
/// kernel, and checks that it was this kernel and that `transport` served.
/// Says what went wrong.
fn serves(
    kernel: &str,
    transport: &str,
    machine: &[&str],
    tests: &[&str],
) -> Result<String, String> {
    let limit = (180 + 120 * tests.len()).to_string();
    let mut options = vec!["--kernel", kernel, "--timeout", &limit];
    options.extend(machine);
    let added: Vec<String> =
        tests.iter().map(|test| format!("{}:test-{test}", test_executable(test))).collect();
    if tests.contains(&"cuse") {
        options.extend(["--module", "cuse"]);
    }
    let mut command = format!("failed=; smoke {transport} || failed=1\n");
    for (test, file) in tests.iter().zip(&added) {
        options.extend(["--add", file]);
        let filter = filter(test, transport);
        command += &format!("test-{test} {filter} --test-threads=2 || failed=1\n");
    }
    command += "[ -z \"$failed\" ]";
    let guest = lab(&options, &["sh", "-c", &command]);

    let booted = guest.output.lines().find_map(|line| line.strip_prefix("vm: kernel "));
    let words = format!("smoke: passed on {transport}");
    if guest.status != 0 {
        Err(format!("exit status {}: see the output above", guest.status))
    } else if !booted.is_some_and(|release| release.starts_with(kernel)) {
        Err(format!("kernel {kernel} was asked for and {booted:?} booted"))
    } else if !guest.output.contains(&words) {
        Err(format!("no line \"{words}\" in the output"))
    } else if guest.output.contains("running 0 tests") {
        Err(format!("one of {tests:?} has no test for {transport}"))
    } else if guest.output.contains("skipped: device::") {
        Err("tests of devices were skipped".into())
    } else {
        Ok(guest.output)
    }
}

/// The releases of the lab's table in a suite, or in all of them.
fn releases(suite: Option<&str>) -> Vec<String> {
    let list = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vm/run"))
        .arg("--list")
        .output()
        .expect("tests/vm/run starts (it needs bash)");
    let list = String::from_utf8(list.stdout).expect("the table is ASCII");
    list.lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, of)| suite.is_none_or(|suite| suite == *of))
        .map(|(release, _)| release.to_owned())
        .collect()
}

/// Whether the modules of a release of the table can be had: since 6.19 they are
/// in a package of their own, which the mirror drops first.
fn has_modules(release: &str) -> bool {
    let row = include_str!("vm/kernels.txt").lines().find(|line| line.starts_with(release));
    let columns = row.map_or(0, |row| row.split(' ').count());
    columns == 8 || version(release) < (6, 19)
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(['.', '-', '+']).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[test]
fn kernel_without_rings_is_served_by_dev_and_told_why() {
    // And character devices, for which the other guests would show nothing else.
    let tests = [SOME, &["cuse"]].concat();
    let output =
        serves("6.12", "dev", SPARSE, &tests).unwrap_or_else(|failure| panic!("{failure}"));
    let reason = output
        .lines()
        .find_map(|line| line.strip_prefix("ringfuse: transport dev: "))
        .expect("a line that tells the transport");
    assert!(reason.contains("kernel"), "the reason does not name the kernel: {reason}");
}

#[test]
fn kernel_with_rings_and_offline_cpus_is_served_by_rings() {
    let kernels = releases(Some("trixie-backports"));
    let newest = kernels.last().expect("a backported kernel in the table");
    serves(newest, "ring", SPARSE, SOME).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn lab_brings_back_arguments_and_status() {
    let script = r#"echo "<$1> <$2>"; exit 7"#;
    let guest = lab(&["--cpus", "1"], &["sh", "-c", script, "sh", "it's", "a  b"]);
    assert_eq!(guest.status, 7);
    assert!(guest.output.contains("<it's> <a  b>"));
}

#[test]
fn lab_fails_when_the_kernel_dies() {
    let guest = lab(&["--cpus", "1"], &["sh", "-c", "echo c > /proc/sysrq-trigger"]);
    assert_eq!(guest.status, LAB_FAILED);
    assert!(guest.log.contains("Kernel panic"));
}

#[test]
fn lab_fails_when_the_time_is_up() {
    let guest = lab(&["--cpus", "1", "--timeout", "15"], &["sleep", "1000"]);
    assert_eq!(guest.status, LAB_FAILED);
    assert!(guest.log.contains("15 s"));
}

#[test]
fn lab_names_kernels_it_does_not_have() {
    let guest = lab(&["--kernel", "2.4"], &["true"]);
    assert_eq!(guest.status, LAB_FAILED);
    assert!(guest.log.contains("no kernel '2.4'"));
}

/// A mirror without the kernel, and one that has something else in its place.
#[test]
fn lab_fails_when_a_kernel_cannot_be_had() {
    let dir = std::env::temp_dir().join(format!("ringfuse-vm-mirror.{}", std::process::id()));
    let mirror = format!("file://{}", dir.join("mirror").display());
    let cache = dir.join("cache");
    let environment = [
        ("RINGFUSE_DEBIAN_MIRROR", mirror.as_str()),
        ("XDG_CACHE_HOME", cache.to_str().expect("UTF-8")),
    ];
    let table = include_str!("vm/kernels.txt");
    let row = table.lines().find(|line| line.starts_with("6.12"));
    let file = row.and_then(|row| row.split(' ').next_back());
    let file = dir.join("mirror").join(file.expect("6.12 is in the table"));

    let absent = lab_with(&environment, &["--kernel", "6.12"], &["true"]);
    std::fs::create_dir_all(file.parent().expect("a directory")).expect("mkdir");
    std::fs::write(&file, "not a kernel").expect("write");
    let wrong = lab_with(&environment, &["--kernel", "6.12"], &["true"]);
    std::fs::remove_dir_all(&dir).expect("rm -r");

    assert!(wrong.log.contains("Hash Sum mismatch"), "apt names the cause");
    for guest in [absent, wrong] {
        assert_eq!(guest.status, LAB_FAILED);
        assert!(guest.log.contains("cannot be had from the mirror"));
        assert!(guest.log.contains("tests/vm/refresh"));
    }
}

/// All kernels of the table on several machines; `make test-kernels`.
#[test]
#[ignore = "takes minutes; make test-kernels runs it"]
fn matrix() {
    // 6.14 was the first kernel with rings.
    let has_rings = |release: &str| version(release) >= (6, 14);
    let machines: &[(&[&str], &[&str])] = &[
        (&["--cpus", "1"], &[]),
        (&["--cpus", "8", "--nodes", "2"], &["cpus"]),
        (&["--cpus", "2", "--no-rings"], &[]),
        (&["--cpus", "64", "--online", "2"], &["memory", "transport"]),
        (SPARSE, MOST),
    ];
    let mut failures = 0;
    for release in releases(None) {
        for (machine, tests) in machines {
            let rings = has_rings(&release) && !machine.contains(&"--no-rings");
            let transport = if rings { "ring" } else { "dev" };
            let mut tests = tests.to_vec();
            if !has_modules(&release) && tests.contains(&"cuse") {
                eprintln!("skipped: {release}: devices, as its modules cannot be had");
                tests.retain(|test| *test != "cuse");
            }
            let result = serves(&release, transport, machine, &tests);
            failures += u32::from(result.is_err());
            let word = if result.is_ok() { "ok    " } else { "FAILED" };
            eprintln!("{word} {release} {transport:4} {}", machine.join(" "));
        }
    }
    assert_eq!(failures, 0, "of the lines above, so many say FAILED");
}
