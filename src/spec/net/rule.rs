//! What may be talked to: `HOST|*.DOMAIN|IP|CIDR[:PORT[-PORT]][/tcp|udp]`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::{HostName, NameError};
use super::prefix::{AddressError, Prefix, looks_like_address};

/// One `--allow` or `--deny`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Rule {
    /// Who.
    pub target: Target,
    /// Which of its ports; all when none is named.
    pub ports: Option<Ports>,
    /// Which protocol; all when none is named.
    pub transport: Option<Transport>,
}

/// Whom a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The host of this name, and no other.
    Name(HostName),
    /// Every host below this name, at any depth; not the name itself.
    Below(HostName),
    /// An address, or a range.
    Addresses(Prefix),
}

/// Ports from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    first: u16,
    last: u16,
}

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Why a text is no rule. Does not repeat the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// A lone `*`.
    #[error("`*` stands for every host")]
    Everything,
    /// `*` anywhere but as the whole first label.
    #[error("`*` can only stand before the first dot, alone")]
    Wildcard,
    /// `https://…`, a path.
    #[error("it is a URL")]
    Url,
    /// Nothing that can stand after `/`.
    #[error("after `/` there can only be `tcp` or `udp`")]
    Transport,
    /// Not a port, or a range of them.
    #[error("a port is a number from 1 to 65535, a range has two, as 8000-8100")]
    Ports,
    /// The first is above the last.
    #[error("the first port is above the last")]
    PortsReversed,
    /// `[…` without `]`, or something between `]` and the port.
    #[error("`[` and `]` stand around an IPv6 address, and only `:PORT` after them")]
    Brackets,
    /// Multicast, broadcast, the unspecified address: allowed, it would be refused all the same.
    #[error("nothing of it is the address of one host, and only hosts can be talked to")]
    NoHost,
    /// Where one server is named.
    #[error("it is not the address of a server, with a port or without")]
    Server,
    /// Not an address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Not a name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl RuleError {
    /// What to write instead.
    pub fn hint(&self) -> Option<String> {
        let fixed = match self {
            Self::Everything => "`--allow-all` allows every public address",
            Self::Wildcard => "`*.example.org` is every host below `example.org`",
            Self::Url => "write the host and the port, as in `example.org:443`",
            Self::Server => "as in `192.0.2.53` or `[2001:db8::53]:5353`",
            Self::Brackets => "as in `[2001:db8::1]:443`",
            Self::Address(error) => return error.hint(),
            Self::Name(error) => return error.hint().map(str::to_owned),
            Self::NoHost => "`--allow-all` allows every public address, `0.0.0.0/0` those of IPv4",
            Self::Empty | Self::Transport | Self::Ports | Self::PortsReversed => return None,
        };
        Some(fixed.to_owned())
    }
}

impl Rule {
    /// Reads a rule.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        if text.is_empty() {
            return Err(RuleError::Empty);
        }
        if text.contains("://") {
            return Err(RuleError::Url);
        }
        let (rest, transport) = split_transport(text)?;
        let (target, ports) = split_ports(rest)?;
        Ok(Self { target: Target::parse(target)?, ports, transport })
    }

    /// Reads a rule that allows somebody.
    pub fn parse_allowing(text: &str) -> Result<Self, RuleError> {
        Self::parse(text)
            .and_then(|rule| if rule.has_hosts() { Ok(rule) } else { Err(RuleError::NoHost) })
    }

    /// Whether there is somebody whom it is about.
    pub fn has_hosts(&self) -> bool {
        !matches!(self.target, Target::Addresses(range) if !range.has_hosts())
    }

    /// Whether it is about this port of this protocol. Without a port (as in an echo request) only a
    /// rule without ports and protocol is.
    pub fn is_about(&self, port: Option<(Transport, u16)>) -> bool {
        match port {
            None => self.ports.is_none() && self.transport.is_none(),
            Some((transport, port)) => {
                self.transport.is_none_or(|only| only == transport)
                    && self.ports.is_none_or(|ports| ports.contains(port))
            }
        }
    }
}

impl Target {
    fn parse(text: &str) -> Result<Self, RuleError> {
        match text.strip_prefix("*.") {
            _ if text == "*" => Err(RuleError::Everything),
            Some(parent) if !parent.contains('*') => Ok(Self::Below(HostName::parse(parent)?)),
            _ if text.contains('*') => Err(RuleError::Wildcard),
            _ if text.contains('/') && !looks_like_address(text) => Err(RuleError::Transport),
            _ if looks_like_address(text) => Ok(Self::Addresses(Prefix::parse(text)?)),
            _ => Ok(Self::Name(HostName::parse(text)?)),
        }
    }

    /// Whether a name is meant.
    pub fn is_name(&self, name: &HostName) -> bool {
        match self {
            Self::Name(meant) => meant == name,
            Self::Below(parent) => name.is_below(parent),
            Self::Addresses(_) => false,
        }
    }
}

impl Ports {
    /// One port; none for 0, which is none.
    pub fn single(port: u16) -> Option<Self> {
        (port != 0).then_some(Self { first: port, last: port })
    }

    /// `PORT` or `PORT-PORT`.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let ports = Self { first: parse_port(first)?, last: parse_port(last)? };
        if ports.first > ports.last { Err(RuleError::PortsReversed) } else { Ok(ports) }
    }

    /// The lowest.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The highest.
    pub fn last(self) -> u16 {
        self.last
    }

    /// How many there are.
    pub fn count(self) -> u16 {
        // Port 0 is none, so that this cannot overflow.
        self.last - self.first + 1
    }

    /// Whether `port` is one of them.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

fn parse_port(text: &str) -> Result<u16, RuleError> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| plain && *port != 0).ok_or(RuleError::Ports)
}

/// Takes `/tcp` or `/udp` off; a slash before digits belongs to a range of addresses.
fn split_transport(text: &str) -> Result<(&str, Option<Transport>), RuleError> {
    match text.rsplit_once('/') {
        Some((rest, "tcp")) => Ok((rest, Some(Transport::Tcp))),
        Some((rest, "udp")) => Ok((rest, Some(Transport::Udp))),
        Some((_, word)) if !word.starts_with(|c: char| c.is_ascii_digit()) => {
            Err(RuleError::Transport)
        }
        _ => Ok((text, None)),
    }
}

/// Takes `:PORT` or `:PORT-PORT` off. An IPv6 address with a port stands in brackets.
fn split_ports(text: &str) -> Result<(&str, Option<Ports>), RuleError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']').ok_or(RuleError::Brackets)?;
        return match after.strip_prefix(':') {
            _ if !inside.contains(':') => Err(RuleError::Brackets),
            Some(ports) => Ok((inside, Some(Ports::parse(ports)?))),
            None if after.is_empty() => Ok((inside, None)),
            None => Err(RuleError::Brackets),
        };
    }
    match text.split_once(':') {
        Some((host, ports)) if !ports.contains(':') => Ok((host, Some(Ports::parse(ports)?))),
        _ => Ok((text, None)),
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.target, self.ports) {
            (Target::Addresses(range), Some(_)) if range.address().is_ipv6() => {
                write!(f, "[{range}]")?;
            }
            (target, _) => write!(f, "{target}")?,
        }
        if let Some(ports) = self.ports {
            write!(f, ":{ports}")?;
        }
        match self.transport {
            Some(transport) => write!(f, "/{transport}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Below(parent) => write!(f, "*.{parent}"),
            Self::Addresses(range) => write!(f, "{range}"),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

impl TryFrom<String> for Rule {
    type Error = RuleError;

    fn try_from(text: String) -> Result<Self, RuleError> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_of_a_rule_is_read_and_shown() {
        for (text, shown) in [
            ("Example.org", "example.org"),
            ("example.org.:443", "example.org:443"),
            ("example.org:8000-8100/tcp", "example.org:8000-8100/tcp"),
            ("example.org/udp", "example.org/udp"),
            ("*.example.org:443", "*.example.org:443"),
            ("192.0.2.7:53/udp", "192.0.2.7:53/udp"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.0/24:443/tcp", "192.0.2.0/24:443/tcp"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("[2001:db8::/32]:443-444/udp", "[2001:db8::/32]:443-444/udp"),
            ("[::ffff:192.0.2.7]:80", "192.0.2.7:80"),
            ("localhost:5432", "localhost:5432"),
        ] {
            let rule = Rule::parse(text).unwrap();
            assert_eq!(rule.to_string(), shown, "{text}");
            assert_eq!(Rule::parse(shown).unwrap(), rule, "{text}");
        }
    }

    #[test]
    fn what_is_no_rule_is_told_precisely() {
        for (text, why) in [
            ("", RuleError::Empty),
            ("*", RuleError::Everything),
            ("a.*.test", RuleError::Wildcard),
            ("*a.test", RuleError::Wildcard),
            ("*.*.test", RuleError::Wildcard),
            ("https://example.org/", RuleError::Url),
            ("example.org/path", RuleError::Transport),
            ("example.org/", RuleError::Transport),
            ("example.org/24", RuleError::Transport),
            ("example.org/TCP", RuleError::Transport),
            ("example.org:0", RuleError::Ports),
            ("example.org:", RuleError::Ports),
            ("example.org:65536", RuleError::Ports),
            ("example.org:+80", RuleError::Ports),
            ("example.org:http", RuleError::Ports),
            ("example.org:90-80", RuleError::PortsReversed),
            ("[192.0.2.1]:80", RuleError::Brackets),
            ("[2001:db8::1", RuleError::Brackets),
            ("[2001:db8::1]443", RuleError::Brackets),
            ("127.1:80", AddressError::Spelling([127, 0, 0, 1].into()).into()),
            ("2001:db8::g", AddressError::NotAnAddress.into()),
            ("300.1.1.1", AddressError::NotAnAddress.into()),
            ("exämple.org", NameError::NotAscii.into()),
            ("a b", NameError::Character.into()),
            ("*.", NameError::Empty.into()),
        ] {
            assert_eq!(Rule::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn what_is_allowed_is_the_address_of_a_host() {
        for nobody in [
            "0.0.0.0",
            "0.0.0.0/8",
            "224.0.0.1",
            "239.1.0.0/16:5353/udp",
            "255.255.255.255",
            "::",
            "ff02::fb",
        ] {
            assert_eq!(Rule::parse_allowing(nobody), Err(RuleError::NoHost), "{nobody}");
            assert!(Rule::parse(nobody).is_ok(), "to deny it does no harm: {nobody}");
        }
        for somebody in ["0.0.0.0/0", "::/0", "224.0.0.0/3", "240.0.0.1", "fe80::1", "example.org"]
        {
            assert!(Rule::parse_allowing(somebody).is_ok(), "{somebody}");
        }
    }

    proptest! {
        #[test]
        fn a_rule_read_is_shown_so_that_it_reads_the_same(text in "[a-c*.:/\\[\\]0-9f-]{0,24}(/tcp|/udp)?") {
            if let Ok(rule) = Rule::parse(&text) {
                prop_assert_eq!(Rule::parse(&rule.to_string()), Ok(rule));
            }
        }
    }
}
