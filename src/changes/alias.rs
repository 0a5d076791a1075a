//! Single files that are copy-on-write under another name than the host's (`-v FILE:PLACE:cow`).
//!
//! A file that is copy-on-write by itself is copied to where the sandbox shall see it. What the payload
//! made of it is a change of the file it was copied from. When it became a directory, that is told, and
//! not what is in it.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{CWD, FileType, Stat, openat};
use rustix::io::Errno;

use super::ChangesError;
use super::change::{Aspects, Change, FileKind, Kind, Trouble};
use super::compare::{Pair, by_stat};
use super::entry::{node, stat};
use super::layer::OpenLayer;
use super::walk::{LOOK_UP, open_beneath};
use crate::plan::step::{Backend, Copied};
use crate::spec::order;
use crate::spec::path::AbsolutePath;

/// What became of the files that a layer lies over under another name, by their own names.
pub(super) fn aliases(layer: &OpenLayer) -> Vec<Result<Change, ChangesError>> {
    let change = |copied: &Copied| {
        let failed = |source| ChangesError::Compare { path: copied.from.clone(), source };
        change(layer, copied).map_err(failed).transpose()
    };
    let mut changes: Vec<_> = layer.aliases.iter().filter_map(change).collect();
    order::sort_by_key(&mut changes, |change| {
        change.as_ref().ok().map(|change| change.path.clone())
    });
    changes
}

fn change(layer: &OpenLayer, copied: &Copied) -> Result<Option<Change>, Errno> {
    let Some(upper_name) = name_of(&copied.path) else { return Ok(None) };
    let Some(host_name) = name_of(&copied.from) else { return Ok(None) };
    let Some(upper) = upper_directory(layer, copied)? else { return Ok(None) };
    let Some(above) = copied.from.parent() else { return Ok(None) };
    let host = openat(CWD, above.as_path(), LOOK_UP, rustix::fs::Mode::empty())?;
    let was = stat(&host, &host_name)?;
    let was_node = was.map(|was| node(&host, &host_name, &was));
    let stale = layer.is_stale(was_node.as_ref());
    let empty = Change {
        path: copied.from.clone(),
        kind: Kind::Deleted,
        differs: Aspects::default(),
        now: None,
        was: was_node,
        hidden: false,
        stale,
        trouble: None,
        layer: layer.number,
    };
    let now = stat(&upper, &upper_name)?;
    if now.as_ref().is_some_and(is_whiteout) || has_whiteout_file(layer, &upper, &upper_name)? {
        return Ok(was.map(|_| empty));
    }
    let Some(now) = now else { return Ok(None) };
    let now_node = Some(node(&upper, &upper_name, &now));
    let Some(was) = was else {
        return Ok(Some(Change { kind: Kind::Added, now: now_node, ..empty }));
    };
    let mut differs = by_stat(&now, &was, layer.backend);
    let mut trouble = None;
    if FileKind::of(&now) == FileKind::of(&was) {
        let backend = layer.backend;
        let (upper, host) = ((upper.as_fd(), &*upper_name), (host.as_fd(), &*host_name));
        let mut budget = u64::MAX;
        match (Pair { upper, host, backend }).look_inside(&now, &mut differs, &mut budget) {
            Err(Errno::ACCESS | Errno::PERM) => trouble = Some(Trouble::Unreadable),
            other => other?,
        }
    }
    let is_change = !differs.is_empty() || trouble.is_some();
    let change = Change { kind: Kind::Changed, differs, now: now_node, trouble, ..empty };
    Ok(is_change.then_some(change))
}

fn name_of<W>(path: &AbsolutePath<W>) -> Option<CString> {
    path.file_name().and_then(|name| CString::new(name.as_bytes()).ok())
}

/// The directory in the layer that the file would be in; none when nothing was written there.
fn upper_directory(layer: &OpenLayer, copied: &Copied) -> Result<Option<OwnedFd>, Errno> {
    let above = copied.path.parent().map(|above| above.as_bytes().to_vec()).unwrap_or_default();
    let relative = match above.get(1..) {
        Some(relative) if !relative.is_empty() => OsStr::from_bytes(relative),
        _ => OsStr::new("."),
    };
    match open_beneath(&layer.upper, relative, LOOK_UP) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn has_whiteout_file(layer: &OpenLayer, upper: &OwnedFd, name: &CString) -> Result<bool, Errno> {
    let Ok(whiteout) = CString::new([b".wh.", name.as_bytes()].concat()) else { return Ok(false) };
    Ok(layer.backend == Backend::Fuse && stat(upper, &whiteout)?.is_some())
}
