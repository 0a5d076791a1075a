//! Networks of several sandboxes: the process that holds one, and a sandbox's place on it.
//!
//! # Theory of operation
//!
//! ```text
//! launcher ──fork──▶ netstack ──fork──▶ holder, in new user and network namespaces
//!    │                  │ ◀───── tun ──────│ bridge, routes
//!    │ ───────────── Join ───────────────▶ │ an address, a name
//!    │ ◀──── Lease, user namespace ─────── │
//!    │ clones pid 1 inside it              │
//!    │ ──── Attach, network namespace ───▶ │ a cable: one end there, the other a port
//!    │ ◀───────────── Done ─────────────── │
//!    │        (the connection stays)       │
//! ```
//!
//! The first sandbox on a network starts its holder, under the lock of the network's directory; whoever else
//! comes connects to its socket. A place lasts as long as the connection, which ends with the launcher,
//! however that ends. The holder ends with the last one: it takes the same lock and looks for anybody
//! waiting first, so nobody ever connects to a holder that is about to end.
//!
//! *Ports.* The launcher opens them, as for a netstack of its own, and hands them over by way of the holder, which knows
//! whose they are. They are closed when the place is given up, and before the run ends where that is in order.
//!
//! *Death.* When the holder dies its network namespace goes, and with it the bridge and every cable: members are
//! alone with their loopback. Its netstack sees the end of its socket and ends. When the netstack dies, members keep
//! each other and have no way out: the holder tells their launchers. Each has the connections aborted that ended with the one
//! or the other, as nobody is left who would, and its run tells. The socket's file that a killed holder leaves, the next one replaces.
//!
//! # Decisions
//! - No payload runs in the holder's user namespace: each has its own below it. A payload in it would have power
//!   over all others (see `plan::share`).
//! - All holders of a caller are in one user namespace: any of them makes it, the next ones take it from one that is
//!   there, and it lasts as long as one of them, or a sandbox. A cable takes power over both of its ends, so a sandbox can
//!   only be connected with a second network where its holder has power over the first. What this costs: a holder
//!   that was taken over would reach every network, not one. Its netstack, which packets reach, could already:
//!   it is in the host's namespaces, and only its filter keeps it. A payload gets hold of nothing above its own.
//! - Where that one cannot be entered, as by who calls from a user namespace of their own, the holder makes another; then
//!   no sandbox is on networks of both.
//! - A sandbox on several networks forwards nothing, wherever the host does.
//! - The holder keeps `CAP_NET_ADMIN` over its namespace and those below, and nothing else: no file but the
//!   socket's to remove, no program, a filter of system calls.
//!
//! # Not here
//! Which addresses there are (`spec::net::segment`), what a member may send (`plan::segment`), where the
//! definitions are kept (`state::networks`).

mod ask;
mod error;
mod members;
mod process;
mod serve;
mod start;
#[cfg(test)]
mod tests;
mod wire;

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::launch::{Door, Said};
use crate::net::user::published::Published;
use crate::plan::facts::Lease;
use crate::plan::traffic::{Flow, Traffic};
use crate::spec::net::{NetworkName, Prefix, Seat};
use crate::sys::errno::{Errno, Result};
use crate::sys::event::Poller;
use crate::sys::socket;

pub use ask::{Until, bind, disconnect, members, space, state, traffic};
use ask::{ask, ask_and_hear, ask_traffic, readable, unasked};
use error::refusal;
pub use error::{HolderError, no_place};
pub use start::{Space, Start, start};
pub use wire::Member;
use wire::{Answer, Ask};
pub(in crate::launch) use wire::{Tell, receive, send};

/// Connections that may wait for a holder.
const WAITING: i32 = 64;

/// The name of a holder's socket in the network's directory.
pub const SOCKET: &str = "socket";

/// How long a holder at which many wait may take to let one more wait there: others wait for the lock meanwhile.
const ACCEPTING: Duration = Duration::from_secs(5);

/// How long the ports of a place may take to be closed.
const CLOSING: Duration = Duration::from_secs(5);

/// A sandbox's place on a network; given up when this is dropped.
#[derive(Debug)]
pub struct Membership {
    connection: OwnedFd,
    /// Where is told what was refused, when the place is taken away.
    told: OwnedFd,
    lease: Lease,
    door: Door,
    /// Whether ports are open for it.
    has_ports: Cell<bool>,
    /// Whether the place was taken away.
    dismissed: Cell<bool>,
    /// Whether nothing leaves the network any more.
    cut: Cell<bool>,
}

/// Connects to the holder of a network, by the network's directory; none when there is no holder. Once who has the lock of
/// the directory is connected, it can be given up: nobody has to wait for an answer.
pub fn connect(
    network: &NetworkName,
    directory: impl AsFd,
) -> std::result::Result<Option<OwnedFd>, HolderError> {
    connect_until(Until::after(ACCEPTING), network, directory)
}

/// The same, with less patience.
pub fn connect_until(
    until: Until,
    network: &NetworkName,
    directory: impl AsFd,
) -> std::result::Result<Option<OwnedFd>, HolderError> {
    let failed = |source| HolderError::Speak { network: network.clone(), source };
    let socket = unix_socket().map_err(failed)?;
    let address = address(directory).map_err(failed)?;
    // One that is stopped takes no connection: when too many wait, the next one would wait for ever. None is no bound.
    let most = until.left().max(Duration::from_millis(1));
    set_socket_timeout(&socket, Timeout::Send, Some(most)).map_err(|errno| failed(errno.into()))?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => {}
        Err(rustix::io::Errno::CONNREFUSED | rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::AGAIN) => return Err(failed(Errno::ETIMEDOUT)),
        Err(errno) => return Err(failed(errno.into())),
    }
    let peer = socket::peer(&socket).map_err(failed)?;
    if peer.uid != rustix::process::geteuid().as_raw() {
        return Err(failed(Errno::EPERM));
    }
    Ok(Some(socket))
}

fn unix_socket() -> Result<OwnedFd> {
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// By the directory's descriptor: its path may be longer than an address can be.
fn address(directory: impl AsFd) -> Result<SocketAddrUnix> {
    use std::os::fd::AsRawFd as _;
    let number = directory.as_fd().as_raw_fd();
    Ok(SocketAddrUnix::new(format!("/proc/self/fd/{number}/{SOCKET}"))?)
}

/// Takes a place.
pub fn join(
    network: &NetworkName,
    connection: OwnedFd,
    name: Option<&str>,
    seat: &Seat,
) -> std::result::Result<Membership, HolderError> {
    let speak = |source| HolderError::silent(network, &connection, source);
    let (name, seat) = (name.map(str::to_owned), seat.clone());
    let wanted = Ask::Join { version: wire::VERSION, name, seat };
    let (told, tells) = socket::pair().map_err(speak)?;
    match ask(&connection, &wanted, Some(tells.as_fd())).map_err(speak)? {
        (Answer::Lease(lease), Some(user)) if lease.network == *network => {
            let door = Door { user, net: None };
            Ok(Membership {
                connection,
                told,
                lease,
                door,
                has_ports: Cell::new(false),
                dismissed: Cell::new(false),
                cut: Cell::new(false),
            })
        }
        (answer, _) => Err(refusal(network, answer)),
    }
}

impl Membership {
    /// The place.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Where pid 1 is to be made.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Lets the others know the sandbox by this id too.
    pub fn know(&self, id: &str) -> std::result::Result<(), HolderError> {
        self.done(&Ask::Known(id.to_owned()), None)
    }

    /// Has it send from its addresses here alone, as who is on other networks too. It is known by this id.
    pub fn bind(&self, id: &str) -> std::result::Result<(), HolderError> {
        self.done(&Ask::Bind(id.to_owned()), None)
    }

    /// Has a network namespace connected, by an interface of this number. One that was before is not any more.
    pub fn attach(&self, namespace: impl AsFd, port: u8) -> std::result::Result<(), HolderError> {
        self.done(&Ask::Attach(port), Some(namespace.as_fd())).map_err(|error| match error {
            HolderError::Failed { network, source: Errno::EPERM, .. } => {
                HolderError::Apart(network)
            }
            error => error,
        })
    }

    /// Lets the place last as long as a process, whoever ends before.
    pub fn stay(&self, process: impl AsFd) -> std::result::Result<(), HolderError> {
        self.done(&Ask::Stay, Some(process.as_fd()))
    }

    /// Lets clients in by a port that is open; the network's netstack has it from now on.
    pub fn publish(&self, port: &Published) -> std::result::Result<(), HolderError> {
        let wanted = Ask::Publish { port: port.port, transport: port.transport };
        self.has_ports.set(true);
        self.done(&wanted, Some(port.socket.as_fd()))
    }

    /// Lets nobody in any more: when this returns, somebody else can have the ports. Where holder or netstack have
    /// ended, there are none; where they are stopped, they keep them until they go on.
    pub fn withdraw(&self) {
        if self.has_ports.replace(false)
            && let Ok((told, tells)) = pipe_with(PipeFlags::CLOEXEC)
        {
            let until = Until::after(CLOSING);
            if self.done_until(until, &Ask::Withdraw, Some(tells.as_fd())).is_ok() {
                drop(tells);
                // The end of it is what is waited for.
                readable(&told, until).unwrap_or(());
            }
        }
    }

    /// What was refused to the sandbox on its way out, if that can be known; and what was told of it meanwhile. Whoever
    /// watches over a run does nothing else until this returns: who does not answer soon is not waited for.
    pub(super) fn last_told(&self) -> (Vec<Flow>, Option<Traffic>) {
        let (until, mut flows) = (Until::after(Until::BRIEFLY), Vec::new());
        let mut traffic = None;
        if !self.has_parted() {
            let hear = &mut |said| match said {
                Said::Flow(flow) => flows.push(*flow),
                said => self.note(&said),
            };
            let asked = ask_traffic(&self.lease.network, &self.connection, until, hear);
            self.dismissed.set(matches!(asked, Err(HolderError::Dismissed(_))));
            traffic = asked.ok().flatten();
        }
        if traffic.is_none() && self.has_parted() {
            // The end of it, where nobody knew, or is left to tell.
            let last = readable(&self.told, until).and_then(|()| receive(&self.told));
            traffic = last.ok().flatten().map(|(traffic, _)| traffic);
        }
        (flows, traffic)
    }

    /// Whether nobody can be asked by its connection any more.
    fn has_parted(&self) -> bool {
        self.dismissed.get() || self.is_over()
    }

    /// To the holder.
    pub(super) fn connection(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }

    /// Hears what nobody asked for; an error when the holder has ended.
    pub(super) fn hear_said(&self) -> Result<Said> {
        let last = receive::<Answer>(&self.connection)?.map(|(answer, _)| answer);
        match last.map(unasked) {
            Some(Ok(said)) => {
                self.note(&said);
                Ok(said)
            }
            last => {
                self.dismissed.set(last == Some(Err(Answer::Dismissed)));
                Err(Errno::EPROTO)
            }
        }
    }

    fn note(&self, said: &Said) {
        if *said == Said::Cut {
            self.cut.set(true);
        }
    }

    /// Whether nothing leaves the network any more.
    pub fn is_cut(&self) -> bool {
        self.cut.get()
    }

    /// Whether a connection ended with the network, or with its way out: by its own address and the other one.
    pub(super) fn has_lost(&self, own: IpAddr, other: IpAddr) -> bool {
        let mut all = self.lease.link.families();
        let is_own = all.any(|(at, ..)| at == own);
        let within = |(at, length, _)| Prefix::of(at, length).contains(other);
        is_own && (self.is_over() || !self.lease.link.families().any(within))
    }

    /// Tells which servers the host asks for names now.
    pub(super) fn servers_are(&self, servers: &[SocketAddr]) -> Result<()> {
        send(&self.connection, &Ask::Servers(servers.to_vec()), None)
    }

    /// Whether the holder has ended, and the network with it. One that took the place away has said so before.
    pub fn is_lost(&self) -> bool {
        self.is_over() && !self.is_dismissed()
    }

    /// Whether somebody took the place away.
    pub fn is_taken_away(&self) -> bool {
        self.is_over() && self.is_dismissed()
    }

    pub(super) fn is_over(&self) -> bool {
        let mut poller = Poller::new();
        poller.hang_up((), self.connection.as_fd());
        poller.wait(Some(std::time::Duration::ZERO)).is_ok_and(|ready| !ready.is_empty())
    }

    /// Only where it is over: it would wait otherwise.
    fn is_dismissed(&self) -> bool {
        while !self.dismissed.get() {
            match wire::receive(&self.connection) {
                Ok(Some((Answer::Dismissed, _))) => self.dismissed.set(true),
                Ok(Some((answer, _))) if unasked(answer.clone()).is_ok() => {}
                _ => break,
            }
        }
        self.dismissed.get()
    }

    fn done(
        &self,
        wanted: &Ask,
        fd: Option<BorrowedFd<'_>>,
    ) -> std::result::Result<(), HolderError> {
        self.done_until(Until::after(Until::PATIENTLY), wanted, fd)
    }

    fn done_until(
        &self,
        until: Until,
        wanted: &Ask,
        fd: Option<BorrowedFd<'_>>,
    ) -> std::result::Result<(), HolderError> {
        let (network, connection) = (&self.lease.network, &self.connection);
        match ask_and_hear(until, connection, wanted, fd, &mut |said| self.note(&said)) {
            Ok((Answer::Done, _)) => Ok(()),
            Ok((answer, _)) => {
                self.dismissed.set(answer == Answer::Dismissed);
                Err(refusal(network, answer))
            }
            Err(_) if self.is_taken_away() => Err(HolderError::Dismissed(network.clone())),
            Err(source) => Err(HolderError::silent(network, connection, source)),
        }
    }
}
