//! Reads what the payload's kernel sends: IP packets, taken apart without trust.
//!
//! Parsing is total: whatever is cut, contradicts itself, or is of no use here is [`None`] and nobody
//! hears of it. Checksums are not looked at: the packet never was on a wire, and the kernel leaves
//! them unfinished ([`crate::sys::tun`]).
//!
//! # Decisions
//! - Fragments are not put together. With this link's MTU only a datagram above 65,492 bytes (65,472 of IPv6) is ever
//!   cut; who sent it is told that it is too long, by its first fragment.
//! - So is anything with IP options or IPv6 extension headers: nothing of them would reach the host's
//!   sockets, and a source route would name another destination than the one that is asked about.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A packet of a kind that is served, or that deserves an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its source.
    pub from: IpAddr,
    /// Its destination.
    pub to: IpAddr,
    /// The rest.
    pub body: Body<'a>,
}

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// TCP.
    Tcp(Segment<'a>),
    /// UDP.
    Udp(Datagram<'a>),
    /// A request for an echo.
    Echo(Echo<'a>),
    /// Another protocol, by its number; with the first eight bytes for the error.
    Other(u8, [u8; 8]),
    /// The beginning of something that was cut because of its length, in the same way.
    Cut(u8, [u8; 8]),
}

/// A TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Its source port.
    pub source: u16,
    /// Its destination port.
    pub destination: u16,
    /// Number of its first byte.
    pub seq: u32,
    /// Number of the byte that is expected, with [`Flags::ACK`].
    pub ack: u32,
    /// SYN, ACK and the like.
    pub flags: Flags,
    /// The window as it stands there, unscaled.
    pub window: u16,
    /// The option.
    pub mss: Option<u16>,
    /// The option: a shift of 14 at most.
    pub scale: Option<u8>,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// The flags of a TCP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data.
    pub const FIN: Self = Self(1);
    /// The first segment.
    pub const SYN: Self = Self(2);
    /// The end of everything.
    pub const RST: Self = Self(4);
    /// Hurry.
    pub const PSH: Self = Self(8);
    /// `ack` means something.
    pub const ACK: Self = Self(16);

    /// Whether all flags of `other` are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A UDP datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Its source port.
    pub source: u16,
    /// Its destination port.
    pub destination: u16,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// A request for an echo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo<'a> {
    /// Whose it is.
    pub ident: u16,
    /// Which one.
    pub sequence: u16,
    /// What is to come back.
    pub payload: &'a [u8],
}

impl Packet<'_> {
    /// Both ends, for the protocols with ports.
    pub fn ends(&self, source: u16, destination: u16) -> (SocketAddr, SocketAddr) {
        (SocketAddr::new(self.from, source), SocketAddr::new(self.to, destination))
    }
}

/// Protocol numbers.
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
}

/// Headers of IPv6 that may stand between the fixed one and the protocol, fragments among them.
const EXTENSIONS: [u8; 7] = [0, 43, 44, 51, 60, 135, 139];

/// Reads one packet.
pub fn parse(bytes: &[u8]) -> Option<Packet<'_>> {
    let (from, to, protocol, rest, is_cut) = match bytes.first()? >> 4 {
        4 => parse_v4(bytes)?,
        6 => parse_v6(bytes)?,
        _ => return None,
    };
    let body = match (protocol, from.is_ipv4()) {
        _ if is_cut => Body::Cut(protocol, *rest.first_chunk()?),
        (protocol::TCP, _) => Body::Tcp(parse_segment(rest)?),
        (protocol::UDP, _) => Body::Udp(parse_datagram(rest)?),
        (protocol::ICMP, true) => Body::Echo(parse_echo(rest, 8)?),
        (protocol::ICMPV6, false) => Body::Echo(parse_echo(rest, 128)?),
        _ => Body::Other(protocol, *rest.first_chunk()?),
    };
    Some(Packet { from, to, body })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Source, destination, protocol, what follows, and whether more of that is in other packets.
type Network<'a> = (IpAddr, IpAddr, u8, &'a [u8], bool);

fn parse_v4(bytes: &[u8]) -> Option<Network<'_>> {
    const LENGTH: usize = 20;
    // An offset, and more fragments. `Don't fragment` and the reserved bit say nothing.
    const OFFSET: u16 = 0x1fff;
    const MORE: u16 = 0x2000;
    let total = usize::from(u16_at(bytes, 2)?);
    let place = u16_at(bytes, 6)?;
    let plain = *bytes.first()? == 0x45 && place & OFFSET == 0;
    let rest = bytes.get(LENGTH..total).filter(|_| plain)?;
    let address = |at: usize| Some(IpAddr::V4(Ipv4Addr::from(u32_at(bytes, at)?)));
    Some((address(12)?, address(16)?, *bytes.get(9)?, rest, place & MORE != 0))
}

fn parse_v6(bytes: &[u8]) -> Option<Network<'_>> {
    const LENGTH: usize = 40;
    const FRAGMENT: u8 = 44;
    let length = usize::from(u16_at(bytes, 4)?);
    let mut rest = bytes.get(LENGTH..LENGTH + length)?;
    let address = |at: usize| {
        let octets: [u8; 16] = *bytes.get(at..)?.first_chunk()?;
        Some(IpAddr::V6(Ipv6Addr::from(octets)))
    };
    let mut next = *bytes.get(6)?;
    // Of the offset the three lowest bits are something else; the very lowest says that more comes.
    let is_cut = next == FRAGMENT && u16_at(rest, 2)? == 1;
    if is_cut {
        (next, rest) = (*rest.first()?, rest.get(8..)?);
    }
    let plain = !EXTENSIONS.contains(&next);
    plain.then_some((address(8)?, address(24)?, next, rest, is_cut))
}

fn parse_segment(bytes: &[u8]) -> Option<Segment<'_>> {
    const LENGTH: usize = 20;
    let header = usize::from(bytes.get(12)? >> 4) * 4;
    let options = bytes.get(LENGTH..header)?;
    let (mss, scale) = parse_options(options);
    Some(Segment {
        source: u16_at(bytes, 0)?,
        destination: u16_at(bytes, 2)?,
        seq: u32_at(bytes, 4)?,
        ack: u32_at(bytes, 8)?,
        flags: Flags(bytes.get(13)? & 0x1f),
        window: u16_at(bytes, 14)?,
        mss,
        scale,
        payload: bytes.get(header..)?,
    })
}

/// MSS and window scale. What is cut off says nothing.
fn parse_options(mut options: &[u8]) -> (Option<u16>, Option<u8>) {
    let (mut mss, mut scale) = (None, None);
    while let Some((&kind, rest)) = options.split_first() {
        match kind {
            0 => break,
            1 => options = rest,
            _ => {
                let Some(length) = rest.first().map(|length| usize::from(*length)) else { break };
                let Some(value) = options.get(2..length) else { break };
                match (kind, value) {
                    (2, [high, low]) => mss = Some(u16::from_be_bytes([*high, *low])),
                    (3, [shift]) => scale = Some((*shift).min(14)),
                    _ => {}
                }
                options = options.get(length..).unwrap_or_default();
            }
        }
    }
    (mss, scale)
}

fn parse_datagram(bytes: &[u8]) -> Option<Datagram<'_>> {
    let length = usize::from(u16_at(bytes, 4)?);
    Some(Datagram {
        source: u16_at(bytes, 0)?,
        destination: u16_at(bytes, 2)?,
        payload: bytes.get(8..length)?,
    })
}

fn parse_echo(bytes: &[u8], request: u8) -> Option<Echo<'_>> {
    let is_request = *bytes.first()? == request && *bytes.get(1)? == 0;
    let echo =
        Echo { ident: u16_at(bytes, 4)?, sequence: u16_at(bytes, 6)?, payload: bytes.get(8..)? };
    is_request.then_some(echo)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4(protocol: u8, rest: &[u8]) -> Vec<u8> {
        let total = u16::try_from(20 + rest.len()).unwrap().to_be_bytes();
        let mut bytes = vec![0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
        bytes.extend([10, 0, 2, 100, 192, 0, 2, 1]);
        bytes.extend(rest);
        bytes
    }

    fn syn() -> Vec<u8> {
        let mut bytes = vec![0x30, 0x39, 0, 80, 0, 0, 0, 7, 0, 0, 0, 0, 0x80, 2, 0xff, 0xff];
        bytes.extend([0, 0, 0, 0, 2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2, 0, 0]);
        bytes
    }

    #[test]
    fn a_syn_is_read_with_its_options() {
        let bytes = v4(protocol::TCP, &syn());
        let Some(Packet { to, body: Body::Tcp(segment), .. }) = parse(&bytes) else { panic!() };
        assert_eq!(to, "192.0.2.1".parse::<IpAddr>().unwrap());
        assert_eq!((segment.source, segment.destination, segment.seq), (12345, 80, 7));
        assert_eq!((segment.mss, segment.scale), (Some(1460), Some(7)));
        assert!(segment.flags.has(Flags::SYN) && !segment.flags.has(Flags::ACK));
    }

    #[test]
    fn fragments_options_and_lies_about_lengths_are_dropped() {
        let good = v4(protocol::TCP, &syn());
        assert!(parse(&good).is_some());
        let mut cut = good.clone();
        cut[6] = 0x20;
        assert!(matches!(parse(&cut), Some(Packet { body: Body::Cut(6, _), .. })));
        for (at, value) in [(7, 1), (0, 0x46), (2, 0xff), (32, 0xf0), (32, 0x40)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(parse(&bad), None, "byte {at} = {value}");
        }
        for length in 0..good.len() {
            assert_eq!(parse(&good[..length]), None, "cut to {length}");
        }
        let mut datagram = vec![0, 1, 0, 2, 0, 9, 0, 0, 0];
        assert!(parse(&v4(protocol::UDP, &datagram)).is_some());
        datagram[5] = 10;
        assert_eq!(parse(&v4(protocol::UDP, &datagram)), None);
        datagram[5] = 7;
        assert_eq!(parse(&v4(protocol::UDP, &datagram)), None);
    }

    #[test]
    fn an_extension_header_of_ipv6_is_dropped() {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 9, protocol::UDP, 64];
        bytes.extend([0; 32]);
        bytes.extend([0, 1, 0, 2, 0, 9, 0, 0, 0]);
        assert!(parse(&bytes).is_some());
        for extension in EXTENSIONS {
            bytes[6] = extension;
            assert_eq!(parse(&bytes), None);
        }
        // The first fragment of a datagram, then one that hides a route, then the second one.
        let mut cut = bytes.clone();
        (cut[5], cut[6]) = (17, 44);
        cut.splice(40..40, [protocol::UDP, 0, 0, 1, 0, 0, 0, 7]);
        assert!(matches!(parse(&cut), Some(Packet { body: Body::Cut(17, _), .. })));
        cut[40] = 43;
        assert_eq!(parse(&cut), None);
        (cut[40], cut[43]) = (protocol::UDP, 9);
        assert_eq!(parse(&cut), None);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(version in prop_oneof![Just(0x45u8), Just(0x60), any::<u8>()], rest in proptest::collection::vec(any::<u8>(), 0..120)) {
            let mut bytes = vec![version];
            bytes.extend(rest);
            if let Some(packet) = parse(&bytes) {
                prop_assert_eq!(packet.from.is_ipv4(), packet.to.is_ipv4());
            }
        }

        #[test]
        fn a_packet_with_any_byte_changed_is_read_or_dropped(at in 0usize..52, value: u8) {
            let mut bytes = v4(protocol::TCP, &syn());
            bytes[at] = value;
            parse(&bytes);
        }
    }
}
