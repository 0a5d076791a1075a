//! The engine fed with raw packets, as a payload that may send any would: for tests and for fuzzing.
//!
//! Its link is a pair of sockets and so is every socket that it dials, so nothing of the machine's network is
//! touched.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::Inside;
use super::dial::{Dial, Progress};
use super::engine::{Engine, Most};
use super::frame::PREFIX;
use super::link::{Gateway, Inbox, Large, Link};
use crate::net::egress::{Destination, Egress, Verdict};
use crate::sys::errno::Result;

/// How many flows there may be.
pub const MOST: Most = Most { streams: 8, dialling: 4, datagrams: 4 };

/// The address of the payload.
pub const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 2, 100));

/// Lets everything through, and notes where it went.
#[derive(Debug, Default)]
struct Open;

impl Egress for Open {
    fn open(&mut self, _from: IpAddr, to: Destination) -> Verdict {
        match to {
            Destination::Tcp(to) | Destination::Udp(to) if to.port() % 7 == 1 => {
                if to.port() & 8 == 0 { Verdict::Deny } else { Verdict::Closed }
            }
            Destination::Tcp(to) | Destination::Udp(to) => Verdict::Allow(to),
            Destination::Echo(to) => Verdict::Allow(SocketAddr::new(to, 0)),
        }
    }
}

/// Sockets that lead to a pair's other end, which gives back what it gets.
#[derive(Debug, Default)]
struct Pairs {
    others: Vec<OwnedFd>,
    dialled: usize,
}

impl Pairs {
    fn pair(&mut self, kind: SocketType) -> Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None)?;
        self.dialled += 1;
        // The oldest hang up.
        if self.others.len() >= 16 {
            self.others.remove(0);
        }
        self.others.push(theirs);
        Ok(ours)
    }
}

impl Dial for Pairs {
    fn tcp(&mut self, _to: SocketAddr) -> Result<(OwnedFd, Progress)> {
        self.pair(SocketType::STREAM).map(|socket| (socket, Progress::Connected))
    }

    fn udp(&mut self, _to: SocketAddr) -> Result<OwnedFd> {
        self.pair(SocketType::DGRAM)
    }

    fn echo(&mut self, _to: IpAddr) -> Result<OwnedFd> {
        self.pair(SocketType::DGRAM)
    }
}

/// What became of some packets.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Flows that there were at most: streams and others.
    pub streams: usize,
    /// Of datagrams.
    pub datagrams: usize,
    /// Bytes of buffers at most.
    pub buffers: usize,
    /// Sockets that were made.
    pub dialled: usize,
    /// Packets that came back, each well-formed enough to be read.
    pub answers: usize,
}

/// Hands packets to an engine, one turn each. An error is one of the test's own sockets.
pub fn feed<'a>(packets: impl IntoIterator<Item = &'a [u8]>) -> Result<Outcome> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (link, payload) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let gateway = Gateway { v4: [10, 0, 2, 2].into(), v6: std::net::Ipv6Addr::LOCALHOST.into() };
    let v6 = std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x100);
    let inside = Inside { v4: OWN, v6: Some(v6.into()), mtu: 1500 };
    let link = Link::new(link, gateway, Large::No);
    let mut engine = Engine::new(link, inside, Open, Pairs::default(), MOST, 7)?;
    let mut inbox = Inbox::default();
    let mut outcome = Outcome::default();
    let mut answer = vec![0; 0x1_0000];
    for packet in packets {
        let mut bytes = vec![0; PREFIX];
        bytes.extend_from_slice(packet);
        rustix::net::send(&payload, &bytes, SendFlags::NOSIGNAL)?;
        engine.turn(&mut inbox)?;
        let (streams, datagrams, buffers) = engine.size();
        outcome.streams = outcome.streams.max(streams);
        outcome.datagrams = outcome.datagrams.max(datagrams);
        outcome.buffers = outcome.buffers.max(buffers);
        while let Ok((length, _)) =
            rustix::net::recv(payload.as_fd(), &mut answer[..], RecvFlags::empty())
        {
            outcome.answers += usize::from(length > PREFIX);
        }
    }
    outcome.dialled = engine.dial().dialled;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::user::frame::{Control, Frame};
    use crate::net::user::packet::Flags;
    use proptest::prelude::*;

    fn tcp(from: &str, to: &str, flags: Flags, payload: &[u8]) -> Vec<u8> {
        let control =
            Control { seq: 1, ack: 0, flags, window: 1000, options: Some((1460, Some(7))) };
        let frame = Frame::tcp(from.parse().unwrap(), to.parse().unwrap(), &control, payload.len());
        [&frame.bytes()[PREFIX..], payload].concat()
    }

    fn udp(from: &str, to: &str) -> Vec<u8> {
        Frame::udp(from.parse().unwrap(), to.parse().unwrap(), 0).bytes()[PREFIX..].to_vec()
    }

    fn outcome(packets: &[Vec<u8>]) -> Outcome {
        feed(packets.iter().map(Vec::as_slice)).unwrap()
    }

    #[test]
    fn a_forged_source_is_not_dialled_for() {
        let own = outcome(&[
            tcp("10.0.2.100:1", "192.0.2.1:80", Flags::SYN, b""),
            udp("10.0.2.100:1", "192.0.2.1:53"),
            tcp("[fd00::100]:1", "[2001:db8::1]:80", Flags::SYN, b""),
        ]);
        assert_eq!((own.dialled, own.answers), (3, 2), "the control: two connections accepted");
        let forged = outcome(&[
            tcp("10.0.2.101:1", "192.0.2.1:80", Flags::SYN, b""),
            udp("192.0.2.7:1", "192.0.2.1:53"),
            tcp("[fd00::101]:1", "[2001:db8::1]:80", Flags::SYN, b""),
        ]);
        assert_eq!(forged, Outcome::default());
    }

    #[test]
    fn nobody_but_one_host_is_a_destination() {
        for to in ["224.0.0.1:80", "255.255.255.255:80", "0.0.0.0:80"] {
            // Both are told.
            let packets = [tcp("10.0.2.100:1", to, Flags::SYN, b""), udp("10.0.2.100:1", to)];
            let told = Outcome { answers: 2, ..Outcome::default() };
            assert_eq!(outcome(&packets), told, "{to}");
        }
        let told = Outcome { answers: 1, ..Outcome::default() };
        assert_eq!(outcome(&[udp("[fd00::100]:1", "[ff02::1]:9")]), told);
        let mut group = udp("10.0.2.100:1", "224.0.0.22:0");
        group[9] = 2;
        assert_eq!(outcome(&[group]), Outcome::default(), "what a kernel says to its link");
    }

    #[test]
    fn a_fragment_or_an_option_opens_nothing() {
        let good = udp("10.0.2.100:1", "192.0.2.1:53");
        assert_eq!(outcome(std::slice::from_ref(&good)).dialled, 1);
        for (at, value, answers) in [(6, 0x20, 1), (7, 8, 0), (0, 0x46, 0)] {
            let mut bad = good.clone();
            bad[at] = value;
            let told = Outcome { answers, ..Outcome::default() };
            assert_eq!(outcome(&[bad]), told, "byte {at}");
        }
    }

    #[test]
    fn a_flood_of_flows_stays_below_the_ceilings() {
        let syn = |port: u16| tcp(&format!("10.0.2.100:{port}"), "192.0.2.1:80", Flags::SYN, b"");
        let flood: Vec<Vec<u8>> = (1..2000).map(syn).collect();
        let streams = outcome(&flood);
        assert!(streams.streams <= MOST.streams && streams.dialled < 2000, "{streams:?}");
        let datagram = |port: u16| udp(&format!("10.0.2.100:{port}"), "192.0.2.1:53");
        let flood: Vec<Vec<u8>> = (1..2000).map(datagram).collect();
        let datagrams = outcome(&flood);
        assert_eq!((datagrams.datagrams, datagrams.dialled), (MOST.datagrams, 1999));
    }

    fn any_packet() -> impl Strategy<Value = Vec<u8>> {
        let port = 1u16..6;
        let shaped = (port.clone(), port, any::<u8>(), 0usize..40, any::<bool>()).prop_map(
            |(from, to, flags, length, is_tcp)| {
                let (from, to) = (format!("10.0.2.100:{from}"), format!("192.0.2.1:{to}"));
                let flags = Flags(flags & 0x1f);
                if is_tcp { tcp(&from, &to, flags, &vec![7; length]) } else { udp(&from, &to) }
            },
        );
        let changed =
            (shaped.clone(), any::<u8>(), any::<u8>()).prop_map(|(mut bytes, at, value)| {
                let at = usize::from(at) % bytes.len();
                bytes[at] = value;
                bytes
            });
        prop_oneof![3 => shaped, 2 => changed, 1 => proptest::collection::vec(any::<u8>(), 1..80)]
    }

    proptest! {
        #[test]
        fn no_packets_make_it_panic_or_grow(packets in proptest::collection::vec(any_packet(), 1..80)) {
            let found = outcome(&packets);
            prop_assert!(found.streams <= MOST.streams && found.datagrams <= MOST.datagrams);
            prop_assert!(found.buffers <= (MOST.streams * 2) << 20);
        }
    }
}
