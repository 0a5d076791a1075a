//! Asks the sandbox again and again whether it is well.
//!
//! # Theory of operation
//! ```text
//! rest ──it is time──▶ start ──▶ run ──it ended, or took too long──▶ learn, rest
//! ```
//! A check is an entry as `bryo exec` makes one, with the payload's confinement, that the supervisor keeps to itself
//! ([`visits`](super::visits)). What it writes is read to its end and kept to a bound.
//!
//! # Decisions
//! - There is one at a time. One that cannot be ended (it waits for a file system that hangs) is not followed by
//!   another: the checks that would be due fail.
//! - While the sandbox is paused nothing is due, and the time of a check stands still.
//! - A check that says now this and now that, as a payload can make it, does not fill the list of events: [`Pace`].
//! - With a check that took too long its process group is killed. What else it has started is the sandbox's, counts as
//!   its processes, and ends with it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::port::set_nonblocking;
use super::protocol::Reply;
use super::visits::{Visits, Whose};
use crate::plan::entry::Entry;
use crate::plan::step::StdioPlan;
use crate::spec;
use crate::state::Timestamp;
use crate::state::health::{Check, Grace, Health as Known, MOST_OUTPUT, Status};
use crate::sys::errno::Result;

/// Bytes that are read at a time, and of a check that has ended in all but one pipe's worth.
const PIECE: usize = 4096;
/// Reads after the end: a full pipe. What still writes then is not waited for.
const LAST_READS: usize = 16;

/// Changes that are told as they come; with more of them, one each second.
const AT_ONCE: u64 = 10;

/// How often a change is told. What is held back is told after a later check, if it is still so.
#[derive(Debug)]
struct Pace {
    left: u64,
    since: Instant,
}

impl Pace {
    fn lets(&mut self, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.since).as_secs();
        if seconds > 0 {
            self.left = self.left.saturating_add(seconds).min(AT_ONCE);
            self.since = now;
        }
        let lets = self.left > 0;
        self.left = self.left.saturating_sub(1);
        lets
    }
}

/// What is checked, and who is told.
#[derive(Clone, Copy)]
pub struct Checkup<'a> {
    /// How.
    pub wanted: &'a spec::Health,
    /// Called at the beginning and after each check; with the status where it is news.
    pub told: &'a dyn Fn(&Known, Option<Status>),
}

/// See the module.
pub(super) struct Health<'a> {
    checkup: Checkup<'a>,
    known: Known,
    /// What others were told last, and how many changes they may be told.
    told: Status,
    pace: Pace,
    begun: Instant,
    due: Instant,
    current: Option<Current>,
    was_paused: bool,
}

/// The check that runs.
struct Current {
    began: Timestamp,
    until: Instant,
    /// None at its end.
    pipe: Option<OwnedFd>,
    output: Vec<u8>,
}

impl<'a> Health<'a> {
    /// Of a payload that was just executed.
    pub(super) fn begin(checkup: Checkup<'a>) -> Self {
        let (known, begun) = (Known::starting(), Instant::now());
        (checkup.told)(&known, None);
        let mut health = Self {
            checkup,
            told: known.status,
            known,
            pace: Pace { left: AT_ONCE, since: begun },
            begun,
            due: begun,
            current: None,
            was_paused: false,
        };
        health.rest();
        health
    }

    /// Whether it is well, or may still be.
    pub(super) fn is_well(&self) -> bool {
        self.known.status != Status::Unhealthy
    }

    /// How long a wait may be at most.
    pub(super) fn patience(&self, is_paused: bool) -> Option<Duration> {
        let when = self.current.as_ref().map_or(self.due, |current| current.until);
        (!is_paused).then(|| when.saturating_duration_since(Instant::now()))
    }

    /// What a check writes to, while one runs.
    pub(super) fn listening(&self) -> Option<BorrowedFd<'_>> {
        self.current.as_ref().and_then(|current| current.pipe.as_ref()).map(AsFd::as_fd)
    }

    /// Reads of that.
    pub(super) fn read(&mut self) {
        if let Some(current) = &mut self.current {
            current.read();
        }
    }

    /// Starts what is due, and ends what took too long.
    pub(super) fn strike(&mut self, visits: &mut Visits<'_>, is_paused: bool) {
        let now = Instant::now();
        if is_paused {
            self.was_paused = true;
            return;
        }
        if std::mem::take(&mut self.was_paused)
            && let Some(current) = &mut self.current
        {
            current.until = far(now, self.checkup.wanted.timeout);
        }
        match &self.current {
            Some(current) if current.until <= now => {
                visits.end_check();
                self.conclude(None);
            }
            None if self.due <= now => self.start(visits),
            _ => {}
        }
    }

    /// The check ended.
    pub(super) fn ended(&mut self, code: u8) {
        self.conclude(Some(code));
    }

    /// None was started.
    pub(super) fn failed(&mut self, why: &Reply) {
        let (text, code) = match why {
            Reply::Failed { text, code, .. } => (text.as_str(), *code),
            Reply::Refused { why } => (why.as_str(), 125),
            _ => ("", 125),
        };
        if let Some(current) = &mut self.current {
            current.keep(text.as_bytes());
        }
        self.conclude(Some(code));
    }

    fn start(&mut self, visits: &mut Visits<'_>) {
        let until = far(Instant::now(), self.checkup.wanted.timeout);
        let (pipe, stdio) = stdio().ok().unzip();
        self.current = Some(Current { began: Timestamp::now(), until, pipe, output: Vec::new() });
        let Some(stdio) = stdio.filter(|_| !visits.has_check()) else {
            let why = "it cannot be started: the check before it has not ended, or too many files are open";
            return self.failed(&Reply::Refused { why: why.to_owned() });
        };
        let entry = Entry {
            argv: vec!["/bin/sh".into(), "-c".into(), self.checkup.wanted.command.clone()],
            environment: Vec::new(),
            workdir: None,
            user: None,
            stdio: [StdioPlan::Null, StdioPlan::Keep, StdioPlan::Keep],
            pty: None,
            errand: None,
        };
        if let Err(error) = visits.start(Whose::Check, &entry, &stdio) {
            let why = visits.explain(&error);
            self.failed(&why);
        }
    }

    /// Learns from the check that was, which ended with `code` unless it took too long.
    fn conclude(&mut self, code: Option<u8>) {
        let Some(mut current) = self.current.take() else { return };
        (0..LAST_READS).take_while(|_| current.read()).count();
        let wanted = self.checkup.wanted;
        let grace =
            if self.begun.elapsed() < wanted.start_period { Grace::Lasts } else { Grace::Over };
        let check = Check {
            began: current.began,
            ended: Timestamp::now(),
            exit: code,
            output: String::from_utf8_lossy(&current.output).into_owned(),
        };
        self.known.learn(check, wanted.retries, grace);
        let status = self.known.status;
        let is_news = status != self.told && self.pace.lets(Instant::now());
        let news = is_news.then_some(status);
        self.told = news.unwrap_or(self.told);
        (self.checkup.told)(&self.known, news);
        self.rest();
    }

    /// Until the next one.
    fn rest(&mut self) {
        let wanted = self.checkup.wanted;
        let starts =
            self.known.status == Status::Starting && self.begun.elapsed() < wanted.start_period;
        let interval = if starts { wanted.start_interval } else { wanted.interval };
        self.due = far(Instant::now(), interval);
    }
}

impl Current {
    /// Whether there was something.
    fn read(&mut self) -> bool {
        let Some(pipe) = &self.pipe else { return false };
        let mut piece = [0; PIECE];
        match rustix::io::read(pipe, &mut piece) {
            Ok(length @ 1..) => self.keep(piece.get(..length).unwrap_or_default()),
            Err(Errno::AGAIN | Errno::INTR) => return false,
            // Nobody writes there any more, and it would be ready for ever.
            Ok(0) | Err(_) => self.pipe = None,
        }
        self.pipe.is_some()
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MOST_OUTPUT.saturating_sub(self.output.len());
        self.output.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }
}

/// A century at most is a time that a clock has.
fn far(from: Instant, time: Duration) -> Instant {
    from.checked_add(time).unwrap_or(from)
}

/// Nothing to read, and one pipe for both outputs; our end of it.
fn stdio() -> Result<(OwnedFd, [OwnedFd; 3])> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    set_nonblocking(&ours)?;
    let again = rustix::io::fcntl_dupfd_cloexec(&theirs, 3)?;
    Ok((ours, [null, theirs, again]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_as_they_come_and_with_many_once_a_second() {
        let begun = Instant::now();
        let mut pace = Pace { left: AT_ONCE, since: begun };
        let mut told = |from: u64, to: u64| {
            let times = (from..to).step_by(20).map(Duration::from_millis);
            times.filter(|time| pace.lets(begun + *time)).count()
        };
        assert_eq!(told(0, 980), 10);
        assert_eq!(told(1000, 11_000), 10);
        // After a rest as at the beginning.
        assert_eq!(told(100_000, 100_980), 10);
    }
}
