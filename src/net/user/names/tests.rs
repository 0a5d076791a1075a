//! The name server against a server on the loopback.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::thread;

use super::connections::{IDLE, STREAMS};
use super::*;
use crate::net::dns::wire::{INTERNET, Question, Reader, WireName, kind};
use crate::net::dns::write::Writer;
use crate::net::dns::{Settings, stream};
use crate::net::egress::Stands;
use crate::net::user::dial::Host;
use crate::spec::net::{Egress as Rules, HostName, Rule};

const RESOLVER: &str = "10.0.2.3:53";

fn named(server: SocketAddr) -> Named<Host> {
    let allow = ["good.test", "*.good.test"].map(|rule| Rule::parse(rule).unwrap()).to_vec();
    let rules = Rules { allow, ..Rules::default() };
    let resolver: SocketAddr = RESOLVER.parse().unwrap();
    let stands = Stands { resolver: vec![resolver.ip()], host: Vec::new() };
    let names = Settings { servers: vec![server], ..Settings::default() };
    let gate = Gate::new(&rules, Vec::new(), stands, names, Box::new(|| 0x4242));
    Named::new(gate, Host).unwrap()
}

fn query(name: &str) -> Vec<u8> {
    let name = WireName::of(&HostName::parse(name).unwrap());
    let mut writer = Writer::new(7, 0x100);
    writer.question(&Question { name, kind: kind::A, class: INTERNET });
    writer.finish()
}

/// As many addresses as are asked for.
fn answer(query: &[u8], addresses: u8, flags: u16) -> Vec<u8> {
    let mut reader = Reader::new(query);
    let id = reader.header().unwrap().id;
    let question = reader.question().unwrap();
    let mut writer = Writer::new(id, 0x8180 | flags);
    writer.question(&question);
    for last in 0..addresses {
        writer.answer(&question.name, &question.name, kind::A, 60, &[192, 0, 2, last]);
    }
    writer.finish()
}

/// Turns until `done` gives something.
fn until<T>(named: &mut Named<Host>, mut done: impl FnMut(&mut Named<Host>) -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = done(named) {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "nothing came");
        let mut events = Vec::with_capacity(4);
        let wait = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        let waiter = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let data = epoll::EventData::new_u64(0);
        epoll::add(&waiter, named.events().unwrap(), data, epoll::EventFlags::IN).unwrap();
        let spare = rustix::buffer::spare_capacity(&mut events);
        epoll::wait(&waiter, spare, Some(&wait)).unwrap();
        named.turn(Instant::now());
    }
}

fn ends(port: u16) -> Ends {
    Ends {
        inside: SocketAddr::new([10, 0, 2, 100].into(), port),
        outside: RESOLVER.parse().unwrap(),
    }
}

fn addresses(reply: &[u8]) -> u16 {
    let header = Reader::new(reply).header().unwrap();
    assert_eq!(header.id, 7);
    header.counts[1]
}

#[test]
fn a_datagram_is_answered_from_where_it_was_asked() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut named = named(server.local_addr().unwrap());
    let serve = thread::spawn(move || {
        let mut room = [0; 2000];
        let (length, from) = server.recv_from(&mut room).unwrap();
        server.send_to(&answer(&room[..length], 3, 0), from).unwrap();
    });
    assert!(!named.take(Ends { outside: "10.0.2.3:54".parse().unwrap(), ..ends(9) }, b"x"));
    assert!(named.take(ends(1000), &query("good.test")));
    let (to, reply) = until(&mut named, Named::give);
    assert_eq!((to, addresses(&reply)), (ends(1000), 3));
    serve.join().unwrap();
    // One question and one answer, as they were on the host's network.
    let (asked, answered) = named.passed();
    assert!((50..100).contains(&asked) && answered > asked, "{asked} {answered}");
    assert_eq!(named.passed(), (0, 0));
    assert!(named.take(ends(1001), &query("evil.test")));
    let (to, reply) = named.give().unwrap();
    assert_eq!((to, addresses(&reply)), (ends(1001), 0));
    assert_eq!(named.passed(), (0, 0));
    assert!(named.tries.is_empty() && named.datagrams.is_empty());
    let address: IpAddr = [192, 0, 2, 1].into();
    let opened =
        named.open([10, 0, 2, 100].into(), Destination::Tcp(SocketAddr::new(address, 443)));
    assert!(matches!(opened, Verdict::Inspect(..)));
}

#[test]
fn a_connection_asks_and_what_does_not_fit_comes_over_tcp() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(at).unwrap();
    let mut named = named(at);
    let serve = thread::spawn(move || {
        let mut room = [0; 2000];
        let (length, from) = udp.recv_from(&mut room).unwrap();
        udp.send_to(&answer(&room[..length], 0, 0x200), from).unwrap();
        let (mut peer, _) = tcp.accept().unwrap();
        let mut asked = vec![0; length + 2];
        peer.read_exact(&mut asked).unwrap();
        for part in stream::framed(&answer(&asked[2..], 100, 0)).chunks(97) {
            peer.write_all(part).unwrap();
        }
    });
    let to = Destination::Tcp(RESOLVER.parse().unwrap());
    assert!(matches!(named.open([10, 0, 2, 100].into(), to), Verdict::Names));
    let socket = named.connect([10, 0, 2, 100].into()).unwrap();
    let asked = stream::framed(&query("good.test"));
    let (one, two) = asked.split_at(5);
    rustix::net::send(&socket, one, SendFlags::NOSIGNAL).unwrap();
    named.turn(Instant::now());
    rustix::net::send(&socket, two, SendFlags::NOSIGNAL).unwrap();
    let mut got = Vec::new();
    let reply = until(&mut named, |_| {
        let mut room = [0; 4000];
        if let Ok((_, length)) = rustix::net::recv(&socket, &mut room, RecvFlags::empty()) {
            got.extend_from_slice(&room[..length]);
        }
        stream::first(&got).map(<[u8]>::to_vec)
    });
    assert_eq!(addresses(&reply), 100);
    serve.join().unwrap();
    let (asked, answered) = named.passed();
    assert!((250..700).contains(&asked) && answered > 1600, "{asked} {answered}");
    drop(socket);
    until(&mut named, |named| named.streams.is_empty().then_some(()));
}

#[test]
fn a_server_that_is_not_there_is_an_error_at_once() {
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut named = named(gone);
    let start = Instant::now();
    assert!(named.take(ends(1), &query("good.test")));
    let (_, reply) = until(&mut named, Named::give);
    assert_eq!(reply[3] & 15, 2);
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// The engine's end of a new connection of a member.
fn connected(named: &mut Named<Host>, who: u8) -> Option<OwnedFd> {
    let to = Destination::Tcp(RESOLVER.parse().unwrap());
    assert!(matches!(named.open([10, 0, 2, 100].into(), to), Verdict::Names));
    named.connect([10, 0, 2, who].into())
}

fn is_closed(socket: &OwnedFd) -> bool {
    matches!(rustix::net::recv(socket, &mut [0; 1], RecvFlags::PEEK), Ok((_, 0)))
}

/// The sandbox's own datagrams are those of 100.
fn of(who: u8, port: u16) -> Ends {
    Ends { inside: SocketAddr::new([10, 0, 2, who].into(), port), ..ends(port) }
}

#[test]
fn what_gets_no_reply_keeps_no_place() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut named = named(silent.local_addr().unwrap());
    let response = Writer::new(7, 0x8100).finish();
    for port in 1..3000 {
        assert!(named.take(ends(port), if port % 2 == 0 { b"x" } else { &response }));
    }
    assert!(named.datagrams.is_empty());
    assert!(named.take(ends(4000), &query("evil.test")));
    assert_eq!(named.give().unwrap().0, ends(4000));
}

#[test]
fn who_waits_most_is_forgotten_first() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut named = named(silent.local_addr().unwrap());
    // As many names as everybody's questions need that wait for one answer each.
    let asked: Vec<Vec<u8>> = (0..60).map(|n| query(&format!("a{n}.good.test"))).collect();
    for port in 1..3000 {
        assert!(named.take(of(100, port), &asked[usize::from(port) % asked.len()]));
    }
    assert_eq!(named.datagrams.len(), DATAGRAMS);
    while named.give().is_some() {}
    assert!(named.take(of(101, 1), &query("good.test")));
    let waits = |named: &Named<Host>, who: u8| {
        let inside: IpAddr = [10, 0, 2, who].into();
        named.datagrams.values().filter(|(ends, _)| ends.inside.ip() == inside).count()
    };
    assert_eq!((waits(&named, 100), waits(&named, 101)), (DATAGRAMS - 1, 1));
    // Refused names are answered at once, however many wait.
    assert!(named.take(of(100, 9), &query("evil.test")));
    assert_eq!(named.give().unwrap().0, of(100, 9));
    assert_eq!(waits(&named, 101), 1);
}

#[test]
fn an_idle_connection_is_closed_and_one_that_waits_is_not() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut named = named(silent.local_addr().unwrap());
    assert_eq!(named.deadline(), None);
    let [idle, begun, waits] = [1, 1, 1].map(|who| connected(&mut named, who).unwrap());
    let send = |socket: &OwnedFd, bytes: &[u8]| {
        rustix::net::send(socket, bytes, SendFlags::NOSIGNAL).unwrap();
    };
    send(&waits, &stream::framed(&query("good.test")));
    let start = Instant::now();
    named.turn(start);
    assert!(named.deadline().unwrap() < start + IDLE);
    // A byte now and then is no question.
    send(&begun, b"\0");
    named.turn(start + IDLE / 2);
    assert_eq!(named.streams.len(), 3);
    send(&begun, b"\x20");
    // The look-up begins its second try.
    named.turn(start + IDLE);
    assert_eq!(named.streams.len(), 1);
    assert!(is_closed(&idle) && is_closed(&begun) && !is_closed(&waits));
    // Four tries without an answer: then it is told so, and closed when it asks no more.
    let mut told = [0; 100];
    let hears = |told: &mut [u8]| rustix::net::recv(&waits, told, RecvFlags::empty());
    let mut answered = start + IDLE;
    while hears(&mut told[..1]).is_err() {
        answered += Duration::from_secs(2);
        assert!(answered < start + 3 * IDLE);
        named.turn(answered);
    }
    let (_, length) = hears(&mut told[1..]).unwrap();
    assert_eq!((told[5] & 15, length > 12), (2, true));
    named.turn(answered + IDLE.saturating_sub(Duration::from_millis(1)));
    assert!(!is_closed(&waits));
    named.turn(answered + IDLE);
    assert!(named.streams.is_empty() && is_closed(&waits));
    assert_eq!(named.deadline(), None);
}

#[test]
fn the_connection_that_is_idle_for_longest_makes_room() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut named = named(silent.local_addr().unwrap());
    let all: Vec<OwnedFd> = (0..STREAMS).map(|_| connected(&mut named, 1).unwrap()).collect();
    let next = connected(&mut named, 1).unwrap();
    assert!(is_closed(&all[0]) && all[1..].iter().all(|one| !is_closed(one)));
    // Those that wait for a reply stay, but for somebody who has none.
    for (n, one) in all[1..].iter().chain([&next]).enumerate() {
        let asked = stream::framed(&query(&format!("a{n}.good.test")));
        rustix::net::send(one, &asked, SendFlags::NOSIGNAL).unwrap();
    }
    named.turn(Instant::now());
    assert!(connected(&mut named, 1).is_none());
    let other = connected(&mut named, 2).unwrap();
    assert_eq!(named.streams.len(), STREAMS);
    assert!(!is_closed(&other));
    // Whoever floods ends its own.
    for _ in 0..100 {
        connected(&mut named, 1);
    }
    assert!(!is_closed(&other));
}
