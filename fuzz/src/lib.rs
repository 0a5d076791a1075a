//! What is held for every input, one function for each target.
//!
//! `tests/fuzz.rs` includes this file, so that the same laws are tried for some seconds by every
//! `make test`, on a stable compiler; `fuzz_targets/` hands them to libFuzzer.

pub mod network;

use bryo::archive::Reader;
use bryo::host::mountinfo;
use bryo::launch::wire::{FromSandbox, ToSandbox};
use bryo::net::user::hostile;
use bryo::profile::render::to_toml;
use bryo::profile::{MAX_SIZE, parse_profile};
use bryo::spec::Text;
use bryo::spec::seccomp::{Policy, PolicyError, docker, file};

/// A target: its name, which is that of its seeds too, and its law.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("profile", profile),
    ("seccomp_json", seccomp_json),
    ("seccomp_toml", seccomp_toml),
    ("mount_table", mount_table),
    ("wire", wire),
    ("archive", archive),
    ("packets", packets),
    ("rule", network::rule),
    ("dns_query", network::dns_query),
    ("dns_answer", network::dns_answer),
    ("client_hello", network::client_hello),
    ("http", network::http),
];

/// A message goes to a terminal: whatever was read, nothing of it arrives there raw.
fn is_safe_to_print(error: &dyn std::error::Error) {
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let raw = text.chars().find(|c| c.is_control() || is_invisible(*c));
        assert!(raw.is_none(), "{raw:?} in the message {text:?}");
        next = error.source();
    }
}

/// Changes the direction of text, or has no width.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A profile is read or refused; what was read says the same when it is written and read again.
pub fn profile(data: &[u8]) {
    let name = Text::from("fuzz.toml".to_owned());
    match parse_profile(&name, data) {
        Ok(read) => {
            let written = to_toml(read.description.as_deref(), &read.settings);
            // What is written may be longer than what was read, and then too long to be read.
            if written.len() <= MAX_SIZE {
                let again = parse_profile(&name, written.as_bytes());
                let again = again.unwrap_or_else(|error| panic!("{error}\n{written}"));
                assert_eq!(again.settings, read.settings, "{written}");
                assert_eq!(again.description, read.description, "{written}");
            }
        }
        Err(error) => is_safe_to_print(&error),
    }
}

/// Docker's and OCI's policies are read or refused.
pub fn seccomp_json(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        seccomp(docker::parse(text, "fuzz.json"));
    }
}

/// Our own policies are read or refused.
pub fn seccomp_toml(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        seccomp(file::parse(text, "fuzz.toml"));
    }
}

/// What was read says the same when it is written and read again.
fn seccomp(read: Result<Policy, PolicyError>) {
    match read {
        Ok(policy) => {
            let json = serde_json::to_string(&policy).map(|json| serde_json::from_str(&json));
            assert!(matches!(&json, Ok(Ok(again)) if policy == *again), "{policy:?}: {json:?}");
        }
        Err(error) => is_safe_to_print(&error),
    }
}

/// A mount table is read or refused, and gives no mount that is not in it.
pub fn mount_table(data: &[u8]) {
    match mountinfo::parse(data) {
        Ok(lines) => {
            let given = data.split(|b| *b == b'\n').filter(|line| !line.is_empty()).count();
            assert!(lines.len() <= given, "{} mounts from {given} lines", lines.len());
        }
        Err(error) => is_safe_to_print(&error),
    }
}

/// A message that means something is the only one that means it, and has one direction.
pub fn wire(data: &[u8]) {
    let from = FromSandbox::decode(data);
    let to = ToSandbox::decode(data);
    assert!(from.is_err() || to.is_err(), "{from:?} is also {to:?}");
    if let Ok(message) = from {
        assert_eq!(message.encode().as_slice(), data, "{message:?}");
    }
    if let Ok(message) = to {
        assert_eq!(message.encode().as_slice(), data, "{message:?}");
    }
}

/// An archive is read or refused; no member has more data than there is.
pub fn archive(mut data: &[u8]) {
    let given = data.len() as u64;
    let mut reader = Reader::new(&mut data);
    let mut read = 0;
    loop {
        match reader.next_member() {
            Ok(Some(member)) => {
                let end = member.extents.iter().flatten().last().map_or(0, |(at, more)| at + more);
                assert!(end <= member.size, "{member:?}");
            }
            Ok(None) => break,
            Err(error) => return is_safe_to_print(&error),
        }
        let mut scratch = [0; 700];
        while let Ok(length @ 1..) = reader.data(&mut scratch) {
            read += length as u64;
        }
    }
    assert!(read <= given, "{read} of {given}");
}

/// Packets of a payload, each after its length in one byte: the netstack neither ends nor grows.
pub fn packets(mut data: &[u8]) {
    let mut packets = Vec::new();
    while let Some((length, rest)) = data.split_first() {
        let (packet, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        packets.push(packet);
        data = rest;
    }
    let outcome = hostile::feed(packets).expect("the pair of sockets works");
    let most = hostile::MOST;
    assert!(outcome.streams <= most.streams && outcome.datagrams <= most.datagrams, "{outcome:?}");
    assert!(outcome.buffers <= most.streams * (2 << 20), "{outcome:?}");
}
