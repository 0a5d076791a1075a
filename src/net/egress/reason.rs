//! Why something is not let out.

use std::fmt;

use super::kind::Kind;
use crate::spec::net::{HostName, Rule};

/// Why something is not let out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No rule names it.
    NotAllowed,
    /// This rule denies it.
    Denied(Rule),
    /// It is not public, and no rule names the address.
    NotPublic(Kind),
    /// A rule that is a name does not reach this UDP port.
    UdpOfName,
    /// The connection says a name that no rule names.
    OtherName(HostName),
    /// The connection says no name: TLS without SNI, HTTP without Host, an address in their place.
    NoName,
    /// The protocol is one in which no name can be found.
    NoProtocol,
    /// It is HTTP/2 in the clear: names are compressed in it.
    Http2,
    /// What the connection says can be read in more than one way; this one.
    Ambiguous(&'static str),
    /// The name does not come within the bytes or the time there is for it.
    TooLate,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => f.write_str("no rule allows it"),
            Self::Denied(rule) => write!(f, "`{rule}` is denied"),
            Self::NotPublic(kind) => write!(f, "it is {kind}"),
            Self::UdpOfName => f.write_str("a name does not allow UDP there"),
            Self::OtherName(name) => write!(f, "it speaks to `{name}`, which no rule allows"),
            Self::NoName => f.write_str("it does not say to whom it speaks"),
            Self::NoProtocol => f.write_str("it is neither TLS nor HTTP"),
            Self::Http2 => f.write_str("it is HTTP/2 without TLS, in which no name can be read"),
            Self::Ambiguous(what) => write!(f, "it can be read in two ways: {what}"),
            Self::TooLate => f.write_str("it does not say in time to whom it speaks"),
        }
    }
}
