//! Where what is shown goes: one of our descriptors, written only as far as it takes something.
//!
//! # Theory of operation
//! What comes from the log waits here until the descriptor has room, and nothing more is read of the log meanwhile: so
//! one piece of it is in memory, and keys and signals are heard however slow the reader is. Before a terminal stands a
//! lens. Where both streams go to the same terminal they go through one: a sequence may be begun on one stream and
//! ended on the other.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::fs::fstat;
use rustix::termios::tcgetsid;

use crate::supervise::port::{Port, of_caller};
use crate::supervise::pump::Lens;
use crate::sys::errno::Result;
use crate::sys::event::Poller;
use std::os::fd::AsFd as _;

/// Ends whatever sequence was cut off in the middle.
const CUT: &[u8] = b"\x18\x1b\\";

/// A terminal that is left has this long to take what puts it back.
const LEAVING: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Outlet {
    port: Port,
    lens: Option<Lens>,
    waiting: Vec<u8>,
    written: usize,
}

impl Outlet {
    /// To one of the caller's descriptors.
    pub(super) fn caller(number: u8) -> Result<Self> {
        let port = Port::caller(number)?;
        let lens = port.is_terminal().then(Lens::default);
        Ok(Self { port, lens, waiting: Vec::new(), written: 0 })
    }

    /// Adds what the payload wrote.
    pub(super) fn show(&mut self, bytes: &[u8]) {
        self.make_room();
        match &mut self.lens {
            Some(lens) => lens.pass(bytes, &mut self.waiting),
            None => self.waiting.extend_from_slice(bytes),
        }
    }

    /// Adds words of our own.
    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.make_room();
        self.waiting.extend_from_slice(bytes);
    }

    fn make_room(&mut self) {
        self.waiting.drain(..self.written.min(self.waiting.len()));
        self.written = 0;
    }

    fn rest(&self) -> &[u8] {
        self.waiting.get(self.written..).unwrap_or_default()
    }

    /// The descriptor, while something waits to be written to it.
    pub(super) fn loaded(&self) -> Option<BorrowedFd<'_>> {
        (!self.rest().is_empty()).then(|| self.port.as_fd())
    }

    /// Writes what there is room for.
    pub(super) fn write(&mut self) -> Result<()> {
        self.written += self.port.write(self.rest())?;
        Ok(())
    }

    /// Whether a terminal was asked something since this was called last.
    pub(super) fn take_asked(&mut self) -> bool {
        let Some(lens) = &mut self.lens else { return false };
        let asked = lens.modes.asked();
        lens.modes.answered();
        asked
    }

    /// Puts a terminal back as it was, without waiting long for it. What still waited is dropped.
    pub(super) fn finish(&mut self) -> Result<()> {
        let Some(lens) = &self.lens else { return Ok(()) };
        let cut = if self.rest().is_empty() { &b""[..] } else { CUT };
        (self.waiting, self.written) = ([cut, &lens.modes.reset()].concat(), 0);
        let until = Instant::now() + LEAVING;
        while let Some(fd) = self.loaded() {
            let mut poller = Poller::new();
            poller.writable((), fd);
            let left = until.saturating_duration_since(Instant::now());
            if poller.wait(Some(left))?.is_empty() {
                break;
            }
            self.write()?;
        }
        Ok(())
    }
}

/// Whether descriptors 1 and 2 are the same terminal: the same file, or both the one that controls us.
pub(super) fn is_one_terminal() -> bool {
    let (output, errors) = (of_caller(1), of_caller(2));
    let are_terminals = rustix::termios::isatty(output) && rustix::termios::isatty(errors);
    let file = |fd| fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    let is_same = matches!((file(output), file(errors)), (Ok(one), Ok(other)) if one == other);
    are_terminals && (is_same || (tcgetsid(output).is_ok() && tcgetsid(errors).is_ok()))
}
