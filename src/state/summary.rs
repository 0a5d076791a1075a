//! The part of a record that listings read.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::id::SandboxId;
use super::launcher::Launcher;
use super::record::{ChangeCounts, Outcome};
use super::timestamp::Timestamp;
use crate::plan::publish::PublishedPort;
use crate::spec::{HostPath, Network, Restart, StopOrder, Text};

/// The fields that listings need.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Summary {
    /// As in [`Record`](super::Record).
    pub version: u32,
    /// As in [`Record`](super::Record).
    pub id: SandboxId,
    /// As in [`Record`](super::Record).
    pub name: Option<String>,
    /// As in [`Record`](super::Record).
    pub created: Timestamp,
    /// As in [`Record`](super::Record).
    pub from: Option<HostPath>,
    /// As in [`Record`](super::Record).
    pub launcher: Launcher,
    /// As in [`Record`](super::Record).
    #[serde(default)]
    pub cgroup: Option<HostPath>,
    /// As in [`Record`](super::Record).
    pub outcome: Outcome,
    /// As in [`Record`](super::Record).
    #[serde(default)]
    pub changes: Option<ChangeCounts>,
    /// As in [`Record`](super::Record).
    #[serde(default)]
    pub size: Option<u64>,
    /// As in [`Record`](super::Record).
    #[serde(default)]
    pub continued: Option<Timestamp>,
    /// As in [`Record`](super::Record).
    #[serde(default)]
    pub published: Vec<PublishedPort>,
    /// Of the spec, what is shown.
    #[serde(rename = "spec")]
    pub wanted: Wanted,
}

/// The part of a spec that listings show.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Wanted {
    /// The profile's name.
    pub profile: String,
    /// The command.
    pub command: WantedCommand,
    /// Its network.
    #[serde(default)]
    pub network: Network,
    /// How it lives.
    #[serde(default)]
    pub lifetime: WantedLife,
}

/// The part of a lifetime that listings show, and those who end a sandbox have to know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct WantedLife {
    /// As in [`Lifetime`](crate::spec::Lifetime).
    #[serde(default)]
    pub stop: StopOrder,
    /// As there.
    #[serde(default)]
    pub restart: Restart,
    /// As there; whether there is one.
    #[serde(default)]
    pub health: Option<WantedHealth>,
    /// As there.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Of a check, that there is one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WantedHealth {}

/// The part of a command that listings show.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WantedCommand {
    /// Program and arguments.
    pub argv: Vec<Text>,
}
