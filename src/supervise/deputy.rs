//! A helper process for work of the supervisor's that may take long, so that its loop goes on meanwhile.
//!
//! It ends with the run at the latest, and with the supervisor, however that ends.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::clone::{self, Cloned};
use crate::sys::errno::{Errno, Result};
use crate::sys::pidfd;
use crate::sys::process::{self, exit_now};
use crate::sys::signal::SignalNumber;

/// See the module.
#[derive(Debug)]
pub struct Deputy {
    pidfd: OwnedFd,
    ended: Cell<bool>,
}

impl Deputy {
    /// Has it do that. Only in a process with one thread.
    pub fn begin(work: impl FnOnce()) -> Result<Self> {
        clone::assert_single_threaded().map_err(|_| Errno::EINVAL)?;
        let supervisor = rustix::process::getpid();
        match clone::fork()? {
            Cloned::Child => {
                let bound = process::set_parent_death_signal(Some(SignalNumber::KILL));
                // It may have ended before.
                if bound.is_ok() && rustix::process::getppid() == Some(supervisor) {
                    work();
                }
                exit_now(0)
            }
            Cloned::Parent { pidfd, .. } => Ok(Self { pidfd, ended: Cell::new(false) }),
        }
    }

    /// Readable when it has ended; none once it was reaped.
    pub(super) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        (!self.ended.get()).then_some(self.pidfd.as_fd())
    }

    pub(super) fn reap(&self) {
        if !self.ended.replace(true) {
            // Where the caller ignores its children there is nothing to wait for.
            pidfd::wait(&self.pidfd).map(drop).unwrap_or_default();
        }
    }
}

impl Drop for Deputy {
    fn drop(&mut self) {
        if !self.ended.get() {
            pidfd::kill(&self.pidfd).unwrap_or_default();
            self.reap();
        }
    }
}
