//! The protocol of a connection, by its first bytes.
//!
//! # Theory of operation
//! Servers take what they do not know for a request, and tell by its host who answers; some do so with any word in place of a
//! method. So only the end of the first line tells that it is none, and until then it is [`Begun`].

use super::head::is_token;

/// Protocols that differ in where names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Tls,
    Http,
    /// It can be read in two ways: this is why.
    Twofold(&'static str),
    /// Another one, unless its first line ends as that of a request does.
    Line(Begun),
    /// It does not come to the end of its first line.
    Long,
    /// The same, and it begins with no method: which request that is, its last word tells.
    Endless,
    Other,
}

/// A first line that is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begun {
    /// It begins with what may be a method.
    pub(super) has_method: bool,
    /// With an end of line here it is a request.
    pub(super) is_request: bool,
}

/// Words that begin a request even where no version ends the line.
const METHODS: [&[u8]; 10] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"PRI",
];

/// Longest first line that is waited for, with what stands before it.
const FIRST_LINE: usize = 16 * 1024;

/// What a proxy begins with that says for whom it speaks, in the second version. Servers that expect it read on behind it.
const PROXY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// How the last word of a request's first line begins, in whichever case.
const VERSION: &[u8] = b"HTTP/";
/// Why a line is refused that some servers take for a request's.
pub(super) const NO_REQUEST: &str = "the first line of a request";
const RELAYED: Protocol = Protocol::Twofold("a proxy's header in front of it");

/// What stands between the words of a line: for strict servers blanks, for others (Python's) also these.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r' | 0x1c..=0x1f | 0x85 | 0xa0)
}

/// The protocol that some first bytes are of; `None` while nothing can be said.
pub(super) fn protocol(bytes: &[u8]) -> Option<Protocol> {
    match *bytes {
        [] | [22] => return None,
        [22, 3, ..] => return Some(Protocol::Tls),
        _ if bytes.starts_with(PROXY) => return Some(RELAYED),
        _ if PROXY.starts_with(bytes) => return None,
        _ => {}
    }
    // Servers pass over blanks before a request.
    let blank = bytes.iter().take_while(|byte| is_blank(**byte)).count();
    let (_, rest) = bytes.split_at(blank);
    if rest.is_empty() {
        return (blank > FIRST_LINE).then_some(Protocol::Long);
    }
    let (method, behind) = rest.split_at(rest.iter().take_while(|byte| is_token(**byte)).count());
    let has_method = !method.is_empty() && behind.first().is_none_or(|byte| is_blank(*byte));
    let is_one_word = matches!(behind, [] | [b'\n', ..] | [b'\r'] | [b'\r', b'\n', ..]);
    let most = FIRST_LINE.saturating_sub(blank);
    let line = rest.iter().take(most).position(|byte| *byte == b'\n');
    let so_far = rest.get(..line.unwrap_or(rest.len())).unwrap_or_default();
    let is_request = is_request(so_far, has_method.then_some(method));
    Some(match line {
        _ if blank > FIRST_LINE => Protocol::Long,
        _ if has_method && !is_one_word && METHODS.contains(&method) => Protocol::Http,
        _ if has_method && !is_one_word && method == b"PROXY" => RELAYED,
        Some(_) if is_request && has_method => Protocol::Http,
        Some(_) if is_request => Protocol::Twofold(NO_REQUEST),
        None if rest.len() <= most => Protocol::Line(Begun { has_method, is_request }),
        None if has_method => Protocol::Long,
        None => Protocol::Endless,
        Some(_) => Protocol::Other,
    })
}

/// Whether some server takes a first line for that of a request.
fn is_request(line: &[u8], method: Option<&[u8]>) -> bool {
    let Some(method) = method else {
        // Lines of logs have one, too, but not at their end.
        let mut words = line.rsplit(|byte| is_blank(*byte)).filter(|word| !word.is_empty());
        return words.next().is_some_and(is_version);
    };
    let known = METHODS.iter().any(|known| known.eq_ignore_ascii_case(method));
    line.windows(5).any(is_version) || known && line.contains(&b'/')
}

/// Whether a word begins as the version does that ends a request's first line.
fn is_version(word: &[u8]) -> bool {
    word.get(..VERSION.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(VERSION))
}

/// The last word of a line that is too long to be kept.
#[derive(Debug, Default)]
pub(super) struct LastWord {
    /// As much of its begin as tells what it is.
    begin: Vec<u8>,
    /// Whether what comes is of it.
    goes_on: bool,
}

impl LastWord {
    /// The next bytes of the line; whether that is over.
    pub(super) fn read(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            match *byte {
                // Before the first word it is one of the blanks.
                b'\n' if !self.begin.is_empty() => return true,
                blank if is_blank(blank) => self.goes_on = false,
                byte => {
                    if !self.goes_on {
                        self.begin.clear();
                    }
                    self.goes_on = true;
                    if self.begin.len() < VERSION.len() {
                        self.begin.push(byte);
                    }
                }
            }
        }
        false
    }

    /// Whether with an end of line here some server takes the line for that of a request.
    pub(super) fn is_version(&self) -> bool {
        is_version(&self.begin)
    }
}
