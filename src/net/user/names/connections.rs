//! Connections of the payload to its name server.
//!
//! Each is a pair of sockets; the engine works with one of them as with any other, ours is read here.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

use super::{Named, flush};
use crate::net::dns::{Client, Framer, Over};
use crate::net::fair;
use crate::net::user::dial::Dial;

/// How many there are at most.
pub(super) const STREAMS: usize = 32;
/// Bytes that one may leave unread before it is dropped.
const UNREAD: usize = 256 * 1024;
/// How long one may ask nothing while nothing is owed to it.
pub(super) const IDLE: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Connection {
    socket: OwnedFd,
    from: IpAddr,
    framer: Framer,
    unsent: Vec<u8>,
    /// Replies that are to come.
    owed: usize,
    /// When it came, asked in full or was answered, whichever was last.
    last: Instant,
}

impl<D: Dial> Named<D> {
    /// A new connection, if it may be had: the end that the engine works with.
    pub(super) fn accept(&mut self, from: IpAddr, now: Instant) -> Option<OwnedFd> {
        if self.streams.len() >= STREAMS {
            let oldest = self.makes_room(from)?;
            self.streams.remove(&oldest);
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None);
        let (theirs, socket) = pair.ok()?;
        let number = self.next_client();
        self.watch(&socket, number).ok()?;
        let framer = Framer::default();
        let one = Connection { socket, from, framer, unsent: Vec::new(), owed: 0, last: now };
        self.streams.insert(number, one);
        Some(theirs)
    }

    /// Which one ends for another of `from`: of whoever has most, also one that waits; else one of its own that does not.
    fn makes_room(&self, from: IpAddr) -> Option<u64> {
        let other = fair::yields(self.streams.values().map(|one| one.from).collect(), from);
        let whose = other.unwrap_or(from);
        let may_end = |one: &Connection| one.from == whose && (other.is_some() || one.owed == 0);
        let those = self.streams.iter().filter(|(_, one)| may_end(one));
        those.min_by_key(|(_, one)| (one.owed > 0, one.last)).map(|(number, _)| *number)
    }

    /// When the next one is to be closed.
    pub(super) fn next_idle(&self) -> Option<Instant> {
        let idle = self.streams.values().filter(|one| one.owed == 0);
        idle.map(|one| one.last + IDLE).min()
    }

    /// Closes those that ask nothing. Where a reply is owed, it comes.
    pub(super) fn close_idle(&mut self, now: Instant) {
        self.streams.retain(|_, one| one.owed > 0 || one.last + IDLE > now);
    }

    /// Reads what the payload asks over a connection.
    pub(super) fn hear(&mut self, number: u64, now: Instant) {
        loop {
            let Some(one) = self.streams.get_mut(&number) else { return };
            match rustix::net::recv(&one.socket, &mut *self.room, RecvFlags::empty()) {
                Ok((_, length)) if length > 0 => {
                    let bytes = self.room.get(..length).unwrap_or_default();
                    let client = Client { flow: number, from: one.from, over: Over::Stream };
                    for message in one.framer.feed(bytes) {
                        let owed = self.ask(client, &message, now);
                        if let Some(one) = self.streams.get_mut(&number) {
                            one.last = now;
                            one.owed += usize::from(owed);
                        }
                    }
                }
                Err(rustix::io::Errno::AGAIN) => break,
                Ok(_) | Err(_) => {
                    self.streams.remove(&number);
                    return;
                }
            }
        }
        self.send_on(number);
    }

    /// Writes a reply to a connection, as far as it takes it, and keeps the rest.
    pub(super) fn tell(&mut self, number: u64, bytes: &[u8], now: Instant) {
        if let Some(one) = self.streams.get_mut(&number) {
            one.owed = one.owed.saturating_sub(1);
            one.last = now;
            one.unsent.extend_from_slice(bytes);
            self.send_on(number);
        }
    }

    fn send_on(&mut self, number: u64) {
        let Some(one) = self.streams.get_mut(&number) else { return };
        let alive = flush(&one.socket, &mut one.unsent);
        if !alive || one.unsent.len() > UNREAD {
            self.streams.remove(&number);
        }
    }
}
