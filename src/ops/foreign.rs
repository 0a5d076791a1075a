//! Removes what payloads with subordinate ids wrote, which is not the caller's to remove, and the control groups
//! that they gave to others of their ids.
//!
//! # Theory of operation
//! What is to go is in a store's trash by then, or is the group of a run that ended. The rest is done with the ids that the payload had: in a user
//! namespace that the same helpers map, where the caller has all rights on their files. Where that cannot be
//! had (no helpers, other ranges by now) it stays in the trash, and the error says what is missing.

use std::time::Duration;

use crate::host::Probe;
use crate::launch::within;
use crate::limits::group;
use crate::plan::plan_all_ids;
use crate::spec::HostPath;
use crate::state::{StateError, Stores};
use crate::sys::errno::Errno;

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
    with_all_ids(|| stores.iter().all(|store| store.empty_trash_wholly().is_empty()))
}

/// Removes the control group that a run left, also where its payload has given groups in it to others of its ids.
pub(super) fn remove_group(group: &HostPath, patience: Duration) -> Result<(), Errno> {
    match group::remove_left(group, patience) {
        Err(Errno::EACCES | Errno::EPERM)
            if with_all_ids(|| group::clear_left(group, patience).is_ok()) == Some(true) =>
        {
            group::remove_left(group, patience)
        }
        other => other,
    }
}

/// Whether this work was done; none where the ids cannot be had.
fn with_all_ids(work: impl FnOnce() -> bool) -> Option<bool> {
    let caller = Probe::begin().ok()?.finish().caller;
    let mut probe = Probe::begin().ok()?;
    probe.account(caller.uid, caller.gid).ok()?;
    probe.subids().ok()?;
    let maps = plan_all_ids(&probe.finish()).ok()?;
    within(&maps, work).ok()
}
