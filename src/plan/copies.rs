//! Copies that a flag asks for, of what the caller may not write.

use super::error::PlanError;
use super::facts::Facts;
use super::places::resolve;
use super::view::{Rule, Rules, View};
use crate::spec::Spec;
use crate::spec::ids::User;
use crate::spec::rootfs::{Access, Base, Origin, PathRequest};

/// Whether a flag asks for a copy of what is not the caller's, and root has one of everything on the host.
pub(super) fn is_for_root(spec: &Spec, request: &PathRequest, rule: &Rule) -> bool {
    let root = &spec.rootfs;
    spec.ids.user == User::Root
        && root.base == Base::Host
        && !root.read_only
        && is_by_flag(request)
        && matches!(rule.view, View::Read | View::System)
}

fn is_by_flag(request: &PathRequest) -> bool {
    request.origin == Origin::Flag && request.access == Access::Cow
}

/// A flag that asks for a copy where the caller may not write would be ignored, unless a part of it can be written.
pub(super) fn refuse_of_others(spec: &Spec, facts: &Facts, rules: &Rules) -> Result<(), PlanError> {
    let copies = spec.rootfs.requests.iter().filter(|request| is_by_flag(request));
    for asked in copies.filter_map(|request| resolve(&request.path, facts)) {
        let at = facts.place(&asked).ok_or(PlanError::Unprobed("places"))?.real.same_in_sandbox();
        let is_written = |rule: &Rule| {
            matches!(rule.view, View::Cow | View::CowAsRoot | View::Private | View::Write)
        };
        let is_part = |rule: &Rule| rule.at == at || rule.at.is_below(&at);
        if !rules.iter().any(|rule| is_part(rule) && is_written(rule)) {
            return Err(PlanError::NotYours(asked));
        }
    }
    Ok(())
}
