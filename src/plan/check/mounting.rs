//! Who could undo the finished tree: a payload that keeps `CAP_SYS_ADMIN` over the namespace that owns its mounts.
//!
//! Decisions: only a filter counts. Landlock refuses `mount` and `umount`, but is asked neither when a tree is
//! copied without its masks (`open_tree`) nor when a mount is made writable (`mount_setattr`).

use super::CheckError;
use super::order::of;
use crate::plan::step::{Action, ConfineStep, FilterProgram, Plan, Stage};
use crate::spec::seccomp::Nesting;

/// Where that capability stays, the payload's filter refuses every call that needs it on a mount.
pub(super) fn check_mounting(plan: &Plan) -> Result<(), CheckError> {
    let keeps = |action: &Action| {
        let Action::Confine(ConfineStep::Capabilities { keep }) = action else { return false };
        keep.iter().any(|kept| kept.is_sys_admin())
    };
    let refuses = |action: &Action| {
        let Action::Confine(ConfineStep::Seccomp { program, .. }) = action else { return false };
        match program {
            FilterProgram::Builtin { variant, .. } => variant.nesting == Nesting::Refuse,
            FilterProgram::Custom { policy, variant } => !policy.may_lift_masks(variant),
        }
    };
    let is_refused = || of(plan, Stage::Payload).any(|(_, action)| refuses(action));
    match of(plan, Stage::Payload).find(|(_, action)| keeps(action)) {
        Some((number, _)) if !is_refused() => Err(CheckError::Mounting { number }),
        _ => Ok(()),
    }
}
