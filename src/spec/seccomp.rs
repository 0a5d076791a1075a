//! A system-call policy: what is allowed, what is refused and how, with the reason of every entry.
//!
//! # Theory of operation
//! A [`Policy`] is an ordered list of [`Rule`]s. For one call the first rule that names it, whose
//! [`Conditions`] hold for this run and whose argument comparisons all hold, decides; a known call
//! that no rule decides gets `default`, a number without a name gets `unknown`. Policies come from
//! our own TOML ([`file`]) or from Docker's JSON ([`docker`]). An action or a comparison has one
//! spelling, so that a spec that was printed can be read back.
//!
//! # Not here
//! Numbers of calls and BPF (`plan::seccomp`), libseccomp and the cache (`confine::seccomp`).
//!
//! # Decisions
//! * A comparison has a mask because the kernel takes most arguments as 32 bits while the filter
//!   sees 64: a comparison of all 64 can be got round by setting an upper one (CVE-2019-10063).
//! * What a run changes is a condition beside a rule, in the policy's own file, not code that edits
//!   policies: the file shows what each kind of run may do.

mod action;
mod comparison;
pub mod docker;
pub mod file;
mod variant;

use serde::{Deserialize, Serialize};

use super::text::escape;

pub use action::{Action, Errno};
pub use comparison::{Argument, Comparison, Operator};
pub use variant::{
    CapabilitySet, Conditions, KernelVersion, Nesting, Notifications, OpenAt2, PolicyVariant,
    SetIdModes, UnixSockets,
};

/// Larger policy files are refused before they are parsed.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// More rules than this are refused: the kernel's own limit is 4,096 instructions.
pub const MAX_RULES: usize = 2048;
/// More names in one rule than any architecture has calls are refused.
pub const MAX_NAMES: usize = 1024;

/// What a payload may ask of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// How the policy is called in messages: a built-in's name or the file's.
    pub name: String,
    /// Known calls that no rule decides.
    pub default: Action,
    /// Numbers without a name.
    pub unknown: Action,
    /// What happens to the architecture's 32-bit calls.
    pub abi32: Abi32,
    /// How several rules for one call are put together.
    pub matching: Matching,
    /// In order.
    pub rules: Vec<Rule>,
}

/// With `CAP_SYS_ADMIN` over the namespace that holds the mounts, each of these shows what a mount hides or
/// lets be written what one forbids. `open_tree` copies a tree without the masks on it and `mount_setattr`
/// lifts `read-only`; no security module is asked about either, so Landlock stops neither (Linux 6.18, tried).
/// Since 6.11 `open_by_handle_at` asks for no more than that capability.
const LIFT_MASKS: [&str; 13] = [
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "move_mount",
    "open_tree",
    "open_tree_attr",
    "mount_setattr",
    "open_by_handle_at",
];

impl Policy {
    /// Whether `CAP_SYS_ADMIN` gives a process under this policy power over the mounts of its namespace. One
    /// that cannot be told for certain counts as one that does: a list of what is refused, a rule with numbers.
    pub fn may_lift_masks(&self, variant: &PolicyVariant) -> bool {
        let passes = |action: Action| matches!(action, Action::Allow | Action::Log);
        let is_lift = |call: &Call| match call {
            Call::Name(name) => LIFT_MASKS.contains(&name.as_str()),
            Call::Number(_) => true,
        };
        let is_part = |only: &Conditions| {
            let (arches, without_arches) = (Vec::new(), Vec::new());
            Conditions { arches, without_arches, ..only.clone() }.hold(variant, "")
        };
        let lifts = |rule: &Rule| {
            passes(rule.action) && rule.calls.iter().any(is_lift) && is_part(&rule.only)
        };
        passes(self.default) || passes(self.unknown) || self.rules.iter().any(lifts)
    }
}

/// One decision about some calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The calls, by name or by number.
    pub calls: Vec<Call>,
    /// All of them must hold; none means always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Comparison>,
    /// When the rule is part of the policy at all.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub only: Conditions,
    /// What is answered.
    pub action: Action,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// From the policy that this one extends: it need not be reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inherited: bool,
}

/// A call by its name, or by its number where our tables have no name for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Call {
    /// A number of the native architecture.
    Number(u32),
    /// A name as in the kernel's tables.
    Name(String),
}

/// The 32-bit calls of a 64-bit architecture (`int 0x80`, 32-bit programs). x32 calls are numbers without a
/// name and always get the policy's `unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Abi32 {
    /// The same rules by name.
    Allow,
    /// Every call gets ENOSYS, by notification so that the report can name it.
    Refuse,
    /// The process is killed.
    Kill,
}

/// How several rules for one call are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matching {
    /// The first that matches decides: our own files.
    First,
    /// As libseccomp merges them: Docker's files.
    Merged,
}

/// A policy that cannot be used, before anything was asked of the kernel.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The text is longer than [`MAX_FILE_BYTES`].
    #[error(
        "cannot read seccomp policy `{}`: {bytes} bytes, more than {MAX_FILE_BYTES}",
        escape(name)
    )]
    TooLong {
        /// The policy.
        name: String,
        /// Its length.
        bytes: usize,
    },
    /// More than [`MAX_RULES`] rules or [`MAX_NAMES`] names in one.
    #[error("cannot use seccomp policy `{}`: {count} {what}, more than {limit}", escape(name))]
    TooMany {
        /// The policy.
        name: String,
        /// What there are too many of.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many may be.
        limit: usize,
    },
    /// Not TOML or JSON, or not of the shape of a policy.
    #[error("cannot parse seccomp policy `{}`, line {line} column {column}: {said}", escape(name))]
    Syntax {
        /// The policy.
        name: String,
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in bytes.
        column: usize,
        /// What the parser said, escaped: it may quote the file.
        said: String,
    },
    /// `extends` names no built-in policy.
    #[error(
        "cannot extend `{}` in seccomp policy `{}`: no built-in policy has that name",
        escape(base),
        escape(name)
    )]
    NoBase {
        /// The policy.
        name: String,
        /// What it extends.
        base: String,
    },
    /// Neither it nor what it extends says this.
    #[error("cannot find `{key}` in seccomp policy `{}`, which extends nothing", escape(name))]
    Missing {
        /// The policy.
        name: String,
        /// The entry.
        key: &'static str,
    },
    /// The default action contradicts itself.
    #[error("cannot use the default action of seccomp policy `{}`: {problem}", escape(name))]
    Default {
        /// The policy.
        name: String,
        /// What is wrong with it.
        problem: RuleProblem,
    },
    /// A rule that contradicts itself.
    #[error("cannot use rule {rule} of seccomp policy `{}`: {problem}", escape(name))]
    Rule {
        /// The policy.
        name: String,
        /// Counted from 1.
        rule: usize,
        /// What is wrong with it.
        problem: RuleProblem,
    },
    /// A group that contradicts itself or another.
    #[error("cannot use group `{}` of seccomp policy `{}`: {problem}", escape(group), escape(name))]
    Group {
        /// The policy.
        name: String,
        /// Its title.
        group: String,
        /// What is wrong with it.
        problem: RuleProblem,
    },
    /// A top-level entry that cannot be honoured.
    #[error("cannot honour `{key}` of seccomp policy `{}`", escape(name))]
    Unsupported {
        /// The policy.
        name: String,
        /// The entry.
        key: &'static str,
    },
}

impl PolicyError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TooLong { .. } | Self::TooMany { .. } => {
                Some("name each call once, in one rule per action")
            }
            Self::NoBase { .. } => Some("`extends` takes `default`, `default-32` or `strict`"),
            Self::Unsupported { key: "listenerPath" | "listenerMetadata", .. } => {
                Some("bryo answers notified calls itself; remove the entry")
            }
            _ => None,
        }
    }
}

/// What is wrong with one rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleProblem {
    /// Neither `names` nor `name`.
    #[error("it names no call")]
    NoCalls,
    /// Both `errno` and `errnoRet`, or both `name` and `names`.
    #[error("`{0}` and `{1}` exclude each other")]
    Both(&'static str, &'static str),
    /// An errno beside an action that returns none.
    #[error("action `{}` takes no errno", escape(.0))]
    ErrnoWithout(String),
    /// An action this program cannot carry out.
    #[error("action `{}` is not supported", escape(.0))]
    Action(String),
    /// A word that is not an errno.
    #[error("`{}` is not an errno", escape(.0))]
    Errno(String),
    /// Argument indexes are 0 to 5.
    #[error("argument {0} does not exist")]
    Argument(u64),
    /// A word that is not a comparison.
    #[error("`{}` is not a comparison", escape(.0))]
    Operator(String),
    /// More than six comparisons.
    #[error("{0} comparisons, more than 6")]
    Comparisons(usize),
    /// A word that is not a capability.
    #[error("`{}` is not a capability", escape(.0))]
    Capability(String),
    /// Not `MAJOR.MINOR`.
    #[error("`{}` is not a kernel version", escape(.0))]
    Kernel(String),
    /// More names than [`MAX_NAMES`].
    #[error("it names {0} calls, more than {MAX_NAMES}")]
    TooManyCalls(usize),
    /// It could never hold.
    #[error("a value has bits outside its mask")]
    OutsideMask,
    /// Decided before, without a condition.
    #[error("`{}` is in another group already", escape(.0))]
    Twice(String),
    /// No reason beside it.
    #[error("it gives no reason")]
    NoReason,
}
