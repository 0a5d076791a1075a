//! What of a run changes the policy: which rules are part of it for this run.
//!
//! Decisions: the differences are conditions beside the rules in the policy's own file, not code that edits a
//! policy, so that the file shows what each kind of run may do. `PolicyVariant` is small and `Copy`, so that
//! the build can enumerate the common ones and compile them once.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::spec::Capability;

/// Whether the payload may make namespaces and mounts of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nesting {
    /// It may not.
    Refuse,
    /// It may. Nothing is notified then: there is one listener per chain of filters, and it is the payload's.
    Allow,
}

/// Whether modes with set-user-id or set-group-id bits may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetIdModes {
    /// EPERM.
    Refuse,
    /// Root inside an image or a root filesystem.
    Allow,
}

/// Whether `openat2` exists: its mode is behind a pointer that a filter cannot follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpenAt2 {
    /// It does.
    Allow,
    /// ENOSYS: some path of the host is writable and set-id modes are refused.
    Hide,
}

/// Whether the payload may make unix sockets that can reach an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnixSockets {
    /// It may.
    Allow,
    /// Host network without Landlock scopes: only pairs that cannot be connected elsewhere.
    Refuse,
}

/// Whether somebody listens for notified calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notifications {
    /// The supervisor does.
    On,
    /// Nobody: `notify` entries answer their errno.
    Off,
}

/// Everything of a run that selects rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyVariant {
    /// Own namespaces.
    pub nesting: Nesting,
    /// Set-id modes.
    pub set_id_modes: SetIdModes,
    /// `openat2`.
    pub openat2: OpenAt2,
    /// Unix sockets.
    pub unix_sockets: UnixSockets,
    /// A listener.
    pub notify: Notifications,
    /// Capabilities the payload keeps.
    pub capabilities: CapabilitySet,
    /// The running kernel, for Docker's `minKernel`; no rule of ours asks.
    pub kernel: KernelVersion,
}

impl Default for PolicyVariant {
    /// A default run: nothing extra is allowed, somebody listens.
    fn default() -> Self {
        Self {
            nesting: Nesting::Refuse,
            set_id_modes: SetIdModes::Refuse,
            openat2: OpenAt2::Allow,
            unix_sockets: UnixSockets::Allow,
            notify: Notifications::On,
            capabilities: CapabilitySet::EMPTY,
            kernel: KernelVersion::OLDEST,
        }
    }
}

/// When a rule is part of a policy; an empty one always is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// Only with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nesting: Option<Nesting>,
    /// Only with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_id_modes: Option<SetIdModes>,
    /// Only with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openat2: Option<OpenAt2>,
    /// Only with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unix_sockets: Option<UnixSockets>,
    /// All of these are kept.
    #[serde(skip_serializing_if = "is_default")]
    pub capabilities: CapabilitySet,
    /// None of these is kept.
    #[serde(skip_serializing_if = "is_default")]
    pub without_capabilities: CapabilitySet,
    /// Native architecture, in Docker's words; empty means any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<String>,
    /// Not on these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without_arches: Vec<String>,
    /// This kernel or a newer one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_kernel: Option<KernelVersion>,
    /// Kernels before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_kernel: Option<KernelVersion>,
}

/// For serde, which passes a reference.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Conditions {
    /// Nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the rule is part of the policy. `arch` is Docker's word for the native architecture.
    pub fn hold(&self, variant: &PolicyVariant, arch: &str) -> bool {
        let listed = |list: &[String]| list.iter().any(|name| name == arch);
        self.nesting.is_none_or(|wanted| wanted == variant.nesting)
            && self.set_id_modes.is_none_or(|wanted| wanted == variant.set_id_modes)
            && self.openat2.is_none_or(|wanted| wanted == variant.openat2)
            && self.unix_sockets.is_none_or(|wanted| wanted == variant.unix_sockets)
            && self.capabilities.intersection(variant.capabilities) == self.capabilities
            && self.without_capabilities.intersection(variant.capabilities).is_empty()
            && (self.arches.is_empty() || listed(&self.arches))
            && !listed(&self.without_arches)
            && self.min_kernel.is_none_or(|least| variant.kernel >= least)
            && self.before_kernel.is_none_or(|limit| variant.kernel < limit)
    }
}

/// Capabilities as the kernel's bits: small enough to be part of a [`PolicyVariant`].
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(from = "Vec<Capability>", into = "Vec<Capability>")]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// None.
    pub const EMPTY: Self = Self(0);

    /// With one more.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability.number())
    }

    /// In both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// In either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// None.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        capabilities.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl From<Vec<Capability>> for CapabilitySet {
    fn from(capabilities: Vec<Capability>) -> Self {
        capabilities.into_iter().collect()
    }
}

impl From<CapabilitySet> for Vec<Capability> {
    fn from(set: CapabilitySet) -> Self {
        Capability::all().filter(|one| set.0 & (1 << one.number()) != 0).collect()
    }
}

/// A kernel's major and minor number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KernelVersion {
    major: u16,
    minor: u16,
}

impl KernelVersion {
    /// The oldest kernel this program runs on: `mount_setattr` and user overlays.
    pub const OLDEST: Self = Self { major: 5, minor: 12 };

    /// `major.minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

impl From<KernelVersion> for String {
    fn from(version: KernelVersion) -> Self {
        version.to_string()
    }
}

/// Not `MAJOR.MINOR`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kernel version")]
pub struct NotAKernelVersion(String);

impl FromStr for KernelVersion {
    type Err = NotAKernelVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NotAKernelVersion(text.chars().take(64).collect());
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if plain { digits.parse().ok() } else { None }
        };
        let (major, minor) = text.split_once('.').ok_or_else(wrong)?;
        match (number(major), number(minor)) {
            (Some(major), Some(minor)) => Ok(Self { major, minor }),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for KernelVersion {
    type Error = NotAKernelVersion;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
