//! What each packet of the payload leads to.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::event::epoll;

use super::{Engine, Source};
use crate::net::egress::{Destination, Egress, Verdict};
use crate::net::user::datagrams::{self, Datagrams, Key, Kind};
use crate::net::user::dial::{Dial, Progress};
use crate::net::user::endpoint::Endpoint;
use crate::net::user::frame::{Frame, Quote, Unreachable};
use crate::net::user::packet::{Body, Flags, Packet, Segment};
use crate::net::user::stream::{self, Ends, Stream};
use crate::net::user::table::Token;
use crate::spec::net::Prefix;
use crate::sys::errno::{Errno, Result};

impl<E: Egress, D: Dial> Engine<E, D> {
    /// Whether packets may come from there.
    fn is_source(&self, address: IpAddr) -> bool {
        self.inside.is_source(address) || self.link.leads_to(address)
    }

    /// Whether a packet is taken. A source that is not the sandbox's is forged.
    pub(super) fn is_its_turn(&mut self, packet: &Packet<'_>) -> bool {
        if !self.is_source(packet.from) {
            return false;
        }
        let streams = &self.streams;
        let stands = || match packet.body {
            Body::Tcp(segment) => {
                let (inside, outside) = packet.ends(segment.source, segment.destination);
                streams.find(&Ends { inside, outside }).is_some()
            }
            _ => false,
        };
        !self.link.is_shared() || self.turns.takes(packet.from, stands, self.now)
    }

    /// Takes one packet of the payload.
    pub(super) fn take(&mut self, packet: &Packet<'_>) {
        match packet.body {
            Body::Tcp(segment) => {
                let (inside, outside) = packet.ends(segment.source, segment.destination);
                self.take_segment(Ends { inside, outside }, &segment);
            }
            Body::Udp(datagram) => {
                let (inside, outside) = packet.ends(datagram.source, datagram.destination);
                if self.is_too_fast(outside) {
                    return;
                }
                if self.egress.take(Ends { inside, outside }, datagram.payload) {
                    return self.give();
                }
                let key = Key { ends: Ends { inside, outside }, kind: Kind::Udp };
                let to = Destination::Udp(outside);
                if let Some(token) = self.flow(key, to, datagram.payload.len()) {
                    self.pass_out(token, 0, datagram.payload);
                }
            }
            Body::Echo(echo) => {
                let ends = datagrams::portless(packet.from, packet.to);
                let key = Key { ends, kind: Kind::Echo { ident: echo.ident } };
                let to = Destination::Echo(packet.to);
                if let Some(token) = self.flow(key, to, echo.payload.len()) {
                    self.pass_out(token, echo.sequence, echo.payload);
                }
            }
            // Nobody waits for an answer to what its kernel tells everybody.
            Body::Other(..) | Body::Cut(..) if !Prefix::single(packet.to).has_hosts() => {}
            Body::Other(protocol, first) => {
                self.tell(packet, protocol, first, Unreachable::Protocol);
            }
            Body::Cut(protocol, first) => {
                let most = self.inside.mtu;
                self.tell(packet, protocol, first, Unreachable::TooBig(most));
            }
        }
    }

    fn tell(&self, packet: &Packet<'_>, protocol: u8, first: [u8; 8], why: Unreachable) {
        let quote = Quote { from: packet.from, to: packet.to, protocol, first };
        self.link.send_unreachable(why, &quote);
    }

    /// Passes on what the name server says.
    pub(super) fn give(&mut self) {
        self.count_names();
        while let Some((ends, bytes)) = self.egress.give() {
            let Ends { inside, outside } = ends;
            self.link.send(&Frame::udp(outside, inside, bytes.len()), [&bytes, &[]]);
        }
    }

    fn take_segment(&mut self, ends: Ends, segment: &Segment<'_>) {
        if let Some(token) = self.streams.find(&ends) {
            return self.act(token, |stream, means| {
                stream.heard = Some(means.now);
                stream.receive(segment, means)
            });
        }
        let opens = segment.flags.has(Flags::SYN) && !segment.flags.has(Flags::ACK);
        if opens {
            self.ended.remove(&ends);
            return self.open(ends, segment);
        }
        if segment.flags.has(Flags::RST) {
            self.ended.remove(&ends);
        } else if let Some(control) = self.ended.answer(&ends) {
            self.link.send_tcp(ends.outside, ends.inside, &control, [&[], &[]]);
        } else {
            let length = u32::try_from(segment.payload.len()).unwrap_or(0);
            let ack = segment.seq.wrapping_add(length);
            let seq = if segment.flags.has(Flags::ACK) { segment.ack } else { 0 };
            stream::send_reset(&ends, seq, ack, &self.link);
        }
    }

    /// What becomes of a new flow. Nobody but one host is a destination, whatever the policy says.
    fn judge(&mut self, from: IpAddr, to: Destination) -> Verdict {
        match self.egress.open(from, to) {
            _ if !Prefix::single(to.address()).has_hosts() => Verdict::Deny,
            verdict => verdict,
        }
    }

    /// A connection that the payload asks for.
    fn open(&mut self, ends: Ends, syn: &Segment<'_>) {
        let from = ends.inside.ip();
        let is_crowd = self.dialling >= self.most.dialling;
        let instead = is_crowd.then(|| self.dials_less(from)).flatten();
        if !self.has_room(from) || is_crowd && instead.is_none() || !self.may_open() {
            return;
        }
        let mut is_ours = false;
        let (dialled, inspect) = match self.judge(from, Destination::Tcp(ends.outside)) {
            Verdict::Allow(to) => (self.dial.tcp(to), None),
            Verdict::Inspect(to, inspect) => (self.dial.tcp(to), Some(inspect)),
            Verdict::Names => {
                is_ours = true;
                let given = self.egress.connect(from).ok_or(Errno::ECONNREFUSED);
                (given.map(|socket| (socket, Progress::Connected)), None)
            }
            Verdict::Closed => {
                return stream::refuse_syn(&ends, syn.seq, Errno::ECONNREFUSED, &self.link);
            }
            Verdict::Deny => {
                return stream::refuse_syn(&ends, syn.seq, Errno::EACCES, &self.link);
            }
        };
        let added = dialled.and_then(|(socket, progress)| {
            self.make_room(from);
            self.watch_next(&socket)?;
            Ok((socket, progress))
        });
        let (socket, progress) = match added {
            Ok(added) => added,
            Err(errno) => return stream::refuse_syn(&ends, syn.seq, errno, &self.link),
        };
        let mss = self.inside.mss(ends.inside);
        let endpoint = Endpoint::passive(syn, self.first_number(), mss);
        if !is_ours {
            self.opened();
        }
        let mut stream = Stream::new(ends, socket, endpoint, mss, inspect);
        self.pace_stream(&mut stream);
        stream.notice(false, progress == Progress::Connected, false);
        let token = self.add_stream(stream);
        self.note_dial(token);
        self.outward += 1;
        if let Some(whose) = instead {
            self.end_dial(whose);
        }
        if progress == Progress::Connected {
            self.queue_stream(token);
        }
        self.see_home();
    }

    /// Watches the socket of the next stream.
    pub(super) fn watch_next(&self, socket: &OwnedFd) -> Result<()> {
        let token = self.streams.next();
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        Ok(epoll::add(&self.events, socket, Source::Stream(token).bits(), flags)?)
    }

    /// A step of a generator that nobody outside sees the state of (splitmix64).
    pub(super) fn first_number(&mut self) -> u32 {
        self.secret = self.secret.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.secret;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((mixed ^ mixed >> 31) >> 32).unwrap_or(0)
    }

    /// The flow of a datagram of `length` bytes; made when there is none. The policy may not want it.
    fn flow(&mut self, key: Key, to: Destination, length: usize) -> Option<Token> {
        match self.datagrams.find(&key) {
            Some(token) => Some(token),
            None => self.open_flow(key, to, length),
        }
    }

    fn open_flow(&mut self, key: Key, to: Destination, length: usize) -> Option<Token> {
        let to = match self.judge(key.ends.inside.ip(), to) {
            Verdict::Allow(to) => to,
            verdict => {
                let errno = if matches!(verdict, Verdict::Closed) {
                    Errno::ECONNREFUSED
                } else {
                    Errno::EACCES
                };
                datagrams::refuse(&key, length, errno, &self.link);
                return None;
            }
        };
        let dialled = match key.kind {
            Kind::Udp => self.dial.udp(to),
            Kind::Echo { .. } => self.dial.echo(to.ip()),
        };
        if self.datagrams.is_full() && dialled.is_ok() {
            self.forget_quietest(key.ends.inside.ip());
        }
        let token = self.datagrams.next();
        let added = dialled.and_then(|socket| {
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(&self.events, &socket, Source::Datagrams(token).bits(), flags)?;
            Ok(socket)
        });
        match added {
            Ok(socket) => {
                self.outward += 1;
                let mut flow = Datagrams::new(key, socket, self.now);
                self.pace_flow(&mut flow);
                let token = self.datagrams.insert(key, flow);
                self.see_home();
                Some(token)
            }
            Err(errno) => {
                datagrams::refuse(&key, length, errno, &self.link);
                None
            }
        }
    }
}
