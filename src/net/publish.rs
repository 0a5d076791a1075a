//! Opens the host's ports for a sandbox: before anything else is made, and for the netstack to take over.
//!
//! # Theory of operation
//! The launcher binds and listens, so that a port that is taken is told before the payload starts, and the
//! netstack, which may be taken over by what it reads, never binds. Clients that come before the netstack is
//! there wait in the kernel's queue.
//!
//! # Decisions
//! - A socket of IPv6 is for IPv6 alone: `[::]` does not open IPv4 on the quiet.
//! - Where no address is named, a family that this machine has not is left out.
//!
//! # Not here
//! What becomes of clients (`net::user`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use super::user::published::Published;
use crate::plan::publish::PublishedPort;
use crate::spec::net::{Publish, Transport};
use crate::sys::datagram;
use crate::sys::errno::{Errno, Result};

/// Connections that wait to be accepted; the kernel has a bound of its own, too.
const BACKLOG: i32 = 1024;

/// How often another free port is tried that both families have.
const TRIES: usize = 16;

/// First port that needs no privilege, where the kernel does not tell.
const UNPRIVILEGED: u16 = 1024;

/// Why a port was not opened.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Somebody else has it.
    #[error("cannot publish `{at}/{transport}`: the port is taken")]
    Taken {
        /// Where.
        at: SocketAddr,
        /// Of which protocol.
        transport: Transport,
    },
    /// It is asked for twice.
    #[error("cannot publish `{at}/{transport}` twice")]
    Twice {
        /// Where.
        at: SocketAddr,
        /// Of which protocol.
        transport: Transport,
    },
    /// None of a range.
    #[error("cannot publish `{0}`: each of these ports is taken")]
    NoneFree(Publish),
    /// It is for root.
    #[error("cannot publish `{at}/{transport}`: ports below {first} are for root")]
    Privileged {
        /// Where.
        at: SocketAddr,
        /// Of which protocol.
        transport: Transport,
        /// The first that is not.
        first: u16,
    },
    /// Not an address of this machine.
    #[error("cannot publish `{at}/{transport}`: this machine has no such address")]
    NoAddress {
        /// Where.
        at: SocketAddr,
        /// Of which protocol.
        transport: Transport,
    },
    /// Anything else.
    #[error("cannot publish `{at}/{transport}`")]
    Other {
        /// Where.
        at: SocketAddr,
        /// Of which protocol.
        transport: Transport,
        /// Why.
        #[source]
        source: Errno,
    },
}

impl PublishError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Taken { at, transport } => {
                let which = if *transport == Transport::Tcp { "t" } else { "u" };
                let port = at.port();
                format!("`ss -ln{which}p sport = :{port}` tells by whom; port 0 takes any free one")
            }
            Self::Twice { .. } => "leave one of the two out".to_owned(),
            Self::NoneFree(_) => "port 0 takes any free one".to_owned(),
            Self::Privileged { at, .. } => format!(
                "`sudo sysctl net.ipv4.ip_unprivileged_port_start={}`, or take a higher port",
                at.port()
            ),
            Self::NoAddress { .. } => {
                "`ip address` lists them; without one, loopback is meant".to_owned()
            }
            Self::Other { .. } => return None,
        })
    }
}

/// Ports that are open.
#[derive(Debug, Default)]
pub struct Opened {
    /// For the netstack.
    pub sockets: Vec<Published>,
    /// For the record.
    pub ports: Vec<PublishedPort>,
}

impl Opened {
    /// Opens one more port of the sandbox; `publish` names one only ([`Publish::each`]).
    pub fn open(&mut self, publish: Publish) -> std::result::Result<(), PublishError> {
        let inside = publish.sandbox.first();
        let bound = match publish.host {
            Some(ports) => {
                let mut first = None;
                let mut candidates = ports.first()..=ports.last();
                loop {
                    let Some(port) = candidates.next() else {
                        let taken = first.unwrap_or(PublishError::NoneFree(publish));
                        let one = ports.count() == 1;
                        return Err(if one { taken } else { PublishError::NoneFree(publish) });
                    };
                    match self.bind_all(publish, port) {
                        Err(error @ PublishError::Taken { .. }) => first = first.or(Some(error)),
                        other => break other?,
                    }
                }
            }
            None => self.bind_free(publish)?,
        };
        for (at, socket) in bound {
            let transport = publish.transport;
            self.ports.push(PublishedPort { port: inside, transport, at });
            self.sockets.push(Published { socket, transport, port: inside });
        }
        Ok(())
    }

    /// At any port that is free in each family.
    fn bind_free(&self, publish: Publish) -> std::result::Result<Bound, PublishError> {
        for _ in 0..TRIES {
            match self.bind_all(publish, 0) {
                Err(PublishError::Taken { .. }) => {}
                other => return other,
            }
        }
        Err(PublishError::NoneFree(publish))
    }

    /// At one port, or with 0 at the one that the first address got.
    fn bind_all(
        &self,
        publish: Publish,
        mut port: u16,
    ) -> std::result::Result<Bound, PublishError> {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let named = publish.address.map(|address| [address]);
        let addresses = named.as_ref().map_or(&loopback[..], |named| &named[..]);
        let mut bound = Vec::new();
        let mut missing = None;
        for address in addresses {
            let at = SocketAddr::new(*address, port);
            match bind(at, publish.transport) {
                Ok((at, socket)) => {
                    port = at.port();
                    bound.push((at, socket));
                }
                Err(errno) => match self.explain(at, publish.transport, errno) {
                    error @ PublishError::NoAddress { .. } => missing = Some(error),
                    error => return Err(error),
                },
            }
        }
        match missing {
            Some(error) if bound.is_empty() => Err(error),
            _ => Ok(bound),
        }
    }

    fn explain(&self, at: SocketAddr, transport: Transport, errno: Errno) -> PublishError {
        let is_ours = |port: &PublishedPort| port.at == at && port.transport == transport;
        match errno {
            Errno::EADDRINUSE if self.ports.iter().any(is_ours) => {
                PublishError::Twice { at, transport }
            }
            Errno::EADDRINUSE => PublishError::Taken { at, transport },
            Errno::EACCES => PublishError::Privileged { at, transport, first: first_of_all() },
            Errno::EADDRNOTAVAIL | Errno::EAFNOSUPPORT => PublishError::NoAddress { at, transport },
            source => PublishError::Other { at, transport, source },
        }
    }
}

type Bound = Vec<(SocketAddr, OwnedFd)>;

/// A socket that is bound, and where.
fn bind(at: SocketAddr, transport: Transport) -> Result<(SocketAddr, OwnedFd)> {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (kind, protocol) = match transport {
        Transport::Tcp => (SocketType::STREAM, ipproto::TCP),
        Transport::Udp => (SocketType::DGRAM, ipproto::UDP),
    };
    let socket = rustix::net::socket_with(family, kind, flags, Some(protocol))?;
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    match transport {
        Transport::Tcp => {
            // Connections of an earlier run that have ended do not keep the port. One that listens does.
            sockopt::set_socket_reuseaddr(&socket, true)?;
            rustix::net::bind(&socket, &at)?;
            rustix::net::listen(&socket, BACKLOG)?;
        }
        Transport::Udp => {
            datagram::tell_addresses(&socket, at.is_ipv4())?;
            rustix::net::bind(&socket, &at)?;
        }
    }
    let name = SocketAddr::try_from(rustix::net::getsockname(&socket)?);
    Ok((name.map_err(|_| Errno::EAFNOSUPPORT)?, socket))
}

/// The first port that anybody may have.
fn first_of_all() -> u16 {
    let told = io::read_to_string(
        std::fs::File::open("/proc/sys/net/ipv4/ip_unprivileged_port_start")
            .map_or_else(|_| Box::new(io::empty()) as Box<dyn io::Read>, |file| Box::new(file)),
    );
    told.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(UNPRIVILEGED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn open(opened: &mut Opened, text: &str) -> std::result::Result<(), PublishError> {
        Publish::parse(text).unwrap().each().try_for_each(|one| opened.open(one))
    }

    #[test]
    fn any_free_port_is_one_of_both_families_of_loopback() {
        let mut opened = Opened::default();
        open(&mut opened, "80").unwrap();
        open(&mut opened, "81/udp").unwrap();
        let [a, b, c, d] = opened.ports[..] else { panic!("{:?}", opened.ports) };
        assert!(a.at.ip().is_loopback() && b.at.ip().is_loopback());
        assert_eq!((a.at.is_ipv4(), b.at.is_ipv4(), a.at.port()), (true, false, b.at.port()));
        assert_eq!((a.port, c.port, c.transport), (80, 81, Transport::Udp));
        assert_eq!(c.at.port(), d.at.port());
        assert_eq!(opened.sockets.len(), 4);
    }

    #[test]
    fn a_taken_port_is_told_and_of_a_range_the_first_free_one_taken() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut opened = Opened::default();
        let error = open(&mut opened, &format!("{port}:80")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot publish `127.0.0.1:{port}/tcp`: the port is taken")
        );
        assert!(error.hint().unwrap().contains(&format!("`ss -lntp sport = :{port}`")));
        open(&mut opened, "127.0.0.1:0:80/udp").unwrap();
        let udp = opened.ports[0].at.port();
        let twice = open(&mut opened, &format!("127.0.0.1:{udp}:81/udp")).unwrap_err();
        assert!(matches!(twice, PublishError::Twice { .. }), "{twice:?}");
        if port < u16::MAX - 20 {
            open(&mut opened, &format!("127.0.0.1:{port}-{}:80", port + 20)).unwrap();
            let got = opened.ports.last().unwrap().at.port();
            assert!(got > port && got <= port + 20);
        }
        let foreign = open(&mut opened, "192.0.2.77:0:80").unwrap_err();
        assert!(matches!(foreign, PublishError::NoAddress { .. }), "{foreign:?}");
    }
}
