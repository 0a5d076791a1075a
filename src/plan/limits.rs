//! Plans resource limits, the counters of the user namespace, and what the supervisor watches.
//!
//! # Decisions
//! - `RLIMIT_NPROC` is set inside the new user namespace, where it counts that namespace alone. The
//!   kernel does not hold user 0 of the host to it: a flag takes a control group there (`group`), a
//!   default is left out.
//! - `RLIMIT_CORE` is 1: with 0 a core handler behind a pipe is still started, with 1 it is not
//!   (`fs/coredump.c`). Where the caller's own limit is 0 it stays, for nobody may raise it, and then nothing
//!   keeps a handler away: exec makes every process dumpable again. The record tells.
//! - A caller's own limit that is stricter than what is wanted holds in its place. One that was named with
//!   `--ulimit` is not given less of, but refused. Of the processes that the kernel allows the caller a quarter stays the
//!   caller's: each in a sandbox counts as the caller's too, who has to start `bryo stop`.
//! - The counters of `/proc/sys/user` are per user of the host: a payload could starve the caller's
//!   desktop of inotify watches. They are written while the host's procfs still stands at `/proc`.

use super::draft::Draft;
use super::error::PlanError;
use super::facts::Facts;
use super::step::{LimitStep, Missing, Notice, Stage, UserCount, WatchStep};
use crate::spec::limits::{Resource, Rlimit};
use crate::spec::net::OnLoss;
use crate::spec::{Need, Network, Spec};

/// Per cent of the store's file system that stay free.
const FREE_SPACE_FLOOR: u8 = 5;
/// Of the caller's own processes, one in so many is not the payload's.
const CALLERS_PART: u64 = 4;
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
        verify_ceiling(*limit, facts)?;
        if limit.resource != Resource::Core {
            set(draft, *limit);
        }
    }
    let is_asked = |resource| asked.iter().any(|limit| limit.resource == resource);
    plan_core(asked, facts, draft);
    if let Some(wanted) = spec.limits.processes.filter(|_| !is_asked(Resource::Nproc)) {
        if facts.caller.uid != 0 && spec.limits.processes_need != Need::Off {
            let own = facts.caller.ceiling(Resource::Nproc);
            let most = own.map_or(wanted, |own| wanted.min(own - own / CALLERS_PART));
            if most < wanted && spec.limits.processes_need == Need::Required {
                draft.notice(Notice::OwnLimit { resource: Resource::Nproc, most });
            }
            set(draft, Rlimit { resource: Resource::Nproc, soft: Some(most), hard: Some(most) });
        } else if super::group::group_counts_processes(spec, facts) {
            // The group does, or there is no plan.
        } else if spec.limits.processes_need == Need::IfAvailable {
            draft.notice(Notice::Missing(Missing::ProcessLimit));
        }
    }
    Ok(())
}

/// What a plan for this spec may limit.
pub(super) fn limited(spec: &Spec) -> impl Iterator<Item = Resource> {
    let always = [Resource::Core, Resource::Nproc];
    let asked = spec.limits.rlimits.iter().map(|limit| limit.resource);
    always.into_iter().chain(asked.filter(move |resource| !always.contains(resource)))
}

/// What was named is given as it was named. Of core files the least there is means none.
fn verify_ceiling(limit: Rlimit, facts: &Facts) -> Result<(), PlanError> {
    let Some(most) = facts.caller.ceiling(limit.resource) else { return Ok(()) };
    let wanted = limit.hard.unwrap_or(u64::MAX);
    let is_none = limit.resource == Resource::Core && wanted <= NO_CORE;
    if wanted <= most || is_none {
        return Ok(());
    }
    Err(PlanError::AboveOwnLimit { resource: limit.resource, most })
}

/// A limit of core files under which nothing is written and nobody is called.
const NO_CORE: u64 = 1;

/// The limit of core files: the smallest that keeps handlers away, unless more was asked for.
fn plan_core(asked: &[Rlimit], facts: &Facts, draft: &mut Draft) {
    let resource = Resource::Core;
    let asked = asked.iter().find(|limit| limit.resource == resource);
    let ceiling = facts.caller.ceiling(resource).unwrap_or(u64::MAX);
    let value = |value: Option<u64>| value.map(|bytes| bytes.max(NO_CORE).min(ceiling));
    let (soft, hard) = asked.map_or((Some(NO_CORE), Some(NO_CORE)), |one| (one.soft, one.hard));
    let (soft, hard) = (value(soft), value(hard));
    if hard == Some(0) && facts.core_handler != Some(false) {
        draft.notice(Notice::Missing(Missing::CoreHandler));
    }
    draft.push(Stage::Sandbox, LimitStep::Rlimit { resource, soft, hard });
}

/// Appends what is watched while the payload runs.
pub(super) fn plan_watches(spec: &Spec, listens: bool, draft: &mut Draft) {
    if let Some(timeout) = spec.lifetime.timeout {
        draft.push(Stage::Supervise, WatchStep::Timeout(timeout));
    }
    if listens {
        draft.push(Stage::Supervise, WatchStep::Denials);
    }
    // The host's own is not lost.
    if spec.egress.on_loss == OnLoss::End && spec.network.may_be_lost() {
        draft.push(Stage::Supervise, WatchStep::Network);
    }
    if draft.store.is_some() {
        draft.push(Stage::Supervise, WatchStep::FreeSpace { floor: FREE_SPACE_FLOOR });
    }
}
