//! Takes trees out of a layer in one step each, and removes them together afterwards.
//!
//! # Theory of operation
//! A tree that a payload wrote takes time to remove. Moved into a bin with one rename it is out of the
//! layer at once, so that an interruption leaves the layer as it was before or after and never between.
//! A bin lies in the store's `trash` under an id of its own: what an interruption leaves there, the
//! next sweep removes.
//!
//! # Decisions
//! - A disk that holds no more files has none for a bin either, and dropping is how it gets some back: what is moved
//!   then lies in the trash itself, each under an id, where a sweep that comes by removes it as well.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, fstat, mkdirat, renameat, statat, unlinkat};
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
    /// None where there was no room for it.
    own: Option<(SandboxId, OwnedFd)>,
    /// What lies in the trash itself.
    loose: RefCell<Vec<SandboxId>>,
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
        let bin =
            |trash, own| Bin { trash, own, loose: RefCell::default(), of, taken: Cell::new(0) };
        loop {
            let name = SandboxId::random().map_err(failed)?;
            match mkdirat(&trash, name.as_str(), Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(Errno::NOSPC | Errno::DQUOT) => return Ok(bin(trash, None)),
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
                return Ok(bin(trash, Some((name, directory))));
            }
        }
    }
}

impl Bin {
    /// Moves something of the layer into the bin: one rename. `ENOENT` when there is nothing.
    pub fn take(&self, from: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        let number = self.taken.replace(self.taken.get() + 1);
        let Some((_, directory)) = &self.own else {
            let id = SandboxId::random()?;
            move_into(from, name, self.trash.as_fd(), id.as_str())?;
            self.loose.borrow_mut().push(id);
            return Ok(());
        };
        move_into(from, name, directory.as_fd(), &number.to_string())
    }

    /// How many things were moved into it.
    pub fn taken(&self) -> u64 {
        self.taken.get()
    }

    /// Removes it with all that is in it.
    pub fn empty(self) -> Result<(), StateError> {
        let loose = self.loose.into_inner();
        for id in self.own.map(|(name, _)| name).into_iter().chain(loose) {
            remove_entry(self.trash.as_fd(), id, self.of)?;
        }
        Ok(())
    }
}

/// Removes something in the trash; `of` is whose it was.
fn remove_entry(trash: BorrowedFd<'_>, id: SandboxId, of: SandboxId) -> Result<(), StateError> {
    if unlink_if_file(trash, id)? {
        return Ok(());
    }
    let name = CString::new(id.as_str()).unwrap_or_default();
    remove_named(trash, &name, of, &mut u64::from(u32::MAX)).map(drop)
}

/// Removes what lies in the trash under an id if it is no directory; gives whether it is not there any more.
pub(super) fn unlink_if_file(trash: BorrowedFd<'_>, id: SandboxId) -> Result<bool, StateError> {
    let name = CString::new(id.as_str()).unwrap_or_default();
    let unlinked = match is_directory(trash, &name) {
        Ok(true) => return Ok(false),
        Ok(false) => unlinkat(trash, &name, AtFlags::empty()),
        Err(error) => Err(error),
    };
    match unlinked {
        // Two commands remove the same.
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(source) => Err(StateError::Remove { id, at: id.as_str().into(), source }),
    }
}

fn move_into(
    from: BorrowedFd<'_>,
    name: &CStr,
    to: BorrowedFd<'_>,
    new: &str,
) -> Result<(), Errno> {
    match renameat(from, name, to, new) {
        // Its entry for the directory above is about to change, which takes the right to write.
        Err(Errno::ACCESS) if is_directory(from, name)? => {
            make_accessible(from, name)?;
            renameat(from, name, to, new)
        }
        other => other,
    }
}

fn is_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
