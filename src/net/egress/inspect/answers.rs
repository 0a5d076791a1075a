//! What the other side says, as far as it decides what becomes of the payload's bytes.
//!
//! # Theory of operation
//! Two answers matter: that a greeting was taken, and that a tunnel or another protocol was agreed to. The answer to a
//! request is known for sure only where nothing else is under way: [`Answers::Even`] holds on a connection without
//! requests, and again behind an answer whose end is beyond doubt. Any other request ends it for good ([`Answers::Unseen`]),
//! since answers are not followed from there, and so does what nobody has asked for.
//!
//! # Decisions
//! - An answer that two read differently is none: nothing was agreed to, and what the payload says next must be requests.
//! - A tunnel has neither a length nor chunks (RFC 9110 section 9.3.6): a 2xx with them is of a server that takes
//!   `CONNECT` for a request like any other.

use super::head::{field, lines};
use super::tls::Server;

/// Longest head of an answer.
const HEAD: usize = 16 * 1024;

/// What is listened for.
#[derive(Debug, Default)]
pub(super) enum Answers {
    /// Nothing yet: all that was asked is answered.
    #[default]
    Even,
    /// Nothing: it is not known to what an answer would be.
    Unseen,
    /// The answer to a greeting.
    Hello(Server),
    /// The head of the answer to the only request that is under way, as far as it came.
    Head(Wanted, Vec<u8>),
    /// What is left of that answer's body.
    Body(u64),
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `CONNECT`.
    Tunnel,
    /// `Upgrade`.
    Protocol,
}

/// What was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// A greeting was taken: there will be no other in the clear.
    Greeted,
    /// What was wanted begins.
    Agreed,
    /// It does not: the connection goes on as before.
    Declined,
}

impl Answers {
    /// Takes the next bytes, up to what decides something.
    pub(super) fn read(&mut self, rest: &mut &[u8]) -> Option<Said> {
        while !rest.is_empty() {
            let bytes = *rest;
            *rest = &[];
            match self {
                Self::Unseen => {}
                // Nobody has asked for it.
                Self::Even => *self = Self::Unseen,
                Self::Hello(server) => match server.feed(bytes) {
                    Ok(false) => {}
                    Ok(true) => return Some(Said::Greeted),
                    // Who answers something else is never trusted: the payload is followed to its end.
                    Err(_) => *self = Self::Unseen,
                },
                Self::Body(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *rest = bytes.get(here..).unwrap_or_default();
                    *self = Self::after(*left - here as u64);
                }
                Self::Head(wanted, held) => {
                    held.extend_from_slice(bytes);
                    let (said, then) = decide(*wanted, held)?;
                    *rest = bytes.get(bytes.len() - held.len()..).unwrap_or_default();
                    *self = then;
                    return Some(said);
                }
            }
        }
        None
    }

    fn after(left: u64) -> Self {
        if left == 0 { Self::Even } else { Self::Body(left) }
    }
}

/// What the answer is, once it is there; `held` is what comes behind its head.
fn decide(wanted: Wanted, held: &mut Vec<u8>) -> Option<(Said, Answers)> {
    loop {
        let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") else {
            return (held.len() > HEAD).then(|| {
                held.clear();
                (Said::Declined, Answers::Unseen)
            });
        };
        let answer = Answer::read(held.get(..end).unwrap_or_default());
        held.drain(..end + 4);
        let Some(answer) = answer else { return Some((Said::Declined, Answers::Unseen)) };
        return Some(match (answer.status, wanted, answer.length) {
            (101, Wanted::Protocol, _) => (Said::Agreed, Answers::Unseen),
            (100 | 102..=199, ..) => continue,
            (200..=299, Wanted::Tunnel, Length::Unsaid) => (Said::Agreed, Answers::Even),
            (101..=299, Wanted::Tunnel, _) => (Said::Declined, Answers::Unseen),
            (204 | 304, ..) => (Said::Declined, Answers::Even),
            (_, _, Length::Bytes(length)) => (Said::Declined, Answers::after(length)),
            (_, _, Length::Unsaid | Length::Other) => (Said::Declined, Answers::Unseen),
        });
    }
}

/// The head of an answer.
struct Answer {
    status: u16,
    length: Length,
}

/// How long its body is said to be.
enum Length {
    Unsaid,
    Bytes(u64),
    Other,
}

impl Answer {
    /// `None` for one that two read differently.
    fn read(head: &[u8]) -> Option<Self> {
        let mut lines = lines(head).ok()?.into_iter();
        let first = lines.next()?;
        let rest = first.strip_prefix(b"HTTP/1.1 ").or_else(|| first.strip_prefix(b"HTTP/1.0 "))?;
        let (digits, reason) = rest.split_at_checked(3)?;
        if !matches!(reason, [] | [b' ', ..]) || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let mut length = Length::Unsaid;
        for line in lines {
            let (name, value) = field(line).ok()?;
            let is_length = name.eq_ignore_ascii_case(b"content-length");
            let bytes = std::str::from_utf8(value).ok().filter(|_| is_length);
            let digits = bytes.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            match (&length, digits.and_then(|digits| digits.parse().ok())) {
                (Length::Unsaid, Some(bytes)) => length = Length::Bytes(bytes),
                _ if is_length || name.eq_ignore_ascii_case(b"transfer-encoding") => {
                    length = Length::Other;
                }
                _ => {}
            }
        }
        (100..600).contains(&status).then_some(Self { status, length })
    }
}
