//! Starting a holder and its netstack, and what both leave of the launcher behind.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;

use super::{address, process, unix_socket};
use crate::launch::ids;
use crate::launch::netstack::uplink;
use crate::plan::step::{IdsStep, Link};
use crate::spec::net::Segment;
use crate::sys::clone::{self, CloneFlags, Cloned};
use crate::sys::errno::{Errno, Result};
use crate::sys::pidfd::{self, Exit};
use crate::sys::process::{self as own, exit_now};
use crate::sys::seccomp::Instruction;
use crate::sys::{signal, socket};

/// Everything decided.
#[derive(Debug)]
pub struct Start<'a> {
    /// The network.
    pub segment: &'a Segment,
    /// Between the holder and its netstack.
    pub uplink: Link,
    /// The user namespace of another network's holder, to make this one in; a new one otherwise.
    pub space: Option<Space>,
    /// Maps of a new user namespace, by helpers; where they fail, or there are none, it has the caller's ids alone.
    pub ids: Vec<IdsStep>,
    /// Which Landlock; none where there is none.
    pub landlock_abi: Option<u32>,
    /// The holder's filter of system calls.
    pub holder_filter: &'a [Instruction],
    /// The netstack's.
    pub netstack_filter: &'a [Instruction],
}

/// A user namespace that holders share.
#[derive(Debug)]
pub struct Space {
    /// A descriptor of it.
    pub user: OwnedFd,
    /// Whether it has the caller's subordinate ids.
    pub subids: bool,
}

impl Space {
    /// Whether this process has power over it: one in a user namespace beside or below it has none. Only in a process
    /// with one thread.
    pub fn may_be_entered(&self) -> bool {
        match clone::fork() {
            Ok(Cloned::Child) => {
                exit_now(u8::from(clone::setns(&self.user, CloneFlags::NEW_USER).is_err()))
            }
            Ok(Cloned::Parent { pidfd, .. }) => matches!(pidfd::wait(&pidfd), Ok(Exit::Code(0))),
            Err(_) => false,
        }
    }
}

/// Starts both. The network's directory is locked, and no holder has its socket.
///
/// Returns as soon as they can be connected to; what they cannot do, who connects is told. Only in a process with
/// one thread.
pub fn start(order: &Start<'_>, directory: impl AsFd) -> Result<()> {
    clone::assert_single_threaded().map_err(|_| Errno::EINVAL)?;
    let listener = listen(&directory)?;
    let directory = directory.as_fd();
    match clone::fork()? {
        // Between them and the launcher, whose children they are not to be.
        Cloned::Child => match clone::fork() {
            Ok(Cloned::Child) => split(order, directory, listener),
            Ok(Cloned::Parent { .. }) => exit_now(0),
            Err(errno) => exit_now(u8::try_from(errno.raw()).unwrap_or(u8::MAX)),
        },
        Cloned::Parent { pidfd, .. } => match pidfd::wait(&pidfd)? {
            Exit::Code(0) => Ok(()),
            Exit::Code(errno) => Err(Errno::from_raw(errno.into())),
            Exit::Signal { .. } => Err(Errno::EINTR),
        },
    }
}

fn listen(directory: impl AsFd) -> Result<OwnedFd> {
    match rustix::fs::unlinkat(&directory, super::SOCKET, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let socket = unix_socket()?;
    rustix::net::bind(&socket, &address(directory)?)?;
    rustix::net::listen(&socket, super::WAITING)?;
    Ok(socket)
}

/// The netstack forks the holder: it stays in the host's network.
fn split(order: &Start<'_>, directory: BorrowedFd<'_>, listener: OwnedFd) -> ! {
    let Ok((to_holder, to_uplink)) = socket::pair() else { exit_now(1) };
    // Of its own, for the lock: the launcher's is the launcher's.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = rustix::fs::openat(directory, ".", flags, Mode::empty()) else {
        exit_now(1)
    };
    match clone::fork() {
        Ok(Cloned::Child) => {
            drop(to_holder);
            process::run(order, &process::Ends { directory, listener, uplink: to_uplink })
        }
        Ok(Cloned::Parent { pid, .. }) => {
            drop((to_uplink, listener, directory));
            map_ids(order, pid, &to_holder);
            uplink::run(order, &to_holder)
        }
        Err(_) => exit_now(1),
    }
}

/// Has the helpers map the holder's ids, once it has its user namespace, and tells it for which kinds that is done.
fn map_ids(order: &Start<'_>, holder: Pid, to_holder: &OwnedFd) {
    if order.space.is_some()
        || order.ids.is_empty()
        || !matches!(socket::receive(to_holder, &mut [0]), Ok((1, _)))
    {
        return;
    }
    // One that fails leaves the file as it is: then it is the holder's to write.
    let mapped = order.ids.iter().map(|step| u8::from(ids::map(holder, step).is_ok()));
    // Of one that has ended meanwhile, this process hears next.
    socket::send(to_holder, &mapped.collect::<Vec<u8>>(), &[]).unwrap_or(());
}

/// Keeps nothing of the launcher: descriptors, terminal, signals, directory.
pub(super) fn leave_launcher(name: &std::ffi::CStr, keep: &[BorrowedFd<'_>]) -> Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    std::mem::forget(null);
    own::irrevocably_close_from(3, keep)?;
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    // It outlives the command that it would show.
    own::irrevocably_clear_arguments()?;
    own::set_name(name)?;
    signal::reset_all()
}
