//! The part of a record that is about a layer: where it lies, and which of the host's files below it the sandbox saw.

use super::record::{LayerRecord, Mark};
use crate::plan::Plan;
use crate::plan::step::{
    Action, FsStep, Layer, LayerNumber, Lower, ScratchEntry, ScratchLayer, StoreStep, Upper,
};
use crate::spec::{SandboxPath, order};

/// The layers of a plan, with what of the host each let be seen.
pub(super) fn layer_records(plan: &Plan, marks: &[Mark]) -> Vec<LayerRecord> {
    let record = |(n, layer): (usize, &Layer)| {
        let view = u16::try_from(n).ok().and_then(|n| View::of(plan, LayerNumber(n)));
        let View { masked, shown } = view.unwrap_or_default();
        let Mark { time: mark, root } = marks.get(n).copied().unwrap_or_default();
        LayerRecord { layer: layer.clone(), masked, shown, mark, root }
    };
    plan.layers.iter().enumerate().map(record).collect()
}

/// What of the host's directory the scratch layers between it and the layer let be seen.
#[derive(Default)]
struct View {
    masked: Vec<SandboxPath>,
    shown: Option<Vec<SandboxPath>>,
}

impl View {
    /// Of the overlay with this upper layer.
    fn of(plan: &Plan, number: LayerNumber) -> Option<Self> {
        let lower = plan.steps.iter().find_map(|step| match &step.action {
            Action::Fs(FsStep::Overlay {
                lower,
                upper: Some(Upper::Layer(upper) | Upper::Held(upper)),
                ..
            }) if *upper == number => Some(lower),
            _ => None,
        })?;
        let mut view = Self::default();
        let mut made = Vec::new();
        for layer in lower {
            match layer {
                Lower::Scratch(scratch) => view.add(entries_of(plan, *scratch), &mut made),
                // What lies below the host's directory is not the host's.
                Lower::Host { .. } => return Some(view.sorted()),
            }
        }
        view.shown = Some(made);
        Some(view.sorted())
    }

    fn add(&mut self, entries: &[ScratchEntry], made: &mut Vec<SandboxPath>) {
        for entry in entries {
            match entry {
                ScratchEntry::Whiteout { path } => self.masked.push(path.clone()),
                ScratchEntry::Directory { path, .. }
                | ScratchEntry::Link { path, .. }
                | ScratchEntry::Copy { path, .. }
                | ScratchEntry::Placeholder { path } => made.push(path.clone()),
            }
        }
    }

    fn sorted(mut self) -> Self {
        for list in [Some(&mut self.masked), self.shown.as_mut()].into_iter().flatten() {
            order::sort(list);
            list.dedup();
        }
        self
    }
}

fn entries_of(plan: &Plan, wanted: ScratchLayer) -> &[ScratchEntry] {
    let entries = plan.steps.iter().find_map(|step| match &step.action {
        Action::Fs(FsStep::ScratchLayer { layer, entries, .. })
        | Action::Store(StoreStep::Mask { layer, entries, .. })
            if *layer == wanted =>
        {
            Some(entries.as_slice())
        }
        _ => None,
    });
    entries.unwrap_or_default()
}
