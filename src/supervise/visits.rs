//! Programs that `bryo exec` and the like start in a sandbox that runs: begun by its supervisor, handed over to whoever
//! asked, and reaped.
//!
//! # Theory of operation
//! A start takes a few messages between processes of ours, which are heard in the supervisor's one loop as
//! everything else. What entered is then watched over by who asked for it; here stays a descriptor, to reap it,
//! and its refused calls, which count as those of the run. Of what nobody watches over, a check or what was started
//! with `bryo exec -d`, the control socket stays here too.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::control::{Control, Heard};
use super::offer::Offer;
use super::protocol::{Keeper, Reply};
use crate::launch::entry::{Entering, enter};
use crate::launch::wire::FromSandbox;
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

/// The status of what ended without saying how: it was killed with all around it.
const EXIT_LOST: u8 = 0x80 | 9;

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
    /// Somebody asked while its end is seen to.
    #[error("cannot enter the sandbox: it has ended")]
    Over,
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
    /// Something was said by the start with this number.
    Said(u64),
    /// The one with this number says something, which is ours to hear.
    Told(u64),
    /// It has ended.
    Ended(u64),
}

/// For whom something was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whose {
    /// Somebody who watches over it.
    Client(u64),
    /// Somebody who only hears that it was started; what it is, for people.
    Apart(u64, String),
    /// Us, to see whether the sandbox is well.
    Check,
}

/// What happened.
pub(super) enum News {
    /// A start came to its end.
    Outcome(Outcome),
    /// What nobody else watches over ended, with this status.
    Ended(Whose, u8),
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
    pub(super) whose: Whose,
    /// None where it is watched over here.
    pub(super) visitor: Result<Option<Visitor>, VisitError>,
    pub(super) listener: Option<Listener>,
}

/// See the module.
pub(super) struct Visits<'a> {
    model: Option<Model<'a>>,
    /// Held, they keep the tree mounted, and the servers of its overlays would not end.
    namespaces: Option<Joinable>,
    /// The sandbox has ended.
    is_over: bool,
    group: Option<&'a Group>,
    starting: Vec<Start<'a>>,
    inside: Vec<Inside>,
    last: u64,
}

struct Start<'a> {
    number: u64,
    whose: Whose,
    entering: Entering<'a>,
}

struct Inside {
    number: u64,
    whose: Whose,
    pidfd: OwnedFd,
    /// Of what is watched over here.
    control: Option<Control>,
    /// How it ended, once that was said.
    code: Option<u8>,
}

impl<'a> Visits<'a> {
    pub(super) fn new(
        model: Option<Model<'a>>,
        namespaces: Option<Joinable>,
        group: Option<&'a Group>,
    ) -> Self {
        let (starting, inside) = (Vec::new(), Vec::new());
        Self { model, namespaces, is_over: false, group, starting, inside, last: 0 }
    }

    /// Starts an entry for a client, who offers a file that says which, and what it has at 0 to 2.
    pub(super) fn begin(
        &mut self,
        client: u64,
        fds: Vec<OwnedFd>,
        keeper: Keeper,
    ) -> Result<(), VisitError> {
        let [offer]: [OwnedFd; 1] = fds.try_into().map_err(|_| VisitError::Malformed)?;
        let fds = Offer::take(offer).map_err(|_| VisitError::Malformed)?;
        let [text, stdio @ ..]: [OwnedFd; 4] = fds.try_into().map_err(|_| VisitError::Malformed)?;
        let entry: Entry =
            serde_json::from_slice(&read(text)?).map_err(|_| VisitError::Malformed)?;
        let whose = match keeper {
            Keeper::Client => Whose::Client(client),
            Keeper::Supervisor => Whose::Apart(client, entry.line()),
        };
        self.start(whose, &entry, &stdio)
    }

    /// Starts an entry.
    pub(super) fn start(
        &mut self,
        whose: Whose,
        entry: &Entry,
        stdio: &[OwnedFd; 3],
    ) -> Result<(), VisitError> {
        let (Some(model), Some(namespaces)) = (self.model, &self.namespaces) else {
            return Err(if self.is_over { VisitError::Over } else { VisitError::NoNamespaces });
        };
        if self.starting.len() + self.inside.len() >= MOST {
            return Err(VisitError::TooMany);
        }
        let plan = plan_entry(model.plan, entry)?;
        let entering = enter(plan, model.host, namespaces, stdio, self.group)?;
        self.last += 1;
        self.starting.push(Start { number: self.last, whose, entering });
        Ok(())
    }

    /// Whether a check is being started, or has not ended.
    pub(super) fn has_check(&self) -> bool {
        self.starting.iter().any(|start| start.whose == Whose::Check)
            || self.inside.iter().any(|inside| inside.whose == Whose::Check)
    }

    /// Ends the check, and waits for nothing.
    pub(super) fn end_check(&mut self) {
        for start in self.starting.iter().filter(|start| start.whose == Whose::Check) {
            start.entering.call_off();
        }
        // It ends its program when nobody listens to it.
        let inside = self.inside.iter_mut().filter(|inside| inside.whose == Whose::Check);
        inside.for_each(|inside| inside.control = None);
    }

    /// The sandbox has ended, and what was in it: nothing enters any more, and nothing of ours is left to a
    /// supervisor that starts the sandbox again.
    ///
    /// Returns who asked for a start that had not come to its end.
    pub(super) fn close(&mut self) -> Vec<u64> {
        (self.namespaces, self.is_over) = (None, true);
        let mut asked = Vec::new();
        for start in self.starting.drain(..) {
            if let Whose::Client(client) | Whose::Apart(client, _) = start.whose {
                asked.push(client);
            }
            drop(start.entering.give_up(LaunchError::Lost));
        }
        let until = Instant::now() + LEAVING;
        for Inside { pidfd, control, .. } in self.inside.drain(..) {
            drop(control);
            let left = until.saturating_duration_since(Instant::now());
            // It tells of its payload's end and exits; one that is stopped by somebody is left to its signal.
            if pidfd::has_ended(&pidfd, left) == Ok(true) {
                pidfd::wait(&pidfd).map(drop).unwrap_or_default();
            }
        }
        asked
    }

    /// What is told of a start that failed.
    pub(super) fn explain(&self, error: &VisitError) -> Reply {
        match &self.model {
            Some(model) => (model.explain)(error),
            None => Reply::Refused { why: error.to_string() },
        }
    }

    /// Ends the connections of what is inside that are lost, once these addresses are gone.
    pub(super) fn cut_off(
        &self,
        gone: &[IpAddr],
        is_lost: &dyn Fn(IpAddr, IpAddr) -> bool,
    ) -> Result<(), Errno> {
        self.namespaces.as_ref().map_or(Ok(()), |all| all.cut_off(gone, is_lost))
    }

    /// Adds what to wait for, under keys made by `key`.
    pub(super) fn register<'fd, K: Copy>(
        &'fd self,
        poller: &mut Poller<'fd, K>,
        key: impl Fn(Event) -> K,
    ) {
        for Start { number, entering, .. } in &self.starting {
            for socket in entering.sockets() {
                poller.readable(key(Event::Said(*number)), socket);
            }
        }
        for Inside { number, pidfd, control, .. } in &self.inside {
            poller.readable(key(Event::Ended(*number)), pidfd.as_fd());
            if let Some(socket) = control.as_ref().and_then(Control::listening) {
                poller.readable(key(Event::Told(*number)), socket);
            }
        }
    }

    /// Does what an event calls for.
    pub(super) fn handle(&mut self, event: Event) -> Option<News> {
        match event {
            Event::Said(number) => self.hear(number).map(News::Outcome),
            Event::Told(number) => {
                let index = self.inside.iter().position(|inside| inside.number == number)?;
                let inside = self.inside.get_mut(index)?;
                while inside.listen() {}
                None
            }
            Event::Ended(number) => {
                let index = self.inside.iter().position(|inside| inside.number == number)?;
                let mut inside = self.inside.swap_remove(index);
                while inside.listen() {}
                // Where the caller ignores its children there is nothing to wait for.
                pidfd::wait(&inside.pidfd).map(drop).unwrap_or_default();
                let is_ours = inside.control.is_some();
                is_ours.then(|| News::Ended(inside.whose, inside.code.unwrap_or(EXIT_LOST)))
            }
        }
    }

    fn hear(&mut self, number: u64) -> Option<Outcome> {
        let index = self.starting.iter().position(|start| start.number == number)?;
        let mut start = self.starting.swap_remove(index);
        match start.entering.go_on() {
            Ok(false) => {
                self.starting.push(start);
                None
            }
            Ok(true) => {
                let running = start.entering.into_running();
                let listener = running.listener;
                let (control, visitor) = match &start.whose {
                    Whose::Client(_) => {
                        (None, visitor(&running.pidfd, running.control, running.pty))
                    }
                    Whose::Apart(..) | Whose::Check => match Control::new(running.control) {
                        Ok(control) => (Some(control), Ok(None)),
                        Err(errno) => (None, Err(LaunchError::Connect(errno).into())),
                    },
                };
                let whose = start.whose.clone();
                let pidfd = running.pidfd;
                self.inside.push(Inside { number, whose: start.whose, pidfd, control, code: None });
                Some(Outcome { whose, visitor, listener })
            }
            Err(error) => {
                let visitor = Err(start.entering.give_up(error).into());
                Some(Outcome { whose: start.whose, visitor, listener: None })
            }
        }
    }
}

impl Inside {
    /// Hears one message; whether there was one.
    fn listen(&mut self) -> bool {
        let heard = self.control.as_mut().map_or(Ok(Heard::Nothing), Control::hear);
        match heard {
            Ok(Heard::Message(FromSandbox::Exited { code })) => self.code = Some(code),
            Ok(Heard::Message(FromSandbox::Killed { signal })) => self.code = Some(signal | 0x80),
            // One that was stopped goes on when somebody continues it.
            Ok(Heard::Message(_)) => {}
            Ok(Heard::Nothing | Heard::End | Heard::Malformed(_)) | Err(_) => return false,
        }
        true
    }
}

/// What is handed over.
fn visitor(
    pidfd: &OwnedFd,
    control: OwnedFd,
    pty: Option<Master>,
) -> Result<Option<Visitor>, VisitError> {
    let copied = |error: std::io::Error| {
        let errno = error.raw_os_error().map_or(Errno::EMFILE, Errno::from_raw);
        VisitError::Launch(LaunchError::Connect(errno))
    };
    let pidfd = pidfd.try_clone().map_err(copied)?;
    Ok(Some(Visitor { pidfd, control, pty }))
}

/// A file whose offset is anywhere.
fn read(file: OwnedFd) -> Result<Vec<u8>, VisitError> {
    let mut file = File::from(file);
    let mut text = Vec::new();
    let whole = file.rewind().and_then(|()| file.take(LONGEST).read_to_end(&mut text));
    whole.map(|_| text).map_err(|_| VisitError::Malformed)
}
