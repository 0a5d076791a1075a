//! A plan while it is made: planners append, the end sorts by stage.

use super::step::{
    Action, ConfineStep, EnterStep, FsStep, GroupLimit, GroupStep, IdsStep, Layer, LimitStep,
    Named, NetStep, NetstackStep, Notice, Plan, ProcessStep, Stage, Step, StoreStep, WatchStep,
};
use crate::spec::order;
use crate::spec::{HostPath, SandboxPath};

/// What every planner appends to.
#[derive(Debug, Default)]
pub(super) struct Draft {
    steps: Vec<Step>,
    /// See [`Plan::layers`].
    pub(super) layers: Vec<Layer>,
    /// See [`Plan::store`].
    pub(super) store: Option<HostPath>,
    /// See [`Plan::groups_kept`].
    pub(super) groups_kept: Vec<u32>,
    /// Sockets of the host that were asked for, where they are seen.
    pub(super) sockets: Vec<SandboxPath>,
    notices: Vec<Notice>,
    /// See [`Plan::named`].
    pub(super) named: Vec<Named>,
}

/// A default run has some hundred and thirty steps.
const STEPS: usize = 144;

impl Draft {
    /// One with room for a plan.
    pub(super) fn of_plan() -> Self {
        Self { steps: Vec::with_capacity(STEPS), ..Self::default() }
    }

    /// Appends a step.
    pub(super) fn push(&mut self, stage: Stage, action: impl Into<Action>) {
        self.steps.push(Step { stage, action: action.into() });
    }

    /// Appends a step on the file tree.
    pub(super) fn fs(&mut self, step: FsStep) {
        self.push(Stage::Sandbox, step);
    }

    /// Tells the user something, once.
    pub(super) fn notice(&mut self, notice: Notice) {
        if !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }

    /// The steps on the file tree so far.
    pub(super) fn fs_steps(&self) -> impl Iterator<Item = &FsStep> {
        self.steps.iter().filter_map(|step| match &step.action {
            Action::Fs(step) => Some(step),
            _ => None,
        })
    }

    /// Whether its memory is bounded by a control group.
    pub(super) fn bounds_memory(&self) -> bool {
        let bounds = |step: &Step| {
            matches!(
                step.action,
                Action::Group(GroupStep::Set(GroupLimit::Memory(_) | GroupLimit::MemoryHigh(_)))
            )
        };
        self.steps.iter().any(bounds)
    }

    /// Whether the payload gets a control group to divide.
    pub(super) fn divides_groups(&self) -> bool {
        let delegates = |step: &Step| matches!(step.action, Action::Group(GroupStep::Delegate(_)));
        self.steps.iter().any(delegates)
    }

    /// The plan. Sorting is stable: within a stage the order of planning is the order of doing.
    pub(super) fn finish(self) -> Plan {
        let Self { mut steps, layers, store, groups_kept, notices, named, sockets: _ } = self;
        order::sort_by_key(&mut steps, |step| step.stage);
        Plan { steps, layers, store, notices, groups_kept, named }
    }
}

/// One conversion per area, so that a planner names its own kind of step only.
macro_rules! action_from {
    ($($step:ident => $variant:ident),* $(,)?) => {
        $(impl From<$step> for Action {
            fn from(step: $step) -> Self {
                Self::$variant(step)
            }
        })*
    };
}

action_from! {
    StoreStep => Store,
    EnterStep => Enter,
    IdsStep => Ids,
    GroupStep => Group,
    FsStep => Fs,
    NetStep => Net,
    NetstackStep => Netstack,
    LimitStep => Limit,
    ConfineStep => Confine,
    ProcessStep => Process,
    WatchStep => Watch,
}
