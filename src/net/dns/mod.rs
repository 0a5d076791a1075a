//! The name server that a sandbox with a network of its own is given.
//!
//! # Theory of operation
//! Bytes and times in, bytes out, no socket: [`Resolver`] is driven by the netstack. It tells names that the
//! policy allows, asked of the servers it was handed, and remembers which address it told for which name
//! ([`pins`]): that is how a rule that is a name becomes one about addresses.
//!
//! # Not here
//! Which names and addresses are allowed (`net::egress`).

pub mod answer;
mod cache;
pub mod files;
pub mod pins;
pub mod resolver;
pub mod stream;
pub mod wire;
pub mod write;

use std::net::{IpAddr, SocketAddr};

pub use resolver::Resolver;
pub use stream::Framer;

use crate::net::egress::Reason;
use crate::net::egress::policy::Source;
use crate::spec::net::{HostEntry, HostName};

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Over {
    /// One message each.
    Datagram,
    /// Each after its length in two bytes; whoever carries them does not look at it.
    Stream,
}

/// Who asks: a flow of the netstack, which knows what the number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client {
    /// The flow.
    pub flow: u64,
    /// The address it comes from.
    pub from: IpAddr,
    /// What it is.
    pub over: Over,
}

/// What the netstack is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Give these bytes to who asked.
    Reply(Client, Vec<u8>),
    /// Open a new socket, connected to `server`, and send these bytes. What comes back goes to
    /// [`Resolver::receive`] with the number.
    Send {
        /// The number of the try.
        number: u64,
        /// Whom to ask.
        server: SocketAddr,
        /// How.
        over: Over,
        /// What to send.
        bytes: Vec<u8>,
    },
    /// The socket of this try is not needed any more.
    Close(u64),
}

/// What was refused, for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedName {
    /// Who asked.
    pub from: IpAddr,
    /// Who was asked for.
    pub name: HostName,
    /// The address that was left out of the answer; none when there was no answer.
    pub address: Option<IpAddr>,
    /// Why.
    pub reason: Reason,
}

/// What a resolver begins with.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Servers to ask.
    pub servers: Vec<SocketAddr>,
    /// Names that are known without asking.
    pub hosts: Vec<(HostEntry, Source)>,
    /// Domains that programs try behind a name.
    pub search: Vec<HostName>,
    /// Whether the host can reach IPv4 and IPv6. Addresses of a family it cannot are not told.
    pub families: Families,
}

/// Which families there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

impl Families {
    /// Those in which one of these addresses of the host leads beyond its links.
    pub fn of(own: &[IpAddr]) -> Self {
        let leads = |address: &&IpAddr| match address {
            IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_loopback() && v6.segments()[0] & 0xffc0 != 0xfe80,
        };
        let v4 = own.iter().filter(leads).any(IpAddr::is_ipv4);
        let v6 = own.iter().filter(leads).any(IpAddr::is_ipv6);
        // A host without any is no host of one family.
        if v4 || v6 { Self { v4, v6 } } else { Self::default() }
    }
}

impl Default for Families {
    fn default() -> Self {
        Self { v4: true, v6: true }
    }
}
