//! Who makes room on a network of several sandboxes, when flows of datagrams or connections that are dialled are too many:
//! whoever holds most ([`fair`]). One sandbox alone shares with nobody. And who waits for memory.

use std::net::IpAddr;

use super::Engine;
use crate::net::egress::{Egress, Ends};
use crate::net::fair;
use crate::net::user::dial::Dial;
#[cfg(test)]
use crate::net::user::ring::Pool;
use crate::net::user::stream::Stream;
use crate::net::user::table::{Table, Token};
use crate::spec::net::Prefix;

/// Connections that the host dials, by token; some of them may stand by now, or be gone.
pub(super) type Dials = Vec<Token>;

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
