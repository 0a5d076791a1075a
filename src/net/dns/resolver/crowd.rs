//! Who has to wait where too many ask: whoever asks most ([`yields`]).

use std::net::IpAddr;

use super::super::Action;
use super::super::answer::Answer;
use super::super::wire::Code;
use super::{LOOKUPS, Lookup, Resolver, WAITING, Waiting};
use crate::net::fair::yields;

impl Lookup {
    /// Has one more wait for it; gives who waits no longer, or never did.
    pub(super) fn join(&mut self, waiting: Waiting) -> Option<Waiting> {
        if self.waiting.len() < WAITING {
            self.waiting.push(waiting);
            return None;
        }
        let all = self.waiting.iter().map(|other| other.client.from).collect();
        let last = yields(all, waiting.client.from)
            .and_then(|whose| self.waiting.iter_mut().rfind(|other| other.client.from == whose));
        match last {
            Some(last) => Some(std::mem::replace(last, waiting)),
            None => Some(waiting),
        }
    }

    /// Who asked first.
    fn holder(&self) -> Option<IpAddr> {
        self.waiting.first().map(|waiting| waiting.client.from)
    }
}

impl Resolver {
    /// Whether `from` may have another look-up; one of somebody else may have failed for it.
    pub(super) fn has_room(&mut self, from: IpAddr) -> bool {
        if self.lookups.len() < LOOKUPS {
            return true;
        }
        let holders = self.lookups.values().filter_map(Lookup::holder).collect();
        let Some(whose) = yields(holders, from) else { return false };
        let theirs = self.lookups.iter().filter(|(_, lookup)| lookup.holder() == Some(whose));
        // One that nobody else waits for, if there is one.
        let shared =
            |lookup: &Lookup| lookup.waiting.iter().any(|waiting| waiting.client.from != whose);
        let number = theirs.min_by_key(|(number, lookup)| (shared(lookup), **number));
        let Some(number) = number.map(|(number, _)| *number) else { return false };
        if let Some(lookup) = self.lookups.remove(&number) {
            self.actions.push_back(Action::Close(number));
            self.fail(&lookup);
        }
        true
    }

    /// Tells somebody that no server could be asked.
    pub(super) fn give_up(&mut self, waiting: &Waiting) {
        self.reply(waiting, &Answer::nothing(Code::ServFail, 0), 0);
    }
}
