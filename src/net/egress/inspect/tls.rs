//! The names in TLS `ClientHello`s (RFC 8446 section 4.1.2, RFC 6066 section 3), and the answer to them.
//!
//! # Theory of operation
//! [`Client::feed`] takes what the payload sends apart into records and puts the handshake messages in them together;
//! each is read to its last byte once it is whole. What is read in one way only by some is refused: an
//! extension twice, a list of several names, lengths that do not add up, a greeting with something else in its record.
//!
//! A server may answer `HelloRetryRequest`, and goes by what the second greeting says, which is in the clear, too. It can
//! come behind any number of records of early data (section 4.2.10), so nothing that the client sends tells that there
//! will be none. The server's answer does: [`Server::feed`] waits for a `ServerHello` that is no retry (its random says
//! which). Until it is there, all records of the client's are followed, and every greeting among them is read.

use super::super::reason::Reason;
use crate::spec::net::HostName;

/// Longest message, and longest stream of the records it comes in: one byte a record at worst is refused.
const MESSAGE: usize = 16 * 1024;
const STREAM: usize = 40 * 1024;
/// Longest record in the clear, and longest encrypted one: RFC 8446 sections 5.1 and 5.2.
const RECORD: usize = 1 << 14;
const ENCRYPTED: usize = RECORD + 256;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const SERVER_NAME: u16 = 0;

/// The random of a `ServerHello` that asks for another greeting, RFC 8446 section 4.1.3.
pub(super) const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

type Found<T> = Result<T, Reason>;

/// A stream of records.
#[derive(Debug, Default)]
struct Records {
    /// The header of a record as far as it came, or that of the one whose content comes.
    header: Vec<u8>,
    /// What of its content is still to come.
    missing: usize,
}

impl Records {
    /// The next part of a record's content and its kind; `None` when there is none in what came.
    fn next<'a>(&mut self, rest: &mut &'a [u8]) -> Found<Option<(u8, &'a [u8])>> {
        while self.missing == 0 && !rest.is_empty() {
            if self.header.len() == 5 {
                self.header.clear();
            }
            let (first, after) = rest.split_at(1);
            self.header.extend_from_slice(first);
            *rest = after;
            self.check_header()?;
        }
        let (content, after) = rest.split_at(rest.len().min(self.missing));
        *rest = after;
        self.missing -= content.len();
        let kind = self.header.first().copied();
        Ok(kind.filter(|_| !content.is_empty()).map(|kind| (kind, content)))
    }

    /// Each byte of a header is checked as it comes.
    fn check_header(&mut self) -> Found<()> {
        let ambiguous = Err(Reason::Ambiguous("a TLS record that is none"));
        let (length, most) = match *self.header.as_slice() {
            [kind, ..] if !(CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind) => {
                return ambiguous;
            }
            [_, major, ..] if major != 3 => return ambiguous,
            [CHANGE_CIPHER_SPEC, _, _, high, low] => (u16::from_be_bytes([high, low]), 1),
            [APPLICATION_DATA, _, _, high, low] => (u16::from_be_bytes([high, low]), ENCRYPTED),
            [ALERT | HANDSHAKE, _, _, high, low] => (u16::from_be_bytes([high, low]), RECORD),
            _ => return Ok(()),
        };
        self.missing = usize::from(length);
        if self.missing == 0 || self.missing > most { ambiguous } else { Ok(()) }
    }

    /// The kind of the record whose header came in part.
    fn begun(&self) -> Option<u8> {
        self.header.first().copied().filter(|_| self.missing > 0 || self.header.len() < 5)
    }
}

/// What a client sends until it was answered.
#[derive(Debug, Default)]
pub(super) struct Client {
    records: Records,
    message: Vec<u8>,
    /// Bytes of records since the message began.
    seen: usize,
    has_greeted: bool,
}

/// A message that is whole.
#[derive(Debug)]
pub(super) struct Greeting {
    /// The name in it, if it has one.
    pub(super) name: Option<HostName>,
}

impl Client {
    /// The next bytes, up to the end of a greeting. `None`: there is none in what came.
    pub(super) fn feed(&mut self, rest: &mut &[u8]) -> Found<Option<Greeting>> {
        while !rest.is_empty() {
            let before = rest.len();
            let part = self.records.next(rest)?;
            let is_greeting = self.records.header.first() == Some(&HANDSHAKE);
            if !is_greeting && (!self.has_greeted || !self.message.is_empty()) {
                return Err(Reason::Ambiguous("a TLS record that is none"));
            }
            if !is_greeting {
                continue;
            }
            self.seen += before - rest.len();
            if self.seen > STREAM {
                return Err(Reason::TooLate);
            }
            let Some((_, content)) = part else { continue };
            self.message.extend_from_slice(content);
            if let Some(greeting) = self.whole()? {
                return Ok(Some(greeting));
            }
        }
        Ok(None)
    }

    /// Whether what came could become a greeting that nobody has read.
    pub(super) fn holds(&self) -> bool {
        !self.has_greeted || !self.message.is_empty() || self.records.begun() == Some(HANDSHAKE)
    }

    /// The greeting, once it is there.
    fn whole(&mut self) -> Found<Option<Greeting>> {
        let [kind, ref rest @ ..] = *self.message.as_slice() else { return Ok(None) };
        if kind != CLIENT_HELLO {
            return Err(Reason::Ambiguous("a TLS handshake that does not begin"));
        }
        let [a, b, c, ref body @ ..] = *rest else { return Ok(None) };
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if length > MESSAGE {
            return Err(Reason::TooLate);
        }
        if body.len() < length {
            return Ok(None);
        }
        if body.len() > length || self.records.missing > 0 {
            return Err(Reason::Ambiguous("a TLS greeting with more behind it"));
        }
        let name = read(body)?;
        self.message.clear();
        self.seen = 0;
        self.has_greeted = true;
        Ok(Some(Greeting { name }))
    }
}

/// What a server answers.
#[derive(Debug, Default)]
pub(super) struct Server {
    records: Records,
    message: Vec<u8>,
}

impl Server {
    /// The next bytes: whether the server has taken a greeting. What is no TLS is a reason to wait no longer.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Found<bool> {
        let mut rest = bytes;
        while let Some((kind, content)) = self.records.next(&mut rest)? {
            if kind == HANDSHAKE {
                self.message.extend_from_slice(content);
                if self.has_agreed()? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn has_agreed(&mut self) -> Found<bool> {
        while let [kind, a, b, c, ref body @ ..] = *self.message.as_slice() {
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            let is_retry = match (kind, body.get(2..34)) {
                _ if length > MESSAGE => return Err(Reason::TooLate),
                (SERVER_HELLO, None) if length >= 34 => return Ok(false),
                (SERVER_HELLO, Some(random)) if length >= 34 => random == RETRY,
                (HELLO_REQUEST, _) => true,
                _ => return Err(Reason::Ambiguous("a TLS answer that is none")),
            };
            if !is_retry {
                return Ok(true);
            }
            if body.len() < length {
                return Ok(false);
            }
            self.message.drain(..4 + length);
        }
        Ok(false)
    }
}

/// The name in a whole message.
fn read(message: &[u8]) -> Result<Option<HostName>, Reason> {
    let malformed = Reason::Ambiguous("a TLS greeting that is malformed");
    let mut at = Cursor(message);
    let extensions = at.extensions().ok_or(malformed.clone())?;
    let mut at = Cursor(extensions);
    let (mut seen, mut name) = (Vec::new(), None);
    while !at.0.is_empty() {
        let kind = at.word().ok_or(malformed.clone())?;
        let data = at.counted(2).ok_or(malformed.clone())?;
        if seen.contains(&kind) {
            return Err(Reason::Ambiguous("a TLS extension that is there twice"));
        }
        seen.push(kind);
        if kind == SERVER_NAME {
            name = Some(server_name(data)?);
        }
    }
    Ok(name)
}

fn server_name(data: &[u8]) -> Result<HostName, Reason> {
    let wrong = || Reason::Ambiguous("the name in TLS is none");
    let mut at = Cursor(data);
    let mut list = Cursor(at.counted(2).filter(|_| at.0.is_empty()).ok_or_else(wrong)?);
    let kind = list.take(1).ok_or_else(wrong)?;
    let name = list.counted(2).ok_or_else(wrong)?;
    if kind != [0] || !list.0.is_empty() {
        return Err(Reason::Ambiguous("more than one name in TLS"));
    }
    let text = std::str::from_utf8(name).map_err(|_| wrong())?;
    HostName::parse(text).map_err(|_| wrong())
}

/// What is left to read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// Bytes after their count, which has `width` bytes.
    fn counted(&mut self, width: usize) -> Option<&'a [u8]> {
        let count = self.take(width)?.iter().fold(0, |count, byte| count << 8 | usize::from(*byte));
        self.take(count)
    }

    /// The extensions of a `ClientHello`; none in one that ends before them.
    fn extensions(&mut self) -> Option<&'a [u8]> {
        self.take(2 + 32)?;
        self.counted(1).filter(|session| session.len() <= 32)?;
        self.counted(2).filter(|ciphers| !ciphers.is_empty() && ciphers.len() % 2 == 0)?;
        self.counted(1).filter(|compressions| !compressions.is_empty())?;
        if self.0.is_empty() {
            return Some(&[]);
        }
        self.counted(2).filter(|_| self.0.is_empty())
    }
}
