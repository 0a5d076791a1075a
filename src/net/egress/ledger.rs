//! What was refused, and what was used: for the record.
//!
//! # Decisions
//! - Bounded, with counts: a payload that tries everything fills no memory. What does not fit is counted as one
//!   number.
//! - Each refusal carries the narrowest rule that would have let it through, where there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use super::policy::Service;
use super::reason::Reason;
use super::teller::Teller;
use crate::plan::traffic::{Flow, Protocol, Refused, Traffic};
use crate::spec::net::{HostName, Ports, Prefix, Rule, Target, Transport};
use crate::spec::order;

/// Most different refusals, and most different things that were used.
pub(super) const MOST: usize = 256;

type Key = (Option<HostName>, Option<IpAddr>, Protocol, Option<u16>);

/// Counts.
#[derive(Debug)]
pub struct Ledger {
    /// Most different refusals.
    most: usize,
    refused: BTreeMap<Key, Refused>,
    more: u64,
    used: BTreeSet<Rule>,
    /// Who is told while it goes on, if anybody is.
    pub(super) teller: Option<Teller>,
}

/// One flow or question, as it is noted.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Who made it.
    pub from: IpAddr,
    /// The name it is about.
    pub name: Option<&'a HostName>,
    /// The address it is about.
    pub address: Option<IpAddr>,
    /// What was dialled; nothing when a name was asked for.
    pub service: Option<Service>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new(MOST)
    }
}

impl Ledger {
    /// One of at most so many different refusals.
    pub(super) fn new(most: usize) -> Self {
        let (refused, used) = (BTreeMap::new(), BTreeSet::new());
        Self { most, refused, more: 0, used, teller: None }
    }

    /// Takes over what is counted in another one.
    pub(super) fn add(&mut self, other: &Self) {
        self.more = self.more.saturating_add(other.more);
        for (key, refused) in &other.refused {
            if let Some(known) = self.refused.get_mut(key) {
                known.count = known.count.saturating_add(refused.count);
            } else if self.refused.len() < self.most {
                self.refused.insert(key.clone(), refused.clone());
            } else {
                self.more = self.more.saturating_add(refused.count);
            }
        }
    }

    /// Notes that something was refused.
    pub fn refuse(&mut self, attempt: Attempt<'_>, reason: &Reason) {
        self.note(attempt, reason, remedy);
    }

    /// The same, where no rule lets it through.
    pub fn refuse_for_good(&mut self, attempt: Attempt<'_>, reason: &Reason) {
        self.note(attempt, reason, |_, _| None);
    }

    fn note(
        &mut self,
        attempt: Attempt<'_>,
        reason: &Reason,
        remedy: fn(Attempt<'_>, &Reason) -> Option<Rule>,
    ) {
        let name = match reason {
            Reason::OtherName(said) => Some(said),
            _ => attempt.name,
        };
        self.tell(Attempt { name, ..attempt }, Some(reason));
        let (protocol, port) = protocol_of(attempt.service);
        let key = (name.cloned(), attempt.address, protocol, port);
        if let Some(known) = self.refused.get_mut(&key) {
            known.count = known.count.saturating_add(1);
        } else if self.refused.len() < self.most {
            let refused = Refused {
                name: key.0.clone(),
                address: key.1,
                protocol,
                port,
                reason: reason.to_string(),
                allow: remedy(Attempt { name, ..attempt }, reason),
                count: 1,
            };
            self.refused.insert(key, refused);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// Tells of something that was let out, or was not for this reason.
    pub(super) fn tell(&mut self, attempt: Attempt<'_>, refused: Option<&Reason>) {
        if let Some(teller) = &mut self.teller {
            let (protocol, port) = protocol_of(attempt.service);
            let refused = refused.map(ToString::to_string);
            let flow = Flow::new(attempt.name.cloned(), protocol, port);
            let flow = Flow { address: attempt.address, refused, ..flow };
            teller.tell(attempt.from, flow, Instant::now);
        }
    }

    /// Notes that something was used.
    pub fn used(&mut self, attempt: Attempt<'_>) {
        if let Some(rule) = rule(attempt).filter(|_| self.used.len() < MOST) {
            self.used.insert(rule);
        }
    }

    /// Everything that was noted.
    pub fn told(&self) -> Traffic {
        let mut refused: Vec<Refused> = self.refused.values().cloned().collect();
        order::sort_by_key(&mut refused, |refused| std::cmp::Reverse(refused.count));
        let used = self.used.iter().cloned().collect();
        // How much went through, and what was captured, the link knows.
        Traffic { refused, more: self.more, used, ..Traffic::default() }
    }
}

fn protocol_of(service: Option<Service>) -> (Protocol, Option<u16>) {
    match service {
        None => (Protocol::Dns, None),
        Some(Service::Tcp(port)) => (Protocol::Tcp, Some(port)),
        Some(Service::Udp(port)) => (Protocol::Udp, Some(port)),
        Some(Service::Echo) => (Protocol::Icmp, None),
    }
}

/// The rule that lets an attempt through.
fn rule(attempt: Attempt<'_>) -> Option<Rule> {
    let target = match (attempt.name, attempt.address) {
        (Some(name), _) => Target::Name(name.clone()),
        (None, Some(address)) => Target::Addresses(Prefix::single(address)),
        (None, None) => return None,
    };
    let (_, port) = protocol_of(attempt.service);
    let transport = matches!(attempt.service, Some(Service::Udp(_))).then_some(Transport::Udp);
    Some(Rule { target, ports: port.and_then(Ports::single), transport }).filter(Rule::has_hosts)
}

/// The rule that would have let it through.
fn remedy(attempt: Attempt<'_>, reason: &Reason) -> Option<Rule> {
    match reason {
        // Who denies wins: no rule that allows helps.
        Reason::Denied(_) => None,
        Reason::NotAllowed | Reason::UdpOfName | Reason::OtherName(_) => rule(attempt),
        // A port that is named takes what is neither TLS nor HTTP, but for these two.
        Reason::NoProtocol if !matches!(attempt.service, Some(Service::Tcp(80 | 443))) => {
            rule(attempt)
        }
        // An address does not have to be said.
        Reason::NotPublic(_)
        | Reason::NoName
        | Reason::NoProtocol
        | Reason::Http2
        | Reason::Ambiguous(_)
        | Reason::TooLate => rule(Attempt { name: None, ..attempt }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;
    use super::*;

    const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 2, 100));

    fn host(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    fn allow(
        name: Option<&str>,
        address: Option<&str>,
        service: Option<Service>,
        why: &Reason,
    ) -> String {
        let name = name.map(host);
        let address = address.map(|address| address.parse().unwrap());
        let mut ledger = Ledger::default();
        ledger.refuse(Attempt { from: FROM, name: name.as_ref(), address, service }, why);
        let refused = ledger.told().refused;
        refused[0].allow.as_ref().map_or("-".to_owned(), ToString::to_string)
    }

    #[test]
    fn each_refusal_has_the_narrowest_rule_that_would_allow_it() {
        let (web, quic) = (Some(Service::Tcp(443)), Some(Service::Udp(443)));
        let (name, address) = (Some("a.test"), Some("192.0.2.7"));
        let not = Reason::NotAllowed;
        assert_eq!(allow(name, None, None, &not), "a.test");
        assert_eq!(allow(name, address, web, &not), "a.test:443");
        assert_eq!(allow(None, address, web, &not), "192.0.2.7:443");
        assert_eq!(allow(None, Some("2001:db8::1"), quic, &not), "[2001:db8::1]:443/udp");
        assert_eq!(allow(None, address, Some(Service::Echo), &not), "192.0.2.7");
        assert_eq!(allow(name, address, quic, &Reason::UdpOfName), "a.test:443/udp");
        assert_eq!(allow(name, address, web, &Reason::OtherName(host("b.test"))), "b.test:443");
        assert_eq!(
            allow(name, Some("10.0.0.1"), None, &Reason::NotPublic(Kind::Private)),
            "10.0.0.1"
        );
        assert_eq!(allow(name, address, web, &Reason::NoName), "192.0.2.7:443");
        assert_eq!(allow(name, address, Some(Service::Tcp(22)), &Reason::NoProtocol), "a.test:22");
        assert_eq!(allow(name, address, web, &Reason::NoProtocol), "192.0.2.7:443");
        let other = Some(Service::Tcp(8088));
        assert_eq!(allow(name, address, other, &Reason::Http2), "192.0.2.7:8088");
        let many = Some("224.0.0.251");
        assert_eq!(allow(None, many, quic, &Reason::NotPublic(Kind::Multicast)), "-");
        let rule = Rule::parse("a.test").unwrap();
        assert_eq!(allow(name, address, web, &Reason::Denied(rule)), "-");
    }

    #[test]
    fn the_same_is_counted_and_too_much_is_one_number() {
        let mut ledger = Ledger::default();
        let mut refuse = |n: u32, times: u32| {
            let address = std::net::Ipv4Addr::from_bits(0xc000_0000 + n).into();
            let service = Some(Service::Tcp(1));
            let attempt = Attempt { from: FROM, name: None, address: Some(address), service };
            (0..times).for_each(|_| ledger.refuse(attempt, &Reason::NotAllowed));
        };
        for n in 0..1000 {
            refuse(n, 1);
        }
        refuse(7, 9);
        let told = ledger.told();
        assert_eq!((told.refused.len(), told.more), (MOST, 744));
        assert_eq!(told.refused[0].count, 10);
    }
}
