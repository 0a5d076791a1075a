//! Long answers on a terminal go through a pager.
//!
//! # Theory of operation
//! What is written is kept until it is more than fits on the screen; then the pager is started and gets it
//! all. What fits is written as it is, at the end. When the user leaves the pager early, writing fails with
//! `EPIPE`, which callers hold for no error.
//!
//! # Decisions
//! - The pager is the user's own `$PAGER`, by a shell, or else `less -R`. It gets the user's environment without
//!   what makes `less` run other programs, with `LESSSECURE`, and without the parts of `PATH` that depend on the
//!   current directory: that may hold what a payload wrote.
//! - While it runs, an interrupt from the terminal is the pager's matter.
//! - Where it cannot be started, everything is written as without.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::sys::signal::{SignalNumber, ignore};

/// A screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Lines.
    pub rows: usize,
    /// Characters in a line.
    pub columns: usize,
}

impl Screen {
    /// The terminal behind stdout; none when it is no terminal.
    pub fn of_stdout() -> Option<Self> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        let (rows, columns) = (usize::from(size.ws_row), usize::from(size.ws_col));
        (rows > 0 && columns > 0).then_some(Self { rows, columns })
    }
}

/// A writer to stdout that starts a pager when it is given more than a screen holds.
pub struct Pager {
    state: State,
    screen: Screen,
    program: Option<OsString>,
}

enum State {
    /// What was written so far, and how many lines of the screen that is.
    Waiting { kept: Vec<u8>, rows: usize, column: usize },
    /// The pager runs.
    Paging { child: Child, input: ChildStdin },
    /// It could not be started.
    Plain,
}

impl Pager {
    /// For this screen. `program` is the value of `$PAGER`, for a shell; `less -R` without.
    pub fn new(screen: Screen, program: Option<&OsStr>) -> Self {
        let state = State::Waiting { kept: Vec::new(), rows: 0, column: 0 };
        Self { state, screen, program: program.map(OsStr::to_owned) }
    }

    /// Writes what is still kept, and waits until the user has left the pager.
    pub fn finish(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.state, State::Plain) {
            State::Waiting { kept, .. } => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&kept)?;
                stdout.flush()
            }
            State::Paging { mut child, input } => {
                drop(input);
                child.wait().map(|_| ())
            }
            State::Plain => io::stdout().flush(),
        }
    }

    fn start(&mut self, kept: &[u8]) -> io::Result<()> {
        let mut command = command(self.program.as_deref());
        self.state = match command.stdin(Stdio::piped()).spawn() {
            Ok(mut child) => match child.stdin.take() {
                Some(input) => {
                    // Whether that worked or not: the pager runs.
                    ignore(SignalNumber::INT).unwrap_or_default();
                    State::Paging { child, input }
                }
                None => State::Plain,
            },
            Err(_) => State::Plain,
        };
        self.write_all(kept)
    }
}

impl Write for Pager {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.state {
            State::Waiting { kept, rows, column } => {
                kept.extend_from_slice(bytes);
                for byte in bytes {
                    if *byte == b'\n' {
                        *rows += 1 + column.saturating_sub(1) / self.screen.columns;
                        *column = 0;
                    } else if !is_continuation(*byte) {
                        *column += 1;
                    }
                }
                // The prompt of the shell needs a line too.
                if *rows >= self.screen.rows {
                    let kept = std::mem::take(kept);
                    self.start(&kept)?;
                }
                Ok(bytes.len())
            }
            State::Paging { input, .. } => input.write(bytes),
            State::Plain => io::stdout().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.state {
            State::Waiting { .. } => Ok(()),
            State::Paging { input, .. } => input.flush(),
            State::Plain => io::stdout().flush(),
        }
    }
}

/// A byte of a character that began before it.
fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

fn command(program: Option<&OsStr>) -> Command {
    let mut command = Command::new(if program.is_some() { "/bin/sh" } else { "less" });
    match program {
        Some(program) => command.arg("-c").arg(program),
        None => command.arg("-R"),
    };
    for runs_others in ["LESSOPEN", "LESSCLOSE", "LESSEDIT", "LESSKEY", "LESSKEYIN"] {
        command.env_remove(runs_others);
    }
    command.env("LESSSECURE", "1");
    if std::env::var_os("LESSHISTFILE").is_none() {
        // What was searched for is not kept: nothing on the host is written that nobody named.
        command.env("LESSHISTFILE", "-");
    }
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", absolute_parts(&path));
    }
    command
}

/// The parts of a search path that mean the same wherever one is.
fn absolute_parts(path: &OsStr) -> OsString {
    let parts = path.as_bytes().split(|byte| *byte == b':');
    let kept: Vec<&[u8]> = parts.filter(|part| part.first() == Some(&b'/')).collect();
    OsString::from_vec(kept.join(&b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pager_is_not_looked_for_in_the_current_directory() {
        let path = absolute_parts(OsStr::new(".:/usr/bin::bin:/bin"));
        assert_eq!(path, OsStr::new("/usr/bin:/bin"));
    }

    #[test]
    fn what_fits_on_the_screen_is_kept_for_the_end() {
        let mut pager = Pager::new(Screen { rows: 3, columns: 10 }, Some(OsStr::new("cat >&2")));
        pager.write_all("one\ntwenty two letters ä\n".as_bytes()).unwrap();
        // The second line takes two of the screen's.
        assert!(matches!(pager.state, State::Paging { .. }));
        pager.finish().unwrap();
        let mut pager = Pager::new(Screen { rows: 4, columns: 20 }, None);
        pager.write_all("one\ntwenty letters, ää ää\nxx".as_bytes()).unwrap();
        assert!(matches!(pager.state, State::Waiting { rows: 3, column: 2, .. }));
    }
}
