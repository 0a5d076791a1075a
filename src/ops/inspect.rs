//! `bryo inspect`: everything known of a sandbox.

use super::error::OpsError;
use super::sweep::sweep;
use crate::state::{Record, Stores, Which};

/// The record of one sandbox as indented JSON.
pub fn inspect_json(stores: &Stores, which: Which<'_>) -> Result<String, OpsError> {
    inspect(stores, which)?.to_pretty_json().map_err(OpsError::Json)
}

/// The record of one sandbox, after sweeping: what it says of a run that was killed is right.
pub fn inspect(stores: &Stores, which: Which<'_>) -> Result<Record, OpsError> {
    sweep(stores)?;
    let found = stores.choose(which)?;
    let mut record = found.record()?;
    if record.spec.lifetime.health.is_some() && record.health.is_none() {
        record.health = found.health();
    }
    // It may have got another one since that was written.
    record.name = stores.names()?.remove(&found.id());
    Ok(record)
}
