//! The limit of the size of files, which the caller has and bryo's own files are under too.
//!
//! # Decisions
//! A run whose last record could not be written would leave a directory that nobody shelves, and a log that cannot
//! reach its bound would never turn: such a run is refused before anything is made. The limit is not raised meanwhile, be
//! it possible: the payload is to have it, and so is every process between.

use super::RunError;
use crate::spec::Spec;
use crate::state::log;
use crate::sys::errno::Errno;
use crate::sys::resource::{Resource, get_limit};

/// Bytes that a record may come to: ten times one of a run with every flag.
const RECORD: u64 = 256 << 10;

/// Refuses a run whose files in the store may get larger than the caller's may.
pub(super) fn verify_size(spec: &Spec) -> Result<(), RunError> {
    let log = spec.lifetime.detached.as_ref().map_or(0, |detached| log::largest(detached.log));
    let least = log.max(RECORD);
    let limit = get_limit(None, Resource::FileSize).map_err(RunError::Descriptor)?;
    if limit.soft.is_none_or(|most| most >= least) {
        return Ok(());
    }
    Err(RunError::Size { least, source: Errno::EFBIG })
}
