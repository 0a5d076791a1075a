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
//! each other and have no way out. The socket's file that a killed holder leaves, the next one replaces.
//!
//! # Decisions
//! - No payload runs in the holder's user namespace: each has its own below it. A payload in it would have power
//!   over all others (see `plan::share`).
//! - The holder keeps `CAP_NET_ADMIN` over its namespace and those below, and nothing else: no file but the
//!   socket's to remove, no program, a filter of system calls.
//!
//! # Not here
//! Which addresses there are (`spec::net::segment`), what a member may send (`plan::segment`), where the
//! definitions are kept (`state::networks`).

mod members;
mod process;
mod start;
mod wire;

use std::cell::Cell;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::launch::Door;
use crate::net::user::published::Published;
use crate::plan::facts::Lease;
use crate::plan::traffic::Traffic;
use crate::spec::net::NetworkName;
use crate::sys::errno::{Errno, Result};
use crate::sys::event::Poller;
use crate::sys::socket;

pub use start::{Start, start};
pub use wire::Member;
use wire::{Answer, Ask};
pub(in crate::launch) use wire::{Tell, receive, send};

/// The name of a holder's socket in the network's directory.
pub const SOCKET: &str = "socket";

/// Seconds after which a holder that does not answer is given up.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// A sandbox's place on a network; given up when this is dropped.
#[derive(Debug)]
pub struct Membership {
    connection: OwnedFd,
    lease: Lease,
    door: Door,
    /// Whether ports are open for it.
    has_ports: Cell<bool>,
}

/// Why there is no place.
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    /// The socket.
    #[error("cannot speak with the holder of the network `{network}`")]
    Speak {
        /// Which network.
        network: NetworkName,
        /// Why.
        #[source]
        source: Errno,
    },
    /// It could not make the network, or the cable.
    #[error("cannot {what} for the network `{network}`")]
    Failed {
        /// Which network.
        network: NetworkName,
        /// What it was to do.
        what: String,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// No address is left.
    #[error("cannot join the network `{0}`: every address is taken")]
    Full(NetworkName),
    /// Somebody has this name.
    #[error("cannot join the network `{network}`: a sandbox on it is called `{name}`")]
    Taken {
        /// Which network.
        network: NetworkName,
        /// The name.
        name: String,
    },
    /// It was started by a bryo that says other things.
    #[error("cannot join the network `{0}`: another version of bryo holds it")]
    Other(NetworkName),
}

impl HolderError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Failed { source: Errno::EOPNOTSUPP, .. } => {
                "`sudo modprobe -a bridge veth`, or take `--network user`".to_owned()
            }
            Self::Full(_) => {
                "make one with more addresses: `bryo network create --subnet 10.99.0.0/16 NAME`"
                    .to_owned()
            }
            Self::Taken { .. } => "give it another name".to_owned(),
            Self::Other(_) => {
                "end the sandboxes on it first: `bryo network inspect` lists them".to_owned()
            }
            Self::Speak { .. } | Self::Failed { .. } => return None,
        })
    }
}

/// Connects to the holder of a network, by the network's directory; none when there is no holder.
pub fn connect(
    network: &NetworkName,
    directory: impl AsFd,
) -> std::result::Result<Option<OwnedFd>, HolderError> {
    let failed = |source| HolderError::Speak { network: network.clone(), source };
    let socket = unix_socket().map_err(failed)?;
    let address = address(directory).map_err(failed)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => {}
        Err(rustix::io::Errno::CONNREFUSED | rustix::io::Errno::NOENT) => return Ok(None),
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

/// Asks, and waits for the answer.
fn ask(
    connection: &OwnedFd,
    ask: &Ask,
    fd: Option<std::os::fd::BorrowedFd<'_>>,
) -> Result<(Answer, Option<OwnedFd>)> {
    wire::send(connection, ask, fd)?;
    loop {
        readable(connection)?;
        match wire::receive(connection)?.ok_or(Errno::ECONNRESET)? {
            // That one is asked in vain; another one will be.
            (Answer::Look, _) => {}
            answer => return Ok(answer),
        }
    }
}

/// Waits until there is something to read, or the end.
fn readable(connection: &OwnedFd) -> Result<()> {
    let mut poller = Poller::new();
    poller.readable((), connection.as_fd());
    if poller.wait(Some(PATIENCE))?.is_empty() { Err(Errno::ETIMEDOUT) } else { Ok(()) }
}

/// Takes a place.
pub fn join(
    network: &NetworkName,
    connection: OwnedFd,
    name: Option<&str>,
) -> std::result::Result<Membership, HolderError> {
    let speak = |source| HolderError::Speak { network: network.clone(), source };
    let wanted = Ask::Join { version: wire::VERSION, name: name.map(str::to_owned) };
    match ask(&connection, &wanted, None).map_err(speak)? {
        (Answer::Lease(lease), Some(user)) if lease.network == *network => {
            let door = Door { user, net: None };
            Ok(Membership { connection, lease, door, has_ports: Cell::new(false) })
        }
        (answer, _) => Err(refusal(network, answer)),
    }
}

/// What left a network and was refused, by all its members; none when its netstack has ended.
pub fn traffic(
    network: &NetworkName,
    connection: &OwnedFd,
) -> std::result::Result<Option<Traffic>, HolderError> {
    let speak = |source| HolderError::Speak { network: network.clone(), source };
    let (told, tells) = socket::pair().map_err(speak)?;
    match ask(connection, &Ask::Traffic, Some(tells.as_fd())).map_err(speak)? {
        (Answer::Done, _) => {}
        (Answer::Failed(failure), _) if Errno::from_raw(failure.errno) == Errno::ECONNRESET => {
            return Ok(None);
        }
        (answer, _) => return Err(refusal(network, answer)),
    }
    drop(tells);
    let told = readable(&told).and_then(|()| receive(&told)).map_err(speak)?;
    Ok(told.map(|(traffic, _)| traffic))
}

/// Who is on a network.
pub fn members(
    network: &NetworkName,
    connection: &OwnedFd,
) -> std::result::Result<Vec<Member>, HolderError> {
    let speak = |source| HolderError::Speak { network: network.clone(), source };
    match ask(connection, &Ask::Members, None).map_err(speak)? {
        (Answer::Members(members), _) => Ok(members),
        (answer, _) => Err(refusal(network, answer)),
    }
}

fn refusal(network: &NetworkName, answer: Answer) -> HolderError {
    let network = network.clone();
    match answer {
        Answer::Full => HolderError::Full(network),
        Answer::Taken(name) => HolderError::Taken { network, name },
        Answer::Failed(failure) => HolderError::Failed {
            network,
            what: failure.what,
            source: Errno::from_raw(failure.errno),
        },
        Answer::Unknown => HolderError::Other(network),
        Answer::Lease(_) | Answer::Done | Answer::Members(_) | Answer::Look => {
            HolderError::Speak { network, source: Errno::EPROTO }
        }
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

    /// Has a network namespace connected. One that was before is not any more.
    pub fn attach(&self, namespace: impl AsFd) -> std::result::Result<(), HolderError> {
        self.done(&Ask::Attach, Some(namespace.as_fd()))
    }

    /// Lets clients in by a port that is open; the network's netstack has it from now on.
    pub fn publish(&self, port: &Published) -> std::result::Result<(), HolderError> {
        let wanted = Ask::Publish { port: port.port, transport: port.transport };
        self.has_ports.set(true);
        self.done(&wanted, Some(port.socket.as_fd()))
    }

    /// Lets nobody in any more: when this returns, somebody else can have the ports. Where holder or netstack have
    /// ended, there are none.
    pub fn withdraw(&self) {
        if self.has_ports.replace(false)
            && let Ok((told, tells)) = pipe_with(PipeFlags::CLOEXEC)
            && self.done(&Ask::Withdraw, Some(tells.as_fd())).is_ok()
        {
            drop(tells);
            // The end of it is what is waited for.
            readable(&told).unwrap_or(());
        }
    }

    /// To the holder.
    pub(super) fn connection(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }

    /// Hears that somebody asks to look which servers the host asks; an error when the holder has ended.
    pub(super) fn hear_look(&self) -> Result<()> {
        match receive::<Answer>(&self.connection)? {
            Some((Answer::Look, None)) => Ok(()),
            _ => Err(Errno::EPROTO),
        }
    }

    /// Tells which servers the host asks for names now.
    pub(super) fn servers_are(&self, servers: &[SocketAddr]) -> Result<()> {
        send(&self.connection, &Ask::Servers(servers.to_vec()), None)
    }

    /// Whether the holder has ended, and the network with it.
    pub fn is_lost(&self) -> bool {
        let mut poller = Poller::new();
        poller.hang_up((), self.connection.as_fd());
        poller.wait(Some(std::time::Duration::ZERO)).is_ok_and(|ready| !ready.is_empty())
    }

    fn done(
        &self,
        wanted: &Ask,
        fd: Option<std::os::fd::BorrowedFd<'_>>,
    ) -> std::result::Result<(), HolderError> {
        let network = &self.lease.network;
        match ask(&self.connection, wanted, fd) {
            Ok((Answer::Done, _)) => Ok(()),
            Ok((answer, _)) => Err(refusal(network, answer)),
            Err(source) => Err(HolderError::Speak { network: network.clone(), source }),
        }
    }
}
