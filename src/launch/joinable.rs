//! The namespaces of a running sandbox, held so that others of the launcher's processes can join them.
//!
//! # Theory of operation
//! They are opened between the clone and the first order, while the new process is still as dumpable as the
//! launcher: once it is not, `/proc/PID/ns` and `setns` by its pidfd are refused to everybody but root, the
//! launcher included. What is held cannot be forged, and cannot come to mean another sandbox. A new network
//! namespace is made later: pid 1 sends a descriptor of it, and nothing inside can send one.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;

use super::door::Door;
use super::netstack::act;
use crate::plan::step::Namespaces;
use crate::sys::clone::{self, CloneFlags};
use crate::sys::errno::{Errno, Result};
use crate::sys::interfaces::{self, Addresses};
use crate::sys::{sock_diag, socket};

/// How long the kernel may take to remove what a namespace had that has ended.
const REMOVAL: Duration = Duration::from_secs(1);

/// See the module. The user namespace comes first: it gives the right to the others.
#[derive(Debug)]
pub struct Joinable(Vec<(CloneFlags, OwnedFd)>);

impl Joinable {
    /// Those of a process that has just been cloned.
    pub(super) fn open(pid: Pid, namespaces: Namespaces) -> Result<Self> {
        let Namespaces { user, pid: own_pid, net, ipc, uts, cgroup } = namespaces;
        let all = [
            (user, "user", CloneFlags::NEW_USER),
            (true, "mnt", CloneFlags::NEW_MOUNT),
            (own_pid, "pid", CloneFlags::NEW_PID),
            (net, "net", CloneFlags::NEW_NET),
            (ipc, "ipc", CloneFlags::NEW_IPC),
            (uts, "uts", CloneFlags::NEW_UTS),
            (cgroup, "cgroup", CloneFlags::NEW_CGROUP),
        ];
        let open = |(_, name, flag): (bool, &str, CloneFlags)| {
            let path = format!("/proc/{}/ns/{name}", pid.as_raw_nonzero());
            let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            Ok((flag, fd))
        };
        all.into_iter().filter(|(own, ..)| *own).map(open).collect::<Result<_>>().map(Self)
    }

    /// With a new one of the network.
    pub(super) fn with_network(mut self, network: OwnedFd) -> Self {
        self.0.push((CloneFlags::NEW_NET, network));
        self
    }

    /// The way to its network, for whoever connects it with another one.
    pub fn door(&self) -> Option<Door> {
        let copy = |wanted| {
            let (_, fd) = self.0.iter().find(|(flag, _)| *flag == wanted)?;
            fd.try_clone().ok()
        };
        let (user, net) = (copy(CloneFlags::NEW_USER)?, copy(CloneFlags::NEW_NET)?);
        Some(Door { user, net: Some(net) })
    }

    /// Ends every connection that leads out of the sandbox and that `is_lost`, by its own address and the other one: nobody
    /// is at its other end any more. Before that it waits for the kernel to take away the addresses `gone`: who connects until
    /// then would wait in vain. Nothing for one with no network of its own.
    pub fn cut_off(&self, gone: &[IpAddr], is_lost: &dyn Fn(IpAddr, IpAddr) -> bool) -> Result<()> {
        let cut = || {
            // Where that cannot be waited for, those that there are end all the same.
            let waited = interfaces::wait_until_gone(gone, REMOVAL);
            sock_diag::abort_connections(is_lost).and(waited)
        };
        self.place().map_or(Ok(()), |place| act(place, cut))
    }

    /// The addresses of its network, and what changes of them; none for one with no network of its own.
    pub fn addresses(&self) -> Result<Option<Addresses>> {
        let Some(place) = self.place() else { return Ok(None) };
        let (ours, theirs) = socket::pair()?;
        act(place, || socket::send(&theirs, b"a", &[Addresses::listen()?.as_fd()]))?;
        let (_, fds) = socket::receive(&ours, &mut [0; 8])?;
        fds.into_iter().next().map_or(Err(Errno::EPROTO), |fd| Ok(Some(Addresses::taken(fd))))
    }

    /// The user and the network namespace.
    fn place(&self) -> Option<(BorrowedFd<'_>, BorrowedFd<'_>)> {
        let one =
            |wanted| self.0.iter().find(|(flag, _)| *flag == wanted).map(|(_, fd)| fd.as_fd());
        one(CloneFlags::NEW_USER).zip(one(CloneFlags::NEW_NET))
    }

    /// Joins all of them: the calling process at once, for the pid namespace its children. Root and current
    /// directory are then those of the sandbox.
    pub(super) fn join(&self) -> Result<()> {
        self.0.iter().try_for_each(|(flag, fd)| clone::setns(fd, *flag))
    }
}
