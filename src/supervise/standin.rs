//! Watches over the sandbox while the supervisor is stopped.
//!
//! # Theory of operation
//! Ctrl-Z stops the payload's group and the supervisor, not everything in the sandbox: what runs on
//! would wait for answers to its refused calls, and outlive its time. So before the supervisor stops it
//! forks a process that goes on watching, and tells what it counted when the supervisor is back.
//!
//! It is in the supervisor's process group, but blocks every signal, so the stop passes it by; it is
//! killed when the supervisor dies.

use std::os::fd::{AsFd, OwnedFd};

use super::denials::Call;
use super::watch::{self, Watch};
use super::{How, SuperviseError};
use crate::sys::clone::{Cloned, fork};
use crate::sys::errno::{Errno, Result};
use crate::sys::event::Poller;
use crate::sys::pidfd;
use crate::sys::process::{exit_now, set_parent_death_signal};
use crate::sys::signal::{SignalNumber, SignalSet};
use crate::sys::socket;

/// Bytes of a message: what it is about, and two numbers.
const SIZE: usize = 17;

/// What it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// So many refused calls.
    Count(Call, u64),
    /// The time was up.
    TimedOut,
    /// The store was nearly full.
    NoSpace,
}

impl Told {
    fn encode(self) -> [u8; SIZE] {
        let (tag, call, count) = match self {
            Self::Count(call, count) => (1, call, count),
            Self::TimedOut => (2, Call { arch: 0, number: 0 }, 0),
            Self::NoSpace => (3, Call { arch: 0, number: 0 }, 0),
        };
        let mut bytes = [tag; SIZE];
        let numbers = call.arch.to_le_bytes().into_iter().chain(call.number.to_le_bytes());
        for (to, from) in bytes.iter_mut().skip(1).zip(numbers.chain(count.to_le_bytes())) {
            *to = from;
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        let (arch, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let count = u64::from_le_bytes(rest.try_into().ok()?);
        let call = Call { arch: u32::from_le_bytes(*arch), number: u32::from_le_bytes(*number) };
        match tag {
            1 => Some(Self::Count(call, count)),
            2 => Some(Self::TimedOut),
            3 => Some(Self::NoSpace),
            _ => None,
        }
    }
}

/// The process; see the module.
#[derive(Debug)]
pub(super) struct StandIn {
    pidfd: OwnedFd,
    socket: OwnedFd,
}

impl StandIn {
    /// Starts it.
    pub(super) fn start(watch: &mut Watch<'_>) -> Result<Self> {
        let (ours, theirs) = socket::pair()?;
        match fork()? {
            Cloned::Parent { pidfd, .. } => Ok(Self { pidfd, socket: ours }),
            Cloned::Child => {
                drop(ours);
                // The supervisor has counted the rest.
                watch.take_counts();
                exit_now(u8::from(stand_in(watch, &theirs).is_err()))
            }
        }
    }

    /// Ends it; why it has killed the run, if it has.
    pub(super) fn relieve(self, watch: &mut Watch<'_>) -> Result<Option<How>> {
        rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write)?;
        let mut how = None;
        let mut bytes = [0; SIZE];
        loop {
            let (length, _) = socket::receive(&self.socket, &mut bytes)?;
            match bytes.get(..length).and_then(Told::decode) {
                Some(Told::Count(call, count)) => watch.add(call, count),
                Some(Told::TimedOut) => how = Some(How::TimedOut),
                Some(Told::NoSpace) => how = Some(How::NoSpace),
                None => break,
            }
        }
        match pidfd::wait(&self.pidfd) {
            // Nobody can wait for it when the caller ignores SIGCHLD.
            Ok(_) | Err(Errno::ECHILD) => Ok(how),
            Err(errno) => Err(errno),
        }
    }
}

fn stand_in(watch: &mut Watch<'_>, socket: &OwnedFd) -> std::result::Result<(), SuperviseError> {
    SignalSet::full().block().map_err(SuperviseError::StandIn)?;
    set_parent_death_signal(Some(SignalNumber::KILL)).map_err(SuperviseError::StandIn)?;
    loop {
        let patience = watch.patience();
        let mut poller = Poller::new();
        poller.readable(None, socket.as_fd());
        watch.register(&mut poller, Some);
        for (event, ready) in poller.wait(patience).map_err(SuperviseError::Wait)? {
            match event {
                // Also when the supervisor died before it could be seen to.
                None => return report(watch, socket),
                Some(event) => take(watch, event, ready, socket)?,
            }
        }
    }
}

fn take(
    watch: &mut Watch<'_>,
    event: watch::Event,
    ready: crate::sys::event::Ready,
    socket: &OwnedFd,
) -> std::result::Result<(), SuperviseError> {
    let told = match watch.handle(event, ready)? {
        Some(How::NoSpace) => Told::NoSpace,
        Some(_) => Told::TimedOut,
        None => return Ok(()),
    };
    watch.kill().map_err(SuperviseError::End)?;
    socket::send(socket, &told.encode(), &[]).map_err(SuperviseError::StandIn)
}

fn report(watch: &mut Watch<'_>, socket: &OwnedFd) -> std::result::Result<(), SuperviseError> {
    for (call, count) in watch.take_counts() {
        let told = Told::Count(call, count).encode();
        socket::send(socket, &told, &[]).map_err(SuperviseError::StandIn)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decoding_undoes_encoding(arch: u32, number: u32, count: u64) {
            for told in [Told::Count(Call { arch, number }, count), Told::TimedOut, Told::NoSpace] {
                prop_assert_eq!(Told::decode(&told.encode()), Some(told));
            }
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(Told::decode(&bytes).is_none() || bytes.len() == SIZE);
        }
    }
}
