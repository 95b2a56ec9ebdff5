//! Going to the background: at once when the filesystem is mounted
//! ([`daemonize`]), or early, before anything else ([`early`]), so that whatever
//! fails later still reaches the exit status of the process that was started.

pub mod early;

use crate::errno::{Errno, Result};
use crate::log_error;
use crate::sys::process::{self, Side};
use std::fs::File;
use std::io::{Read, Write};

/// In the foreground only changes to `/`. Else the process goes on as a child
/// in a session of its own, in `/`, with the standard descriptors on
/// `/dev/null`, and the caller's process ends when that is done: with status 0,
/// or 1 if the child ended before. A failure has been logged.
///
/// Threads do not survive, so this comes before any are started.
pub fn daemonize(foreground: bool) -> Result<()> {
    if early::was_used() {
        log_error!("fuse: fuse_daemonize() was called after fuse_daemonize_early_start()");
        return Err(Errno(libc::EALREADY));
    }
    let done = match foreground {
        true => None,
        false => Some(background()?),
    };
    process::chdir(c"/").map_err(failed("change to directory /"))?;
    if let Some(mut done) = done {
        process::silence_standard_descriptors().map_err(failed("open /dev/null"))?;
        done.write_all(&[0]).map_err(|error| failed("tell the parent process")(error.into()))?;
    }
    Ok(())
}

/// Returns in the child only, with the pipe on which the parent waits for a byte.
fn background() -> Result<File> {
    let (wait, done) = process::pipe(0).map_err(failed("create a pipe"))?;
    if let Side::Parent(_) = process::fork().map_err(failed("fork"))? {
        drop(done);
        let finished = File::from(wait).read_exact(&mut [0]).is_ok();
        process::exit_now(i32::from(!finished));
    }
    process::setsid().map_err(failed("start a session"))?;
    Ok(File::from(done))
}

fn failed(what: &'static str) -> impl Fn(Errno) -> Errno {
    move |errno| {
        log_error!("fuse: cannot go to the background: cannot {what}: {errno}");
        errno
    }
}
