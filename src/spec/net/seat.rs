//! What a sandbox asks of its place on a network that several share.
//!
//! # Decisions
//! - An alias is nobody's alone: whoever asks for it is given the addresses of all who have it, as in Docker. A
//!   sandbox's name and id are its own, so an alias is never one of another's.
//! - An alias goes before what the name means elsewhere, also where it looks like a name of the world: that is what it is
//!   for in a test. It is whoever starts the sandbox that says so, never the program in it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::{HostName, Segment};

/// Most names besides its own that a member has.
pub const ALIASES: usize = 32;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Seat {
    /// Its address of IPv4; the next free one otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v4: Option<Ipv4Addr>,
    /// Its address of IPv6; the one that goes with that of IPv4 otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v6: Option<Ipv6Addr>,
    /// Names that others may have too; at most [`ALIASES`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<HostName>,
}

/// Why there is no such place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoPlace {
    /// No member of the network can have this address.
    Outside(IpAddr),
    /// The bridge or another member has it.
    Taken(IpAddr),
    /// This machine has no IPv6.
    NoIpv6(Ipv6Addr),
    /// Every address is taken.
    Full,
    /// Every one that is given to who asks for none is.
    Spent,
}

impl Seat {
    /// Whether nothing is asked for.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether a name may be an alias: one that no resolver asks a server about would lead nowhere, or elsewhere.
pub fn is_alias(name: &HostName) -> bool {
    let special = ["localhost", "invalid", "onion", "arpa"];
    !special.iter().any(|end| {
        let rest = name.as_str().strip_suffix(end);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

impl Segment {
    /// The addresses of who asks for `seat`; of IPv6 where there is any. `last` was given before.
    pub fn place(
        &self,
        seat: &Seat,
        ipv6: bool,
        last: Option<Ipv4Addr>,
        is_taken: impl Fn(IpAddr) -> bool,
    ) -> Result<(Ipv4Addr, Option<Ipv6Addr>), NoPlace> {
        let v6 = seat.v6.map(|v6| self.check_v6(v6, ipv6, &is_taken)).transpose()?;
        // Whoever has no address of IPv6 of its own has the one that goes with the other.
        let with = |v4| v6.or(ipv6.then(|| self.v6_of(v4)));
        let taken = |v4: Ipv4Addr| {
            let both = [Some(v4.into()), with(v4).map(IpAddr::V6)];
            both.into_iter().flatten().find(|at| is_taken(*at))
        };
        let v4 = match seat.v4 {
            Some(v4) if !self.is_address(v4) => return Err(NoPlace::Outside(v4.into())),
            Some(v4) if v4 == self.gateway => return Err(NoPlace::Taken(v4.into())),
            Some(v4) => match taken(v4) {
                Some(at) => return Err(NoPlace::Taken(at)),
                None => v4,
            },
            None => self
                .next_free(last, |v4| taken(v4).is_some())
                .ok_or(if self.range.is_some() { NoPlace::Spent } else { NoPlace::Full })?,
        };
        Ok((v4, with(v4)))
    }

    fn check_v6(
        &self,
        v6: Ipv6Addr,
        ipv6: bool,
        is_taken: impl Fn(IpAddr) -> bool,
    ) -> Result<Ipv6Addr, NoPlace> {
        // The first one of a range is every router's.
        let is_first = IpAddr::V6(v6) == self.subnet6.address();
        match () {
            () if !ipv6 => Err(NoPlace::NoIpv6(v6)),
            () if is_first || !self.subnet6.contains(v6.into()) => Err(NoPlace::Outside(v6.into())),
            () if v6 == self.v6_of(self.gateway) || is_taken(v6.into()) => {
                Err(NoPlace::Taken(v6.into()))
            }
            () => Ok(v6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::net::segment::default_subnet6;
    use crate::spec::net::{Egress, NetworkName, Prefix};

    fn segment() -> Segment {
        let name = NetworkName::default();
        Segment {
            subnet: Prefix::parse("10.9.0.0/24").unwrap(),
            gateway: "10.9.0.1".parse().unwrap(),
            range: Some(Prefix::parse("10.9.0.128/30").unwrap()),
            subnet6: default_subnet6(&name),
            egress: Egress::default(),
            name,
        }
    }

    fn place(v4: Option<&str>, v6: Option<Ipv6Addr>, taken: &[IpAddr]) -> Result<String, NoPlace> {
        let v4 = v4.map(|text| text.parse().unwrap());
        let seat = Seat { v4, v6, aliases: Vec::new() };
        let placed = segment().place(&seat, true, None, |at| taken.contains(&at));
        placed.map(|(v4, v6)| format!("{v4} {}", v6 == Some(segment().v6_of(v4))))
    }

    #[test]
    fn an_address_that_is_asked_for_is_given_unless_it_is_outside_or_taken() {
        let v4 = |text: &str| IpAddr::V4(text.parse().unwrap());
        assert_eq!(place(Some("10.9.0.7"), None, &[]).unwrap(), "10.9.0.7 true");
        for outside in ["10.9.1.7", "10.9.0.0", "10.9.0.255", "127.0.0.1"] {
            assert_eq!(place(Some(outside), None, &[]), Err(NoPlace::Outside(v4(outside))));
        }
        for taken in ["10.9.0.1", "10.9.0.7"] {
            let err = place(Some(taken), None, &[v4("10.9.0.7")]);
            assert_eq!(err, Err(NoPlace::Taken(v4(taken))));
        }
        // Somebody else asked for the address of IPv6 that goes with it.
        let v6 = segment().v6_of("10.9.0.7".parse().unwrap());
        assert_eq!(place(Some("10.9.0.7"), None, &[v6.into()]), Err(NoPlace::Taken(v6.into())));
        assert_eq!(place(Some("10.9.0.8"), Some(v6), &[]).unwrap(), "10.9.0.8 false");
        let gateway = segment().v6_of("10.9.0.1".parse().unwrap());
        assert_eq!(place(None, Some(gateway), &[]), Err(NoPlace::Taken(gateway.into())));
        for outside in ["fd00::1", "::1", "fe80::1"] {
            let outside: Ipv6Addr = outside.parse().unwrap();
            assert_eq!(place(None, Some(outside), &[]), Err(NoPlace::Outside(outside.into())));
        }
    }

    #[test]
    fn addresses_that_nobody_asked_for_come_from_the_range() {
        let mut taken: Vec<IpAddr> = Vec::new();
        for last in [128, 129, 130, 131] {
            let given = place(None, None, &taken).unwrap();
            assert_eq!(given, format!("10.9.0.{last} true"));
            taken.push(given.split(' ').next().unwrap().parse().unwrap());
        }
        assert_eq!(place(None, None, &taken), Err(NoPlace::Spent));
        // One whose address of IPv6 somebody else has is passed over.
        let v6 = segment().v6_of("10.9.0.128".parse().unwrap());
        assert_eq!(place(None, None, &[v6.into()]).unwrap(), "10.9.0.129 true");
    }

    #[test]
    fn a_kernel_without_ipv6_gives_none() {
        let placed = segment().place(&Seat::default(), false, None, |_| false).unwrap();
        assert_eq!(placed.1, None);
        let v6 = segment().v6_of("10.9.0.7".parse().unwrap());
        let seat = Seat { v6: Some(v6), ..Seat::default() };
        assert_eq!(segment().place(&seat, false, None, |_| false), Err(NoPlace::NoIpv6(v6)));
    }

    #[test]
    fn names_that_mean_this_machine_or_nothing_are_no_aliases() {
        let name = |text: &str| HostName::parse(text).unwrap();
        for bad in ["localhost", "LOCALHOST.", "a.localhost", "x.invalid", "1.in-addr.arpa"] {
            assert!(!is_alias(&name(bad)), "{bad}");
        }
        for good in ["db", "notlocalhost", "good.test", "a_b"] {
            assert!(is_alias(&name(good)), "{good}");
        }
    }
}
