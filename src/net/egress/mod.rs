//! What may leave the sandbox: asked by the netstack for each new flow, and about its first bytes.
//!
//! # Theory of operation
//! The netstack sees every packet and knows no policy. For each flow it asks [`Egress::open`] once,
//! before any socket is made. The answer names the address that is dialled: it is never looked up
//! again. A flow whose bytes decide (a name in TLS or HTTP) comes with an [`Inspect`], which sees what the
//! payload sends, and what it is answered, before anybody else does.
//!
//! # Not here
//! Packets and sockets (`net::user`).

mod books;
mod gate;
mod home;
pub mod inspect;
mod kind;
pub mod ledger;
pub mod policy;
mod reason;
mod teller;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

pub use gate::{Gate, Stands};
pub use home::Ways;
pub use kind::Kind;
pub use policy::Policy;
pub use reason::Reason;
pub use teller::Tell;

/// Where a new flow wants to go, as the payload asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A TCP connection.
    Tcp(SocketAddr),
    /// Datagrams.
    Udp(SocketAddr),
    /// ICMP echo.
    Echo(IpAddr),
}

impl Destination {
    /// The address.
    pub fn address(&self) -> IpAddr {
        match self {
            Self::Tcp(to) | Self::Udp(to) => to.ip(),
            Self::Echo(to) => *to,
        }
    }
}

/// What becomes of a flow.
#[derive(Debug)]
pub enum Verdict {
    /// It is dialled at this address; often the one that was asked for.
    Allow(SocketAddr),
    /// As [`Self::Allow`], and what the payload sends is looked at first. TCP alone.
    Inspect(SocketAddr, Box<dyn Inspect>),
    /// It goes to the sandbox's name server, which is asked over TCP.
    Names,
    /// Nothing listens there: TCP gets a reset, datagrams *port unreachable*.
    Closed,
    /// Not allowed: the payload gets *administratively prohibited*.
    Deny,
}

/// What becomes of bytes that were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// More is needed to decide: they are held.
    Hold,
    /// They may go on, and those held before them; what follows is looked at again.
    Pass,
    /// They may go on, and everything that follows unseen.
    Trust,
    /// They may not: the flow is reset.
    Refuse,
}

/// Looks at what a payload sends over one flow.
pub trait Inspect: fmt::Debug {
    /// The next bytes, each byte once and in order. The netstack holds 64 KiB at most: whoever
    /// wants more has to refuse before that, or the flow is reset.
    fn look(&mut self, bytes: &[u8]) -> Sight;

    /// The next bytes of the other side, before the payload has them: what becomes of those that are held, if that
    /// can be told now.
    fn hear(&mut self, _bytes: &[u8]) -> Option<Sight> {
        None
    }

    /// Nothing more comes: the payload closed its side, or has sent nothing for [`HOLD`] while bytes
    /// were held. Anything but [`Sight::Hold`] is done; `Hold` counts as a refusal.
    fn end(&mut self) -> Sight;
}

/// How long bytes are held for more to come.
pub const HOLD: std::time::Duration = std::time::Duration::from_secs(10);

/// Decides about flows, and answers what is asked of the sandbox's name server.
pub trait Egress {
    /// A new flow of who has the address `from`, before anything of it left.
    fn open(&mut self, from: IpAddr, to: Destination) -> Verdict;

    /// Takes a connection from `inside` to the name server; none when it takes no more. The other end of the socket is
    /// ours.
    fn connect(&mut self, _inside: IpAddr) -> Option<OwnedFd> {
        None
    }

    /// Whether the host got other addresses since this was asked last: then flows that were let out may lead to itself.
    fn host_changed(&mut self) -> bool {
        false
    }

    /// Whether this one does, which `from` began.
    fn leads_home(&mut self, _from: IpAddr, _to: Destination) -> bool {
        false
    }

    /// A datagram of the payload; whether it was for the name server, and is taken.
    fn take(&mut self, _ends: Ends, _datagram: &[u8]) -> bool {
        false
    }

    /// The next datagram for the payload.
    fn give(&mut self) -> Option<(Ends, Vec<u8>)> {
        None
    }

    /// Bytes that it sent and was sent by the host's network since the last time, to answer the payload.
    fn passed(&mut self) -> (usize, usize) {
        (0, 0)
    }

    /// Readable when [`Egress::turn`] has something to do.
    fn events(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Does what is to be done now.
    fn turn(&mut self, _now: Instant) {}

    /// When [`Egress::turn`] is due, whatever happens.
    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// The two ends of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The payload's.
    pub inside: SocketAddr,
    /// The one it talks to.
    pub outside: SocketAddr,
}
