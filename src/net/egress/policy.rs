//! The rules, and what they say of an address, a service and a name.
//!
//! # Theory of operation
//! [`Policy::decide`] is asked before anything is dialled: with the address the payload dials, the service,
//! and the names that address was given as an answer for (`dns` keeps them). Its [`Ruling`] is the
//! address to dial, and what must still be checked of the connection's own words, or a reason.
//!
//! In order: what is denied is refused; an address that a rule names is dialled; what is not public is
//! refused; with no rules (or all of them lifted) everything public is dialled; then rules that are
//! names are looked for among the names of the address.
//!
//! # Decisions
//! - Whoever denies wins, also over a rule that is more specific.
//! - An address is judged by the host it reaches: an IPv4-mapped one is the IPv4 address, and one of NAT64 or
//!   6to4 is what it carries.
//! - An address is the host's own when one of its interfaces has it, or when its routes lead there: who dials it finds
//!   out what the kernel would do, and no list has all of them.
//! - A rule opens an address that is not public only when it lies within the range that makes it so:
//!   `10.0.0.0/8` opens private addresses, `0.0.0.0/0` opens none, and neither a metadata service or
//!   an address of this host, which are named one by one.
//! - A rule that is a name reaches TCP on every port it is about, and then TLS and HTTP must say an allowed
//!   name; other protocols pass only on a port that the rule names, never on 443 and 80. UDP it
//!   reaches on a port it names, 443 and 80 only if the rule ends in `/udp`: QUIC hides its name.
//!
//! # Not here
//! Sockets, clocks, packets (`net::user`); names and their addresses (`net::dns`).

use std::net::IpAddr;
use std::rc::Rc;

use super::home::Ways;
use super::kind::Kind;
use super::reason::Reason;
use crate::spec::net::prefix::embedded;
use crate::spec::net::{Egress, HostName, NameCheck, Prefix, Rule, Target, Transport};

/// What of an address is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// A TCP port.
    Tcp(u16),
    /// A UDP port.
    Udp(u16),
    /// ICMP echo.
    Echo,
}

/// A name that an address was given as an answer for, and still is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pinned<'a> {
    /// The name that was asked for.
    pub name: &'a HostName,
    /// Who said that it has this address.
    pub source: Source,
}

/// Who gave a name its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A server, or the host's file of names.
    Answer,
    /// The user, with `--add-host`: the address was named, and need not be public.
    User,
}

/// What becomes of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// This address is dialled, and no other.
    Dial {
        /// In its usual form: never an IPv4-mapped one.
        address: IpAddr,
        /// What the first bytes must say.
        check: Check,
    },
    /// Nothing is dialled.
    Refuse(Reason),
}

/// What is checked of the bytes that a payload sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Check {
    /// Nothing: they are passed on as they come, and so is what the other side says first.
    Nothing,
    /// TLS and HTTP must say an allowed name.
    Names {
        /// What is neither of them.
        other: Other,
    },
    /// TLS and HTTP must not say a denied name; all else passes.
    Denied,
}

/// What becomes of protocols in which no name is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Other {
    /// Refused; nothing of the other side is passed on before a name was found.
    Refused,
    /// Passed on: the rule names the port.
    Passed,
}

/// What may leave, from the rules and what is known of the host.
#[derive(Debug, Clone)]
pub struct Policy {
    allow: Vec<Rule>,
    deny: Vec<Rule>,
    everything: bool,
    names: NameCheck,
    own: Vec<IpAddr>,
    /// Which others are the host's own, too, where somebody knows.
    ways: Option<Rc<dyn Ways>>,
}

impl Policy {
    /// The policy of some rules on a host that has the addresses `own`.
    pub fn new(egress: &Egress, own: Vec<IpAddr>) -> Self {
        let mut policy = Self {
            allow: if egress.closed { Vec::new() } else { egress.allow.clone() },
            deny: egress.deny.clone(),
            everything: !egress.closed && (egress.everything || egress.allow.is_empty()),
            names: egress.names,
            own: Vec::new(),
            ways: None,
        };
        policy.set_own(own);
        policy
    }

    /// The host's addresses changed. Those of its loopback may be among them, and stay what they are.
    pub fn set_own(&mut self, own: Vec<IpAddr>) {
        let own = own.into_iter().map(|address| address.to_canonical());
        self.own = own.filter(|address| !address.is_loopback()).collect();
    }

    /// From now on what leads to the host itself is its own, too, whatever address it is.
    pub fn ask_ways(&mut self, ways: Rc<dyn Ways>) {
        self.ways = Some(ways);
    }

    /// Whether `address` may be dialled for `service`. `names`: all that it was given as an answer for.
    pub fn decide(&self, address: IpAddr, service: Service, names: &[Pinned<'_>]) -> Ruling {
        let address = address.to_canonical();
        let reached = reached(address);
        if let Some(rule) = self.denying(|target| is_at(target, address, reached), service) {
            return Ruling::Refuse(Reason::Denied(rule.clone()));
        }
        let special = self.kind(address, reached, Some(service));
        let opens = |rule: &&Rule| match &rule.target {
            Target::Addresses(range) if range.contains(address) || range.contains(reached) => {
                special.is_none_or(|(_, within)| within.covers(*range))
            }
            _ => false,
        };
        if self.about(service).any(|rule| opens(&rule)) {
            return Ruling::Dial { address, check: self.check_denied(service) };
        }
        // A name that the user gave an address is as good as the address.
        let trusted = |pinned: &&Pinned<'_>| special.is_none() || pinned.source == Source::User;
        if self.everything && special.is_none() {
            return Ruling::Dial { address, check: self.check_denied(service) };
        }
        let rules: Vec<&Rule> = names
            .iter()
            .filter(trusted)
            .filter(|pinned| self.denies_name(pinned.name, Some(service)).is_none())
            .flat_map(|pinned| self.about(service).filter(|rule| rule.target.is_name(pinned.name)))
            .collect();
        match (self.check_of(service, &rules), special) {
            (Some(check), _) => Ruling::Dial { address, check },
            (None, Some((kind, _))) => Ruling::Refuse(Reason::NotPublic(kind)),
            (None, None) if rules.is_empty() => Ruling::Refuse(Reason::NotAllowed),
            (None, None) => Ruling::Refuse(Reason::UdpOfName),
        }
    }

    /// Whether a name may be asked for: some rule lets at least one of its services through.
    pub fn answers(&self, name: &HostName) -> Result<(), Reason> {
        if let Some(rule) = self.denies_name(name, None) {
            return Err(Reason::Denied(rule.clone()));
        }
        let named = self.allow.iter().any(|rule| rule.target.is_name(name));
        if self.everything || named { Ok(()) } else { Err(Reason::NotAllowed) }
    }

    /// Whether a name that a connection says of itself is one that may be talked to there.
    pub fn speaks(&self, name: &HostName, service: Service, check: Check) -> Result<(), Reason> {
        if let Some(rule) = self.denies_name(name, Some(service)) {
            return Err(Reason::Denied(rule.clone()));
        }
        let named = || self.about(service).any(|rule| rule.target.is_name(name));
        match check {
            Check::Names { .. } if !named() => Err(Reason::OtherName(name.clone())),
            Check::Names { .. } | Check::Denied | Check::Nothing => Ok(()),
        }
    }

    /// What a connection must say that a proxy is asked to make to `name`. That it may be made is known.
    pub fn check_through(&self, name: &HostName, service: Service) -> Check {
        let rules: Vec<&Rule> =
            self.about(service).filter(|rule| rule.target.is_name(name)).collect();
        self.check_of(service, &rules).unwrap_or_else(|| self.check_denied(service))
    }

    /// Whether an address can be dialled at all for this name: others are left out of answers.
    pub fn may_pin(&self, name: &HostName, address: IpAddr, source: Source) -> Result<(), Reason> {
        let address = address.to_canonical();
        let reached = reached(address);
        let Some((kind, within)) = self.kind(address, reached, None) else { return Ok(()) };
        let opened = self.allow.iter().any(|rule| match rule.target {
            Target::Addresses(range) => {
                (range.contains(address) || range.contains(reached)) && within.covers(range)
            }
            _ => source == Source::User && rule.target.is_name(name),
        });
        if opened { Ok(()) } else { Err(Reason::NotPublic(kind)) }
    }

    /// What makes an address, or the one it stands for, not public.
    fn kind(
        &self,
        address: IpAddr,
        reached: IpAddr,
        service: Option<Service>,
    ) -> Option<(Kind, Prefix)> {
        let own = [address, reached].into_iter().find(|address| self.is_own(*address, service));
        own.map(|own| (Kind::Own, Prefix::single(own)))
            .or_else(|| Kind::of(reached))
            .or_else(|| if is_nat64(address) { None } else { Kind::of(address) })
    }

    /// Loopback has a kind of its own, and every way to it leads home.
    fn is_own(&self, address: IpAddr, service: Option<Service>) -> bool {
        let is_loopback = || matches!(Kind::of(address), Some((Kind::Loopback, _)));
        let leads = |ways: &Rc<dyn Ways>| !is_loopback() && ways.lead_home(address, service);
        self.own.contains(&address) || self.ways.as_ref().is_some_and(leads)
    }

    fn about(&self, service: Service) -> impl Iterator<Item = &Rule> {
        self.allow.iter().filter(move |rule| rule.is_about(service.port()))
    }

    fn denying(&self, meant: impl Fn(&Target) -> bool, service: Service) -> Option<&Rule> {
        self.deny.iter().find(|rule| denies(rule, service) && meant(&rule.target))
    }

    /// The rule that denies a name: for one service, or for every one of them.
    fn denies_name(&self, name: &HostName, service: Option<Service>) -> Option<&Rule> {
        self.deny.iter().find(|rule| {
            let about = match service {
                Some(service) => denies(rule, service),
                None => rule.ports.is_none() && rule.transport.is_none(),
            };
            about && rule.target.is_name(name)
        })
    }

    /// Where names are denied, what connections say is looked at everywhere.
    fn check_denied(&self, service: Service) -> Check {
        let names =
            |rule: &Rule| denies(rule, service) && !matches!(rule.target, Target::Addresses(_));
        match service {
            Service::Tcp(_) if self.deny.iter().any(names) => Check::Denied,
            _ => Check::Nothing,
        }
    }

    /// What a flow must say that is let through by rules that are names; `None` if they do not.
    fn check_of(&self, service: Service, rules: &[&Rule]) -> Option<Check> {
        if rules.is_empty() {
            return None;
        }
        if self.names == NameCheck::Any {
            return Some(self.check_denied(service));
        }
        let names_port = rules.iter().any(|rule| rule.ports.is_some());
        match service {
            Service::Tcp(80 | 443) => Some(Check::Names { other: Other::Refused }),
            Service::Tcp(_) if names_port => Some(Check::Names { other: Other::Passed }),
            Service::Tcp(_) => Some(Check::Names { other: Other::Refused }),
            Service::Udp(port) => {
                let said = rules.iter().any(|rule| rule.transport == Some(Transport::Udp));
                let other = names_port && !matches!(port, 80 | 443);
                (said || other).then_some(Check::Nothing)
            }
            Service::Echo => Some(Check::Nothing),
        }
    }
}

impl Service {
    /// The port, for what has one.
    pub fn port(self) -> Option<(Transport, u16)> {
        match self {
            Self::Tcp(port) => Some((Transport::Tcp, port)),
            Self::Udp(port) => Some((Transport::Udp, port)),
            Self::Echo => None,
        }
    }
}

/// Whether a rule that denies is about a service. Who may not be talked to at all is not pinged either.
fn denies(rule: &Rule, service: Service) -> bool {
    rule.is_about(service.port())
}

fn is_at(target: &Target, address: IpAddr, reached: IpAddr) -> bool {
    matches!(target, Target::Addresses(range) if range.contains(address) || range.contains(reached))
}

/// Of the well-known prefix of RFC 6052, which is not of the global range and leads there.
fn is_nat64(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0])
}

/// The host that an address reaches: for an IPv6 form of an IPv4 address, that one.
fn reached(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => embedded(v6).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests;
