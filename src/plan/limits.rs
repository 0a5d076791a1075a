//! Plans resource limits, the counters of the user namespace, and what the supervisor watches.
//!
//! # Decisions
//! - `RLIMIT_NPROC` is set inside the new user namespace, where it counts that namespace alone. The
//!   kernel does not hold user 0 of the host to it: a flag takes a control group there (`group`), a
//!   default is left out.
//! - `RLIMIT_CORE` is 1: with 0 a core handler behind a pipe is still started, with 1 it is not.
//! - The counters of `/proc/sys/user` are per user of the host: a payload could starve the caller's
//!   desktop of inotify watches. They are written while the host's procfs still stands at `/proc`.

use super::draft::Draft;
use super::error::PlanError;
use super::facts::Facts;
use super::step::{LimitStep, Missing, Notice, Stage, UserCount, WatchStep};
use crate::spec::limits::{Resource, Rlimit};
use crate::spec::{Need, Network, Spec};

/// Per cent of the store's file system that stay free.
const FREE_SPACE_FLOOR: u8 = 5;
const INOTIFY_INSTANCES: u64 = 128;
const INOTIFY_WATCHES: u64 = 65_536;

/// Appends the ceilings that are written before the tree is built.
pub(super) fn plan_counts(spec: &Spec, facts: &Facts, draft: &mut Draft) {
    // They are the user namespace's, and so the other sandbox's.
    if matches!(spec.network, Network::Sandbox(_)) {
        return;
    }
    if !super::pseudo::procfs_is_mountable(facts) {
        // Where the outer /proc is masked, /proc/sys is read-only.
        draft.notice(Notice::Missing(Missing::UserCounts));
        return;
    }
    let mut count = |name, value| {
        draft.push(Stage::Sandbox, LimitStep::UserCount { name, value });
    };
    if !spec.confine.nesting {
        count(UserCount::MaxUserNamespaces, 0);
    }
    count(UserCount::MaxInotifyInstances, INOTIFY_INSTANCES);
    count(UserCount::MaxInotifyWatches, INOTIFY_WATCHES);
}

/// Appends the resource limits, last in the sandbox's stage: a tight one must not stop the set-up.
pub(super) fn plan_rlimits(spec: &Spec, facts: &Facts, draft: &mut Draft) -> Result<(), PlanError> {
    let asked = &spec.limits.rlimits;
    let set = |draft: &mut Draft, Rlimit { resource, soft, hard }: Rlimit| {
        draft.push(Stage::Sandbox, LimitStep::Rlimit { resource, soft, hard });
    };
    for limit in asked {
        if limit.soft.unwrap_or(u64::MAX) > limit.hard.unwrap_or(u64::MAX) {
            return Err(PlanError::SoftAboveHard(limit.resource));
        }
        if limit.resource == Resource::Nproc && facts.caller.uid == 0 {
            return Err(PlanError::RootHasNoProcessLimit);
        }
        set(draft, without_handler(*limit));
    }
    let is_asked = |resource| asked.iter().any(|limit| limit.resource == resource);
    if !is_asked(Resource::Core) {
        set(draft, Rlimit { resource: Resource::Core, soft: Some(1), hard: Some(1) });
    }
    if let Some(most) = spec.limits.processes.filter(|_| !is_asked(Resource::Nproc)) {
        if facts.caller.uid != 0 && spec.limits.processes_need != Need::Off {
            set(draft, Rlimit { resource: Resource::Nproc, soft: Some(most), hard: Some(most) });
        } else if super::group::group_counts_processes(spec, facts) {
            // The group does, or there is no plan.
        } else if spec.limits.processes_need == Need::IfAvailable {
            draft.notice(Notice::Missing(Missing::ProcessLimit));
        }
    }
    Ok(())
}

/// No core file at all is asked for with 0, which starts a handler all the same.
fn without_handler(limit: Rlimit) -> Rlimit {
    let at_least_one = |value: Option<u64>| value.map(|bytes| bytes.max(1));
    match limit.resource {
        Resource::Core => {
            Rlimit { soft: at_least_one(limit.soft), hard: at_least_one(limit.hard), ..limit }
        }
        _ => limit,
    }
}

/// Appends what is watched while the payload runs.
pub(super) fn plan_watches(spec: &Spec, listens: bool, draft: &mut Draft) {
    if let Some(timeout) = spec.lifetime.timeout {
        draft.push(Stage::Supervise, WatchStep::Timeout(timeout));
    }
    if listens {
        draft.push(Stage::Supervise, WatchStep::Denials);
    }
    if draft.store.is_some() {
        draft.push(Stage::Supervise, WatchStep::FreeSpace { floor: FREE_SPACE_FLOOR });
    }
}
