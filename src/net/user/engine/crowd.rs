//! Who makes room on a network of several sandboxes, when flows of datagrams, connections, or those that are dialled are
//! too many: whoever holds most ([`fair`]). One sandbox alone shares with nobody. And who waits for memory.
//!
//! # Decisions
//! - Of connections that stand it is the one that nobody was heard of for longest, and both sides are told. As long as
//!   there is room for more, none ends.

use std::net::IpAddr;

use super::Engine;
use crate::net::egress::{Egress, Ends};
use crate::net::fair::{self, Held};
use crate::net::user::datagrams::Client;
use crate::net::user::dial::Dial;
#[cfg(test)]
use crate::net::user::ring::Pool;
use crate::net::user::stream::Stream;
use crate::net::user::table::{Table, Token};
use crate::spec::net::Prefix;

/// Connections that the host dials, by token; some of them may stand by now, or be gone.
pub(super) type Dials = Vec<Token>;

/// All who are as near to each other as addresses of one machine may be: of IPv6 it has 2^64 of them.
fn neighbours(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn dialled_for(streams: &Table<Ends, Stream>, token: Token) -> Option<IpAddr> {
    let stream = streams.peek(token).filter(|stream| stream.is_connecting())?;
    Some(stream.ends().inside.ip())
}

impl<E: Egress, D: Dial> Engine<E, D> {
    /// Packets come from these addresses too: the link leads to a network.
    pub fn also_from(&mut self, ranges: &[Prefix]) {
        self.link.also_from(ranges);
        if self.link.is_shared() {
            self.pool.share();
        }
    }

    /// How much memory buffers have. Before the first flow.
    #[cfg(test)]
    pub(in crate::net::user) fn bound_memory(&mut self, limit: usize) {
        self.pool = Pool::new(limit);
    }

    /// Adds a stream at its place, which is free.
    pub(super) fn add_stream(&mut self, mut stream: Stream) -> Token {
        let ends = stream.ends();
        stream.heard = Some(self.now);
        self.held.add(ends.inside.ip());
        if stream.is_inbound() {
            self.doors.streams.add(ends.inside.ip());
        }
        self.streams.insert(ends, stream)
    }

    /// Takes one out.
    pub(super) fn forget_stream(&mut self, token: Token) -> Option<Stream> {
        let stream = self.streams.remove(token)?;
        self.left_behind(&stream);
        let inside = stream.ends().inside.ip();
        self.held.remove(inside);
        if stream.is_inbound() {
            self.doors.streams.remove(inside);
        }
        Some(stream)
    }

    /// Whether `from` may have another stream.
    pub(super) fn has_room(&self, from: IpAddr) -> bool {
        !self.streams.is_full() || self.streams_less(from).is_some()
    }

    /// Makes room for it.
    pub(super) fn make_room(&mut self, from: IpAddr) {
        if self.streams.is_full()
            && let Some(whose) = self.streams_less(from)
        {
            self.end_quietest(whose, |_| true);
        }
    }

    fn streams_less(&self, newcomer: IpAddr) -> Option<IpAddr> {
        self.link.is_shared().then(|| self.held.yields(newcomer)).flatten()
    }

    /// Whether a client of `inside` may have one.
    pub(super) fn has_client_room(&self, inside: IpAddr) -> bool {
        let is_crowd = self.is_crowd_of_clients();
        (!is_crowd || self.clients_less(inside).is_some()) && self.has_room(inside)
    }

    /// Makes room for it.
    pub(super) fn make_client_room(&mut self, inside: IpAddr) {
        if self.is_crowd_of_clients()
            && let Some(whose) = self.clients_less(inside)
        {
            self.end_quietest(whose, Stream::is_inbound);
        }
        self.make_room(inside);
    }

    fn is_crowd_of_clients(&self) -> bool {
        self.doors.streams.all() >= self.most.streams / 4 * 3
    }

    fn clients_less(&self, newcomer: IpAddr) -> Option<IpAddr> {
        self.link.is_shared().then(|| self.doors.streams.yields(newcomer)).flatten()
    }

    /// Ends the stream of somebody, of those of a kind, that nobody was heard of for longest.
    fn end_quietest(&mut self, whose: IpAddr, kind: impl Fn(&Stream) -> bool) {
        let streams = self.streams.iter_mut();
        let theirs =
            streams.filter(|(_, stream)| stream.ends().inside.ip() == whose && kind(stream));
        let quietest = theirs.min_by_key(|(_, stream)| stream.heard).map(|(token, _)| token);
        if let Some(token) = quietest {
            self.act(token, Stream::refuse);
        }
    }

    /// Notes that one more is dialled.
    pub(super) fn note_dial(&mut self, token: Token) {
        self.dialling += 1;
        if self.link.is_shared() {
            if self.dials.len() >= 2 * self.most.dialling {
                self.tidy_dials();
            }
            self.dials.push(token);
        }
    }

    /// How many are dialled.
    #[cfg(test)]
    pub(in crate::net::user) fn dialled(&self) -> usize {
        self.dialling
    }

    fn tidy_dials(&mut self) {
        let streams = &self.streams;
        self.dials.retain(|token| dialled_for(streams, *token).is_some());
    }

    /// Notes that a stream got no memory.
    pub(super) fn note_hungry(&mut self, token: Token) {
        if self.hungry.len() > 64 + 2 * self.streams.len() {
            self.hungry.retain(|token| self.streams.peek(*token).is_some());
        }
        if let Err(at) = self.hungry.binary_search(&token) {
            self.hungry.insert(at, token);
        }
    }

    /// Lets those that got none try again, once some came back.
    pub(super) fn feed_hungry(&mut self) {
        if !self.hungry.is_empty() && self.pool.has_freed() {
            for token in std::mem::take(&mut self.hungry) {
                self.queue_stream(token);
            }
        }
    }

    /// Of all that are dialled, whose would end for one of `from`.
    pub(super) fn dials_less(&mut self, from: IpAddr) -> Option<IpAddr> {
        self.tidy_dials();
        let held = self.dials.iter().filter_map(|token| dialled_for(&self.streams, *token));
        fair::yields(held.collect(), from)
    }

    /// Ends the oldest of those that are dialled for one. To the payload its SYN was lost: it sends it again.
    pub(super) fn end_dial(&mut self, whose: IpAddr) {
        let mut dials = self.dials.iter().copied();
        let oldest = dials.find(|token| dialled_for(&self.streams, *token) == Some(whose));
        if let Some(token) = oldest {
            self.act(token, |stream, means| stream.leave(means.pool));
        }
    }

    /// Forgets the flow that was quiet for longest: of whoever has most, where several share them; else of all.
    pub(super) fn forget_quietest(&mut self, newcomer: IpAddr) {
        let whose = self.link.is_shared().then(|| self.flows_less(newcomer).unwrap_or(newcomer));
        self.forget_quietest_of(whose);
    }

    /// The same for a client of `inside`, which takes none of its own sandbox's; whether there is room now.
    pub(super) fn forget_for_client(&mut self, inside: IpAddr) -> bool {
        let whose = if self.link.is_shared() { self.flows_less(inside) } else { None };
        if whose.is_some() {
            self.forget_quietest_of(whose);
        }
        whose.is_some()
    }

    /// Has a flow of a client make room for one of another: one to who has most of them, where several share them; else one
    /// of who sends most of them to the same. Whether there is room now.
    pub(super) fn forget_client_for(&mut self, inside: IpAddr, client: IpAddr) -> bool {
        let (mut members, mut clients) = (Held::default(), Held::default());
        for (number, address) in self.doors.flows.keys() {
            let Some(member) = self.doors.leads_to(*number) else { continue };
            members.add(member);
            if member == inside {
                clients.add(neighbours(address.ip()));
            }
        }
        let member = self.link.is_shared().then(|| members.yields(inside)).flatten();
        let client = clients.yields_of_several(neighbours(client));
        let doors = &self.doors;
        let yields = |of: &Client| {
            let its = doors.leads_to(of.door);
            match (member, client) {
                (Some(_), _) => its == member,
                (None, Some(client)) => {
                    its == Some(inside) && neighbours(of.address.ip()) == client
                }
                (None, None) => false,
            }
        };
        let flows = self.datagrams.iter_mut();
        let flows = flows.filter(|(_, flow)| flow.client().is_some_and(yields));
        let quietest = flows.min_by_key(|(_, flow)| flow.last()).map(|(token, _)| token);
        if let Some(token) = quietest {
            self.forget_flow(token);
        }
        quietest.is_some()
    }

    fn flows_less(&mut self, newcomer: IpAddr) -> Option<IpAddr> {
        let held = self.datagrams.iter_mut().map(|(_, flow)| flow.ends().inside.ip());
        fair::yields(held.collect(), newcomer)
    }

    fn forget_quietest_of(&mut self, whose: Option<IpAddr>) {
        let flows = self.datagrams.iter_mut();
        let flows =
            flows.filter(|(_, flow)| whose.is_none_or(|whose| flow.ends().inside.ip() == whose));
        let quietest = flows.min_by_key(|(_, flow)| flow.last()).map(|(token, _)| token);
        if let Some(token) = quietest {
            self.forget_flow(token);
        }
    }
}
