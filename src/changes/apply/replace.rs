//! Puts something in the place of something else where names cannot be exchanged: on NFS, vfat, some FUSE ones.
//!
//! # Theory of operation
//! A file for a file: what goes gets a second name that nobody knows, is looked at, and the new one is renamed
//! over it; then it is looked at once more under its second name, and that goes. Nobody finds the place empty, or
//! half a file in it. Where there are no second names (vfat), and where a directory comes or goes, what goes is renamed
//! aside, looked at, and the new one renamed to the free name.
//!
//! # Decisions
//! - Weaker than an exchange, knowingly: who *renames* a file into the place between the look and the rename, two
//!   calls later, loses it. Who writes to the old one is noticed, and keeps it. Where it goes aside the place is empty
//!   for these two calls.
//! - The second name follows from the temporary one, so the journal need not tell it: a recovery looks for it.

use std::ffi::{CStr, CString};

use rustix::fs::{AtFlags, linkat, renameat, unlinkat};
use rustix::io::Errno;

use super::action::{Conflict, What, Why};
use super::batch::Slot;
use super::execute::Executor;
use super::rename::{appear, examine, rename_to_free};
use super::seen::Seen;
use super::{ApplyError, tree};

/// How what goes is kept until it may go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// It stands in its place still, and has a second name.
    Both,
    /// It was renamed.
    Aside,
}

/// The name under which what goes is kept.
pub(super) fn second_name(temporary: &CStr) -> Result<CString, Errno> {
    CString::new([temporary.to_bytes(), b"~"].concat()).map_err(|_| Errno::INVAL)
}

impl Executor<'_> {
    /// Puts what was prepared where something else stands.
    pub(super) fn replace(
        &mut self,
        slot: &Slot,
        old: &Seen,
    ) -> Result<Result<(), Why>, ApplyError> {
        let (directory, name) = (&*slot.host.directory, &*slot.host.name);
        let action = &self.plan.actions[slot.index];
        let failed = |source| ApplyError::Path { path: action.path.clone(), source };
        let aside = second_name(&slot.temporary).map_err(failed)?;
        self.step()?;
        let are_files = !old.is_directory() && action.what != What::Directory;
        let keeps = match keep(slot, &aside, are_files) {
            Ok(keeps) => keeps,
            Err(Errno::NOENT) => return Ok(Err(Why::Conflict(Conflict::Meanwhile))),
            Err(error) => return Ok(Err(Why::Failed(error))),
        };
        self.step()?;
        let looked = self.is_old(slot, &aside, old).and_then(|()| match keeps {
            Keeps::Aside => Ok(()),
            Keeps::Both => match Seen::at(directory, name).map_err(Why::Failed)? {
                Some(now) if now.inode == old.inode => Ok(()),
                _ => Err(Why::Conflict(Conflict::Meanwhile)),
            },
        });
        if let Err(why) = looked {
            return undo(slot, &aside, keeps).map_err(failed).map(|()| Err(why));
        }
        self.step()?;
        let put = match keeps {
            Keeps::Both => {
                renameat(directory, &*slot.temporary, directory, name).map_err(Why::Failed)
            }
            Keeps::Aside => appear(slot),
        };
        if let Err(why) = put {
            return undo(slot, &aside, keeps).map_err(failed).map(|()| Err(why));
        }
        self.step()?;
        let gone = self
            .is_old(slot, &aside, old)
            .and_then(|()| tree::remove(directory, &aside).map_err(Why::Failed));
        let Err(why) = gone else { return Ok(Ok(())) };
        // Back to how it was, as an exchange would be.
        rename_to_free(directory, name, &slot.temporary).map_err(failed)?;
        undo(slot, &aside, Keeps::Aside).map_err(failed).map(|()| Err(why))
    }

    /// What is kept must be what the plan saw.
    fn is_old(&self, slot: &Slot, aside: &CStr, old: &Seen) -> Result<(), Why> {
        let action = &self.plan.actions[slot.index];
        let at = (&*slot.host.directory, aside);
        match examine(self.places, self.own, action, at, old) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Why::Conflict(Conflict::Meanwhile)),
            Err(error) => Err(Why::Failed(error)),
        }
    }
}

/// Gives what goes a second name, or another.
fn keep(slot: &Slot, aside: &CStr, are_files: bool) -> Result<Keeps, Errno> {
    let (directory, name) = (&*slot.host.directory, &*slot.host.name);
    if are_files {
        match linkat(directory, name, directory, aside, AtFlags::empty()) {
            Ok(()) => return Ok(Keeps::Both),
            // No second names here, or not of this file.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK | Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
    }
    rename_to_free(directory, name, aside).map(|()| Keeps::Aside)
}

/// What was to go stays, under its own name alone.
fn undo(slot: &Slot, aside: &CStr, keeps: Keeps) -> Result<(), Errno> {
    let directory = &*slot.host.directory;
    match keeps {
        Keeps::Both => unlinkat(directory, aside, AtFlags::empty()),
        Keeps::Aside => rename_to_free(directory, aside, &slot.host.name),
    }
}
