//! Sandboxes behind the link that come and go, where it leads to a network of several.
//!
//! # Theory of operation
//! Who has left is gone with its kernel: nothing comes from it any more, and nobody answers. Its ports are closed at
//! once. What it said before may still lie in the queue of the link, or wait for the host to take it, so its
//! connections have a moment to end; then they are ended. Somebody who gets the same address before that must not
//! get them.

use std::net::IpAddr;
use std::time::Instant;

use super::{Engine, FAREWELL};
use crate::net::egress::Egress;
use crate::net::user::dial::Dial;
use crate::net::user::table::Token;

/// Who has left, and how long their connections may take to end.
#[derive(Debug, Default)]
pub(super) struct Leaving(Vec<(Instant, Vec<IpAddr>)>);

impl Leaving {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<E: Egress, D: Dial> Engine<E, D> {
    /// Nobody has these addresses any more.
    pub(super) fn left(&mut self, gone: Vec<IpAddr>) {
        let closed = self.doors.close_of(&gone);
        self.step_out(&closed);
        // Those of clients hold the ports, too.
        let flows = self.datagrams.iter_mut();
        let flows = flows.filter(|(_, flow)| gone.contains(&flow.ends().inside.ip()));
        let flows: Vec<Token> = flows.map(|(token, _)| token).collect();
        for token in flows {
            self.forget_flow(token);
        }
        self.leaving.0.push((self.now + FAREWELL, gone));
        self.next_round = self.next_round.min(self.now + FAREWELL);
    }

    /// Somebody has these addresses now.
    pub(super) fn came(&mut self, addresses: &[IpAddr]) {
        self.end_those(|_, gone| gone.iter().any(|one| addresses.contains(one)));
    }

    /// Ends what is left of those whose time is over.
    pub(super) fn see_off(&mut self) {
        let now = self.now;
        self.end_those(|until, _| until <= now);
    }

    fn end_those(&mut self, is_over: impl Fn(Instant, &[IpAddr]) -> bool) {
        let over = self.leaving.0.extract_if(.., |(until, gone)| is_over(*until, gone));
        let over: Vec<IpAddr> = over.flat_map(|(_, gone)| gone).collect();
        if !over.is_empty() {
            self.end_streams(&over);
        }
    }

    fn end_streams(&mut self, gone: &[IpAddr]) {
        let streams = self.streams.iter_mut();
        let streams = streams.filter(|(_, stream)| gone.contains(&stream.ends().inside.ip()));
        let streams: Vec<Token> = streams.map(|(token, _)| token).collect();
        for token in streams {
            self.act(token, |stream, means| {
                // What it said in full leaves in order; what was cut off must not look as if it were whole.
                let is_whole = stream.is_said() && !stream.is_connecting();
                if is_whole { stream.leave(means.pool) } else { stream.refuse(means) }
            });
        }
    }
}
