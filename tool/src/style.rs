//! Output for people: colours on a terminal only, and not where NO_COLOR or a
//! dumb terminal says no.

use std::io::{self, IsTerminal, Write};

/// Writes `text` to standard output. A reader that has gone is no error.
pub fn print(text: &str) -> io::Result<()> {
    is_read(text).map(drop)
}

/// The same; false if the reader has gone.
pub fn is_read(text: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// `value` as JSON, on standard output.
pub fn print_json(value: &impl serde::Serialize) -> io::Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// How words are set off.
#[derive(Clone, Copy)]
pub enum Tone {
    Good,
    Warning,
    Bad,
    Strong,
}

/// Sets words off, if standard output takes colours.
pub struct Style(bool);

impl Style {
    /// For standard output as it is.
    pub fn of_stdout() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self(io::stdout().is_terminal() && !set("NO_COLOR") && !dumb)
    }

    /// `text` in `tone`.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
            Tone::Strong => "1",
        };
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.into()
        }
    }
}
