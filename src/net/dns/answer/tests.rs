//! What of a server's message is passed on, of honest and of hostile ones.

use proptest::prelude::*;

use super::*;
use crate::spec::net::{Egress, Rule};

fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

fn wire(text: &str) -> WireName {
    WireName::of(&host(text))
}

fn policy(allow: &[&str], deny: &[&str]) -> Policy {
    let rules = |texts: &[&str]| texts.iter().map(|text| Rule::parse(text).unwrap()).collect();
    let egress = Egress { allow: rules(allow), deny: rules(deny), ..Egress::default() };
    Policy::new(&egress, Vec::new())
}

fn question(kind: u16) -> Question {
    Question { name: wire("www.test"), kind, class: INTERNET }
}

/// An answer with the id 7 to a question for `www.test`.
fn message(kind: u16, records: &[(&str, u16, &[u8])]) -> Vec<u8> {
    let question = question(kind);
    let mut writer = Writer::new(7, flag::RESPONSE | flag::RECURSES);
    writer.question(&question);
    for (name, kind, data) in records {
        writer.answer(&question.name, &wire(name), *kind, 60, data);
    }
    writer.finish()
}

fn read_with(
    policy: &Policy,
    message: &[u8],
    kind: u16,
) -> (Result<Answer, Unusable>, Vec<LeftOut>) {
    let mut left_out = Vec::new();
    let asked = (&host("www.test"), policy);
    let answer = Answer::read(message, 7, &question(kind), asked, &mut left_out);
    (answer, left_out)
}

fn read(kind: u16, records: &[(&str, u16, &[u8])]) -> Answer {
    read_with(&policy(&["www.test"], &[]), &message(kind, records), kind).0.unwrap()
}

fn addresses(answer: &Answer) -> Vec<String> {
    answer.dialled().map(|address| address.to_string()).collect()
}

fn alias(to: &str) -> Vec<u8> {
    wire(to).as_bytes().to_vec()
}

#[test]
fn aliases_are_followed_in_any_order_and_nothing_else_is_kept() {
    let answer = read(
        kind::A,
        &[
            ("b.cdn.test", kind::A, &[192, 0, 2, 2]),
            ("evil.test", kind::A, &[192, 0, 2, 9]),
            ("a.cdn.test", kind::CNAME, &alias("b.cdn.test")),
            ("WWW.test", kind::CNAME, &alias("a.cdn.test")),
            ("www.test", kind::TXT, b"\x01x"),
            ("b.cdn.test", kind::A, &[192, 0, 2, 1]),
            ("b.cdn.test", kind::AAAA, &[0x20; 16]),
        ],
    );
    assert_eq!(addresses(&answer), ["192.0.2.2", "192.0.2.1"]);
    let kinds: Vec<u16> = answer.records.iter().map(|kept| kept.kind).collect();
    assert_eq!(kinds, [kind::CNAME, kind::CNAME, kind::A, kind::A]);
    assert_eq!(answer.ttl, 60);
}

#[test]
fn a_circle_or_a_long_row_of_aliases_is_no_answer() {
    let circle: &[(&str, u16, &[u8])] =
        &[("www.test", kind::CNAME, &alias("a.test")), ("a.test", kind::CNAME, &alias("www.test"))];
    let message_ = message(kind::A, circle);
    assert_eq!(read_with(&policy(&["www.test"], &[]), &message_, kind::A).0, Err(Unusable::Failed));
    let names: Vec<String> = (0..40).map(|n| format!("a{n}.test")).collect();
    let targets: Vec<Vec<u8>> = names.iter().map(|name| alias(name)).collect();
    let mut long: Vec<(&str, u16, &[u8])> = vec![("www.test", kind::CNAME, &targets[0])];
    for (name, target) in names.iter().zip(&targets[1..]) {
        long.push((name, kind::CNAME, target));
    }
    let message_ = message(kind::A, &long);
    assert_eq!(read_with(&policy(&["www.test"], &[]), &message_, kind::A).0, Err(Unusable::Failed));
}

#[test]
fn an_alias_to_a_denied_name_is_told_as_that() {
    let records: &[(&str, u16, &[u8])] = &[
        ("www.test", kind::CNAME, &alias("x.evil.test")),
        ("x.evil.test", kind::A, &[192, 0, 2, 1]),
    ];
    let policy = policy(&["www.test"], &["*.evil.test"]);
    let (answer, _) = read_with(&policy, &message(kind::A, records), kind::A);
    assert!(
        matches!(answer, Err(Unusable::Alias(name, Reason::Denied(_))) if name == host("x.evil.test"))
    );
}

#[test]
fn addresses_that_are_not_public_are_left_out() {
    let (answer, left_out) = read_with(
        &policy(&["www.test", "10.0.0.7:443"], &[]),
        &message(
            kind::A,
            &[
                ("www.test", kind::A, &[127, 0, 0, 1]),
                ("www.test", kind::A, &[169, 254, 169, 254]),
                ("www.test", kind::A, &[10, 0, 0, 7]),
                ("www.test", kind::A, &[10, 0, 0, 8]),
                ("www.test", kind::A, &[192, 0, 2, 1]),
                ("www.test", kind::A, &[192, 0, 2]),
            ],
        ),
        kind::A,
    );
    assert_eq!(addresses(&answer.unwrap()), ["10.0.0.7", "192.0.2.1"]);
    assert_eq!(left_out.len(), 3);
    let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
    let answer = read(
        kind::AAAA,
        &[
            ("www.test", kind::AAAA, &v6("::ffff:192.0.2.1")),
            ("www.test", kind::AAAA, &v6("::1")),
            ("www.test", kind::AAAA, &v6("64:ff9b::10.0.0.1")),
            ("www.test", kind::AAAA, &v6("fd00::1")),
            ("www.test", kind::AAAA, &v6("2001:db8::1")),
        ],
    );
    assert_eq!(addresses(&answer), ["2001:db8::1"]);
}

#[test]
fn what_answers_another_question_is_not_ours() {
    let policy = policy(&["www.test"], &[]);
    let good = message(kind::A, &[("www.test", kind::A, &[192, 0, 2, 1])]);
    assert!(read_with(&policy, &good, kind::A).0.is_ok());
    assert_eq!(read_with(&policy, &good, kind::AAAA).0, Err(Unusable::NotOurs));
    for (at, byte) in [(0, 1), (1, 8), (2, 0), (2, 0x88), (5, 0), (5, 2), (13, b'x')] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert_eq!(read_with(&policy, &bad, kind::A).0, Err(Unusable::NotOurs), "{at}");
    }
    let mut cut = good.clone();
    cut[2] |= 2;
    assert_eq!(read_with(&policy, &cut, kind::A).0, Err(Unusable::Truncated));
    for end in 28..good.len() {
        assert_eq!(read_with(&policy, &good[..end], kind::A).0, Err(Unusable::Failed), "{end}");
    }
    let mut refused = good;
    refused[3] |= 5;
    assert_eq!(read_with(&policy, &refused, kind::A).0, Err(Unusable::Failed));
}

fn svcb(parameters: &[(u16, &[u8])]) -> Vec<u8> {
    let mut data = vec![0, 1, 0];
    for (key, value) in parameters {
        data.extend(key.to_be_bytes());
        data.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        data.extend(*value);
    }
    data
}

#[test]
fn service_records_lose_hidden_names_quic_and_addresses() {
    let full = svcb(&[
        (1, b"\x02h3\x02h2\x05h3-29"),
        (3, &[1, 187]),
        (4, &[10, 0, 0, 1]),
        (5, b"ech"),
        (6, &[0; 16]),
        (7, b"/dns-query{?dns}"),
    ]);
    let answer = read(kind::HTTPS, &[("www.test", kind::HTTPS, &full)]);
    assert_eq!(answer.records[0].data, svcb(&[(1, b"\x02h2"), (3, &[1, 187])]));
    for unusable in [
        svcb(&[(0, &[0, 5]), (5, b"ech")]),
        svcb(&[(1, b"\x02h3"), (2, b"")]),
        svcb(&[(1, b"\x05h3")]),
        vec![0, 1],
        vec![0, 1, 0, 0],
    ] {
        let answer = read(kind::HTTPS, &[("www.test", kind::HTTPS, &unusable)]);
        assert_eq!(answer.records, [], "{unusable:?}");
    }
}

#[test]
fn what_does_not_fit_is_cut_off_and_says_so() {
    let records: Vec<(&str, u16, &[u8])> = vec![("www.test", kind::A, &[192, 0, 2, 1]); 60];
    let answer = read(kind::A, &records);
    let whole = answer.write(9, &question(kind::A), 60, 4096, true);
    assert!(whole.len() > 512);
    assert_eq!(whole[2] & 2, 0);
    let cut = answer.write(9, &question(kind::A), 60, 512, true);
    assert!(cut.len() <= 512);
    assert_eq!(cut[2] & 2, 2);
    let many: Vec<(&str, u16, &[u8])> = vec![("www.test", kind::A, &[192, 0, 2, 1]); 2000];
    assert_eq!(read(kind::A, &many).records.len(), RECORDS);
}

#[test]
fn that_there_is_nothing_holds_as_long_as_the_zone_says() {
    let mut writer = Writer::new(7, flag::RESPONSE | 3);
    writer.question(&question(kind::A));
    let soa =
        [wire("a.test").as_bytes(), wire("b.test").as_bytes(), &[0; 16], &[0, 0, 0, 9]].concat();
    writer.answer(&wire("www.test"), &wire("test"), kind::SOA, 60, &soa);
    let mut message = writer.finish();
    message.swap(7, 9);
    let (answer, _) = read_with(&policy(&["www.test"], &[]), &message, kind::A);
    assert_eq!(answer.unwrap(), Answer::nothing(Code::NxDomain, 9));
    assert_eq!(read(kind::A, &[]), Answer::nothing(Code::NoError, NOTHING_SAID));
}

proptest! {
    #[test]
    fn no_bytes_lead_to_an_address_that_is_not_public(
        tail in prop::collection::vec(any::<u8>(), 0..300),
        counts in any::<[u8; 3]>(),
    ) {
        let mut message = message(kind::A, &[]);
        for (at, count) in [7, 9, 11].into_iter().zip(counts) {
            message[at] = count;
        }
        message.extend(tail);
        if let Ok(answer) = read_with(&policy(&["www.test"], &[]), &message, kind::A).0 {
            for address in answer.dialled() {
                prop_assert!(crate::net::egress::Kind::of(address).is_none());
            }
            let written = answer.write(1, &question(kind::A), 1, 65535, true);
            prop_assert!(written.len() <= 65535);
        }
    }
}
