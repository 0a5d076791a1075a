//! Flows without a connection: UDP between two ports, and echoes of one `ping`.
//!
//! Each that the payload began has a socket of the host that is connected to its one peer, so that nobody else's
//! datagrams come in, and what goes wrong is told. One that a client began goes by the published port it
//! came to, to that client alone.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use std::io::IoSlice;

use super::frame::{Frame, Quote};
use super::link::{Link, unreachable};
use super::pace::{DATAGRAM, Direction, Pace, Queue};
use super::packet::{Echo, protocol};
use super::stream::Ends;
use crate::sys::datagram;
use crate::sys::errno::Errno;

/// Datagrams that one turn moves.
const TURN: usize = 64;

/// A flow that was answered lives this long after its last datagram; RFC 4787 asks for two minutes.
const ANSWERED: Duration = Duration::from_mins(3);
/// One that was not.
const UNANSWERED: Duration = Duration::from_mins(1);
/// A look-up that was answered has nothing more to say.
const LOOKED_UP: Duration = Duration::from_secs(5);

/// What is exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UDP.
    Udp,
    /// Echoes of one sender inside.
    Echo {
        /// Its number, which the host's kernel replaces by its own.
        ident: u16,
    },
}

/// Names a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Both ends; without ports for echoes.
    pub ends: Ends,
    /// What.
    pub kind: Kind,
}

/// Who began a flow by coming to a published port.
#[derive(Debug, Clone)]
pub struct Client {
    /// The port's socket.
    pub socket: Rc<OwnedFd>,
    /// Its number among the published ones.
    pub door: usize,
    /// The client, as the host sees it.
    pub address: SocketAddr,
    /// Which of our addresses it came to.
    pub to: Option<IpAddr>,
}

/// By which socket a flow goes.
#[derive(Debug)]
enum Way {
    Own(OwnedFd),
    Published(Client),
}

/// See the module.
#[derive(Debug)]
pub struct Datagrams {
    key: Key,
    way: Way,
    last: Instant,
    answered: bool,
    /// What waits for its turn, where a rate is set.
    pub paced: Option<Box<Queue>>,
    /// Whether it stands in the engine's list of work.
    pub queued: bool,
}

impl Datagrams {
    /// A flow whose first datagram is about to be sent.
    pub fn new(key: Key, socket: OwnedFd, now: Instant) -> Self {
        Self { key, way: Way::Own(socket), last: now, answered: false, paced: None, queued: false }
    }

    /// A flow that a client began.
    pub fn inbound(key: Key, client: Client, now: Instant) -> Self {
        Self {
            key,
            way: Way::Published(client),
            last: now,
            answered: false,
            paced: None,
            queued: false,
        }
    }

    /// Who began it, where that was not the payload.
    pub fn client(&self) -> Option<&Client> {
        match &self.way {
            Way::Own(_) => None,
            Way::Published(client) => Some(client),
        }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.key.kind
    }

    /// Both ends.
    pub fn ends(&self) -> Ends {
        self.key.ends
    }

    /// Notes that its client came again, to this address of ours.
    pub fn heard(&mut self, to: Option<IpAddr>, now: Instant) {
        self.last = now;
        if let Way::Published(client) = &mut self.way {
            client.to = to;
        }
    }

    /// When it was used last.
    pub fn last(&self) -> Instant {
        self.last
    }

    /// Whether nobody waits for more of it.
    pub fn is_over(&self, now: Instant) -> bool {
        let lookup = self.key.ends.outside.port() == 53 && self.client().is_none();
        let life = match (self.answered, lookup) {
            (true, true) => LOOKED_UP,
            (true, false) => ANSWERED,
            (false, _) => UNANSWERED,
        };
        now.saturating_duration_since(self.last) > life
    }

    /// Sends a datagram of the payload.
    fn send_udp(&mut self, payload: &[u8], link: &Link, now: Instant) {
        self.last = now;
        let sent = match &self.way {
            Way::Own(socket) => {
                let sent = again(|| rustix::net::send(socket, payload, SendFlags::NOSIGNAL));
                sent.map(drop).map_err(Errno::from)
            }
            Way::Published(client) => {
                self.answered = true;
                datagram::send(&client.socket, payload, client.address, client.to)
            }
        };
        self.told(sent, payload.len(), link);
    }

    /// Sends a request of the payload for an echo.
    fn send_echo(&mut self, echo: &Echo<'_>, link: &Link, now: Instant) {
        self.last = now;
        let Way::Own(socket) = &self.way else { return };
        let kind = if self.key.ends.outside.is_ipv4() { 8 } else { 128 };
        let [a, b] = echo.sequence.to_be_bytes();
        // Sum and number are the kernel's to fill in.
        let header = [kind, 0, 0, 0, 0, 0, a, b];
        let pieces = [IoSlice::new(&header), IoSlice::new(echo.payload)];
        let sent = again(|| {
            let mut nothing = SendAncillaryBuffer::default();
            rustix::net::sendmsg(socket, &pieces, &mut nothing, SendFlags::NOSIGNAL)
        });
        self.told(sent.map(drop).map_err(Errno::from), echo.payload.len(), link);
    }

    /// Its socket, where it has one of its own.
    pub fn own(&self) -> Option<&OwnedFd> {
        match &self.way {
            Way::Own(socket) => Some(socket),
            Way::Published(_) => None,
        }
    }

    /// Sends a datagram of the payload; `number` is that of an echo.
    pub fn send(&mut self, number: u16, payload: &[u8], link: &Link, now: Instant) {
        match self.key.kind {
            Kind::Udp => self.send_udp(payload, link, now),
            Kind::Echo { ident } => {
                self.send_echo(&Echo { ident, sequence: number, payload }, link, now);
            }
        }
    }

    /// Sends what waits, as long as it is its turn.
    pub fn flush(&mut self, pace: &mut Pace, link: &Link, now: Instant) {
        while let Some((number, payload)) = self.paced.as_mut().and_then(|queue| queue.pop(pace)) {
            self.send(number, &payload, link, now);
        }
    }

    /// Takes what came from the host; whether there may be more at once.
    pub fn receive(
        &mut self,
        room: &mut [u8],
        link: &Link,
        now: Instant,
        mut pace: Option<&mut Pace>,
    ) -> bool {
        // Those of a published port are read by whoever has all of them.
        let Way::Own(socket) = &self.way else { return false };
        for _ in 0..TURN {
            let mut share = self.paced.as_mut().map(|queue| queue.shares.of(Direction::Down));
            if share.as_mut().is_some_and(|share| share.room(0) == 0) {
                return false;
            }
            match rustix::net::recv(socket, &mut *room, RecvFlags::empty()) {
                Ok((_, length)) => {
                    if let (Some(share), Some(pace)) = (share, pace.as_mut()) {
                        share.spend(length + DATAGRAM);
                        pace.down.spend(length + DATAGRAM);
                    }
                    self.last = now;
                    self.answered = true;
                    self.pass(room.get(..length).unwrap_or_default(), link);
                }
                Err(rustix::io::Errno::AGAIN) => return false,
                // An error that waited: what it is about was sent before.
                Err(errno) => self.told(Err(errno.into()), 0, link),
            }
        }
        true
    }

    fn pass(&self, bytes: &[u8], link: &Link) {
        let Ends { inside, outside } = self.key.ends;
        match self.key.kind {
            Kind::Udp => link.send(&Frame::udp(outside, inside, bytes.len()), [bytes, &[]]),
            Kind::Echo { ident } => {
                let reply = if outside.is_ipv4() { 0 } else { 129 };
                let [kind, _, _, _, _, _, a, b, payload @ ..] = bytes else { return };
                if *kind == reply {
                    let sequence = u16::from_be_bytes([*a, *b]);
                    let (from, to): (IpAddr, IpAddr) = (outside.ip(), inside.ip());
                    let frame = Frame::echo_reply(from, to, ident, sequence, payload);
                    link.send(&frame, [payload, &[]]);
                }
            }
        }
    }

    /// Tells the payload of an error of the host.
    fn told(&self, outcome: Result<(), Errno>, length: usize, link: &Link) {
        if let Err(errno) = outcome {
            refuse(&self.key, length, errno, link);
        }
    }
}

/// The first error may be one that waited, of a datagram before: then this one is not sent yet.
fn again(mut send: impl FnMut() -> rustix::io::Result<usize>) -> rustix::io::Result<usize> {
    match send() {
        Err(rustix::io::Errno::CONNREFUSED) => send(),
        other => other,
    }
}

/// Tells the payload that a datagram of `length` bytes could not go.
pub fn refuse(key: &Key, length: usize, errno: Errno, link: &Link) {
    if let Some(why) = unreachable(errno) {
        link.send_unreachable(why, &quote(key, length));
    }
}

/// The beginning of a datagram as the payload sent it.
pub fn quote(key: &Key, length: usize) -> Quote {
    let Ends { inside, outside } = key.ends;
    match key.kind {
        Kind::Udp => {
            let length = u16::try_from(length + 8).unwrap_or(u16::MAX);
            let more = u32::from(length) << 16;
            Quote::of_ports(inside, outside, protocol::UDP, more)
        }
        Kind::Echo { ident } => {
            let is_v4 = inside.is_ipv4();
            let (kind, number) = if is_v4 { (8, protocol::ICMP) } else { (128, protocol::ICMPV6) };
            let [a, b] = ident.to_be_bytes();
            let first = [kind, 0, 0, 0, a, b, 0, 0];
            Quote { from: inside.ip(), to: outside.ip(), protocol: number, first }
        }
    }
}

/// The ends of a flow that has no ports.
pub fn portless(inside: IpAddr, outside: IpAddr) -> Ends {
    Ends { inside: SocketAddr::new(inside, 0), outside: SocketAddr::new(outside, 0) }
}
