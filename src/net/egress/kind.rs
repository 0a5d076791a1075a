//! Which addresses are not public.
//!
//! # Theory of operation
//! A table of the special ranges (IANA's special-purpose registries, and the addresses at which clouds
//! serve metadata and credentials), the most specific first. What is in none of them is public in IPv4, and
//! in IPv6 when it lies in `2000::/3`, out of which alone global addresses are given.
//!
//! # Decisions
//! - The documentation ranges count as public: they belong to nobody and are routed nowhere.
//! - `0.0.0.0/8` is the host itself to Linux, and so counts as loopback.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::spec::net::Prefix;

/// Why an address is not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The host's loopback.
    Loopback,
    /// An address of the host itself, whatever else it would be.
    Own,
    /// Of the link the host is on.
    LinkLocal,
    /// Where a cloud serves metadata and credentials of the machine.
    Metadata,
    /// Of a private network, carriers' ones included.
    Private,
    /// Of many hosts at once.
    Multicast,
    /// Set aside for something else, or not given out.
    Reserved,
}

/// Special IPv4 ranges: address, length, kind.
const V4: &[([u8; 4], u8, Kind)] = &[
    ([169, 254, 169, 254], 32, Kind::Metadata),
    ([169, 254, 170, 2], 32, Kind::Metadata),
    ([169, 254, 170, 23], 32, Kind::Metadata),
    ([169, 254, 169, 123], 32, Kind::Metadata),
    ([169, 254, 169, 253], 32, Kind::Metadata),
    // Oracle's and Alibaba's.
    ([192, 0, 0, 192], 32, Kind::Metadata),
    ([100, 100, 100, 200], 32, Kind::Metadata),
    // Azure's, which looks public.
    ([168, 63, 129, 16], 32, Kind::Metadata),
    ([255, 255, 255, 255], 32, Kind::Multicast),
    ([192, 0, 0, 0], 24, Kind::Reserved),
    ([192, 88, 99, 0], 24, Kind::Reserved),
    ([169, 254, 0, 0], 16, Kind::LinkLocal),
    ([192, 168, 0, 0], 16, Kind::Private),
    ([198, 18, 0, 0], 15, Kind::Reserved),
    ([172, 16, 0, 0], 12, Kind::Private),
    ([100, 64, 0, 0], 10, Kind::Private),
    ([0, 0, 0, 0], 8, Kind::Loopback),
    ([10, 0, 0, 0], 8, Kind::Private),
    ([127, 0, 0, 0], 8, Kind::Loopback),
    ([224, 0, 0, 0], 4, Kind::Multicast),
    ([240, 0, 0, 0], 4, Kind::Reserved),
];

/// Special IPv6 ranges.
const V6: &[([u16; 8], u8, Kind)] = &[
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, Kind::Loopback),
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, Kind::Loopback),
    // Amazon's and Google's, in ranges of other kinds.
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32, Kind::Metadata),
    ([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, Kind::Metadata),
    // Teredo, ORCHID and the other assignments to protocols.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Kind::Reserved),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, Kind::LinkLocal),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, Kind::Private),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Kind::Multicast),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Kind::Private),
];

impl Kind {
    /// What is special about an address, and the range that makes it so; `None` for a public one.
    pub fn of(address: IpAddr) -> Option<(Self, Prefix)> {
        match address.to_canonical() {
            IpAddr::V4(v4) => find(V4, IpAddr::V4(v4), |octets| Ipv4Addr::from(octets).into()),
            IpAddr::V6(v6) => find(V6, IpAddr::V6(v6), |words| Ipv6Addr::from(words).into())
                .or_else(|| {
                    let global = v6.segments()[0] >> 13 == 1;
                    (!global).then(|| (Self::Reserved, Prefix::of(v6.into(), 3)))
                }),
        }
    }
}

fn find<const N: usize, T: Copy>(
    table: &[([T; N], u8, Kind)],
    address: IpAddr,
    read: impl Fn([T; N]) -> IpAddr,
) -> Option<(Kind, Prefix)> {
    table
        .iter()
        .map(|(base, length, kind)| (*kind, Prefix::of(read(*base), *length)))
        .find(|(_, range)| range.contains(address))
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "the host's loopback",
            Self::Own => "an address of this host",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "a metadata service",
            Self::Private => "a private address",
            Self::Multicast => "a multicast address",
            Self::Reserved => "a reserved address",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Option<Kind> {
        Kind::of(text.parse().unwrap()).map(|(kind, _)| kind)
    }

    #[test]
    fn ranges_are_special_from_their_first_to_their_last_address() {
        for (first, last, expected) in [
            ("0.0.0.0", "0.255.255.255", Kind::Loopback),
            ("10.0.0.0", "10.255.255.255", Kind::Private),
            ("100.64.0.0", "100.127.255.255", Kind::Private),
            ("127.0.0.0", "127.255.255.255", Kind::Loopback),
            ("169.254.0.0", "169.254.255.255", Kind::LinkLocal),
            ("172.16.0.0", "172.31.255.255", Kind::Private),
            ("192.168.0.0", "192.168.255.255", Kind::Private),
            ("198.18.0.0", "198.19.255.255", Kind::Reserved),
            ("224.0.0.0", "239.255.255.255", Kind::Multicast),
            ("240.0.0.0", "255.255.255.254", Kind::Reserved),
            ("fc00::", "fdff:ffff::", Kind::Private),
            ("fe80::", "febf::1", Kind::LinkLocal),
            ("fec0::", "feff::1", Kind::Private),
            ("ff00::", "ff05::2", Kind::Multicast),
            ("2001::", "2001:1ff:ffff::", Kind::Reserved),
            ("64:ff9b:1::", "100::1", Kind::Reserved),
            ("4000::", "fbff::", Kind::Reserved),
            ("fd00:ec2::254", "fd00:ec2::23", Kind::Metadata),
        ] {
            assert_eq!(kind(first), Some(expected), "{first}");
            assert_eq!(kind(last), Some(expected), "{last}");
        }
    }

    #[test]
    fn what_lies_between_is_public() {
        for public in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "2001:200::",
            "2001:db8::1",
            "2000::1",
            "3fff::1",
            "2620::1",
        ] {
            assert_eq!(kind(public), None, "{public}");
        }
    }

    #[test]
    fn metadata_is_special_wherever_it_lies() {
        for address in [
            "169.254.169.254",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "::ffff:169.254.169.254",
            "fd20:ce::254",
        ] {
            assert_eq!(kind(address), Some(Kind::Metadata), "{address}");
        }
    }
}
