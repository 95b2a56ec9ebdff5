//! The processes that serve mounts with ringfuse.

use super::mounts::Mounts;
use crate::elf::Elf;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Of all rings that a process has for FUSE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RingCounts {
    pub descriptors: u64,
    pub submitted: u64,
    /// Requests that came, and a few wake-ups.
    pub completed: u64,
}

/// A process with ringfuse in it and `/dev/fuse` open.
#[derive(Clone, Debug)]
pub struct Server {
    pub pid: u32,
    pub program: String,
    pub rings: RingCounts,
    /// How many descriptors it has of each connection; None: where the kernel
    /// does not tell (older ones do not), or what is not mounted.
    descriptors: BTreeMap<Option<u64>, usize>,
    words: Vec<String>,
    environment: Vec<String>,
    directory: PathBuf,
    tasks: Vec<String>,
}

/// All that this user may look into.
pub fn servers() -> Vec<Server> {
    let mut known = HashMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Server::look(pid, &mut known)).collect()
}

/// Whether the file with this device and inode has ringfuse in it.
type Known = HashMap<(u64, u64), bool>;

impl Server {
    fn look(pid: u32, known: &mut Known) -> Option<Self> {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let mut descriptors = BTreeMap::new();
        let mut rings = RingCounts::default();
        for entry in fs::read_dir(proc.join("fd")).ok()?.flatten() {
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            let info = proc.join("fdinfo").join(entry.file_name());
            if target.starts_with("/dev") {
                let connection = connection(&info);
                if connection.is_some() || target == Path::new("/dev/fuse") {
                    *descriptors.entry(connection).or_default() += 1;
                }
            } else if target == Path::new("anon_inode:[io_uring]") {
                rings.add(&info);
            }
        }
        if descriptors.is_empty() || !has_ringfuse(&proc, known) {
            return None;
        }
        let tasks = fs::read_dir(proc.join("task")).into_iter().flatten().flatten();
        let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
        let words = list(&proc.join("cmdline"));
        let own = fs::read_to_string(proc.join("comm")).unwrap_or_default();
        Some(Self {
            pid,
            program: words.first().cloned().unwrap_or_else(|| own.trim().to_owned()),
            rings,
            descriptors,
            words,
            environment: list(&proc.join("environ")),
            directory: fs::read_link(proc.join("cwd")).unwrap_or_default(),
            tasks: tasks.filter_map(name).collect(),
        })
    }

    /// The connections that it serves.
    pub fn sessions(&self, mounts: &Mounts) -> Vec<u64> {
        let told: Vec<u64> = self.descriptors.keys().copied().flatten().collect();
        if told.is_empty() {
            return mounts
                .named_by(self.words.get(1..).unwrap_or_default(), &self.directory)
                .into_iter()
                .collect();
        }
        told
    }

    /// A session on rings has a second descriptor of its connection, which is
    /// registered with them. That matters only where a process has several sessions.
    pub fn is_on_rings(&self, connection: u64) -> bool {
        let several = self.descriptors.keys().flatten().count() > 1;
        let own = self.descriptors.get(&Some(connection)).copied().unwrap_or(0);
        self.rings.descriptors > 0 && (!several || own > 1)
    }

    /// Threads whose name begins with `prefix`.
    pub fn threads(&self, prefix: &str) -> usize {
        self.tasks.iter().filter(|name| name.starts_with(prefix)).count()
    }

    /// The larger, the more likely it is the process that serves, among those
    /// that have inherited the same descriptor.
    pub fn activity(&self) -> (u64, usize, std::cmp::Reverse<u32>) {
        (self.rings.descriptors, self.tasks.len(), std::cmp::Reverse(self.pid))
    }

    /// Why it uses /dev/fuse, as far as that shows from outside.
    pub fn why_dev(&self) -> String {
        let option = |name: &str| {
            self.words
                .iter()
                .any(|word| word.split(',').any(|o| o.trim_start_matches("-o") == name))
        };
        let variable = |setting: &str| self.environment.iter().any(|entry| entry == setting);
        let read = |path| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let asked = option("io_uring") || variable("RINGFUSE_TRANSPORT=ring");
        if option("no_io_uring") {
            return "the option no_io_uring".into();
        }
        for setting in ["RINGFUSE_TRANSPORT=dev", "FUSE_URING_ENABLE=0"] {
            if variable(setting) && !asked {
                return format!("{setting} in its environment");
            }
        }
        match read("/sys/module/fuse/parameters/enable_uring").as_deref() {
            None => return "this kernel has no FUSE over io_uring".into(),
            Some("N") => return "the kernel offers no rings (enable_uring is N now)".into(),
            Some(_) => {}
        }
        match read("/proc/sys/kernel/io_uring_disabled").as_deref() {
            None | Some("0") => {
                "not to be seen from outside: its log has the line 'ringfuse: transport dev'".into()
            }
            Some(value) => format!("io_uring is switched off (io_uring_disabled is {value} now)"),
        }
    }
}

impl RingCounts {
    /// Adds an io_uring, if it has /dev/fuse registered. The kernel leaves its
    /// counters out while somebody has the ring's lock.
    fn add(&mut self, info: &Path) {
        for _ in 0..100 {
            let Ok(text) = fs::read_to_string(info) else { return };
            let field = |name: &str| -> Option<u64> {
                text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
            };
            if let (Some(submitted), Some(completed)) = (field("SqHead:"), field("CqTail:")) {
                let files = text.lines().skip_while(|line| !line.starts_with("UserFiles:"));
                let mut files = files.take_while(|line| !line.starts_with("UserBufs:"));
                if files.any(|line| line.trim_end().ends_with("/dev/fuse")) {
                    self.descriptors += 1;
                    self.submitted += submitted;
                    self.completed += completed;
                }
                return;
            }
            std::thread::yield_now();
        }
    }
}

fn connection(info: &Path) -> Option<u64> {
    let text = fs::read_to_string(info).ok()?;
    text.lines().find_map(|line| line.strip_prefix("fuse_connection:"))?.trim().parse().ok()
}

/// Whether the program, or a libfuse3 that it has mapped, is ringfuse.
fn has_ringfuse(proc: &Path, known: &mut Known) -> bool {
    let maps = fs::read_to_string(proc.join("maps")).unwrap_or_default();
    let mut files = vec![proc.join("exe")];
    for line in maps.lines().filter(|line| line.contains("/libfuse3.so.")) {
        // By its addresses, a file is found that has been replaced since; that is
        // root's right, and others find it by its path in the process's own root.
        let range = line.split(' ').next().unwrap_or_default();
        files.push(proc.join("map_files").join(range));
        let path = line.split_once('/').map(|(_, path)| path).unwrap_or_default();
        files.push(proc.join("root").join(path));
    }
    files.iter().any(|file| {
        let Ok(about) = file.metadata() else { return false };
        *known
            .entry((about.dev(), about.ino()))
            .or_insert_with(|| Elf::read(file).ok().flatten().is_some_and(|elf| elf.is_ringfuse))
    })
}

/// A file of words that end with NUL.
fn list(path: &Path) -> Vec<String> {
    let bytes = fs::read(path).unwrap_or_default();
    let words = bytes.split(|&byte| byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}
