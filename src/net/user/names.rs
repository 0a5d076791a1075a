//! The sandbox's name server on real sockets: between the payload's questions, the gate, and servers.
//!
//! # Theory of operation
//! Datagrams of the payload come and go as they are: no flow, no socket. A connection over TCP gets one end of
//! a pair of sockets, so that the engine treats it as any other; ours is read here. Each try to ask a
//! server is a socket of its own. All of these wait in one epoll, which the engine waits for.
//!
//! # Decisions
//! - Which servers the host asks is looked at as its own resolver does it: when a name is asked for, and not at every
//!   one. Somebody else looks, and the answer does not wait for that; a laptop that nobody uses costs nothing.
//! - Each datagram is a client of its own, and gets one reply or none; those that wait are bounded in number
//!   and in time. What gets no reply is kept nowhere.
//! - A client that takes no replies is dropped, not waited for; so is one that asks nothing (RFC 7766, section 6.2.3).
//! - Above the bounds, whoever holds most makes room ([`fair`]); of connections those that were idle for longest.

mod connections;

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::net::{RecvFlags, SendFlags};

use super::dial::Dial;
use super::pace::{CONNECTION, DATAGRAM};
use crate::net::dns::{Action, Client, Over};
use crate::net::egress::{Destination, Egress, Ends, Gate, Verdict};
use crate::net::fair;
use crate::sys::errno::Result;
use crate::sys::interfaces::Addresses;
use connections::Connection;

/// Datagrams that wait for a reply.
const DATAGRAMS: usize = 1024;
/// How long a datagram waits: longer than the resolver tries.
const PATIENCE: Duration = Duration::from_secs(20);
/// Events that are taken in one turn.
const EVENTS: usize = 64;
/// Bit of an event that tells tries from connections.
const TRY: u64 = 1 << 63;
/// How long the servers that the host asks are taken to be the same.
const LOOK: Duration = Duration::from_secs(2);
/// Event of the host's addresses.
const OWN: u64 = 0;

/// A gate and its name server. `D` makes the sockets.
pub struct Named<D> {
    gate: Gate,
    dial: D,
    /// The host's addresses, where they are followed.
    own: Option<Addresses>,
    /// Has somebody look which servers the host asks, and when that was last.
    look: Option<(Box<dyn FnMut()>, Instant)>,
    events: OwnedFd,
    datagrams: HashMap<u64, (Ends, Instant)>,
    replies: Vec<(Ends, Vec<u8>)>,
    streams: HashMap<u64, Connection>,
    tries: HashMap<u64, Try>,
    clients: u64,
    /// Bytes to and from servers that nobody counted yet.
    passed: (usize, usize),
    room: Box<[u8]>,
}

/// A question to a server.
struct Try {
    socket: OwnedFd,
    unsent: Vec<u8>,
    over: Over,
}

impl<D: Dial> Named<D> {
    /// For a gate; servers are dialled with `dial`.
    pub fn new(gate: Gate, dial: D) -> Result<Self> {
        Ok(Self {
            gate,
            dial,
            own: None,
            look: None,
            events: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            datagrams: HashMap::new(),
            replies: Vec::new(),
            streams: HashMap::new(),
            tries: HashMap::new(),
            clients: 0,
            passed: (0, 0),
            room: vec![0; 0x1_0000].into_boxed_slice(),
        })
    }

    /// Follows the host's addresses, of which the gate knows those so far.
    pub fn follow(&mut self, own: Addresses) -> Result<()> {
        let data = epoll::EventData::new_u64(OWN);
        epoll::add(&self.events, &own, data, epoll::EventFlags::IN)?;
        self.own = Some(own);
        Ok(())
    }

    /// Has `look` called when somebody should look whether the host asks other servers: [`Gate::servers_are`] is to
    /// follow if so. At the start they are known.
    pub fn look_with(&mut self, look: Box<dyn FnMut()>) {
        self.look = Some((look, Instant::now()));
    }

    /// Whether there will be a reply.
    fn ask(&mut self, client: Client, message: &[u8], now: Instant) -> bool {
        if let Some((look, last)) = &mut self.look
            && now.saturating_duration_since(*last) >= LOOK
        {
            *last = now;
            look();
        }
        self.gate.ask(client, message, now)
    }

    fn next_client(&mut self) -> u64 {
        self.clients += 1;
        self.clients
    }

    /// Forgets one that waits for a reply, if there are too many; `flow` of `from` came last.
    fn make_room(&mut self, flow: u64, from: IpAddr, now: Instant) {
        if self.datagrams.len() > DATAGRAMS {
            self.datagrams.retain(|_, (_, since)| now.saturating_duration_since(*since) < PATIENCE);
        }
        if self.datagrams.len() <= DATAGRAMS {
            return;
        }
        let others = self.datagrams.iter().filter(|(number, _)| **number != flow);
        let others = others.map(|(number, (ends, _))| (ends.inside.ip(), *number));
        let others: Vec<(IpAddr, u64)> = others.collect();
        let whose = fair::yields(others.iter().map(|(who, _)| *who).collect(), from);
        let theirs = others.iter().filter(|(who, _)| Some(*who) == whose);
        // What is too much is lost, as on any link: it will be asked again.
        let lost = theirs.map(|(_, number)| *number).min().unwrap_or(flow);
        self.datagrams.remove(&lost);
    }

    fn watch(&self, socket: &OwnedFd, number: u64) -> Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(number);
        Ok(epoll::add(&self.events, socket, data, flags)?)
    }

    fn ready(&self) -> Vec<u64> {
        let mut events = Vec::with_capacity(EVENTS);
        let spare = rustix::buffer::spare_capacity(&mut events);
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        match epoll::wait(&self.events, spare, Some(&none)) {
            Ok(_) => events.iter().map(|event: &epoll::Event| event.data.u64()).collect(),
            // Nothing is lost: what is ready stays ready.
            Err(_) => Vec::new(),
        }
    }

    /// Sends and reads what belongs to a try.
    fn pursue(&mut self, number: u64, now: Instant) {
        loop {
            let Some(one) = self.tries.get_mut(&number) else { return };
            if !flush(&one.socket, &mut one.unsent) {
                return self.gate.broken(number, now);
            }
            match rustix::net::recv(&one.socket, &mut *self.room, RecvFlags::empty()) {
                Ok((_, 0)) if one.over == Over::Stream => return self.gate.broken(number, now),
                Ok((_, length)) => {
                    self.passed.1 += length + DATAGRAM;
                    let bytes = self.room.get(..length).unwrap_or_default();
                    self.gate.receive(number, bytes, now);
                    self.carry_out(now);
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOTCONN) => return,
                Err(_) => return self.gate.broken(number, now),
            }
        }
    }

    /// Does what the name server wants done.
    fn carry_out(&mut self, now: Instant) {
        while let Some(action) = self.gate.action() {
            match action {
                Action::Reply(Client { flow, over: Over::Datagram, .. }, bytes) => {
                    if let Some((ends, _)) = self.datagrams.remove(&flow) {
                        self.replies.push((ends, bytes));
                    }
                }
                Action::Reply(Client { flow, over: Over::Stream, .. }, bytes) => {
                    self.tell(flow, &bytes, now);
                }
                Action::Close(number) => drop(self.tries.remove(&number)),
                Action::Send { number, server, over, bytes } => {
                    let socket = match over {
                        Over::Datagram => self.dial.udp(server),
                        Over::Stream => self.dial.tcp(server).map(|(socket, _)| socket),
                    };
                    let watched = socket.and_then(|socket| {
                        self.watch(&socket, number | TRY)?;
                        Ok(socket)
                    });
                    match watched {
                        Ok(socket) => {
                            self.passed.0 += bytes.len() + DATAGRAM;
                            if over == Over::Stream {
                                self.passed.0 += CONNECTION;
                                self.passed.1 += CONNECTION;
                            }
                            self.tries.insert(number, Try { socket, unsent: bytes, over });
                            self.begin(number, now);
                        }
                        Err(_) => self.gate.broken(number, now),
                    }
                }
            }
        }
    }

    /// A datagram leaves at once; a stream when it is connected, which an event tells.
    fn begin(&mut self, number: u64, now: Instant) {
        let Some(one) = self.tries.get_mut(&number) else { return };
        if one.over == Over::Datagram && !flush(&one.socket, &mut one.unsent) {
            self.gate.broken(number, now);
        }
    }
}

impl<D: Dial> Egress for Named<D> {
    fn open(&mut self, from: IpAddr, to: Destination) -> Verdict {
        match (self.gate.open(from, to), to) {
            (Verdict::Names, Destination::Udp(_) | Destination::Echo(_)) => Verdict::Closed,
            (verdict, _) => verdict,
        }
    }

    fn connect(&mut self, inside: IpAddr) -> Option<OwnedFd> {
        self.accept(inside, Instant::now())
    }

    fn host_changed(&mut self) -> bool {
        let Some(own) = self.own.as_ref().filter(|own| own.have_changed()) else { return false };
        // Without a list, those known stay.
        if let Ok(addresses) = own.list() {
            self.gate.host_is(addresses);
        }
        true
    }

    fn leads_home(&mut self, from: IpAddr, to: Destination) -> bool {
        self.gate.leads_home(from, to)
    }

    fn take(&mut self, ends: Ends, datagram: &[u8]) -> bool {
        if !self.gate.is_resolver(ends.outside) {
            return false;
        }
        let now = Instant::now();
        let (flow, from) = (self.next_client(), ends.inside.ip());
        if self.ask(Client { flow, from, over: Over::Datagram }, datagram, now) {
            self.datagrams.insert(flow, (ends, now));
        }
        self.carry_out(now);
        self.make_room(flow, from, now);
        true
    }

    fn give(&mut self) -> Option<(Ends, Vec<u8>)> {
        self.replies.pop()
    }

    fn passed(&mut self) -> (usize, usize) {
        std::mem::take(&mut self.passed)
    }

    fn events(&self) -> Option<BorrowedFd<'_>> {
        Some(self.events.as_fd())
    }

    fn turn(&mut self, now: Instant) {
        for number in self.ready() {
            if number == OWN {
                // The engine asks before anything else.
            } else if number & TRY == 0 {
                self.hear(number, now);
            } else {
                self.pursue(number & !TRY, now);
            }
        }
        self.gate.tick(now);
        self.carry_out(now);
        self.close_idle(now);
    }

    fn deadline(&self) -> Option<Instant> {
        self.gate.deadline().into_iter().chain(self.next_idle()).min()
    }
}

/// Sends what there is; whether the socket still takes any.
fn flush(socket: &OwnedFd, unsent: &mut Vec<u8>) -> bool {
    while !unsent.is_empty() {
        match rustix::net::send(socket, unsent, SendFlags::NOSIGNAL) {
            Ok(sent) => drop(unsent.drain(..sent)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOTCONN) => return true,
            Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests;
