//! What connections may say, and every way to say two things at once.
//!
//! Long because the streams that are tried stand beside what becomes of them.

use proptest::prelude::*;

use super::*;
use crate::spec::net::{Egress, Rule};

fn policy(allow: &[&str], deny: &[&str]) -> Policy {
    let rules = |texts: &[&str]| texts.iter().map(|text| Rule::parse(text).unwrap()).collect();
    let egress = Egress { allow: rules(allow), deny: rules(deny), ..Egress::default() };
    Policy::new(&egress, Vec::new())
}

fn good() -> Policy {
    policy(&["good.test", "*.good.test", "proxy.test:3128", "192.0.2.7:443"], &["bad.good.test"])
}

const STRICT: Check = Check::Names { other: Other::Refused };
const LENIENT: Check = Check::Names { other: Other::Passed };
const HTTP: Service = Service::Tcp(80);
const HTTPS: Service = Service::Tcp(443);

fn hear(service: Service, check: Check, pieces: &[&[u8]]) -> Heard {
    let (policy, mut listener) = (good(), Listener::new(service, check));
    let mut last = Heard::Pass;
    for piece in pieces {
        last = listener.feed(&policy, piece);
        if !matches!(last, Heard::More | Heard::Pass) {
            return last;
        }
    }
    last
}

fn http(text: &str) -> Heard {
    hear(HTTP, STRICT, &[text.as_bytes()])
}

fn is_refused(heard: &Heard) -> bool {
    matches!(heard, Heard::Refuse(_))
}

/// Bytes after their length in `width` bytes.
fn counted(width: usize, content: &[u8]) -> Vec<u8> {
    let mut bytes = content.len().to_be_bytes()[8 - width..].to_vec();
    bytes.extend(content);
    bytes
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), counted(2, content)].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    extension(0, &counted(2, &[vec![0], counted(2, name)].concat()))
}

/// A greeting with these extensions, as one handshake message.
fn greeting(extensions: &[Vec<u8>]) -> Vec<u8> {
    let body = [
        vec![3, 3],
        vec![7; 32],
        counted(1, &[1; 32]),
        counted(2, &[0x13, 1, 0x13, 2]),
        counted(1, &[0]),
        counted(2, &extensions.concat()),
    ]
    .concat();
    [vec![1], counted(3, &body)].concat()
}

fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|part| [vec![22, 3, 1], counted(2, part)].concat()).collect()
}

fn hello(name: &str) -> Vec<u8> {
    let other = extension(10, &[0, 2, 0, 29]);
    records(&greeting(&[other.clone(), sni(name.as_bytes()), extension(16, b"")]), 16384)
}

#[test]
fn tls_must_say_an_allowed_name() {
    for service in [HTTPS, Service::Tcp(8443)] {
        for check in [STRICT, LENIENT] {
            let heard = |bytes: &[u8]| hear(service, check, &[bytes]);
            assert_eq!(heard(&hello("good.test")), Heard::Pass);
            assert_eq!(heard(&hello("A.GOOD.test")), Heard::Pass);
            let other =
                |name: &str| Heard::Refuse(Reason::OtherName(HostName::parse(name).unwrap()));
            assert_eq!(heard(&hello("evil.test")), other("evil.test"));
            assert_eq!(heard(&hello("good.test.evil.test")), other("good.test.evil.test"));
            assert!(is_refused(&heard(&hello("bad.good.test"))));
            assert_eq!(heard(&records(&greeting(&[]), 9999)), Heard::Refuse(Reason::NoName));
        }
    }
}

#[test]
fn a_greeting_is_put_together_from_records_and_pieces() {
    let message = greeting(&[extension(21, &[0; 9000]), sni(b"good.test")]);
    for size in [1000, 100, 16] {
        assert_eq!(hear(HTTPS, STRICT, &[&records(&message, size)]), Heard::Pass, "{size}");
    }
    let short = greeting(&[sni(b"evil.test")]);
    assert!(is_refused(&hear(HTTPS, STRICT, &[&records(&short, 1)])));
    let bytes = hello("good.test");
    for cut in 1..bytes.len() {
        assert_eq!(hear(HTTPS, STRICT, &[&bytes[..cut]]), Heard::More);
        assert_eq!(hear(HTTPS, STRICT, &[&bytes[..cut], &bytes[cut..]]), Heard::Pass);
    }
}

#[test]
fn a_greeting_that_two_read_differently_is_refused() {
    let two_names = [vec![0], counted(2, b"good.test"), vec![0], counted(2, b"evil.test")].concat();
    let strange: Vec<Vec<u8>> = vec![
        records(&greeting(&[sni(b"good.test"), sni(b"good.test")]), 9999),
        records(&greeting(&[extension(0, &counted(2, &two_names))]), 9999),
        records(&greeting(&[sni(b"good.test\0.evil.test")]), 9999),
        records(&greeting(&[sni(b"")]), 9999),
        records(&greeting(&[sni(b"192.0.2.7")]), 9999),
        records(&greeting(&[extension(0, b"")]), 9999),
        records(&greeting(&[sni(b"good.test"), vec![0, 9, 0, 9]]), 9999),
        records(&[greeting(&[]), vec![0]].concat()[..60], 9999),
        b"\x16\x03\x01\x00\x00".to_vec(),
        b"\x16\x03\x01\x40\x01".to_vec(),
        b"\x16\x03\x01\x00\x04\x02\0\0\0".to_vec(),
        [records(&greeting(&[sni(b"good.test")])[..20], 9999), b"\x15\x03\x01\0\x02\0\0".to_vec()]
            .concat(),
        records(&[vec![1, 0, 0xff, 0xff], vec![0; 200]].concat(), 9999),
    ];
    for bytes in strange {
        let heard = hear(HTTPS, STRICT, &[&bytes]);
        let waits = heard == Heard::More && bytes.len() < 70;
        assert!(is_refused(&heard) || waits, "{bytes:?} {heard:?}");
    }
    let small = records(&[vec![1, 0, 0x40, 0], vec![0; 16000]].concat(), 1);
    assert_eq!(hear(HTTPS, STRICT, &[&small]), Heard::Refuse(Reason::TooLate));
}

/// One record of this kind.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [vec![kind, 3, 3], counted(2, content)].concat()
}

/// An answer to a greeting with this random: `RETRY` asks for another one.
fn answer(random: [u8; 32]) -> Vec<u8> {
    let body = [vec![3, 3], random.to_vec(), counted(1, &[1; 32]), vec![0x13, 1, 0]].concat();
    record(22, &[vec![2], counted(3, &body)].concat())
}

#[test]
fn a_second_greeting_must_name_an_allowed_host_too() {
    let (change, early) = (record(20, &[1]), record(23, &[9; 600]));
    let evil = records(&greeting(&[sni(b"evil.test")]), 9);
    let between: [&[u8]; 5] = [&[], &change, &early, &early.repeat(40), &record(21, &[1, 0])];
    for before in between {
        for check in [STRICT, LENIENT] {
            let second = |then: &[u8]| {
                let (policy, mut listener) = (good(), Listener::new(HTTPS, check));
                assert_eq!(listener.feed(&policy, &hello("good.test")), Heard::Pass);
                assert_eq!(listener.feed(&policy, before), Heard::Pass);
                assert_eq!(listener.hear(&good(), &answer(tls::RETRY)), None);
                let heard = listener.feed(&policy, &[before, then].concat());
                let last = listener.hear(&good(), &answer([7; 32]));
                (heard, last)
            };
            assert_eq!(second(&hello("good.test")), (Heard::Pass, Some(Heard::Trust)));
            for bad in [&evil, &hello("evil.test"), &records(&greeting(&[]), 9999)] {
                assert!(is_refused(&second(bad).0), "{before:?}");
            }
        }
    }
    let message = greeting(&[sni(b"good.test")]);
    let two = [&message[..], &greeting(&[sni(b"evil.test")])].concat();
    let within = [&hello("good.test")[..], &evil[..30], &change, &evil[30..]].concat();
    let unasked = [&hello("good.test")[..], &record(22, &[16, 0, 0, 1, 7])].concat();
    let strange = [&hello("good.test")[..], &record(24, &[1])].concat();
    for bytes in
        [&records(&two, 9999), &records(&two, message.len() - 1), &within, &unasked, &strange]
    {
        assert!(is_refused(&hear(HTTPS, STRICT, &[bytes])), "{bytes:?}");
    }
    let part = [&hello("good.test")[..], &evil[..3]].concat();
    assert_eq!(hear(HTTPS, STRICT, &[&part]), Heard::More);
}

#[test]
fn a_greeting_that_was_taken_is_the_last_and_nothing_else_counts_as_that() {
    let greeted = || {
        let (policy, mut listener) = (good(), Listener::new(HTTPS, STRICT));
        assert_eq!(listener.hear(&good(), &answer([7; 32])), None);
        assert_eq!(listener.feed(&policy, &hello("good.test")), Heard::Pass);
        listener
    };
    let (retry, taken) = (answer(tls::RETRY), answer([7; 32]));
    let both = [&record(21, &[1, 112])[..], &retry, &record(20, &[1]), &taken].concat();
    for size in [1, 2, 7, 41, 9999] {
        let mut listener = greeted();
        let any =
            both.chunks(size).any(|piece| listener.hear(&good(), piece) == Some(Heard::Trust));
        assert!(any, "{size}");
    }
    for other in [&retry[..], &record(22, &[11, 0, 0, 1, 7]), b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let mut listener = greeted();
        assert_eq!(listener.hear(&good(), other), None);
        let later = listener.feed(&good(), &hello("evil.test"));
        assert!(is_refused(&later), "{other:?}");
    }
}

#[test]
fn every_request_must_name_an_allowed_host() {
    let get = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    assert_eq!(http(&get("good.test")), Heard::Pass);
    assert_eq!(http(&get("GOOD.test:8080")), Heard::Pass);
    assert_eq!(http(&get("good.test.")), Heard::Pass);
    assert_eq!(http("GET / HTTP/1.0\r\nHost: good.test\r\n\r\n"), Heard::Pass);
    assert_eq!(http("OPTIONS * HTTP/1.1\r\nHost: good.test\r\n\r\n"), Heard::Pass);
    for host in ["evil.test", "bad.good.test", "192.0.2.1", "[2001:db8::1]", "192.0.2.7"] {
        assert!(is_refused(&http(&get(host))), "{host}");
    }
    // The second one, right behind the first, behind a body, and behind chunks.
    let evil = get("evil.test");
    assert!(is_refused(&http(&format!("{}{evil}", get("good.test")))));
    let post = "POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(http(post), Heard::Pass);
    assert!(is_refused(&http(&format!("{post}{evil}"))));
    let chunked = "POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5;x=y\r\nhello\r\n00\r\nX-Trailer: 1\r\n\r\n";
    assert_eq!(http(chunked), Heard::Pass);
    assert!(is_refused(&http(&format!("{chunked}{evil}"))));
    // What only looks like a request is none.
    let body = format!(
        "POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: {}\r\n\r\n{evil}",
        evil.len()
    );
    assert_eq!(http(&body), Heard::Pass);
}

/// Each hides a request to `evil.test`, or who is asked, from one of two readers.
const SMUGGLED: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: good.test\r\nHost: evil.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: good.test\r\n Host: evil.test\r\n\r\n",
    "GET / HTTP/1.1\r\nX: a\r\n\tHost: evil.test\r\nHost: good.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost : good.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: good.test\nX: y\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: good.test\r\nX: a\rHost: evil.test\r\n\r\n",
    "GET / HTTP/1.1\nHost: good.test\n\n",
    "GET / HTTP/1.1\r\nHost: good.test\0.evil.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: good.test, evil.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: good.test@evil.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: evil.test#good.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: good.test:80:80\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: good.test:99999\r\n\r\n",
    "GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.1 \r\nHost: good.test\r\n\r\n",
    "GET  / HTTP/1.1\r\nHost: good.test\r\n\r\n",
    "GET\t/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
    "GET / http/1.1\r\nHost: good.test\r\n\r\n",
    "GET / HTTP/2.0\r\nHost: good.test\r\n\r\n",
    " GET / HTTP/1.1\r\nHost: good.test\r\n\r\n",
    "GET\x1c/\x1cHTTP/1.1\r\nHost: good.test\r\n\r\n",
    "\x1dGET /\x1fHTTP/1.1\r\nHost: good.test\r\n\r\n",
    "FOO\r/\rHTTP/1.1\r\nHost: good.test\r\n\r\n",
    "(any) / HTTP/1.1\r\nHost: good.test\r\n\r\n",
    "\0GET / HTTP/1.1\r\nHost: good.test\r\n\r\n",
    "get /\r\nHost: good.test\r\n\r\n",
    "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: good.test\r\n\r\n",
    "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET / HTTP/1.1\r\nHost: good.test\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "GET http://evil.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
    "GET http://good.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
    "GET http://good.test@evil.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
    "GET http://good.test:80\\@evil.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
    "GET ftp://good.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
    "GET good.test HTTP/1.1\r\nHost: good.test\r\n\r\n",
    "CONNECT evil.test:443 HTTP/1.1\r\nHost: good.test\r\n\r\n",
    "CONNECT good.test HTTP/1.1\r\nHost: good.test\r\n\r\n",
    "CONNECT 10.0.0.1:443 HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n",
    "connect good.test:443 HTTP/1.1\r\nHost: good.test\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 5, 5\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: +5\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 0x5\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: \r\n\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding:\x0bchunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
    "POST / HTTP/1.0\r\nHost: good.test\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: chunked\r\n\r\n 5\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000001\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: evil.test\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\n",
];

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    for text in SMUGGLED {
        assert!(is_refused(&http(text)), "{text:?}: {:?}", http(text));
        assert!(is_refused(&hear(Service::Tcp(8080), LENIENT, &[text.as_bytes()])), "{text:?}");
    }
}

#[test]
fn what_a_proxy_is_asked_for_must_be_allowed_too() {
    let hear = |pieces: &[&[u8]]| hear(Service::Tcp(3128), LENIENT, pieces);
    let absolute = b"GET http://good.test/x HTTP/1.1\r\nHost: good.test\r\n\r\n";
    assert_eq!(hear(&[absolute]), Heard::Pass);
    let connect = b"CONNECT good.test:443 HTTP/1.1\r\nHost: good.test:443\r\n\r\n";
    assert_eq!(hear(&[connect]), Heard::Pass);
    assert!(is_refused(&hear(&[connect, &hello("good.test")])));
    let ok = b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n";
    let then = |asked: &[u8], answer: &[u8], then: &[u8]| {
        let early = talk(&[(true, &[asked, then].concat()), (false, answer)]);
        assert!(is_refused(&early), "{}", String::from_utf8_lossy(answer));
        talk(&[(true, asked), (false, answer), (true, then)])
    };
    let (greets, get) = (hello("good.test"), b"GET / HTTP/1.1\r\nHost: good.test\r\n\r\n");
    assert_eq!(then(connect, ok, &greets), Heard::Pass);
    assert_eq!(then(connect, &[b"HTTP/1.1 103 x\r\n\r\n", &ok[..]].concat(), &greets), Heard::Pass);
    assert!(is_refused(&then(connect, ok, &hello("evil.test"))));
    assert!(is_refused(&then(connect, ok, b"\x01\x02\x03\x04")));
    let address = b"CONNECT 192.0.2.7:443 HTTP/1.1\r\nHost: 192.0.2.7:443\r\n\r\n";
    assert_eq!(then(address, ok, b"\x01\x02\n"), Heard::Trust);
    let evil = b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n";
    // Each of these goes on as a server of requests.
    for unserved in [
        "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 405 No\r\nContent-Length: 19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 405 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching\r\n\r\n",
        "HTTP/1.1 304 x\r\n\r\n",
        "HTTP/1.1 2000 x\r\n\r\n",
        "HTTP/2 200 x\r\n\r\n",
        "HTTP/1.1 200 x\n\n\r\n\r\n",
        "x: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        assert!(is_refused(&then(address, unserved.as_bytes(), evil)), "{unserved}");
        assert_eq!(then(address, unserved.as_bytes(), get), Heard::Pass, "{unserved}");
    }
    // Once more, with a password: where the first answer has a length.
    let denied = b"HTTP/1.1 407 x\r\nContent-Length: 4\r\n\r\nnope";
    let first: [(bool, &[u8]); 2] = [(true, address), (false, denied)];
    let again: [(bool, &[u8]); 3] = [(true, address), (false, ok), (true, b"\x01\x02\n")];
    assert_eq!(talk(&[&first[..], &again].concat()), Heard::Trust);
    let chunks = b"HTTP/1.1 407 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(is_refused(&talk(&[(true, address), (false, chunks), (true, address)])));
    assert!(is_refused(&talk(&[(true, get), (true, address)])));
    assert!(is_refused(&talk(&[(false, ok), (true, address)])));
}

/// What becomes of the last of these, of which the payload says the `true` ones.
fn talk(all: &[(bool, &[u8])]) -> Heard {
    let (policy, mut listener) = (good(), Listener::new(Service::Tcp(8080), LENIENT));
    let mut last = Heard::Pass;
    for (is_payload, bytes) in all {
        last = match is_payload {
            true => listener.feed(&policy, bytes),
            false => listener.hear(&policy, bytes).unwrap_or(last),
        };
        if is_refused(&last) || last == Heard::Trust {
            break;
        }
    }
    last
}

#[test]
fn another_protocol_passes_once_it_was_agreed_to() {
    let asks = |to: &str| format!("GET / HTTP/1.1\r\nHost: good.test\r\nUpgrade: {to}\r\n\r\n");
    let agreed = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x81\x01a";
    let frame = b"\x81\x81\0\0\0\0a";
    for to in ["websocket", "WebSocket", "tcp"] {
        assert!(is_refused(&talk(&[(true, asks(to).as_bytes()), (true, frame)])));
        assert_eq!(talk(&[(true, asks(to).as_bytes()), (false, agreed)]), Heard::Trust);
    }
    let evil = b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n";
    for to in ["h2c", "TLS/1.0", "HTTP/2.0", "websocket, h2c", "spdy/3.1"] {
        let next =
            |then: &[u8]| talk(&[(true, asks(to).as_bytes()), (false, agreed), (true, then)]);
        assert!(is_refused(&next(evil)) && is_refused(&next(frame)), "{to}");
        assert_eq!(next(b"PRI * HTTP/2.0\r\n\r\n"), Heard::Refuse(Reason::Http2), "{to}");
    }
    let asked = asks("websocket");
    for (other, then) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"[..], &evil[..]),
        (b"HTTP/1.1 426 x\r\n\r\nHTTP/1.1 101 x\r\n\r\n", evil),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", frame),
    ] {
        let late = talk(&[(true, asked.as_bytes()), (false, other), (true, then)]);
        let early = talk(&[(true, &[asked.as_bytes(), then].concat()), (false, other)]);
        assert!(is_refused(&late) && is_refused(&early), "{late:?} {early:?}");
    }
    assert!(is_refused(&hear(
        HTTP,
        STRICT,
        &[asks("websocket").replace("good", "evil").as_bytes()]
    )));
    let (policy, mut listener) = (good(), Listener::new(HTTP, STRICT));
    listener.feed(&policy, asks("tcp").as_bytes());
    assert_eq!(listener.hear(&policy, agreed), None);
}

#[test]
fn other_protocols_pass_only_on_a_port_that_was_named() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"EHLO me\r\n",
        b"MODE READER\r\n",
        b"POST\r\n",
        b"get key\r\n",
        b"<13>Nov 20 03:04:05 web: \"GET / HTTP/1.1\" 200 7\n",
    ] {
        assert_eq!(hear(Service::Tcp(22), LENIENT, &[bytes]), Heard::Trust, "{bytes:?}");
        assert_eq!(hear(Service::Tcp(22), STRICT, &[bytes]), Heard::Refuse(Reason::NoProtocol));
    }
    // Whose first line does not end: they wait for an answer.
    for bytes in [
        &b"\0\0\0\x08\x04\xd2\x16\x2f"[..],
        b"\x80\x2e\x01",
        b"0033git-upload-pack /a.git\0host=good.test\0",
        b"0\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0",
        b"<?xml version='1.0'?><stream:stream to='good.test'>",
        b"JDWP-Handshake",
    ] {
        assert_eq!(hear(Service::Tcp(22), LENIENT, &[bytes]), Heard::Pass, "{bytes:?}");
        assert_eq!(hear(Service::Tcp(22), Check::Denied, &[bytes]), Heard::Pass, "{bytes:?}");
        assert_ne!(hear(Service::Tcp(22), STRICT, &[bytes]), Heard::Pass, "{bytes:?}");
        let long = hear(Service::Tcp(22), LENIENT, &[bytes, &vec![b'('; 20_000]]);
        // What may be a method is not let go so soon.
        let begins_with_method = bytes.starts_with(b"0");
        let expected =
            if begins_with_method { Heard::Refuse(Reason::TooLate) } else { Heard::Pass };
        assert_eq!(long, expected, "{bytes:?}");
        // Its end would make it a request.
        let (policy, mut listener) = (good(), Listener::new(Service::Tcp(22), LENIENT));
        listener.feed(&policy, bytes);
        assert_eq!(listener.feed(&policy, b" HTTP/1.1"), Heard::More, "{bytes:?}");
        assert!(is_refused(&listener.end()));
        assert!(is_refused(&listener.feed(&policy, b"\r\nHost: evil.test\r\n\r\n")));
    }
    let plain = b"GET / HTTP/1.1\r\nHost: good.test\r\n\r\n";
    assert_eq!(hear(HTTPS, STRICT, &[plain]), Heard::Refuse(Reason::NoProtocol));
}

#[test]
fn a_first_line_without_a_method_is_followed_to_its_end() {
    let begin = format!("\r\n\n(any) /{}", "x".repeat(100_000));
    let ends: [(&[&[u8]], bool); 8] = [
        (&[b" HTTP/1.1\r\nHost: evil.test\r\n\r\n"], true),
        (&[b"\x1cht", b"tp/9", b" ", b"\t", b"\n"], true),
        (&[b" HTTP/1.1 web\n"], false),
        (&[b" HTTP/1.1", b" HTTP", b"\n"], false),
        (&[b" HTTP/1.1", b" ", b"HTTP/x\n"], true),
        (&[b" xHTTP/1.1\n"], false),
        (&[b" HTTP/1.1\nGET / HTTP/1.1\r\nHost: good.test\r\n\r\n"], true),
        (&[b"\n"], false),
    ];
    for (end, is_request) in ends {
        for size in [1000, 16_000, 200_000] {
            for check in [LENIENT, Check::Denied] {
                let (policy, mut listener) = (good(), Listener::new(Service::Tcp(22), check));
                for piece in begin.as_bytes().chunks(size) {
                    assert_eq!(listener.feed(&policy, piece), Heard::Pass);
                }
                // Nothing of the line is kept.
                assert!(listener.held.is_empty());
                let heard: Vec<Heard> =
                    end.iter().map(|piece| listener.feed(&policy, piece)).collect();
                let last = heard.last().unwrap();
                assert_eq!(is_refused(last), is_request, "{end:?}");
                assert!(is_request || *last == Heard::Trust, "{end:?}");
                // What has an end of a request's line waits with it.
                let (_, before) = heard.split_last().unwrap();
                assert!(before.is_empty() || before.contains(&Heard::More), "{end:?}");
            }
        }
    }
    // The end of the connection is not that of the line.
    let (policy, mut listener) = (good(), Listener::new(Service::Tcp(22), LENIENT));
    listener.feed(&policy, begin.as_bytes());
    assert_eq!(listener.end(), Heard::Pass);
    assert_eq!(listener.feed(&policy, b" HTTP/1.1"), Heard::More);
    assert!(is_refused(&listener.end()));
}

#[test]
fn the_wait_for_more_lets_nothing_through() {
    for bytes in [
        &b"GE"[..],
        b"GET",
        b"GET / HTTP/1.1\r\nHost: good.test\r\n",
        b"\x16",
        b"\x16\x03\x01",
        b"FOO bar",
        b"FOO / HTTP/1.1",
        b"GET /\r\n",
        b"\r\n",
    ] {
        for check in [STRICT, LENIENT] {
            let (policy, mut listener) = (good(), Listener::new(Service::Tcp(22), check));
            let heard = listener.feed(&policy, bytes);
            // Where others pass, what may be one of them does.
            let may_be_other =
                check == LENIENT && [&b"GE"[..], b"GET", b"FOO bar"].contains(&bytes);
            assert_eq!(heard == Heard::Pass, may_be_other, "{bytes:?}");
            assert_eq!(is_refused(&listener.end()), !may_be_other, "{bytes:?}");
        }
    }
    let (policy, mut listener) = (good(), Listener::new(HTTP, STRICT));
    let begun = b"POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 5\r\n\r\nhe";
    assert_eq!(listener.feed(&policy, begun), Heard::Pass);
    assert_eq!(listener.end(), Heard::Pass);
}

#[test]
fn a_method_may_be_as_long_as_servers_take_it() {
    let passed = Check::Names { other: Other::Passed };
    for length in [1, 32, 33, 300, 9000] {
        let method = "M".repeat(length);
        let to = |name: &str| format!("{method} / HTTP/1.1\r\nHost: {name}\r\n\r\n");
        for check in [STRICT, passed] {
            assert_eq!(hear(HTTP, check, &[to("good.test").as_bytes()]), Heard::Pass);
            assert!(is_refused(&hear(HTTP, check, &[to("evil.test").as_bytes()])), "{length}");
        }
        let other = format!("{method}\n");
        assert_eq!(hear(HTTP, passed, &[other.as_bytes()]), Heard::Trust);
    }
}

#[test]
fn what_is_too_long_is_refused_before_it_is_held_too_long() {
    let endless: [&[u8]; 5] = [
        b"a",
        b"GET / HTTP/1.1\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        b"POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: chunked\r\n\r\n5;",
        b"FOO ",
        b"\r\n\r\n",
    ];
    for start in endless {
        let (policy, mut listener) = (good(), Listener::new(HTTP, STRICT));
        let mut heard = listener.feed(&policy, start);
        let mut fed = 0;
        while !is_refused(&heard) {
            heard = listener.feed(&policy, &[if start == b"\r\n\r\n" { b'\n' } else { b'a' }; 100]);
            fed += 100;
            assert!(fed < 48 * 1024, "{start:?}");
        }
    }
}

#[test]
fn a_denied_name_is_heard_and_all_else_passes() {
    let heard = |bytes: &[u8]| hear(HTTPS, Check::Denied, &[bytes]);
    assert_eq!(heard(&hello("any.test")), Heard::Pass);
    assert_eq!(heard(&records(&greeting(&[]), 9999)), Heard::Pass);
    assert_eq!(heard(b"SSH-2.0-x\r\n"), Heard::Trust);
    assert!(is_refused(&heard(&hello("bad.good.test"))));
    let get = b"GET / HTTP/1.1\r\nHost: bad.good.test\r\n\r\n";
    assert!(is_refused(&hear(HTTP, Check::Denied, &[get])));
}

/// Streams, good and bad, and parts of them.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        prop::sample::select(SMUGGLED).prop_map(|text| text.as_bytes().to_vec()),
        Just(b"GET / HTTP/1.1\r\nHost: good.test\r\n\r\n".to_vec()),
        Just(b"POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 9\r\n\r\nGET / HTT".to_vec()),
        Just(b"POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec()),
        Just(b"CONNECT good.test:443 HTTP/1.1\r\nHost: good.test\r\n\r\n".to_vec()),
        Just(hello("good.test")),
        Just(hello("evil.test")),
        Just(record(20, &[1])),
        Just(record(23, &[7; 30])),
        Just(records(&greeting(&[sni(b"good.test")]), 7)),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    let cut = any::<prop::sample::Index>();
    (prop::collection::vec(part, 1..4), cut).prop_map(|(parts, cut)| {
        let mut bytes = parts.concat();
        let keep = bytes.len() / 2 + cut.index(bytes.len() / 2 + 1);
        bytes.truncate(keep);
        bytes
    })
}

/// Whether a stream is refused at some time, and how much of it went on before.
fn outcome(bytes: &[u8], pieces: &[usize], check: Check) -> (bool, usize) {
    let (policy, mut listener) = (good(), Listener::new(Service::Tcp(8080), check));
    let (mut at, mut gone) = (0, 0);
    let mut sizes = pieces.iter().copied().cycle();
    while at < bytes.len() {
        let next = (at + sizes.next().unwrap_or(1)).min(bytes.len());
        match listener.feed(&policy, &bytes[at..next]) {
            Heard::More => {}
            Heard::Pass => gone = next,
            Heard::Trust => return (false, bytes.len()),
            Heard::Refuse(_) => return (true, gone),
        }
        at = next;
    }
    (false, gone)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn the_pieces_a_stream_comes_in_do_not_matter(
        bytes in stream(),
        pieces in prop::collection::vec(1usize..40, 1..5),
        check in prop::sample::select(vec![STRICT, LENIENT, Check::Denied]),
    ) {
        let (whole, _) = outcome(&bytes, &[usize::MAX / 2], check);
        let (single, _) = outcome(&bytes, &[1], check);
        let (some, gone) = outcome(&bytes, &pieces, check);
        prop_assert_eq!(whole, single);
        prop_assert_eq!(whole, some);
        // What went on before a refusal is allowed by itself.
        prop_assert!(!outcome(&bytes[..gone], &[usize::MAX / 2], check).0);
    }
}
