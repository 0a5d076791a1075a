//! Puts in order what killed runs left, in every store.

use super::error::OpsError;
use crate::changes;
use crate::state::{Record, SandboxDirectory, StateError, Store, Stores, Swept};

/// Whether the layers of a sandbox hold changes: what decides whether it is kept.
pub fn holds_changes(sandbox: &SandboxDirectory, record: &Record) -> bool {
    changes::written::<OpsError>(&record.layers, |number| Ok(sandbox.open_upper(number)?))
}

/// Sweeps one store.
pub fn sweep_store(store: &Store) -> Result<Swept, StateError> {
    store.sweep(&holds_changes)
}

/// Sweeps all stores.
pub fn sweep(stores: &Stores) -> Result<Swept, StateError> {
    let mut all = Swept::default();
    for store in stores.iter() {
        let swept = sweep_store(store)?;
        all.killed.extend(swept.killed);
        all.removed.extend(swept.removed);
        all.failed.extend(swept.failed);
    }
    Ok(all)
}
