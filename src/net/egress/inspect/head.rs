//! The head of one HTTP/1 request: to whom it is, and how its body ends (RFC 9112).
//!
//! # Decisions
//! - Strict where servers differ, for what two readers read in two ways is how one request is hidden in
//!   another: lines end in CR LF, nothing is folded, nothing stands before a colon, no field that
//!   says who or how long is there twice, and length and chunks never together.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::reason::Reason;
use crate::spec::net::HostName;

/// What a request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// To whom it is.
    pub(super) to: Option<Authority>,
    /// To whom a proxy is to take it, with the port.
    pub(super) through: Option<Through>,
    /// How its body ends.
    pub(super) body: Body,
    /// To what the connection is to change.
    pub(super) upgrade: Option<Upgrade>,
}

/// Another protocol, in which no further host is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upgrade {
    WebSocket,
    /// Nothing is known of it.
    Other,
}

/// What a proxy is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Through {
    /// One request.
    Request(Authority),
    /// A connection: what follows is its own.
    Connection(Authority),
}

/// A host and a port as they stand in `Host` and in targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) host: Host,
    pub(super) port: Option<u16>,
}

/// Who is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// By name.
    Name(HostName),
    /// By address.
    Address(IpAddr),
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// After this many bytes.
    Bytes(u64),
    /// After a chunk of none.
    Chunked,
}

type Found<T> = Result<T, Reason>;

fn ambiguous<T>(what: &'static str) -> Found<T> {
    Err(Reason::Ambiguous(what))
}

/// Characters of methods and names of fields, RFC 9110 section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl Head {
    /// Reads a head, without the empty line that ends it.
    pub(super) fn read(bytes: &[u8]) -> Found<Self> {
        let mut lines = lines(bytes)?.into_iter();
        let Some(Request { method, target, minor }) = lines.next().and_then(Request::read) else {
            return ambiguous("the first line of a request");
        };
        let mut fields = Fields::default();
        for line in lines {
            fields.add(line)?;
        }
        let through = through(method, target)?;
        let host = fields.host.map(authority).transpose()?;
        if host.is_none() && minor == b'1' {
            return Err(Reason::NoName);
        }
        let same = match (&through, &host) {
            (Some(Through::Request(one) | Through::Connection(one)), Some(other)) => {
                one.host == other.host
            }
            _ => true,
        };
        if !same {
            return ambiguous("a request to one host that names another");
        }
        let body = match (fields.length, fields.encoding) {
            (None, None) => Body::Bytes(0),
            (Some(length), None) => Body::Bytes(decimal(length)?),
            (None, Some(coding)) if minor == b'1' && coding.eq_ignore_ascii_case(b"chunked") => {
                Body::Chunked
            }
            (None, Some(_)) => return ambiguous("an encoding other than chunks"),
            (Some(_), Some(_)) => return ambiguous("a length and an encoding"),
        };
        if matches!(through, Some(Through::Connection(_))) && body != Body::Bytes(0) {
            return ambiguous("a tunnel with a body");
        }
        // Answers to others have bodies or not, by rules of their own.
        let plain = through.is_none() && body == Body::Bytes(0) && minor == b'1';
        let upgrade = fields.upgrade.filter(|_| plain && matches!(method, b"GET" | b"POST"));
        Ok(Self { to: host, through, body, upgrade: upgrade.and_then(Upgrade::read) })
    }
}

impl Upgrade {
    /// `None` for a choice of several, and for what names hosts by itself: HTTP/2 and what came before it, TLS.
    fn read(value: &[u8]) -> Option<Self> {
        let name = value.split(|byte| *byte == b'/').next()?.to_ascii_lowercase();
        match name.as_slice() {
            b"websocket" => Some(Self::WebSocket),
            b"h2" | b"h2c" | b"http" | b"https" | b"tls" | b"spdy" => None,
            name if !name.is_empty() && value.iter().all(|b| is_token(*b) || *b == b'/') => {
                Some(Self::Other)
            }
            _ => None,
        }
    }
}

/// `METHOD TARGET HTTP/1.MINOR`.
struct Request<'a> {
    method: &'a [u8],
    target: &'a [u8],
    minor: u8,
}

impl<'a> Request<'a> {
    fn read(line: &'a [u8]) -> Option<Self> {
        let mut words = line.split(|byte| *byte == b' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let minor = match version {
            b"HTTP/1.0" => b'0',
            b"HTTP/1.1" => b'1',
            _ => return None,
        };
        let sound = words.next().is_none()
            && !method.is_empty()
            && method.iter().all(|byte| is_token(*byte))
            && !target.is_empty()
            && target.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
        sound.then_some(Self { method, target, minor })
    }
}

/// The fields that matter, each at most once.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    length: Option<&'a [u8]>,
    encoding: Option<&'a [u8]>,
    upgrade: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn add(&mut self, line: &'a [u8]) -> Found<()> {
        let (name, value) = field(line)?;
        let place = match name.to_ascii_lowercase().as_slice() {
            b"host" => &mut self.host,
            b"content-length" => &mut self.length,
            b"transfer-encoding" => &mut self.encoding,
            b"upgrade" => {
                // Several are a list, which is no protocol.
                self.upgrade = Some(if self.upgrade.is_some() { b"," } else { value });
                return Ok(());
            }
            _ => return Ok(()),
        };
        if place.replace(value).is_some() {
            return ambiguous("a field that is there twice");
        }
        Ok(())
    }
}

/// Lines that end in CR LF; neither of the two stands anywhere else.
pub(super) fn lines(bytes: &[u8]) -> Found<Vec<&[u8]>> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let last = lines.len().saturating_sub(1);
    for (at, line) in lines.iter_mut().enumerate() {
        if at < last {
            *line = match line.strip_suffix(b"\r") {
                Some(line) => line,
                None => return ambiguous("a line that ends in LF alone"),
            };
        }
        if line.contains(&b'\r') {
            return ambiguous("CR within a line");
        }
    }
    Ok(lines)
}

/// Name and value of a field.
pub(super) fn field(line: &[u8]) -> Found<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':');
    let Some((name, value)) = colon.and_then(|at| line.split_at_checked(at)) else {
        return ambiguous("a field without a colon");
    };
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return ambiguous("the name of a field");
    }
    let value = value.get(1..).unwrap_or_default();
    if value.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
        return ambiguous("the value of a field");
    }
    Ok((name, trimmed(value)))
}

/// A field after the chunks: nothing that would have mattered before them.
pub(super) fn check_trailer(line: &[u8]) -> Found<()> {
    let (name, _) = field(line)?;
    let known: [&[u8]; 3] = [b"host", b"content-length", b"transfer-encoding"];
    if known.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return ambiguous("a field after the body that belongs before it");
    }
    Ok(())
}

/// The size that a line before a chunk says.
pub(super) fn chunk_size(line: &[u8]) -> Found<u64> {
    let (digits, rest) =
        line.split_at(line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count());
    let extension = rest.is_empty()
        || rest[0] == b';' && rest.iter().all(|byte| *byte >= b' ' && *byte != 0x7f);
    let text = std::str::from_utf8(digits).unwrap_or_default();
    match u64::from_str_radix(text, 16) {
        Ok(size) if extension && digits.len() <= 15 => Ok(size),
        _ => ambiguous("the size of a chunk"),
    }
}

fn trimmed(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(*byte, b' ' | b'\t');
    let start = value.iter().take_while(|byte| blank(byte)).count();
    let end = value.len() - value[start..].iter().rev().take_while(|byte| blank(byte)).count();
    &value[start..end]
}

fn decimal(value: &[u8]) -> Found<u64> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let plain = !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(length) if plain => Ok(length),
        _ => ambiguous("a length that is no number"),
    }
}

/// What a target asks a proxy for: nothing, when it is a path.
fn through(method: &[u8], target: &[u8]) -> Found<Option<Through>> {
    if method == b"CONNECT" {
        let to = authority(target)?;
        return match to.port {
            Some(_) => Ok(Some(Through::Connection(to))),
            None => ambiguous("a tunnel without a port"),
        };
    }
    if target.starts_with(b"/") || target == b"*" && method == b"OPTIONS" {
        return Ok(None);
    }
    let secure = starts_with(target, b"https://");
    if !secure && !starts_with(target, b"http://") {
        return ambiguous("the target of a request");
    }
    let rest = &target[if secure { 8 } else { 7 }..];
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let mut to = authority(&rest[..end])?;
    to.port = to.port.or(Some(if secure { 443 } else { 80 }));
    Ok(Some(Through::Request(to)))
}

fn starts_with(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// `HOST[:PORT]`.
fn authority(bytes: &[u8]) -> Found<Authority> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    if text.is_empty() {
        return Err(Reason::NoName);
    }
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = if let Some((inside, after)) = bracketed {
        (inside.parse::<Ipv6Addr>().ok().map(|v6| Host::Address(v6.into())), after)
    } else {
        let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        let address = host.parse::<Ipv4Addr>().ok().map(|v4| Host::Address(v4.into()));
        (address.or_else(|| HostName::parse(host).ok().map(Host::Name)), port)
    };
    let port = port_of(port)?;
    host.map_or(ambiguous("the name of a host"), |host| Ok(Authority { host, port }))
}

/// Nothing, or `:PORT`.
fn port_of(text: &str) -> Found<Option<u16>> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.strip_prefix(':').filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(0) | None => ambiguous("the port of a host"),
        port => Ok(port),
    }
}

/// Takes up to `left` bytes off; gives how many are still to come.
pub(super) fn skip(held: &mut Vec<u8>, left: u64) -> u64 {
    let here = usize::try_from(left).unwrap_or(usize::MAX).min(held.len());
    held.drain(..here);
    left - here as u64
}

/// A head that has a line ending in LF alone will not become a good one.
pub(super) fn bare_newline(held: &[u8]) -> Result<(), Reason> {
    let bare = held.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r');
    if bare || held.starts_with(b"\n") {
        return Err(Reason::Ambiguous("a line that ends in LF alone"));
    }
    Ok(())
}
