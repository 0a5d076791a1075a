//! Moves bytes from one end to another through a bounded buffer.
//!
//! # Theory of operation
//! A source is read only while there is room, so a slow reader slows the writer and nothing is lost. A
//! sink that fails closes the source as well: the payload then meets the closed pipe itself, as it
//! would have without us. A source that ends closes the sink when the rest is written.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use super::clipboard::Clipboard;
use super::modes::Modes;
use super::port::{Got, Port};
use crate::sys::errno::Errno;

/// Above this many bytes nothing more is read.
const FULL: usize = 64 * 1024;

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;

/// Ends input at the start of a line of a terminal: what `VEOF` is by default.
const END_OF_TRANSMISSION: u8 = 0x04;

/// What a pump is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The caller's descriptor 0 to the payload's pipe.
    RelayIn,
    /// The payload's pipe to the caller's descriptor with this number.
    RelayOut(u8),
    /// The caller's terminal, or its descriptor 0, to the pty.
    Keys,
    /// The pty to the caller's terminal, or another of its descriptors, which has this number.
    Screen(u8),
}

impl Role {
    /// Whether it carries what the payload wrote.
    pub(super) fn is_output(self) -> bool {
        matches!(self, Self::RelayOut(_) | Self::Screen(_))
    }
}

/// What stands between the pty and a terminal.
#[derive(Debug, Default)]
pub(super) struct Lens {
    pub(super) clipboard: Clipboard,
    pub(super) modes: Modes,
}

/// One of a terminal to which two streams may go: a sequence may be begun on one and ended on the other.
pub(super) type SharedLens = Rc<RefCell<Lens>>;

impl Lens {
    /// Adds to `into` what of `bytes` the terminal may get.
    pub(super) fn pass(&mut self, bytes: &[u8], into: &mut Vec<u8>) {
        let before = into.len();
        self.clipboard.filter(bytes, into);
        self.modes.watch(into.get(before..).unwrap_or_default());
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pump {
    pub(super) role: Role,
    source: Option<Port>,
    sink: Option<Port>,
    buffer: Vec<u8>,
    written: usize,
    /// For output to a terminal; shared where another stream goes there too.
    lens: Option<SharedLens>,
    failed: Option<Errno>,
    last_read: u8,
}

impl Pump {
    /// From `source` to `sink`.
    pub(super) fn new(role: Role, source: Port, sink: Port, lens: Option<SharedLens>) -> Self {
        Self {
            role,
            source: Some(source),
            sink: Some(sink),
            buffer: Vec::new(),
            written: 0,
            lens,
            failed: None,
            last_read: b'\n',
        }
    }

    /// The source, when it should be read.
    pub(super) fn thirsty(&self) -> Option<BorrowedFd<'_>> {
        let room = self.pending().len() < FULL;
        self.source.as_ref().filter(|_| room).map(AsFd::as_fd)
    }

    /// The sink, when there is something to write.
    pub(super) fn loaded(&self) -> Option<BorrowedFd<'_>> {
        self.sink.as_ref().filter(|_| !self.pending().is_empty()).map(AsFd::as_fd)
    }

    /// Whether it has done all that it can.
    pub(super) fn is_finished(&self) -> bool {
        self.sink.is_none() || (self.source.is_none() && self.pending().is_empty())
    }

    /// Whether the source is a terminal.
    pub(super) fn is_from_terminal(&self) -> bool {
        self.source.as_ref().is_some_and(Port::is_terminal)
    }

    /// Whether the source has ended.
    pub(super) fn is_dry(&self) -> bool {
        self.source.is_none()
    }

    /// Whether the sink takes no more.
    pub(super) fn is_broken(&self) -> bool {
        self.failed.is_some()
    }

    /// Why the sink took no more, unless its reader just went away.
    pub(super) fn failure(&self) -> Option<Errno> {
        self.failed.filter(|errno| *errno != Errno::EPIPE && *errno != Errno::ECONNRESET)
    }

    /// Reads once.
    pub(super) fn read(&mut self) -> Got {
        let Some(source) = &self.source else { return Got::End };
        let mut bytes = [0; CHUNK];
        let got = source.read(&mut bytes);
        let raw_terminal = self.role == Role::Keys && source.is_terminal();
        if let Ok(Got::Bytes(length)) = got {
            self.load(bytes.get(..length).unwrap_or_default());
        }
        match got {
            // A raw terminal that has nothing reads as an end.
            Ok(Got::End) if raw_terminal => Got::Nothing,
            Ok(got) => got,
            // EIO is how a pty's master says that nobody has the other side open.
            Err(_) => Got::End,
        }
    }

    /// No more is read. What is behind hears so in its own way: a terminal is put back as it was, a
    /// pty gets the character that ends its input.
    pub(super) fn end_source(&mut self) {
        if self.source.take().is_none() {
            return;
        }
        if self.role == Role::Keys {
            let ends = if self.last_read == b'\n' { 1 } else { 2 };
            self.append(&[END_OF_TRANSMISSION; 2][..ends]);
        }
        if let Some(reset) = self.lens.as_ref().map(|lens| lens.borrow().modes.reset()) {
            self.append(&reset);
        }
    }

    /// Gives up what is not written yet. A terminal is put back as well as can be without waiting for it.
    pub(super) fn abandon(self) {
        if let (Some(lens), Some(sink)) = (&self.lens, &self.sink) {
            let reset = lens.borrow().modes.reset();
            // In the middle of a sequence, for all we know.
            let cut: &[u8] = if self.pending().is_empty() { b"" } else { b"\x18\x1b\\" };
            // A terminal that takes nothing now, or is gone, cannot be helped.
            sink.write(&[cut, &reset].concat()).unwrap_or_default();
        }
    }

    /// Adds bytes that were not read, behind those that were.
    fn append(&mut self, bytes: &[u8]) {
        self.make_room();
        self.buffer.extend_from_slice(bytes);
    }

    /// Writes once.
    pub(super) fn write(&mut self) {
        let Some(sink) = &self.sink else { return };
        match sink.write(self.pending()) {
            Ok(length) => self.written += length,
            Err(errno) => {
                self.failed = Some(errno);
                self.sink = None;
                self.source = None;
            }
        }
    }

    fn load(&mut self, bytes: &[u8]) {
        self.make_room();
        self.last_read = bytes.last().copied().unwrap_or(self.last_read);
        match &mut self.lens {
            None => self.buffer.extend_from_slice(bytes),
            Some(lens) => lens.borrow_mut().pass(bytes, &mut self.buffer),
        }
    }

    fn pending(&self) -> &[u8] {
        self.buffer.get(self.written..).unwrap_or_default()
    }

    fn make_room(&mut self) {
        self.buffer.drain(..self.written.min(self.buffer.len()));
        self.written = 0;
    }
}
