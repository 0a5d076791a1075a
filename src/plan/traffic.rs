//! What the netstack tells of a run: what it did not let out, and what was used.
//!
//! It goes from the netstack through the supervisor into the record, which have no other module in common.

use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::spec::net::{HostName, Rule};

/// Something that was not let out, how often, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// The name that was asked for, or said; none where only an address was dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<HostName>,
    /// The address; none where a name was only asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The protocol, with ports or without.
    pub protocol: Protocol,
    /// The port, where the protocol has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Why, as a part of a sentence.
    pub reason: String,
    /// The narrowest rule that would let it through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Rule>,
    /// How often.
    pub count: u64,
}

/// A flow, as it is told of while the payload runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// The name that was asked for, or said, if one is known.
    pub name: Option<HostName>,
    /// The address; none where a name was only asked for.
    pub address: Option<IpAddr>,
    /// The protocol.
    pub protocol: Protocol,
    /// The port, where the protocol has one.
    pub port: Option<u16>,
    /// Why it was not let out, as a part of a sentence; none when it was.
    pub refused: Option<String>,
    /// Flows before it that were too many to be told of.
    pub skipped: u64,
}

impl Flow {
    /// One that was let out, to nowhere yet.
    pub fn new(name: Option<HostName>, protocol: Protocol, port: Option<u16>) -> Self {
        Self { name, address: None, protocol, port, refused: None, skipped: 0 }
    }
}

impl Protocol {
    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        }
    }
}

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// To ask for a name.
    Dns,
    /// A TCP connection.
    Tcp,
    /// Datagrams.
    Udp,
    /// An echo.
    Icmp,
}

/// What went over a link in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Amount {
    /// Packets as the link has them; one may hold several segments.
    pub packets: u64,
    /// Their bytes, headers of IP and above included.
    pub bytes: u64,
}

/// What a run used of its network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Totals {
    /// From the payload.
    pub sent: Amount,
    /// To the payload.
    pub received: Amount,
    /// Connections and datagram flows that the payload began and that were let out.
    pub outward: u64,
    /// Those that clients of published ports began.
    pub inward: u64,
}

/// How a network ended before its run, or without all that was to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkLoss {
    /// The netstack was killed by this signal.
    Killed(i32),
    /// It ended by itself, with this status.
    Exited(u8),
    /// The process that holds the network of several sandboxes ended: each was alone from then on.
    Holder,
    /// The netstack of the network of several sandboxes ended: they had each other from then on, and no way out.
    Uplink,
    /// It had to be killed at the end of the run: what the payload sent last may not have left.
    Unfinished,
}

/// Everything that was told of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traffic {
    /// What was refused, most frequent first.
    pub refused: Vec<Refused>,
    /// Refusals that did not fit into the list.
    pub more: u64,
    /// Rules that would let through what was used; noted only when that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub used: Vec<Rule>,
    /// How much it was; unknown of one of several who share a way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
    /// Packets that are not in the file of `--pcap`, because it is full.
    #[serde(skip_serializing_if = "is_none")]
    pub not_captured: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}
