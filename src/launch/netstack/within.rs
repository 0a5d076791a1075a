//! Acts on a sandbox's network from outside.
//!
//! Who enters a user namespace below its own cannot come back: so a process forked for this does, and ends.

use std::os::fd::BorrowedFd;

use crate::sys::clone::{self, CloneFlags, Cloned};
use crate::sys::errno::{Errno, Result};
use crate::sys::pidfd::{self, Exit};
use crate::sys::process::exit_now;

/// The user and the network namespace of a sandbox.
pub(in crate::launch) type Place<'a> = (BorrowedFd<'a>, BorrowedFd<'a>);

/// Has a process act there, with every capability over it, and waits for its end.
pub(in crate::launch) fn act(place: Place<'_>, what: impl FnOnce() -> Result<()>) -> Result<()> {
    match clone::fork()? {
        Cloned::Child => {
            let done = enter(place).and_then(|()| what());
            let errno = done.err().map_or(0, Errno::raw);
            // Those of the kernel are below 134.
            exit_now(u8::try_from(errno).unwrap_or(u8::MAX))
        }
        Cloned::Parent { pidfd, .. } => match pidfd::wait(&pidfd)? {
            Exit::Code(0) => Ok(()),
            Exit::Code(errno) => Err(Errno::from_raw(errno.into())),
            Exit::Signal { .. } => Err(Errno::EINTR),
        },
    }
}

fn enter((user, net): Place<'_>) -> Result<()> {
    // The user namespace first: the right to enter the other comes with it.
    clone::setns(user, CloneFlags::NEW_USER)?;
    clone::setns(net, CloneFlags::NEW_NET)
}
