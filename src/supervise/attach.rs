//! The other end of a station: somebody's terminal, or pipes, at a sandbox that runs without him.
//!
//! # Theory of operation
//! What the payload writes is read from its log from the moment of the attachment on; what is typed goes to the
//! supervisor. So any number of people can be attached, and none of them holds up another or the payload. One who
//! is so slow that the log has dropped what he has not read is told. Keys and signals are heard between two pieces of
//! the log, of which the next is read when the one before is written: nobody is kept by a payload that writes and
//! writes, nor by a terminal that takes nothing.
//!
//! Where the payload has a terminal ours is raw, and what is shown goes through the same lens as in a run: what
//! a payload sets in it is put back, and its clipboard is not written; so it is wherever a stream goes to a terminal.
//! Signals go to the payload where it has no terminal (`sig-proxy`), but for SIGHUP: our terminal has closed, and the
//! payload is none of its jobs. With one, keys are bytes and become signals there, and a signal that asks for an end is
//! for this process. Once the sandbox has ended they all are: the rest of the log is left then, with Ctrl-C too.
//!
//! # Not here
//! What the supervisor does with it (`station`).

mod keys;
mod outlet;

use std::os::fd::{AsFd, OwnedFd};

use rustix::termios::tcgetwinsize;

pub use keys::{DetachKeys, KeysError};
use outlet::{Outlet, is_one_terminal};

use super::SuperviseError;
use super::console::{Console, Leaving, Use};
use super::port::{Got, Port, of_caller, set_nonblocking};
use super::protocol::{LONGEST, Message, Reply, Request};
use super::signals::{self, Signals, Whom};
use crate::state::log::{Follow, Reader, Stream};
use crate::sys::errno::{Errno, Result};
use crate::sys::event::Poller;
use crate::sys::signal::SignalNumber;
use crate::sys::socket;
use std::time::Duration;

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
    /// So did who sent this signal.
    Signalled(SignalNumber),
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
    Changed,
    Output(Stream),
}

/// Ctrl-C, which is a byte where a terminal is raw.
const INTERRUPT: u8 = 0x03;

/// See the module.
struct Attached {
    socket: OwnedFd,
    log: Reader,
    follow: Follow,
    input: Option<Port>,
    /// A message that waits for room.
    pending: Option<Vec<u8>>,
    console: Option<Console>,
    output: Outlet,
    /// None where both streams go to the same terminal.
    errors: Option<Outlet>,
    proxy: bool,
    keys: DetachKeys,
    left: Option<Left>,
    /// It has ended, and somebody does not want to see the rest.
    has_seen_enough: bool,
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
        let errors = if is_one_terminal() { None } else { Some(Outlet::caller(2)?) };
        let mut attached = Self {
            socket,
            log,
            follow,
            input,
            pending: None,
            proxy: signals && !terminal,
            console,
            output: Outlet::caller(1)?,
            errors,
            keys,
            left: None,
            has_seen_enough: false,
        };
        attached.resize()?;
        Ok(attached)
    }

    fn go_on(&mut self, signals: &Signals) -> std::result::Result<Left, SuperviseError> {
        loop {
            // Before the log is read: what was written before the last word is shown after it was heard.
            let left = self.left;
            let is_more = self.take_piece().map_err(SuperviseError::Terminal)?;
            match left {
                Some(left @ (Left::Ended(_) | Left::Lost)) if self.has_seen_enough || !is_more => {
                    return Ok(left);
                }
                Some(left @ (Left::Detached | Left::Signalled(_) | Left::Closed)) => {
                    return Ok(left);
                }
                Some(Left::Ended(_) | Left::Lost) | None => {}
            }
            for event in self.wait(signals, is_more).map_err(SuperviseError::Wait)? {
                match event {
                    Event::Signal => self.take_signals(signals)?,
                    Event::Reply => self.hear().map_err(SuperviseError::Station)?,
                    Event::Room => self.send().map_err(SuperviseError::Station)?,
                    Event::Input => self.take_input().map_err(SuperviseError::Terminal)?,
                    Event::Changed => self.follow.forget().map_err(SuperviseError::Wait)?,
                    Event::Output(stream) => self.write(stream),
                }
            }
        }
    }

    /// What has happened. Where there `is_more` to be shown nothing else need happen.
    fn wait(&self, signals: &Signals, is_more: bool) -> Result<Vec<Event>> {
        let has_ended = self.left.is_some();
        let mut poller = Poller::new();
        poller.readable(Event::Signal, signals.as_fd());
        if !has_ended {
            poller.readable(Event::Reply, self.socket.as_fd());
        }
        if let Some(changes) = self.follow.changes() {
            poller.readable(Event::Changed, changes.as_fd());
        }
        if self.pending.is_some() && !has_ended {
            poller.writable(Event::Room, self.socket.as_fd());
        } else if let Some(input) = self.input.as_ref().filter(|_| !has_ended || self.has_keys()) {
            poller.readable(Event::Input, input.as_fd());
        }
        let outlets =
            [(Stream::Output, Some(&self.output)), (Stream::Errors, self.errors.as_ref())];
        for (stream, outlet) in outlets {
            if let Some(fd) = outlet.and_then(Outlet::loaded) {
                poller.writable(Event::Output(stream), fd);
            }
        }
        let is_written = !self.is_loaded();
        let look = match (is_written, has_ended || is_more) {
            (true, true) => Some(Duration::ZERO),
            (true, false) => self.follow.changes().is_none().then_some(Follow::LOOK),
            (false, _) => None,
        };
        Ok(poller.wait(look)?.into_iter().map(|(event, _)| event).collect())
    }

    fn has_keys(&self) -> bool {
        self.console.is_some()
    }

    fn is_loaded(&self) -> bool {
        self.output.loaded().is_some() || self.errors.as_ref().is_some_and(|e| e.loaded().is_some())
    }

    /// Takes the next piece of the log, once the one before is written; whether there is anything to be shown.
    fn take_piece(&mut self) -> Result<bool> {
        if self.is_loaded() {
            return Ok(true);
        }
        let entry = self.log.next_entry()?;
        let is_more = entry.is_some();
        if let Some(entry) = entry {
            let errors = self.errors.as_mut().filter(|_| entry.stream == Stream::Errors);
            errors.unwrap_or(&mut self.output).show(entry.bytes);
        }
        let has_missed = self.log.take_missed();
        if has_missed {
            let text = b"bryo: some of the output was dropped before it could be shown\r\n";
            self.errors.as_mut().unwrap_or(&mut self.output).say(text);
        }
        Ok(is_more || has_missed)
    }

    fn write(&mut self, stream: Stream) {
        let errors = self.errors.as_mut().filter(|_| stream == Stream::Errors);
        if errors.unwrap_or(&mut self.output).write().is_err() {
            self.left = Some(Left::Closed);
        }
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
        if self.left.is_some() {
            self.has_seen_enough |= typed.contains(&INTERRUPT) || self.keys.scan(typed).leaves;
            return Ok(());
        }
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
                // There is nobody any more to whom it could go.
                _ if self.left.is_some() => {
                    self.has_seen_enough |= signals::asks_for_an_end(signal);
                }
                SignalNumber::HUP => self.left = Some(Left::Signalled(signal)),
                // It would wait behind input that the payload does not read.
                _ if self.pending.is_some() && signals::asks_for_an_end(signal) => {
                    self.left = Some(Left::Signalled(signal));
                }
                _ if self.proxy => {
                    let request = Request::Signal { number: signal.raw() };
                    self.say(&Message::Request(request)).map_err(SuperviseError::Station)?;
                }
                _ if signals::asks_for_an_end(signal) => self.left = Some(Left::Signalled(signal)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Stops this process, as a key at its terminal does; the sandbox goes on.
    fn stop(&mut self, signal: SignalNumber) -> std::result::Result<(), SuperviseError> {
        self.return_terminal(Leaving::Stop).map_err(SuperviseError::Terminal)?;
        signals::stop_calling(signal, Whom::Group).map_err(SuperviseError::Signals)?;
        if let Some(console) = self.console.as_mut().filter(|console| console.is_foreground()) {
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
        for outlet in std::iter::once(&mut self.output).chain(&mut self.errors) {
            // A terminal that is gone cannot be helped.
            outlet.finish().unwrap_or_default();
        }
        self.return_terminal(Leaving::End)
    }

    /// Gives the terminal back. Keys are no sign that it has answered: they may be those that leave.
    fn return_terminal(&mut self, leaving: Leaving) -> Result<()> {
        let Some(console) = &mut self.console else { return Ok(()) };
        let mut asked = false;
        for outlet in std::iter::once(&mut self.output).chain(&mut self.errors) {
            asked |= outlet.take_asked();
        }
        console.give_back(asked, leaving)
    }
}
