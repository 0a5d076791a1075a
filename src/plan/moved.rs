//! Secrets where a variable leads: what goes wrong about one is told with the variable's name, which nobody would guess.
//!
//! # Decisions
//! - Where a variable calls secret what programs cannot run without, nothing is started: hidden, it would let any program end
//!   in an error that speaks of something else, and shown, it would not be what the variable says.

use super::error::PlanError;
use super::view::{Rank, Rules, View, fixed, is_indispensable};
use crate::spec::{HostPath, Spec, Text};

/// Where programs and their libraries are, besides what is indispensable itself.
const PROGRAMS: [&str; 6] =
    ["/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec"];

/// The variable that makes a place a secret; none where it is one by itself.
fn variable_of(spec: &Spec, secret: &HostPath) -> Option<Text> {
    let moved = spec.rootfs.moved.iter().find(|moved| moved.place == *secret);
    moved.map(|moved| moved.variable.clone())
}

/// The error with the variable, where one has to do with it.
pub(super) fn with_variable(error: PlanError, spec: &Spec) -> PlanError {
    match error {
        PlanError::LinkToSecret { asked, real, secret, flag, .. } => {
            let variable = variable_of(spec, &secret);
            PlanError::LinkToSecret { asked, real, secret, flag, variable }
        }
        PlanError::WorkdirInSecret { workdir, secret, .. } => {
            let variable = variable_of(spec, &secret);
            PlanError::WorkdirInSecret { workdir, secret, variable }
        }
        other => other,
    }
}

/// Refuses a variable that would have the system's own programs hidden.
pub(super) fn refuse_system(spec: &Spec, rules: &Rules) -> Result<(), PlanError> {
    for moved in &spec.rootfs.moved {
        let place = &moved.place;
        let is_needed =
            is_indispensable(place) || PROGRAMS.iter().any(|programs| *place == fixed(programs));
        let at = place.same_in_sandbox();
        let rule = rules.at(&at).filter(|_| is_needed);
        if rule.is_some_and(|rule| rule.view == View::Hidden && rule.rank == Rank::Secret) {
            let (variable, place) = (moved.variable.clone(), place.clone());
            return Err(PlanError::SecretSystem { variable, place });
        }
    }
    Ok(())
}
