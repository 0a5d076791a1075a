//! Answers refused system calls, and counts them.
//!
//! # Theory of operation
//! The filter hands over only calls that it has decided to refuse; what is left to do is to say so, with
//! the errno that the policy has for the number. Nothing is read from the calling process: what it
//! would show could be changed before it mattered. How fast is in [`rate`](super::rate).

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::rate::Rate;
use crate::sys::errno::{Errno, Result};
use crate::sys::event::{Poller, Ready};
use crate::sys::seccomp::Listener;

/// Calls answered before other things are looked at.
const AT_ONCE: usize = 64;

/// A system call: the same number is another call in another architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// Its number there.
    pub number: u32,
}

/// What refused calls fail with.
pub type ErrnoFor<'a> = dyn Fn(Call) -> Errno + 'a;

/// The listener and what it heard.
pub(super) struct Denials<'a> {
    listener: Listener,
    errno_for: &'a ErrnoFor<'a>,
    rate: Rate,
    counts: BTreeMap<Call, u64>,
    ended: bool,
}

impl<'a> Denials<'a> {
    pub(super) fn new(listener: Listener, errno_for: &'a ErrnoFor<'a>) -> Self {
        let rate = Rate::new(Instant::now());
        Self { listener, errno_for, rate, counts: BTreeMap::new(), ended: false }
    }

    /// How long to wait before listening again; none when it is time to listen, or never again.
    pub(super) fn rest(&mut self) -> Option<Duration> {
        self.rate.rest(Instant::now()).filter(|_| !self.ended)
    }

    /// Where to listen, unless [`Denials::rest`] has just said to wait.
    pub(super) fn listening(&self) -> Option<BorrowedFd<'_>> {
        (!self.ended).then(|| self.listener.as_fd())
    }

    /// How often each call was refused so far; counting begins anew.
    pub(super) fn take_counts(&mut self) -> BTreeMap<Call, u64> {
        std::mem::take(&mut self.counts)
    }

    /// Adds what somebody else counted.
    pub(super) fn add(&mut self, call: Call, count: u64) {
        *self.counts.entry(call).or_default() += count;
    }

    /// Answers what waits, but not for long.
    pub(super) fn answer(&mut self, ready: Ready) -> Result<()> {
        if ready.hung_up() {
            // Nobody is left under the filter.
            self.ended = true;
            return Ok(());
        }
        for _ in 0..AT_ONCE {
            if !self.is_waiting()? || !self.rate.take(Instant::now()) {
                break;
            }
            self.answer_one()?;
        }
        Ok(())
    }

    fn answer_one(&mut self) -> Result<()> {
        let Some(notification) = self.listener.receive()? else { return Ok(()) };
        let call = Call { arch: notification.arch, number: notification.number.cast_unsigned() };
        self.add(call, 1);
        match self.listener.respond_errno(notification.id, (self.errno_for)(call)) {
            // It was killed meanwhile.
            Err(Errno::ENOENT) => Ok(()),
            other => other,
        }
    }

    /// Receiving waits when there is nothing.
    fn is_waiting(&self) -> Result<bool> {
        let mut poller = Poller::new();
        poller.readable((), self.listener.as_fd());
        let ready = poller.wait(Some(Duration::ZERO))?;
        Ok(ready.iter().any(|((), ready)| ready.readable() && !ready.hung_up()))
    }
}
