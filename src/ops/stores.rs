//! Where the caller's sandboxes are, and which one a command is about.

use super::error::OpsError;
use crate::host::Probe;
use crate::plan::facts::StoreSource;
use crate::spec::{HostPath, Text};
use crate::state::{Stores, Which};

/// The stores there are, and the directory the caller is in.
#[derive(Debug)]
pub struct Here {
    /// Every store that may hold sandboxes of the caller's; the one of `$BRYO_STORE` alone when it is
    /// set.
    pub stores: Stores,
    /// The current directory; none when it was deleted or cannot be read.
    workdir: Option<HostPath>,
    /// Their home directory, if they have one.
    pub home: Option<HostPath>,
}

impl Here {
    /// Looks at the environment and opens what is there. Makes nothing.
    pub fn look() -> Result<Self, OpsError> {
        // What `/proc` tells of a process is nothing to a store.
        let mut probe = Probe::blind();
        probe.store_places()?;
        let facts = probe.finish();
        let named = facts.stores.iter().any(|store| store.source == StoreSource::Variable);
        let wanted = |source| !named || source == StoreSource::Variable;
        let paths: Vec<HostPath> = facts
            .stores
            .iter()
            .filter(|store| wanted(store.source))
            .map(|store| store.path.clone())
            .collect();
        let workdir = facts.caller.workdir.path().cloned();
        Ok(Self { stores: Stores::open(&paths)?, workdir, home: facts.caller.home })
    }

    /// The sandbox with this name, or the newest one that was started from the current directory.
    pub fn which<'a>(&'a self, named: Option<&'a Text>) -> Result<Which<'a>, OpsError> {
        match (named, &self.workdir) {
            (Some(name), _) => Ok(Which::Named(name)),
            (None, Some(workdir)) => Ok(Which::NewestFrom(workdir)),
            (None, None) => Err(OpsError::NoWorkdir),
        }
    }
}
