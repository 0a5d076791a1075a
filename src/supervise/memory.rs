//! Whether the kernel killed processes for want of memory.
//!
//! The count is in a file of the control group, which is gone soon after the last process: it is looked at
//! whenever the kernel says that it changed, and once more before init ends.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::limits::group::{Kills, kills};
use crate::sys::errno::{Errno, Result};

/// The count, as far as it is known.
#[derive(Debug)]
pub(super) struct Memory {
    events: Option<OwnedFd>,
    kills: Kills,
}

impl Memory {
    /// Of a group's `memory.events`.
    pub(super) fn new(events: OwnedFd) -> Self {
        Self { events: Some(events), kills: Kills::default() }
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

    /// What was killed.
    pub(super) fn kills(&self) -> Kills {
        self.kills
    }
}
