//! Plans the namespaces and who the payload is in them.
//!
//! # Decisions
//! - One id is mapped by the launcher itself; `setgroups` is denied first, because the kernel takes an
//!   unprivileged group map only then. The supplementary groups stay, and the plan names them.
//! - With subordinate ids the caller is mapped at the id chosen inside and the ranges fill the other
//!   ids from 0 up, as podman does, so that an image's ids below 65536 exist.

use super::draft::Draft;
use super::error::PlanError;
use super::facts::{Facts, Helper, IdRange, Subids};
use super::group;
use super::step::{Action, IdKind, IdMapping, IdsStep, Namespaces, ProcessStep, Stage};
use super::{segment, share};
use crate::spec::order;
use crate::spec::{HostPath, IdMode, Spec, User};

/// The most lines the kernel takes in a map (`user_namespaces(7)`, since Linux 4.15).
const MOST_LINES: usize = 340;

/// User and group id of the payload inside.
pub(super) fn inside(spec: &Spec, facts: &Facts) -> (u32, u32) {
    match spec.ids.user {
        User::Caller => (facts.caller.uid, facts.caller.gid),
        User::Root => (0, 0),
        User::Numeric { uid, gid } => (uid, gid),
    }
}

/// Appends the clone and the id maps.
pub(super) fn plan_ids(spec: &Spec, facts: &Facts, draft: &mut Draft) -> Result<(), PlanError> {
    let shared = share::target(spec, facts)?;
    if let Some(target) = shared {
        share::plan_enter(spec, target, draft)?;
    }
    if let Some(lease) = segment::lease(spec, facts)? {
        segment::plan_enter(spec, lease, draft)?;
    }
    let group = group::plan_group(spec, facts, draft)?;
    if let Some(group) = &group {
        group.plan_before(draft);
    }
    draft.push(
        Stage::Launch,
        Action::Clone(Namespaces {
            user: shared.is_none(),
            pid: true,
            net: spec.network.is_new(),
            ipc: true,
            uts: true,
            // Made where the sandbox is in its group already, if it gets one.
            cgroup: group.is_none(),
        }),
    );
    if let Some(group) = &group {
        group.plan_after(draft);
    }
    let (uid, gid) = inside(spec, facts);
    let caller = &facts.caller;
    if spec.ids.mode == IdMode::Single {
        draft.groups_kept.clone_from(&caller.groups);
    }
    match spec.ids.mode {
        // The maps of a user namespace are written once.
        IdMode::Single if shared.is_some() => {}
        IdMode::Single => {
            draft.push(Stage::Launch, IdsStep::DenySetgroups);
            let uid = IdMapping { inside: uid, outside: caller.uid, count: 1 };
            let gid = IdMapping { inside: gid, outside: caller.gid, count: 1 };
            draft.push(Stage::Launch, IdsStep::WriteMaps { uid, gid });
        }
        IdMode::Subid => {
            let subids = facts.subids.as_ref().ok_or(PlanError::Unprobed("subids"))?;
            let kinds = [(IdKind::User, uid, caller.uid), (IdKind::Group, gid, caller.gid)];
            for (kind, inside, outside) in kinds.into_iter().filter(|_| shared.is_none()) {
                let by_helper = plan_helper(subids, kind, inside, outside)?;
                draft.push(Stage::Launch, segment::plan_map(spec, facts, by_helper)?);
            }
            draft.push(Stage::Sandbox, ProcessStep::TakeIds { uid, gid, drop_groups: true });
        }
    }
    Ok(())
}

/// The maps by which the caller is root over all subordinate ids, for what payloads with such ids left.
pub fn plan_all(facts: &Facts) -> Result<Vec<IdsStep>, PlanError> {
    let subids = facts.subids.as_ref().ok_or(PlanError::Unprobed("subids"))?;
    [(IdKind::User, facts.caller.uid), (IdKind::Group, facts.caller.gid)]
        .into_iter()
        .map(|(kind, outside)| plan_helper(subids, kind, 0, outside))
        .collect()
}

/// The maps of a user namespace in which every id is itself: the caller's, and all subordinate ones. None where those
/// cannot be had.
pub fn plan_same(facts: &Facts) -> Option<Vec<IdsStep>> {
    let mut steps = plan_all(facts).ok()?;
    let caller = [facts.caller.uid, facts.caller.gid];
    let ranges = facts.subids.as_ref().map(|subids| [&subids.uids, &subids.gids])?;
    for ((step, id), ranges) in steps.iter_mut().zip(caller).zip(ranges) {
        let IdsStep::RunHelper { map, .. } = step else { return None };
        let own = IdRange { first: id, count: 1 };
        let all = [own].into_iter().chain(ranges.iter().copied()).take(MOST_LINES);
        let line = |range: IdRange| IdMapping {
            inside: range.first,
            outside: range.first,
            count: range.count,
        };
        *map = all.map(line).collect();
    }
    Some(steps)
}

fn plan_helper(
    subids: &Subids,
    kind: IdKind,
    inside: u32,
    outside: u32,
) -> Result<IdsStep, PlanError> {
    let (ranges, helper) = match kind {
        IdKind::User => (&subids.uids, &subids.newuidmap),
        IdKind::Group => (&subids.gids, &subids.newgidmap),
    };
    let program = usable(helper, kind)?.clone();
    if ranges.is_empty() {
        return Err(PlanError::NoSubids(kind));
    }
    refuse_overlap(ranges, kind, outside)?;
    Ok(IdsStep::RunHelper { program, kind, map: map(ranges, inside, outside) })
}

fn usable(helper: &Helper, kind: IdKind) -> Result<&HostPath, PlanError> {
    match helper {
        Helper::Ready(program) => Ok(program),
        Helper::Missing => Err(PlanError::NoMapHelper(kind)),
        Helper::Unprivileged(program) => Err(PlanError::UnprivilegedMapHelper(program.clone())),
    }
}

/// The kernel refuses a map in which an id outside occurs twice, with an `EINVAL` that says nothing.
fn refuse_overlap(ranges: &[IdRange], kind: IdKind, caller: u32) -> Result<(), PlanError> {
    let caller = IdRange { first: caller, count: 1 };
    let mut all: Vec<IdRange> = ranges.iter().copied().chain([caller]).collect();
    order::sort_by_key(&mut all, |range| range.first);
    let overlapping = all
        .array_windows()
        .find(|[low, high]| u64::from(low.first) + u64::from(low.count) > u64::from(high.first));
    match overlapping {
        Some([low, high]) => {
            Err(PlanError::OverlappingSubids { kind, one: low.first, other: high.first })
        }
        None => Ok(()),
    }
}

/// The caller at `inside`, the ranges around it from 0 up, as far as ids and lines reach.
fn map(ranges: &[IdRange], inside: u32, outside: u32) -> Vec<IdMapping> {
    let mut lines = vec![IdMapping { inside, outside, count: 1 }];
    let mut next = 0;
    for range in ranges {
        let mut rest = *range;
        while rest.count > 0 && lines.len() < MOST_LINES {
            if next == inside {
                next += 1;
            }
            // 4294967295 is no id: it means "unchanged" in many calls.
            let end = if next < inside { inside } else { u32::MAX };
            let count = rest.count.min(end - next);
            if count == 0 {
                break;
            }
            lines.push(IdMapping { inside: next, outside: rest.first, count });
            next += count;
            rest = IdRange { first: rest.first + count, count: rest.count - count };
        }
    }
    order::sort_by_key(&mut lines, |line| line.inside);
    lines
}
