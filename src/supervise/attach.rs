//! The other end of a station: somebody's terminal, or pipes, at a sandbox that runs without him.
//!
//! # Theory of operation
//! What the payload writes is read from its log from the moment of the attachment on; what is typed goes to the
//! supervisor. So any number of people can be attached, and none of them holds up another or the payload. One who
//! is so slow that the log has dropped what he has not read is told.
//!
//! Where the payload has a terminal ours is raw, and what is shown goes through the same lens as in a run: what
//! a payload sets in it is put back, and its clipboard is not written. Signals go to the payload where it has no
//! terminal (`sig-proxy`); with one, keys are bytes and become signals there.
//!
//! # Not here
//! What the supervisor does with it (`station`).

mod keys;

use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};

use rustix::termios::tcgetwinsize;

pub use keys::{DetachKeys, KeysError};

use super::SuperviseError;
use super::console::{Console, Use};
use super::port::{Got, Port, of_caller, set_nonblocking};
use super::protocol::{LONGEST, Message, Reply, Request};
use super::pump::Lens;
use super::signals::{self, Signals, Whom};
use crate::state::log::{Follow, Reader, Stream};
use crate::sys::errno::{Errno, Result};
use crate::sys::event::Poller;
use crate::sys::signal::SignalNumber;
use crate::sys::socket;

/// Input sent at once.
const CHUNK: usize = 4096;

/// What an attachment consists of.
pub struct Attachment {
    /// To the supervisor, which has answered [`Request::Attach`].
    pub socket: OwnedFd,
    /// The log, at the place where the attachment begins.
    pub log: Reader,
    /// The supervisor's end.
    pub follow: Follow,
    /// Whether the payload has a terminal.
    pub terminal: bool,
    /// Whether our input is passed on.
    pub input: bool,
    /// Whether signals are.
    pub signals: bool,
    /// What is typed to leave.
    pub keys: DetachKeys,
}

/// How an attachment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The sandbox ended with this status.
    Ended(u8),
    /// Somebody wanted to leave; the sandbox goes on.
    Detached,
    /// The supervisor ended without a word.
    Lost,
    /// Nobody reads what we write.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Signal,
    Reply,
    Room,
    Input,
    Output,
}

/// See the module.
struct Attached {
    socket: OwnedFd,
    log: Reader,
    follow: Follow,
    input: Option<Port>,
    /// A message that waits for room.
    pending: Option<Vec<u8>>,
    console: Option<Console>,
    /// Where descriptor 1 is a terminal.
    lens: Option<Lens>,
    proxy: bool,
    keys: DetachKeys,
    left: Option<Left>,
}

/// Stays attached until the sandbox ends or somebody leaves. The terminal is as it was then.
pub fn attach(
    attachment: Attachment,
    signals: &Signals,
) -> std::result::Result<Left, SuperviseError> {
    let mut attached = Attached::begin(attachment).map_err(SuperviseError::Terminal)?;
    let outcome = attached.go_on(signals);
    let finished = attached.finish().map_err(SuperviseError::Terminal);
    let left = outcome?;
    finished.map(|()| left)
}

impl Attached {
    fn begin(attachment: Attachment) -> Result<Self> {
        let Attachment { socket, log, follow, terminal, input, signals, keys } = attachment;
        set_nonblocking(&socket)?;
        let has_keys = input && rustix::termios::isatty(of_caller(0));
        let mut console = (terminal && has_keys).then(|| Console::new(0, Use::Alone));
        if let Some(console) = console.as_mut().filter(|console| console.is_foreground()) {
            console.enter_raw()?;
        }
        let input = if input { Some(Port::caller(0)?) } else { None };
        let lens = rustix::termios::isatty(of_caller(1)).then(Lens::default);
        let mut attached = Self {
            socket,
            log,
            follow,
            input,
            pending: None,
            proxy: signals && console.is_none(),
            console,
            lens,
            keys,
            left: None,
        };
        attached.resize()?;
        Ok(attached)
    }

    fn go_on(&mut self, signals: &Signals) -> std::result::Result<Left, SuperviseError> {
        loop {
            // Before the log is read: what was written before the last word is shown after it was heard.
            let left = self.left;
            self.show().map_err(SuperviseError::Terminal)?;
            if let Some(left) = left.or(self.left.filter(|left| *left == Left::Closed)) {
                return Ok(left);
            }
            for event in self.wait(signals).map_err(SuperviseError::Wait)? {
                match event {
                    Event::Signal => self.take_signals(signals)?,
                    Event::Reply => self.hear().map_err(SuperviseError::Station)?,
                    Event::Room => self.send().map_err(SuperviseError::Station)?,
                    Event::Input => self.take_input().map_err(SuperviseError::Terminal)?,
                    Event::Output => self.follow.forget().map_err(SuperviseError::Wait)?,
                }
            }
        }
    }

    fn wait(&self, signals: &Signals) -> Result<Vec<Event>> {
        if self.left.is_some() {
            return Ok(Vec::new());
        }
        let mut poller = Poller::new();
        poller.readable(Event::Signal, signals.as_fd());
        poller.readable(Event::Reply, self.socket.as_fd());
        if let Some(changes) = self.follow.changes() {
            poller.readable(Event::Output, changes.as_fd());
        }
        if self.pending.is_some() {
            poller.writable(Event::Room, self.socket.as_fd());
        } else if let Some(input) = &self.input {
            poller.readable(Event::Input, input.as_fd());
        }
        let look = self.follow.changes().is_none().then_some(Follow::LOOK);
        Ok(poller.wait(look)?.into_iter().map(|(event, _)| event).collect())
    }

    /// Writes what there is in the log.
    fn show(&mut self) -> Result<()> {
        while let Some(entry) = self.log.next_entry()? {
            let mut shown = Vec::new();
            let bytes = match (&mut self.lens, entry.stream) {
                (Some(lens), Stream::Output) => {
                    lens.clipboard.filter(entry.bytes, &mut shown);
                    lens.modes.watch(&shown);
                    &shown
                }
                _ => entry.bytes,
            };
            if put(entry.stream, bytes).is_err() {
                self.left = Some(Left::Closed);
                return Ok(());
            }
        }
        if self.log.take_missed() {
            put(
                Stream::Errors,
                b"bryo: some of the output was dropped before it could be shown\r\n",
            )
            .unwrap_or_default();
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<()> {
        let mut bytes = [0; LONGEST];
        match socket::receive(&self.socket, &mut bytes) {
            Ok((0, _)) | Err(Errno::ECONNRESET) => self.left = Some(Left::Lost),
            Ok((length, _)) => {
                if let Some(Reply::Ended { code }) = bytes.get(..length).and_then(Reply::decode) {
                    self.left = Some(Left::Ended(code));
                }
            }
            Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    /// Says something to the supervisor, now or when there is room.
    fn say(&mut self, message: &Message<'_>) -> Result<()> {
        // Rare but for input, which is not read while something waits.
        if self.pending.is_none() {
            self.pending = Some(message.encode());
        }
        self.send()
    }

    fn send(&mut self) -> Result<()> {
        let Some(message) = &self.pending else { return Ok(()) };
        match socket::send(&self.socket, message, &[]) {
            Err(Errno::EAGAIN) => Ok(()),
            // It has ended, which the other direction tells.
            Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => {
                self.pending = None;
                Ok(())
            }
            Err(errno) => Err(errno),
        }
    }

    fn take_input(&mut self) -> Result<()> {
        let Some(input) = &self.input else { return Ok(()) };
        let mut bytes = [0; CHUNK];
        let raw = self.console.as_ref().is_some_and(Console::is_raw);
        let length = match input.read(&mut bytes) {
            Ok(Got::Bytes(length)) => length,
            Ok(Got::Nothing) => return Ok(()),
            // A raw terminal that has nothing reads as an end.
            Ok(Got::End) if raw && self.console.as_ref().is_some_and(|c| !c.is_gone()) => {
                return Ok(());
            }
            // The payload's input stays open for others, as with Docker.
            Ok(Got::End) | Err(_) => {
                self.input = None;
                return Ok(());
            }
        };
        let typed = bytes.get(..length).unwrap_or_default();
        if !rustix::termios::isatty(of_caller(0)) {
            return self.say(&Message::Input(typed));
        }
        let scanned = self.keys.scan(typed);
        if !scanned.bytes.is_empty() {
            self.say(&Message::Input(&scanned.bytes))?;
        }
        if scanned.leaves {
            self.left = Some(Left::Detached);
        }
        Ok(())
    }

    fn take_signals(&mut self, signals: &Signals) -> std::result::Result<(), SuperviseError> {
        while let Some(received) = signals.next().map_err(SuperviseError::Signals)? {
            let signal = received.signal;
            match signal {
                SignalNumber::WINCH => self.resize().map_err(SuperviseError::Terminal)?,
                SignalNumber::TSTP | SignalNumber::TTIN | SignalNumber::TTOU => {
                    self.stop(signal)?;
                }
                SignalNumber::CONT | SignalNumber::XFSZ => {}
                _ if self.proxy => {
                    let request = Request::Signal { number: signal.raw() };
                    self.say(&Message::Request(request)).map_err(SuperviseError::Station)?;
                }
                _ if signals::asks_for_an_end(signal) => self.left = Some(Left::Detached),
                _ => {}
            }
        }
        Ok(())
    }

    /// Stops this process, as a key at its terminal does; the sandbox goes on.
    fn stop(&mut self, signal: SignalNumber) -> std::result::Result<(), SuperviseError> {
        let console = &mut self.console;
        let leave =
            |console: &mut Option<Console>| console.as_mut().map_or(Ok(()), Console::leave_raw);
        leave(console).map_err(SuperviseError::Terminal)?;
        signals::stop_calling(signal, Whom::Group).map_err(SuperviseError::Signals)?;
        if let Some(console) = console.as_mut().filter(|console| console.is_foreground()) {
            console.enter_raw().map_err(SuperviseError::Terminal)?;
        }
        self.resize().map_err(SuperviseError::Terminal)
    }

    /// Tells the size of our terminal.
    fn resize(&mut self) -> Result<()> {
        if self.console.is_none() {
            return Ok(());
        }
        let Ok(size) = tcgetwinsize(of_caller(0)) else { return Ok(()) };
        let request = Request::Resize { rows: size.ws_row, columns: size.ws_col };
        self.say(&Message::Request(request))
    }

    /// Puts the terminal back as it was.
    fn finish(&mut self) -> Result<()> {
        if let Some(lens) = &self.lens {
            put(Stream::Output, &lens.modes.reset()).unwrap_or_default();
        }
        match &mut self.console {
            Some(console) if console.is_gone() => Ok(()),
            Some(console) if console.is_raw() => {
                console.flush_input().and_then(|()| console.leave_raw())
            }
            _ => Ok(()),
        }
    }
}

fn put(stream: Stream, bytes: &[u8]) -> std::io::Result<()> {
    match stream {
        Stream::Output => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        }
        Stream::Errors => std::io::stderr().lock().write_all(bytes),
    }
}
