//! Clients of published ports: accepted outside, then asked for inside.
//!
//! # Theory of operation
//! A connection is accepted on the host and becomes a stream that asks the payload: one that refuses makes a
//! reset. A datagram opens a flow that goes back to its sender through the port it came by, as long as the
//! flow lives; no flow, no way back, so that nothing but an answer leaves by a published port.
//!
//! # Decisions
//! - Clients take a part of the flows at most, so that the payload can still talk. Connections above it wait in the
//!   kernel's queue, whose length is bounded; datagrams are lost. Those of a sandbox that has most make room for
//!   those of another; of datagrams also those of a client that has most.
//! - A port belongs to one sandbox behind the link, and is closed when that one has left.
//! - Two clients that would have the same ends inside (on loopback, or by two ports for one) are told apart by
//!   their port, which the second one does not keep.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::net::{SocketFlags, sockopt};

use super::{Engine, Source};
use crate::net::egress::{Egress, Ends};
use crate::net::fair::Held;
use crate::net::user::Inside;
use crate::net::user::datagrams::{Client, Datagrams, Key, Kind};
use crate::net::user::dial::Dial;
use crate::net::user::endpoint::Endpoint;
use crate::net::user::frame::Frame;
use crate::net::user::pace::{DATAGRAM, Direction, Share};
use crate::net::user::published::{Faces, Published};
use crate::net::user::stream::{Fate, Means, Stream};
use crate::net::user::table::Token;
use crate::spec::net::Transport;
use crate::sys::datagram::{self, Came};
use crate::sys::errno::{Errno, Result};

/// Connections or datagrams that one turn takes from one port.
const TURN: usize = 64;

/// How long nobody is accepted when the host is short of something.
const PAUSE: Duration = Duration::from_millis(200);

/// Flows that are quiet for so long make room for others.
const QUIET: Duration = Duration::from_secs(5);

/// Ports that are tried for a client that cannot keep its own.
const TRIES: usize = 64;

/// One published port.
#[derive(Debug)]
struct Door {
    socket: Rc<OwnedFd>,
    transport: Transport,
    port: u16,
    /// Whose it is.
    inside: Inside,
    /// Somebody may be waiting.
    knocked: bool,
    /// What may come in by it, where a rate is set.
    share: Share,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Doors {
    faces: Option<Faces>,
    /// By their numbers; none where one was closed.
    list: Vec<Option<Door>>,
    /// Streams of clients: to whom.
    pub(super) streams: Held,
    /// The flows of clients: by port and address.
    pub(super) flows: HashMap<(usize, SocketAddr), Token>,
    paused: Option<Instant>,
    next_look: Option<Instant>,
}

impl Doors {
    /// When somebody is to be let in, where somebody may be waiting.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let waits = self.list.iter().flatten().any(|door| door.knocked);
        waits.then(|| self.paused.unwrap_or(now))
    }

    /// Notes that somebody may be waiting.
    pub(super) fn knock(&mut self, door: usize) {
        if let Some(Some(door)) = self.list.get_mut(door) {
            door.knocked = true;
        }
    }

    fn at(&self, number: usize) -> Option<&Door> {
        self.list.get(number)?.as_ref()
    }

    /// Whose a port is.
    pub(super) fn leads_to(&self, number: usize) -> Option<IpAddr> {
        self.at(number).map(|door| door.inside.v4)
    }

    /// How many ports there are or were.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether one is open.
    pub(super) fn is_open(&self, number: usize) -> bool {
        self.at(number).is_some()
    }

    /// What may come in by a port, where a rate is set.
    pub(super) fn share(&mut self, door: usize) -> Option<&mut Share> {
        self.list.get_mut(door)?.as_mut().map(|door| &mut door.share)
    }

    /// Nobody comes in any more.
    pub(super) fn close(&mut self) {
        self.list.clear();
    }

    /// Nobody comes in any more to who has one of these addresses; the numbers of the ports that are closed.
    pub(super) fn close_of(&mut self, gone: &[IpAddr]) -> Vec<usize> {
        let places = self.list.iter_mut().enumerate();
        let closed = places.filter_map(|(number, place)| {
            place.take_if(|door| gone.contains(&door.inside.v4)).map(|_| number)
        });
        closed.collect()
    }

    /// Notes that a flow is gone.
    pub(super) fn forget(&mut self, flow: &Datagrams) {
        if let Some(Client { door, address, .. }) = flow.client() {
            self.flows.remove(&(*door, *address));
        }
    }
}

impl<E: Egress, D: Dial> Engine<E, D> {
    /// Lets clients in, who appear to the payload as `faces` says.
    pub fn publish(&mut self, faces: Faces, published: Vec<Published>) -> Result<()> {
        let inside = faces.inside;
        self.doors.faces = Some(faces);
        published.into_iter().try_for_each(|one| self.open_door(one, inside))
    }

    /// Lets clients in by one more port, to who has these addresses.
    pub fn open_door(&mut self, published: Published, inside: Inside) -> Result<()> {
        let Published { socket, transport, port } = published;
        let list = &mut self.doors.list;
        let number = list.iter().position(Option::is_none).unwrap_or(list.len());
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&self.events, &socket, Source::Door(number).bits(), flags)?;
        let door = Some(Door {
            socket: Rc::new(socket),
            transport,
            port,
            inside,
            knocked: true,
            share: Share::default(),
        });
        match list.get_mut(number) {
            Some(place) => *place = door,
            None => list.push(door),
        }
        Ok(())
    }

    /// Sees to the ports where somebody may be waiting.
    pub(super) fn see_to_doors(&mut self) {
        if self.doors.paused.is_some_and(|until| until > self.now) {
            return;
        }
        self.doors.paused = None;
        for number in 0..self.doors.list.len() {
            let Some(door) = self.doors.at(number).filter(|door| door.knocked) else {
                continue;
            };
            let left = match door.transport {
                Transport::Tcp => self.accept(number),
                Transport::Udp if self.pace.is_some() => self.line_up_door(number),
                Transport::Udp => self.hear(number),
            };
            if let Some(Some(door)) = self.doors.list.get_mut(number) {
                door.knocked = left;
            }
        }
    }

    /// Accepts who waits; whether there may be more.
    fn accept(&mut self, number: usize) -> bool {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        for _ in 0..TURN {
            let Some(door) = self.doors.at(number) else { return false };
            let to = (door.inside, door.port);
            if !self.has_client_room(to.0.v4) || !self.may_open() {
                self.doors.paused = Some(self.now + PAUSE);
                return true;
            }
            let Some(door) = self.doors.at(number) else { return false };
            match rustix::net::acceptfrom_with(&door.socket, flags) {
                Ok((socket, Some(client))) => {
                    if let Ok(client) = SocketAddr::try_from(client) {
                        self.admit(socket, client, to);
                    }
                }
                Err(rustix::io::Errno::AGAIN) => return false,
                Err(
                    rustix::io::Errno::MFILE
                    | rustix::io::Errno::NFILE
                    | rustix::io::Errno::NOBUFS
                    | rustix::io::Errno::NOMEM,
                ) => {
                    self.doors.paused = Some(self.now + PAUSE);
                    return true;
                }
                // Gone again, or a mishap of its own network: accept(2).
                Ok((_, None)) | Err(_) => {}
            }
        }
        true
    }

    /// Asks the payload for the connection of a client. One that cannot be had is closed.
    fn admit(&mut self, socket: OwnedFd, client: SocketAddr, to: (Inside, u16)) {
        let Some(ends) =
            self.free_ends(client, to, |engine, ends| engine.streams.find(ends).is_none())
        else {
            return;
        };
        self.make_client_room(to.0.v4);
        let kept = sockopt::set_tcp_nodelay(&socket, true)
            .and_then(|()| sockopt::set_socket_keepalive(&socket, true));
        if kept.is_err() || self.watch_next(&socket).is_err() {
            return;
        }
        self.ended.remove(&ends);
        let mss = self.inside.mss(ends.inside);
        let endpoint = Endpoint::active(self.first_number(), mss);
        self.opened();
        let mut stream = Stream::inbound(ends, socket, endpoint, mss);
        self.pace_stream(&mut stream);
        let token = self.add_stream(stream);
        self.inward += 1;
        let means = Means { link: &self.link, pool: &mut self.pool, pace: None, now: self.now };
        if let Some(stream) = self.streams.get(token) {
            stream.ask(&means);
        }
        self.settle(token, Fate::Waits);
    }

    /// The ends of a client's flow as the payload sees them, which no other flow has.
    fn free_ends(
        &mut self,
        client: SocketAddr,
        (inside, port): (Inside, u16),
        is_free: impl Fn(&Self, &Ends) -> bool,
    ) -> Option<Ends> {
        let (inside, outside) = self.doors.faces.as_ref()?.ends(inside, client, port);
        let mut ends = Ends { inside, outside };
        for _ in 0..TRIES {
            if is_free(self, &ends) {
                return Some(ends);
            }
            // Above those of services.
            let other = self.first_number() % (0x1_0000 - 1024) + 1024;
            ends.outside.set_port(u16::try_from(other).unwrap_or(u16::MAX));
        }
        None
    }

    /// Takes the datagrams that came; whether there may be more.
    pub(super) fn hear(&mut self, number: usize) -> bool {
        for _ in 0..TURN {
            let Some(Some(door)) = self.doors.list.get_mut(number) else { return false };
            if self.pace.is_some() && door.share.room(0) == 0 {
                return false;
            }
            match datagram::receive(&door.socket, &mut self.room) {
                Ok(came) => {
                    if self.pace.is_some() {
                        door.share.spend(came.length + DATAGRAM);
                    }
                    self.count(Direction::Down, came.length + DATAGRAM);
                    self.pass_in(number, came);
                }
                Err(Errno::EAGAIN) => return false,
                Err(_) => {}
            }
        }
        true
    }

    /// Passes a datagram of a client on; the first one opens a flow.
    fn pass_in(&mut self, door: usize, came: Came) {
        let known = self.doors.flows.get(&(door, came.client)).copied();
        let Some(token) = known.or_else(|| self.open_inbound(door, came)) else { return };
        let now = self.now;
        let Some(flow) = self.datagrams.get(token) else { return };
        flow.heard(came.to, now);
        let Ends { inside, outside } = flow.ends();
        let bytes = self.room.get(..came.length).unwrap_or_default();
        self.link.send(&Frame::udp(outside, inside, bytes.len()), [bytes, &[]]);
    }

    fn open_inbound(&mut self, number: usize, came: Came) -> Option<Token> {
        let inside = self.doors.at(number)?.inside.v4;
        let is_crowd = self.doors.flows.len() >= self.most.datagrams / 4 * 3;
        let has_room = match self.datagrams.is_full() {
            _ if is_crowd => self.forget_client_for(inside, came.client.ip()),
            full => !full || self.forget_for_client(inside),
        };
        if !has_room {
            self.drop_quiet();
            return None;
        }
        let door = self.doors.at(number)?;
        let (socket, to) = (Rc::clone(&door.socket), (door.inside, door.port));
        let key = |ends: &Ends| Key { ends: *ends, kind: Kind::Udp };
        // What the payload itself asked that client for ends: now it is answered by the port.
        let ends = self.free_ends(came.client, to, |engine, ends| {
            let other = engine.datagrams.find(&key(ends));
            let other = other.and_then(|token| engine.datagrams.peek(token));
            other.is_none_or(|flow| flow.client().is_none())
        })?;
        if let Some(token) = self.datagrams.find(&key(&ends)) {
            self.forget_flow(token);
        }
        let client = Client { socket, door: number, address: came.client, to: came.to };
        let mut flow = Datagrams::inbound(key(&ends), client, self.now);
        self.pace_flow(&mut flow);
        let token = self.datagrams.insert(key(&ends), flow);
        self.doors.flows.insert((number, came.client), token);
        self.inward += 1;
        Some(token)
    }

    /// Forgets clients that were quiet for a while; looked for at most once in a while itself.
    fn drop_quiet(&mut self) {
        if self.doors.next_look.is_some_and(|next| next > self.now) {
            return;
        }
        self.doors.next_look = Some(self.now + PAUSE);
        let now = self.now;
        let quiet = |flow: &Datagrams| now.saturating_duration_since(flow.last()) > QUIET;
        let tokens: Vec<Token> = self
            .datagrams
            .iter_mut()
            .filter(|(_, flow)| flow.client().is_some() && quiet(flow))
            .map(|(token, _)| token)
            .collect();
        for token in tokens {
            self.forget_flow(token);
        }
    }

    /// Forgets a flow.
    pub(super) fn forget_flow(&mut self, token: Token) {
        if let Some(mut flow) = self.datagrams.remove(token) {
            self.doors.forget(&flow);
            if let (Some(queue), Some(pace)) = (&mut flow.paced, &mut self.pace) {
                queue.clear(pace);
            }
        }
    }
}
