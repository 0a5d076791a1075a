//! What control groups the host offers.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::spec::HostPath;

/// Control groups and who may make some.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Groups {
    /// How they are mounted.
    pub version: GroupVersion,
    /// Where version 2 is mounted.
    pub mount: Option<HostPath>,
    /// Whether the kernel counts swap space by group.
    pub swap: bool,
    /// A group that was delegated to the caller, and that this process is in.
    pub delegated: Option<Delegated>,
    /// What shares disks by weight here; nothing where no administrator turned it on.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub weighers: BTreeSet<Weigher>,
    /// The caller's service manager.
    pub manager: Option<Manager>,
}

/// How control groups are mounted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupVersion {
    /// Version 2 alone.
    Unified,
    /// Controllers on version 1, version 2 beside them without.
    Hybrid,
    /// Version 1 alone.
    Legacy,
    /// None at all.
    #[default]
    None,
}

/// A block device, by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Of the driver.
    pub major: u32,
    /// Of the disk.
    pub minor: u32,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// The whole disk that a place is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskOf {
    /// What was asked for.
    pub place: HostPath,
    /// The disk; none of a file system that is not on one, or that does not tell on which.
    pub disk: Option<Disk>,
}

/// What shares a disk by weight among groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weigher {
    /// The kernel's own accounting of what requests cost: `io.cost.qos`.
    Cost,
    /// The scheduler `bfq`, whose weights end at 1000.
    Bfq,
}

/// A group in which the caller may make others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegated {
    /// Its directory.
    pub path: HostPath,
    /// What can be bounded in it.
    pub controllers: BTreeSet<Controller>,
}

/// systemd, as it runs for the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manager {
    /// Where it listens.
    pub socket: HostPath,
    /// What can be bounded in its groups.
    pub controllers: BTreeSet<Controller>,
}

/// The part of the kernel that bounds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Controller {
    /// Processor time.
    Cpu,
    /// Which processors.
    Cpuset,
    /// Block devices.
    Io,
    /// Memory.
    Memory,
    /// Processes and threads.
    Pids,
}

impl Controller {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Cpuset, Self::Io, Self::Memory, Self::Pids];

    /// The kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Io => "io",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|controller| controller.name() == name)
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
