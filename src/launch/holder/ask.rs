//! Questions to a holder: of who has a place, and of commands.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::error::{HolderError, refusal};
use super::receive;
use super::start::Space;
use super::wire::{self, Answer, Ask, Member};
use crate::launch::Said;
use crate::plan::traffic::Traffic;
use crate::spec::net::NetworkName;
use crate::sys::errno::{Errno, Result};
use crate::sys::event::Poller;
use crate::sys::{open, socket};

/// When an answer is given up, with all that belongs to it.
#[derive(Debug, Clone, Copy)]
pub struct Until(Instant);

impl Until {
    /// For what something depends on: a machine may be slow.
    pub const PATIENTLY: Duration = Duration::from_secs(20);
    /// For what is only told.
    pub const BRIEFLY: Duration = Duration::from_secs(1);

    /// So much later than now.
    pub fn after(patience: Duration) -> Self {
        Self(Instant::now() + patience)
    }

    /// What is left of it.
    pub(super) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// The same, for who has no place.
pub(super) fn ask(
    connection: &OwnedFd,
    ask: &Ask,
    fd: Option<BorrowedFd<'_>>,
) -> Result<(Answer, Option<OwnedFd>)> {
    ask_until(Until::after(Until::PATIENTLY), connection, ask, fd)
}

fn ask_until(
    until: Until,
    connection: &OwnedFd,
    ask: &Ask,
    fd: Option<BorrowedFd<'_>>,
) -> Result<(Answer, Option<OwnedFd>)> {
    ask_and_hear(until, connection, ask, fd, &mut |_| {})
}

/// Asks, and waits for the answer. Who has ended without reading the question may have said why before. What nobody asked
/// for meanwhile, `hear` has.
pub(super) fn ask_and_hear(
    until: Until,
    connection: &OwnedFd,
    ask: &Ask,
    fd: Option<BorrowedFd<'_>>,
    hear: &mut dyn FnMut(Said),
) -> Result<(Answer, Option<OwnedFd>)> {
    let (mut lost, mut again) = (Errno::ECONNRESET, true);
    match wire::send(connection, ask, fd) {
        Err(errno @ (Errno::EPIPE | Errno::ECONNRESET)) => lost = errno,
        sent => sent?,
    }
    loop {
        readable(connection, until)?;
        match wire::receive(connection) {
            Ok(Some((answer, fd))) => match unasked(answer) {
                Ok(said) => hear(said),
                Err(answer) => return Ok((answer, fd)),
            },
            Ok(None) => return Err(lost),
            // Told once, and before what was said.
            Err(Errno::ECONNRESET) if again => again = false,
            Err(errno) => return Err(errno),
        }
    }
}

/// What the holder says of its own accord; any other answer comes back.
pub(super) fn unasked(answer: Answer) -> std::result::Result<Said, Answer> {
    match answer {
        // Who asks is asked in vain; another one will be.
        Answer::Look => Ok(Said::Look),
        Answer::Flow(flow) => Ok(Said::Flow(flow)),
        Answer::Cut => Ok(Said::Cut),
        answer => Err(answer),
    }
}

/// How often who does not answer is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Waits until there is something to read, or the end. Who is found stopped twice is not waited for.
pub(super) fn readable(connection: &OwnedFd, until: Until) -> Result<()> {
    let mut was_stopped = false;
    loop {
        let mut poller = Poller::new();
        poller.readable((), connection.as_fd());
        if !poller.wait(Some(until.left().min(LOOK)))?.is_empty() {
            return Ok(());
        }
        let is_stopped = stopped(connection).is_some();
        if until.left().is_zero() || is_stopped && was_stopped {
            return Err(Errno::ETIMEDOUT);
        }
        was_stopped = is_stopped;
    }
}

/// The process that listens at the other end of a connection, where it can be seen and is stopped. It is there as long as
/// the connection is, so its number is nobody else's.
pub(super) fn stopped(connection: &OwnedFd) -> Option<Pid> {
    let pid = socket::peer(connection).ok()?.pid?;
    let stat = open::read_whole(format!("/proc/{}/stat", pid.as_raw_nonzero()), 512).ok()?;
    // Behind the name, which may hold anything.
    let at = stat.windows(2).rposition(|both| both == b") ")?;
    (stat.get(at + 2) == Some(&b'T')).then_some(pid)
}

/// What left a network and was refused, by all its members, or to who has a place; none when its netstack has ended.
pub fn traffic(
    network: &NetworkName,
    connection: &OwnedFd,
    until: Until,
) -> std::result::Result<Option<Traffic>, HolderError> {
    ask_traffic(network, connection, until, &mut |_| {})
}

pub(super) fn ask_traffic(
    network: &NetworkName,
    connection: &OwnedFd,
    until: Until,
    hear: &mut dyn FnMut(Said),
) -> std::result::Result<Option<Traffic>, HolderError> {
    let speak = |source| HolderError::silent(network, connection, source);
    let (told, tells) = socket::pair().map_err(speak)?;
    let asked = ask_and_hear(until, connection, &Ask::Traffic, Some(tells.as_fd()), hear);
    match asked.map_err(speak)? {
        (Answer::Done, _) => {}
        (Answer::Failed(failure), _) if Errno::from_raw(failure.errno) == Errno::ECONNRESET => {
            return Ok(None);
        }
        (answer, _) => return Err(refusal(network, answer)),
    }
    drop(tells);
    let told = readable(&told, until).and_then(|()| receive(&told)).map_err(speak)?;
    Ok(told.map(|(traffic, _)| traffic))
}

/// How many are on a network, and whether its netstack has ended.
pub fn state(
    network: &NetworkName,
    connection: &OwnedFd,
    until: Until,
) -> std::result::Result<(usize, bool), HolderError> {
    let speak = |source| HolderError::silent(network, connection, source);
    match ask_until(until, connection, &Ask::State, None).map_err(speak)? {
        (Answer::State { members, uplink_is_lost }, _) => Ok((members, uplink_is_lost)),
        (answer, _) => Err(refusal(network, answer)),
    }
}

/// Who is on a network.
pub fn members(
    network: &NetworkName,
    connection: &OwnedFd,
    until: Until,
) -> std::result::Result<Vec<Member>, HolderError> {
    let speak = |source| HolderError::silent(network, connection, source);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        match ask_until(until, connection, &Ask::Members(after), None).map_err(speak)? {
            (Answer::Members(members), _) => {
                let is_last = members.len() < wire::PAGE;
                after = members.last().map(|(number, _)| *number);
                found.extend(members.into_iter().map(|(_, member)| member));
                if is_last {
                    return Ok(found);
                }
            }
            (answer, _) => return Err(refusal(network, answer)),
        }
    }
}

/// The user namespace that a holder has, to make another network in. Whoever cannot give it has none to give.
pub fn space(connection: &OwnedFd, until: Until) -> Option<Space> {
    match ask_until(until, connection, &Ask::Space, None) {
        Ok((Answer::Space { subids }, Some(user))) => Some(Space { user, subids }),
        _ => None,
    }
}

/// Takes its place on a network from a sandbox.
pub fn disconnect(
    network: &NetworkName,
    connection: &OwnedFd,
    id: &str,
) -> std::result::Result<(), HolderError> {
    let speak = |source| HolderError::silent(network, connection, source);
    match ask(connection, &Ask::Disconnect(id.to_owned()), None).map_err(speak)? {
        (Answer::Done, _) => Ok(()),
        (answer, _) => Err(refusal(network, answer)),
    }
}

/// Has who has this id send from its addresses on this network alone; also where it has left meanwhile.
pub fn bind(
    network: &NetworkName,
    connection: &OwnedFd,
    id: &str,
) -> std::result::Result<(), HolderError> {
    let speak = |source| HolderError::silent(network, connection, source);
    match ask(connection, &Ask::Bind(id.to_owned()), None).map_err(speak)? {
        (Answer::Done | Answer::Absent, _) => Ok(()),
        (answer, _) => Err(refusal(network, answer)),
    }
}
