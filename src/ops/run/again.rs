//! Which sandbox a run goes on with: the one that `--continue` names, or the one that has its name.

use std::cell::RefCell;

use super::RunError;
use crate::changes::apply::was_interrupted;
use crate::changes::{ChangesError, take_origins};
use crate::ops::stores::Here;
use crate::ops::sweep::sweep;
use crate::plan::Plan;
use crate::plan::again::{Earlier, plan_again};
use crate::plan::step::{Backend, Layer, LayerNumber};
use crate::spec::command::Keep;
use crate::spec::{HostPath, Spec, Text};
use crate::state::{Found, LayerDirectories, Record, SandboxDirectory, StateError};

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
