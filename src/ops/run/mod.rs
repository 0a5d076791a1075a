//! `bryo run`: from a spec to the record of a finished run.
//!
//! # Theory of operation
//! Probe, plan, check, prepare the store, launch, supervise, write the record. When a step refutes an
//! assumed fact, all of it is done once more with the fact refuted: the only retry there is. What a
//! failed start leaves in the store is removed by the attempt itself.
//!
//! # Not here
//! Flags and profiles (`front`, `profile`), what is printed about a run (`report`).

mod attempt;
mod refute;

use crate::host::{self, HostError, ProcessStatus};
use crate::launch::LaunchError;
use crate::plan::check::CheckError;
use crate::plan::facts::Refuted;
use crate::plan::{Facts, Plan, PlanError};
use crate::spec::Spec;
use crate::state::{Record, StateError};
use crate::supervise::SuperviseError;

/// A run that is over.
#[derive(Debug)]
pub struct Finished {
    /// Everything known of it.
    pub record: Record,
    /// Whether record and layers stay in the store.
    pub kept: bool,
}

/// Why there was no run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Looking at this machine.
    #[error(transparent)]
    Host(#[from] HostError),
    /// No plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A plan that breaks an invariant: a mistake of the planner, and nothing was started.
    #[error("cannot use the plan that was made")]
    Check(#[from] CheckError),
    /// The store.
    #[error(transparent)]
    State(#[from] StateError),
    /// The filter of system calls.
    #[error(transparent)]
    Seccomp(#[from] crate::confine::seccomp::SeccompError),
    /// The start.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The supervision.
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
}

/// What is done for a spec on this host, without doing it.
pub fn plan_only(spec: &Spec) -> Result<Plan, RunError> {
    let (facts, _) = host::probe(spec)?;
    checked_plan(spec, &facts)
}

/// Runs `spec`. Returns when every process of the sandbox has ended.
pub fn run(spec: &Spec) -> Result<Finished, RunError> {
    let (mut facts, status) = host::probe(spec)?;
    match attempt_with(spec, &facts) {
        Err(attempt::Failed::Refuted(fact, _)) => {
            remember(&facts, fact, &status);
            facts.refuted.insert(fact);
            attempt_with(spec, &facts).map_err(attempt::Failed::into_error)
        }
        other => other.map_err(attempt::Failed::into_error),
    }
}

fn attempt_with(spec: &Spec, facts: &Facts) -> Result<Finished, attempt::Failed> {
    let plan = checked_plan(spec, facts)?;
    attempt::carry_out(spec, facts, &plan)
}

fn checked_plan(spec: &Spec, facts: &Facts) -> Result<Plan, RunError> {
    let plan = crate::plan::plan(spec, facts)?;
    crate::plan::check::check(spec, &plan)?;
    Ok(plan)
}

/// The memory only saves the next run an attempt: that it cannot be written is no error of this run.
fn remember(facts: &Facts, fact: Refuted, status: &ProcessStatus) {
    for store in &facts.stores {
        if host::refuted::remember(&store.path, status, fact).is_ok() {
            return;
        }
    }
}
