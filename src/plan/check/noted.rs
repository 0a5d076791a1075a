//! Whether later runs are told what the payload can write: the note is taken before there is a payload, in a store of the
//! caller's, and names each directory.

use super::CheckError;
use super::sight::is_directory;
use super::tree::{Tree, What};
use crate::plan::facts::{Facts, StoreState};
use crate::plan::step::{Action, MountAccess, Plan, Stage, StoreStep};
use crate::spec::HostPath;

/// Every directory of the host that is written straight is noted.
pub(super) fn check_noted(facts: &Facts, plan: &Plan, tree: &Tree<'_>) -> Result<(), CheckError> {
    let mut noted: Vec<&HostPath> = Vec::new();
    for (number, step) in (1..).zip(&plan.steps) {
        let Action::Store(StoreStep::Note { store, places }) = &step.action else { continue };
        let is_ours = |known: &crate::plan::facts::StoreCandidate| {
            known.path == *store && known.state == StoreState::Usable
        };
        if !facts.stores.iter().any(is_ours) {
            return Err(CheckError::NotAsked { number, what: "a directory that is no store" });
        }
        noted.extend(places);
    }
    let is_noted = |from: &HostPath| noted.iter().any(|place| from.starts_with(place));
    let unknown = tree.mounts.iter().any(|mounted| match &mounted.what {
        What::Bind { from, .. } if mounted.access != MountAccess::ReadOnly => {
            is_directory(facts, from) && !is_noted(from)
        }
        _ => false,
    });
    if unknown {
        let what = "note what the payload can write";
        return Err(CheckError::Missing { what, stage: Stage::Prepare });
    }
    Ok(())
}
