//! A filesystem that may not use all CPUs, for clients on each of them.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use support::machine::is_root;
use support::*;

fn read(file: &File, off: u64) -> String {
    let mut data = [0; 64];
    let length = file.read_at(&mut data, off).expect("read");
    String::from_utf8_lossy(&data[..length]).into_owned()
}

/// Quick requests, lasting ones, and kept ones, from each CPU.
fn serves_all_cpus(fs: &Mount) {
    const MANY: u64 = 50;
    let [fast, block, park] =
        ["fast", "block", "park"].map(|name| Arc::new(File::open(fs.at(name)).expect("open")));
    let client = |cpu, file: &Arc<File>, off| {
        let file = file.clone();
        pinned(cpu, move || read(&file, off))
    };
    for cpu in cpus() {
        let parked: Vec<_> = (0..MANY).map(|i| client(cpu, &park, i)).collect();
        fs.until("parked", MANY as i64);
        let inside: Vec<_> = (0..3).map(|i| client(cpu, &block, i)).collect();
        fs.until("blocked", 3);
        for i in 0..100 {
            assert_eq!(client(cpu, &fast, i).join().unwrap(), format!("fast@{i}"));
        }
        fs.command("unblock");
        fs.command("release");
        let wanted = (0..MANY).map(|i| format!("park@{i}"));
        let wanted = wanted.chain((0..3).map(|i| format!("block@{i}")));
        for (client, wanted) in parked.into_iter().chain(inside).zip(wanted) {
            assert_eq!(client.join().unwrap(), wanted);
        }
    }
}

/// The lists of CPUs that threads of the process may use. Not those of kickers, which
/// are for moments where requests wait.
fn used_by(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
    let mut lists: Vec<String> = tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok())
        .filter(|status| !status.starts_with("Name:\tfuse-kicker"))
        .filter_map(|status| {
            let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
            Some(list.trim().to_string())
        })
        .collect();
    lists.sort();
    lists.dedup();
    lists
}

/// A cpuset with one CPU; removed when it is empty.
struct Cpuset(PathBuf);

impl Cpuset {
    fn of(cpu: usize) -> Result<Self, String> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        if !is_root() {
            return Err("only root makes cpusets".into());
        }
        let root = Path::new("/sys/fs/cgroup/cpuset");
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringfuse-test-{}-{number}", std::process::id());
        let (root, version) = if root.join("cpuset.cpus").exists() {
            (root, 1)
        } else {
            (Path::new("/sys/fs/cgroup"), 2)
        };
        let cpuset = Self(root.join(name));
        let write = |name: &str, value: &str| {
            let path = cpuset.0.join(name);
            fs::write(&path, value).map_err(|error| format!("{}: {error}", path.display()))
        };
        if version == 2 {
            let control = root.join("cgroup.subtree_control");
            fs::write(&control, "+cpuset").map_err(|e| format!("{}: {e}", control.display()))?;
        }
        fs::create_dir(&cpuset.0).map_err(|e| format!("{}: {e}", cpuset.0.display()))?;
        if version == 1 {
            write("cpuset.mems", "0")?;
        }
        write("cpuset.cpus", &cpu.to_string())?;
        Ok(cpuset)
    }

    /// A filesystem in it.
    fn server(&self) -> Server {
        let members = self.0.join("cgroup.procs");
        let script = "echo $$ > \"$0\" && exec \"$@\"";
        let words = ["sh", "-c", script, members.to_str().expect("UTF-8")];
        Server::new("engine_ll").under(&words)
    }
}

impl Drop for Cpuset {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Pages of the maps of a process for which a node is preferred: those on that node, and
/// those elsewhere. `None` where the kernel does not tell.
fn pages_by_node(pid: u32) -> Option<(u64, u64)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/numa_maps")).ok()?;
    let (mut there, mut elsewhere) = (0, 0);
    for line in maps.lines() {
        let Some((_, policy)) = line.split_once(" prefer:") else { continue };
        let preferred = format!("N{}", policy.split(' ').next().unwrap());
        for (node, pages) in policy.split(' ').filter_map(|word| word.split_once('=')) {
            match node {
                _ if node == preferred => there += pages.parse::<u64>().unwrap(),
                _ if node.starts_with('N') => elsewhere += pages.parse::<u64>().unwrap(),
                _ => {}
            }
        }
    }
    Some((there, elsewhere))
}

each_transport! {
    fn buffers_are_on_the_nodes_of_their_cpus(on) {
        let nodes = fs::read_to_string("/sys/devices/system/node/online").unwrap_or_default();
        if on == Transport::Dev || !nodes.contains(['-', ',']) {
            return skip("there are no queues of CPUs there, or there is one node only");
        }
        // Wherever handlers run.
        for pin in ["yes", "no"] {
            let fs = Server::new("engine_ll").env("RINGFUSE_PIN", pin).mount(on);
            let file = Arc::new(File::open(fs.at("slow_zeros")).expect("open"));
            let clients = cpus().into_iter().cycle().take(4 * cpus().len()).map(|cpu| {
                let file = file.clone();
                pinned(cpu, move || file.read_at(&mut vec![0; 1 << 20], 0).expect("read"))
            });
            let clients: Vec<_> = clients.collect();
            for client in clients {
                assert_eq!(client.join().unwrap(), 1 << 20);
            }
            let Some((there, elsewhere)) = pages_by_node(fs.pid) else {
                return skip("the kernel has no numa_maps");
            };
            assert!(there > 256 && elsewhere == 0, "{there} pages there, {elsewhere} elsewhere");
        }
    }

    fn with_an_affinity_mask(on) {
        for cpu in [cpus()[0], *cpus().last().unwrap()] {
            for pin in ["yes", "no"] {
                let cpu = cpu.to_string();
                let fs = Server::new("engine_ll")
                    .under(&["taskset", "-c", &cpu])
                    .env("RINGFUSE_PIN", pin)
                    .mount(on);
                serves_all_cpus(&fs);
                assert_eq!(used_by(fs.pid), [cpu]);
            }
        }
    }

    fn in_a_cpuset(on) {
        let last = *cpus().last().unwrap();
        let cpuset = match Cpuset::of(last) {
            Ok(cpuset) => cpuset,
            Err(reason) => return skip(&reason),
        };
        let fs = cpuset.server().mount(on);
        serves_all_cpus(&fs);
        assert_eq!(used_by(fs.pid), [last.to_string()]);
        fs.unmount();
        assert_eq!(fs.ended().result, Some(0));
    }

    /// And nobody to make requests on the other CPUs: what they keep may come late, with
    /// what else they ask for.
    fn in_a_cpuset_without_rights(on) {
        let (first, last) = (cpus()[0], *cpus().last().unwrap());
        if on == Transport::Dev || first == last {
            return skip("there are no queues of CPUs there, or there is one CPU only");
        }
        let cpuset = match Cpuset::of(last) {
            Ok(cpuset) => cpuset,
            Err(reason) => return skip(&reason),
        };
        let fs = cpuset.server().mount(on);
        let [fast, park] =
            ["fast", "park"].map(|name| Arc::new(File::open(fs.at(name)).expect("open")));
        assert_eq!(fs.command("become 65534"), 0);
        for _ in 0..2 {
            let clients: Vec<_> = (0..200)
                .map(|i| {
                    let park = park.clone();
                    pinned(first, move || assert_eq!(read(&park, i), format!("park@{i}")))
                })
                .collect();
            // Those may have to wait for one another.
            let mut others = Vec::new();
            eventually("all to be delivered", || {
                let fast = fast.clone();
                others.push(pinned(first, move || assert_eq!(read(&fast, 1), "fast@1")));
                fs.command("parked") == 200
            });
            fs.command("release");
            clients.into_iter().chain(others).for_each(|client| client.join().unwrap());
        }
        let said = fs.log().matches("this process may not run on CPU").count();
        assert_eq!(said, 1, "{}", fs.log());
        drop((fast, park));
        fs.unmount();
        assert_eq!(fs.ended().result, Some(0));
    }
}
