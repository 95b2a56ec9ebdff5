//! What the user asked for: arguments, and before them the environment.

use super::rounds::Plan;
use crate::server::Result;
use regex_lite::Regex;
use std::time::Duration;

pub const USAGE: &str = "\
usage: scripts/bench.sh [--quick] [--rows REGEX] [--clients N,N,...] [--sittings N] [--rounds N]
       [--self] [--write-docs | --no-docs]
  --quick        a rough look, in about 3 minutes               (BENCH_QUICK=1)
  --rows REGEX   only rows whose name matches, in any case      (BENCH_ROWS=REGEX)
  --clients ...  only with so many clients at the same time     (BENCH_CLIENTS=N,N,...)
  --sittings N   how many times new servers are started         (BENCH_SITTINGS=N)
  --rounds N     how many rounds each server then gets          (BENCH_ROUNDS=N)
  --self         stock against stock: the noise of this machine (BENCH_SELF=1)
  --write-docs   put the tables into docs/ even if they are not the whole (BENCH_DOCS=1)
  --no-docs      or not, even if they are                       (BENCH_DOCS=0)
The environment is for `make bench`: make bench BENCH_ROWS=stat
";

const FULL: Plan = Plan {
    sittings: 10,
    rounds: 2,
    length: Duration::from_millis(60),
    warm_up: Duration::from_millis(4),
    slow: Duration::from_millis(400),
    settle: 120_000,
};

const QUICK: Plan = Plan {
    sittings: 2,
    rounds: 1,
    length: Duration::from_millis(40),
    warm_up: Duration::from_millis(2),
    slow: Duration::from_millis(200),
    settle: 110_000,
};

pub struct Settings {
    pub plan: Plan,
    rows: Option<Regex>,
    clients: Option<Vec<usize>>,
    pub stock_only: bool,
    /// Whether the tables go into docs/: those of a whole run do.
    pub write_docs: bool,
}

impl Settings {
    pub fn wants_row(&self, name: &str) -> bool {
        self.rows.as_ref().is_none_or(|rows| rows.is_match(name))
    }

    pub fn wants_clients(&self, clients: usize) -> bool {
        self.clients.as_ref().is_none_or(|wanted| wanted.contains(&clients))
    }
}

/// The settings; `None` if there is nothing to do.
pub fn settings() -> Result<Option<Settings>> {
    let mut arguments = from_environment();
    arguments.extend(std::env::args().skip(1));
    if !arguments.iter().any(|argument| argument == "--bench") {
        // This is `cargo test --all-targets`, which does not want to wait.
        println!("this is a bench: run `make bench`");
        return Ok(None);
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let mut settings = Settings {
        plan: if quick { QUICK } else { FULL },
        rows: None,
        clients: None,
        stock_only: false,
        write_docs: false,
    };
    let mut docs = None;
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value =
            || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
        match argument.as_str() {
            "--bench" | "--quick" => {}
            "--help" => {
                print!("{USAGE}");
                return Ok(None);
            }
            "--rows" => {
                let text = value()?;
                let rows = Regex::new(&format!("(?i){text}"));
                settings.rows =
                    Some(rows.map_err(|error| format!("--rows {text}: {error}\n{USAGE}"))?);
            }
            "--clients" => {
                settings.clients =
                    Some(value()?.split(',').map(number).collect::<Result<Vec<_>>>()?);
            }
            "--sittings" => settings.plan.sittings = number(&value()?)?,
            "--rounds" => settings.plan.rounds = number(&value()?)?,
            "--self" => settings.stock_only = true,
            "--write-docs" => docs = Some(true),
            "--no-docs" => docs = Some(false),
            _ => return Err(format!("unknown argument {argument}\n{USAGE}")),
        }
    }
    let whole =
        !quick && settings.rows.is_none() && settings.clients.is_none() && !settings.stock_only;
    settings.write_docs = docs.unwrap_or(whole);
    Ok(Some(settings))
}

fn number(text: &str) -> Result<usize> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{text} is not a number above 0\n{USAGE}")),
    }
}

/// As arguments. An empty variable says nothing.
fn from_environment() -> Vec<String> {
    let said = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut arguments = Vec::new();
    for (name, argument) in [("BENCH_QUICK", "--quick"), ("BENCH_SELF", "--self")] {
        if said(name).is_some_and(|value| value != "0") {
            arguments.push(argument.to_string());
        }
    }
    for (name, argument) in [
        ("BENCH_ROWS", "--rows"),
        ("BENCH_CLIENTS", "--clients"),
        ("BENCH_SITTINGS", "--sittings"),
        ("BENCH_ROUNDS", "--rounds"),
    ] {
        if let Some(value) = said(name) {
            arguments.extend([argument.to_string(), value]);
        }
    }
    if let Some(value) = said("BENCH_DOCS") {
        arguments.push(if value == "0" { "--no-docs" } else { "--write-docs" }.to_string());
    }
    arguments
}
