//! Plans a sandbox in the network of another one.
//!
//! # Theory of operation
//! A network namespace belongs to a user namespace, and only who has capabilities there may enter it. The
//! launcher has them, as the owner of every user namespace that it or another bryo of the same caller made. So a
//! process of the launcher's enters the target's user and network namespaces and makes pid 1 there: in new mount,
//! pid, ipc, uts and cgroup namespaces, and in the target's user namespace.
//!
//! # Decisions
//! - Not in a user namespace of its own below the target's. The kernel gives every process with the maker's user
//!   id, when it is in the user namespace above, all capabilities over the one below: that would be the
//!   target's payload. In one and the same user namespace two payloads without capabilities have no power over
//!   each other, and neither sees the other's processes. So neither may keep a capability.
//! - Hence the ids are the target's: a map is written once.
//! - The ceilings of `/proc/sys/user` belong to the user namespace: they are the target's, and stay.
//! - Policy, name server and published ports are the target's: its netstack serves both, and ends with it.

use super::draft::Draft;
use super::error::PlanError;
use super::facts::{Facts, Target};
use super::step::{EnterStep, Notice, Stage};
use crate::spec::{IdMode, Network, Spec, Text, User};

/// Why the network of another sandbox cannot be shared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// It has none of its own.
    #[error("cannot share the network of sandbox `{0}`: it has the host's")]
    Host(Text),
    /// Its payload has power over the namespaces that would be shared.
    #[error("cannot share the network of sandbox `{0}`: its payload keeps a capability")]
    Capable(Text),
    /// The new payload would.
    #[error("cannot keep a capability in the network of sandbox `{0}`, which would reach it too")]
    WouldBeCapable(Text),
    /// User namespaces cannot be made in the one that is shared.
    #[error("cannot nest sandboxes in the network of sandbox `{0}`, which does not nest")]
    Nesting(Text),
    /// Other ids than its own.
    #[error("cannot have other ids than sandbox `{sandbox}`, whose network is shared")]
    Ids {
        /// The sandbox.
        sandbox: Text,
        /// What gives the same.
        flags: String,
    },
}

impl ShareError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Host(_) => "`--network host`, if that is meant".to_owned(),
            Self::Capable(_) => "start that one without `--cap-add`".to_owned(),
            Self::WouldBeCapable(_) => "leave out `--cap-add`".to_owned(),
            Self::Nesting(_) => "take a profile without `nesting`".to_owned(),
            Self::Ids { flags, .. } => flags.clone(),
        }
    }
}

/// The sandbox that a spec shares the network of; none for one with a network of its own.
pub(super) fn target<'a>(spec: &Spec, facts: &'a Facts) -> Result<Option<&'a Target>, PlanError> {
    match spec.network {
        Network::Sandbox(_) => facts.target.as_ref().ok_or(PlanError::Unprobed("target")).map(Some),
        _ => Ok(None),
    }
}

/// Appends the way into the target's namespaces.
pub(super) fn plan_enter(spec: &Spec, target: &Target, draft: &mut Draft) -> Result<(), PlanError> {
    let sandbox = || target.sandbox.clone();
    if target.network == Network::Host {
        return Err(ShareError::Host(sandbox()).into());
    }
    if target.capable {
        return Err(ShareError::Capable(sandbox()).into());
    }
    if !spec.confine.capabilities.is_empty() {
        return Err(ShareError::WouldBeCapable(sandbox()).into());
    }
    if spec.confine.nesting && !target.nests {
        return Err(ShareError::Nesting(sandbox()).into());
    }
    if spec.ids != target.ids {
        return Err(ShareError::Ids { sandbox: sandbox(), flags: flags(target) }.into());
    }
    draft.push(Stage::Launch, EnterStep::Sandbox(sandbox()));
    draft.notice(Notice::SharedNetwork(sandbox()));
    Ok(())
}

/// What gives the target's ids.
fn flags(target: &Target) -> String {
    let mode = match target.ids.mode {
        IdMode::Single => "--ids single",
        IdMode::Subid => "--ids subid",
    };
    match target.ids.user {
        User::Caller => format!("leave out `--user`, and take `{mode}`"),
        User::Root => format!("take `--user root {mode}`"),
        User::Numeric { uid, gid } => format!("take `--user {uid}:{gid} {mode}`"),
    }
}
