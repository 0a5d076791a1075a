//! Counts the changes of sandboxes whose record lacks the number: they were killed, or wrote more than the end of a run
//! has time to count.
//!
//! What is found is written to the record, so that it is counted once.

use super::error::OpsError;
use crate::changes::{self, Changes};
use crate::state::record::ChangeCounts;
use crate::state::{Found, Record, SandboxDirectory};

/// Changes that are counted: beyond that the record says "at least".
const MOST_COUNTED: u64 = 1_000_000;

/// Counts what the layers of a sandbox hold, and writes it to the record. None when it is in use just
/// now, or cannot be read: then nothing is known.
pub fn complete(found: &Found) -> Option<(ChangeCounts, Option<u64>)> {
    let sandbox = found.lock().ok()?;
    let mut record = sandbox.record().ok()?;
    measure(&sandbox, &mut record).ok()?;
    // What cannot be written is counted again next time.
    drop(sandbox.replace_record(&record));
    Some((record.changes?, record.size))
}

/// Counts what the layers hold now, into the record.
pub(super) fn measure(sandbox: &SandboxDirectory, record: &mut Record) -> Result<(), OpsError> {
    let open = |number| Ok(sandbox.open_upper(number)?);
    let changes = Changes::open::<OpsError>(&record.layers, open)?;
    let (counts, size) = changes::measure(changes, MOST_COUNTED);
    record.changes = Some(counts);
    record.size = Some(size.unwrap_or_else(|| sandbox.usage().bytes));
    Ok(())
}
