//! Plans the one Landlock ruleset: what the tree's mounts say, once more in the kernel's own words.
//!
//! # Theory of operation
//! The rules are read off the steps that build the tree, so that they cannot say something else:
//! everything can be read and executed, and what a step mounts writable can be written. Landlock only
//! grants; what is hidden or read-only inside a writable tree is so by its mount.
//!
//! # Decisions
//! - ABI 1 (Linux 5.13 to 5.18) refuses every rename and link across directories. Where Landlock is
//!   wanted if available, that counts as not available: builds would break.
//! - With nesting there are no file system rules: with them, the kernel refuses every mount in
//!   nested namespaces.
//! - Scopes are set where they exist (ABI 6). Without them nothing is weaker while the sandbox has
//!   its own pid and network namespaces; with the host's network see `confine`.

use std::collections::BTreeMap;

use super::draft::Draft;
use super::error::PlanError;
use super::facts::Facts;
use super::step::{
    Allowed, FsStep, LandlockGrant, LandlockPath, LandlockRules, Missing, MountAccess, Notice,
};
use super::view::fixed;
use crate::spec::{Need, SandboxPath, Spec};

/// Rights up to this ABI are known to us.
pub(super) const NEWEST: u32 = 9;
/// The first ABI that can allow renames across directories.
const REFER: u32 = 2;
/// The first with scopes for signals and abstract sockets.
const SCOPES: u32 = 6;
/// The first with a right to connect to a unix socket by its path.
const RESOLVE_UNIX: u32 = 9;

/// The ABI that is used: 0 for no Landlock at all.
pub(super) fn abi(spec: &Spec, facts: &Facts) -> Result<u32, PlanError> {
    let need = spec.confine.landlock;
    if need == Need::Off {
        return Ok(0);
    }
    let abi = facts.landlock_abi.ok_or(PlanError::Unprobed("landlock_abi"))?.min(NEWEST);
    match need {
        Need::Required if abi == 0 => Err(PlanError::NoLandlock),
        Need::IfAvailable if abi < REFER => Ok(0),
        _ => Ok(abi),
    }
}

/// Whether signals and abstract sockets are bounded.
pub(super) fn has_scopes(abi: u32) -> bool {
    abi >= SCOPES
}

/// The ruleset; none when there is nothing to rule. The tree's steps are planned already.
pub(super) fn plan_landlock(
    spec: &Spec,
    facts: &Facts,
    draft: &mut Draft,
) -> Result<Option<LandlockRules>, PlanError> {
    let abi = abi(spec, facts)?;
    if abi == 0 {
        if spec.confine.landlock == Need::IfAvailable {
            draft.notice(Notice::Missing(Missing::Landlock));
        }
        return Ok(None);
    }
    let paths = if spec.confine.nesting { Vec::new() } else { paths(draft, abi) };
    let rules = LandlockRules {
        abi,
        paths,
        tcp: None,
        scope_abstract_unix: has_scopes(abi),
        scope_signals: has_scopes(abi),
    };
    Ok((!rules.paths.is_empty() || has_scopes(abi)).then_some(rules))
}

fn paths(draft: &Draft, abi: u32) -> Vec<LandlockPath> {
    let mut grants = BTreeMap::from([(SandboxPath::root(), LandlockGrant::ReadExecute)]);
    for step in draft.fs_steps() {
        match step {
            FsStep::Overlay { at, upper: Some(_), .. }
            | FsStep::Proc { at }
            | FsStep::Mqueue { at }
            | FsStep::Cgroups { at } => {
                grants.insert(at.clone(), LandlockGrant::All);
            }
            FsStep::Tmpfs { at, flags, .. } if flags.access == MountAccess::Writable => {
                grants.insert(at.clone(), LandlockGrant::All);
            }
            FsStep::Bind { at, flags, .. } if flags.devices == Allowed::Yes => {
                // All of /dev is ours: one rule for it instead of one for each node.
                let dev = fixed("/dev").same_in_sandbox();
                let at = if at.is_below(&dev) { dev } else { at.clone() };
                grants.insert(at, LandlockGrant::Device);
            }
            FsStep::Bind { at, flags, .. } if flags.access == MountAccess::Writable => {
                grants.insert(at.clone(), LandlockGrant::All);
            }
            FsStep::Seal { at } if grants.get(at) == Some(&LandlockGrant::All) => {
                grants.remove(at);
            }
            _ => {}
        }
    }
    if abi >= RESOLVE_UNIX {
        for at in &draft.sockets {
            grants.insert(at.clone(), LandlockGrant::Socket);
        }
    }
    grants.entry(SandboxPath::root()).or_insert(LandlockGrant::ReadExecute);
    grants.into_iter().map(|(at, grant)| LandlockPath { at, grant }).collect()
}
