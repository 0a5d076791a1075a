//! Names of hosts, as rules, questions and certificates have them.
//!
//! # Decisions
//! - One spelling: lower case, no dot at the end. What is compared has been through [`HostName`].
//! - Letters, digits, `-` and `_` only. DNS could carry more, NUL and control bytes among it; no host
//!   that a program reaches by name needs them.
//! - A name whose last label is a number is an address in disguise to `getaddrinfo(3)` (`127.1`,
//!   `0x7f000001`): never a name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest name without its final dot, RFC 1035 section 2.3.4.
const LONGEST: usize = 253;
/// Longest label.
const LONGEST_LABEL: usize = 63;

/// A valid name of a host: lower case, without a dot at its end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HostName(Box<str>);

/// Why a text is no name of a host. Does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a host name is empty")]
    Empty,
    /// A name, or one of its labels, is too long for DNS.
    #[error("a host name has more than 253 bytes, or more than 63 between two dots")]
    TooLong,
    /// Two dots with nothing between, or one at the beginning.
    #[error("a host name has nothing between two dots")]
    EmptyLabel,
    /// Outside ASCII.
    #[error("a host name has letters outside ASCII")]
    NotAscii,
    /// Anything else.
    #[error("a host name has other characters than letters, digits, `-`, `_` and `.`")]
    Character,
    /// Programs take it as an address.
    #[error("its last part is a number, as in an address")]
    Numeric,
}

impl NameError {
    /// What to write instead.
    pub fn hint(self) -> Option<&'static str> {
        match self {
            Self::NotAscii => Some("write the name as DNS has it, beginning with `xn--`"),
            Self::Numeric => Some("write an IPv4 address as four decimal numbers"),
            Self::Empty | Self::TooLong | Self::EmptyLabel | Self::Character => None,
        }
    }
}

impl HostName {
    /// Reads a name in any case, with or without a dot at its end.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if !name.is_ascii() {
            return Err(NameError::NotAscii);
        }
        if name.len() > LONGEST {
            return Err(NameError::TooLong);
        }
        name.split('.').try_for_each(check_label)?;
        if name.rsplit('.').next().is_some_and(is_numeric) {
            return Err(NameError::Numeric);
        }
        Ok(Self(name.to_ascii_lowercase().into_boxed_str()))
    }

    /// The name, in its one spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands below `parent`: `a.b.example` and `b.example` below `example`, not `example`.
    pub fn is_below(&self, parent: &Self) -> bool {
        self.0.strip_suffix(&*parent.0).is_some_and(|rest| rest.ends_with('.'))
    }
}

fn check_label(label: &str) -> Result<(), NameError> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match () {
        () if label.is_empty() => Err(NameError::EmptyLabel),
        () if label.len() > LONGEST_LABEL => Err(NameError::TooLong),
        () if !label.bytes().all(known) => Err(NameError::Character),
        () => Ok(()),
    }
}

/// Whether a label is a number to those who read addresses: decimal, octal, or hexadecimal.
fn is_numeric(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    label.bytes().all(|byte| byte.is_ascii_digit())
        || hexadecimal.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0.into()
    }
}

impl TryFrom<String> for HostName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        let name = HostName::parse("WWW.Example.ORG.").unwrap();
        assert_eq!(name.as_str(), "www.example.org");
        assert_eq!(HostName::parse("_dmarc.x-1.test").unwrap().as_str(), "_dmarc.x-1.test");
        assert_eq!(HostName::parse("localhost").unwrap().as_str(), "localhost");
    }

    #[test]
    fn what_is_no_name_is_told_apart() {
        let long = format!("{}.test", "a".repeat(64));
        let longest = format!("{}.{0}.{0}.{0}.test", "a".repeat(62));
        for (text, why) in [
            ("", NameError::Empty),
            (".", NameError::Empty),
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("a.b..", NameError::EmptyLabel),
            (&long, NameError::TooLong),
            (&longest, NameError::TooLong),
            ("a\0b", NameError::Character),
            ("a b", NameError::Character),
            ("*.a", NameError::Character),
            ("a\n", NameError::Character),
            ("größe.test", NameError::NotAscii),
            ("127.1", NameError::Numeric),
            ("0x7f.0x1", NameError::Numeric),
            ("2130706433", NameError::Numeric),
            ("a.0x", NameError::Numeric),
        ] {
            assert_eq!(HostName::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_name_is_below_its_parents_and_not_itself() {
        let name = |text| HostName::parse(text).unwrap();
        assert!(name("a.b.test").is_below(&name("b.test")));
        assert!(name("a.b.test").is_below(&name("test")));
        assert!(!name("b.test").is_below(&name("b.test")));
        assert!(!name("ab.test").is_below(&name("b.test")));
    }
}
