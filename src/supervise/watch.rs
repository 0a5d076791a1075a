//! What must not wait, even while the supervisor is stopped: answers to refused system calls, `--timeout`, and the
//! floor of free disk space.
//!
//! The loop does it while it runs, and [`StandIn`](super::standin::StandIn) while the loop is stopped.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::denials::{Call, Denials};
use super::limits::{Floor, ticker, timer};
use super::{How, SuperviseError};
use crate::launch::fuse::Server;
use crate::sys::errno::Errno;
use crate::sys::event::{Poller, Ready, Timer};
use crate::sys::pidfd::{self, Exit};
use crate::sys::seccomp::Listener;
use crate::sys::signal::SignalNumber;

/// How long a sandbox that was killed may take to end, and then a server of its overlays: what is still
/// cached goes through the servers, but the kernel lets little wait.
pub(super) const WRITE_BACK: Duration = Duration::from_secs(10);

/// What calls for something to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A refused call waits for its answer: at the listener with this number.
    Denial(usize),
    /// The time is up.
    TimeUp,
    /// It is time to look at the room.
    Tick,
}

/// See the module.
pub(super) struct Watch<'a> {
    init: OwnedFd,
    denials: Option<Denials<'a>>,
    time: Option<Timer>,
    floor: Option<(Floor, Timer)>,
    /// Until when not to listen to refused calls.
    rest: Option<Duration>,
}

impl<'a> Watch<'a> {
    /// Over the sandbox with this init.
    pub(super) fn new(init: OwnedFd, denials: Option<Denials<'a>>) -> Self {
        Self { init, denials, time: None, floor: None, rest: None }
    }

    /// The time begins now.
    pub(super) fn begin(
        &mut self,
        timeout: Option<Duration>,
        floor: Option<Floor>,
    ) -> Result<(), SuperviseError> {
        self.time = timeout.map(timer).transpose().map_err(SuperviseError::Limits)?;
        if let Some(floor) = floor {
            self.floor = Some((floor, ticker().map_err(SuperviseError::Limits)?));
        }
        Ok(())
    }

    /// Whether there is anything to watch.
    pub(super) fn is_needed(&self) -> bool {
        let listens =
            self.denials.as_ref().is_some_and(|denials| denials.listening().next().is_some());
        listens || self.time.is_some() || self.floor.is_some()
    }

    /// Init's pidfd: readable when every process of the sandbox has ended.
    pub(super) fn init(&self) -> BorrowedFd<'_> {
        self.init.as_fd()
    }

    /// How long a wait may be at most. To be called before [`Watch::register`].
    pub(super) fn patience(&mut self) -> Option<Duration> {
        self.rest = self.denials.as_mut().and_then(Denials::rest);
        self.rest
    }

    /// Adds what to wait for, under keys made by `key`.
    pub(super) fn register<'fd, K: Copy>(
        &'fd self,
        poller: &mut Poller<'fd, K>,
        key: impl Fn(Event) -> K,
    ) {
        let denials = self.denials.as_ref().filter(|_| self.rest.is_none());
        for (number, listener) in denials.into_iter().flat_map(Denials::listening) {
            poller.readable(key(Event::Denial(number)), listener);
        }
        if let Some((_, ticker)) = &self.floor {
            poller.readable(key(Event::Tick), ticker.as_fd());
        }
        self.register_time(poller, key);
    }

    /// Adds the end of the time alone.
    pub(super) fn register_time<'fd, K: Copy>(
        &'fd self,
        poller: &mut Poller<'fd, K>,
        key: impl Fn(Event) -> K,
    ) {
        if let Some(time) = &self.time {
            poller.readable(key(Event::TimeUp), time.as_fd());
        }
    }

    /// Does what an event calls for; the reason when the run is to be killed.
    pub(super) fn handle(
        &mut self,
        event: Event,
        ready: Ready,
    ) -> Result<Option<How>, SuperviseError> {
        match event {
            Event::Denial(number) => {
                let answered =
                    self.denials.as_mut().map_or(Ok(()), |denials| denials.answer(number, ready));
                answered.map(|()| None).map_err(SuperviseError::Denials)
            }
            Event::TimeUp => {
                self.time = None;
                Ok(Some(How::TimedOut))
            }
            Event::Tick => {
                let Some((floor, ticker)) = &self.floor else { return Ok(None) };
                ticker.acknowledge().map_err(SuperviseError::Limits)?;
                Ok(floor.is_reached().map_err(SuperviseError::Limits)?.then_some(How::NoSpace))
            }
        }
    }

    /// Answers the refused calls of one more program, where those of the payload are.
    pub(super) fn listen_too(&mut self, listener: Listener) {
        if let Some(denials) = &mut self.denials {
            denials.listen_too(listener);
        }
    }

    /// Refused calls since the last time.
    pub(super) fn take_counts(&mut self) -> BTreeMap<Call, u64> {
        self.denials.as_mut().map(Denials::take_counts).unwrap_or_default()
    }

    /// Adds what somebody else counted.
    pub(super) fn add(&mut self, call: Call, count: u64) {
        if let Some(denials) = &mut self.denials {
            denials.add(call, count);
        }
    }

    /// Kills every process of the sandbox.
    pub(super) fn kill(&self) -> Result<(), Errno> {
        match pidfd::send_signal(&self.init, SignalNumber::KILL) {
            // It has ended already.
            Err(Errno::ESRCH) => Ok(()),
            other => other,
        }
    }

    /// Kills and reaps the sandbox and its servers; the first error is what the caller hears.
    ///
    /// What waits for an answer of a server that hangs cannot end before that does.
    pub(super) fn kill_after(&self, servers: Vec<Server>, error: SuperviseError) -> SuperviseError {
        let ended = self.kill().and_then(|()| {
            let mut poller = Poller::new();
            poller.readable((), self.init());
            poller.wait(Some(WRITE_BACK)).map(drop)
        });
        let servers = servers.into_iter().map(Server::kill).fold(ended, Result::and);
        match servers.and(self.reap()) {
            Ok(_) => error,
            Err(errno) => SuperviseError::End(errno),
        }
    }

    /// Waits for init; how it ended, which nobody knows when the caller ignores SIGCHLD.
    pub(super) fn reap(&self) -> Result<Option<Exit>, Errno> {
        match pidfd::wait(&self.init) {
            Ok(exit) => Ok(Some(exit)),
            Err(Errno::ECHILD) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}
