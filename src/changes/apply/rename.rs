//! The single renames of a batch, and what is looked at between them.
//!
//! # Decisions
//! - A file system that cannot rename to a free name alone (NFS, vfat, some FUSE ones) is asked whether the name is
//!   free, and then told to rename: who puts something there between the two loses it.

use std::ffi::{CStr, CString};
use std::fmt::Write as _;
use std::os::fd::AsFd;

use rustix::fs::{RenameFlags, renameat, renameat_with};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use super::action::{Action, Conflict, Why};
use super::batch::Slot;
use super::item::{Since, Tree};
use super::journal::Own;
use super::places::Places;
use super::seen::Seen;
use super::tree;
use crate::plan::step::LayerNumber;
use crate::spec::HostPath;

/// Whether what now stands under a name that nobody else knows is what the plan saw, and nothing in it is newer.
pub(super) fn examine(
    places: &Places,
    own: &Own,
    action: &Action,
    (directory, aside): (impl AsFd, &CStr),
    old: &Seen,
) -> Result<bool, Errno> {
    let Some(now) = Seen::at(&directory, aside)? else { return Ok(false) };
    if !old.is_still(&now) {
        return Ok(false);
    }
    if !now.is_directory() {
        return Ok(true);
    }
    let mut judge = objects_to_removal(places, own, action.layer, &action.path, action.overrides);
    Ok(tree::objection(&directory, aside, &action.path, &mut judge)?.is_none())
}

/// What speaks against removing something in a directory that has been renamed: its own change time is ours.
pub(super) fn objects_to_removal(
    places: &Places,
    own: &Own,
    layer: LayerNumber,
    top: &HostPath,
    overrides: bool,
) -> impl FnMut(&HostPath, &Seen) -> Option<Tree> {
    move |path, seen| {
        let is_newer =
            path != top && !overrides && places.since(own, layer, seen) != Since::Unchanged;
        is_newer.then(|| Tree::Newer(path.clone(), Since::Changed))
    }
}

/// Renames what was prepared to where nothing stands.
pub(super) fn appear(slot: &Slot) -> Result<(), Why> {
    match rename_to_free(&*slot.host.directory, &slot.temporary, &slot.host.name) {
        Err(Errno::EXIST) => Err(Why::Conflict(Conflict::Meanwhile)),
        other => other.map_err(Why::Failed),
    }
}

/// Renames in a directory. `EEXIST` where something has the new name.
pub(super) fn rename_to_free(directory: impl AsFd, from: &CStr, to: &CStr) -> Result<(), Errno> {
    match renameat_with(&directory, from, &directory, to, RenameFlags::NOREPLACE) {
        Err(error) if is_unknown(error) => match Seen::at(&directory, to)? {
            None => renameat(&directory, from, &directory, to),
            Some(_) => Err(Errno::EXIST),
        },
        other => other,
    }
}

/// Whether a file system does not know a flag of a rename.
pub(super) fn is_unknown(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

/// Exchanges what was prepared and what stands in its place, or back.
pub(super) fn exchange(slot: &Slot) -> Result<(), Why> {
    let directory = &*slot.host.directory;
    let (from, to) = (&*slot.temporary, &*slot.host.name);
    match renameat_with(directory, from, directory, to, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(Errno::NOENT) => Err(Why::Conflict(Conflict::Meanwhile)),
        Err(error) => Err(Why::Failed(error)),
    }
}

/// A name that nobody can know, short enough for every file system.
pub(super) fn random_name() -> Result<CString, Errno> {
    let mut bytes = [0_u8; 16];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    let mut name = String::from(".bryo-");
    for byte in bytes {
        // Writing to a string cannot fail.
        write!(name, "{byte:02x}").unwrap_or_default();
    }
    CString::new(name).map_err(|_| Errno::INVAL)
}
