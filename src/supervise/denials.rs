//! Answers refused system calls, and counts them.
//!
//! # Theory of operation
//! The filter hands over only calls that it has decided to refuse; what is left to do is to say so, with
//! the errno that the policy has for the number. Nothing is read from the calling process: what it
//! would show could be changed before it mattered. How fast is in [`rate`](super::rate).
//!
//! Each program that entered has a listener of its own, which lasts as long as anything that it left behind. So that
//! these do not take all descriptors, [`MOST`] of them are kept, and the payload's: beyond that the oldest is closed.
//! What is left under its filter is refused the same calls, by the kernel alone: they fail with `ENOSYS` and are not
//! counted.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::rate::Rate;
use crate::sys::errno::{Errno, Result};
use crate::sys::event::{Poller, Ready};
use crate::sys::seccomp::Listener;

/// Listeners of what entered.
const MOST: usize = 48;

/// The number of the payload's listener.
const PAYLOAD: usize = 0;

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

/// The listeners and what they heard: one for the payload, one for each entry. They share the rate.
pub(super) struct Denials<'a> {
    /// With their numbers, of which none comes again, the oldest first; gone where nobody is left under the filter.
    listeners: Vec<(usize, Listener)>,
    last: usize,
    errno_for: &'a ErrnoFor<'a>,
    rate: Rate,
    counts: BTreeMap<Call, u64>,
}

impl<'a> Denials<'a> {
    pub(super) fn new(listener: Listener, errno_for: &'a ErrnoFor<'a>) -> Self {
        let rate = Rate::new(Instant::now());
        let listeners = vec![(PAYLOAD, listener)];
        Self { listeners, last: PAYLOAD, errno_for, rate, counts: BTreeMap::new() }
    }

    /// Answers the calls of one more.
    pub(super) fn listen_too(&mut self, listener: Listener) {
        let entered = || self.listeners.iter().enumerate().filter(|(_, (n, _))| *n != PAYLOAD);
        let oldest = entered().next().map(|(index, _)| index);
        if let Some(oldest) = oldest.filter(|_| entered().count() >= MOST) {
            drop(self.listeners.remove(oldest));
        }
        self.last += 1;
        self.listeners.push((self.last, listener));
    }

    /// How long to wait before listening again; none when it is time to listen, or never again.
    pub(super) fn rest(&mut self) -> Option<Duration> {
        self.rate.rest(Instant::now()).filter(|_| self.listening().next().is_some())
    }

    /// Where to listen, unless [`Denials::rest`] has just said to wait.
    pub(super) fn listening(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        self.listeners.iter().map(|(number, listener)| (*number, listener.as_fd()))
    }

    /// How often each call was refused so far; counting begins anew.
    pub(super) fn take_counts(&mut self) -> BTreeMap<Call, u64> {
        std::mem::take(&mut self.counts)
    }

    /// Adds what somebody else counted.
    pub(super) fn add(&mut self, call: Call, count: u64) {
        *self.counts.entry(call).or_default() += count;
    }

    /// Answers what waits at one listener, by its number in [`Denials::listening`], but not for long.
    pub(super) fn answer(&mut self, number: usize, ready: Ready) -> Result<()> {
        if ready.hung_up() {
            self.listeners.retain(|(other, _)| *other != number);
        }
        let found = self.listeners.iter().find(|(other, _)| *other == number);
        let Some((_, listener)) = found else { return Ok(()) };
        for _ in 0..AT_ONCE {
            if !is_waiting(listener)? || !self.rate.take(Instant::now()) {
                break;
            }
            if let Some(call) = answer_one(listener, self.errno_for)? {
                *self.counts.entry(call).or_default() += 1;
            }
        }
        Ok(())
    }
}

/// What was answered.
fn answer_one(listener: &Listener, errno_for: &ErrnoFor<'_>) -> Result<Option<Call>> {
    let Some(notification) = listener.receive()? else { return Ok(None) };
    let call = Call { arch: notification.arch, number: notification.number.cast_unsigned() };
    match listener.respond_errno(notification.id, errno_for(call)) {
        // It was killed meanwhile.
        Ok(()) | Err(Errno::ENOENT) => Ok(Some(call)),
        Err(errno) => Err(errno),
    }
}

/// Receiving waits when there is nothing.
fn is_waiting(listener: &Listener) -> Result<bool> {
    let mut poller = Poller::new();
    poller.readable((), listener.as_fd());
    let ready = poller.wait(Some(Duration::ZERO))?;
    Ok(ready.iter().any(|((), ready)| ready.readable() && !ready.hung_up()))
}
