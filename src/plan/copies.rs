//! Copies that a flag asks for, of what the caller may not write.

use super::error::PlanError;
use super::facts::Facts;
use super::places::resolve;
use super::view::{Rule, Rules, View};
use crate::spec::SandboxPath;
use crate::spec::Spec;
use crate::spec::ids::User;
use crate::spec::rootfs::{Access, Base, Origin, PathRequest, VolumeMode};

/// The flag of a volume that is copied.
pub(super) const COW_VOLUME: &str = "--volume …:cow";

/// Whether what a flag asks a copy of, which is seen this way without, is not the caller's: root has one of everything
/// on the host.
pub(super) fn is_for_root(spec: &Spec, view: &View) -> bool {
    let root = &spec.rootfs;
    spec.ids.user == User::Root
        && root.base == Base::Host
        && !root.read_only
        && matches!(view, View::Read | View::System)
}

/// Whether a flag asks for a copy.
pub(super) fn is_by_flag(request: &PathRequest) -> bool {
    request.origin == Origin::Flag && request.access == Access::Cow
}

/// A flag that asks for a copy where the caller may not write would be ignored, unless a part of it can be written.
pub(super) fn refuse_of_others(spec: &Spec, facts: &Facts, rules: &Rules) -> Result<(), PlanError> {
    let copies = spec.rootfs.requests.iter().filter(|request| is_by_flag(request));
    for path in copies.filter_map(|request| resolve(&request.path, facts)) {
        let at = facts.place(&path).ok_or(PlanError::Unprobed("places"))?.real.same_in_sandbox();
        if !is_written_in(rules, &at) {
            return Err(PlanError::NotYours { path, flag: "--cow" });
        }
    }
    let volumes = &spec.rootfs.volumes;
    for volume in volumes.iter().filter(|volume| volume.mode == VolumeMode::Cow) {
        if !is_written_in(rules, &volume.target) {
            let path = volume.source.clone();
            return Err(PlanError::NotYours { path, flag: COW_VOLUME });
        }
    }
    Ok(())
}

/// Whether a place, or a part of it, can be written.
fn is_written_in(rules: &Rules, at: &SandboxPath) -> bool {
    let is_written = |rule: &Rule| {
        matches!(rule.view, View::Cow | View::CowAsRoot | View::Private | View::Write)
    };
    let is_part = |rule: &Rule| rule.at == *at || rule.at.is_below(at);
    rules.iter().any(|rule| is_part(rule) && is_written(rule))
}
