//! What a session tells about itself: which transport serves it, why, and how
//! much went through it. For `ringfuse.h` and the RINGFUSE_STATS file.

use super::page::{self, Facts, Page, QueueStats};
use super::Session;
use std::ffi::{CStr, CString};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// `enum ringfuse_transport`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Serving {
    #[default]
    None = 0,
    Dev = 1,
    Ring = 2,
    Custom = 3,
}

impl Serving {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Dev => "dev",
            Self::Ring => "ring",
            Self::Custom => "custom",
        }
    }
}

/// `struct ringfuse_stats`; see `ringfuse.h` for the fields.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Stats {
    pub size: usize,
    pub transport: u32,
    pub queues: u32,
    pub dev_requests: u64,
    pub ring_requests: u64,
    pub threads: u64,
    pub threads_peak: u64,
    pub entries: u64,
    pub parked: u64,
    pub kicks: u64,
    pub grown: u64,
    pub handed_over: u64,
    pub foreign_answers: u64,
    pub nodes: u64,
    pub path_waiters: u64,
}

/// RINGFUSE_QUEUE_DEV.
const DEV: u32 = u32::MAX;

/// Fills in what the path API counts; on any thread, as long as the session lives.
pub type CountPaths = Box<dyn Fn(&mut Stats) + Send + Sync>;

impl Session {
    /// Records the transport and tells it in one log line.
    pub(super) fn settle(&self, kind: &str, reason: &str) {
        let line = format!("ringfuse: transport {kind}: {reason}");
        let loud =
            matches!(self.options.transport, super::options::Transport::Ring) && kind != "ring";
        if loud {
            crate::log_warning!("{line}");
        } else {
            crate::log_info!("{line}");
        }
        self.serving.store(
            match kind {
                "ring" => Serving::Ring,
                "dev" => Serving::Dev,
                _ => Serving::Custom,
            } as u32,
            Ordering::Release,
        );
        let text = CString::new(reason.replace('\0', "?")).unwrap_or_default();
        self.reasons.lock().push(text.into_boxed_c_str());
        if self.connection.load(Ordering::Relaxed) == 0 && self.custom_io().is_none() {
            // A descriptor that was handed over before it was mounted.
            self.note_connection();
        }
        self.show_state();
    }

    /// The page that tells other processes of the session.
    pub fn page(&self) -> &Arc<Page> {
        &self.page
    }

    /// Finds out which connection the descriptor is of. A file is opened for it, so
    /// it comes with the mount: the program may lock itself up before its loop.
    pub(super) fn note_connection(&self) {
        let number = page::connection_of(self.fd()).unwrap_or(0);
        self.connection.store(number, Ordering::Relaxed);
    }

    /// Shows there what has changed about connection and transport. To be called
    /// with no lock of the session's held.
    pub(super) fn show_state(&self) {
        let connection = self.connection.load(Ordering::Relaxed);
        self.page.show(&Facts {
            transport: self.serving.load(Ordering::Acquire),
            connection: Some(connection).filter(|&number| number != 0),
            reason: self.reason(),
            mountpoint: self.mountpoint().as_deref(),
        });
    }

    /// Why the session has the transport it has; "" before INIT. The text lives
    /// as long as the session.
    #[allow(unsafe_code)]
    pub fn reason(&self) -> &CStr {
        let reasons = self.reasons.lock();
        let Some(last) = reasons.last() else {
            return c"";
        };
        // SAFETY: reasons are only ever added, and boxed: the text stays where
        // it is until the session is freed.
        unsafe { CStr::from_ptr(last.as_ptr()) }
    }

    /// Who counts for the path API. Only the first call has an effect.
    pub fn count_paths_by(&self, count: CountPaths) {
        let _ = self.paths.set(count);
    }

    /// The counters now.
    pub fn stats(&self) -> Stats {
        let (dev, rings) = (self.page.by_dev(), self.page.by_rings());
        let head = self.page.head();
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut stats = Stats {
            size: size_of::<Stats>(),
            transport: self.serving.load(Ordering::Acquire),
            dev_requests: dev.requests,
            ring_requests: rings.requests,
            threads: dev.threads,
            threads_peak: dev.threads_peak,
            entries: rings.entries,
            parked: dev.parked + rings.parked,
            kicks: rings.kicks,
            grown: rings.grown,
            handed_over: rings.handed_over,
            foreign_answers: rings.foreign_answers,
            ..Stats::default()
        };
        if let Some(count) = self.paths.get() {
            count(&mut stats);
        }
        if let Some(queues) = self.queues() {
            stats.transport = Serving::Ring as u32;
            stats.queues = queues;
            stats.threads = number(&head.ring_threads);
            stats.threads_peak = number(&head.ring_threads_peak);
        }
        stats
    }

    /// The kernel's queues, if rings serve the session or did.
    fn queues(&self) -> Option<u32> {
        let engine = self.engine().or_else(|| self.retired.lock().last().cloned());
        engine.map(|engine| engine.queues() as u32)
    }

    /// The counters of one queue now, or of what did not come by rings. None: there is
    /// no such queue.
    pub fn queue_stats(&self, queue: u32) -> Option<QueueStats> {
        match queue {
            DEV => Some(self.page.by_dev()),
            _ if self.queues().is_some_and(|queues| queue < queues) => {
                Some(self.page.by_queue(queue as usize))
            }
            _ => None,
        }
    }

    /// Writes the counters to the file that RINGFUSE_STATS names.
    pub(super) fn write_stats_file(&self) {
        let Some(path) = std::env::var_os("RINGFUSE_STATS") else {
            return;
        };
        let stats = self.stats();
        let kind = match stats.transport {
            1 => Serving::Dev,
            2 => Serving::Ring,
            3 => Serving::Custom,
            _ => Serving::None,
        };
        let mut text = Vec::new();
        let _ = writeln!(text, "transport {}", kind.name());
        for (name, value) in [
            ("queues", u64::from(stats.queues)),
            ("dev_requests", stats.dev_requests),
            ("ring_requests", stats.ring_requests),
            ("threads", stats.threads),
            ("threads_peak", stats.threads_peak),
            ("entries", stats.entries),
            ("parked", stats.parked),
            ("kicks", stats.kicks),
            ("grown", stats.grown),
            ("handed_over", stats.handed_over),
            ("foreign_answers", stats.foreign_answers),
            ("nodes", stats.nodes),
            ("path_waiters", stats.path_waiters),
        ] {
            let _ = writeln!(text, "{name} {value}");
        }
        let _ = writeln!(text, "reason {}", self.reason().to_string_lossy());
        if let Err(error) = std::fs::write(&path, text) {
            crate::log_warning!("RINGFUSE_STATS={}: {error}", path.to_string_lossy());
        }
    }
}
