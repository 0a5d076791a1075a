//! Puts in order what killed runs left, in every store.

use std::time::Duration;

use super::error::OpsError;
use super::foreign;
use crate::changes;
use crate::limits::group;
use crate::state::{Effort, Record, SandboxDirectory, StateError, Store, Stores, Swept};

/// Sweeps one store.
pub fn sweep_store(store: &Store, effort: Effort) -> Result<Swept, StateError> {
    let swept = store.sweep(&|sandbox, record| holds_changes(sandbox, record, effort), effort)?;
    for group in &swept.groups {
        let removed = match effort {
            Effort::Brief => group::remove_left(group, Duration::ZERO),
            Effort::Whole => foreign::remove_group(group, Duration::from_secs(2)),
        };
        // One that cannot be removed holds nothing and bounds nobody; the next run in its base tries again.
        removed.unwrap_or_default();
    }
    Ok(swept)
}

fn holds_changes(sandbox: &SandboxDirectory, record: &Record, effort: Effort) -> bool {
    let open = |number| Ok(sandbox.open_upper(number)?);
    changes::written::<OpsError>(&record.layers, open, effort)
}

/// Sweeps all stores as far as that takes no time, for a command that is about something else. What cannot be put in
/// order now is told by the commands that list sandboxes.
pub fn sweep_briefly(stores: &Stores) {
    for store in stores.iter() {
        drop(sweep_store(store, Effort::Brief));
    }
}

/// Sweeps all stores, wholly.
pub fn sweep(stores: &Stores) -> Result<Swept, StateError> {
    let mut all = Swept::default();
    for store in stores.iter() {
        let swept = sweep_store(store, Effort::Whole)?;
        all.killed.extend(swept.killed);
        all.removed.extend(swept.removed);
        all.failed.extend(swept.failed);
    }
    let is_foreign = |error: &StateError| matches!(error, StateError::ForeignIds { .. });
    if all.failed.iter().any(is_foreign) && foreign::empty_all(stores) == Some(true) {
        all.failed.retain(|error| !is_foreign(error));
    }
    Ok(all)
}
