//! The gate of one sandbox: policy, names, and what was refused, asked by the netstack.

mod tap;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use super::books::Books;
use super::inspect::Listener;
use super::ledger::Attempt;
use super::policy::{Check, Pinned, Policy, Ruling, Service, Source};
use super::reason::Reason;
use super::teller::Tell;
use super::{Destination, Egress, Kind, Verdict, Ways};
use crate::net::dns::{Action, Client, Families, Resolver, Settings};
use crate::plan::traffic::Traffic;
use crate::spec::net::{Egress as Rules, HostName};
use tap::Tap;

/// Addresses inside that stand for something of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stands {
    /// For the name server.
    pub resolver: Vec<IpAddr>,
    /// For the host itself: its loopback, if that is allowed.
    pub host: Vec<IpAddr>,
}

/// See the module. Copies are the same gate.
#[derive(Debug, Clone)]
pub struct Gate(Rc<RefCell<Desk>>);

#[derive(Debug)]
struct Desk {
    policy: Policy,
    resolver: Resolver,
    books: Books,
    stands: Stands,
    learn: bool,
}

impl Gate {
    /// For rules on a host that has the addresses `own`. `random` gives ids that nobody can guess.
    pub fn new(
        rules: &Rules,
        own: Vec<IpAddr>,
        stands: Stands,
        names: Settings,
        random: Box<dyn FnMut() -> u16>,
    ) -> Self {
        let mut desk = Desk {
            policy: Policy::new(rules, own),
            resolver: Resolver::new(names, random),
            books: Books::default(),
            stands,
            learn: rules.learn,
        };
        desk.resolver.hold_given(&desk.policy, Instant::now());
        Self(Rc::new(RefCell::new(desk)))
    }

    /// Whether this is where the name server is asked.
    pub fn is_resolver(&self, to: SocketAddr) -> bool {
        to.port() == 53 && self.0.borrow().stands.resolver.contains(&to.ip())
    }

    /// A message of the payload to its name server. Whether there will be a reply.
    pub fn ask(&self, client: Client, message: &[u8], now: Instant) -> bool {
        self.with_resolver(|resolver, policy| resolver.ask(policy, client, message, now))
    }

    /// What a server answered to a try.
    pub fn receive(&self, number: u64, bytes: &[u8], now: Instant) {
        self.with_resolver(|resolver, policy| resolver.receive(policy, number, bytes, now));
    }

    /// A try has failed.
    pub fn broken(&self, number: u64, now: Instant) {
        self.with_resolver(|resolver, _| resolver.broken(number, now));
    }

    /// Time passed for the name server.
    pub fn tick(&self, now: Instant) {
        self.with_resolver(|resolver, _| resolver.tick(now));
    }

    /// A member of the same network has these addresses now, or none any more.
    pub fn member_is(&self, name: HostName, addresses: Vec<IpAddr>) {
        self.0.borrow_mut().resolver.member_is(name, addresses);
    }

    /// The host asks these servers for names now.
    pub fn servers_are(&self, servers: Vec<SocketAddr>) {
        self.0.borrow_mut().resolver.set_servers(servers, Instant::now());
    }

    /// From now on what leads to the host itself is its own address, too.
    pub fn ask_ways(&self, ways: Rc<dyn Ways>) {
        self.0.borrow_mut().policy.ask_ways(ways);
    }

    /// The host has these addresses now.
    pub fn host_is(&self, own: Vec<IpAddr>) {
        let desk = &mut *self.0.borrow_mut();
        desk.resolver.set_families(Families::of(&own));
        desk.policy.set_own(own);
    }

    /// Whether a flow that was let out leads to the host itself now. It is told as refused.
    pub fn leads_home(&self, from: IpAddr, to: Destination) -> bool {
        let desk = &mut *self.0.borrow_mut();
        if desk.stands.resolver.contains(&to.address()) {
            return false;
        }
        let (service, wanted) = (service_of(to).0, desk.led(to.address()));
        let names = desk.resolver.names(wanted, Instant::now());
        let ruling = desk.policy.decide(wanted, service, &pinned(&names));
        let Ruling::Refuse(reason @ Reason::NotPublic(Kind::Own)) = ruling else { return false };
        let name = names.first().map(|(name, _)| name);
        let attempt = Attempt { from, name, address: Some(wanted), service: Some(service) };
        desk.books.of(from).refuse(attempt, &reason);
        true
    }

    /// What the name server wants done next.
    pub fn action(&self) -> Option<Action> {
        self.0.borrow_mut().resolver.action()
    }

    /// When [`Gate::tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.borrow().resolver.deadline()
    }

    /// Has `tell` told of flows, from now on: the first of each that is let out, and that is not.
    pub fn tell_with(&self, tell: Tell) {
        self.0.borrow_mut().books.tell_with(tell);
    }

    /// Keeps what each of those behind the link does apart from what others do.
    pub fn keep_apart(&self) {
        self.0.borrow_mut().books.keep_apart();
    }

    /// Nobody has these addresses any more.
    pub fn left(&self, addresses: &[IpAddr]) {
        self.0.borrow_mut().books.left(addresses);
    }

    /// What was refused and used so far: of who has these addresses, or with none of all.
    pub fn told(&self, of: &[IpAddr]) -> Traffic {
        self.0.borrow().books.told(of)
    }

    fn with_resolver<T>(&self, act: impl FnOnce(&mut Resolver, &Policy) -> T) -> T {
        let desk = &mut *self.0.borrow_mut();
        let done = act(&mut desk.resolver, &desk.policy);
        for refused in desk.resolver.take_refused() {
            let (from, name, address) = (refused.from, Some(&refused.name), refused.address);
            let attempt = Attempt { from, name, address, service: None };
            desk.books.of(from).refuse(attempt, &refused.reason);
        }
        done
    }
}

impl Egress for Gate {
    fn open(&mut self, from: IpAddr, to: Destination) -> Verdict {
        let now = Instant::now();
        let desk = &mut *self.0.borrow_mut();
        let (service, port) = service_of(to);
        if desk.stands.resolver.contains(&to.address()) {
            return match service {
                Service::Tcp(53) | Service::Udp(53) => Verdict::Names,
                Service::Tcp(_) | Service::Udp(_) | Service::Echo => Verdict::Closed,
            };
        }
        let wanted = desk.led(to.address());
        let names = desk.resolver.names(wanted, now);
        match desk.decide(from, wanted, service, &names) {
            Ok((address, Check::Nothing)) => Verdict::Allow(SocketAddr::new(address, port)),
            Ok((address, check)) => {
                let name = names.into_iter().next().map(|(name, _)| name);
                let listener = Listener::new(service, check);
                let gate = self.clone();
                let tap = Tap { gate, from, listener, address, service, check, name };
                Verdict::Inspect(SocketAddr::new(address, port), Box::new(tap))
            }
            Err(()) => Verdict::Deny,
        }
    }
}

impl Desk {
    /// Where an address inside leads.
    fn led(&self, address: IpAddr) -> IpAddr {
        match address {
            _ if !self.stands.host.contains(&address) => address,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        }
    }

    fn decide(
        &mut self,
        from: IpAddr,
        address: IpAddr,
        service: Service,
        names: &[(HostName, Source)],
    ) -> Result<(IpAddr, Check), ()> {
        let attempt = |name| Attempt { from, name, address: Some(address), service: Some(service) };
        let ledger = self.books.of(from);
        match self.policy.decide(address, service, &pinned(names)) {
            Ruling::Dial { address, check } => {
                ledger.tell(attempt(names.first().map(|(name, _)| name)), None);
                if self.learn && names.is_empty() {
                    ledger.used(attempt(None));
                }
                for (name, _) in names.iter().filter(|_| self.learn) {
                    ledger.used(attempt(Some(name)));
                }
                Ok((address, check))
            }
            Ruling::Refuse(reason) => {
                ledger.refuse(attempt(names.first().map(|(name, _)| name)), &reason);
                Err(())
            }
        }
    }
}

fn pinned(names: &[(HostName, Source)]) -> Vec<Pinned<'_>> {
    names.iter().map(|(name, source)| Pinned { name, source: *source }).collect()
}

fn service_of(to: Destination) -> (Service, u16) {
    match to {
        Destination::Tcp(to) => (Service::Tcp(to.port()), to.port()),
        Destination::Udp(to) => (Service::Udp(to.port()), to.port()),
        Destination::Echo(_) => (Service::Echo, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sight;
    use super::*;
    use crate::net::dns::Over;
    use crate::net::dns::wire::{INTERNET, Question, Reader, WireName, kind};
    use crate::net::dns::write::Writer;
    use crate::spec::net::Rule;

    fn gate(allow: &[&str]) -> Gate {
        let allow = allow.iter().map(|text| Rule::parse(text).unwrap()).collect();
        let rules = Rules { allow, learn: true, ..Rules::default() };
        let stands = Stands { resolver: vec![ip("10.0.2.3")], host: vec![ip("10.0.2.2")] };
        let names =
            Settings { servers: vec!["192.0.2.53:53".parse().unwrap()], ..Settings::default() };
        let mut id = 0;
        let random = Box::new(move || {
            id += 1;
            id
        });
        Gate::new(&rules, vec![ip("192.0.2.99")], stands, names, random)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn tcp(gate: &mut Gate, to: &str) -> Verdict {
        gate.open(ip("10.0.2.100"), Destination::Tcp(to.parse().unwrap()))
    }

    /// Looks a name up; the server answers with this address.
    fn look_up(gate: &Gate, name: &str, address: [u8; 4]) {
        let now = Instant::now();
        let question = Question {
            name: WireName::of(&HostName::parse(name).unwrap()),
            kind: kind::A,
            class: INTERNET,
        };
        let mut query = Writer::new(9, 0x100);
        query.question(&question);
        gate.ask(
            Client { flow: 1, from: ip("10.0.2.100"), over: Over::Datagram },
            &query.finish(),
            now,
        );
        if let Some(Action::Send { number, bytes, .. }) = gate.action() {
            let id = Reader::new(&bytes).word().unwrap();
            let mut reply = Writer::new(id, 0x8180);
            reply.question(&question);
            reply.answer(&question.name, &question.name, kind::A, 60, &address);
            gate.receive(number, &reply.finish(), now);
        }
        while gate.action().is_some() {}
    }

    #[test]
    fn an_address_is_dialled_once_an_allowed_name_had_it_and_said_it() {
        let mut gate = gate(&["good.test"]);
        assert!(matches!(tcp(&mut gate, "192.0.2.7:80"), Verdict::Deny));
        look_up(&gate, "good.test", [192, 0, 2, 7]);
        look_up(&gate, "evil.test", [192, 0, 2, 8]);
        assert!(matches!(tcp(&mut gate, "192.0.2.8:80"), Verdict::Deny));
        let Verdict::Inspect(to, mut tap) = tcp(&mut gate, "192.0.2.7:80") else {
            panic!("not inspected")
        };
        assert_eq!(to, "192.0.2.7:80".parse().unwrap());
        assert_eq!(tap.look(b"GET / HTTP/1.1\r\nHost: good.test\r\n"), Sight::Hold);
        assert_eq!(tap.look(b"\r\n"), Sight::Pass);
        assert_eq!(tap.look(b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n"), Sight::Refuse);
        let told = gate.told(&[]);
        let allow: Vec<String> =
            told.refused.iter().filter_map(|r| r.allow.as_ref()).map(ToString::to_string).collect();
        assert!(allow.contains(&"evil.test".to_owned()), "{allow:?}");
        assert!(allow.contains(&"evil.test:80".to_owned()), "{allow:?}");
        assert!(allow.contains(&"192.0.2.8:80".to_owned()), "{allow:?}");
        assert_eq!(told.used, [Rule::parse("good.test:80").unwrap()]);
    }

    #[test]
    fn a_rebound_name_leads_nowhere() {
        let mut gate = gate(&["good.test"]);
        for address in [[127, 0, 0, 1], [10, 0, 0, 1], [169, 254, 169, 254], [192, 0, 2, 99]] {
            look_up(&gate, "good.test", address);
            let to = format!("{}:80", IpAddr::from(address));
            assert!(matches!(tcp(&mut gate, &to), Verdict::Deny), "{to}");
        }
    }

    #[test]
    fn an_address_that_the_host_is_given_is_its_own_for_flows_that_are_there_too() {
        let mut gate = gate(&["good.test", "198.51.100.5", "203.0.113.0/24"]);
        look_up(&gate, "good.test", [192, 0, 2, 7]);
        let flow = |to: &str| Destination::Tcp(to.parse().unwrap());
        let all = ["192.0.2.7:80", "203.0.113.9:80", "198.51.100.5:80"];
        for to in all {
            assert!(!matches!(tcp(&mut gate, to), Verdict::Deny), "{to}");
            assert!(!gate.leads_home(ip("10.0.2.100"), flow(to)), "{to}");
        }
        gate.host_is(["192.0.2.7", "203.0.113.9", "198.51.100.5", "10.0.2.3"].map(ip).into());
        // One that was named by itself stays allowed.
        let home = all.map(|to| gate.leads_home(ip("10.0.2.100"), flow(to)));
        assert_eq!(home, [true, true, false]);
        assert!(
            !gate.leads_home(ip("10.0.2.100"), Destination::Udp("10.0.2.3:53".parse().unwrap()))
        );
        for to in ["192.0.2.7:80", "203.0.113.9:80"] {
            assert!(matches!(tcp(&mut gate, to), Verdict::Deny), "{to}");
        }
        gate.host_is(vec![ip("192.0.2.99")]);
        assert!(!gate.leads_home(ip("10.0.2.100"), flow(all[0])));
    }

    #[test]
    fn the_gateway_leads_to_the_loopback_that_was_named() {
        let mut gate = gate(&["127.0.0.1:5432"]);
        let there: SocketAddr = "127.0.0.1:5432".parse().unwrap();
        assert!(matches!(tcp(&mut gate, "10.0.2.2:5432"), Verdict::Allow(to) if to == there));
        assert!(matches!(tcp(&mut gate, "10.0.2.2:5433"), Verdict::Deny));
        assert!(matches!(tcp(&mut gate, "10.0.2.3:53"), Verdict::Names));
        assert!(matches!(tcp(&mut gate, "10.0.2.3:80"), Verdict::Closed));
    }
}
