//! Speaking with the supervisor of a sandbox that runs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::error::OpsError;
use crate::host::processes;
use crate::state::{Found, Line, StateError};
use crate::supervise::errand::{Halt, take_signals};
use crate::supervise::protocol::{LONGEST, Message, Reply, Request};
use crate::supervise::{KNOCK, Signals};
use crate::sys::errno::{Errno, Result};
use crate::sys::event::Poller;
use crate::sys::{pidfd, socket};

/// How long a supervisor may take to answer. It is one process with one loop, and never waits for others.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// One that closed a connection because it ends has ended within this time.
const LEAVING: Duration = Duration::from_secs(5);

/// How long to wait before looking again whether it listens.
pub(super) const PAUSE: Duration = Duration::from_millis(2);

/// How long a signal waits for an answer that may be on its way.
const GRACE: Duration = Duration::from_millis(500);

/// A connection to a supervisor.
#[derive(Debug)]
pub struct Supervisor {
    socket: OwnedFd,
    process: Option<OwnedFd>,
}

/// What came from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An answer.
    Reply(Reply),
    /// Nothing in time.
    Nothing,
    /// It closed the connection: it has ended, or does not listen to who asks. [`runs_on`] tells.
    Gone,
}

impl Supervisor {
    /// Over a socket that was connected to where it listens. Which process that is the kernel knows: the record may by now
    /// be that of the next run.
    pub fn new(socket: OwnedFd) -> Self {
        let peer = socket::peer(&socket).ok().and_then(|peer| peer.pid);
        // One that has been reaped, or is in another pid namespace, has none.
        let process = peer.and_then(|pid| pidfd::open(pid).ok());
        Self { socket, process }
    }

    /// Over one of a pair, whose other end it was started with: the kernel notes of that who made it.
    pub fn of_pair(socket: OwnedFd) -> Self {
        Self { socket, process: None }
    }

    /// Its process, where that could be seen.
    pub fn process(&self) -> Option<&OwnedFd> {
        self.process.as_ref()
    }

    /// The socket.
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Asks, and waits for the answer.
    pub fn ask(&self, request: &Request) -> Result<Heard> {
        match self.say(&Message::Request(request.clone())) {
            // Who is turned away is told so before he asks.
            Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => self.hear_soon(),
            Err(errno) => Err(errno),
        }
    }

    /// Waits for an answer no longer than somebody wants it; whether there is one. A signal that comes when the answer
    /// does is for what was started by then.
    pub fn await_answer(
        &self,
        signals: &Signals,
        within: Duration,
    ) -> std::result::Result<bool, Halt> {
        let until = Instant::now() + within;
        loop {
            let mut poller = Poller::new();
            poller.readable(false, self.socket.as_fd());
            poller.readable(true, signals.as_fd());
            let left = until.saturating_duration_since(Instant::now());
            let ready = poller.wait(Some(left)).map_err(Halt::Wait)?;
            if ready.is_empty() {
                return Ok(false);
            }
            if ready.iter().any(|(signal, _)| !*signal)
                || self.is_heard(GRACE).map_err(Halt::Wait)?
            {
                return Ok(true);
            }
            take_signals(signals)?;
        }
    }

    fn is_heard(&self, within: Duration) -> Result<bool> {
        let mut poller = Poller::new();
        poller.readable((), self.socket.as_fd());
        Ok(!poller.wait(Some(within))?.is_empty())
    }

    /// What it says soon, be it asked or not.
    pub fn hear_soon(&self) -> Result<Heard> {
        self.hear(Some(Instant::now() + ANSWER))
    }

    /// Sends a message that nothing answers, or whose answer is heard later.
    pub fn say(&self, message: &Message<'_>) -> Result<()> {
        self.say_with(message, &[])
    }

    /// Sends a message and descriptors.
    pub fn say_with(&self, message: &Message<'_>, fds: &[BorrowedFd<'_>]) -> Result<()> {
        socket::send(&self.socket, &message.encode(), fds)
    }

    /// The next answer.
    pub fn hear(&self, until: Option<Instant>) -> Result<Heard> {
        self.hear_with(until).map(|(heard, _)| heard)
    }

    /// The next answer, and the descriptors that come along.
    pub fn hear_with(&self, until: Option<Instant>) -> Result<(Heard, Vec<OwnedFd>)> {
        let mut poller = Poller::new();
        poller.readable((), self.socket.as_fd());
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if poller.wait(left)?.is_empty() {
            return Ok((Heard::Nothing, Vec::new()));
        }
        let mut bytes = [0; LONGEST];
        match socket::receive(&self.socket, &mut bytes) {
            Ok((0, _)) | Err(Errno::ECONNRESET) => Ok((Heard::Gone, Vec::new())),
            Ok((length, fds)) => {
                let reply = bytes.get(..length).and_then(Reply::decode);
                reply.map(|reply| (Heard::Reply(reply), fds)).ok_or(Errno::EPROTO)
            }
            Err(errno) => Err(errno),
        }
    }
}

/// Speaks with the supervisor of a sandbox that runs: also in somebody's foreground, where nobody listens before
/// somebody knocks. `verb` is what is to be done; `signals` are those of the caller that are blocked.
pub fn reach(
    found: &Found,
    verb: &'static str,
    signals: Option<&Signals>,
) -> std::result::Result<Supervisor, OpsError> {
    let until = Instant::now() + ANSWER;
    let mut has_knocked = false;
    loop {
        match line(found, verb, signals)? {
            Line::Socket(socket) => return Ok(Supervisor::new(socket)),
            Line::Ended => return Err(OpsError::NotRunning { verb, id: found.id() }),
            Line::Process(process) if !has_knocked => {
                let (signal, value) = KNOCK;
                pidfd::queue_signal(&process, signal, value)
                    .map_err(|source| OpsError::Launcher { id: found.id(), source })?;
                has_knocked = true;
            }
            Line::Process(_) if Instant::now() > until => return Err(no_answer(found, verb)),
            Line::Process(_) => {
                if let Some(signals) = signals {
                    take_signals(signals).map_err(|halt| halted(found, verb, halt))?;
                }
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// The way to whoever watches over a sandbox. Where more stand before a supervisor's door than can wait there, which it
/// lets in one after the other unless it is stopped, this waits too.
pub(super) fn line(
    found: &Found,
    verb: &'static str,
    signals: Option<&Signals>,
) -> std::result::Result<Line, OpsError> {
    let until = Instant::now() + ANSWER;
    loop {
        match found.line() {
            Err(StateError::Connect { source: Errno::EAGAIN, .. }) if Instant::now() > until => {
                return Err(no_answer(found, verb));
            }
            Err(StateError::Connect { source: Errno::EAGAIN, .. }) => {
                if let Some(signals) = signals {
                    take_signals(signals).map_err(|halt| halted(found, verb, halt))?;
                }
                std::thread::sleep(PAUSE);
            }
            other => return Ok(other?),
        }
    }
}

/// Whether a sandbox whose supervisor closed a connection without a word goes on: where that cannot be seen itself, only
/// the lock knows.
pub(super) fn runs_on(
    found: &Found,
    supervisor: &Supervisor,
) -> std::result::Result<bool, OpsError> {
    let until = Instant::now() + LEAVING;
    let failed = |source| OpsError::Wait { id: found.id(), source };
    if let Some(process) = supervisor.process()
        && pidfd::has_ended(process, LEAVING).map_err(failed)?
    {
        // What runs by now was started since.
        return Ok(false);
    }
    while found.is_running()? {
        if Instant::now() > until {
            return Ok(true);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(false)
}

/// Why a supervisor closed a connection without a word.
pub(super) fn lost(found: &Found, supervisor: &Supervisor, verb: &'static str) -> OpsError {
    match runs_on(found, supervisor) {
        Ok(true) => OpsError::NotHeard { verb, id: found.id() },
        Ok(false) => OpsError::NotRunning { verb, id: found.id() },
        Err(error) => error,
    }
}

/// Its supervisor was asked, and says nothing.
pub(super) fn no_answer(found: &Found, verb: &'static str) -> OpsError {
    let stopped = found.launcher().ok().map(|(pid, _)| pid.as_raw_nonzero().get());
    let stopped = stopped.filter(|pid| processes::is_stopped(*pid));
    OpsError::NoAnswer { verb, id: found.id(), stopped }
}

/// Somebody wanted that it is not done.
pub(super) fn halted(found: &Found, verb: &'static str, halt: Halt) -> OpsError {
    OpsError::Halted { verb, id: found.id(), halt }
}

impl AsFd for Supervisor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
