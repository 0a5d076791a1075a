//! A resolver between a client and servers that are made here.
//!
//! Long because each answer is put together where it is given.

mod crowd;
mod edns;
mod given;

use std::net::SocketAddr;

use super::*;
use crate::spec::net::{Egress, HostEntry, Rule};

fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

fn policy(allow: &[&str]) -> Policy {
    let allow = allow.iter().map(|text| Rule::parse(text).unwrap()).collect();
    Policy::new(&Egress { allow, ..Egress::default() }, Vec::new())
}

fn question(name: &str, kind: u16) -> Question {
    let mut wire = Vec::new();
    for label in name.split('.') {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    Question { name: Reader::new(&wire).name().unwrap(), kind, class: INTERNET }
}

const FLOW: Client = of(0, 5, Over::Datagram);

/// A client at one of several addresses.
const fn of(who: u8, flow: u64, over: Over) -> Client {
    Client { flow, from: IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 0, who)), over }
}

/// A resolver, its policy and its clock.
struct Bench {
    resolver: Resolver,
    policy: Policy,
    now: Instant,
}

impl Bench {
    fn new(allow: &[&str]) -> Self {
        Self::with(
            allow,
            Settings {
                servers: vec!["192.0.2.53:53".parse().unwrap(), "192.0.2.54:53".parse().unwrap()],
                ..Settings::default()
            },
        )
    }

    fn with(allow: &[&str], settings: Settings) -> Self {
        let mut id = 0x1233;
        let random = Box::new(move || {
            id += 1;
            id
        });
        let resolver = Resolver::new(settings, random);
        Self { resolver, policy: policy(allow), now: Instant::now() }
    }

    fn ask(&mut self, client: Client, name: &str, kind: u16) {
        let mut writer = Writer::new(77, flag::RECURSE);
        writer.question(&question(name, kind));
        self.resolver.ask(&self.policy, client, &writer.finish(), self.now);
    }

    /// What goes out: number and message.
    fn sent(&mut self) -> Option<(u64, SocketAddr, Over, Vec<u8>)> {
        loop {
            match self.resolver.action()? {
                Action::Send { number, server, over, bytes } => {
                    return Some((number, server, over, bytes));
                }
                Action::Close(_) => {}
                Action::Reply(..) => panic!("a reply where a question was expected"),
            }
        }
    }

    /// What the client is told: code and addresses.
    fn told(&mut self) -> Option<(u16, Vec<IpAddr>)> {
        loop {
            match self.resolver.action()? {
                Action::Reply(client, bytes) => {
                    let bytes = if client.over == Over::Stream { &bytes[2..] } else { &bytes[..] };
                    return Some(summary(bytes));
                }
                Action::Close(_) => {}
                Action::Send { .. } => panic!("a question where a reply was expected"),
            }
        }
    }

    fn answer(&mut self, number: u64, query: &[u8], addresses: &[[u8; 4]]) {
        let reply = reply(query, addresses);
        self.resolver.receive(&self.policy, number, &reply, self.now);
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.resolver.tick(self.now);
    }
}

fn summary(bytes: &[u8]) -> (u16, Vec<IpAddr>) {
    let mut reader = Reader::new(bytes);
    let header = reader.header().unwrap();
    assert_eq!(header.id, 77);
    reader.question().unwrap();
    let records = (0..header.counts[1]).map(|_| reader.record().unwrap());
    let addresses = records
        .filter(|record| record.kind == kind::A)
        .map(|record| IpAddr::from(<[u8; 4]>::try_from(&bytes[record.data]).unwrap()));
    (header.flags & flag::CODE, addresses.collect())
}

/// The answer of an honest server.
fn reply(query: &[u8], addresses: &[[u8; 4]]) -> Vec<u8> {
    let mut reader = Reader::new(query);
    let header = reader.header().unwrap();
    let question = reader.question().unwrap();
    let mut writer = Writer::new(header.id, flag::RESPONSE);
    writer.question(&question);
    for address in addresses {
        writer.answer(&question.name, &question.name, kind::A, 30, address);
    }
    writer.finish()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn an_allowed_name_is_asked_for_and_its_address_held() {
    let mut bench = Bench::new(&["www.test"]);
    bench.ask(FLOW, "WWW.Test", kind::A);
    let (number, server, over, query) = bench.sent().unwrap();
    assert_eq!((server.to_string().as_str(), over), ("192.0.2.53:53", Over::Datagram));
    assert_eq!(query[12..22], *b"\x03www\x04test\0");
    bench.answer(number, &query, &[[192, 0, 2, 7]]);
    assert_eq!(bench.told(), Some((0, vec![ip("192.0.2.7")])));
    let names = bench.resolver.names(ip("192.0.2.7"), bench.now);
    assert_eq!(names, [(host("www.test"), Source::Answer)]);
    assert_eq!(bench.resolver.names(ip("192.0.2.8"), bench.now), []);
    bench.ask(FLOW, "www.test", kind::A);
    assert_eq!(bench.told(), Some((0, vec![ip("192.0.2.7")])));
    bench.wait(31);
    bench.ask(FLOW, "www.test", kind::A);
    assert!(bench.sent().is_some());
}

#[test]
fn names_that_are_not_allowed_never_leave() {
    let mut bench = Bench::new(&["www.test", "*.cdn.test"]);
    let secret = "s3cr3t".repeat(10);
    for name in [
        "evil.test",
        &format!("{secret}.evil.test"),
        &format!("{secret}.www.test"),
        "cdn.test",
        "wwwxtest",
        "1.2.0.192.in-addr.arpa",
        "a.onion",
        "x.invalid",
        "use-application-dns.net",
    ] {
        for kind in [kind::A, kind::AAAA, kind::TXT, kind::MX, kind::HTTPS, 65280] {
            bench.ask(FLOW, name, kind);
            assert_eq!(bench.told(), Some((3, vec![])), "{name}");
            assert_eq!(bench.resolver.action(), None);
        }
    }
    let refused: Vec<HostName> =
        bench.resolver.take_refused().into_iter().map(|r| r.name).collect();
    assert!(refused.contains(&host("evil.test")));
    assert!(!refused.contains(&host("a.onion")));
}

#[test]
fn labels_that_hide_a_dot_or_nul_are_no_allowed_name() {
    let mut bench = Bench::new(&["*.test", "www.test"]);
    for wire in
        [&b"\x08www.test\x00"[..], b"\x04www\0\x04test\x00", b"\x03w\xffw\x04test\x00", b"\x00"]
    {
        let name = Reader::new(wire).name().unwrap();
        let mut writer = Writer::new(77, flag::RECURSE);
        writer.question(&Question { name, kind: kind::A, class: INTERNET });
        bench.resolver.ask(&bench.policy, FLOW, &writer.finish(), bench.now);
        assert_eq!(bench.told(), Some((3, vec![])), "{wire:?}");
    }
}

#[test]
fn types_that_lead_nowhere_are_not_asked_for() {
    let mut bench = Bench::new(&["www.test"]);
    for (kind, code) in [(kind::ANY, 4), (252, 5), (65280, 0), (kind::OPT, 0), (48, 0)] {
        bench.ask(FLOW, "www.test", kind);
        assert_eq!(bench.told(), Some((code, vec![])), "{kind}");
    }
    let settings = Settings {
        servers: vec!["192.0.2.53:53".parse().unwrap()],
        families: Families { v4: true, v6: false },
        ..Settings::default()
    };
    let mut bench = Bench::with(&["www.test"], settings);
    bench.ask(FLOW, "www.test", kind::AAAA);
    assert_eq!(bench.told(), Some((0, vec![])));
}

#[test]
fn a_rebound_address_is_not_told_and_not_held() {
    let mut bench = Bench::new(&["www.test"]);
    bench.ask(FLOW, "www.test", kind::A);
    let (number, _, _, query) = bench.sent().unwrap();
    bench.answer(number, &query, &[[127, 0, 0, 1], [10, 0, 0, 1], [169, 254, 169, 254]]);
    assert_eq!(bench.told(), Some((0, vec![])));
    for address in ["127.0.0.1", "10.0.0.1", "169.254.169.254"] {
        assert_eq!(bench.resolver.names(ip(address), bench.now), []);
    }
    assert_eq!(bench.resolver.take_refused().len(), 3);
}

#[test]
fn another_id_another_question_or_rubbish_is_not_listened_to() {
    let mut bench = Bench::new(&["www.test", "other.test"]);
    bench.ask(FLOW, "www.test", kind::A);
    let (number, _, _, query) = bench.sent().unwrap();
    let mut forged = query.clone();
    forged[1] ^= 1;
    bench.answer(number, &forged, &[[192, 0, 2, 66]]);
    let mut other = Writer::new(0x1234, flag::RECURSE);
    other.question(&question("other.test", kind::A));
    bench.answer(number, &other.finish(), &[[192, 0, 2, 66]]);
    bench.resolver.receive(&bench.policy, number, b"", bench.now);
    bench.resolver.receive(
        &bench.policy,
        number + 1,
        &reply(&query, &[[192, 0, 2, 66]]),
        bench.now,
    );
    assert_eq!(bench.told(), None);
    bench.answer(number, &query, &[[192, 0, 2, 7]]);
    assert_eq!(bench.told(), Some((0, vec![ip("192.0.2.7")])));
}

#[test]
fn a_server_that_does_not_answer_is_followed_by_the_next_and_then_by_an_error() {
    let mut bench = Bench::new(&["www.test"]);
    bench.ask(FLOW, "www.test", kind::A);
    let mut asked = Vec::new();
    while let Some((_, server, _, query)) = bench.sent() {
        asked.push((server.ip(), query[..2].to_vec()));
        bench.wait(2);
        if asked.len() == 4 {
            break;
        }
    }
    let servers: Vec<String> = asked.iter().map(|(server, _)| server.to_string()).collect();
    assert_eq!(servers, ["192.0.2.53", "192.0.2.54", "192.0.2.53", "192.0.2.54"]);
    assert!(asked.windows(2).all(|pair| pair[0].1 != pair[1].1), "each try has an id of its own");
    assert_eq!(bench.told(), Some((2, vec![])));
    assert_eq!(bench.resolver.deadline(), None);
}

#[test]
fn what_did_not_fit_is_asked_for_again_over_tcp() {
    let mut bench = Bench::new(&["www.test"]);
    bench.ask(FLOW, "www.test", kind::A);
    let (number, _, _, query) = bench.sent().unwrap();
    let mut cut = reply(&query, &[]);
    cut[2] |= 2;
    bench.resolver.receive(&bench.policy, number, &cut, bench.now);
    let (number, _, over, query) = bench.sent().unwrap();
    assert_eq!(over, Over::Stream);
    let stream = framed(&reply(&query[2..], &[[192, 0, 2, 7]]));
    for byte in &stream {
        bench.resolver.receive(&bench.policy, number, &[*byte], bench.now);
    }
    assert_eq!(bench.told(), Some((0, vec![ip("192.0.2.7")])));
}

#[test]
fn there_are_never_more_questions_on_their_way_than_fit() {
    let mut bench = Bench::new(&["*.test"]);
    for n in 0..1000 {
        bench.ask(FLOW, &format!("a{n}.test"), kind::A);
    }
    assert_eq!(bench.resolver.lookups.len(), LOOKUPS);
    for _ in 0..20 {
        bench.wait(4);
    }
    assert_eq!(bench.resolver.lookups.len(), 0);
}

#[test]
fn names_of_the_host_are_known_without_asking() {
    let entry = |name: &str, address: &str| HostEntry { name: host(name), address: ip(address) };
    let settings = Settings {
        hosts: vec![
            (entry("db.corp", "10.0.0.5"), Source::User),
            (entry("file.corp", "10.0.0.6"), Source::Answer),
            (entry("pub.corp", "192.0.2.6"), Source::Answer),
            (entry("hidden.corp", "192.0.2.9"), Source::User),
        ],
        ..Settings::default()
    };
    let mut bench = Bench::with(&["db.corp", "file.corp", "pub.corp"], settings);
    for (name, told) in [
        ("db.corp", (0, vec![ip("10.0.0.5")])),
        ("file.corp", (0, vec![])),
        ("pub.corp", (0, vec![ip("192.0.2.6")])),
        ("hidden.corp", (3, vec![])),
        ("localhost", (0, vec![ip("127.0.0.1")])),
        ("a.localhost", (0, vec![ip("127.0.0.1")])),
    ] {
        bench.ask(FLOW, name, kind::A);
        assert_eq!(bench.told(), Some(told), "{name}");
    }
    let names = |bench: &mut Bench, address| bench.resolver.names(ip(address), bench.now);
    assert_eq!(names(&mut bench, "10.0.0.5"), [(host("db.corp"), Source::User)]);
    assert_eq!(names(&mut bench, "10.0.0.6"), []);
    assert_eq!(names(&mut bench, "127.0.0.1"), []);
}

#[test]
fn an_address_that_was_told_has_the_name_it_was_told_for() {
    let mut bench = Bench::new(&["www.test"]);
    bench.ask(FLOW, "www.test", kind::A);
    let (number, _, _, query) = bench.sent().unwrap();
    bench.answer(number, &query, &[[192, 0, 2, 7]]);
    bench.told().unwrap();
    bench.ask(FLOW, "7.2.0.192.in-addr.arpa", kind::PTR);
    let Some(Action::Reply(_, bytes)) = bench.resolver.action() else { panic!("no reply") };
    assert!(bytes.windows(10).any(|part| part == b"\x03www\x04test\0"));
    bench.ask(FLOW, "8.2.0.192.in-addr.arpa", kind::PTR);
    assert_eq!(bench.told(), Some((3, vec![])));
}

#[test]
fn rubbish_from_the_payload_is_answered_or_dropped() {
    let mut bench = Bench::new(&["www.test"]);
    for silent in [b"\0".to_vec(), Writer::new(1, flag::RESPONSE).finish()] {
        assert!(!bench.resolver.ask(&bench.policy, FLOW, &silent, bench.now));
    }
    assert_eq!(bench.resolver.action(), None);
    let code = |bench: &mut Bench, flags, class| {
        let mut writer = Writer::new(77, flags);
        writer.question(&Question { class, ..question("www.test", kind::TXT) });
        bench.resolver.ask(&bench.policy, FLOW, &writer.finish(), bench.now);
        bench.told().unwrap().0
    };
    assert_eq!(code(&mut bench, 0x2800, INTERNET), 4);
    assert_eq!(code(&mut bench, 0, 3), 5);
    bench.resolver.ask(&bench.policy, FLOW, &Writer::new(77, 0).finish(), bench.now);
    assert!(matches!(bench.resolver.action(), Some(Action::Reply(_, bytes)) if bytes[3] & 15 == 1));
}

#[test]
fn nothing_of_a_question_but_name_and_type_is_passed_on() {
    let mut bench = Bench::new(&["www.test"]);
    let mut writer = Writer::new(77, flag::RECURSE | 0x0030);
    writer.question(&question("wWw.TeSt", kind::TXT));
    writer.edns(4096);
    let mut query = writer.finish();
    // An option with four bytes of a secret.
    let end = query.len();
    query[end - 1] = 8;
    query.extend(b"\xfd\xe9\x00\x04s3cr");
    bench.resolver.ask(&bench.policy, FLOW, &query, bench.now);
    let (_, _, _, sent) = bench.sent().unwrap();
    let mut plain = Writer::new(0x1234, flag::RECURSE);
    plain.question(&question("www.test", kind::TXT));
    plain.edns(EDNS_SIZE);
    assert_eq!(sent, plain.finish());
}
