//! Removes a whole sandbox.
//!
//! # Decisions
//! - One whose apply was interrupted stays until that is finished: what the apply left beside its place on the
//!   host is known to its journal alone, which would go with it.

use super::error::OpsError;
use super::foreign;
use crate::changes::apply::was_interrupted;
use crate::state::{SandboxDirectory, Stores};

/// What happens to one whose apply was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfinished {
    /// It is refused.
    Refuse,
    /// It goes, and what the apply left on the host stays there.
    Remove,
}

/// Removes a locked sandbox with all it holds.
pub(super) fn remove(
    stores: &Stores,
    sandbox: SandboxDirectory,
    unfinished: Unfinished,
) -> Result<(), OpsError> {
    // Who removes by force does so also when the journal cannot be read.
    if unfinished == Unfinished::Refuse && was_interrupted(&sandbox)? {
        return Err(OpsError::RemovesUnfinished(sandbox.id()));
    }
    let farewell = sandbox.farewell();
    foreign::settle(stores, sandbox.remove())?;
    farewell.tell_removal();
    Ok(())
}
