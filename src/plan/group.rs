//! Plans the control group: in a group that is delegated to the caller, or in a scope of the caller's
//! service manager.
//!
//! # Decisions
//! - A delegated group comes first: it takes no other process. The manager is asked where it lacks what is
//!   required.
//! - The limits are on a group of the run's own, and the cgroup namespace is made inside it: nothing inside
//!   has a name for the group that bounds it.
//! - Where the group is made before the clone, the clone goes into it (`CLONE_INTO_CGROUP`): moving a
//!   process waits for every processor. In a scope, and among shared namespaces, it is moved: a scope is
//!   made around a process.
//! - Processes are bounded by `RLIMIT_NPROC` in the user namespace where that holds; by the group too where
//!   there is one, and where it does not hold: for root, and with several ids mapped, of which each would
//!   count by itself.

use std::collections::BTreeSet;

use super::draft::Draft;
use super::error::PlanError;
use super::facts::{Controller, Disk, Facts, Groups, Weigher};
use super::step::{GroupLimit, GroupStep, Missing, Notice, ProcessStep, Stage};
use crate::spec::group::{Bound, IoMax};
use crate::spec::{IdMode, Need, Network, Spec, Text};

/// The group of one run.
#[derive(Debug, Default)]
pub(super) struct PlannedGroup {
    /// Before the clone.
    before: Vec<GroupStep>,
    /// After it.
    after: Vec<GroupStep>,
}

/// Why nothing can be bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupObstacle {
    /// Version 1, or none.
    NoVersion2,
    /// Nothing is delegated, and no manager listens.
    NothingDelegated,
}

/// The one file that lets a user's service manager bound everything, as a command of the administrator's.
pub const DELEGATE: &str = "mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' >/etc/systemd/system/user@.service.d/delegate.conf && systemctl daemon-reload";

impl GroupObstacle {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::NoVersion2 => "it takes control groups of version 2, and they are not used here",
            Self::NothingDelegated => "no control group is yours, and no systemd of yours runs",
        }
    }

    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::NoVersion2 => {
                "boot with `systemd.unified_cgroup_hierarchy=1` on the kernel's command line; `--ulimit` \
                 bounds single processes, `--timeout` the run"
            }
            Self::NothingDelegated => {
                "log in through `login`, `sshd` or a desktop, not by `su`; or have it started by a systemd \
                 service with `Delegate=yes`; without systemd, as root, with your name and the number of your \
                 shell (`echo $$`): `cd /sys/fs/cgroup && echo +cpu +cpuset +io +memory +pids \
                 >cgroup.subtree_control && mkdir NAME && chown NAME NAME NAME/cgroup.procs \
                 NAME/cgroup.subtree_control && echo NUMBER >NAME/cgroup.procs`"
            }
        }
    }
}

impl PlanError {
    pub(super) fn hint_about_groups(&self) -> Option<String> {
        Some(match self {
            Self::NoGroup { why, .. } => why.hint().to_owned(),
            Self::NoDiskLimit(why) => why.hint().to_owned(),
            Self::NoDisk(_) => {
                "name a place on a disk, or the disk itself, as `/dev/sda`: `lsblk` lists them; a file system \
                 over several disks, as btrfs, does not tell its own"
                    .to_owned()
            }
            Self::NoWeigher => {
                "as root, for each disk: `echo bfq >/sys/block/DISK/queue/scheduler`; `--io-max` bounds how fast \
                 one is used without that"
                    .to_owned()
            }
            Self::TooHeavy { most, .. } => format!("take {most} or less"),
            Self::SameDisk(_) => "give one limit for each disk".to_owned(),
            Self::NoSwapCount => {
                "boot with `swapaccount=1` on the kernel's command line, or leave it out".to_owned()
            }
            Self::NoController { controller, at: Some(at), .. } => format!(
                "`{at}` is what you were given: whoever gave it has to turn `{controller}` on in it; of a \
                 systemd service, `Delegate=yes`"
            ),
            Self::NoController { at: None, .. } => {
                format!("as root: `{DELEGATE}`; then log in again")
            }
            _ => return None,
        })
    }
}

/// What is wanted, as limits of a group.
fn wanted(
    spec: &Spec,
    facts: &Facts,
    draft: &mut Draft,
) -> Result<Vec<(GroupLimit, Need)>, PlanError> {
    let group = &spec.limits.group;
    let mut wanted = Vec::new();
    let mut number = |bound: &Option<Bound<u64>>, limit: fn(u64) -> GroupLimit| {
        wanted.extend(bound.as_ref().map(|bound| (limit(bound.at), bound.need)));
    };
    number(&group.memory, GroupLimit::Memory);
    number(&group.swap, GroupLimit::Swap);
    number(&group.memory_high, GroupLimit::MemoryHigh);
    number(&group.cpu_time, GroupLimit::CpuTime);
    number(&group.cpu_weight, GroupLimit::CpuWeight);
    let cpus = group.cpus.as_ref();
    wanted.extend(cpus.map(|bound| (GroupLimit::Cpus(bound.at.clone()), bound.need)));
    for io in &group.io {
        let Some(disk) = disk_of(io, facts)? else {
            draft.notice(Notice::Missing(Missing::Disks));
            continue;
        };
        if wanted
            .iter()
            .any(|(limit, _)| matches!(limit, GroupLimit::Io(other, _) if *other == disk))
        {
            return Err(PlanError::SameDisk(Text::from(io.at.clone())));
        }
        wanted.push((GroupLimit::Io(disk, io.rates), io.need));
    }
    if let Some(weight) = &group.io_weight {
        weigh(weight, facts, draft, &mut wanted)?;
    }
    wanted.retain(|(_, need)| *need != Need::Off);
    if let Some(most) = spec.limits.processes
        && spec.limits.processes_need != Need::Off
    {
        let alone = group_counts_processes(spec, facts);
        if alone || !wanted.is_empty() {
            // Where `RLIMIT_NPROC` holds, the group is a second bound.
            let need = if alone { spec.limits.processes_need } else { Need::IfAvailable };
            wanted.push((GroupLimit::Processes(most), need));
        }
    }
    Ok(wanted)
}

/// A weight that nothing looks at is none.
fn weigh(
    weight: &Bound<u64>,
    facts: &Facts,
    draft: &mut Draft,
    wanted: &mut Vec<(GroupLimit, Need)>,
) -> Result<(), PlanError> {
    /// Of `bfq`.
    const MOST: u64 = 1000;
    let groups = facts.groups.as_ref().ok_or(PlanError::Unprobed("groups"))?;
    let required = weight.need == Need::Required;
    if required && weight.at > MOST && groups.weighers.contains(&Weigher::Bfq) {
        return Err(PlanError::TooHeavy { weight: weight.at, most: MOST });
    }
    // Without any group the reason is another.
    if groups.weighers.is_empty() && (groups.delegated.is_some() || groups.manager.is_some()) {
        if required {
            return Err(PlanError::NoWeigher);
        }
        draft.notice(Notice::Missing(Missing::Weigher));
        return Ok(());
    }
    let all = [Weigher::Cost, Weigher::Bfq];
    let by =
        all.into_iter().filter(|by| groups.weighers.contains(by) || groups.weighers.is_empty());
    wanted.extend(by.map(|by| {
        let most = if by == Weigher::Bfq { MOST } else { weight.at };
        (GroupLimit::IoWeight(by, weight.at.min(most)), weight.need)
    }));
    Ok(())
}

/// None where there is no such disk, and need not be.
fn disk_of(io: &IoMax, facts: &Facts) -> Result<Option<Disk>, PlanError> {
    let caller = &facts.caller;
    let place = io.at.resolve(caller.home.as_ref(), caller.workdir.path());
    let place = place.ok_or_else(|| PlanError::Unresolved(Text::from(io.at.clone())))?;
    let known = facts.disks.iter().find(|known| known.place == place);
    match known.ok_or(PlanError::Unprobed("disks"))?.disk {
        None if io.need == Need::Required => Err(PlanError::NoDisk(place)),
        disk => Ok(disk),
    }
}

/// Whether a number of processes that was asked for takes a group, because `RLIMIT_NPROC` does not hold.
pub(super) fn group_counts_processes(spec: &Spec, facts: &Facts) -> bool {
    let many = spec.ids.mode == IdMode::Subid && !spec.confine.capabilities.is_empty();
    spec.limits.processes_need == Need::Required && (facts.caller.uid == 0 || many)
}

/// Whether a spec may ask for a group, as far as it tells alone.
pub(super) fn may_want_group(spec: &Spec) -> bool {
    !spec.limits.group.is_empty() || spec.limits.processes_need == Need::Required
}

/// The group that this spec asks for; none where it asks for none, and where all of it may be missing.
pub(super) fn plan_group(
    spec: &Spec,
    facts: &Facts,
    draft: &mut Draft,
) -> Result<Option<PlannedGroup>, PlanError> {
    let mut wanted = wanted(spec, facts, draft)?;
    let private = spec.limits.group.private;
    if wanted.is_empty() && private.is_none() {
        return Ok(None);
    }
    let groups = facts.groups.as_ref().ok_or(PlanError::Unprobed("groups"))?;
    let Some(way) = Way::choose(groups, &wanted) else {
        if let Some((limit, _)) = wanted.iter().find(|(_, need)| *need == Need::Required) {
            if matches!(limit, GroupLimit::Processes(_)) && facts.caller.uid == 0 {
                return Err(PlanError::RootHasNoProcessLimit);
            }
            return Err(PlanError::NoGroup { flag: limit.flag(), why: obstacle(groups) });
        }
        if private == Some(Need::Required) {
            return Err(PlanError::NoGroup { flag: "--cgroup", why: obstacle(groups) });
        }
        draft.notice(Notice::Missing(Missing::Group));
        return Ok(None);
    };
    if !groups.swap {
        if group_requires_swap(spec) {
            return Err(PlanError::NoSwapCount);
        }
        wanted.retain(|(limit, _)| !matches!(limit, GroupLimit::Swap(_)));
    }
    for (limit, need) in &wanted {
        let mut controller = limit.controller();
        let writes =
            matches!(limit, GroupLimit::Io(_, rates) if rates.wbps.or(rates.wiops).is_some());
        if writes && !way.controllers().contains(&Controller::Memory) {
            controller = Controller::Memory;
        }
        if way.controllers().contains(&controller) {
            continue;
        }
        if *need == Need::Required {
            let at = way.delegated().cloned();
            return Err(PlanError::NoController { flag: limit.flag(), controller, at });
        }
        if !matches!(limit, GroupLimit::Processes(_)) {
            draft.notice(Notice::Missing(Missing::Controller(controller)));
        }
    }
    wanted.retain(|(limit, _)| way.controllers().contains(&limit.controller()));
    let limits: Vec<GroupLimit> = wanted.into_iter().map(|(limit, _)| limit).collect();
    Ok((!limits.is_empty() || private.is_some()).then(|| way.plan(spec, limits)))
}

/// Without swap space that is counted there is none to be bounded: only who asked for it hears that.
fn group_requires_swap(spec: &Spec) -> bool {
    spec.limits.group.swap.as_ref().is_some_and(|swap| swap.need == Need::Required)
}

fn obstacle(groups: &Groups) -> GroupObstacle {
    use super::facts::GroupVersion;
    match groups.version {
        GroupVersion::Unified => GroupObstacle::NothingDelegated,
        GroupVersion::Hybrid | GroupVersion::Legacy | GroupVersion::None => {
            GroupObstacle::NoVersion2
        }
    }
}

/// Where a group can be made.
enum Way<'a> {
    Delegated(&'a super::facts::Delegated),
    Scope(&'a super::facts::Manager, &'a crate::spec::HostPath),
}

impl<'a> Way<'a> {
    /// The first that has all that is required; without one, the first there is.
    fn choose(groups: &'a Groups, wanted: &[(GroupLimit, Need)]) -> Option<Self> {
        let delegated = groups.delegated.as_ref().map(Self::Delegated);
        let scope = groups.manager.as_ref().zip(groups.mount.as_ref());
        let scope = scope.map(|(manager, mount)| Self::Scope(manager, mount));
        let has_all = |way: &Self| {
            let required = wanted.iter().filter(|(_, need)| *need == Need::Required);
            required
                .map(|(limit, _)| limit.controller())
                .all(|one| way.controllers().contains(&one))
        };
        match (delegated, scope) {
            (Some(delegated), Some(scope)) if !has_all(&delegated) && has_all(&scope) => {
                Some(scope)
            }
            (Some(delegated), _) => Some(delegated),
            (None, scope) => scope,
        }
    }

    fn controllers(&self) -> &'a BTreeSet<Controller> {
        match self {
            Self::Delegated(delegated) => &delegated.controllers,
            Self::Scope(manager, _) => &manager.controllers,
        }
    }

    fn delegated(&self) -> Option<&'a crate::spec::HostPath> {
        match self {
            Self::Delegated(delegated) => Some(&delegated.path),
            Self::Scope(..) => None,
        }
    }

    fn plan(&self, spec: &Spec, limits: Vec<GroupLimit>) -> PlannedGroup {
        let mut controllers: BTreeSet<Controller> =
            limits.iter().map(GroupLimit::controller).collect();
        if controllers.contains(&Controller::Io) && self.controllers().contains(&Controller::Memory)
        {
            // Without it what is written through the page cache counts for the group above.
            controllers.insert(Controller::Memory);
        }
        let private = spec.limits.group.private.is_some();
        if private {
            controllers.clone_from(self.controllers());
        }
        let delegate = private.then(|| GroupStep::Delegate(controllers.iter().copied().collect()));
        // Who may mount may mount this, and write what is in it.
        let divide = (private || spec.confine.nesting).then_some(GroupStep::Divide);
        let enable = GroupStep::Enable(controllers.into_iter().collect());
        let cpu_weight = limits.iter().find_map(|limit| match limit {
            GroupLimit::CpuWeight(weight) => Some(*weight),
            _ => None,
        });
        let io_weight = limits.iter().find_map(|limit| match limit {
            GroupLimit::IoWeight(_, weight) => Some(*weight),
            _ => None,
        });
        let set = limits.into_iter().map(GroupStep::Set);
        match self {
            Self::Delegated(delegated) => {
                let base = GroupStep::Base(delegated.path.clone());
                let make = [base, GroupStep::Vacate, enable, GroupStep::Make];
                let steps = make.into_iter().chain(divide).chain(delegate).chain(set);
                let mut steps: Vec<GroupStep> = steps.collect();
                if matches!(spec.network, Network::Sandbox(_)) {
                    steps.push(GroupStep::Enter);
                    return PlannedGroup { before: Vec::new(), after: steps };
                }
                PlannedGroup { before: steps, after: Vec::new() }
            }
            Self::Scope(manager, mount) => {
                let (socket, mount) = (manager.socket.clone(), (*mount).clone());
                let scope = GroupStep::Scope { socket, mount, cpu_weight, io_weight };
                // The scope holds the sandbox's process, and must not when controllers are turned on.
                let make = [scope, GroupStep::Make].into_iter().chain(divide);
                let enter = [GroupStep::Enter, enable].into_iter().chain(delegate);
                PlannedGroup { before: Vec::new(), after: make.chain(enter).chain(set).collect() }
            }
        }
    }
}

impl PlannedGroup {
    /// Appends what is done before the clone.
    pub(super) fn plan_before(&self, draft: &mut Draft) {
        for step in &self.before {
            draft.push(Stage::Launch, step.clone());
        }
    }

    /// Appends what is done after it, and what the sandbox does first.
    pub(super) fn plan_after(&self, draft: &mut Draft) {
        for step in &self.after {
            draft.push(Stage::Launch, step.clone());
        }
        draft.push(Stage::Sandbox, ProcessStep::CgroupNamespace);
    }
}
