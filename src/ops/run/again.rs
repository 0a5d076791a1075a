//! Which sandbox a run goes on with: the one that `--continue` names, or the one that has its name.
//!
//! # Theory of operation
//! What is hidden in a layer is hidden below it: what the layer itself holds is seen. So where this run hides a place,
//! nothing may be there that could be the host's. What the layer got in a place while that was hidden is the
//! payload's own; and whatever the run before this one hid, it had held against the layer likewise. All other places
//! have to be free in the layer, which nobody else can write to once it is locked.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use super::RunError;
use crate::changes::apply::was_interrupted;
use crate::changes::{ChangesError, Standing, standing, take_origins};
use crate::ops::stores::Here;
use crate::ops::sweep::sweep;
use crate::plan::Plan;
use crate::plan::again::{Earlier, plan_again};
use crate::plan::step::{Backend, Layer, LayerNumber};
use crate::report::quote::shell_command;
use crate::spec::command::Keep;
use crate::spec::{HostPath, SandboxPath, Spec, Text};
use crate::state::record::LayerRecord;
use crate::state::{Found, LayerDirectories, Record, SandboxDirectory, SandboxId, StateError};

/// A layer holds something in places that are to be hidden.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot go on with sandbox `{sandbox}`: this run hides {}, and what was written there before would be seen",
    named(.places)
)]
pub struct StillSeen {
    /// Which.
    sandbox: SandboxId,
    /// What its layers hold, by its names on the host; never empty.
    places: Vec<HostPath>,
}

fn named(places: &[HostPath]) -> String {
    match places {
        [only] => format!("`{only}`"),
        [first, others @ ..] => format!("`{first}` and {} more", others.len()),
        [] => String::new(),
    }
}

impl StillSeen {
    /// What to do about it.
    pub(super) fn hint(&self) -> String {
        let words = ["bryo", "discard", self.sandbox.as_str()].map(std::ffi::OsStr::new);
        let places = self.places.iter().map(|place| place.as_path().as_os_str());
        let discard = shell_command(words.into_iter().chain(places));
        format!("{discard} drops that from the sandbox; or run it under another name")
    }
}

/// A sandbox that ended, and what its record says.
pub(super) struct Again {
    pub(super) found: Found,
    pub(super) record: Record,
    store: HostPath,
    layers: Vec<Layer>,
    /// Its directory, when this process has it already.
    held: RefCell<Option<SandboxDirectory>>,
}

impl Again {
    /// Finds it; none for a run with layers of its own.
    ///
    /// Errors: `--continue` names none, it runs, its record cannot be read.
    pub(super) fn find(spec: &Spec) -> Result<Option<Self>, RunError> {
        let (name, must_be) = match (&spec.lifetime.continues, &spec.name) {
            (Some(wanted), _) => (wanted.clone(), true),
            (None, Some(name)) => (Text::from(name.as_str()), false),
            (None, None) => return Ok(None),
        };
        let here = Here::look().map_err(|error| RunError::Look(Box::new(error)))?;
        sweep(&here.stores)?;
        let found = if must_be {
            here.stores.find(name.as_bytes())?
        } else {
            match here.stores.named(name.as_bytes())? {
                Some(found) => found,
                None => return Ok(None),
            }
        };
        if found.is_running()? {
            return Err(RunError::Busy(name));
        }
        if spec.lifetime.keep == Keep::Nothing {
            return Err(RunError::WouldRemove(name));
        }
        let record = found.record()?;
        Ok(Some(Self::new(found, record, None)))
    }

    /// One that this process has run just now.
    pub(super) fn held(directory: SandboxDirectory, record: Record) -> Self {
        Self::new(directory.as_found(), record, Some(directory.for_another_run()))
    }

    fn new(found: Found, record: Record, held: Option<SandboxDirectory>) -> Self {
        let layers = record.layers.iter().map(|record| record.layer.clone()).collect();
        let store = found.store_path().clone();
        Self { store, found, record, layers, held: RefCell::new(held) }
    }

    /// The plan that goes on with it.
    pub(super) fn plan(&self, plan: Plan, spec: &Spec) -> Result<Plan, RunError> {
        let id = self.found.id();
        let earlier = Earlier {
            sandbox: id.as_str(),
            store: &self.store,
            ids: self.record.spec.ids,
            layers: &self.layers,
            named: &self.record.named,
        };
        Ok(plan_again(plan, spec.ids, &earlier)?)
    }

    /// Whether it holds nothing that `plan` is to hide. It is not locked: that may change.
    pub(super) fn verify_hidden(&self, plan: &Plan) -> Result<(), RunError> {
        Uppers::open(&self.record, |number| self.found.open_upper(number))?
            .verify_hidden(&self.record, plan)
    }

    /// Locks it. Between the look at it and this it may have begun to run.
    pub(super) fn lock(&self) -> Result<SandboxDirectory, RunError> {
        if let Some(held) = self.held.take() {
            return Ok(held);
        }
        match self.found.lock() {
            Err(StateError::Running(id)) => Err(RunError::Busy(Text::from(id.as_str()))),
            other => {
                let directory = other?;
                if was_interrupted(&directory)? {
                    return Err(RunError::ApplyInterrupted(directory.id()));
                }
                Ok(directory)
            }
        }
    }

    /// The record of the locked sandbox, which must tell of the layers that were planned with.
    pub(super) fn unchanged(&self, directory: &SandboxDirectory) -> Result<Record, RunError> {
        let record = directory.record()?;
        if record.layers == self.record.layers {
            Ok(record)
        } else {
            Err(RunError::Busy(Text::from(record.id.as_str())))
        }
    }
}

/// The layers of a sandbox, to be looked into.
pub(super) struct Uppers(Vec<(Option<OwnedFd>, Backend)>);

impl Uppers {
    /// Of one that is locked.
    pub(super) fn of(directory: &SandboxDirectory, record: &Record) -> Result<Self, StateError> {
        Self::open(record, |number| directory.open_upper(number))
    }

    fn open(
        record: &Record,
        mut open: impl FnMut(LayerNumber) -> Result<Option<OwnedFd>, StateError>,
    ) -> Result<Self, StateError> {
        let upper = |(number, record): (LayerNumber, &LayerRecord)| {
            Ok((open(number)?, record.layer.backend))
        };
        let uppers = (0..).map(LayerNumber).zip(&record.layers).map(upper);
        uppers.collect::<Result<_, _>>().map(Self)
    }

    fn standing(&self, number: LayerNumber, place: &SandboxPath) -> Standing {
        match self.0.get(usize::from(number.0)) {
            Some((Some(upper), backend)) => standing(upper, *backend, place),
            _ => Standing::Below,
        }
    }

    /// Whether a layer decides what is seen in a place, and not the host.
    pub(super) fn has(&self, number: LayerNumber, place: &SandboxPath) -> bool {
        self.standing(number, place) != Standing::Below
    }

    /// Nothing is seen where the layers of `plan` hide something that the run of `record` did not hide.
    pub(super) fn verify_hidden(&self, record: &Record, plan: &Plan) -> Result<(), RunError> {
        let mut places = BTreeSet::new();
        let layers = (0..).map(LayerNumber).zip(plan.layers.iter().zip(&record.layers));
        for (number, (layer, had)) in layers {
            let were: BTreeSet<&SandboxPath> = hidden(had, record).iter().collect();
            let root = layer.over.clone().unwrap_or_else(|| layer.at.same_on_host());
            for place in &layer.hidden {
                let mut way = std::iter::once(place.clone()).chain(place.ancestors());
                if !were.contains(place)
                    && let Standing::Held(held) = self.standing(number, place)
                    && !way.any(|above| were.contains(&above))
                {
                    places.extend(held.moved(&SandboxPath::root(), &root));
                }
            }
        }
        if places.is_empty() {
            return Ok(());
        }
        let mut outer: Vec<HostPath> = Vec::new();
        for place in places {
            // What is dropped goes with all that is in it.
            if outer.last().is_none_or(|last| !place.starts_with(last)) {
                outer.push(place);
            }
        }
        Err(StillSeen { sandbox: record.id, places: outer }.into())
    }
}

/// What was hidden in a layer in the run of its record. One that was written before that was said tells of masks alone,
/// and those are of its only run if it had no other.
fn hidden<'r>(had: &'r LayerRecord, record: &Record) -> &'r [SandboxPath] {
    match &had.layer.hidden[..] {
        [] if record.earlier.is_empty() => &had.masked,
        hidden => hidden,
    }
}

/// Takes a layer as it is; notes that would mislead its server go.
pub(super) fn take_layer(
    directory: &mut SandboxDirectory,
    number: LayerNumber,
    layer: &Layer,
) -> Result<LayerDirectories, RunError> {
    if layer.backend == Backend::Fuse
        && let Some(upper) = directory.open_upper(number)?
    {
        let path = layer.over.clone().unwrap_or_else(|| layer.at.same_on_host());
        take_origins(upper).map_err(|source| ChangesError::Forget { path, source })?;
    }
    Ok(directory.take_layer(number, layer)?)
}
