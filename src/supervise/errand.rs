//! Watches over an errand: what of `bryo cp` runs inside a sandbox.
//!
//! # Theory of operation
//! Whoever copies reads or writes a pipe, and before each time waits here: for the pipe, for a signal of the caller's, and
//! for what the process that entered tells. A payload can stop or kill the process inside, as it can any that has its
//! ids: a copy then ends, and does not wait for ever.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::SuperviseError;
use super::control::{Control, Heard};
use super::port::set_nonblocking;
use super::signals::{self, Signals, Whom};
use crate::launch::wire::FromSandbox;
use crate::sys::errno::{Errno, Result};
use crate::sys::event::Poller;
use crate::sys::signal::SignalNumber;

/// Bryo's own status.
const FAILED: u8 = 125;

/// Why an errand, or what waits for an answer, does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The caller was asked to end.
    #[error("interrupted by {0}")]
    Signal(SignalNumber),
    /// The process was stopped.
    #[error("what copies was stopped inside the sandbox")]
    Stopped,
    /// Waiting.
    #[error("{0}")]
    Wait(Errno),
}

impl Halt {
    /// The status of a command that does not go on.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Signal(signal) => u8::try_from(128 + signal.raw()).unwrap_or(FAILED),
            Self::Stopped | Self::Wait(_) => FAILED,
        }
    }
}

/// What a pipe is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Something to read.
    Bytes,
    /// Room to write.
    Room,
}

/// See the module.
#[derive(Debug)]
pub struct Errand {
    control: Control,
    signals: Signals,
    halt: Option<Halt>,
    killed: Option<SignalNumber>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Pipe,
    Signal,
    Control,
}

impl Errand {
    /// Over the control socket of the process that entered.
    pub fn new(control: OwnedFd, signals: Signals) -> std::result::Result<Self, SuperviseError> {
        let control = Control::new(control).map_err(SuperviseError::Control)?;
        Ok(Self { control, signals, halt: None, killed: None })
    }

    /// Why it does not go on, when a wait failed.
    pub fn halt(&self) -> Option<Halt> {
        self.halt
    }

    /// What killed the process, as far as that was told.
    pub fn killed(&self) -> Option<SignalNumber> {
        self.killed
    }

    /// Waits for a pipe. The end of the process is no error: the pipe tells it.
    pub fn wait(&mut self, pipe: BorrowedFd<'_>, what: For) -> io::Result<()> {
        loop {
            match self.look(pipe, what) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(halt) => {
                    self.halt = Some(halt);
                    return Err(io::ErrorKind::Other.into());
                }
            }
        }
    }

    fn look(&mut self, pipe: BorrowedFd<'_>, what: For) -> std::result::Result<bool, Halt> {
        let mut poller = Poller::new();
        match what {
            For::Bytes => poller.readable(Event::Pipe, pipe),
            For::Room => poller.writable(Event::Pipe, pipe),
        };
        poller.readable(Event::Signal, self.signals.as_fd());
        if let Some(control) = self.control.listening() {
            poller.readable(Event::Control, control);
        }
        let ready = poller.wait(None).map_err(Halt::Wait)?;
        let is = |event| ready.iter().any(|(ready, _)| *ready == event);
        if is(Event::Signal) {
            take_signals(&self.signals)?;
        }
        if is(Event::Control) {
            self.hear()?;
        }
        Ok(is(Event::Pipe))
    }

    fn hear(&mut self) -> std::result::Result<(), Halt> {
        match self.control.hear().map_err(Halt::Wait)? {
            Heard::Message(FromSandbox::Stopped { .. }) => Err(Halt::Stopped),
            Heard::Message(FromSandbox::Killed { signal }) => {
                self.killed = SignalNumber::new(i32::from(signal));
                Ok(())
            }
            Heard::Message(_) | Heard::Nothing | Heard::End => Ok(()),
            Heard::Malformed(_) => Err(Halt::Wait(Errno::EPROTO)),
        }
    }
}

/// Does what the caller's signals ask for, of which there may be none: an error where that is an end.
pub fn take_signals(signals: &Signals) -> std::result::Result<(), Halt> {
    while let Some(received) = signals.next().map_err(Halt::Wait)? {
        let signal = received.signal;
        if signals::asks_for_an_end(signal) {
            return Err(Halt::Signal(signal));
        }
        if [SignalNumber::TSTP, SignalNumber::TTIN, SignalNumber::TTOU].contains(&signal) {
            signals::stop_calling(signal, Whom::Own).map_err(Halt::Wait)?;
        }
    }
    Ok(())
}

/// Has a pipe never keep us: it is waited for in [`Errand::wait`] alone.
pub fn prepare(pipe: &OwnedFd) -> Result<()> {
    set_nonblocking(pipe)
}
