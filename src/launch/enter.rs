//! A clone in namespaces that are there already.
//!
//! # Theory of operation
//! Who enters a user namespace below its own has every capability there and none where it came from, and cannot
//! come back. So a process forked for this enters, clones pid 1 as a child of the launcher
//! (`CLONE_PARENT`) and ends. Nothing of it is left; to launcher and pid 1 it is as if they had made the clone
//! themselves.
//!
//! # Decisions
//! - It has the launcher's memory and rights over the other's namespaces, for as long as this takes. No program of
//!   the other sandbox sees it: it is in the host's pid namespace.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::Pid;

use super::LaunchError;
use super::door::Door;
use crate::sys::clone::{self, CloneFlags, Cloned};
use crate::sys::errno::Errno;
use crate::sys::process::exit_now;
use crate::sys::{pidfd, socket};

/// What went wrong, as the first byte of what is told; the number behind it is an errno.
const CANNOT_ENTER: u8 = 1;
const CANNOT_CLONE: u8 = 2;
/// Nothing: the number is that of pid 1, whose descriptor comes along.
const CLONED: u8 = 0;

/// Clones with these flags behind the door. Returns in the launcher and in the new process.
pub(super) fn clone_within(door: &Door, flags: CloneFlags) -> Result<Cloned, LaunchError> {
    let (ours, theirs) = socket::pair().map_err(LaunchError::Connect)?;
    match clone::fork().map_err(LaunchError::Clone)? {
        Cloned::Child => {
            drop(ours);
            match enter(door).map_err(|errno| (CANNOT_ENTER, errno)).and_then(|()| {
                clone::clone3(flags.union(CloneFlags::PARENT), None)
                    .map_err(|errno| (CANNOT_CLONE, errno))
            }) {
                Ok(Cloned::Child) => Ok(Cloned::Child),
                Ok(Cloned::Parent { pid, pidfd }) => {
                    tell(&theirs, CLONED, pid.as_raw_nonzero().get(), Some(pidfd.as_fd()))
                }
                Err((what, errno)) => tell(&theirs, what, errno.raw(), None),
            }
        }
        Cloned::Parent { pidfd: entering, .. } => {
            drop(theirs);
            let heard = hear(&ours);
            pidfd::wait(&entering).map_err(LaunchError::Connect)?;
            heard
        }
    }
}

fn enter(door: &Door) -> Result<(), Errno> {
    // The user namespace first: the right to enter the other comes with it.
    clone::setns(&door.user, CloneFlags::NEW_USER)?;
    clone::setns(&door.net, CloneFlags::NEW_NET)
}

/// Tells the launcher, and ends.
fn tell(to: &OwnedFd, what: u8, number: i32, fd: Option<BorrowedFd<'_>>) -> ! {
    let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
    let mut message = [what, 0, 0, 0, 0];
    for (place, byte) in message.iter_mut().skip(1).zip(number.to_ne_bytes()) {
        *place = byte;
    }
    // When nobody listens any more, pid 1 hears so itself and ends.
    exit_now(u8::from(socket::send(to, &message, &fds).is_err()))
}

fn hear(from: &OwnedFd) -> Result<Cloned, LaunchError> {
    let mut message = [0; 5];
    let (length, mut fds) = socket::receive(from, &mut message).map_err(LaunchError::Connect)?;
    let [what, number @ ..] = message;
    let number = i32::from_ne_bytes(number);
    match (length, what, fds.pop()) {
        (5, CLONED, Some(pidfd)) => {
            let pid = Pid::from_raw(number).ok_or(LaunchError::Lost)?;
            Ok(Cloned::Parent { pid, pidfd })
        }
        (5, CANNOT_ENTER, None) => Err(LaunchError::Enter(Errno::from_raw(number))),
        (5, CANNOT_CLONE, None) => Err(LaunchError::Clone(Errno::from_raw(number))),
        _ => Err(LaunchError::Lost),
    }
}
