//! Removes what payloads with subordinate ids wrote, which is not the caller's to remove.
//!
//! # Theory of operation
//! What is to go is in a store's trash by then. The rest is done with the ids that the payload had: in a user
//! namespace that the same helpers map, where the caller has all rights on their files. Where that cannot be
//! had (no helpers, other ranges by now) it stays in the trash, and the error says what is missing.

use crate::host::Probe;
use crate::launch::within;
use crate::plan::plan_all_ids;
use crate::state::{StateError, Stores};

/// Goes on with a removal that failed: none when it is done now, else the error it failed with.
pub(super) fn settle(stores: &Stores, failed: Result<(), StateError>) -> Result<(), StateError> {
    match failed {
        Err(error @ StateError::ForeignIds { .. }) => {
            if empty_all(stores).unwrap_or(false) {
                Ok(())
            } else {
                Err(error)
            }
        }
        other => other,
    }
}

/// Empties the trash of every store with all of the caller's ids; none where those cannot be had.
pub(super) fn empty_all(stores: &Stores) -> Option<bool> {
    let caller = Probe::begin().ok()?.finish().caller;
    let mut probe = Probe::begin().ok()?;
    probe.account(caller.uid, caller.gid).ok()?;
    probe.subids().ok()?;
    let maps = plan_all_ids(&probe.finish()).ok()?;
    let empty = || stores.iter().all(|store| store.empty_trash_wholly().is_empty());
    within(&maps, empty).ok()
}
