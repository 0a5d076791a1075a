//! A network that several sandboxes share, as it was made by `bryo network create`.
//!
//! # Decisions
//! - The address of a member within IPv6 holds the one of IPv4, and so does its link address: who has the one has
//!   the others, and there is one thing to hand out.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::{Egress, Prefix};
use crate::spec::is_valid_name;

/// The name of a network: as that of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkName(String);

/// Not the name of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a name: letters, digits, `_`, `.` and `-`, at most 63")]
pub struct BadNetworkName;

impl NetworkName {
    /// The one of `--network bridge`.
    pub const DEFAULT: &'static str = "bridge";

    /// Reads a name.
    pub fn new(name: &str) -> Result<Self, BadNetworkName> {
        if is_valid_name(name) { Ok(Self(name.to_owned())) } else { Err(BadNetworkName) }
    }

    /// Whether listings and `--network` mean something else by it: no new one is called so. [`Self::DEFAULT`] is made by
    /// who asks for it, as it always is.
    pub fn is_reserved(&self) -> bool {
        const WORDS: [&str; 9] = [
            "none",
            "user",
            "host",
            "pasta",
            "slirp4netns",
            NetworkName::DEFAULT,
            "container",
            "sandbox",
            "default",
        ];
        WORDS.contains(&self.as_str())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for NetworkName {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl TryFrom<String> for NetworkName {
    type Error = BadNetworkName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(&name)
    }
}

impl From<NetworkName> for String {
    fn from(name: NetworkName) -> Self {
        name.0
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a network is like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Its name.
    pub name: NetworkName,
    /// Its addresses of IPv4: 8 to 29 bits.
    pub subnet: Prefix,
    /// The one of the bridge, by which packets leave.
    pub gateway: Ipv4Addr,
    /// Those that are given to who asks for none; a part of them all, and all otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Prefix>,
    /// Its addresses of IPv6: 64 bits of a unique-local range.
    pub subnet6: Prefix,
    /// What may leave it.
    pub egress: Egress,
}

/// Why a network cannot be so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// The range of IPv4.
    #[error("it is no private range of IPv4 of 8 to 29 bits, as 10.99.0.0/24")]
    Subnet,
    /// The range of IPv6.
    #[error("it is no range of 64 bits below fd00::/8, as fd12:3456:789a::/64")]
    Subnet6,
    /// The gateway.
    #[error("its gateway is no address of a member of the network")]
    Gateway,
    /// The part that is given out.
    #[error("the range that is given out is no part of its addresses")]
    Range,
    /// So too.
    #[error("the range that is given out is none of IPv4")]
    Range6,
    /// So too.
    #[error("the range that is given out has no address for a member besides the gateway")]
    RangeEmpty,
}

impl SegmentError {
    /// What to do about it.
    pub fn hint(self) -> Option<&'static str> {
        match self {
            Self::Range => Some("`--ip-range` is a part of `--subnet`"),
            Self::Range6 => Some(
                "who asks for no address of IPv6 has the one that goes with the other: `--ip-range` with a part of `--subnet`",
            ),
            Self::RangeEmpty => Some(
                "take a longer `--ip-range`, or another `--gateway`; the first and the last address of `--subnet` are nobody's",
            ),
            Self::Subnet | Self::Subnet6 | Self::Gateway => None,
        }
    }
}

impl Segment {
    /// Checks what was read or asked for.
    pub fn verify(&self) -> Result<(), SegmentError> {
        verify_subnet(self.subnet)?;
        verify_subnet6(self.subnet6)?;
        let is_range = self.range.is_none_or(|range| self.subnet.covers(range));
        match () {
            () if !self.is_address(self.gateway) => Err(SegmentError::Gateway),
            // One that has nothing to give is a mistake.
            () if self.range.is_some_and(|range| range.address().is_ipv6()) => {
                Err(SegmentError::Range6)
            }
            () if !is_range => Err(SegmentError::Range),
            () if self.next_free(None, |_| false).is_none() => Err(SegmentError::RangeEmpty),
            () => Ok(()),
        }
    }

    /// Whether it is an address that somebody in the network can have.
    pub fn is_address(&self, address: Ipv4Addr) -> bool {
        let (first, last) = bounds(self.subnet);
        self.subnet.contains(address.into()) && (first + 1..last).contains(&address.to_bits())
    }

    /// The next address after `last` that nobody has, around in a circle; none when all are taken.
    ///
    /// After the last one given, so that one that has just become free is not somebody else's at once.
    pub fn next_free(
        &self,
        last: Option<Ipv4Addr>,
        is_taken: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<Ipv4Addr> {
        let (first, end) = bounds(self.range.unwrap_or(self.subnet));
        let begin = last.map_or(first, |last| last.to_bits().saturating_add(1));
        let begin = if begin > end { first } else { begin.max(first) };
        (begin..=end)
            .chain(first..begin)
            .map(Ipv4Addr::from_bits)
            .find(|at| self.is_address(*at) && *at != self.gateway && !is_taken(*at))
    }

    /// The address of IPv6 that goes with one of IPv4.
    pub fn v6_of(&self, v4: Ipv4Addr) -> Ipv6Addr {
        match self.subnet6.address() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() | u128::from(v4.to_bits())),
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        }
    }
}

/// The link address that goes with an address: one that is given out locally.
pub fn mac_of(v4: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = v4.octets();
    [2, 0x62, a, b, c, d]
}

/// First and last of a range of IPv4; nothing for one of IPv6.
fn bounds(subnet: Prefix) -> (u32, u32) {
    match subnet.address() {
        IpAddr::V4(first) => {
            let rest = u32::MAX.checked_shr(subnet.length().into()).unwrap_or(0);
            (first.to_bits(), first.to_bits() | rest)
        }
        IpAddr::V6(_) => (0, 0),
    }
}

/// Private, and neither the loopback's nor what lies between holder and netstack.
pub fn verify_subnet(subnet: Prefix) -> Result<(), SegmentError> {
    let IpAddr::V4(address) = subnet.address() else { return Err(SegmentError::Subnet) };
    let is_free = address.is_private() && !overlap(subnet, uplink());
    if is_free && (8..=29).contains(&subnet.length()) { Ok(()) } else { Err(SegmentError::Subnet) }
}

/// Unique-local.
pub fn verify_subnet6(subnet: Prefix) -> Result<(), SegmentError> {
    match subnet.address() {
        IpAddr::V6(v6)
            if v6.octets()[0] == 0xfd && subnet.length() == 64 && v6.segments()[1] != 0 =>
        {
            Ok(())
        }
        _ => Err(SegmentError::Subnet6),
    }
}

/// Whether two ranges have an address in common.
pub fn overlap(one: Prefix, other: Prefix) -> bool {
    one.covers(other) || other.covers(one)
}

/// What lies between the holder of a network and its netstack.
fn uplink() -> Prefix {
    Prefix::of(Ipv4Addr::new(10, 0, 2, 0).into(), 24)
}

/// How many ranges are tried.
const TRIED: u32 = 4096;

/// The range that a network has when none was asked for: the first one free, beginning with one that hangs on the
/// name alone. `taken`: what the host has routes to, and other networks.
pub fn default_subnet(name: &NetworkName, taken: &[Prefix]) -> Option<Prefix> {
    let begin = u32::from(hash(name)[0]) << 4 | u32::from(hash(name)[1] & 15);
    (0..TRIED)
        .map(|step| (begin + step) % TRIED)
        .map(|number| Prefix::of(Ipv4Addr::from_bits(0x0a60_0000 + (number << 8)).into(), 24))
        .find(|subnet| taken.iter().all(|taken| taken.length() == 0 || !overlap(*subnet, *taken)))
}

/// The range of IPv6 that goes with a name.
pub fn default_subnet6(name: &NetworkName) -> Prefix {
    // 40 bits of a range of one's own (RFC 4193), never those of fd00::/16, which the netstack uses.
    let own = u128::from(u64::from_be_bytes(hash(name)) >> 24 | 1 << 32);
    let network = 0xfd << 120 | own << 80 | 1 << 64;
    Prefix::of(Ipv6Addr::from_bits(network).into(), 64)
}

/// FNV-1a: spreads, and is the same everywhere.
fn hash(name: &NetworkName) -> [u8; 8] {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    let step = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.as_str().bytes().fold(start, step).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        Prefix::parse(text).unwrap()
    }

    fn segment(subnet: &str, gateway: &str) -> Segment {
        Segment {
            name: NetworkName::default(),
            subnet: prefix(subnet),
            gateway: gateway.parse().unwrap(),
            range: None,
            subnet6: default_subnet6(&NetworkName::default()),
            egress: Egress::default(),
        }
    }

    #[test]
    fn addresses_are_handed_out_in_a_circle_without_the_gateway_and_the_ends() {
        let segment = segment("10.9.0.0/29", "10.9.0.1");
        segment.verify().unwrap();
        let mut taken = Vec::new();
        while let Some(next) = segment.next_free(taken.last().copied(), |at| taken.contains(&at)) {
            taken.push(next);
        }
        let last: Vec<u8> = taken.iter().map(|at| at.octets()[3]).collect();
        assert_eq!(last, [2, 3, 4, 5, 6]);
        let four = Some("10.9.0.4".parse().unwrap());
        assert_eq!(segment.next_free(four, |_| false).unwrap().octets()[3], 5);
        let six = Some("10.9.0.6".parse().unwrap());
        assert_eq!(segment.next_free(six, |_| false).unwrap().octets()[3], 2);
        let foreign = Some("255.255.255.255".parse().unwrap());
        assert_eq!(segment.next_free(foreign, |_| false).unwrap().octets()[3], 2);
    }

    #[test]
    fn a_range_that_is_not_private_or_too_small_is_refused() {
        for bad in [
            "198.51.100.0/24",
            "10.0.2.0/24",
            "10.0.0.0/8",
            "10.9.0.0/30",
            "127.0.0.0/24",
            "fd00::/64",
        ] {
            assert_eq!(verify_subnet(prefix(bad)), Err(SegmentError::Subnet), "{bad}");
        }
        for good in ["10.99.0.0/16", "192.168.7.0/24", "172.16.0.0/12"] {
            verify_subnet(prefix(good)).unwrap();
        }
        for bad in ["fd00::/64", "fe80::/64", "fd12:3456::/48", "2001:db8::/64"] {
            assert_eq!(verify_subnet6(prefix(bad)), Err(SegmentError::Subnet6), "{bad}");
        }
        for gateway in ["10.9.0.0", "10.9.0.255", "10.8.0.1"] {
            assert_eq!(segment("10.9.0.0/24", gateway).verify(), Err(SegmentError::Gateway));
        }
    }

    #[test]
    fn the_default_range_hangs_on_the_name_and_avoids_what_is_taken() {
        let name = NetworkName::default();
        let first =
            default_subnet(&name, &[prefix("0.0.0.0/0"), prefix("192.168.0.0/16")]).unwrap();
        assert_eq!(first.to_string(), "10.105.204.0/24");
        assert_eq!(default_subnet(&name, &[first]).unwrap().to_string(), "10.105.205.0/24");
        assert_eq!(default_subnet(&name, &[prefix("10.0.0.0/8")]), None);
        verify_subnet(first).unwrap();
        verify_subnet6(default_subnet6(&name)).unwrap();
    }

    #[test]
    fn one_address_goes_with_another() {
        let segment = segment("10.9.0.0/24", "10.9.0.1");
        let v6 = segment.v6_of("10.9.0.5".parse().unwrap());
        assert!(segment.subnet6.contains(v6.into()));
        assert!(v6.to_string().ends_with(":a09:5"), "{v6}");
        assert_eq!(mac_of("10.9.0.5".parse().unwrap()), [2, 0x62, 10, 9, 0, 5]);
    }

    #[test]
    fn names_are_those_of_sandboxes() {
        for bad in ["", ".", "..", "a/b", "-x", "a b", &"x".repeat(64)] {
            assert_eq!(NetworkName::new(bad), Err(BadNetworkName), "{bad}");
        }
        assert!(serde_json::from_str::<NetworkName>("\"../x\"").is_err());
        assert_eq!(NetworkName::new("my-net_1.x").unwrap().as_str(), "my-net_1.x");
    }
}
