//! The name in a TLS `ClientHello` (RFC 8446 section 4.1.2, RFC 6066 section 3).
//!
//! # Theory of operation
//! [`Hello::feed`] takes a stream apart into records and puts the handshake message in them together;
//! once it is whole, it is read to its last byte. What is read in one way only by some is refused:
//! an extension twice, a list of several names, lengths that do not add up.

use super::super::reason::Reason;
use crate::spec::net::HostName;

/// Longest message, and longest stream of the records it comes in: one byte a record at worst is refused.
const MESSAGE: usize = 16 * 1024;
const STREAM: usize = 40 * 1024;
/// Longest record, RFC 8446 section 5.1.
const RECORD: usize = 1 << 14;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;

/// A message that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Hello {
    message: Vec<u8>,
    /// The header of a record as far as it came, and what of its content is still to come.
    header: Vec<u8>,
    missing: usize,
    seen: usize,
}

/// A message that is whole.
#[derive(Debug)]
pub(super) struct Greeting {
    /// The name in it, if it has one.
    pub(super) name: Option<HostName>,
}

impl Hello {
    /// The next bytes. `None`: more is needed.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Option<Greeting>, Reason> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.missing == 0 {
                let (first, after) = rest.split_at(rest.len().min(5 - self.header.len()));
                self.header.extend_from_slice(first);
                self.seen += first.len();
                rest = after;
                self.check_header()?;
            } else {
                let (content, after) = rest.split_at(rest.len().min(self.missing));
                self.message.extend_from_slice(content);
                self.missing -= content.len();
                self.seen += content.len();
                rest = after;
                if let Some(message) = self.whole()? {
                    return read(message).map(|name| Some(Greeting { name }));
                }
            }
            if self.seen > STREAM {
                return Err(Reason::TooLate);
            }
        }
        Ok(None)
    }

    /// Each byte of a header is checked as it comes.
    fn check_header(&mut self) -> Result<(), Reason> {
        let ambiguous = Err(Reason::Ambiguous("a TLS record that is none"));
        match *self.header.as_slice() {
            [kind, ..] if kind != HANDSHAKE => ambiguous,
            [_, major, ..] if major != 3 => ambiguous,
            [_, _, _, high, low] => {
                self.missing = usize::from(high) << 8 | usize::from(low);
                self.header.clear();
                if self.missing == 0 || self.missing > RECORD { ambiguous } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// The body of the first handshake message, once it is there.
    fn whole(&self) -> Result<Option<&[u8]>, Reason> {
        match *self.message.as_slice() {
            [kind, ..] if kind != CLIENT_HELLO => {
                Err(Reason::Ambiguous("a TLS handshake that does not begin"))
            }
            [_, a, b, c, ref body @ ..] => {
                let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                if length > MESSAGE { Err(Reason::TooLate) } else { Ok(body.get(..length)) }
            }
            _ => Ok(None),
        }
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
