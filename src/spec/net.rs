//! What the payload can talk to.

pub mod name;
pub mod prefix;
pub mod rule;

use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

pub use name::HostName;
pub use prefix::Prefix;
pub use rule::{Ports, Rule, Target, Transport};

/// The network of the sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl Network {
    /// Whether bytes can leave the machine.
    pub fn reaches_out(self) -> bool {
        self != Self::None
    }

    /// Whether the sandbox has a network namespace of its own.
    pub fn is_own(self) -> bool {
        self != Self::Host
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
    /// Names with addresses of their own, before any server is asked.
    pub hosts: Vec<HostEntry>,
    /// What was refused is told as a list of rules that would allow it.
    pub learn: bool,
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

/// `NAME:ADDRESS` of `--add-host`, and a line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostEntry {
    /// The name.
    pub name: HostName,
    /// Its address.
    pub address: IpAddr,
}
