//! The control group: limits are set before the payload can be in it, and nothing inside sees above it.

use super::CheckError;
use super::layers::check_attributes;
use super::order::{before, of, only};
use crate::plan::step::{
    Action, FsStep, GroupLimit, GroupStep, Namespaces, Plan, ProcessStep, Stage,
};

/// One cgroup namespace, made where the sandbox is in its group; a group with limits, each set once.
pub(super) fn check_group(plan: &Plan, clone: usize) -> Result<(), CheckError> {
    let is_namespace = |a: &Action| matches!(a, Action::Process(ProcessStep::CgroupNamespace));
    let cloned = of(plan, Stage::Launch)
        .any(|(_, a)| matches!(a, Action::Clone(Namespaces { cgroup: true, .. })));
    let own = of(plan, Stage::Sandbox).find(|(_, action)| is_namespace(action));
    let steps: Vec<(usize, &GroupStep)> = of(plan, Stage::Launch)
        .filter_map(|(number, action)| match action {
            Action::Group(step) => Some((number, step)),
            _ => None,
        })
        .collect();
    let mounts = of(plan, Stage::Sandbox)
        .find(|(_, action)| matches!(action, Action::Fs(FsStep::Cgroups { .. })));
    let delegates = steps.iter().any(|(_, step)| matches!(step, GroupStep::Delegate(_)));
    if let Some((number, _)) = mounts.filter(|_| !delegates) {
        return Err(CheckError::NotAsked { number, what: "control groups to be changed inside" });
    }
    if steps.is_empty() {
        return match own {
            None if cloned => Ok(()),
            _ => Err(CheckError::NotAsked { number: clone, what: "its namespaces" }),
        };
    }
    only(plan, Stage::Sandbox, "make a cgroup namespace", is_namespace)?;
    if cloned {
        return Err(CheckError::Order {
            number: clone,
            rule: "the sandbox is not in its group yet",
        });
    }
    let bounds_memory = |step: &GroupStep| {
        matches!(step, GroupStep::Set(GroupLimit::Memory(_) | GroupLimit::MemoryHigh(_)))
    };
    if steps.iter().any(|(_, step)| bounds_memory(step)) {
        check_attributes(plan)?;
    }
    check_steps(plan, clone, &steps)
}

fn check_steps(plan: &Plan, clone: usize, steps: &[(usize, &GroupStep)]) -> Result<(), CheckError> {
    let stage = Stage::Launch;
    let is = |fits: fn(&GroupStep) -> bool| move |action: &Action| matches!(action, Action::Group(step) if fits(step));
    let base = is(|step| matches!(step, GroupStep::Base(_) | GroupStep::Scope { .. }));
    let base = only(plan, stage, "take a base for the control group", base)?;
    let make = only(plan, stage, "make a control group", is(|s| matches!(s, GroupStep::Make)))?;
    let enable =
        only(plan, stage, "turn on controllers", is(|s| matches!(s, GroupStep::Enable(_))))?;
    before(base, make, "there is nothing to make a group in")?;
    before(base, enable, "there is no group yet")?;
    if make > clone {
        only(plan, stage, "move the sandbox", is(|s| matches!(s, GroupStep::Enter)))?;
    }
    let mut set = Vec::new();
    for (number, step) in steps {
        let GroupStep::Set(limit) = step else { continue };
        before(enable.max(make), *number, "its file is not there yet")?;
        let what = match limit {
            GroupLimit::Io(disk, _) => (limit.file(), Some(*disk)),
            _ => (limit.file(), None),
        };
        if set.contains(&what) {
            return Err(CheckError::Order { number: *number, rule: "it was done before" });
        }
        let on = steps.iter().any(
            |(_, step)| matches!(step, GroupStep::Enable(on) if on.contains(&limit.controller())),
        );
        if !on {
            return Err(CheckError::Order { number: *number, rule: "its controller is off" });
        }
        set.push(what);
    }
    let divide = steps.iter().find(|(_, step)| matches!(step, GroupStep::Divide));
    let delegate = steps.iter().find(|(_, step)| matches!(step, GroupStep::Delegate(_)));
    if let Some((number, _)) = delegate {
        let rule = "the payload would have the group that bounds it";
        before(divide.map_or(usize::MAX, |(divide, _)| *divide), *number, rule)?;
        before(enable, *number, "they are not on yet")?;
    }
    if set.is_empty() && delegate.is_none() {
        return Err(CheckError::Missing { what: "limit something", stage });
    }
    Ok(())
}
