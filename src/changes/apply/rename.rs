//! The single renames of a batch, and what is looked at between them.

use std::ffi::CString;
use std::fmt::Write as _;

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

/// Whether what now stands under the temporary name is what the plan saw, and nothing in it is newer.
pub(super) fn examine(
    places: &Places,
    own: &Own,
    action: &Action,
    slot: &Slot,
    old: &Seen,
) -> Result<bool, Errno> {
    let Some(now) = Seen::at(&*slot.host.directory, &slot.temporary)? else { return Ok(false) };
    if !old.is_still(&now) {
        return Ok(false);
    }
    if !now.is_directory() {
        return Ok(true);
    }
    let mut judge = objects_to_removal(places, own, action.layer, &action.path, action.overrides);
    let directory = &*slot.host.directory;
    Ok(tree::objection(directory, &slot.temporary, &action.path, &mut judge)?.is_none())
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
    let directory = &*slot.host.directory;
    let (from, to) = (&*slot.temporary, &*slot.host.name);
    match renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(Why::Conflict(Conflict::Meanwhile)),
        // A file system that cannot do it at once.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            match Seen::at(directory, to).map_err(Why::Failed)? {
                None => renameat(directory, from, directory, to).map_err(Why::Failed),
                Some(_) => Err(Why::Conflict(Conflict::Meanwhile)),
            }
        }
        Err(error) => Err(Why::Failed(error)),
    }
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
