//! `bryo run --dry-run`: what would be done.

use crate::host::Probe;
use crate::plan::facts::Facts;
use crate::plan::step::Notice;
use crate::plan::{PlanError, program_places};
use crate::spec::text::pretty_json;
use crate::spec::{HostPath, Spec};

use super::again::Again;
use super::{RunError, attempt, checked_plan, join, verify_descriptors};

/// How a plan is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanForm {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What would be done for a spec on this host.
pub fn plan_only(spec: &Spec, form: PlanForm) -> Result<String, RunError> {
    verify_descriptors(&spec.command.descriptors.pass)?;
    let again = Again::find(spec)?;
    let known = again.as_ref().map_or(&[][..], |again| &again.record.named);
    let mut facts = Probe::begin()?.knowing(known).facts_for(spec)?;
    join::look(spec, &mut facts)?;
    let mut plan = checked_plan(spec, &facts, again.as_ref())?;
    attempt::verify_filter(&plan)?;
    // What a layer holds, nobody looks at here.
    if again.is_none() && has_no_program(spec, &facts)? {
        plan.notices.extend(spec.command.argv.first().cloned().map(Notice::NoProgram));
    }
    match form {
        PlanForm::Text => Ok(crate::plan::render::render(&plan)),
        PlanForm::Json => pretty_json(&plan).map_err(RunError::Encode),
    }
}

/// Whether it is certain that the program would not be found.
fn has_no_program(spec: &Spec, facts: &Facts) -> Result<bool, PlanError> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    // Of what cannot be looked at nobody knows.
    let is_absent = |path: &HostPath| {
        std::fs::symlink_metadata(path.as_path())
            .is_err_and(|error| matches!(error.kind(), NotFound | NotADirectory))
    };
    Ok(program_places(spec, facts)?.is_some_and(|places| places.iter().all(is_absent)))
}
