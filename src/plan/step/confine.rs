//! Steps of confinement.

use serde::{Deserialize, Serialize};

use crate::spec::seccomp::PolicyVariant;
use crate::spec::{Capability, SandboxPath};

/// Steps of confinement, by the payload's process (some by init too).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfineStep {
    /// A session keyring of its own, so that the caller's keys are not inherited.
    Keyring,
    /// Drops every other capability from all sets, the bounding one included; the kept ones are
    /// ambient too, so that they survive an exec.
    Capabilities {
        /// Those that stay; sorted.
        keep: Vec<Capability>,
    },
    /// Locks the securebits: being user 0 gives no capabilities.
    Securebits,
    /// `no_new_privs`.
    NoNewPrivs,
    /// Landlock, all of it in one ruleset.
    Landlock(LandlockRules),
    /// A filter before the payload's own, by which an attribute's value is short: where what is written or the memory is
    /// bounded, and whatever filter was chosen.
    ShortAttributes,
    /// The filter of system calls; always last before exec.
    Seccomp {
        /// Which program.
        program: FilterProgram,
        /// Whether refused calls are told to the supervisor.
        listen: bool,
    },
}

/// One Landlock ruleset, for a given ABI: everything in it is enforced or the step fails.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandlockRules {
    /// The ABI whose rights are handled.
    pub abi: u32,
    /// File hierarchies and what is granted on them; file system rights are not handled if empty.
    pub paths: Vec<LandlockPath>,
    /// No TCP port can be bound or connected to but these; not handled if none.
    pub tcp: Option<LandlockTcp>,
    /// Abstract unix sockets outside the sandbox cannot be connected to (ABI 6).
    pub scope_abstract_unix: bool,
    /// Processes outside the sandbox cannot be signalled (ABI 6).
    pub scope_signals: bool,
}

/// Granted rights below one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandlockPath {
    /// Where.
    pub at: SandboxPath,
    /// What.
    pub grant: LandlockGrant,
}

/// What is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LandlockGrant {
    /// Read files and directories, execute.
    ReadExecute,
    /// Everything but device ioctls, execution included.
    All,
    /// Read and write existing files, device ioctls included; nothing can be made.
    Device,
    /// Connect to the unix socket there (rights of ABI 9; not planned below).
    Socket,
}

/// Granted TCP ports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandlockTcp {
    /// That can be bound.
    pub bind: Vec<u16>,
    /// That can be connected to.
    pub connect: Vec<u16>,
}

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilterProgram {
    /// Compiled when bryo was built.
    Builtin {
        /// The policy's name.
        name: String,
        /// What this run changes in it.
        variant: PolicyVariant,
    },
    /// Compiled from a file before the clone, or taken from the cache.
    Custom {
        /// The policy.
        policy: Box<crate::spec::seccomp::Policy>,
        /// What this run changes in it.
        variant: PolicyVariant,
    },
}
