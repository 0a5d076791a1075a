//! What a supervisor does where there is no caller: keeps the output, takes input and orders from others.
//!
//! # Theory of operation
//! ```text
//!   payload ──pipes or pty──▶ station ──▶ log        (nobody who reads it is waited for)
//!   payload ◀──pipe or pty── station ◀── input of those who attached
//!                             station ◀──▶ clients: stop, kill, wait, attach … (`protocol`)
//! ```
//! It is a part of the supervisor's one loop while the payload runs, and has a loop of its own between an end and
//! the next start. It outlives the runs of one sandbox.
//!
//! **Who may speak to it.** The socket is in the store, which is the caller's alone and hidden in every sandbox.
//! Besides, the kernel says who is at the other end: another user is not heard, and neither is a process of
//! another user namespace, as every payload is.
//!
//! **Memory** is bounded: one buffer for output, one for input that the payload does not read yet (then input
//! waits at whoever sends it, and is lost with him when he goes), and nothing for clients, of which there are
//! [`MOST_CLIENTS`] at most and [`MOST_ORDERS`] beyond these that can only end, pause or signal it: however many
//! wait for its end, it can be ended. Whoever finds no place is told so.
//!
//! # Not here
//! When to start again (`ops::detach`), and what clients do (`ops`, `attach`).

mod between;
mod clients;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::termios::Winsize;

pub use between::Next;
use clients::Client;

use super::SuperviseError;
use super::port::set_nonblocking;
use super::protocol::Keeper;
use crate::launch::Relay;
use crate::limits::group::{Freezer, Motion};
use crate::spec::StopOrder;
use crate::state::log::{MOST, Stream, Writer};
use crate::sys::errno::{Errno, Result};
use crate::sys::event::{Poller, Ready};
use crate::sys::pty::Master;
use crate::sys::signal::SignalNumber;

/// So many may be connected at a time for whatever they like.
const MOST_CLIENTS: usize = 128;

/// So many more for short orders; others are turned away.
const MOST_ORDERS: usize = 16;

/// Input that the payload has not read yet: above this many bytes no more is taken.
const FULL: usize = 64 << 10;

/// A terminal nobody looks at has this size.
const SIZE: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };

/// What calls for something to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Pipe(Stream),
    Screen,
    InputRoom,
    Knock,
    Client(u64),
}

/// What the run is to be done with.
#[derive(Debug)]
pub(super) enum Order {
    /// Send the payload this.
    Signal(SignalNumber),
    /// Kill everything.
    Kill,
    /// Start one more program; who asked is told when it is started.
    Enter {
        /// Who.
        client: u64,
        /// What came along.
        fds: Vec<OwnedFd>,
        /// Who watches over it.
        keeper: Keeper,
    },
}

/// See the module.
pub struct Station {
    /// None for a run in the foreground, whose output goes elsewhere.
    log: Option<Writer>,
    listener: OwnedFd,
    /// The inode of our own user namespace; none where that cannot be told, and nobody is refused for it.
    namespace: Option<u64>,
    stop: StopOrder,
    /// Of what runs; none between two runs, and where it has no group.
    freezer: Option<Freezer>,
    motion: Motion,
    pipes: Vec<(Stream, OwnedFd)>,
    pty: Option<OwnedFd>,
    input: Option<OwnedFd>,
    pending: Vec<u8>,
    buffer: Vec<u8>,
    clients: Vec<Client>,
    last_client: u64,
    /// When it is killed, since somebody asked it to end.
    deadline: Option<Instant>,
    /// Somebody asked it to end: it is not started again.
    stopped: bool,
    /// So that it may end by itself.
    politely: bool,
    /// It has ended, and waits to be started again: nobody enters what is not there.
    resting: bool,
    /// Those who asked to enter and had no answer when it ended.
    owed: Vec<u64>,
}

impl Station {
    /// With a log to write, and a socket to listen at.
    pub fn new(log: Writer, listener: OwnedFd, stop: StopOrder) -> Self {
        Self { log: Some(log), buffer: vec![0; MOST], ..Self::at_door(listener, stop) }
    }

    /// At a run in the foreground: it only takes orders.
    pub fn at_door(listener: OwnedFd, stop: StopOrder) -> Self {
        Self {
            log: None,
            listener,
            namespace: clients::own_namespace(),
            stop,
            freezer: None,
            motion: Motion::Free,
            pipes: Vec::new(),
            pty: None,
            input: None,
            pending: Vec::new(),
            buffer: Vec::new(),
            clients: Vec::new(),
            last_client: 0,
            deadline: None,
            stopped: false,
            politely: false,
            resting: false,
            owed: Vec::new(),
        }
    }

    /// Says how its processes are frozen: where it has a control group of its own.
    pub(super) fn set_freezer(&mut self, freezer: Option<Freezer>) {
        (self.freezer, self.motion) = (freezer, Motion::Free);
    }

    /// Lets its processes run: what is to end by itself has to. Nothing that kills depends on it.
    pub(super) fn thaw(&mut self) {
        if let Some(freezer) = self.freezer.as_ref().filter(|_| self.motion == Motion::Frozen) {
            self.motion = freezer.set(Motion::Free).map_or(Motion::Frozen, |()| Motion::Free);
        }
    }

    /// Whether it is paused.
    pub(super) fn is_frozen(&self) -> bool {
        self.motion == Motion::Frozen
    }

    /// Whether somebody asked it to end.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether somebody asked it to end as `bryo stop` does, and did not only kill it.
    pub fn was_asked(&self) -> bool {
        self.politely
    }

    /// Takes the ends of what the payload has at its descriptors.
    pub(super) fn begin(&mut self, relays: Vec<Relay>, pty: Option<Master>) -> Result<()> {
        self.deadline = None;
        self.pending.clear();
        (self.input, self.pty) = (None, None);
        self.pipes.clear();
        for Relay { number, end } in relays {
            set_nonblocking(&end)?;
            match number {
                0 => self.input = Some(end),
                1 => self.pipes.push((Stream::Output, end)),
                _ => self.pipes.push((Stream::Errors, end)),
            }
        }
        if let Some(master) = pty.map(OwnedFd::from) {
            set_nonblocking(&master)?;
            rustix::termios::tcsetwinsize(&master, SIZE)?;
            self.pty = Some(master);
        }
        self.greet();
        Ok(())
    }

    /// How long a wait may be at most.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.deadline.map(|when| when.saturating_duration_since(Instant::now()))
    }

    /// Whether it was asked to end, and did not in time. Tells so once.
    pub(super) fn is_overdue(&mut self) -> bool {
        self.deadline.take_if(|when| *when <= Instant::now()).is_some()
    }

    /// Adds what to wait for, under keys made by `key`.
    pub(super) fn register<'fd, K: Copy>(
        &'fd self,
        poller: &mut Poller<'fd, K>,
        key: impl Fn(Event) -> K,
    ) {
        for (stream, pipe) in &self.pipes {
            poller.readable(key(Event::Pipe(*stream)), pipe.as_fd());
        }
        if let Some(pty) = &self.pty {
            poller.readable(key(Event::Screen), pty.as_fd());
        }
        if let Some(sink) = self.sink().filter(|_| !self.pending.is_empty()) {
            poller.writable(key(Event::InputRoom), sink);
        }
        poller.readable(key(Event::Knock), self.listener.as_fd());
        for client in &self.clients {
            let (key, socket) = (key(Event::Client(client.number)), client.socket.as_fd());
            if self.listens(client) {
                poller.readable(key, socket);
            } else {
                // That it is gone is seen all the same: its place is another's.
                poller.hang_up(key, socket);
            }
        }
    }

    /// Whether its next message can be taken: of one that is attached it may be input.
    fn listens(&self, client: &Client) -> bool {
        !client.attached || self.pending.len() < FULL
    }

    /// Does what an event calls for.
    pub(super) fn handle(
        &mut self,
        event: Event,
        ready: Ready,
    ) -> std::result::Result<Option<Order>, SuperviseError> {
        match event {
            Event::Pipe(stream) => self.take_output(stream),
            Event::Screen => self.take_screen(),
            Event::InputRoom => self.give_input(),
            Event::Knock => self.open_door().map_err(SuperviseError::Station)?,
            Event::Client(number) => return Ok(self.hear(number, ready)),
        }
        Ok(None)
    }

    /// Nothing runs any more: what was written is there to be read.
    pub(super) fn drain(&mut self) {
        while self.pty.is_some() && self.read_screen() == Read::More {}
        for stream in [Stream::Output, Stream::Errors] {
            while self.read_pipe(stream) == Read::More {}
        }
        self.pipes.clear();
        (self.pty, self.input) = (None, None);
        self.pending.clear();
        self.set_freezer(None);
    }

    /// Adds to the log what is to be read there besides the payload's output.
    pub fn note(&mut self, text: &str) {
        if let Some(log) = &mut self.log {
            log.append(Stream::Errors, text.as_bytes());
        }
    }

    /// These wait for an answer: of the end they hear when this one ends, and otherwise of the restart.
    pub(super) fn owe(&mut self, clients: Vec<u64>) {
        self.owed.extend(clients);
    }

    /// Why some of the output is missing in the log.
    pub(super) fn failure(&self) -> Option<Errno> {
        self.log.as_ref().and_then(Writer::failure).map(Errno::from)
    }

    /// Asks it to end; what is to be done for that.
    pub(super) fn begin_stop(
        &mut self,
        signal: Option<SignalNumber>,
        timeout: Option<Duration>,
    ) -> Order {
        (self.stopped, self.politely) = (true, true);
        self.thaw();
        // A time too far away to be an instant is no limit.
        let until = Instant::now().checked_add(timeout.unwrap_or(self.stop.patience()));
        // Who asks again may shorten the time, and not lengthen it.
        self.deadline = [self.deadline, until].into_iter().flatten().min();
        Order::Signal(signal.unwrap_or(self.stop_signal()))
    }

    /// What asks it to end.
    fn stop_signal(&self) -> SignalNumber {
        self.stop.signal.and_then(SignalNumber::new).unwrap_or(SignalNumber::TERM)
    }

    /// Where input goes.
    fn sink(&self) -> Option<BorrowedFd<'_>> {
        self.pty.as_ref().or(self.input.as_ref()).map(AsFd::as_fd)
    }

    fn take_output(&mut self, stream: Stream) {
        if self.read_pipe(stream) == Read::End {
            self.pipes.retain(|(other, _)| *other != stream);
        }
    }

    fn take_screen(&mut self) {
        if self.read_screen() == Read::End {
            self.pty = None;
        }
    }

    fn read_pipe(&mut self, stream: Stream) -> Read {
        let Some((_, pipe)) = self.pipes.iter().find(|(other, _)| *other == stream) else {
            return Read::End;
        };
        let read = read(pipe.as_fd(), &mut self.buffer);
        self.keep(stream, read)
    }

    fn read_screen(&mut self) -> Read {
        let Some(pty) = &self.pty else { return Read::End };
        let read = read(pty.as_fd(), &mut self.buffer);
        self.keep(Stream::Output, read)
    }

    fn keep(&mut self, stream: Stream, read: Option<usize>) -> Read {
        match read {
            Some(0) => Read::End,
            Some(length) => {
                if let Some(log) = &mut self.log {
                    log.append(stream, self.buffer.get(..length).unwrap_or_default());
                }
                Read::More
            }
            None => Read::Nothing,
        }
    }

    /// Writes what input waits, as far as there is room.
    fn give_input(&mut self) {
        let Some(sink) = self.sink() else { return self.pending.clear() };
        match rustix::io::write(sink, &self.pending) {
            Ok(written) => drop(self.pending.drain(..written)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            // The payload has closed it: nobody will ever read this.
            Err(_) => {
                self.pending.clear();
                self.input = None;
            }
        }
    }
}

/// What a read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    More,
    Nothing,
    End,
}

/// How many bytes; 0 at the end, none when there are none now. A pty whose other side is closed everywhere
/// answers EIO, which is its end.
fn read(from: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<usize> {
    match rustix::io::read(from, buffer) {
        Ok(length) => Some(length),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => None,
        Err(_) => Some(0),
    }
}
