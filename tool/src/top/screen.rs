//! The terminal, while `ringfuse top` has it: its other screen, and keys that come one
//! by one. It is given back as it was when this is dropped.

use crate::style::print;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::termios::{
    tcgetattr, tcgetwinsize, tcsetattr, LocalModes, OptionalActions, SpecialCodeIndex, Termios,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::low_level::pipe;
use std::io::{self, IsTerminal, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its time is over, or somebody does not want to wait.
    Look,
    /// The same is to be shown again: the terminal has another size.
    Draw,
    /// Queues, or none.
    Queues,
    /// A key or a signal that ends the program.
    Quit,
}

/// The other screen, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

const KEYS: &str = "q: quit   u: queues   space: look now";

pub struct Screen {
    /// None if standard input is no terminal: then there are no keys.
    before: Option<Termios>,
    ends: UnixStream,
    sizes: UnixStream,
}

impl Screen {
    pub fn open() -> io::Result<Self> {
        let (ends, end) = UnixStream::pair()?;
        let (sizes, size) = UnixStream::pair()?;
        for socket in [&ends, &sizes] {
            socket.set_nonblocking(true)?;
        }
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            pipe::register(signal, end.try_clone()?)?;
        }
        pipe::register(SIGWINCH, size)?;
        let stdin = io::stdin();
        let before = if stdin.is_terminal() { Some(tcgetattr(&stdin)?) } else { None };
        if let Some(before) = &before {
            let mut modes = before.clone();
            // Ctrl-C is a key: the terminal is to be given back first.
            modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
            modes.special_codes[SpecialCodeIndex::VMIN] = 1;
            modes.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(&stdin, OptionalActions::Now, &modes)?;
        }
        // From here on it has to be given back.
        let screen = Self { before, ends, sizes };
        print(ENTER)?;
        Ok(screen)
    }

    /// Columns and lines.
    pub fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (size.ws_col.into(), size.ws_row.into())
            }
            _ => (80, 24),
        }
    }

    /// Shows `lines` in the place of what was there, as many as there is room for, and
    /// what the keys are for.
    pub fn show(&self, lines: &[String]) -> io::Result<()> {
        let (_, height) = self.size();
        let mut text = String::from("\x1b[H");
        for line in lines.iter().take(height.saturating_sub(2)) {
            text += &format!("{line}\x1b[K\n");
        }
        print(&(text + "\x1b[K\n" + KEYS + "\x1b[K\x1b[J"))
    }

    /// Waits until then, or until something happens.
    pub fn wait(&mut self, until: Instant) -> io::Result<Event> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if let Some(event) = self.next(left)? {
                return Ok(event);
            }
            if Instant::now() >= until {
                return Ok(Event::Look);
            }
        }
    }

    fn next(&mut self, time: Duration) -> io::Result<Option<Event>> {
        let stdin = io::stdin();
        let mut files =
            vec![PollFd::new(&self.ends, PollFlags::IN), PollFd::new(&self.sizes, PollFlags::IN)];
        if self.before.is_some() {
            files.push(PollFd::new(&stdin, PollFlags::IN));
        }
        let time = Timespec::try_from(time).map_err(io::Error::other)?;
        match poll(&mut files, Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [end, size, key] =
            [0, 1, 2].map(|file| files.get(file).is_some_and(|file| !file.revents().is_empty()));
        if end {
            return Ok(Some(Event::Quit));
        }
        if size {
            let _ = self.sizes.read(&mut [0; 64]);
            return Ok(Some(Event::Draw));
        }
        if !key {
            return Ok(None);
        }
        let mut key = [0];
        match rustix::io::read(&stdin, &mut key) {
            Ok(1) => Ok(meaning(key[0])),
            // The terminal is gone.
            _ => Ok(Some(Event::Quit)),
        }
    }
}

fn meaning(key: u8) -> Option<Event> {
    const CTRL_C: u8 = 3;
    match key {
        b'q' | b'Q' | CTRL_C => Some(Event::Quit),
        b'u' => Some(Event::Queues),
        b' ' | b'\r' | b'\n' => Some(Event::Look),
        _ => None,
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = print(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
