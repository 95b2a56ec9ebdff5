//! Answers to requests that came by a ring: on any thread, once for each request, into
//! its entry.

use super::entry::Entry;
use crate::errno::Result;
use crate::session::request::Request;
use std::io::IoSlice;
use std::sync::atomic::Ordering;

/// Answers a ring request with success and data.
pub fn answer(req: &Request, parts: &[IoSlice<'_>]) -> Result<()> {
    let entry = Entry::of(req);
    let result = entry.set_answer(0, parts);
    if result.is_err() {
        crate::log_error!(
            "fuse: answer to request {} (opcode {}) is larger than the request allows",
            req.unique(),
            req.opcode_raw()
        );
        let _ = entry.set_answer(libc::EIO, &[]);
    }
    complete(entry);
    result
}

/// Answers a ring request with an error (0: success without data).
pub fn answer_error(req: &Request, error: i32) -> Result<()> {
    let entry = Entry::of(req);
    let result = entry.set_answer(error, &[]);
    complete(entry);
    result
}

/// The kernel is about to learn of a regular file: something to make kicks with.
pub fn note_file(req: &Request, nodeid: u64) {
    let entry = Entry::of(req);
    entry.engine().queue(entry).file.store(nodeid, Ordering::Relaxed);
}

/// Where the answer's data goes: the caller may build it in place.
pub fn payload(req: &Request) -> (*mut u8, usize) {
    Entry::of(req).payload()
}

/// The answer is in the entry: sees to its commit. In the callback that is done
/// when the callback returns, or by the keeper if it goes on for long.
fn complete(entry: &Entry) {
    let engine = entry.engine();
    let answer = entry.answer();
    engine.session.trace_answer(&entry.request, answer);
    let queue = engine.queue(entry);
    if entry.request.finish() {
        queue.unparked();
        queue.answered_elsewhere(answer.len);
        return engine.push_answer(entry);
    }
    queue.answered(answer.len);
    if engine.keeper_asleep.load(Ordering::SeqCst) {
        // The callback has lasted long enough for the keeper to fall asleep, and
        // may go on: somebody must see to the commit.
        engine.wake_keeper();
    }
}
