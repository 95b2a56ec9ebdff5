//! Where and with what the numbers were measured.

use super::rounds::Plan;
use crate::server::{Library, Programs, Result};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

/// Sentences for the head of the page. `prefix` is where the libfuse with rings is.
pub fn facts(
    programs: &Programs,
    libraries: &[Library],
    plan: &Plan,
    prefix: Option<&Path>,
) -> Result<Vec<String>> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        cpuinfo.lines().find_map(|line| {
            let (_, value) = line.strip_prefix(name)?.split_once(':')?;
            Some(value.trim().to_string())
        })
    };
    let model = field("model name").unwrap_or_else(|| std::env::consts::ARCH.into());
    let guest = field("flags").is_some_and(|flags| flags.split(' ').any(|f| f == "hypervisor"));
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = meminfo.split_whitespace().nth(1).and_then(|kib| kib.parse().ok());
    let memory = memory.unwrap_or(0.0) / f64::from(1 << 20);
    let kernel = |file: &str| {
        let text = fs::read_to_string(Path::new("/proc/sys/kernel").join(file));
        text.unwrap_or_default().trim().to_string()
    };
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut facts = vec![
        format!(
            "{cpus} CPUs ({model}{}), {memory:.0} GiB of memory",
            if guest { ", a virtual machine" } else { "" }
        ),
        format!(
            "Linux {} ({}), scheduler: {}; load {} at the start",
            kernel("osrelease"),
            kernel("version"),
            scheduler(),
            load.split(' ').next().unwrap_or("unknown"),
        ),
    ];
    let version = |library| -> Result<String> {
        let all = programs.version(library)?;
        let own = all.split(", ").filter(|part| !part.starts_with("fusermount3"));
        Ok(own.collect::<Vec<_>>().join(", "))
    };
    facts.push(format!("stock as packaged: {}", version(Library::Stock)?));
    if let Some(prefix) = prefix.filter(|_| libraries.contains(&Library::BuiltOnDev)) {
        let origin = fs::read_to_string(prefix.join("complete")).unwrap_or_default();
        facts.push(format!(
            "stock with rings: {}; built from {}",
            version(Library::BuiltOnDev)?,
            origin.trim()
        ));
    }
    if libraries.contains(&Library::OursOnDev) {
        facts.push(format!("ours: ringfuse {}{}", env!("CARGO_PKG_VERSION"), commit()));
    }
    facts.push(format!(
        "{} sittings with {} rounds of {} ms on each mount; {} ms for slow handlers",
        plan.sittings,
        plan.rounds,
        plan.length.as_millis(),
        plan.slow.as_millis(),
    ));
    Ok(facts)
}

/// Which state of this project, if git knows.
fn commit() -> String {
    let described = Command::new("git")
        .args(["describe", "--always", "--dirty", "--exclude=*"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    match described {
        Ok(output) if output.status.success() => {
            format!(", commit {}", String::from_utf8_lossy(&output.stdout).trim())
        }
        _ => String::new(),
    }
}

/// How a task that wakes another is treated differs between these.
fn scheduler() -> String {
    let ext = fs::read_to_string("/sys/kernel/sched_ext/root/ops");
    let preempt = fs::read_to_string("/sys/kernel/debug/sched/preempt").unwrap_or_default();
    let model = preempt.split(' ').find_map(|word| word.trim().strip_prefix('('));
    match (ext, model.and_then(|word| word.strip_suffix(')'))) {
        (Ok(name), _) => format!("sched_ext, {}", name.trim()),
        (Err(_), Some(model)) => format!("the kernel's own, preemption {model}"),
        (Err(_), None) => "the kernel's own".into(),
    }
}
