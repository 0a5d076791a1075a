//! The sandbox whose network a run shares.

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::RunError;
use crate::launch::Door;
use crate::ops::stores::Here;
use crate::ops::sweep::sweep;
use crate::plan::facts::Target;
use crate::spec::{Network, Spec, Text};
use crate::state::{Found, Record};

/// A sandbox that ran when it was looked for.
pub(super) struct Shared {
    found: Found,
    target: Target,
}

impl Shared {
    /// Finds it; none for a run that shares nobody's.
    ///
    /// Errors: there is none of that name, it does not run, its record cannot be read.
    pub(super) fn find(spec: &Spec) -> Result<Option<Self>, RunError> {
        let Network::Sandbox(wanted) = &spec.network else { return Ok(None) };
        let here = Here::look().map_err(|error| RunError::Look(Box::new(error)))?;
        sweep(&here.stores)?;
        let found = here.stores.find(wanted.as_bytes())?;
        if !found.is_running()? {
            return Err(RunError::NotRunning(wanted.clone()));
        }
        let target = target(&found.record()?);
        Ok(Some(Self { found, target }))
    }

    /// What the plan has to know of it.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// The way into its namespaces.
    pub(super) fn door(&self) -> Result<Door, RunError> {
        let sandbox = || self.target.sandbox.clone();
        let (pid, process) = self.found.launcher()?;
        let door = Door::of_sandbox(pid)
            .map_err(|source| RunError::Processes { sandbox: sandbox(), source })?
            .ok_or_else(|| RunError::NoProgram(sandbox()))?;
        // Had it ended meanwhile, its number could have been another's whose sandbox this is.
        let mut ended = [PollFd::new(&process, PollFlags::IN)];
        let ended = poll(&mut ended, Some(&Timespec::default()));
        if ended != Ok(0) {
            return Err(RunError::NotRunning(sandbox()));
        }
        Ok(door)
    }
}

/// Of one that shares another's network it is that one's.
fn target(record: &Record) -> Target {
    let sandbox = Text::from(record.id.as_str());
    let spec = &record.spec;
    match &record.target {
        Some(target) => Target { sandbox, ..target.clone() },
        None => Target {
            sandbox,
            ids: spec.ids,
            network: spec.network.clone(),
            capable: !spec.confine.capabilities.is_empty(),
            nests: spec.confine.nesting,
        },
    }
}
