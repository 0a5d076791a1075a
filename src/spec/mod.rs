//! What is wanted: the one description that every front end produces and the planner reads.
//!
//! # Theory of operation
//! A front end merges a profile and flags into a [`Spec`]. Nothing in it depends on what the host
//! offers; patterns (`~/.ssh`) are still patterns, and a choice left to the host is a named variant
//! (`Auto`). `plan` decides it with the help of `Facts`.
//!
//! # Not here
//! TOML and the merge rules (`profile`), flags (`front`), facts and decisions (`plan`).

pub mod command;
pub mod confine;
pub mod group;
pub mod health;
pub mod ids;
pub mod life;
pub mod limits;
pub mod link;
pub mod net;
pub mod order;
pub mod path;
pub mod rootfs;
pub mod seccomp;
pub mod service;
pub mod text;

use serde::{Deserialize, Serialize};

pub use command::{Command, Descriptors, EnvironmentVariable, Lifetime, Terminal};
pub use confine::{Capability, Confine, Need, SeccompChoice};
pub use health::Health;
pub use ids::{IdMode, Ids, User};
pub use life::{Detached, Restart, StopOrder};
pub use limits::{Limits, Rlimit};
pub use net::Network;
pub use path::{HostPath, SandboxPath};
pub use rootfs::Rootfs;
pub use service::Service;
pub use text::Text;

/// Everything one sandbox is asked to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The name the user gave, if any; valid per [`is_valid_name`].
    pub name: Option<String>,
    /// The profile's name, for messages and the record.
    pub profile: String,
    /// Files of the caller's that have the names of built-in profiles, which are used in their place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<Text>,
    /// What runs, where, with which variables.
    pub command: Command,
    /// Who the payload is.
    pub ids: Ids,
    /// What it sees and where it writes.
    pub rootfs: Rootfs,
    /// What it can talk to.
    pub network: Network,
    /// What may leave, where the network is one of its own with a way out.
    #[serde(default)]
    pub egress: net::Egress,
    /// Ports that clients on the host reach, where the network is one of its own with a way out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<net::Publish>,
    /// What is asked of its place on a network that several share.
    #[serde(default, skip_serializing_if = "net::Seat::is_plain")]
    pub seat: net::Seat,
    /// What it may ask of the kernel.
    pub confine: Confine,
    /// How much it may use.
    pub limits: Limits,
    /// How it is tied to the caller.
    pub lifetime: Lifetime,
    /// The name the sandbox has on its own network; the first part of the id when none is given.
    pub hostname: Option<String>,
}

/// Whether `name` can name a sandbox: `[A-Za-z0-9][A-Za-z0-9_.-]{0,62}`, as Docker has it, and
/// nothing that reads as a flag, a path or a lone `.`.
pub fn is_valid_name(name: &str) -> bool {
    let mut chars = name.chars();
    name.len() <= 63
        && chars.next().is_some_and(|c| c.is_ascii_alphanumeric())
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}
