//! Flows that lead to the host itself, since it was given the address that they go to.
//!
//! # Theory of operation
//! A connection that nobody answered, and datagrams to who is not there, are sent again by the host's kernel: once the
//! host has the address, to itself. So all are looked over when its addresses change, which the kernel tells before it
//! leads anything there.
//!
//! # Decisions
//! - It is looked once more when a flow has been made and nothing of the payload was sent: the address may have
//!   come between the question and the call. That is one call for each flow.
//! - What remains are datagrams of flows that are there already, in the turn in which the address comes.

use super::Engine;
use crate::net::egress::{Destination, Egress, Ends};
use crate::net::user::datagrams::Kind;
use crate::net::user::dial::Dial;
use crate::net::user::stream::Stream;
use crate::net::user::table::Token;

impl<E: Egress, D: Dial> Engine<E, D> {
    /// Ends what leads to the host itself, where it may have got other addresses.
    pub(super) fn see_home(&mut self) {
        if !self.egress.host_changed() {
            return;
        }
        let egress = &mut self.egress;
        let streams = self.streams.iter_mut().filter(|(_, stream)| {
            let Ends { inside, outside } = stream.ends();
            !stream.is_inbound() && egress.leads_home(inside.ip(), Destination::Tcp(outside))
        });
        let streams: Vec<Token> = streams.map(|(token, _)| token).collect();
        let flows = self.datagrams.iter_mut().filter(|(_, flow)| {
            let Ends { inside, outside: to } = flow.ends();
            let to = match flow.kind() {
                Kind::Udp => Destination::Udp(to),
                Kind::Echo { .. } => Destination::Echo(to.ip()),
            };
            flow.client().is_none() && egress.leads_home(inside.ip(), to)
        });
        let flows: Vec<Token> = flows.map(|(token, _)| token).collect();
        for token in streams {
            self.act(token, Stream::refuse);
        }
        for token in flows {
            self.forget_flow(token);
        }
    }
}
