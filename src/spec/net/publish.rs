//! Ports of the sandbox that clients on the host reach: `[IP:]HOST:SANDBOX[/tcp|udp]`, as Docker has it.
//!
//! # Decisions
//! - Without an address it is loopback of both families: what is opened to other machines is opened on purpose.
//! - `SANDBOX` alone, and `0` or nothing in place of `HOST`, is any free port.

use core::fmt;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::prefix::{AddressError, parse_address};
use super::rule::{Ports, RuleError, Transport};

/// One `-p`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Publish {
    /// Where on the host; none for loopback, in both families.
    pub address: Option<IpAddr>,
    /// At which port; none for any that is free. As many as of the sandbox, or several for its one: the first
    /// free one.
    pub host: Option<Ports>,
    /// Ports of the sandbox.
    pub sandbox: Ports,
    /// Which protocol.
    pub transport: Transport,
}

/// Why a text is none. Does not repeat it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPublishable {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// Not one to three parts, or brackets where none belong.
    #[error("it is not [IP:][HOST:]SANDBOX")]
    Form,
    /// Two ranges of different lengths.
    #[error("the two ranges are not of the same length")]
    Uneven,
    /// Something behind `/`.
    #[error("after `/` there can only be `tcp` or `udp`")]
    Transport,
    /// A port.
    #[error(transparent)]
    Port(RuleError),
    /// The address.
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl NotPublishable {
    /// What to write instead.
    pub fn hint(&self) -> Option<String> {
        let fixed = match self {
            Self::Empty | Self::Form => {
                "as in `8080:80`, `127.0.0.1:8080:80`, `[::1]:8080:80/tcp` or `80`"
            }
            Self::Uneven => "as in `8000-8010:80-90`; for one port in a range, `8000-8010:80`",
            Self::Address(error) => return error.hint(),
            Self::Port(error) => return error.hint(),
            Self::Transport => return None,
        };
        Some(fixed.to_owned())
    }
}

impl Publish {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, NotPublishable> {
        if text.is_empty() {
            return Err(NotPublishable::Empty);
        }
        let (rest, transport) = match text.rsplit_once('/') {
            None => (text, Transport::Tcp),
            Some((rest, "tcp")) => (rest, Transport::Tcp),
            Some((rest, "udp")) => (rest, Transport::Udp),
            Some(_) => return Err(NotPublishable::Transport),
        };
        let (address, rest) = split_address(rest)?;
        let (host, sandbox) = match rest.split_once(':') {
            Some((host, sandbox)) => (host, sandbox),
            None if address.is_some() => return Err(NotPublishable::Form),
            None => ("", rest),
        };
        let host = match host {
            "" | "0" => None,
            ports => Some(Ports::parse(ports).map_err(NotPublishable::Port)?),
        };
        let sandbox = Ports::parse(sandbox).map_err(NotPublishable::Port)?;
        let (there, here) = (host.map(Ports::count), sandbox.count());
        if here > 1 && there.is_some_and(|there| there != here) {
            return Err(NotPublishable::Uneven);
        }
        Ok(Self { address, host, sandbox, transport })
    }

    /// The same as one for each port of the sandbox.
    pub fn each(self) -> impl Iterator<Item = Self> {
        (self.sandbox.first()..=self.sandbox.last()).zip(0u16..).filter_map(move |(port, n)| {
            let host = match self.host {
                Some(ports) if self.sandbox.count() > 1 => {
                    ports.first().checked_add(n).and_then(Ports::single)
                }
                other => other,
            };
            Some(Self { host, sandbox: Ports::single(port)?, ..self })
        })
    }
}

/// Takes the address off, if there is one.
fn split_address(text: &str) -> Result<(Option<IpAddr>, &str), NotPublishable> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or(NotPublishable::Form)?;
        let rest = rest.strip_prefix(':').ok_or(NotPublishable::Form)?;
        return match parse_address(address)? {
            IpAddr::V6(v6) => Ok((Some(IpAddr::V6(v6)), rest)),
            IpAddr::V4(_) => Err(NotPublishable::Form),
        };
    }
    match text.split(':').count() {
        1 | 2 => Ok((None, text)),
        3 => {
            let (address, rest) = text.split_once(':').ok_or(NotPublishable::Form)?;
            Ok((Some(parse_address(address)?), rest))
        }
        _ => Err(NotPublishable::Form),
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V6(v6)) => write!(f, "[{v6}]:")?,
            Some(IpAddr::V4(v4)) => write!(f, "{v4}:")?,
            None => {}
        }
        match self.host {
            Some(ports) => write!(f, "{ports}")?,
            None => f.write_str("0")?,
        }
        write!(f, ":{}/{}", self.sandbox, self.transport)
    }
}

impl From<Publish> for String {
    fn from(publish: Publish) -> Self {
        publish.to_string()
    }
}

impl TryFrom<String> for Publish {
    type Error = NotPublishable;

    fn try_from(text: String) -> Result<Self, NotPublishable> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_has_one_spelling() {
        for (text, shown) in [
            ("80", "0:80/tcp"),
            ("8080:80", "8080:80/tcp"),
            ("0:80", "0:80/tcp"),
            (":80", "0:80/tcp"),
            ("8080:80/udp", "8080:80/udp"),
            ("127.0.0.1:8080:80", "127.0.0.1:8080:80/tcp"),
            ("127.0.0.1::80", "127.0.0.1:0:80/tcp"),
            ("0.0.0.0:8080:80/tcp", "0.0.0.0:8080:80/tcp"),
            ("[::1]:8080:80", "[::1]:8080:80/tcp"),
            ("[::]::53/udp", "[::]:0:53/udp"),
            ("8000-8010:80-90", "8000-8010:80-90/tcp"),
            ("8000-8010:80", "8000-8010:80/tcp"),
            ("80-90", "0:80-90/tcp"),
        ] {
            let publish = Publish::parse(text).unwrap();
            assert_eq!(publish.to_string(), shown, "{text}");
            assert_eq!(Publish::parse(shown), Ok(publish));
        }
    }

    #[test]
    fn what_is_none_is_told_apart() {
        let port = |error| NotPublishable::Port(error);
        for (text, why) in [
            ("", NotPublishable::Empty),
            ("/tcp", port(RuleError::Ports)),
            ("8080:", port(RuleError::Ports)),
            ("8080:0", port(RuleError::Ports)),
            ("8080:65536", port(RuleError::Ports)),
            ("8080:+80", port(RuleError::Ports)),
            ("90-80:80", port(RuleError::PortsReversed)),
            ("8080:80/sctp", NotPublishable::Transport),
            ("8080:80/TCP", NotPublishable::Transport),
            ("8000-8010:80-91", NotPublishable::Uneven),
            ("8000:80-81", NotPublishable::Uneven),
            ("::1:8080:80", NotPublishable::Form),
            ("[::1]", NotPublishable::Form),
            ("[::1]:80", NotPublishable::Form),
            ("[127.0.0.1]:8080:80", NotPublishable::Form),
        ] {
            assert_eq!(Publish::parse(text), Err(why), "{text}");
        }
        for text in ["localhost:8080:80", "127.1:8080:80", ":8080:80", "*:8080:80"] {
            assert!(matches!(Publish::parse(text), Err(NotPublishable::Address(_))), "{text}");
        }
    }

    #[test]
    fn a_range_is_one_for_each_port() {
        let each = |text| {
            let publish = Publish::parse(text).unwrap();
            publish.each().map(|one| one.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(each("8000-8002:80-82"), ["8000:80/tcp", "8001:81/tcp", "8002:82/tcp"]);
        assert_eq!(each("65534-65535"), ["0:65534/tcp", "0:65535/tcp"]);
        assert_eq!(each("8000-8010:80"), ["8000-8010:80/tcp"]);
    }
}
