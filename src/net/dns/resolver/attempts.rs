//! Which refused names somebody wanted, and which a resolver made of them by adding its search domains.
//!
//! # Theory of operation
//! A name in a search domain is made of the rest when that rest may be asked for, or was just refused: its resolver
//! tries it before or after. Of a name without a dot, the first form that is refused is the one that is told.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use super::super::RefusedName;
use super::{Lookup, REFUSED, Resolver};
use crate::net::egress::Reason;
use crate::net::egress::policy::Policy;
use crate::spec::net::HostName;

impl Resolver {
    /// A name that was asked for is refused. What a resolver makes of a name is no attempt of the program's.
    pub(super) fn refuse_asked(
        &mut self,
        policy: &Policy,
        from: IpAddr,
        name: HostName,
        reason: Reason,
    ) {
        if self.attempts.is_new(from, &name, &self.settings.search, policy) {
            self.refuse(from, name, None, reason);
        }
    }

    /// To everybody who waits for a look-up.
    pub(super) fn refuse_all(
        &mut self,
        lookup: &Lookup,
        name: &HostName,
        address: Option<IpAddr>,
        reason: &Reason,
    ) {
        let all: BTreeSet<IpAddr> = lookup.waiting.iter().map(|one| one.client.from).collect();
        for from in all {
            self.refuse(from, name.clone(), address, reason.clone());
        }
    }

    pub(super) fn refuse(
        &mut self,
        from: IpAddr,
        name: HostName,
        address: Option<IpAddr>,
        reason: Reason,
    ) {
        if self.refused.len() < REFUSED {
            self.refused.push(RefusedName { from, name, address, reason });
        }
    }
}

/// How many refused names are remembered: a resolver asks for all forms of a name at once.
const REMEMBERED: usize = 32;

/// The names that were refused last, and who had asked for them.
#[derive(Debug, Default)]
pub(super) struct Attempts(VecDeque<(IpAddr, HostName)>);

impl Attempts {
    /// Whether this refused name is one that was wanted, and is to be told.
    pub(super) fn is_new(
        &mut self,
        from: IpAddr,
        name: &HostName,
        search: &[HostName],
        policy: &Policy,
    ) -> bool {
        let made = search.iter().any(|domain| self.is_made(from, name, domain, policy));
        // Asked again, for the other family or by another program, it counts again.
        if !made && !self.was_refused(from, name) {
            self.0.truncate(REMEMBERED - 1);
            self.0.push_front((from, name.clone()));
        }
        !made
    }

    fn was_refused(&self, from: IpAddr, name: &HostName) -> bool {
        self.0.iter().any(|(whose, known)| *whose == from && known == name)
    }

    fn is_made(&self, from: IpAddr, name: &HostName, domain: &HostName, policy: &Policy) -> bool {
        if !name.as_str().contains('.') {
            let whole = format!("{name}.{domain}");
            return self.0.iter().any(|(whose, known)| *whose == from && known.as_str() == whole);
        }
        let rest = name.as_str().strip_suffix(domain.as_str()).and_then(|r| r.strip_suffix('.'));
        let rest = rest.and_then(|rest| HostName::parse(rest).ok());
        rest.is_some_and(|rest| policy.answers(&rest).is_ok() || self.was_refused(from, &rest))
    }
}
