//! What of a server's message is passed on: only what was asked for, and never raw.
//!
//! # Theory of operation
//! From the name asked for the aliases are followed through the message, in whatever order it has them;
//! records of the type asked for, of the name at the end, are kept. All else in the message is dropped, and what
//! is kept is written anew.
//!
//! # Decisions
//! - An alias that leads to a denied name, or in a circle, spoils the answer; one to a name that no rule
//!   mentions does not: names of the same host often end at somebody else's servers.
//! - Addresses that may not be dialled for the name are left out, so that no answer leads a program, or
//!   what it runs, to this host and its networks.
//! - HTTPS and SVCB lose `ech` (it hides the name that must be seen), `h3` and whatever else runs over QUIC (it
//!   would be refused), and their addresses (those are asked for and checked as addresses).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::wire::{Code, INTERNET, Question, Reader, Record, WireName, flag, kind};
use super::write::Writer;
use crate::net::egress::Reason;
use crate::net::egress::policy::{Policy, Source};
use crate::spec::net::HostName;

/// Longest row of aliases.
const ALIASES: usize = 16;
/// Most records that are kept.
const RECORDS: usize = 128;
/// Most bytes of records that are kept: what fits into one message with room for its aliases.
const BYTES: usize = 48 * 1024;
/// Longest time, in seconds, that any answer holds.
const LONGEST: u32 = 3600;
/// The same for the answer that there is nothing; and when it does not say.
const NOTHING: u32 = 300;
const NOTHING_SAID: u32 = 5;

/// What may be told about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How it went.
    pub code: Code,
    /// Aliases, then what was asked for.
    pub records: Vec<Kept>,
    /// Seconds it holds from when it came.
    pub ttl: u32,
}

/// A record that is passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    name: WireName,
    kind: u16,
    data: Vec<u8>,
}

/// Why a message is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// It answers another question, or none: as if it had not come.
    NotOurs,
    /// It did not fit into a datagram.
    Truncated,
    /// The server cannot tell, or tells nonsense: another one may.
    Failed,
    /// An alias leads to a denied name.
    Alias(HostName, Reason),
}

/// An address that was left out of an answer.
pub type LeftOut = (IpAddr, Reason);

/// Types that are passed on. Of others there is nothing: nobody needs them to reach a host.
pub fn is_passed(kind: u16) -> bool {
    matches!(
        kind,
        kind::A
            | kind::AAAA
            | kind::NS
            | kind::CNAME
            | kind::SOA
            | kind::PTR
            | kind::MX
            | kind::TXT
            | kind::SRV
            | kind::SSHFP
            | kind::TLSA
            | kind::SVCB
            | kind::HTTPS
            | kind::CAA
    )
}

impl Answer {
    /// There is nothing.
    pub fn nothing(code: Code, ttl: u32) -> Self {
        Self { code, records: Vec::new(), ttl }
    }

    /// These addresses, of which those of the family that is asked for are told.
    pub fn addresses(name: &HostName, kind: u16, addresses: &[IpAddr], ttl: u32) -> Self {
        let name = WireName::of(name);
        let records = addresses
            .iter()
            .filter_map(|address| Some((kind, data_of(*address, kind)?)))
            .map(|(kind, data)| Kept { name: name.clone(), kind, data })
            .collect();
        Self { code: Code::NoError, records, ttl }
    }

    /// A name, for the one that an address is asked for by.
    pub fn pointer(asked: &WireName, name: &HostName, ttl: u32) -> Self {
        let data = WireName::of(name).as_bytes().to_vec();
        let record = Kept { name: asked.clone(), kind: kind::PTR, data };
        Self { code: Code::NoError, records: vec![record], ttl }
    }

    /// Reads what a server answered to `question`, which asks for `name` with this id.
    pub fn read(
        message: &[u8],
        id: u16,
        question: &Question,
        asked: (&HostName, &Policy),
        left_out: &mut Vec<LeftOut>,
    ) -> Result<Self, Unusable> {
        let mut reader = Reader::new(message);
        let header = reader.header().ok_or(Unusable::NotOurs)?;
        let ours = header.id == id
            && header.flags & (flag::RESPONSE | flag::OPCODE) == flag::RESPONSE
            && header.counts[0] == 1
            && reader.question().as_ref() == Some(question);
        if !ours {
            return Err(Unusable::NotOurs);
        }
        if header.flags & flag::TRUNCATED != 0 {
            return Err(Unusable::Truncated);
        }
        let code = match header.flags & flag::CODE {
            0 => Code::NoError,
            3 => Code::NxDomain,
            _ => return Err(Unusable::Failed),
        };
        let records = (0..header.counts[1])
            .map(|_| reader.record())
            .collect::<Option<Vec<_>>>()
            .ok_or(Unusable::Failed)?;
        let nothing = negative_ttl(message, &mut reader, header.counts[2]);
        let mut row = Row { message, records: &records, kept: Vec::new(), bytes: 0, ttl: LONGEST };
        let end = row.follow(question, asked.1)?;
        row.keep(question, &end, asked, left_out);
        let found = row.kept.iter().any(|kept| kept.kind == question.kind);
        Ok(match code {
            Code::NoError if found => Self { code, records: row.kept, ttl: row.ttl },
            _ => Self { code, records: row.kept, ttl: row.ttl.min(nothing) },
        })
    }

    /// The addresses in it.
    pub fn dialled(&self) -> impl Iterator<Item = IpAddr> {
        self.records.iter().filter_map(|kept| address_of(kept.kind, &kept.data))
    }

    /// As a message for a client that asked `question` and takes at most `room` bytes. `ttl`: what is left
    /// of it.
    pub fn write(
        &self,
        id: u16,
        question: &Question,
        ttl: u32,
        room: usize,
        edns: bool,
    ) -> Vec<u8> {
        let flags = flag::RESPONSE | flag::RECURSE | flag::RECURSES | self.code as u16;
        let begin = |flags| {
            let mut writer = Writer::new(id, flags);
            writer.question(question);
            writer
        };
        let mut writer = begin(flags);
        for Kept { name, kind, data } in &self.records {
            writer.answer(&question.name, name, *kind, ttl, data);
        }
        if edns {
            writer.edns(EDNS_SIZE);
        }
        if writer.length() <= room {
            return writer.finish();
        }
        let mut writer = begin(flags | flag::TRUNCATED);
        if edns {
            writer.edns(EDNS_SIZE);
        }
        writer.finish()
    }
}

/// The largest datagram that is taken and asked for: what no path cuts in pieces (DNS flag day 2020).
pub const EDNS_SIZE: u16 = 1232;

/// The row of aliases in one message.
struct Row<'a> {
    message: &'a [u8],
    records: &'a [Record],
    kept: Vec<Kept>,
    bytes: usize,
    ttl: u32,
}

impl Row<'_> {
    /// Keeps the aliases from the name asked for on, and gives the name at the end.
    fn follow(&mut self, question: &Question, policy: &Policy) -> Result<WireName, Unusable> {
        let mut name = question.name.clone();
        if question.kind == kind::CNAME {
            return Ok(name);
        }
        for _ in 0..ALIASES {
            let alias = |record: &&Record| record.kind == kind::CNAME && is_of(record, &name);
            let Some(record) = self.records.iter().find(alias) else { return Ok(name) };
            let target =
                Reader::at(self.message, record.data.start).name().ok_or(Unusable::Failed)?;
            let host = target.to_host().ok_or(Unusable::Failed)?;
            if let Err(reason @ Reason::Denied(_)) = policy.answers(&host) {
                return Err(Unusable::Alias(host, reason));
            }
            self.push(record, target.as_bytes().to_vec());
            name = target;
        }
        Err(Unusable::Failed)
    }

    /// Keeps what was asked for, of the name at the end.
    fn keep(
        &mut self,
        question: &Question,
        end: &WireName,
        (asked, policy): (&HostName, &Policy),
        left_out: &mut Vec<LeftOut>,
    ) {
        for record in self.records {
            if record.kind != question.kind || !is_of(record, end) {
                continue;
            }
            let Some(data) = data(self.message, record) else { continue };
            if let Some(address) = address_of(record.kind, &data) {
                if is_disguised(address) {
                    continue;
                }
                if let Err(reason) = policy.may_pin(asked, address, Source::Answer) {
                    left_out.push((address, reason));
                    continue;
                }
            }
            self.push(record, data);
        }
    }

    fn push(&mut self, record: &Record, data: Vec<u8>) {
        let length = record.name.as_bytes().len() + data.len() + 10;
        if self.kept.len() < RECORDS && self.bytes + length <= BYTES {
            self.bytes += length;
            self.ttl = self.ttl.min(seconds(record.ttl));
            self.kept.push(Kept { name: record.name.clone(), kind: record.kind, data });
        }
    }
}

/// RFC 2181 section 8: with the highest bit set it is 0.
fn seconds(ttl: u32) -> u32 {
    if ttl >> 31 == 1 { 0 } else { ttl.min(LONGEST) }
}

fn is_of(record: &Record, name: &WireName) -> bool {
    record.class == INTERNET && record.name == *name
}

/// An IPv4-mapped address: no server has a reason to answer it, and to the sandbox it is an IPv4 one.
fn is_disguised(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// How long it holds that there is nothing, RFC 2308 section 5.
fn negative_ttl(message: &[u8], reader: &mut Reader<'_>, count: u16) -> u32 {
    for _ in 0..count {
        let Some(record) = reader.record() else { break };
        if record.kind == kind::SOA && record.class == INTERNET {
            let mut data = Reader::at(message, record.data.start);
            let minimum = data.name().and_then(|_| data.name()).and_then(|_| {
                data.bytes(16)?;
                data.long()
            });
            return minimum.map_or(NOTHING_SAID, |minimum| {
                seconds(minimum).min(seconds(record.ttl)).min(NOTHING)
            });
        }
    }
    NOTHING_SAID
}

/// The data of a record, uncompressed; `None` when they are not what the type has.
fn data(message: &[u8], record: &Record) -> Option<Vec<u8>> {
    let mut reader = Reader::at(message, record.data.start);
    let raw = message.get(record.data.clone())?;
    let data = match record.kind {
        kind::A => return (raw.len() == 4).then(|| raw.to_vec()),
        kind::AAAA => return (raw.len() == 16).then(|| raw.to_vec()),
        kind::NS | kind::CNAME | kind::PTR => reader.name()?.as_bytes().to_vec(),
        kind::MX => [reader.bytes(2)?, reader.name()?.as_bytes()].concat(),
        kind::SRV => [reader.bytes(6)?, reader.name()?.as_bytes()].concat(),
        kind::SOA => {
            let (server, person) = (reader.name()?, reader.name()?);
            [server.as_bytes(), person.as_bytes(), reader.bytes(20)?].concat()
        }
        kind::SVCB | kind::HTTPS => return service(raw),
        _ => return Some(raw.to_vec()),
    };
    (reader.position() == record.data.end).then_some(data)
}

/// Keys of SVCB, RFC 9460 section 14.3.2.
mod key {
    pub(super) const MANDATORY: u16 = 0;
    pub(super) const ALPN: u16 = 1;
    pub(super) const NO_DEFAULT_ALPN: u16 = 2;
    pub(super) const IPV4HINT: u16 = 4;
    pub(super) const ECH: u16 = 5;
    pub(super) const IPV6HINT: u16 = 6;
    /// RFC 9461: DNS over HTTPS.
    pub(super) const DOHPATH: u16 = 7;
}

/// SVCB without what would lead around the policy; `None` when nothing usable is left.
fn service(raw: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(raw);
    let priority = reader.bytes(2)?;
    // Uncompressed in these records: a pointer cannot lead out of `raw`, and a sane name has none.
    let target = reader.name()?;
    let mut data = [priority, target.as_bytes()].concat();
    let (mut bare, mut alpn) = (false, false);
    while reader.position() < raw.len() {
        let (key, length) = (reader.word()?, reader.word()?);
        let value = reader.bytes(usize::from(length))?;
        let value = match key {
            key::ECH | key::IPV4HINT | key::IPV6HINT | key::DOHPATH => continue,
            key::MANDATORY if names_dropped(value) => return None,
            key::ALPN => protocols(value)?,
            _ => value.to_vec(),
        };
        bare |= key == key::NO_DEFAULT_ALPN;
        if key == key::ALPN && value.is_empty() {
            continue;
        }
        alpn |= key == key::ALPN;
        data.extend_from_slice(&key.to_be_bytes());
        data.extend_from_slice(&u16::try_from(value.len()).ok()?.to_be_bytes());
        data.extend_from_slice(&value);
    }
    (alpn || !bare).then_some(data)
}

/// Whether keys that must be understood are among those that are dropped.
fn names_dropped(mandatory: &[u8]) -> bool {
    let dropped = [key::ECH, key::IPV4HINT, key::IPV6HINT, key::DOHPATH, key::ALPN];
    mandatory.chunks(2).any(|key| dropped.iter().any(|dropped| key == dropped.to_be_bytes()))
}

/// A list of protocols without those over QUIC.
fn protocols(list: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(list);
    let mut kept = Vec::new();
    while reader.position() < list.len() {
        let length = reader.bytes(1)?;
        let name = reader.bytes(usize::from(length[0]))?;
        let quic = name.starts_with(b"h3") || name.starts_with(b"hq") || name == b"doq";
        if !quic {
            kept.extend_from_slice(length);
            kept.extend_from_slice(name);
        }
    }
    Some(kept)
}

fn address_of(kind: u16, data: &[u8]) -> Option<IpAddr> {
    match kind {
        kind::A => <[u8; 4]>::try_from(data).ok().map(|octets| Ipv4Addr::from(octets).into()),
        kind::AAAA => <[u8; 16]>::try_from(data).ok().map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

fn data_of(address: IpAddr, kind: u16) -> Option<Vec<u8>> {
    match (address, kind) {
        (IpAddr::V4(v4), kind::A) => Some(v4.octets().to_vec()),
        (IpAddr::V6(v6), kind::AAAA) => Some(v6.octets().to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
