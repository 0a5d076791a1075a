//! What the payload can talk to.

pub mod lookup;
pub mod name;
pub mod prefix;
pub mod publish;
pub mod rate;
pub mod rule;
pub mod seat;
pub mod segment;
pub mod tool;

use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::path::HostPath;
use super::text::Text;

pub use lookup::{DnsOption, Lookup, SearchDomain};
pub use name::HostName;
pub use prefix::Prefix;
pub use publish::{NotPublishable, Publish};
pub use rate::{Rate, RateError};
pub use rule::{Ports, Rule, RuleError, Target, Transport};
pub use seat::{NoPlace, Seat};
pub use segment::{NetworkName, Segment};
pub use tool::Tool;

/// The network of the sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// An empty network namespace with loopback up.
    #[default]
    None,
    /// A network of its own whose packets the netstack turns into sockets of the host.
    User,
    /// The host's network namespace. Abstract unix sockets stay closed, by Landlock's scope or,
    /// where the kernel has none, by refusing unix sockets.
    Host,
    /// That of another sandbox, which runs: its name, its id, or the beginning of its id.
    Sandbox(Text),
    /// One that several sandboxes share, with a way out of its own.
    Bridge(NetworkName),
    /// One of its own, connected by `pasta`.
    Pasta,
    /// One of its own, connected by `slirp4netns`.
    Slirp4netns,
}

impl Network {
    /// Which it is, as Docker's `NetworkMode` has it: one that has a name is called by that.
    pub fn called(&self) -> String {
        match self {
            Self::Sandbox(target) => format!("container:{target}"),
            Self::Bridge(name) => name.to_string(),
            other => other.mode().to_owned(),
        }
    }

    /// Whether bytes can leave the sandbox: to other machines, or to another sandbox.
    pub fn reaches_out(&self) -> bool {
        *self != Self::None
    }

    /// Whether the network namespace is not the host's.
    pub fn is_own(&self) -> bool {
        *self != Self::Host
    }

    /// Whether the network namespace is made with the sandbox, which nobody else is in.
    pub fn is_new(&self) -> bool {
        matches!(self, Self::None | Self::User | Self::Bridge(_) | Self::Pasta | Self::Slirp4netns)
    }

    /// Whether something here connects it, which may end before the run.
    pub fn may_be_lost(&self) -> bool {
        matches!(self, Self::User | Self::Bridge(_) | Self::Pasta | Self::Slirp4netns)
    }

    /// The program of others that connects it; none for the other networks.
    pub fn tool(&self) -> Option<Tool> {
        match self {
            Self::Pasta => Some(Tool::Pasta),
            Self::Slirp4netns => Some(Tool::Slirp4netns),
            _ => None,
        }
    }

    /// The mode, as `--network` calls it before a colon.
    pub fn mode(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::User => "user",
            Self::Host => "host",
            Self::Sandbox(_) => "sandbox",
            Self::Bridge(_) => "bridge",
            Self::Pasta => Tool::Pasta.name(),
            Self::Slirp4netns => Tool::Slirp4netns.name(),
        }
    }
}

/// What a network of its own, with a way out, lets through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Egress {
    /// Who may be talked to. With none, every public address.
    pub allow: Vec<Rule>,
    /// Who may not, whatever else is said.
    pub deny: Vec<Rule>,
    /// Every public address, also where `allow` names some.
    pub everything: bool,
    /// What is compared with the name that a connection itself says.
    pub names: NameCheck,
    /// Servers that names are asked of; the host's own when there are none.
    pub dns: Vec<SocketAddr>,
    /// Domains that are tried behind a name; the host's own when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_search: Vec<SearchDomain>,
    /// Options of resolv.conf(5); the host's own when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_options: Vec<DnsOption>,
    /// Names with addresses of their own, before any server is asked.
    pub hosts: Vec<HostEntry>,
    /// Nobody may be talked to but who is on the same network, and no name is asked of anybody.
    pub closed: bool,
    /// How fast it may be used, all connections together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// What becomes of the run when its network ends before it.
    #[serde(skip_serializing_if = "OnLoss::is_usual")]
    pub on_loss: OnLoss,
    /// Where packets are written down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
    /// What was refused is told as a list of rules that would allow it.
    pub learn: bool,
    /// The flag that means this network, where none was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meant_by: Option<Text>,
}

impl Egress {
    /// The flag that opened every public address, where nobody said that they should be.
    pub fn opened_by(&self) -> Option<&Text> {
        self.meant_by.as_ref().filter(|_| self.allow.is_empty() && !self.everything)
    }
}

/// A file of packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// The file, on the host.
    pub file: HostPath,
    /// The most bytes that it may have.
    pub most: u64,
}

impl Capture {
    /// Without another bound: enough to look at, and no disk is full of it.
    pub const USUAL: u64 = 256 << 20;
}

/// Whether what a connection says of itself must agree with the rule that let it through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameCheck {
    /// The name in TLS and HTTP must be an allowed one.
    #[default]
    Checked,
    /// Any name: the address alone decides.
    Any,
}

/// What becomes of a run whose network ends before it does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnLoss {
    /// It goes on: its connections end with an error, and there are no more.
    #[default]
    Continue,
    /// It is ended.
    End,
}

impl OnLoss {
    /// As flags and profiles call them.
    pub const WORDS: [&str; 2] = ["continue", "end"];
    /// The same.
    pub const ALL: [Self; 2] = [Self::Continue, Self::End];

    /// The word for it.
    pub fn word(self) -> &'static str {
        let [goes_on, ends] = Self::WORDS;
        if self == Self::End { ends } else { goes_on }
    }

    /// What its word stands for.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// `NAME:ADDRESS` of `--add-host`, and a line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostEntry {
    /// The name.
    pub name: HostName,
    /// Its address.
    pub address: IpAddr,
}

/// The port that name servers are asked at.
const DNS: u16 = 53;

/// A server of `--dns`: `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`; port 53 when none is named.
pub fn parse_server(text: &str) -> Result<SocketAddr, RuleError> {
    let rule = Rule::parse(text)?;
    let port = match (rule.transport, rule.ports) {
        (None, None) => DNS,
        (None, Some(ports)) if ports.count() == 1 => ports.first(),
        _ => return Err(RuleError::Server),
    };
    match rule.target {
        Target::Addresses(range) if range.is_single() => Ok(SocketAddr::new(range.address(), port)),
        _ => Err(RuleError::Server),
    }
}

impl HostEntry {
    /// `NAME:ADDRESS`, `NAME=ADDRESS`; an IPv6 address with or without brackets. `None`: there is no such sign.
    pub fn parse(text: &str) -> Option<Result<Self, RuleError>> {
        let (name, address) = text.split_once(['=', ':'])?;
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let read = || {
            let address = prefix::parse_address(bare.unwrap_or(address))?;
            Ok(Self { name: HostName::parse(name)?, address })
        };
        Some(read())
    }
}

impl std::fmt::Display for HostEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.name, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_with_or_without_a_port() {
        for (text, server) in [
            ("192.0.2.53", "192.0.2.53:53"),
            ("192.0.2.53:5353", "192.0.2.53:5353"),
            ("2001:db8::53", "[2001:db8::53]:53"),
            ("[2001:db8::53]:5353", "[2001:db8::53]:5353"),
        ] {
            assert_eq!(parse_server(text).unwrap().to_string(), server);
        }
        for text in
            ["dns.test", "192.0.2.0/24", "192.0.2.53:1-2", "192.0.2.53/udp", "192.0.2.53:53/tcp"]
        {
            assert_eq!(parse_server(text), Err(RuleError::Server), "{text}");
        }
        assert!(matches!(parse_server("127.1"), Err(RuleError::Address(_))));
    }

    #[test]
    fn an_entry_is_a_name_and_an_address() {
        for (text, shown) in [
            ("db.Test:10.0.0.5", "db.test:10.0.0.5"),
            ("db=10.0.0.5", "db:10.0.0.5"),
            ("db:2001:db8::5", "db:2001:db8::5"),
            ("db:[2001:db8::5]", "db:2001:db8::5"),
        ] {
            assert_eq!(HostEntry::parse(text).unwrap().unwrap().to_string(), shown);
        }
        assert_eq!(HostEntry::parse("db"), None);
        for text in ["db:", ":10.0.0.5", "db:10.0.5", "10.0.0.5:db", "d b:10.0.0.5"] {
            assert!(HostEntry::parse(text).unwrap().is_err(), "{text}");
        }
    }
}
