//! What the netstack reads of payloads and name servers: each law says what must never leave, or come in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use bryo::net::dns::wire::{Reader, flag, kind};
use bryo::net::dns::{Action, Client, Families, Over, Settings};
use bryo::net::egress::inspect::{Heard, Listener};
use bryo::net::egress::policy::{Check, Other, Service};
use bryo::net::egress::{Gate, Policy, Stands};
use bryo::spec::net::{Egress, HostName, Rule};

/// What all of these allow.
const ALLOWED: &str = "good.test";

fn rules() -> Egress {
    let allow = [ALLOWED, "*.good.test"].map(|text| Rule::parse(text).expect("a rule"));
    Egress { allow: allow.to_vec(), ..Egress::default() }
}

fn is_allowed(name: &HostName) -> bool {
    let parent = HostName::parse(ALLOWED).expect("a name");
    *name == parent || name.is_below(&parent)
}

/// A rule is read or refused; one that was read says the same when it is written and read again.
pub fn rule(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Rule::parse(text) {
        Ok(rule) => assert_eq!(Rule::parse(&rule.to_string()), Ok(rule.clone()), "{rule}"),
        Err(error) => super::is_safe_to_print(&error),
    }
}

fn gate() -> Gate {
    let stands = Stands { resolver: vec![[10, 0, 2, 3].into()], host: Vec::new() };
    let servers = vec![SocketAddr::from(([198, 51, 100, 53], 53))];
    let search = vec![HostName::parse("corp.test").expect("a name")];
    let names = Settings { servers, hosts: Vec::new(), search, families: Families::default() };
    Gate::new(&rules(), Vec::new(), stands, names, Box::new(|| 7))
}

const FROM: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 2, 100));
const CLIENT: Client = Client { flow: 1, from: FROM, over: Over::Datagram };

/// A message of a payload: what is asked of servers is about allowed names alone, and what is answered can be read.
pub fn dns_query(data: &[u8]) {
    let gate = gate();
    gate.ask(CLIENT, data, Instant::now());
    while let Some(action) = gate.action() {
        match action {
            Action::Send { bytes, .. } => {
                let mut reader = Reader::new(&bytes);
                let header = reader.header().expect("a query has a header");
                assert_eq!(header.counts[0], 1, "{bytes:?}");
                let name = reader.question().and_then(|question| question.name.to_host());
                assert!(name.as_ref().is_some_and(is_allowed), "{name:?} left: {bytes:?}");
            }
            Action::Reply(_, bytes) => {
                let addresses = read_reply(&bytes);
                assert_eq!(bytes.get(..2), data.get(..2), "the reply to another query");
                assert!(addresses.is_empty(), "{addresses:?} of nowhere");
            }
            Action::Close(_) => {}
        }
    }
}

/// A message of a server: no address that must not be dialled comes of it, and nothing that cannot be read.
pub fn dns_answer(data: &[u8]) {
    const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x04good\x04test\0\0\x01\0\x01";
    let gate = gate();
    gate.ask(CLIENT, QUERY, Instant::now());
    let (mut answered, mut tries) = (0, 0);
    while let Some(action) = gate.action() {
        match action {
            Action::Send { number, bytes, .. } => {
                tries += 1;
                assert!(tries < 20, "the server is asked for ever");
                // As the one who was asked: only with the query's number.
                let mut message = data.to_vec();
                message.iter_mut().zip(&bytes).take(2).for_each(|(to, from)| *to = *from);
                gate.receive(number, &message, Instant::now());
            }
            Action::Reply(_, bytes) => {
                answered += 1;
                for address in read_reply(&bytes) {
                    let v4 = match address {
                        IpAddr::V4(v4) => v4,
                        IpAddr::V6(v6) => panic!("{v6} was not asked for"),
                    };
                    assert!(!is_inner(v4), "{v4} came in: {data:?}");
                }
            }
            Action::Close(_) => {}
        }
    }
    assert!(answered <= 1, "{answered} replies to one query");
}

fn is_inner(address: Ipv4Addr) -> bool {
    let metadata = address == Ipv4Addr::new(100, 100, 100, 200);
    let zero = address.octets()[0] == 0 || address.octets()[0] >= 240;
    let not_one = address.is_multicast() || address.is_broadcast() || zero;
    let near = address.is_loopback() || address.is_private() || address.is_link_local();
    metadata || not_one || near
}

/// Reads a reply to its last record; the addresses in it.
fn read_reply(bytes: &[u8]) -> Vec<IpAddr> {
    let mut reader = Reader::new(bytes);
    let header = reader.header().expect("a reply has a header");
    assert!(header.flags & flag::RESPONSE != 0, "{bytes:?}");
    for _ in 0..header.counts[0] {
        reader.question().expect("a reply's question can be read");
    }
    let records: u16 = header.counts[1..].iter().sum();
    let mut addresses = Vec::new();
    for _ in 0..records {
        let record = reader.record().expect("a reply's record can be read");
        let data = bytes.get(record.data).expect("a record's data are in the message");
        match (record.kind, <[u8; 4]>::try_from(data), <[u8; 16]>::try_from(data)) {
            (kind::A, Ok(v4), _) => addresses.push(v4.into()),
            (kind::AAAA, _, Ok(v6)) => addresses.push(v6.into()),
            (kind::A | kind::AAAA, ..) => panic!("an address of {} bytes", data.len()),
            _ => {}
        }
    }
    assert_eq!(reader.position(), bytes.len(), "something follows the last record");
    addresses
}

/// What a payload says first over TLS: `data` in one piece and byte by byte is refused or not, and what is passed
/// has said an allowed name.
pub fn client_hello(data: &[u8]) {
    spoken(Service::Tcp(443), data);
}

/// The same of HTTP, request after request.
pub fn http(data: &[u8]) {
    spoken(Service::Tcp(80), data);
}

fn spoken(service: Service, data: &[u8]) {
    let policy = Policy::new(&rules(), Vec::new());
    let whole = heard(&policy, service, data, data.len().max(1));
    for piece in [1, 3, 64] {
        let pieces = heard(&policy, service, data, piece);
        assert_eq!(whole, pieces, "in one piece and in pieces of {piece}: {data:?}");
    }
}

/// Whether a stream in pieces is refused.
fn heard(policy: &Policy, service: Service, data: &[u8], piece: usize) -> bool {
    let check = Check::Names { other: Other::Refused };
    let mut listener = Listener::new(service, check);
    for bytes in data.chunks(piece) {
        match listener.feed(policy, bytes) {
            Heard::Refuse(_) => return true,
            Heard::Trust => {
                let said = listener.said();
                assert!(said.is_some_and(is_allowed), "{said:?} is trusted: {data:?}");
                return false;
            }
            Heard::Pass => assert!(listener.said().is_none_or(is_allowed), "{data:?}"),
            Heard::More => {}
        }
    }
    false
}
