//! Whether the kernel killed processes for want of memory.
//!
//! The count is in a file of the control group, which is gone soon after the last process: it is looked at
//! whenever the kernel says that it changed, and once more before init ends.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::limits::group::{Kills, kills};
use crate::sys::errno::{Errno, Result};

/// The second.
const SPAN: Duration = Duration::from_secs(1);

/// The count, as far as it is known.
#[derive(Debug)]
pub(super) struct Memory {
    events: Option<OwnedFd>,
    kills: Kills,
    /// When it was last told of to others, and how many had been killed then.
    told: Option<(Instant, u64)>,
}

impl Memory {
    /// Of a group's `memory.events`.
    pub(super) fn new(events: OwnedFd) -> Self {
        Self { events: Some(events), kills: Kills::default(), told: None }
    }

    /// Ready, out of band, when there is something new.
    pub(super) fn listening(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(AsFd::as_fd)
    }

    /// Looks; also that nothing is new any more, when the group is gone.
    pub(super) fn look(&mut self) -> Result<()> {
        let Some(events) = &self.events else { return Ok(()) };
        match kills(events) {
            Ok(kills) => self.kills = kills,
            Err(Errno::ENODEV) => self.events = None,
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    /// Whether others are to be told, once a second: a payload may be killed again and again.
    pub(super) fn is_news(&mut self) -> bool {
        let is_news = match self.told {
            Some((when, count)) => self.kills.count > count && when.elapsed() >= SPAN,
            None => self.kills.count > 0,
        };
        if is_news {
            self.told = Some((Instant::now(), self.kills.count));
        }
        is_news
    }

    /// What was killed.
    pub(super) fn kills(&self) -> Kills {
        self.kills
    }
}
