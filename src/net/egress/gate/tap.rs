//! Listens to one connection for the gate that let it out.

use std::net::IpAddr;

use super::super::inspect::{Heard, Listener};
use super::super::ledger::Attempt;
use super::super::policy::{Check, Service};
use super::super::reason::Reason;
use super::super::{Inspect, Sight};
use super::Gate;
use crate::spec::net::HostName;

/// See the module.
#[derive(Debug)]
pub(super) struct Tap {
    pub(super) gate: Gate,
    pub(super) from: IpAddr,
    pub(super) listener: Listener,
    pub(super) address: IpAddr,
    pub(super) service: Service,
    pub(super) check: Check,
    pub(super) name: Option<HostName>,
}

impl Tap {
    fn sight(&self, heard: Heard) -> Sight {
        match heard {
            Heard::More => Sight::Hold,
            Heard::Pass => Sight::Pass,
            Heard::Trust => Sight::Trust,
            Heard::Refuse(reason) => {
                self.note(&reason);
                Sight::Refuse
            }
        }
    }

    fn note(&self, reason: &Reason) {
        let attempt = Attempt {
            from: self.from,
            name: self.listener.said().or(self.name.as_ref()),
            address: Some(self.address),
            service: Some(self.service),
        };
        let books = &mut self.gate.0.borrow_mut().books;
        let ledger = books.of(self.from);
        // Where names are denied, connections to addresses are looked at, too.
        match self.check {
            Check::Denied => ledger.refuse_for_good(attempt, reason),
            Check::Names { .. } | Check::Nothing => ledger.refuse(attempt, reason),
        }
    }
}

impl Inspect for Tap {
    fn look(&mut self, bytes: &[u8]) -> Sight {
        let heard = self.listener.feed(&self.gate.0.borrow().policy, bytes);
        self.sight(heard)
    }

    fn hear(&mut self, bytes: &[u8]) -> Option<Sight> {
        let heard = self.listener.hear(&self.gate.0.borrow().policy, bytes)?;
        Some(self.sight(heard))
    }

    fn end(&mut self) -> Sight {
        self.sight(self.listener.end())
    }
}
