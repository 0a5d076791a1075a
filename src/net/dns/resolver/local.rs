//! Names that are answered without asking anybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::super::answer::Answer;
use super::super::wire::{Code, kind};
use super::{LOCAL, Resolver, Waiting};
use crate::net::egress::Kind;
use crate::net::egress::policy::{Policy, Source};
use crate::spec::net::{HostEntry, HostName};

/// Seconds that an answer about a member of the same network holds.
const MEMBER: u32 = 2;

/// Longer than anything else holds: what ends soonest makes room.
const ALWAYS: Duration = Duration::from_hours(24 * 3650);

impl Resolver {
    /// A member of the same network has these addresses now, or none any more.
    pub fn member_is(&mut self, name: HostName, addresses: Vec<IpAddr>) {
        if addresses.is_empty() {
            self.members.remove(&name);
        } else {
            self.members.insert(name, addresses);
        }
    }

    /// What the user gave stands in the sandbox's `/etc/hosts` too: who reads it there asks us nothing, and the
    /// address is to be the name's all the same.
    pub fn hold_given(&mut self, policy: &Policy, now: Instant) {
        let hosts = self.settings.hosts.iter().filter(|(_, source)| *source == Source::User);
        for (HostEntry { name, address }, source) in hosts {
            if policy.answers(name).and_then(|()| policy.may_pin(name, *address, *source)).is_ok() {
                self.pins.pin(*address, name, *source, now + ALWAYS, now);
            }
        }
    }

    /// The name that was given to an address, here or on the host.
    fn given_to(&self, policy: &Policy, address: IpAddr) -> Option<&HostName> {
        let is_it = |(entry, source): &&(HostEntry, Source)| {
            entry.address == address
                && policy.answers(&entry.name).is_ok()
                && policy.may_pin(&entry.name, address, *source).is_ok()
        };
        self.settings.hosts.iter().find(is_it).map(|(entry, _)| &entry.name)
    }

    /// What is known without asking anybody.
    pub(super) fn local(
        &mut self,
        policy: &Policy,
        name: &HostName,
        waiting: &Waiting,
        now: Instant,
    ) -> Option<Answer> {
        let Waiting { question, client, .. } = waiting;
        let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
        if is_or_below(name, "localhost") {
            return Some(Answer::addresses(name, question.kind, &loopback, LOCAL));
        }
        // They come and go: the answer holds for a moment.
        if let Some(addresses) = self.members.get(name) {
            return Some(Answer::addresses(name, question.kind, addresses, MEMBER));
        }
        if never_asked(name) {
            return Some(Answer::nothing(Code::NxDomain, LOCAL));
        }
        if let Some(address) = reversed(name) {
            let member = self.members.iter().find(|(_, has)| has.contains(&address));
            if let Some((known, _)) = member.filter(|_| question.kind == kind::PTR) {
                return Some(Answer::pointer(&question.name, known, MEMBER));
            }
            if let Some(known) =
                self.given_to(policy, address).filter(|_| question.kind == kind::PTR)
            {
                return Some(Answer::pointer(&question.name, known, LOCAL));
            }
            let names = self.pins.names(address, now);
            return match names.first() {
                Some((known, _)) if question.kind == kind::PTR => {
                    Some(Answer::pointer(&question.name, known, LOCAL))
                }
                Some(_) => Some(Answer::nothing(Code::NoError, LOCAL)),
                // Who asks for these does so to show a name; that there is none is no loss worth telling.
                None if Kind::of(address).is_some() || policy.answers(name).is_err() => {
                    Some(Answer::nothing(Code::NxDomain, LOCAL))
                }
                None => None,
            };
        }
        let entries: Vec<_> =
            self.settings.hosts.iter().filter(|(entry, _)| entry.name == *name).cloned().collect();
        if entries.is_empty() || policy.answers(name).is_err() {
            return None;
        }
        let mut addresses = Vec::new();
        for (HostEntry { address, .. }, source) in entries {
            match policy.may_pin(name, address, source) {
                Ok(()) => {
                    addresses.push(address);
                    self.pins.pin(address, name, source, now, now);
                }
                Err(reason) => self.refuse(client.from, name.clone(), Some(address), reason),
            }
        }
        Some(Answer::addresses(name, question.kind, &addresses, LOCAL))
    }
}

fn is_or_below(name: &HostName, parent: &str) -> bool {
    let rest = name.as_str().strip_suffix(parent);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Names that no server is to be asked about (RFC 6761, RFC 7686), and the one that turns off a browser's
/// own resolver.
fn never_asked(name: &HostName) -> bool {
    is_or_below(name, "invalid")
        || is_or_below(name, "onion")
        || name.as_str() == "use-application-dns.net"
}

/// The address that a name of `in-addr.arpa` or `ip6.arpa` is about.
fn reversed(name: &HostName) -> Option<IpAddr> {
    if let Some(labels) = name.as_str().strip_suffix(".in-addr.arpa") {
        let octets: Vec<u8> = labels.rsplit('.').map(|o| o.parse().ok()).collect::<Option<_>>()?;
        return <[u8; 4]>::try_from(octets).ok().map(|octets| Ipv4Addr::from(octets).into());
    }
    let labels = name.as_str().strip_suffix(".ip6.arpa")?;
    let digit = |label: &str| u128::from_str_radix(label, 16).ok().filter(|_| label.len() == 1);
    let digits: Vec<u128> = labels.rsplit('.').map(digit).collect::<Option<_>>()?;
    let bits = digits.iter().fold(0, |bits, digit| bits << 4 | digit);
    (digits.len() == 32).then(|| Ipv6Addr::from_bits(bits).into())
}
