//! Where and with what the numbers were measured.

use super::rounds::Plan;
use crate::server::{Library, Programs, Result};
use std::fs;
use std::thread;

pub fn facts(programs: &Programs, libraries: &[Library], plan: &Plan) -> Result<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name")?
                .split_once(':')
                .map(|(_, name)| name.trim().to_string())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.into());
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut text = format!(
        "{cpus} CPUs ({model}), Linux {}, load {} at the start\n",
        kernel.trim(),
        load.split(' ').next().unwrap_or("unknown"),
    );
    let mut told = Vec::new();
    for library in libraries {
        if !told.contains(library) {
            told.push(*library);
            text += &format!("{library}: {}\n", programs.version(*library)?);
        }
    }
    text += &format!(
        "{} sittings with {} rounds of {} ms on each mount",
        plan.sittings,
        plan.rounds,
        plan.length.as_millis()
    );
    Ok(text)
}
