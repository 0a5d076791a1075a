//! The host's side: sockets that do not block, in the host's network namespace.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::sys::errno::Result;

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It stands.
    Connected,
    /// The socket becomes writable when it stands, or has failed.
    Pending,
}

/// Makes sockets. Beside the host's there is one for tests.
pub trait Dial {
    /// A connection to `to`.
    fn tcp(&mut self, to: SocketAddr) -> Result<(OwnedFd, Progress)>;
    /// A socket for datagrams to and from `to` alone.
    fn udp(&mut self, to: SocketAddr) -> Result<OwnedFd>;
    /// A socket for echoes of `to`; `EACCES` where `net.ipv4.ping_group_range` does not have the caller.
    fn echo(&mut self, to: IpAddr) -> Result<OwnedFd>;
}

/// The host's network.
#[derive(Debug, Default)]
pub struct Host;

impl Dial for Host {
    fn tcp(&mut self, to: SocketAddr) -> Result<(OwnedFd, Progress)> {
        let socket = socket(to.ip(), SocketType::STREAM, ipproto::TCP)?;
        // The payload's own kernel has gathered already what belongs together.
        sockopt::set_tcp_nodelay(&socket, true)?;
        // Probes of the payload end here: whether the other end still is there, the host has to find out.
        sockopt::set_socket_keepalive(&socket, true)?;
        match rustix::net::connect(&socket, &to) {
            Ok(()) => Ok((socket, Progress::Connected)),
            Err(rustix::io::Errno::INPROGRESS) => Ok((socket, Progress::Pending)),
            Err(errno) => Err(errno.into()),
        }
    }

    fn udp(&mut self, to: SocketAddr) -> Result<OwnedFd> {
        let socket = socket(to.ip(), SocketType::DGRAM, ipproto::UDP)?;
        rustix::net::connect(&socket, &to)?;
        Ok(socket)
    }

    fn echo(&mut self, to: IpAddr) -> Result<OwnedFd> {
        let protocol = if to.is_ipv4() { ipproto::ICMP } else { ipproto::ICMPV6 };
        let socket = socket(to, SocketType::DGRAM, protocol)?;
        rustix::net::connect(&socket, &SocketAddr::new(to, 0))?;
        Ok(socket)
    }
}

fn socket(to: IpAddr, kind: SocketType, protocol: rustix::net::Protocol) -> Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(family, kind, flags, Some(protocol))?)
}
