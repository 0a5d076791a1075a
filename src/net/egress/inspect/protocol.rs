//! The protocol of a connection, by its first bytes.

use super::head::is_token;

/// Protocols that differ in where names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Tls,
    Http,
    Other,
}

/// Words that begin a request even where no version ends the line.
const METHODS: [&[u8]; 10] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"PRI",
];

/// The protocol that some first bytes are of; `None` while they could be of two. However long its first word is, it may be a
/// method: servers take what they do not know for a request, and tell by its host who answers.
pub(super) fn protocol(bytes: &[u8]) -> Option<Protocol> {
    match *bytes {
        [] | [22] => return None,
        [22, 3, ..] => return Some(Protocol::Tls),
        _ => {}
    }
    // Servers pass over blanks before a request.
    let blank = bytes.iter().take_while(|byte| b"\r\n\t ".contains(byte)).count();
    let rest = &bytes[blank..];
    let word = rest.iter().take_while(|byte| is_token(**byte)).count();
    let method = &rest[..word];
    match rest.get(word) {
        None => None,
        Some(b' ' | b'\t' | 0x0b | 0x0c) if word > 0 => {
            let known = METHODS.iter().any(|known| known.eq_ignore_ascii_case(method));
            let line = rest.iter().position(|byte| *byte == b'\n');
            match line.map(|end| &rest[..end]) {
                _ if known => Some(Protocol::Http),
                None => None,
                Some(line) if has_version(line) => Some(Protocol::Http),
                Some(_) => Some(Protocol::Other),
            }
        }
        Some(_) => Some(Protocol::Other),
    }
}

fn has_version(line: &[u8]) -> bool {
    line.windows(5).any(|five| five.eq_ignore_ascii_case(b"HTTP/"))
}
