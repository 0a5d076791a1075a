//! How much the payload may use.
//!
//! # Not here
//! What takes a control group: [`super::group`].

use serde::{Deserialize, Serialize};

use super::confine::Need;
use super::group::{Bound, Group};

/// All limits of one sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Processes and threads of the payload's user namespace, its init counted. Unlimited if none.
    pub processes: Option<u64>,
    /// What happens where the kernel does not hold the caller to `processes` (root is not): a flag
    /// requires it, a profile's default goes on without.
    #[serde(default)]
    pub processes_need: Need,
    /// Bytes that everything written to copy-on-write layers and private file systems may take together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Bound<u64>>,
    /// Others, by name, each at most once.
    pub rlimits: Vec<Rlimit>,
    /// Memory, processors, disks: what a control group bounds.
    #[serde(default, skip_serializing_if = "Group::is_empty")]
    pub group: Group,
}

/// One `setrlimit(2)` limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rlimit {
    /// Which.
    pub resource: Resource,
    /// In the unit of `setrlimit(2)` (bytes, seconds, a count); unlimited if none.
    pub soft: Option<u64>,
    /// The same; at least `soft`.
    pub hard: Option<u64>,
}

/// The resources of `setrlimit(2)`, named as Docker's `--ulimit` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// Size of a core file, bytes.
    Core,
    /// CPU time, seconds.
    Cpu,
    /// Size of the data segment, bytes.
    Data,
    /// Size of a file, bytes.
    Fsize,
    /// Locks on files.
    Locks,
    /// Memory that may be locked, bytes.
    Memlock,
    /// Bytes in POSIX message queues.
    Msgqueue,
    /// Ceiling of the nice value.
    Nice,
    /// One more than the highest descriptor.
    Nofile,
    /// Processes of the user.
    Nproc,
    /// Resident set, bytes (no effect since Linux 2.4.30).
    Rss,
    /// Real-time priority.
    Rtprio,
    /// CPU time without a blocking call under real-time scheduling, microseconds.
    Rttime,
    /// Queued signals.
    Sigpending,
    /// Stack of the main thread, bytes.
    Stack,
    /// Address space, bytes.
    As,
}

impl Resource {
    /// Every resource.
    pub const ALL: [Self; 16] = [
        Self::Core,
        Self::Cpu,
        Self::Data,
        Self::Fsize,
        Self::Locks,
        Self::Memlock,
        Self::Msgqueue,
        Self::Nice,
        Self::Nofile,
        Self::Nproc,
        Self::Rss,
        Self::Rtprio,
        Self::Rttime,
        Self::Sigpending,
        Self::Stack,
        Self::As,
    ];

    /// The name of `--ulimit`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Cpu => "cpu",
            Self::Data => "data",
            Self::Fsize => "fsize",
            Self::Locks => "locks",
            Self::Memlock => "memlock",
            Self::Msgqueue => "msgqueue",
            Self::Nice => "nice",
            Self::Nofile => "nofile",
            Self::Nproc => "nproc",
            Self::Rss => "rss",
            Self::Rtprio => "rtprio",
            Self::Rttime => "rttime",
            Self::Sigpending => "sigpending",
            Self::Stack => "stack",
            Self::As => "as",
        }
    }

    /// The resource of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.name() == name)
    }
}
