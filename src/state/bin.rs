//! Takes trees out of a layer in one step each, and removes them together afterwards.
//!
//! # Theory of operation
//! A tree that a payload wrote takes time to remove. Moved into a bin with one rename it is out of the
//! layer at once, so that an interruption leaves the layer as it was before or after and never between.
//! A bin lies in the store's `trash` under an id of its own: what an interruption leaves there, the
//! next sweep removes.

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, fstat, mkdirat, renameat, statat};
use rustix::io::Errno;

use super::directory;
use super::error::StateError;
use super::id::SandboxId;
use super::remove::{make_accessible, remove_named};
use super::sandbox::{SandboxDirectory, try_lock};
use super::store::TRASH;

/// A directory in the trash, locked so that no sweep empties it while it is filled.
#[derive(Debug)]
pub struct Bin {
    trash: OwnedFd,
    name: SandboxId,
    directory: OwnedFd,
    /// Whose things are in it.
    of: SandboxId,
    taken: Cell<u64>,
}

impl SandboxDirectory {
    /// A bin for what leaves this sandbox's layers.
    pub fn bin(&self) -> Result<Bin, StateError> {
        let of = self.id();
        let failed = |source| StateError::Move { id: of, to: TRASH, source };
        let trash = directory::ensure(&self.store().0.root, TRASH).map_err(failed)?;
        loop {
            let name = SandboxId::random().map_err(failed)?;
            match mkdirat(&trash, name.as_str(), Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(failed(error)),
            }
            let directory = match directory::open(&trash, name.as_str()) {
                // A sweep was faster.
                Err(Errno::NOENT) => continue,
                other => other.map_err(failed)?,
            };
            if try_lock(&directory).map_err(failed)?
                && fstat(&directory).map_err(failed)?.st_nlink > 0
            {
                return Ok(Bin { trash, name, directory, of, taken: Cell::new(0) });
            }
        }
    }
}

impl Bin {
    /// Moves something of the layer into the bin: one rename. `ENOENT` when there is nothing.
    pub fn take(&self, from: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        let number = self.taken.replace(self.taken.get() + 1);
        match renameat(from, name, &self.directory, number.to_string()) {
            // Its entry for the directory above is about to change, which takes the right to write.
            Err(Errno::ACCESS) if is_directory(from, name)? => {
                make_accessible(from, name)?;
                renameat(from, name, &self.directory, number.to_string())
            }
            other => other,
        }
    }

    /// How many things were moved into it.
    pub fn taken(&self) -> u64 {
        self.taken.get()
    }

    /// Removes it with all that is in it.
    pub fn empty(self) -> Result<(), StateError> {
        let name = CString::new(self.name.as_str()).unwrap_or_default();
        remove_named(self.trash.as_fd(), &name, self.of, &mut u64::from(u32::MAX)).map(drop)
    }
}

fn is_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    let stat = statat(parent, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
