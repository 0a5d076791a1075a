//! What the payload may ask of the kernel.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::path::HostPath;

/// Capabilities, Landlock, seccomp. `no_new_privs` is not here: it always holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confine {
    /// The capabilities the payload has inside its user namespace, sorted, none by default.
    pub capabilities: Vec<Capability>,
    /// Landlock repeats what is writable and executable, and bounds ports, signals and abstract
    /// sockets.
    pub landlock: Need,
    /// The allow-list of system calls.
    pub seccomp: SeccompChoice,
    /// Refused calls are told to the supervisor, which names and counts them. Off inside another
    /// sandbox that listens, and for payloads that need a listener of their own.
    pub notify: bool,
    /// The payload may make namespaces and mount inside them (a nested sandbox).
    pub nesting: bool,
}

/// What happens when the host lacks something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// The run is refused.
    #[default]
    Required,
    /// The run goes on without, and the record says so.
    IfAvailable,
    /// Not wanted.
    Off,
}

/// Which filter of system calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeccompChoice {
    /// A built-in policy, by name.
    Builtin(String),
    /// A policy file: ours (TOML) or Docker's and OCI's (JSON). Held with its content: the file is
    /// read once, by the front end.
    File {
        /// Where it was read, for messages.
        path: HostPath,
        /// The policy in it.
        policy: Box<super::seccomp::Policy>,
    },
    /// None: asked for by name on the command line.
    Unconfined,
}

/// A capability of capabilities(7), by its kernel number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Capability(u8);

/// Kernel names by number, without `CAP_`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A name that is no capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no capability `{0}`")]
pub struct UnknownCapability(pub String);

impl Capability {
    /// Every capability the kernel headers name today.
    pub fn all() -> impl Iterator<Item = Self> {
        (0u8..).take(NAMES.len()).map(Self)
    }

    /// `CAP_SYS_ADMIN`, with which mounts are made and undone.
    pub fn is_sys_admin(self) -> bool {
        self.0 == 21
    }

    /// The kernel's number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// By name, with or without `CAP_`, in any case.
    pub fn from_name(name: &str) -> Result<Self, UnknownCapability> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        Self::all()
            .find(|c| NAMES[usize::from(c.0)] == bare)
            // As much of it as a message has room for.
            .ok_or_else(|| UnknownCapability(name.chars().take(40).collect()))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAP_{}", NAMES[usize::from(self.0)])
    }
}

impl From<Capability> for String {
    fn from(capability: Capability) -> Self {
        capability.to_string()
    }
}

impl TryFrom<String> for Capability {
    type Error = UnknownCapability;

    fn try_from(name: String) -> Result<Self, UnknownCapability> {
        Self::from_name(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_found_by_either_spelling() {
        assert_eq!(Capability::from_name("CAP_SYS_ADMIN").unwrap().number(), 21);
        assert_eq!(Capability::from_name("sys_admin").unwrap().to_string(), "CAP_SYS_ADMIN");
        assert_eq!(Capability::from_name("ROOT"), Err(UnknownCapability("ROOT".into())));
        assert_eq!(Capability::from_name("checkpoint_restore").unwrap().number(), 40);
    }
}
