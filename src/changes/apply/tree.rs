//! Whole directories of the host: what speaks against removing one, and its removal.
//!
//! # Decisions
//! - No link is followed and no other file system entered.
//! - A directory is looked at to its end before any of it is removed, and again when it stands under a name
//!   that nobody else knows.

use std::ffi::{CStr, CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, OFlags, RawDir, unlinkat};
use rustix::io::Errno;

use super::action::Refusal;
use super::item::{Since, Tree};
use super::places::open_below;
use super::seen::Seen;
use super::stage::chmod;
use crate::spec::HostPath;

/// Directories that are open at once.
const DEEPEST: usize = 256;
const BUFFER: usize = 16 * 1024;
const READ: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW);

/// Something against removing a directory of the host's; none if nothing is. `judge` is asked about
/// everything in it, the directory itself first.
pub(super) fn objection(
    parent: impl AsFd,
    name: &CStr,
    path: &HostPath,
    judge: &mut dyn FnMut(&HostPath, &Seen) -> Option<Tree>,
) -> Result<Option<Tree>, Errno> {
    let Some(seen) = Seen::at(&parent, name)? else { return Ok(None) };
    if let Some(tree) = judge(path, &seen) {
        return Ok(Some(tree));
    }
    let refused = |refusal| Ok(Some(Tree::Refused(refusal)));
    let mut levels = match open_directory(&parent, name) {
        Ok(directory) => vec![(path.clone(), names_in(&directory)?, directory)],
        Err(Errno::XDEV) => return refused(Refusal::Mounted(path.clone())),
        Err(Errno::ACCESS) => return refused(Refusal::Unreadable),
        Err(error) => return Err(error),
    };
    while let Some((above, names, directory)) = levels.last_mut() {
        let Some(name) = names.pop() else {
            levels.pop();
            continue;
        };
        let Some(seen) = Seen::at(&*directory, &name)? else { continue };
        let Ok(path) = above.join(OsStr::from_bytes(name.to_bytes())) else {
            return refused(Refusal::TooDeep);
        };
        if let Some(tree) = judge(&path, &seen) {
            return Ok(Some(tree));
        }
        if !seen.is_directory() {
            continue;
        }
        match open_directory(&*directory, &name) {
            Ok(_) if levels.len() >= DEEPEST => return refused(Refusal::TooDeep),
            Ok(below) => levels.push((path, names_in(&below)?, below)),
            Err(Errno::XDEV) => return refused(Refusal::Mounted(path)),
            Err(Errno::ACCESS) => return refused(Refusal::Unreadable),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Removes whatever stands at a name, with all that is in it.
pub(super) fn remove(parent: impl AsFd, name: &CStr) -> Result<(), Errno> {
    match unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let first = open_to_empty(&parent, name)?;
    let mut levels: Vec<(CString, Vec<CString>, OwnedFd)> =
        vec![(name.to_owned(), names_in(&first)?, first)];
    while let Some((_, names, directory)) = levels.last_mut() {
        if let Some(name) = names.pop() {
            match unlinkat(&*directory, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) => {
                    let below = open_to_empty(&*directory, &name)?;
                    levels.push((name, names_in(&below)?, below));
                }
                Err(error) => return Err(error),
            }
            continue;
        }
        let Some((name, _, _)) = levels.pop() else { break };
        let removed = match levels.last() {
            Some((_, _, above)) => unlinkat(above, &name, AtFlags::REMOVEDIR),
            None => unlinkat(&parent, &name, AtFlags::REMOVEDIR),
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Opens a directory that is to be emptied: the sandbox, too, had to open it up to remove what was in it.
fn open_to_empty(parent: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let directory = open_directory(parent, name)?;
    let seen = Seen::of(&directory)?;
    if seen.mode & 0o300 != 0o300 && seen.owner == rustix::process::geteuid().as_raw() {
        chmod(&directory, seen.permissions() | 0o700)?;
    }
    Ok(directory)
}

fn open_directory(parent: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    open_below(parent, OsStr::from_bytes(name.to_bytes()), READ)
}

/// All names in a directory that is open for reading, but `.` and `..`.
pub(super) fn names_in(directory: impl AsFd) -> Result<Vec<CString>, Errno> {
    let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// An objection against removing what changed since the sandbox started.
pub(super) fn newer(path: &HostPath, since: Since) -> Option<Tree> {
    (since != Since::Unchanged).then(|| Tree::Newer(path.clone(), since))
}
