//! Builds what goes to the payload's kernel: a header of virtio, of IP, and of what is above.
//!
//! TCP and UDP leave with the sum of their pseudo header alone, and say so: the kernel takes them as
//! they are, and finishes the sum only should it pass them on. ICMP is summed here.
//!
//! # Decisions
//! - Several segments of one connection go as one packet that says how long each is, as a network card's
//!   driver would hand them up: one call, one allocation, and one wake-up of the reader for all. Above 64 KiB
//!   the length of the IP header is 0 ("BIG TCP" of IPv4, since Linux 6.3).

use std::net::{IpAddr, SocketAddr};

use super::packet::{Flags, protocol};

/// Bytes before each packet on the link: `struct virtio_net_hdr`, `linux/virtio_net.h`.
pub const PREFIX: usize = 10;

/// The longest header: virtio, IPv6, TCP with two options.
const LONGEST: usize = PREFIX + 40 + 28;

/// A header. What it announces follows it.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    bytes: [u8; LONGEST],
    length: usize,
}

/// The fields of a TCP header that vary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// Number of the first byte.
    pub seq: u32,
    /// Number of the byte that is expected.
    pub ack: u32,
    /// Flags.
    pub flags: Flags,
    /// The window as it stands there.
    pub window: u16,
    /// Options of a SYN: MSS, and the scale of the window if the other side knows it.
    pub options: Option<(u16, Option<u8>)>,
}

/// Why something did not get where it was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// No way to that network.
    Network,
    /// The host does not answer.
    Host,
    /// Nothing listens at that port.
    Port,
    /// The protocol is not served.
    Protocol,
    /// It is not allowed.
    Prohibited,
    /// It is longer than this.
    TooBig(u16),
}

/// The beginning of the packet that an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// Its source.
    pub from: IpAddr,
    /// Its destination.
    pub to: IpAddr,
    /// What it was.
    pub protocol: u8,
    /// The first bytes above IP: with ports, and the number of a TCP segment.
    pub first: [u8; 8],
}

impl Quote {
    /// Of a TCP segment or datagram; `more` is the sequence number, or length and sum.
    pub fn of_ports(from: SocketAddr, to: SocketAddr, protocol: u8, more: u32) -> Self {
        let mut first = [0; 8];
        first[..2].copy_from_slice(&from.port().to_be_bytes());
        first[2..4].copy_from_slice(&to.port().to_be_bytes());
        first[4..].copy_from_slice(&more.to_be_bytes());
        Self { from: from.ip(), to: to.ip(), protocol, first }
    }
}

impl Frame {
    /// The header's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Begins a packet whose part above IP is `length` bytes.
    fn ip(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> Self {
        let mut frame = Self { bytes: [0; LONGEST], length: PREFIX };
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                // What is too long for the field has none there.
                let [high, low] = u16::try_from(20 + length).unwrap_or(0).to_be_bytes();
                // `Don't fragment`, 64 hops.
                let mut header = [0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0];
                let sum = fold(sum(&header) + sum(&from.octets()) + sum(&to.octets()));
                header[10..].copy_from_slice(&(!sum).to_be_bytes());
                frame.push(&header);
                frame.push(&from.octets());
                frame.push(&to.octets());
            }
            // Both ends of a flow are of one family: it was read from one packet.
            (from, to) => {
                let [high, low] = short(length);
                frame.push(&[0x60, 0, 0, 0, high, low, protocol, 64]);
                frame.push(&octets(from));
                frame.push(&octets(to));
            }
        }
        frame
    }

    fn push(&mut self, bytes: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(self.length).zip(bytes) {
            *to = *from;
        }
        self.length += bytes.len();
    }

    /// Leaves the sum to the kernel: it starts here, and stands `offset` bytes further on.
    fn unfinished(&mut self, offset: u8) {
        const NEEDS_CSUM: u8 = 1;
        let start = u16::try_from(self.length - PREFIX).unwrap_or(u16::MAX);
        self.bytes[0] = NEEDS_CSUM;
        self.bytes[6..8].copy_from_slice(&start.to_ne_bytes());
        self.bytes[8..10].copy_from_slice(&u16::from(offset).to_ne_bytes());
    }

    /// A TCP segment with `length` bytes of payload to follow.
    pub fn tcp(from: SocketAddr, to: SocketAddr, control: &Control, length: usize) -> Self {
        let mut options = [0; 8];
        let header = match control.options {
            None => 20,
            Some((mss, scale)) => {
                let [high, low] = mss.to_be_bytes();
                options[..4].copy_from_slice(&[2, 4, high, low]);
                if let Some(scale) = scale {
                    options[4..].copy_from_slice(&[1, 3, 3, scale]);
                }
                if scale.is_some() { 28 } else { 24 }
            }
        };
        let mut frame = Self::ip(from.ip(), to.ip(), protocol::TCP, header + length);
        frame.unfinished(16);
        let sum = pseudo(from.ip(), to.ip(), protocol::TCP, header + length);
        frame.push(&from.port().to_be_bytes());
        frame.push(&to.port().to_be_bytes());
        frame.push(&control.seq.to_be_bytes());
        frame.push(&control.ack.to_be_bytes());
        let words = u8::try_from(header / 4).unwrap_or(5);
        frame.push(&[words << 4, control.flags.0]);
        frame.push(&control.window.to_be_bytes());
        frame.push(&fold(sum).to_be_bytes());
        frame.push(&[0, 0]);
        frame.push(&options[..header - 20]);
        frame
    }

    /// The same as segments of `mss` bytes each, in one packet. IPv4 alone.
    pub fn tcp_segments(
        from: SocketAddr,
        to: SocketAddr,
        control: &Control,
        length: usize,
        mss: u16,
    ) -> Self {
        const TCP_V4: u8 = 1;
        let mut frame = Self::tcp(from, to, control, length);
        frame.bytes[1] = TCP_V4;
        let header = u16::try_from(frame.length - PREFIX).unwrap_or(u16::MAX);
        frame.bytes[2..4].copy_from_slice(&header.to_ne_bytes());
        frame.bytes[4..6].copy_from_slice(&mss.to_ne_bytes());
        frame
    }

    /// A datagram with `length` bytes of payload to follow.
    pub fn udp(from: SocketAddr, to: SocketAddr, length: usize) -> Self {
        let mut frame = Self::ip(from.ip(), to.ip(), protocol::UDP, 8 + length);
        frame.unfinished(6);
        let sum = pseudo(from.ip(), to.ip(), protocol::UDP, 8 + length);
        frame.push(&from.port().to_be_bytes());
        frame.push(&to.port().to_be_bytes());
        frame.push(&short(8 + length));
        frame.push(&fold(sum).to_be_bytes());
        frame
    }

    /// The answer to a request for an echo; `payload` follows.
    pub fn echo_reply(from: IpAddr, to: IpAddr, ident: u16, sequence: u16, payload: &[u8]) -> Self {
        let kind = if from.is_ipv4() { 0 } else { 129 };
        let [a, b] = ident.to_be_bytes();
        let [c, d] = sequence.to_be_bytes();
        Self::icmp(from, to, [kind, 0], [a, b, c, d], payload)
    }

    /// An error; what follows is [`Quoted`].
    pub fn unreachable(from: IpAddr, why: Unreachable, quote: &Quote) -> (Self, Quoted) {
        let most = if let Unreachable::TooBig(mtu) = why { u32::from(mtu) } else { 0 };
        let code = match (why, from.is_ipv4()) {
            (Unreachable::TooBig(_), true) => [3, 4],
            (Unreachable::TooBig(_), false) => [2, 0],
            (Unreachable::Network, true) => [3, 0],
            (Unreachable::Host, true) => [3, 1],
            (Unreachable::Protocol, true) => [3, 2],
            (Unreachable::Port, true) => [3, 3],
            (Unreachable::Prohibited, true) => [3, 13],
            (Unreachable::Network, false) => [1, 0],
            (Unreachable::Prohibited, false) => [1, 1],
            (Unreachable::Host, false) => [1, 3],
            (Unreachable::Port, false) => [1, 4],
            // Unknown next header.
            (Unreachable::Protocol, false) => [4, 1],
        };
        let inner = Self::ip(quote.from, quote.to, quote.protocol, 8);
        let mut quoted = Quoted { bytes: [0; 48], length: 0 };
        let header = &inner.bytes()[PREFIX..];
        quoted.length = header.len() + 8;
        quoted.bytes[..header.len()].copy_from_slice(header);
        quoted.bytes[header.len()..quoted.length].copy_from_slice(&quote.first);
        let frame = Self::icmp(from, quote.from, code, most.to_be_bytes(), quoted.bytes());
        (frame, quoted)
    }

    fn icmp(from: IpAddr, to: IpAddr, kind: [u8; 2], more: [u8; 4], payload: &[u8]) -> Self {
        let is_v4 = from.is_ipv4();
        let protocol = if is_v4 { protocol::ICMP } else { protocol::ICMPV6 };
        let length = 8 + payload.len();
        let mut frame = Self::ip(from, to, protocol, length);
        // Only IPv6 sums its addresses too.
        let above = if is_v4 { 0 } else { pseudo(from, to, protocol, length) };
        let sum = fold(above + sum(&kind) + sum(&more) + sum(payload));
        frame.push(&kind);
        frame.push(&(!sum).to_be_bytes());
        frame.push(&more);
        frame
    }
}

/// The beginning of a packet, as it stands in an error about it.
#[derive(Debug, Clone, Copy)]
pub struct Quoted {
    bytes: [u8; 48],
    length: usize,
}

impl Quoted {
    /// IP header and eight bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// A length as a header has it; none here is longer than the link's MTU.
fn short(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn pseudo(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> u64 {
    let addresses = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => sum(&from.octets()) + sum(&to.octets()),
        (from, to) => sum(&octets(from)) + sum(&octets(to)),
    };
    addresses + u64::from(protocol) + u64::try_from(length).unwrap_or_default()
}

/// The sum of RFC 1071, not folded: big-endian words, the last padded.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let whole: u64 = words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum();
    whole + rest.first().map_or(0, |last| u64::from(*last) << 8)
}

fn fold(mut sum: u64) -> u16 {
    loop {
        match u16::try_from(sum) {
            Ok(folded) => return folded,
            Err(_) => sum = (sum & 0xffff) + (sum >> 16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::user::packet::{Body, parse};

    fn addresses() -> [(SocketAddr, SocketAddr); 2] {
        [("192.0.2.1:80", "10.0.2.100:40000"), ("[2001:db8::1]:80", "[fd00::100]:40000")]
            .map(|(from, to)| (from.parse().unwrap(), to.parse().unwrap()))
    }

    #[test]
    fn what_is_built_is_read_back() {
        let control = Control {
            seq: 1,
            ack: 2,
            flags: Flags::SYN.and(Flags::ACK),
            window: 3,
            options: Some((65480, Some(7))),
        };
        for (from, to) in addresses() {
            let mut bytes = Frame::tcp(from, to, &control, 2).bytes()[PREFIX..].to_vec();
            bytes.extend(b"ab");
            let packet = parse(&bytes).unwrap();
            let Body::Tcp(segment) = packet.body else { panic!("{packet:?}") };
            assert_eq!(packet.ends(segment.source, segment.destination), (from, to));
            assert_eq!((segment.seq, segment.ack, segment.window), (1, 2, 3));
            assert_eq!((segment.mss, segment.scale), (Some(65480), Some(7)));
            assert_eq!((segment.flags, segment.payload), (control.flags, &b"ab"[..]));
            let mut bytes = Frame::udp(from, to, 3).bytes()[PREFIX..].to_vec();
            bytes.extend(b"abc");
            let Body::Udp(datagram) = parse(&bytes).unwrap().body else { panic!() };
            assert_eq!(datagram.payload, b"abc");
        }
    }

    #[test]
    fn segments_in_one_packet_say_how_long_each_is() {
        let [(from, to), _] = addresses();
        let control = Control { seq: 1, ack: 2, flags: Flags::ACK, window: 3, options: None };
        for (length, total) in [(2_000, 2_040), (65_495, 65_535), (65_496, 0), (300_000, 0)] {
            let frame = Frame::tcp_segments(from, to, &control, length, 1_000);
            let (prefix, ip) = frame.bytes().split_at(PREFIX);
            let of = |at: usize| u16::from_ne_bytes([prefix[at], prefix[at + 1]]);
            // Unfinished sum at 20 + 16; TCP of IPv4, header, segment.
            assert_eq!((prefix[0], of(6), of(8)), (1, 20, 16));
            assert_eq!((prefix[1], of(2), of(4)), (1, 40, 1_000));
            assert_eq!(u16::from_be_bytes([ip[2], ip[3]]), total, "{length}");
            assert_eq!(fold(sum(&ip[..20])), 0xffff);
        }
    }

    #[test]
    fn sums_are_what_a_receiver_expects() {
        for (from, to) in addresses() {
            let payload = b"odd";
            let frame = Frame::echo_reply(from.ip(), to.ip(), 1, 2, payload);
            let header = if from.is_ipv4() { 20 } else { 40 };
            let mut bytes = frame.bytes()[PREFIX..].to_vec();
            bytes.extend(payload);
            let (ip, icmp) = bytes.split_at(header);
            if from.is_ipv4() {
                assert_eq!((fold(sum(ip)), fold(sum(icmp))), (0xffff, 0xffff));
            } else {
                let above = pseudo(from.ip(), to.ip(), protocol::ICMPV6, icmp.len());
                assert_eq!(fold(above + sum(icmp)), 0xffff);
            }
        }
    }

    #[test]
    fn an_error_quotes_the_packet_it_is_about() {
        for (to, from) in addresses() {
            let quote = Quote::of_ports(from, to, protocol::TCP, 7);
            let (frame, quoted) = Frame::unreachable(to.ip(), Unreachable::Host, &quote);
            assert_eq!(quoted.bytes().len(), if from.is_ipv4() { 28 } else { 48 });
            let kind = frame.bytes()[frame.bytes().len() - 8];
            assert_eq!(kind, if from.is_ipv4() { 3 } else { 1 });
            let first = &quoted.bytes()[quoted.bytes().len() - 8..];
            assert_eq!(first[..2], from.port().to_be_bytes());
        }
    }
}
