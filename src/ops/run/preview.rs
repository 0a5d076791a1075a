//! `bryo run --dry-run`: what would be done.

use crate::host::Probe;
use crate::spec::Spec;
use crate::spec::text::pretty_json;

use super::again::Again;
use super::{RunError, attempt, checked_plan, foresee, join, verify_descriptors};

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
    if let Some(again) = &again {
        again.verify_hidden(&plan)?;
    }
    attempt::verify_filter(&plan)?;
    foresee::refuse_ways(spec)?;
    // What a layer holds, nobody looks at here.
    if again.is_none() {
        plan.notices.extend(foresee::foresee(spec, &facts)?);
    }
    plan.notices.extend(foresee::outside(spec));
    match form {
        PlanForm::Text => Ok(crate::plan::render::render(&plan)),
        PlanForm::Json => pretty_json(&plan).map_err(RunError::Encode),
    }
}
