//! Clones pid 1 of a sandbox inside the user and network namespaces of another one.
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

use super::door::Door;
use super::netstack::act;
use super::{Host, LaunchError, ids};
use crate::net::{bridge, interface};
use crate::plan::step::{Action, EnterStep, Link, Plan, Stage};
use crate::sys::clone::{self, CloneFlags, Cloned};
use crate::sys::errno::Errno;
use crate::sys::namespace::{self, Namespace};
use crate::sys::process::exit_now;
use crate::sys::signal::SignalNumber;
use crate::sys::{pidfd, socket};

/// Whether the clone is made in others' namespaces.
pub(super) fn enters(plan: &Plan) -> bool {
    plan.of(Stage::Launch).any(|(_, action)| matches!(action, Action::Enter(_)))
}

/// Writes the id maps of pid 1.
pub(super) fn map(plan: &Plan, pid: Pid) -> Result<(), LaunchError> {
    plan.of(Stage::Launch).try_for_each(|(_, action)| match action {
        Action::Ids(step) => ids::map(pid, step),
        _ => Ok(()),
    })
}

/// Whether the network namespace has to be there before pid 1 goes on: the clone makes it then.
pub(super) fn is_attached(plan: &Plan) -> bool {
    let is_attach = |action: &Action| matches!(action, Action::Enter(EnterStep::Attach(_)));
    plan.of(Stage::Launch).any(|(_, action)| is_attach(action))
}

/// Has the network's holder connect pid 1, and let clients in to it, where the plan puts it on one.
pub(super) fn attach(plan: &Plan, host: &Host<'_>, pid: Pid) -> Result<(), LaunchError> {
    if !is_attached(plan) {
        return Ok(());
    }
    let membership = host.membership.ok_or(LaunchError::Enter(Errno::EINVAL))?;
    let namespace = namespace::open_proc_dir(pid)
        .and_then(|process| namespace::open_ns(process, Namespace::Net))
        .map_err(LaunchError::Enter)?;
    let ports = host.published.take();
    let connected = membership
        .attach(namespace, 0)
        .and_then(|()| ports.iter().try_for_each(|port| membership.publish(port)));
    connected.map_err(|error| LaunchError::Holder(Box::new(error)))
}

/// What went wrong, as the first byte of what is told; the number behind it is an errno.
const CANNOT_ENTER: u8 = 1;
const CANNOT_CLONE: u8 = 2;
/// Pid 1 is there, and its descriptor comes along.
const CANNOT_MAP: u8 = 3;
/// Nothing: the number is that of pid 1, whose descriptor comes along.
const CLONED: u8 = 0;

/// Clones with these flags behind the door, and has `map` write the id maps of pid 1: only who is in the user namespace
/// above may. Returns in the launcher and in the new process.
pub(super) fn clone_within(
    door: &Door,
    flags: CloneFlags,
    map: impl FnOnce(Pid) -> Result<(), LaunchError>,
) -> Result<Cloned, LaunchError> {
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
                    let mapped = map(pid).map_err(|error| match error {
                        LaunchError::Map(errno) => errno,
                        _ => Errno::EINVAL,
                    });
                    let (what, number) = match mapped {
                        Ok(()) => (CLONED, pid.as_raw_nonzero().get()),
                        Err(errno) => (CANNOT_MAP, errno.raw()),
                    };
                    tell(&theirs, what, number, Some(pidfd.as_fd()))
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

/// Gives an interface of a sandbox that runs its addresses and routes.
pub fn configure_port(door: &Door, link: &Link, port: u8) -> Result<(), Errno> {
    let place = (door.user.as_fd(), door.network());
    act(place, || {
        // A new network namespace forwards where the host does: it would, from one of its networks to another.
        bridge::forward(false, link.v6.is_some())?;
        bridge::keep_apart()?;
        interface::configure(link, port)?;
        interface::keep_sources()
    })
}

/// Has what a sandbox that runs sends over IPv6 come from the addresses that it has now.
pub fn keep_sources(door: &Door) -> Result<(), Errno> {
    act((door.user.as_fd(), door.network()), interface::keep_sources)
}

fn enter(door: &Door) -> Result<(), Errno> {
    // The user namespace first: the right to enter the other comes with it.
    clone::setns(&door.user, CloneFlags::NEW_USER)?;
    door.net.as_ref().map_or(Ok(()), |net| clone::setns(net, CloneFlags::NEW_NET))
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
        (5, CANNOT_MAP, Some(pidfd)) => {
            pidfd::send_signal(&pidfd, SignalNumber::KILL).map_err(LaunchError::Connect)?;
            pidfd::wait(&pidfd).map_err(LaunchError::Connect)?;
            Err(LaunchError::Map(Errno::from_raw(number)))
        }
        (5, CANNOT_ENTER, None) => Err(LaunchError::Enter(Errno::from_raw(number))),
        (5, CANNOT_CLONE, None) => Err(LaunchError::Clone(Errno::from_raw(number))),
        _ => Err(LaunchError::Lost),
    }
}
