//! DNS messages as bytes, read totally.
//!
//! # Decisions
//! - No crate: what is needed is a name, a question and a record whose data mostly stay what they are. A
//!   reader that knows every type refuses a whole answer for one record it cannot read.
//! - A pointer must lead to before the place it stands at, and a name has at most 255 bytes: no loops.

use crate::spec::net::HostName;

/// Length of a header.
pub const HEADER: usize = 12;

/// Types that are known here.
pub mod kind {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Name server.
    pub const NS: u16 = 2;
    /// Another name of the same.
    pub const CNAME: u16 = 5;
    /// Who answers for a zone, and how long that there is nothing.
    pub const SOA: u16 = 6;
    /// Name of an address.
    pub const PTR: u16 = 12;
    /// Mail.
    pub const MX: u16 = 15;
    /// Text.
    pub const TXT: u16 = 16;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// Place of a service.
    pub const SRV: u16 = 33;
    /// What EDNS adds.
    pub const OPT: u16 = 41;
    /// Keys of SSH.
    pub const SSHFP: u16 = 44;
    /// Keys of TLS.
    pub const TLSA: u16 = 52;
    /// How a service is reached.
    pub const SVCB: u16 = 64;
    /// As SVCB, for HTTP.
    pub const HTTPS: u16 = 65;
    /// Incremental and whole transfer of a zone.
    pub const TRANSFERS: [u16; 2] = [251, 252];
    /// Whatever there is.
    pub const ANY: u16 = 255;
    /// Who may certify.
    pub const CAA: u16 = 257;
}

/// The class of the Internet.
pub const INTERNET: u16 = 1;

/// Bits of the second word of a header.
pub mod flag {
    /// It is a response.
    pub const RESPONSE: u16 = 0x8000;
    /// What is asked: 0 for a query.
    pub const OPCODE: u16 = 0x7800;
    /// It did not fit.
    pub const TRUNCATED: u16 = 0x0200;
    /// The whole way is to be gone.
    pub const RECURSE: u16 = 0x0100;
    /// The whole way can be gone.
    pub const RECURSES: u16 = 0x0080;
    /// How it went.
    pub const CODE: u16 = 0x000f;
}

/// How a query went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// There is an answer; it can be empty.
    NoError = 0,
    /// The question could not be read.
    FormErr = 1,
    /// No server could be asked.
    ServFail = 2,
    /// There is no such name.
    NxDomain = 3,
    /// Such questions are not taken.
    NotImp = 4,
    /// This question is not taken.
    Refused = 5,
    /// Such a version of EDNS is not spoken; its upper bits stand in OPT.
    BadVersion = 16,
}

/// A name as it stands in messages, uncompressed, with its final empty label. Equal in any case.
#[derive(Debug, Clone)]
pub struct WireName(Vec<u8>);

impl PartialEq for WireName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for WireName {}

impl WireName {
    /// Longest, RFC 1035 section 2.3.4.
    const LONGEST: usize = 255;

    /// The same name. One whose labels are checked fits.
    pub fn of(name: &HostName) -> Self {
        let mut bytes = Vec::with_capacity(name.as_str().len() + 2);
        for label in name.as_str().split('.') {
            bytes.push(u8::try_from(label.len()).unwrap_or(0));
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        Self(bytes)
    }

    /// As the name of a host, if it can be one: a dot or NUL inside a label is not a dot between two.
    pub fn to_host(&self) -> Option<HostName> {
        let mut text = String::new();
        let mut rest = self.0.as_slice();
        while let Some((length, after)) = rest.split_first() {
            let (label, after) = after.split_at_checked(usize::from(*length))?;
            if label.is_empty() {
                break;
            }
            if label.contains(&b'.') {
                return None;
            }
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(std::str::from_utf8(label).ok()?);
            rest = after;
        }
        HostName::parse(&text).ok()
    }

    /// The name `.`.
    pub fn is_root(&self) -> bool {
        self.0 == [0]
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// About whom.
    pub name: WireName,
    /// What of it.
    pub kind: u16,
    /// In which class.
    pub class: u16,
}

/// A record of a message that is read; `data` is its place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub name: WireName,
    /// Type.
    pub kind: u16,
    /// Class; in OPT the size of a datagram.
    pub class: u16,
    /// Seconds it holds; in OPT flags.
    pub ttl: u32,
    /// Where its data are.
    pub data: std::ops::Range<usize>,
}

/// Reads one message from its beginning to its end. `None`: it is cut off or malformed there.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

/// The first words of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which query.
    pub id: u16,
    /// [`flag`].
    pub flags: u16,
    /// Questions, answers, authorities, additional records.
    pub counts: [u16; 4],
}

impl<'a> Reader<'a> {
    /// At the beginning.
    pub fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    /// At a place of a message.
    pub fn at(message: &'a [u8], at: usize) -> Self {
        Self { message, at }
    }

    /// The place of the next byte.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next bytes.
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let bytes = self.message.get(self.at..)?.get(..count)?;
        self.at += count;
        Some(bytes)
    }

    /// The next two bytes as a number.
    pub fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes(2)?.try_into().ok()?))
    }

    /// The next four.
    pub fn long(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes(4)?.try_into().ok()?))
    }

    /// The header.
    pub fn header(&mut self) -> Option<Header> {
        let (id, flags) = (self.word()?, self.word()?);
        Some(Header { id, flags, counts: [self.word()?, self.word()?, self.word()?, self.word()?] })
    }

    /// A name, its pointers followed.
    pub fn name(&mut self) -> Option<WireName> {
        let mut name = Vec::new();
        let mut at = self.at;
        // Every pointer leads to before this place.
        let mut limit = self.at;
        let mut end = None;
        loop {
            let length = *self.message.get(at)?;
            match length >> 6 {
                0 => {
                    let label = self.message.get(at..)?.get(..=usize::from(length))?;
                    name.extend_from_slice(label);
                    at += label.len();
                    if name.len() > WireName::LONGEST {
                        return None;
                    }
                    if length == 0 {
                        self.at = end.unwrap_or(at);
                        return Some(WireName(name));
                    }
                }
                3 => {
                    let low = *self.message.get(at + 1)?;
                    end = end.or(Some(at + 2));
                    at = usize::from(length & 0x3f) << 8 | usize::from(low);
                    if at >= limit {
                        return None;
                    }
                    limit = at;
                }
                _ => return None,
            }
        }
    }

    /// A question.
    pub fn question(&mut self) -> Option<Question> {
        Some(Question { name: self.name()?, kind: self.word()?, class: self.word()? })
    }

    /// A record.
    pub fn record(&mut self) -> Option<Record> {
        let (name, kind, class) = (self.name()?, self.word()?, self.word()?);
        let (ttl, length) = (self.long()?, usize::from(self.word()?));
        let start = self.at;
        self.bytes(length)?;
        Some(Record { name, kind, class, ttl, data: start..self.at })
    }
}

/// What a client says in OPT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    /// The largest datagram that it takes.
    pub size: u16,
    /// Of what it speaks, RFC 6891 section 6.1.3.
    pub version: u8,
}

/// What a client says in OPT, if it does.
pub fn edns(reader: &mut Reader<'_>, counts: [u16; 4]) -> Option<Edns> {
    let records = counts[1..].iter().map(|count| usize::from(*count)).sum();
    (0..records)
        .map_while(|_| reader.record())
        .find(|record| record.kind == kind::OPT && record.name.is_root())
        .map(|record| Edns { size: record.class, version: record.ttl.to_be_bytes()[1] })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_read_through_its_pointers() {
        let message = b"\x03www\x07example\x00\x01a\xc0\x04\xc0\x0d";
        let mut reader = Reader::new(message);
        assert_eq!(reader.name().unwrap().to_host().unwrap().as_str(), "www.example");
        assert_eq!(reader.name().unwrap().to_host().unwrap().as_str(), "a.example");
        assert_eq!(reader.name().unwrap().to_host().unwrap().as_str(), "a.example");
        assert_eq!(reader.name(), None);
    }

    #[test]
    fn names_that_lead_in_circles_or_ahead_are_none() {
        for message in
            [&b"\xc0\x00"[..], b"\xc0\x02\xc0\x00", b"\x01a\xc0\x00", b"\x01a\xc0\x05\x00\x00"]
        {
            assert_eq!(Reader::new(message).name(), None, "{message:?}");
        }
        assert_eq!(Reader::at(b"\x01a\xc0\x00", 2).name(), None);
        assert_eq!(Reader::new(b"\x40a").name(), None);
        assert_eq!(Reader::new(b"\x05abc").name(), None);
        let long = [b"\x3f".to_vec(), vec![b'a'; 63]].concat().repeat(4);
        assert_eq!(Reader::new(&[long, vec![0]].concat()).name(), None);
    }

    #[test]
    fn a_label_with_a_dot_or_nul_is_no_label_of_a_host() {
        for message in
            [&b"\x03a.b\x04test\x00"[..], b"\x02a\0\x04test\x00", b"\x02\xff\xfe\x00", b"\x00"]
        {
            let name = Reader::new(message).name().unwrap();
            assert_eq!(name.to_host(), None, "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn a_host_name_survives_the_wire(text in "([a-z0-9_-]{1,20}\\.){0,4}[a-z]{1,20}") {
            let name = HostName::parse(&text).unwrap();
            let wire = WireName::of(&name);
            let read = Reader::new(wire.as_bytes()).name().unwrap();
            prop_assert_eq!(read.to_host(), Some(name));
            prop_assert_eq!(read, wire);
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut reader = Reader::new(&bytes);
            let mut records = 0;
            if reader.header().is_some() {
                while reader.record().is_some() {
                    records += 1;
                }
            }
            prop_assert!(records <= bytes.len() / 11);
        }
    }
}
