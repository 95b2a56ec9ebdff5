//! The least that a 4 KiB read can cost: two processes of one CPU that wake each
//! other through pipes, the second one reading the file itself.

use super::data;
use super::process::on_one_cpu;
use std::fs::File;
use std::io::{ErrorKind, Read, Result, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// The word that makes this program the second process.
pub const ECHO: &str = "--echo";

/// Seconds for one such read of a file in `backing`.
pub fn measure(backing: &Path) -> Result<f64> {
    on_one_cpu(|| ping_pong(backing))
}

fn ping_pong(backing: &Path) -> Result<f64> {
    const TIMES: u32 = 20_000;
    let mut child = Command::new(std::env::current_exe()?)
        .arg(ECHO)
        .arg(backing.join(data::name(0)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let outcome = exchange(&mut child, TIMES / 10).and_then(|()| {
        let start = Instant::now();
        exchange(&mut child, TIMES)?;
        Ok(start.elapsed().as_secs_f64() / f64::from(TIMES))
    });
    drop(child.stdin.take()); // which ends it
    child.wait()?;
    outcome
}

fn exchange(child: &mut Child, times: u32) -> Result<()> {
    let (Some(ask), Some(answer)) = (&mut child.stdin, &mut child.stdout) else {
        unreachable!("both are piped");
    };
    let mut byte = [1];
    (0..times).try_for_each(|_| {
        ask.write_all(&byte)?;
        answer.read_exact(&mut byte)
    })
}

/// The second process, until its input ends.
pub fn echo(file: &Path) -> Result<()> {
    let file = File::open(file)?;
    let (mut ask, mut answer) = (std::io::stdin(), std::io::stdout());
    let (mut byte, mut page) = ([0], [0; 4096]);
    loop {
        match ask.read_exact(&mut byte) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        file.read_exact_at(&mut page, 0)?;
        answer.write_all(&byte)?;
        answer.flush()?;
    }
}
