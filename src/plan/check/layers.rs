//! Numbers of layers: each made once, used once, described.

use std::collections::BTreeSet;

use super::CheckError;
use crate::plan::facts::{Facts, StoreState};
use crate::plan::step::{Action, FsStep, Plan, ScratchEntry, Stage, StoreStep, Upper};
use crate::spec::{HostPath, Need, Spec};

/// Every layer is made once, before it is used once, and described.
pub(super) fn check_layers(spec: &Spec, facts: &Facts, plan: &Plan) -> Result<(), CheckError> {
    let (mut made, mut used, mut in_memory) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut opened = false;
    for (number, step) in (1..).zip(&plan.steps) {
        let wrong = Err(CheckError::Number { number, what: "the layer" });
        match &step.action {
            Action::Store(StoreStep::Open { store } | StoreStep::Take { store, .. }) => {
                if opened || plan.store.as_ref() != Some(store) {
                    return Err(CheckError::NotAsked { number, what: "a second store" });
                }
                opened = true;
            }
            Action::Store(StoreStep::Mask { store, entries, .. }) => {
                check_mask(facts, number, store, entries)?;
            }
            Action::Store(StoreStep::Layer(layer) | StoreStep::LayerAgain(layer))
                if !opened || !made.insert(*layer) || usize::from(layer.0) >= plan.layers.len() =>
            {
                return wrong;
            }
            Action::Fs(FsStep::Overlay {
                upper: Some(upper @ (Upper::Layer(layer) | Upper::Held(layer))),
                at,
                ..
            }) => {
                let described = plan.layers.get(usize::from(layer.0));
                let fits = described.is_some_and(|described| described.at == *at);
                check_size(spec, plan, number, *upper)?;
                if !made.contains(layer) || !used.insert(*layer) || !fits {
                    return wrong;
                }
            }
            Action::Fs(FsStep::Overlay {
                upper: Some(Upper::Scratch { number: n, .. }), ..
            }) if !in_memory.insert(*n) => {
                return wrong;
            }
            _ => {}
        }
    }
    if used.len() == plan.layers.len() && made.len() == used.len() {
        Ok(())
    } else {
        Err(CheckError::Missing {
            what: "make every layer that is described",
            stage: Stage::Prepare,
        })
    }
}

/// What is bounded by the spec is bounded by the plan, and by that number.
fn check_size(spec: &Spec, plan: &Plan, number: usize, upper: Upper) -> Result<(), CheckError> {
    let required = spec.limits.disk.as_ref().filter(|bound| bound.need == Need::Required);
    let held = plan.steps.iter().take(number).find_map(|step| match &step.action {
        Action::Fs(FsStep::Hold { size }) => Some(*size),
        _ => None,
    });
    match (required, upper, held) {
        (None, Upper::Layer(_), _) => Ok(()),
        (_, Upper::Held(_), Some(size))
            if spec.limits.disk.as_ref().is_some_and(|bound| bound.at == size) =>
        {
            Ok(())
        }
        _ => Err(CheckError::NotAsked { number, what: "a layer of another size" }),
    }
}

/// A mask is kept where the caller's layers may be, and holds nothing of the host.
fn check_mask(
    facts: &Facts,
    number: usize,
    store: &HostPath,
    entries: &[ScratchEntry],
) -> Result<(), CheckError> {
    let is_ours = |known: &crate::plan::facts::StoreCandidate| {
        known.path == *store && known.state == StoreState::Usable
    };
    let is_empty = |entry: &ScratchEntry| {
        matches!(entry, ScratchEntry::Directory { .. } | ScratchEntry::Whiteout { .. })
    };
    if !facts.stores.iter().any(is_ours) {
        return Err(CheckError::NotAsked { number, what: "a directory that is no store" });
    }
    if entries.iter().all(is_empty) {
        Ok(())
    } else {
        Err(CheckError::NotAsked { number, what: "files that are kept" })
    }
}
