//! Removes what a payload left, whatever it is, without following a link.
//!
//! # Theory of operation
//! Directories are opened one below the other; what is not a directory is unlinked as it comes. The
//! memory and the descriptors needed do not depend on the tree: a directory that lies too deep is moved
//! up to the top and comes again there. Directories that their owner may not read, write or enter (the
//! payload's, and the kernel's own `work/work`) are made accessible first.
//!
//! Nobody writes there meanwhile: the sandbox is locked and its processes are gone.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::sys::stat::{FchmodatFlags, Mode as NixMode, fchmodat};
use rustix::fs::{AtFlags, Dir, FileType, Mode, fchmod, fstat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::directory;
use super::error::StateError;
use super::id::SandboxId;
use crate::spec::Text;

/// Directories that are open at once.
const DEEPEST: usize = 64;
/// How often a directory is read again that is not empty when everything seen in it was removed.
const REREADS: u32 = 8;

/// Removes the directory of a sandbox below `parent`, or as many entries of it as `budget` allows, from
/// which they are taken. Gives whether all is gone.
///
/// With subordinate ids a payload writes files that are not the caller's:
/// [`StateError::ForeignIds`] unless the calling process has all rights on them.
pub(super) fn remove_tree(
    parent: BorrowedFd<'_>,
    id: SandboxId,
    budget: &mut u64,
) -> Result<bool, StateError> {
    remove_named(parent, &CString::new(id.as_str()).unwrap_or_default(), id, budget)
}

/// As [`remove_tree`], of a directory with another name; `id` is whose it was.
pub(super) fn remove_named(
    parent: BorrowedFd<'_>,
    name: &CStr,
    id: SandboxId,
    budget: &mut u64,
) -> Result<bool, StateError> {
    let mut removal = Removal { parent, levels: Vec::new(), moved: 0, budget };
    removal.run(name).map_err(|fault| match fault.owner {
        Some(owner) => StateError::ForeignIds { id, at: fault.at, owner },
        None => StateError::Remove { id, at: fault.at, source: fault.source },
    })
}

/// As [`remove_named`], of a directory that was no sandbox's: what of it is in the way, and why.
pub(super) fn remove_whole(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), (Text, Errno)> {
    let budget = &mut u64::MAX.clone();
    let mut removal = Removal { parent, levels: Vec::new(), moved: 0, budget };
    removal.run(name).map(drop).map_err(|fault| (fault.at, fault.source))
}

/// What could not be removed and why.
struct Fault {
    at: Text,
    source: Errno,
    /// Whose it is, where that is the reason.
    owner: Option<u32>,
}

struct Removal<'a> {
    parent: BorrowedFd<'a>,
    levels: Vec<Level>,
    /// How many directories were moved to the top.
    moved: u64,
    /// How many entries may still be removed.
    budget: &'a mut u64,
}

/// One open directory.
struct Level {
    name: CString,
    directory: OwnedFd,
    entries: Dir,
    rereads: u32,
    /// [`Removal::moved`] when it was read from its beginning.
    moved: u64,
}

impl Removal<'_> {
    fn run(&mut self, name: &CStr) -> Result<bool, Fault> {
        self.enter(name)?;
        while let Some(level) = self.levels.last_mut() {
            match level.entries.next() {
                Some(Ok(entry)) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                Some(Ok(entry)) => {
                    match self.budget.checked_sub(1) {
                        Some(rest) => *self.budget = rest,
                        None => return Ok(false),
                    }
                    let (name, kind) = (entry.file_name().to_owned(), entry.file_type());
                    self.remove_entry(&name, kind)?;
                }
                Some(Err(source)) => return Err(fault(&level.name, source)),
                None => self.leave()?,
            }
        }
        Ok(true)
    }

    /// The directory whose entries are being removed.
    fn here(&self) -> BorrowedFd<'_> {
        self.levels.last().map_or(self.parent, |level| level.directory.as_fd())
    }

    fn remove_entry(&mut self, name: &CStr, kind: FileType) -> Result<(), Fault> {
        let flags = match kind {
            FileType::Directory => AtFlags::REMOVEDIR,
            _ => AtFlags::empty(),
        };
        match unlinkat(self.here(), name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // A file system that does not tell types.
            Err(Errno::ISDIR) => self.remove_entry(name, FileType::Directory),
            Err(Errno::NOTEMPTY | Errno::EXIST) if self.levels.len() >= DEEPEST => {
                self.move_up(name)
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) => self.enter(name),
            Err(source) => Err(self.refused(name, source)),
        }
    }

    /// Opens a directory and makes sure that its entries can be removed.
    fn enter(&mut self, name: &CStr) -> Result<(), Fault> {
        let here = self.here();
        let opened = match directory::open(here, name) {
            Err(Errno::ACCESS) => {
                make_accessible(here, name).map_err(|source| self.refused(name, source))?;
                directory::open(here, name)
            }
            other => other,
        };
        let failed = |source| self.refused(name, source);
        let opened = match opened {
            // Two commands remove the same.
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(failed)?,
        };
        let stat = fstat(&opened).map_err(failed)?;
        if stat.st_mode & 0o700 != 0o700 {
            fchmod(&opened, Mode::RWXU).map_err(failed)?;
        }
        let entries = Dir::read_from(&opened).map_err(failed)?;
        let (name, moved) = (name.to_owned(), self.moved);
        self.levels.push(Level { name, directory: opened, entries, rereads: 0, moved });
        Ok(())
    }

    /// Removes the directory that has been read to its end, if it is empty now.
    fn leave(&mut self) -> Result<(), Fault> {
        let Some(mut level) = self.levels.pop() else { return Ok(()) };
        match unlinkat(self.here(), &level.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST)
                if level.moved != self.moved || level.rereads < REREADS =>
            {
                level.rereads = if level.moved == self.moved { level.rereads + 1 } else { 0 };
                level.moved = self.moved;
                level.entries.rewind();
                self.levels.push(level);
                Ok(())
            }
            Err(source) => Err(self.refused(&level.name, source)),
        }
    }

    /// Moves a directory to the top, where it is met again: the top is read until it is empty.
    fn move_up(&mut self, name: &CStr) -> Result<(), Fault> {
        let Some(top) = self.levels.first() else { return Ok(()) };
        loop {
            self.moved += 1;
            let new = format!("deep-{}", self.moved);
            match renameat(self.here(), name, &top.directory, new) {
                Ok(()) => return Ok(()),
                // Such a name was there already.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                Err(Errno::ACCESS) => make_accessible(self.here(), name)
                    .map_err(|source| self.refused(name, source))?,
                Err(source) => return Err(self.refused(name, source)),
            }
        }
    }

    fn refused(&self, name: &CStr, source: Errno) -> Fault {
        let mut fault = fault(name, source);
        if matches!(source, Errno::PERM | Errno::ACCESS) {
            fault.owner = self.foreign_owner(name);
        }
        fault
    }

    /// Who owns the entry or the directory that it stands in, if that is not the caller.
    fn foreign_owner(&self, name: &CStr) -> Option<u32> {
        let caller = rustix::process::geteuid().as_raw();
        let entry = statat(self.here(), name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let owners = [entry, fstat(self.here()).ok()];
        owners.into_iter().flatten().map(|stat| stat.st_uid).find(|owner| *owner != caller)
    }
}

fn fault(name: &CStr, source: Errno) -> Fault {
    Fault { at: OsStr::from_bytes(name.to_bytes()).to_owned().into(), source, owner: None }
}

/// Gives the owner all rights on a directory that cannot be opened; no link is followed.
pub fn make_accessible(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    fchmodat(parent, name, NixMode::S_IRWXU, FchmodatFlags::NoFollowSymlink)
        .map_err(|error| Errno::from_raw_os_error(error as i32))
}
