//! Entries into the sandbox that is watched over: started for who asks, handed over, and reaped.
//!
//! # Theory of operation
//! A start takes a few messages between processes of ours, which are heard in the supervisor's one loop as
//! everything else. What entered is then watched over by who asked for it; here stays a descriptor, to reap it,
//! and its refused calls, which count as those of the run.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::protocol::Reply;
use crate::launch::entry::{Entering, enter};
use crate::launch::{Host, Joinable, LaunchError};
use crate::limits::group::Group;
use crate::plan::PlanError;
use crate::plan::entry::{Entry, plan_entry};
use crate::plan::step::Plan;
use crate::sys::errno::Errno;
use crate::sys::event::Poller;
use crate::sys::pidfd;
use crate::sys::pty::Master;
use crate::sys::seccomp::Listener;

/// So many at a time; others are refused.
const MOST: usize = 256;

/// Bytes of the longest description: arguments and variables as long as an exec takes, escaped.
const LONGEST: u64 = 16 << 20;

/// How long one whose payload was killed with the sandbox may take to end.
const LEAVING: Duration = Duration::from_secs(1);

/// What entries are made of.
#[derive(Clone, Copy)]
pub struct Model<'a> {
    /// The plan of the sandbox.
    pub plan: &'a Plan,
    /// Its filters.
    pub host: &'a Host<'a>,
    /// What is told of a start that failed.
    pub explain: &'a dyn Fn(&VisitError) -> Reply,
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// What is to be started.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The start.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The launcher's own `/proc` would not give them when the sandbox was started.
    #[error("cannot enter the sandbox: its namespaces could not be opened when it was started")]
    NoNamespaces,
    /// A bound that keeps the supervisor's memory small.
    #[error("cannot enter the sandbox: {MOST} programs were started in it already")]
    TooMany,
    /// What came along.
    #[error("cannot enter the sandbox: what was asked for means nothing")]
    Malformed,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// Something was said by the entry that was started for this client.
    Said(u64),
    /// The one with this number has ended.
    Ended(u64),
}

/// An entry as who asked for it gets it.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) pidfd: OwnedFd,
    pub(super) control: OwnedFd,
    pub(super) pty: Option<Master>,
}

/// How a start ended.
pub(super) struct Outcome {
    /// Who asked.
    pub(super) client: u64,
    pub(super) visitor: Result<Visitor, VisitError>,
    pub(super) listener: Option<Listener>,
}

/// See the module.
pub(super) struct Visits<'a> {
    model: Option<Model<'a>>,
    /// Held, they keep the tree mounted, and the servers of its overlays would not end.
    namespaces: Option<Joinable>,
    group: Option<&'a Group>,
    starting: Vec<(u64, Entering<'a>)>,
    inside: Vec<(u64, OwnedFd)>,
    last: u64,
}

impl<'a> Visits<'a> {
    pub(super) fn new(
        model: Option<Model<'a>>,
        namespaces: Option<Joinable>,
        group: Option<&'a Group>,
    ) -> Self {
        Self { model, namespaces, group, starting: Vec::new(), inside: Vec::new(), last: 0 }
    }

    /// Starts an entry for a client: from a file that says which, and what it has at 0 to 2.
    pub(super) fn begin(&mut self, client: u64, fds: Vec<OwnedFd>) -> Result<(), VisitError> {
        let [text, stdio @ ..]: [OwnedFd; 4] = fds.try_into().map_err(|_| VisitError::Malformed)?;
        let entry: Entry =
            serde_json::from_slice(&read(text)?).map_err(|_| VisitError::Malformed)?;
        let (Some(model), Some(namespaces)) = (self.model, &self.namespaces) else {
            return Err(VisitError::NoNamespaces);
        };
        if self.starting.len() + self.inside.len() >= MOST {
            return Err(VisitError::TooMany);
        }
        let plan = plan_entry(model.plan, &entry)?;
        self.starting.push((client, enter(plan, model.host, namespaces, &stdio, self.group)?));
        Ok(())
    }

    /// The sandbox has ended, and what was in it: nothing enters any more, and nothing of ours is left to a
    /// supervisor that starts the sandbox again.
    pub(super) fn close(&mut self) {
        self.namespaces = None;
        for (_, entering) in self.starting.drain(..) {
            // Who asked hears of the end.
            drop(entering.give_up(LaunchError::Lost));
        }
        let until = Instant::now() + LEAVING;
        for (_, pidfd) in self.inside.drain(..) {
            let left = until.saturating_duration_since(Instant::now());
            // It tells of its payload's end and exits; one that is stopped by somebody is left to its signal.
            if pidfd::has_ended(&pidfd, left) == Ok(true) {
                pidfd::wait(&pidfd).map(drop).unwrap_or_default();
            }
        }
    }

    /// What is told of a start that failed.
    pub(super) fn explain(&self, error: &VisitError) -> Reply {
        match &self.model {
            Some(model) => (model.explain)(error),
            None => Reply::Refused { why: error.to_string() },
        }
    }

    /// Adds what to wait for, under keys made by `key`.
    pub(super) fn register<'fd, K: Copy>(
        &'fd self,
        poller: &mut Poller<'fd, K>,
        key: impl Fn(Event) -> K,
    ) {
        for (client, entering) in &self.starting {
            for socket in entering.sockets() {
                poller.readable(key(Event::Said(*client)), socket);
            }
        }
        for (number, pidfd) in &self.inside {
            poller.readable(key(Event::Ended(*number)), pidfd.as_fd());
        }
    }

    /// Does what an event calls for; a start that has come to its end.
    pub(super) fn handle(&mut self, event: Event) -> Option<Outcome> {
        match event {
            Event::Said(client) => self.hear(client),
            Event::Ended(number) => {
                let index = self.inside.iter().position(|(known, _)| *known == number)?;
                let (_, pidfd) = self.inside.swap_remove(index);
                // Where the caller ignores its children there is nothing to wait for.
                pidfd::wait(&pidfd).map(drop).unwrap_or_default();
                None
            }
        }
    }

    fn hear(&mut self, client: u64) -> Option<Outcome> {
        let index = self.starting.iter().position(|(known, _)| *known == client)?;
        let (_, mut entering) = self.starting.swap_remove(index);
        let failed = |error| Outcome { client, visitor: Err(error), listener: None };
        match entering.go_on() {
            Ok(false) => {
                self.starting.push((client, entering));
                None
            }
            Ok(true) => {
                let running = entering.into_running();
                let visitor = running.pidfd.try_clone().map(|pidfd| Visitor {
                    pidfd,
                    control: running.control,
                    pty: running.pty,
                });
                self.last += 1;
                self.inside.push((self.last, running.pidfd));
                let copied = |error: std::io::Error| {
                    let errno = error.raw_os_error().map_or(Errno::EMFILE, Errno::from_raw);
                    VisitError::Launch(LaunchError::Connect(errno))
                };
                Some(Outcome {
                    client,
                    visitor: visitor.map_err(copied),
                    listener: running.listener,
                })
            }
            Err(error) => Some(failed(entering.give_up(error).into())),
        }
    }
}

/// A file whose offset is anywhere.
fn read(file: OwnedFd) -> Result<Vec<u8>, VisitError> {
    let mut file = File::from(file);
    let mut text = Vec::new();
    let whole = file.rewind().and_then(|()| file.take(LONGEST).read_to_end(&mut text));
    whole.map(|_| text).map_err(|_| VisitError::Malformed)
}
