//! The netstack of `--network user`: turns the payload's packets into sockets of the host.
//!
//! # Theory of operation
//!
//! ```text
//! payload's kernel ──packets── link ── engine ──▶ streams ────▶ TCP sockets
//!                    (TUN)               │ ────▶ datagrams ──▶ UDP and ping sockets
//!                                        ╰── asks `egress` about each new flow
//! ```
//!
//! One thread, one epoll. The payload's kernel speaks TCP with us, not with the host's peer: a connection is
//! accepted when the host's own connection stands, and what the host learns instead (refused,
//! unreachable, prohibited) is told as a router would tell it, so that a program inside sees the error it
//! would see outside. Nobody answering is answered by nothing.
//!
//! Everything that comes over the link is hostile: parsing is total, sources are checked, nothing is kept for a
//! packet that opens no flow, and flows, buffers and descriptors have ceilings.
//!
//! # Decisions
//! - Our own TCP and not smoltcp's. Its sockets keep the buffers that they were made with, so thousands of
//!   idle connections cost as much as busy ones; each byte is copied into and out of them once more than
//!   here, where it goes from the packet to the socket; it cannot listen on every port; and what it has
//!   for networks that lose and reorder is of no use on a link that does neither.
//! - No reassembly, no congestion window, no queue for what comes early: see [`packet`], [`endpoint`].
//!
//! # Not here
//! The interface inside (`net::interface`); how the process is confined and ends (`launch::netstack`); what
//! may leave (`net::egress`).

pub mod capture;
pub mod datagrams;
pub mod dial;
pub mod endpoint;
pub mod engine;
pub mod frame;
pub mod hostile;
pub mod link;
pub mod names;
pub mod pace;
pub mod packet;
pub mod published;
pub mod ring;
pub mod stream;
pub mod table;
pub mod waiting;

use std::net::{IpAddr, SocketAddr};

/// What the sandbox's side of the link looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inside {
    /// Its address.
    pub v4: IpAddr,
    /// Its address of IPv6, if it has one.
    pub v6: Option<IpAddr>,
    /// The longest packet.
    pub mtu: u16,
}

impl Inside {
    /// Whether packets may come from there.
    pub fn is_source(&self, address: IpAddr) -> bool {
        address == self.v4 || Some(address) == self.v6
    }

    /// The most bytes of a TCP segment to or from `end`.
    pub fn mss(&self, end: SocketAddr) -> u16 {
        self.mtu - if end.is_ipv4() { 40 } else { 60 }
    }
}

#[cfg(test)]
mod tests;
