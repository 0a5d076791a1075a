//! `bryo run -d`, `bryo start`: a sandbox that goes on when the command that started it has ended.
//!
//! # Theory of operation
//! ```text
//! command ──fork──▶ supervisor: session of its own, no terminal, no descriptor of the caller's
//!    │                  │ plan, store, log, socket, launch: as any run
//!    │ ◀── Started ──── │ the payload was executed     (or Failed, with the words and the exit status)
//!    ▼ prints the id    │ watches; starts again where that is asked for
//!                       ▼ record, then the last word to who waits
//! ```
//! The supervisor is the launcher: everything in the sandbox dies with it, as with the launcher of any run. It is
//! a fork of the command and executes nothing, so nothing has to be handed over and found again.
//!
//! When the command is killed before the payload was executed, the supervisor finds nobody to tell, and ends,
//! and everything with it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::image;
use super::run::{self, Desk, RunError};
use crate::host::logout::{self, Logout};
use crate::plan::step::Notice;
use crate::report::quote::shell_quote;
use crate::report::{EXIT_FAILED, Explain, Failure, Look};
use crate::spec::{HostPath, Restart, Spec};
use crate::state::events::What;
use crate::state::{Found, Record, SandboxDirectory, SandboxId, StateError};
use crate::supervise::station::Next;
use crate::supervise::{Station, block_signals};
use crate::sys::clone::{self, Cloned, ThreadsError};
use crate::sys::errno::{Errno, Result as SysResult};
use crate::sys::process::{self, exit_now};
use crate::sys::{heap, pidfd, socket};

/// A sandbox that runs apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Which.
    pub id: SandboxId,
    /// What the user is to be told once.
    pub notices: Vec<Notice>,
    /// What becomes of it when the user logs out.
    pub logout: Logout,
}

impl Started {
    /// What has to be known of a logout, and what to do about it.
    pub fn warning(&self) -> Option<&'static str> {
        match self.logout {
            Logout::Survives => None,
            Logout::EndsWithSession => Some(
                "it ends when you log out (KillUserProcesses in logind.conf): `loginctl enable-linger` once, then \
                 `systemd-run --user --scope bryo run -d …`, keeps it",
            ),
            Logout::EndsWithManager => Some(
                "it ends when you log out for the last time: `loginctl enable-linger` keeps it",
            ),
        }
    }
}

/// Why it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Somebody wants it to run.
    Start,
    /// It was stopped to be started again: its supervisor tells so, before anything that comes of it.
    Restart,
}

/// What became of a start.
#[derive(Debug)]
pub enum Outcome {
    /// It runs.
    Started(Started),
    /// Somebody else had it by then: to run it, or for a moment.
    Busy(Failure),
}

/// What the supervisor tells the command.
#[derive(Debug, Serialize, Deserialize)]
enum Told {
    Started(Started),
    Busy(Failed),
    Failed(Failed),
}

/// A [`Failure`] on its way.
#[derive(Debug, Serialize, Deserialize)]
struct Failed {
    text: String,
    hint: Option<String>,
    exit_code: u8,
}

impl From<Failed> for Failure {
    fn from(Failed { text, hint, exit_code }: Failed) -> Self {
        Self { text, hint, exit_code, others: Vec::new() }
    }
}

/// Bytes of the longest word of a supervisor: notices name places, of which there may be many.
const LONGEST: usize = 128 << 10;

/// Why there is no supervisor.
#[derive(Debug, thiserror::Error)]
pub enum DetachError {
    /// This process cannot be forked.
    #[error("cannot start a supervisor from this process")]
    Threads(#[source] ThreadsError),
    /// The fork, or the way to it.
    #[error("cannot start a supervisor")]
    Fork(#[source] Errno),
    /// It ended without a word.
    #[error("cannot start the sandbox: its supervisor ended before the payload was started")]
    Lost,
    /// Leaving the caller.
    #[error("cannot leave the caller's session")]
    Leave(#[source] Errno),
    /// Where it is to start is not there.
    #[error("cannot enter `{0}`, where the sandbox was started from")]
    Enter(HostPath, #[source] std::io::Error),
    /// Links have been put on the way to where it is to start.
    #[error("cannot enter `{from}`, where the sandbox was started from: it leads to `{is}` now", is = is.display())]
    Elsewhere {
        /// Where it was started from, without links.
        from: HostPath,
        /// Where that leads.
        is: PathBuf,
    },
}

impl Explain for DetachError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Enter(from, error) if error.kind() == std::io::ErrorKind::NotFound => {
                let path = shell_quote(from.as_path());
                Some(format!(
                    "`mkdir -p {path}` makes it again; what the sandbox changed below is in its layer still"
                ))
            }
            Self::Elsewhere { from, .. } => Some(format!(
                "what a sandbox wrote may have put it there: look at `{from}`; put back what was there, or start a \
                 sandbox anew"
            )),
            _ => None,
        }
    }
}

/// Goes to where a sandbox was started from. A payload that writes around that directory can put a link in its place,
/// and what is relative to it would be what the payload chose.
pub(super) fn enter(from: &HostPath) -> Result<(), DetachError> {
    let failed = |error| DetachError::Enter(from.clone(), error);
    std::env::set_current_dir(from.as_path()).map_err(failed)?;
    // The kernel's word for where this process is now, whatever the way there was.
    let is = std::env::current_dir().map_err(failed)?;
    if is == from.as_path() {
        Ok(())
    } else {
        Err(DetachError::Elsewhere { from: from.clone(), is })
    }
}

/// Starts `spec`, which is a detached one, from `from` where that is not the current directory.
///
/// Returns when the payload was executed, or with what kept it from that. Who holds the other end of `audience`
/// is attached from the first byte on.
pub fn start(
    spec: &Spec,
    from: Option<&HostPath>,
    audience: Option<OwnedFd>,
    cause: Cause,
) -> Result<Outcome, Failure> {
    let failed = |error: DetachError| Failure::new(&error);
    // The supervisor is the launcher.
    image::protect(&spec.confine)?;
    clone::assert_single_threaded().map_err(|error| failed(DetachError::Threads(error)))?;
    let (ours, theirs) = socket::pair().map_err(|errno| failed(DetachError::Fork(errno)))?;
    match clone::fork().map_err(|errno| failed(DetachError::Fork(errno)))? {
        Cloned::Child => supervise((spec, cause), from, theirs, audience),
        Cloned::Parent { pidfd, .. } => {
            drop((theirs, audience));
            let told = hear(&ours);
            if !matches!(told, Some(Told::Started(_))) {
                // It has nothing more to do: no zombie is left to a caller that goes on.
                reap(&pidfd);
            }
            match told {
                Some(Told::Started(started)) => Ok(Outcome::Started(started)),
                Some(Told::Busy(failed)) => Ok(Outcome::Busy(failed.into())),
                Some(Told::Failed(failed)) => Err(failed.into()),
                None => Err(failed(DetachError::Lost)),
            }
        }
    }
}

/// The first and last word of a supervisor.
fn hear(from: &OwnedFd) -> Option<Told> {
    let mut bytes = vec![0; LONGEST];
    let (length, _) = socket::receive(from, &mut bytes).ok()?;
    serde_json::from_slice(bytes.get(..length)?).ok()
}

/// One that ended. Where the caller ignores its children nobody can.
fn reap(pidfd: &OwnedFd) {
    pidfd::wait(pidfd).map(drop).unwrap_or_default();
}

/// The supervisor, to its end.
fn supervise(
    (spec, cause): (&Spec, Cause),
    from: Option<&HostPath>,
    told: OwnedFd,
    audience: Option<OwnedFd>,
) -> ! {
    let (told, pause) = (Some(told), Duration::ZERO);
    let mut apart = Apart { spec, cause, told, audience, seat: None, count: 0, pause };
    let mut word: fn(Failed) -> Told = Told::Failed;
    let ended = apart.leave_caller(from).map_err(Failure::from).and_then(|()| {
        run::run_apart(spec, &mut apart).map_err(|error: RunError| {
            if matches!(error, RunError::Busy(_)) {
                word = Told::Busy;
            }
            Failure::new(&error)
        })
    });
    let code = match ended {
        Ok(finished) => finished.ended.how.exit_code(),
        Err(failure) => {
            apart.note(&failure);
            let code = failure.exit_code;
            let Failure { text, hint, .. } = failure;
            apart.tell(&word(Failed { text, hint, exit_code: code }));
            code
        }
    };
    if let Some(Seat { station, .. }) = &mut apart.seat {
        station.finish(code);
    }
    exit_now(code)
}

/// What a supervisor has in place of a caller.
struct Apart<'a> {
    spec: &'a Spec,
    /// Of the start that comes next, or came last.
    cause: Cause,
    /// To the command; none once it was told.
    told: Option<OwnedFd>,
    /// Of somebody who is attached from the start; none once he has his seat.
    audience: Option<OwnedFd>,
    seat: Option<Seat>,
    /// How often it was started again.
    count: u32,
    /// The last wait before that.
    pause: Duration,
}

/// The station at a sandbox.
struct Seat {
    found: Found,
    station: Station,
    /// Where it was started from.
    from: Option<HostPath>,
}

impl Seat {
    /// Writes down what happened.
    fn tell(&self, what: What, details: &[(&str, String)]) {
        self.found.tell_as_called(what, details);
    }
}

impl Apart<'_> {
    /// Keeps nothing of the caller but the current directory, which the plan depends on.
    fn leave_caller(&self, from: Option<&HostPath>) -> Result<(), DetachError> {
        if let Some(from) = from {
            enter(from)?;
        }
        self.leave_session().map_err(DetachError::Leave)
    }

    fn leave_session(&self) -> SysResult<()> {
        rustix::process::setsid()?;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        // Maybe opened at one of those numbers, which are closed with the process alone.
        std::mem::forget(null);
        let keep: Vec<_> = self.told.iter().chain(&self.audience).map(AsFd::as_fd).collect();
        process::irrevocably_close_but(3, &keep, &self.spec.command.descriptors.pass)?;
        process::set_name(c"bryo-supervisor")
    }

    /// Whether somebody heard it.
    fn tell(&mut self, word: &Told) -> bool {
        let Some(told) = self.told.take() else { return true };
        let text = serde_json::to_vec(word).unwrap_or_default();
        socket::send(told, &text, &[]).is_ok()
    }

    /// Writes to the log why it is not started again: the command that would have been told has ended.
    fn note(&mut self, failure: &Failure) {
        if let Some(seat) = self.seat.as_mut().filter(|_| self.told.is_none()) {
            seat.station.note(&failure.render(&Look::plain()));
        }
    }

    /// Whether a run that ended is followed by another.
    fn is_due(&self, code: u8) -> bool {
        let stopped = self.seat.as_ref().is_none_or(|seat| seat.station.is_stopped());
        !stopped && self.spec.lifetime.restart.is_due(code, self.count)
    }

    /// That it has ended as it was asked to: before it is removed, where that is to be.
    fn tell_stop(&self) {
        if let Some(seat) = self.seat.as_ref().filter(|seat| seat.station.was_asked()) {
            seat.tell(What::Stop, &[]);
        }
    }
}

impl Desk for Apart<'_> {
    fn settle(&mut self, directory: &SandboxDirectory) -> Result<(), StateError> {
        if self.seat.as_ref().is_some_and(|seat| seat.found.id() == directory.id()) {
            return Ok(());
        }
        let bound = self.spec.lifetime.detached.as_ref().map_or(0, |detached| detached.log);
        let (log, listener) = (directory.log(bound)?, directory.listen()?);
        let mut station = Station::new(log, listener, self.spec.lifetime.stop);
        self.audience.take().into_iter().for_each(|socket| station.seat(socket));
        self.seat = Some(Seat { found: directory.as_found(), station, from: None });
        Ok(())
    }

    fn started(&mut self, record: &Record) {
        // No file system is kept from being unmounted by this process. `/` can always be entered.
        std::env::set_current_dir("/").unwrap_or_default();
        // Before the command hears that it runs: whoever started it may stop it at once, and what is written down of
        // that belongs behind this.
        if let Some(seat) = &mut self.seat {
            seat.from.clone_from(&record.from);
            let new = record.continued.is_none().then_some(What::Create);
            let again = (self.cause == Cause::Restart).then_some(What::Restart);
            self.cause = Cause::Start;
            let all: Vec<What> = new.into_iter().chain([What::Start]).chain(again).collect();
            seat.found.tell_each(seat.found.name_now().as_deref(), &all);
        }
        // Here, and not in the command: it may be in another control group.
        let (id, notices, logout) = (record.id, record.notices.clone(), logout::probe());
        let started = Started { id, notices, logout };
        if !self.tell(&Told::Started(started)) {
            // The command was killed: who typed it does not expect that anything goes on.
            exit_now(EXIT_FAILED);
        }
        heap::use_all();
    }

    fn station(&mut self) -> Option<&mut Station> {
        self.seat.as_mut().map(|seat| &mut seat.station)
    }

    fn goes_on(&mut self, _: &Record, code: u8, ran: Duration) -> Result<bool, RunError> {
        if let Some(seat) = &self.seat {
            seat.tell(What::Die, &[("exit", code.to_string())]);
        }
        if !self.is_due(code) {
            self.tell_stop();
            return Ok(false);
        }
        let Some(seat) = &mut self.seat else { return Ok(false) };
        self.pause = Restart::pause(self.pause, ran);
        let signals = block_signals()?;
        if seat.station.pause(self.pause, &signals)? == Next::End {
            self.tell_stop();
            return Ok(false);
        }
        if let Some(from) = &seat.from {
            enter(from).map_err(RunError::Detach)?;
        }
        self.count = self.count.saturating_add(1);
        seat.tell(What::Restart, &[("count", self.count.to_string())]);
        Ok(true)
    }
}
