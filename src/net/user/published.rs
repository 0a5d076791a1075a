//! Published ports: what the host listens at, and under which address the payload sees who comes in.
//!
//! # Decisions
//! - A client keeps its address. One on the host's loopback appears as the gateway: the payload's kernel takes
//!   no packet from loopback that comes over a link.
//! - Nobody else appears as the gateway: a payload may take that address for this machine. A foreign client that has
//!   one of the link's own addresses (which are private ones, and may be in use on the host's networks too), one of
//!   the network behind the link (the answers would go to somebody there), or one that cannot be shown, appears as
//!   the *stranger*, an address that nobody else has.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use super::Inside;
use super::link::Gateway;
use crate::spec::net::{Prefix, Transport};

/// A port that the host listens at.
#[derive(Debug)]
pub struct Published {
    /// Bound, and listening where it is for TCP; it does not block.
    pub socket: OwnedFd,
    /// Of which protocol.
    pub transport: Transport,
    /// The sandbox's port that clients come to.
    pub port: u16,
}

/// Addresses inside that stand for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faces {
    /// The other end of the link.
    pub inside: Inside,
    /// The host, as its loopback.
    pub gateway: Gateway,
    /// Whoever cannot be shown as what it is.
    pub stranger: Gateway,
    /// The name server.
    pub resolvers: Vec<IpAddr>,
    /// Ranges of the network behind the link, where it leads to one.
    pub network: Vec<Prefix>,
}

impl Faces {
    /// Both ends of a flow that a client asked `inside` for, as the payload sees them. The port outside may be in use.
    pub fn ends(&self, inside: Inside, client: SocketAddr, port: u16) -> (SocketAddr, SocketAddr) {
        let outside = self.of(client.ip().to_canonical());
        let inside = match inside.v6 {
            Some(v6) if outside.is_ipv6() => v6,
            _ => inside.v4,
        };
        (SocketAddr::new(inside, port), SocketAddr::new(outside, client.port()))
    }

    fn of(&self, client: IpAddr) -> IpAddr {
        let v6 = client.is_ipv6() && self.inside.v6.is_some();
        let of = |side: Gateway| if v6 { side.v6 } else { side.v4 };
        if client.is_loopback() {
            return of(self.gateway);
        }
        let is_ours = self.inside.is_source(client)
            || [self.gateway.v4, self.gateway.v6].contains(&client)
            || self.resolvers.contains(&client)
            || self.network.iter().any(|range| range.contains(client));
        let is_shown = client.is_ipv4() || v6 && !is_link_local(client);
        if is_ours || !is_shown { of(self.stranger) } else { client }
    }
}

/// Of one link, which the sandbox is not on.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn faces(v6: Option<&str>) -> Faces {
        Faces {
            inside: Inside { v4: ip("10.0.2.100"), v6: v6.map(ip), mtu: 65_520 },
            gateway: Gateway { v4: ip("10.0.2.2"), v6: ip("fd00::2") },
            stranger: Gateway { v4: ip("10.0.2.4"), v6: ip("fd00::4") },
            resolvers: vec![ip("10.0.2.3"), ip("fd00::3")],
            network: Vec::new(),
        }
    }

    fn seen(faces: &Faces, client: &str) -> String {
        let (inside, outside) = faces.ends(faces.inside, SocketAddr::new(ip(client), 7), 80);
        assert_eq!((inside.is_ipv4(), inside.port(), outside.port()), (outside.is_ipv4(), 80, 7));
        outside.ip().to_string()
    }

    #[test]
    fn a_client_keeps_its_address_and_loopback_is_the_gateway() {
        let faces = faces(Some("fd00::100"));
        for (client, shown) in [
            ("198.51.100.7", "198.51.100.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("192.168.1.9", "192.168.1.9"),
            ("10.0.2.15", "10.0.2.15"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            ("127.0.0.1", "10.0.2.2"),
            ("127.1.2.3", "10.0.2.2"),
            ("::ffff:127.0.0.1", "10.0.2.2"),
            ("::1", "fd00::2"),
        ] {
            assert_eq!(seen(&faces, client), shown, "{client}");
        }
    }

    #[test]
    fn no_foreign_client_appears_as_one_of_the_links_own() {
        let faces = faces(Some("fd00::100"));
        for client in ["10.0.2.2", "10.0.2.3", "10.0.2.100", "::ffff:10.0.2.2"] {
            assert_eq!(seen(&faces, client), "10.0.2.4", "{client}");
        }
        for client in ["fd00::2", "fd00::3", "fd00::100", "fe80::1"] {
            assert_eq!(seen(&faces, client), "fd00::4", "{client}");
        }
    }

    #[test]
    fn no_foreign_client_appears_as_one_of_the_network_behind() {
        let network = ["10.9.0.0/24", "fd12::/64"].map(|range| Prefix::parse(range).unwrap());
        let faces = Faces { network: network.to_vec(), ..faces(Some("fd00::100")) };
        for (client, shown) in [
            ("10.9.0.7", "10.0.2.4"),
            ("10.9.0.255", "10.0.2.4"),
            ("10.9.1.7", "10.9.1.7"),
            ("fd12::7", "fd00::4"),
            ("::ffff:10.9.0.1", "10.0.2.4"),
        ] {
            assert_eq!(seen(&faces, client), shown, "{client}");
        }
        let member = Inside { v4: ip("10.9.0.5"), v6: Some(ip("fd12::5")), mtu: 65_520 };
        let (inside, outside) = faces.ends(member, SocketAddr::new(ip("::1"), 7), 80);
        assert_eq!((inside.ip(), outside.ip()), (ip("fd12::5"), ip("fd00::2")));
    }

    #[test]
    fn without_ipv6_inside_its_clients_come_over_ipv4() {
        let faces = faces(None);
        assert_eq!(seen(&faces, "::1"), "10.0.2.2");
        assert_eq!(seen(&faces, "2001:db8::7"), "10.0.2.4");
        assert_eq!(seen(&faces, "198.51.100.7"), "198.51.100.7");
    }
}
