//! What is dialled and what is refused.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn policy(allow: &[&str], deny: &[&str]) -> Policy {
    let rules = |texts: &[&str]| texts.iter().map(|text| Rule::parse(text).unwrap()).collect();
    let egress = Egress { allow: rules(allow), deny: rules(deny), ..Egress::default() };
    Policy::new(&egress, vec!["203.0.113.77".parse().unwrap(), "127.0.0.1".parse().unwrap()])
}

fn ask(policy: &Policy, address: &str, service: Service, names: &[&str]) -> Ruling {
    let names: Vec<HostName> = names.iter().map(|name| HostName::parse(name).unwrap()).collect();
    let pinned: Vec<Pinned<'_>> =
        names.iter().map(|name| Pinned { name, source: Source::Answer }).collect();
    policy.decide(address.parse().unwrap(), service, &pinned)
}

fn dials(ruling: &Ruling) -> bool {
    matches!(ruling, Ruling::Dial { .. })
}

fn check(ruling: &Ruling) -> Option<Check> {
    match ruling {
        Ruling::Dial { check, .. } => Some(*check),
        Ruling::Refuse(_) => None,
    }
}

const HTTPS: Service = Service::Tcp(443);

/// Each reaches something that is not public.
const NOT_PUBLIC: &[&str] = &[
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::10.0.0.1",
    "2002:7f00:1::1",
    "2002:a00:1::",
    "2002:a9fe:a9fe::",
    "2001:0:a00:1::1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.1.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "fd00:ec2::254",
    "fe80::1",
    "fd00::1",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "203.0.113.77",
    "::ffff:203.0.113.77",
    "64:ff9b::203.0.113.77",
    "2002:cb00:714d::1",
];

#[test]
fn without_rules_every_public_address_is_dialled_and_nothing_else() {
    let policy = policy(&[], &[]);
    for public in ["198.51.100.7", "2001:db8::7", "64:ff9b::198.51.100.7", "2002:c633:6407::1"] {
        assert_eq!(check(&ask(&policy, public, HTTPS, &[])), Some(Check::Nothing), "{public}");
        assert!(dials(&ask(&policy, public, Service::Udp(443), &[])), "{public}");
        assert!(dials(&ask(&policy, public, Service::Echo, &[])), "{public}");
    }
    for address in NOT_PUBLIC {
        for service in [HTTPS, Service::Udp(53), Service::Echo] {
            let ruling = ask(&policy, address, service, &[]);
            assert!(matches!(ruling, Ruling::Refuse(Reason::NotPublic(_))), "{address}");
        }
    }
}

#[test]
fn no_rule_that_does_not_name_it_opens_what_is_not_public() {
    let wide =
        ["0.0.0.0/0", "::/0", "2000::/3", "example.org", "*.test", "0.0.0.0/1", "128.0.0.0/1"];
    let policy = policy(&wide, &[]);
    for address in NOT_PUBLIC {
        // As after an answer of a server that wants to reach it.
        assert!(!dials(&ask(&policy, address, HTTPS, &["example.org"])), "{address}");
    }
}

#[test]
fn an_address_is_opened_by_naming_it_or_a_part_of_its_range() {
    let dials = |rule: &str, address: &str| {
        let ruling = ask(&policy(&[rule], &[]), address, Service::Tcp(5432), &[]);
        dials(&ruling)
    };
    assert!(dials("127.0.0.1:5432", "127.0.0.1"));
    assert!(dials("127.0.0.1", "::ffff:127.0.0.1"));
    assert!(dials("10.0.0.0/8", "10.1.2.3"));
    assert!(dials("10.0.0.0/8", "64:ff9b::10.1.2.3"));
    assert!(dials("169.254.169.254", "169.254.169.254"));
    assert!(dials("203.0.113.77", "203.0.113.77"));
    assert!(dials("fd00::/8", "fd12::1"));
    assert!(!dials("127.0.0.1:80", "127.0.0.1"));
    assert!(!dials("10.0.0.1", "10.0.0.2"));
    assert!(!dials("169.254.0.0/16", "169.254.169.254"));
    assert!(!dials("203.0.113.0/24", "203.0.113.77"));
    assert!(!dials("::1", "127.0.0.1"));
    assert!(!dials("fc00::/7", "fd00:ec2::254"));
}

#[test]
fn with_a_rule_only_what_is_named_is_dialled() {
    let policy = policy(&["198.51.100.0/24:443/tcp", "example.org"], &[]);
    assert!(dials(&ask(&policy, "198.51.100.9", HTTPS, &[])));
    assert!(!dials(&ask(&policy, "198.51.100.9", Service::Tcp(80), &[])));
    assert!(!dials(&ask(&policy, "198.51.100.9", Service::Udp(443), &[])));
    assert!(!dials(&ask(&policy, "198.51.100.9", Service::Echo, &[])));
    assert!(!dials(&ask(&policy, "192.0.2.9", HTTPS, &[])));
    assert!(!dials(&ask(&policy, "192.0.2.9", HTTPS, &["example.net"])));
    assert!(!dials(&ask(&policy, "192.0.2.9", HTTPS, &["www.example.org"])));
    assert!(dials(&ask(&policy, "192.0.2.9", HTTPS, &["example.net", "example.org"])));
}

#[test]
fn a_name_must_be_said_where_it_can_be() {
    let asked = |rule: &str, service| {
        check(&ask(&policy(&[rule], &[]), "192.0.2.9", service, &["example.org"]))
    };
    let (refused, passed) =
        (Check::Names { other: Other::Refused }, Check::Names { other: Other::Passed });
    assert_eq!(asked("example.org", HTTPS), Some(refused));
    assert_eq!(asked("example.org:443", HTTPS), Some(refused));
    assert_eq!(asked("example.org:80", Service::Tcp(80)), Some(refused));
    assert_eq!(asked("example.org", Service::Tcp(22)), Some(refused));
    assert_eq!(asked("example.org:22", Service::Tcp(22)), Some(passed));
    assert_eq!(asked("example.org:1-65535", HTTPS), Some(refused));
    assert_eq!(asked("example.org:22", HTTPS), None);
    assert_eq!(asked("example.org", Service::Echo), Some(Check::Nothing));
    assert_eq!(asked("example.org:443", Service::Echo), None);
}

#[test]
fn udp_is_reached_by_its_port_and_quic_by_its_word() {
    let asked = |rule: &str, port| {
        dials(&ask(&policy(&[rule], &[]), "192.0.2.9", Service::Udp(port), &["example.org"]))
    };
    assert!(!asked("example.org", 443));
    assert!(!asked("example.org", 123));
    assert!(!asked("example.org:443", 443));
    assert!(!asked("example.org:80", 80));
    assert!(!asked("example.org:443/tcp", 443));
    assert!(asked("example.org:123", 123));
    assert!(asked("example.org/udp", 443));
    assert!(asked("example.org:443/udp", 443));
    assert!(!asked("example.org:443/udp", 80));
}

#[test]
fn what_is_denied_is_denied_whatever_else_is_said() {
    let policy =
        policy(&["*.example.org", "198.51.100.7"], &["evil.example.org", "198.51.100.0/24"]);
    assert!(!dials(&ask(&policy, "198.51.100.7", HTTPS, &[])));
    assert!(!dials(&ask(&policy, "::ffff:198.51.100.7", HTTPS, &[])));
    assert!(!dials(&ask(&policy, "64:ff9b::198.51.100.7", HTTPS, &[])));
    assert!(dials(&ask(&policy, "192.0.2.9", HTTPS, &["good.example.org"])));
    assert!(!dials(&ask(&policy, "192.0.2.9", HTTPS, &["evil.example.org"])));
    assert!(!dials(&ask(&policy, "198.51.100.9", HTTPS, &["good.example.org"])));
    let name = |text| HostName::parse(text).unwrap();
    assert!(policy.answers(&name("good.example.org")).is_ok());
    assert!(policy.answers(&name("evil.example.org")).is_err());
    let said = policy.speaks(&name("evil.example.org"), HTTPS, Check::Denied);
    assert!(matches!(said, Err(Reason::Denied(_))));
}

#[test]
fn a_denied_name_is_looked_for_in_all_that_is_let_through() {
    let policy = policy(&[], &["evil.example.org"]);
    assert_eq!(check(&ask(&policy, "192.0.2.9", HTTPS, &[])), Some(Check::Denied));
    assert!(policy.speaks(&HostName::parse("a.test").unwrap(), HTTPS, Check::Denied).is_ok());
}

#[test]
fn an_address_the_user_gave_a_name_is_as_good_as_named() {
    let policy = policy(&["db.corp:5432"], &[]);
    let name = HostName::parse("db.corp").unwrap();
    let address: IpAddr = "10.0.0.5".parse().unwrap();
    let asked = |source, port| {
        dials(&policy.decide(address, Service::Tcp(port), &[Pinned { name: &name, source }]))
    };
    assert!(asked(Source::User, 5432));
    assert!(!asked(Source::User, 5433));
    assert!(!asked(Source::Answer, 5432));
    assert!(policy.may_pin(&name, address, Source::User).is_ok());
    assert!(policy.may_pin(&name, address, Source::Answer).is_err());
}

#[test]
fn any_name_may_be_said_when_the_user_wants_so() {
    let rule = Rule::parse("example.org").unwrap();
    let egress = Egress { allow: vec![rule], names: NameCheck::Any, ..Egress::default() };
    let policy = Policy::new(&egress, Vec::new());
    let ruling = ask(&policy, "192.0.2.9", Service::Udp(443), &["example.org"]);
    assert_eq!(check(&ruling), Some(Check::Nothing));
    assert!(!dials(&ask(&policy, "10.0.0.1", HTTPS, &["example.org"])));
}

fn any_rule() -> impl Strategy<Value = Rule> {
    "(a\\.test|\\*\\.test|b\\.test|10\\.0\\.0\\.0/8|127\\.0\\.0\\.1|192\\.0\\.2\\.[0-3]|0\\.0\\.0\\.0/0|::/0)"
        .prop_flat_map(|target| {
            (Just(target), prop::option::of(1u16..100), prop::option::of(any::<bool>()))
        })
        .prop_map(|(target, port, udp)| {
            let bracketed = if target.contains("::") { format!("[{target}]") } else { target };
            let port = port.map_or(String::new(), |port| format!(":{port}"));
            let transport = udp.map_or("", |udp| if udp { "/udp" } else { "/tcp" });
            Rule::parse(&format!("{bracketed}{port}{transport}")).unwrap()
        })
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        prop::sample::select(NOT_PUBLIC).prop_map(|text| text.parse().unwrap()),
        (0u8..4).prop_map(|last| IpAddr::from([192, 0, 2, last])),
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
    ]
}

fn any_service() -> impl Strategy<Value = Service> {
    prop_oneof![
        Just(Service::Echo),
        (1u16..100).prop_map(Service::Tcp),
        (1u16..100).prop_map(Service::Udp)
    ]
}

proptest! {
    #[test]
    fn a_rule_more_that_denies_opens_nothing(
        allow in prop::collection::vec(any_rule(), 1..4),
        deny in prop::collection::vec(any_rule(), 0..3),
        more in any_rule(),
        address in any_address(),
        service in any_service(),
    ) {
        let egress = Egress { allow, deny, ..Egress::default() };
        let fewer = Policy::new(&egress, Vec::new());
        let mut egress = egress;
        egress.deny.push(more);
        let denied = Policy::new(&egress, Vec::new());
        let name = HostName::parse("a.test").unwrap();
        let pinned = [Pinned { name: &name, source: Source::Answer }];
        if dials(&denied.decide(address, service, &pinned)) {
            prop_assert!(dials(&fewer.decide(address, service, &pinned)));
        }
    }

    #[test]
    fn what_is_dialled_is_what_was_asked_for_and_public_or_named(
        allow in prop::collection::vec(any_rule(), 0..4),
        address in any_address(),
        service in any_service(),
    ) {
        let egress = Egress { allow: allow.clone(), ..Egress::default() };
        let name = HostName::parse("a.test").unwrap();
        let pinned = [Pinned { name: &name, source: Source::Answer }];
        let ruling = Policy::new(&egress, Vec::new()).decide(address, service, &pinned);
        if let Ruling::Dial { address: dialled, .. } = ruling {
            prop_assert_eq!(dialled, address.to_canonical());
            let named = allow.iter().any(|rule| match rule.target {
                Target::Addresses(range) => range.length() >= 8,
                _ => false,
            });
            prop_assert!(named || Kind::of(reached(dialled)).is_none());
        }
    }
}

/// Everything of this network stays on the host, at one port.
#[derive(Debug)]
struct Led(Prefix, u16);

impl Ways for Led {
    fn lead_home(&self, to: IpAddr, service: Option<Service>) -> bool {
        self.0.contains(to) && service.is_none_or(|service| service == Service::Tcp(self.1))
    }
}

#[test]
fn what_a_route_leads_to_the_host_is_its_own() {
    let ways = || Rc::new(Led(Prefix::of("203.0.112.0".parse().unwrap(), 24), 443));
    let mut open = policy(&[], &[]);
    assert!(dials(&ask(&open, "203.0.112.9", HTTPS, &[])));
    open.ask_ways(ways());
    let own = Ruling::Refuse(Reason::NotPublic(Kind::Own));
    for spelled in ["203.0.112.9", "::ffff:203.0.112.9", "64:ff9b::203.0.112.9"] {
        assert_eq!(ask(&open, spelled, HTTPS, &[]), own, "{spelled}");
    }
    assert!(dials(&ask(&open, "203.0.112.9", Service::Tcp(80), &[])));
    assert!(dials(&ask(&open, "203.0.113.9", HTTPS, &[])));
    let name = HostName::parse("good.test").unwrap();
    let pinned = open.may_pin(&name, "203.0.112.9".parse().unwrap(), Source::Answer);
    assert_eq!(pinned, Err(Reason::NotPublic(Kind::Own)));
    // A range that has it opens it no more than any other address of the host; its own name does.
    let mut ranged = policy(&["203.0.112.0/24"], &[]);
    ranged.ask_ways(ways());
    assert_eq!(ask(&ranged, "203.0.112.9", HTTPS, &[]), own);
    let mut named = policy(&["203.0.112.9"], &[]);
    named.ask_ways(ways());
    assert!(dials(&ask(&named, "203.0.112.9", HTTPS, &[])));
}
