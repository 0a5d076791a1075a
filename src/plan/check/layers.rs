//! Numbers of layers: each made once, used once, described.

use std::collections::BTreeSet;

use super::{CheckError, order};
use crate::plan::facts::{Facts, StoreState};
use crate::plan::step::{
    Action, ConfineStep, FsStep, Plan, Room, ScratchEntry, Stage, StoreStep, Upper,
};
use crate::spec::{HostPath, Need, SandboxPath, Spec};

/// Every layer is made once, before it is used once, and described.
pub(super) fn check_layers(spec: &Spec, facts: &Facts, plan: &Plan) -> Result<(), CheckError> {
    let (mut made, mut used, mut in_memory) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut opened = false;
    check_room(spec, plan)?;
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
                upper: Some(Upper::Layer(layer) | Upper::Held(layer)),
                at,
                ..
            }) => {
                let described = plan.layers.get(usize::from(layer.0));
                let fits = described.is_some_and(|described| described.at == *at);
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

/// What is bounded by the spec is bounded by the plan: layers are in what holds all, and that with every
/// writable file system beside it has just the room that was given.
fn check_room(spec: &Spec, plan: &Plan) -> Result<(), CheckError> {
    let bound = spec.limits.disk.as_ref().filter(|bound| bound.need != Need::Off);
    let wrong = |number| CheckError::NotAsked { number, what: "room of another size" };
    let numbered = || (1..).zip(plan.steps.iter().map(|step| &step.action));
    let holds = |action: &Action| matches!(action, Action::Fs(FsStep::Hold { .. }));
    let Some((hold, _)) = numbered().find(|(_, action)| holds(action)) else {
        return match numbered().find(|(_, action)| is_held(action)) {
            Some((number, _)) => Err(wrong(number)),
            None if bound.is_some_and(|bound| bound.need == Need::Required) => {
                Err(CheckError::Missing { what: "bound what is written", stage: Stage::Sandbox })
            }
            None => Ok(()),
        };
    };
    check_attributes(plan)?;
    let mut sum = 0_u64;
    for (number, action) in numbered() {
        sum = sum.saturating_add(room_of(plan, action).ok_or(wrong(number))?);
    }
    if bound.is_some_and(|bound| bound.at == sum) { Ok(()) } else { Err(wrong(hold)) }
}

/// Access lists, which no file system and no control group counts, are short.
pub(super) fn check_attributes(plan: &Plan) -> Result<(), CheckError> {
    let stage = Stage::Payload;
    let is_filter =
        |action: &Action| matches!(action, Action::Confine(ConfineStep::ShortAttributes));
    let no_new_privs = |action: &Action| matches!(action, Action::Confine(ConfineStep::NoNewPrivs));
    let filter = order::only(plan, stage, "refuse long attributes", is_filter)?;
    let no_new_privs = order::only(plan, stage, "set no_new_privs", no_new_privs)?;
    order::before(no_new_privs, filter, "a filter needs no_new_privs")
}

/// Bytes that a step gives to be written, beside what is held; none where they are not bounded.
fn room_of(plan: &Plan, action: &Action) -> Option<u64> {
    match action {
        Action::Fs(FsStep::Hold { size }) => Some(*size),
        Action::Fs(FsStep::Tmpfs { at, room: Room::Own(size), .. }) if !is_sealed(plan, at) => {
            *size
        }
        Action::Fs(FsStep::Overlay { upper: Some(_), .. }) if !is_held(action) => None,
        _ => Some(0),
    }
}

fn is_held(action: &Action) -> bool {
    matches!(
        action,
        Action::Fs(
            FsStep::Tmpfs { room: Room::Held, .. }
                | FsStep::Overlay { upper: Some(Upper::Held(_)), .. }
        )
    )
}

fn is_sealed(plan: &Plan, place: &SandboxPath) -> bool {
    let seals = |action: &Action| matches!(action, Action::Fs(FsStep::Seal { at }) if at == place);
    plan.steps.iter().any(|step| seals(&step.action))
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
