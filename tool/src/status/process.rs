//! The processes that serve mounts with ringfuse.

use super::mounts::Mounts;
use super::page::{self, Found};
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

/// A process with ringfuse in it, and sessions of its.
pub struct Server {
    pub pid: u32,
    /// As the process knows itself.
    pub own_pid: u32,
    /// What its sessions tell.
    pub pages: Vec<Found>,
    pub program: String,
    pub rings: RingCounts,
    /// How many descriptors it has of each connection; None: where the kernel
    /// does not tell (older ones do not), or what is not mounted.
    descriptors: BTreeMap<Option<u64>, usize>,
    words: Vec<String>,
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

/// See [`Server::activity`].
pub type Activity = (u64, usize, std::cmp::Reverse<u32>);

/// Whether the file with this device and inode has ringfuse in it.
type Known = HashMap<(u64, u64), bool>;

impl Server {
    fn look(pid: u32, known: &mut Known) -> Option<Self> {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let mut descriptors = BTreeMap::new();
        let mut rings = RingCounts::default();
        let mut pages = Vec::new();
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
            } else if page::is_one(&target) {
                pages.extend(page::of_descriptor(&entry.path()));
            }
        }
        if descriptors.is_empty() && pages.is_empty() {
            return None;
        }
        let maps = fs::read_to_string(proc.join("maps")).unwrap_or_default();
        if pages.is_empty() && !has_ringfuse(&proc, &maps, known) {
            return None;
        }
        let hidden = page::of_maps(&proc, &maps, &pages);
        pages.extend(hidden);
        let tasks = fs::read_dir(proc.join("task")).into_iter().flatten().flatten();
        let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
        let words = list(&proc.join("cmdline"));
        let own = fs::read_to_string(proc.join("comm")).unwrap_or_default();
        Some(Self {
            pid,
            own_pid: page::own_pid(&proc).unwrap_or(pid),
            pages,
            program: words.first().cloned().unwrap_or_else(|| own.trim().to_owned()),
            rings,
            descriptors,
            words,
            directory: fs::read_link(proc.join("cwd")).unwrap_or_default(),
            tasks: tasks.filter_map(name).collect(),
        })
    }

    /// Whether it has a descriptor of `connection`, as far as the kernel tells.
    pub fn holds(&self, connection: u64) -> bool {
        let told = self.descriptors.keys().flatten().next().is_some();
        self.descriptors.contains_key(&Some(connection)) || (!told && !self.descriptors.is_empty())
    }

    /// The connections that it has, whether or not a session of its tells of them.
    pub fn sessions(&self, mounts: &Mounts) -> Vec<u64> {
        let told: Vec<u64> = self.descriptors.keys().copied().flatten().collect();
        if told.is_empty() {
            return self.names(mounts).into_iter().collect();
        }
        told
    }

    /// The connection that is mounted where its command line says.
    pub fn names(&self, mounts: &Mounts) -> Option<u64> {
        mounts.named_by(self.words.get(1..).unwrap_or_default(), &self.directory)
    }

    /// A session on rings has a second descriptor of its connection, which is
    /// registered with them. That matters only where a process has several sessions.
    pub fn is_on_rings(&self, connection: u64) -> bool {
        let several = self.descriptors.keys().flatten().count() > 1;
        let own = self.descriptors.get(&Some(connection)).copied().unwrap_or(0);
        self.rings.descriptors > 0 && (!several || own > 1)
    }

    /// Threads whose name begins with `prefix`.
    pub fn threads(&self, prefix: &str) -> u64 {
        self.tasks.iter().filter(|name| name.starts_with(prefix)).count() as u64
    }

    /// The larger, the more likely it is the process that serves, among those
    /// that have inherited the same descriptor.
    pub fn activity(&self) -> Activity {
        (self.rings.descriptors, self.tasks.len(), std::cmp::Reverse(self.pid))
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
fn has_ringfuse(proc: &Path, maps: &str, known: &mut Known) -> bool {
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
