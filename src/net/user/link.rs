//! The link to the payload's kernel: one packet a call, in and out.

use std::cell::{Cell, RefCell};
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::capture::Capture;
use super::frame::{Control, Frame, PREFIX, Quote, Unreachable};
use crate::plan::traffic::Amount;
use crate::spec::net::Prefix;
use crate::sys::errno::{Errno, Result};

/// The longest packet, with its prefix.
const LONGEST: usize = PREFIX + 0xffff;

/// The most bytes of several segments in one packet. The kernel's own bound is 512 KiB; what a core's cache holds
/// is less.
const LARGEST: usize = 400 << 10;

/// The netstack's own addresses: from them come errors about what it does not pass on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gateway {
    /// Of IPv4.
    pub v4: IpAddr,
    /// Of IPv6.
    pub v6: IpAddr,
}

/// See the module.
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
    gateway: Gateway,
    lost: Cell<u64>,
    sent: Cell<Amount>,
    received: Cell<Amount>,
    large: Cell<Large>,
    /// Ranges of the network that it leads to.
    others: Vec<Prefix>,
    capture: Option<RefCell<Capture>>,
}

/// Whether packets of several segments get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Large {
    /// They do.
    Yes,
    /// One segment each.
    No,
}

/// Room for a packet that was read.
#[derive(Debug)]
pub struct Inbox(Box<[u8]>);

impl Default for Inbox {
    fn default() -> Self {
        Self(vec![0; LONGEST].into_boxed_slice())
    }
}

impl Inbox {
    /// The packet of a length that [`Link::read`] gave.
    pub fn packet(&self, length: usize) -> &[u8] {
        self.0.get(PREFIX..length).unwrap_or_default()
    }
}

impl Link {
    /// `fd` does not block, and has a header of virtio before each packet.
    pub fn new(fd: OwnedFd, gateway: Gateway, large: Large) -> Self {
        Self {
            fd,
            gateway,
            lost: Cell::new(0),
            sent: Cell::default(),
            received: Cell::default(),
            large: Cell::new(large),
            others: Vec::new(),
            capture: None,
        }
    }

    /// It leads to a network with these addresses, and not to one sandbox alone.
    pub(super) fn also_from(&mut self, ranges: &[Prefix]) {
        self.others = ranges.to_vec();
    }

    /// Whether it leads to a network.
    pub(super) fn is_shared(&self) -> bool {
        !self.others.is_empty()
    }

    /// Whether an address is one of that network.
    pub(super) fn leads_to(&self, address: IpAddr) -> bool {
        self.others.iter().any(|range| range.contains(address))
    }

    /// Writes down every packet from now on. Each has one segment then: a reader of the capture wants what any wire
    /// would carry.
    pub fn capture(&mut self, capture: Capture) {
        self.large.set(Large::No);
        self.capture = Some(RefCell::new(capture));
    }

    /// Packets that were to be written down, and are not.
    pub fn not_captured(&self) -> u64 {
        self.capture.as_ref().map_or(0, |capture| capture.borrow().left_out())
    }

    fn note(&self, packet: [&[u8]; 3]) {
        if let Some(capture) = &self.capture {
            capture.borrow_mut().add(packet);
        }
    }

    /// The next packet; none when there is none now.
    pub fn read(&self, inbox: &mut Inbox) -> Result<Option<usize>> {
        match rustix::io::read(&self.fd, &mut inbox.0[..]) {
            Ok(length) => {
                count(&self.sent, length);
                self.note([inbox.packet(length), &[], &[]]);
                Ok(Some(length))
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sends a packet. One that does not get through is lost, as on any link: TCP sends it again.
    pub fn send(&self, frame: &Frame, payload: [&[u8]; 2]) {
        if self.try_send(frame, payload).is_err() {
            self.lost.set(self.lost.get() + 1);
        }
    }

    fn try_send(&self, frame: &Frame, payload: [&[u8]; 2]) -> rustix::io::Result<usize> {
        let [first, second] = payload.map(IoSlice::new);
        let pieces = [IoSlice::new(frame.bytes()), first, second];
        let used = if payload[1].is_empty() { 2 } else { 3 };
        let written = rustix::io::writev(&self.fd, &pieces[..used])?;
        self.note([frame.bytes().get(PREFIX..).unwrap_or_default(), payload[0], payload[1]]);
        count(&self.received, written);
        Ok(written)
    }

    /// What went over it: from the payload, and to it.
    pub fn amounts(&self) -> (Amount, Amount) {
        (self.sent.get(), self.received.get())
    }

    /// How many packets did not get through.
    pub fn lost(&self) -> u64 {
        self.lost.get()
    }

    /// Sends a TCP segment.
    pub fn send_tcp(
        &self,
        from: SocketAddr,
        to: SocketAddr,
        control: &Control,
        payload: [&[u8]; 2],
    ) {
        let length = payload[0].len() + payload[1].len();
        self.send(&Frame::tcp(from, to, control, length), payload);
    }

    /// The most bytes that [`Self::send_segments`] takes for a connection with `from`.
    pub fn most_at_once(&self, from: SocketAddr, mss: u16) -> usize {
        match self.large.get() {
            Large::Yes if from.is_ipv4() => (LARGEST / usize::from(mss)).max(1) * usize::from(mss),
            Large::Yes | Large::No => usize::from(mss),
        }
    }

    /// Sends TCP segments of `mss` bytes in one packet, and the last of what is left; whether it got through. The
    /// kernel takes it only where it finds memory in one piece.
    pub fn send_segments(
        &self,
        (from, to): (SocketAddr, SocketAddr),
        control: &Control,
        mss: u16,
        payload: [&[u8]; 2],
    ) -> bool {
        let length = payload[0].len() + payload[1].len();
        let frame = Frame::tcp_segments(from, to, control, length, mss);
        self.try_send(&frame, payload).is_ok()
    }

    /// Tells that a packet did not get there.
    pub fn send_unreachable(&self, why: Unreachable, quote: &Quote) {
        let from = if quote.from.is_ipv4() { self.gateway.v4 } else { self.gateway.v6 };
        // Where nothing listens, or nothing is served, the host itself says so.
        let from = match why {
            Unreachable::Port | Unreachable::Protocol => quote.to,
            Unreachable::Network
            | Unreachable::Host
            | Unreachable::Prohibited
            | Unreachable::TooBig(_) => from,
        };
        let (frame, quoted) = Frame::unreachable(from, why, quote);
        self.send(&frame, [quoted.bytes(), &[]]);
    }
}

/// Counts a packet that has this length with its prefix.
fn count(amount: &Cell<Amount>, length: usize) {
    let Amount { packets, bytes } = amount.get();
    let length = u64::try_from(length.saturating_sub(PREFIX)).unwrap_or(0);
    amount.set(Amount { packets: packets.wrapping_add(1), bytes: bytes.wrapping_add(length) });
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What the payload is told about an error of a host's socket; nothing where waiting is the answer.
pub fn unreachable(errno: Errno) -> Option<Unreachable> {
    match errno {
        Errno::ECONNREFUSED => Some(Unreachable::Port),
        Errno::ENETUNREACH | Errno::ENETDOWN | Errno::EAFNOSUPPORT => Some(Unreachable::Network),
        Errno::EHOSTUNREACH | Errno::EHOSTDOWN | Errno::EINVAL => Some(Unreachable::Host),
        // A firewall of the host, or an address that nobody may send to.
        Errno::EACCES | Errno::EPERM => Some(Unreachable::Prohibited),
        Errno::EPROTONOSUPPORT => Some(Unreachable::Protocol),
        // Nobody answers (ETIMEDOUT), or the host is short of something: asked again, it may do.
        _ => None,
    }
}
