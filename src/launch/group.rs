//! The control group of a run while it starts: which of the plan's steps come before the clone, and which after.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use rustix::process::Pid;

use super::{LaunchError, StepError};
use crate::limits::group::Group;
use crate::plan::step::{Action, Plan, Stage};
use crate::spec::HostPath;

/// The group in the making, and what was read back.
pub(super) struct Grouping {
    group: Group,
    details: BTreeMap<usize, String>,
}

impl Grouping {
    /// Takes the steps that come before the clone; none where the plan has no group.
    pub(super) fn before(plan: &Plan, id: &str) -> Result<Option<Self>, LaunchError> {
        let is_group = |(_, action): (usize, &Action)| matches!(action, Action::Group(_));
        if !plan.of(Stage::Launch).any(is_group) {
            return Ok(None);
        }
        let mut grouping = Self { group: Group::new(id), details: BTreeMap::new() };
        let before =
            plan.of(Stage::Launch).take_while(|(_, action)| !matches!(action, Action::Clone(_)));
        for (number, action) in before {
            if let Err(error) = grouping.take(number, action, None) {
                return Err(grouping.give_up(error));
            }
        }
        Ok(Some(grouping))
    }

    /// Where the group is.
    pub(super) fn path(&self) -> Option<&HostPath> {
        self.group.path()
    }

    /// Where the clone goes, if it is made into the group.
    pub(super) fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.group.directory()
    }

    /// Takes the steps that come after the clone, and lets others at the base again.
    pub(super) fn after(&mut self, plan: &Plan, sandbox: Pid) -> Result<(), LaunchError> {
        let after =
            plan.of(Stage::Launch).skip_while(|(_, action)| !matches!(action, Action::Clone(_)));
        for (number, action) in after {
            self.take(number, action, Some(sandbox))?;
        }
        self.group.is_entered().map_err(LaunchError::Group)
    }

    fn take(
        &mut self,
        number: usize,
        action: &Action,
        sandbox: Option<Pid>,
    ) -> Result<(), LaunchError> {
        let Action::Group(step) = action else { return Ok(()) };
        let detail = self.group.take(step, sandbox).map_err(|failure| LaunchError::Step {
            step: number,
            what: action.to_string(),
            source: StepError {
                errno: failure.errno,
                said: crate::spec::text::escape(failure.said),
            },
        })?;
        self.details.extend(detail.map(|detail| (number, detail)));
        Ok(())
    }

    /// Puts a process that serves the sandbox into the group.
    pub(super) fn admit_helper(&self, pid: Pid) -> Result<(), LaunchError> {
        self.group.admit_helper(pid).map_err(|failure| {
            let said = crate::spec::text::escape(failure.said);
            LaunchError::AdmitHelper(StepError { errno: failure.errno, said })
        })
    }

    /// Removes what was made, when no process is in it any more; the error is what the caller hears.
    pub(super) fn give_up(self, error: LaunchError) -> LaunchError {
        match self.group.remove() {
            Ok(()) => error,
            Err(errno) => LaunchError::Group(errno),
        }
    }

    /// The group, and what was read back by step.
    pub(super) fn finish(self) -> (Group, BTreeMap<usize, String>) {
        (self.group, self.details)
    }
}
