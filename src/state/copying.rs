//! Notes of the unfinished files of `bryo cp`, by which the next command removes those of a copy that was killed.
//!
//! # Theory of operation
//! ```text
//! STORE/copies/K    a file that is locked while the copy goes on: inode, length, path of what is not in its place
//! ```
//! The path is noted before anything is made there. A file that nobody locks is of a copy that was killed: the next
//! sweep removes what it names, and then the note.
//!
//! # Decisions
//! - No payload reaches the store, so none says what is removed. It may see the name on the host, where it has that
//!   place with `--write`, and put something else there: a directory is removed only if it is the one that was made,
//!   and of anything else the one name, which nobody but bryo gives, 64 random bits long.
//! - Without room in the store, or where it cannot be written, a copy goes on without a note: files are to be got
//!   out of a sandbox above all when the disk is full.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, readlinkat, statat, unlinkat};
use rustix::io::{Errno, pread, pwrite};

use super::directory;
use super::error::StateError;
use super::id::SandboxId;
use super::remove::remove_whole;
use super::sandbox::try_lock;
use super::store::Store;
use crate::spec::{HostPath, Text};
use crate::sys::open::{fd_path, open_host};

const COPIES: &str = "copies";
/// Of an inode that is not known, and of a path's length.
const HEAD: usize = 12;
/// A path of the kernel's longest, and the head.
const LONGEST: usize = 4096 + HEAD;

/// The note of one copy.
#[derive(Debug)]
pub struct Copying {
    copies: OwnedFd,
    name: String,
    file: OwnedFd,
}

impl Store {
    /// Begins a note, for as long as it is held.
    pub(super) fn begin_copy(&self) -> Result<Copying, StateError> {
        self.copying().map_err(|source| StateError::Create { store: self.path().clone(), source })
    }

    fn copying(&self) -> Result<Copying, Errno> {
        let copies = directory::ensure(&self.0.root, COPIES)?;
        loop {
            let name = SandboxId::random()?.as_str().to_owned();
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = openat(&copies, &name, flags, Mode::RUSR | Mode::WUSR)?;
            // A sweep may have taken it for one that was left.
            if try_lock(&file)? && fstat(&file)?.st_nlink > 0 {
                return Ok(Copying { copies, name, file });
            }
        }
    }

    /// Removes what copies that were killed have left.
    pub(super) fn sweep_copies(&self) -> Result<Vec<StateError>, Errno> {
        let Some(copies) = directory::open_if_there(&self.0.root, COPIES)? else {
            return Ok(Vec::new());
        };
        let mut failed = Vec::new();
        for name in directory::names_in(&copies)? {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = match openat(&copies, &name, flags, Mode::empty()) {
                Ok(file) => file,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error),
            };
            if !try_lock(&file)? {
                continue;
            }
            match left(&file)?.map_or(Ok(()), |left| left.remove()) {
                Ok(()) => match unlinkat(&copies, &name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(error),
                },
                Err(error) => failed.push(error),
            }
        }
        Ok(failed)
    }
}

impl Copying {
    /// Notes that something is made under this name, and once it is there which inode it has.
    ///
    /// What cannot be noted is made all the same.
    pub fn note(&self, parent: BorrowedFd<'_>, name: &str, inode: Option<u64>) {
        self.write(parent, name, inode).unwrap_or_default();
    }

    fn write(&self, parent: BorrowedFd<'_>, name: &str, inode: Option<u64>) -> Result<(), Errno> {
        let path = readlinkat(rustix::fs::CWD, fd_path(parent), Vec::new())?;
        let length = path.as_bytes().len() + 1 + name.len();
        let mut note = inode.unwrap_or(0).to_le_bytes().to_vec();
        note.extend(u32::try_from(length).unwrap_or(0).to_le_bytes());
        note.extend([path.as_bytes(), b"/", name.as_bytes()].concat());
        // One write into one page: it is there as a whole, or not.
        pwrite(&self.file, &note, 0).map(drop)
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        // What could not be removed by the copy itself is left to the next sweep, and told there.
        if left(&self.file).is_ok_and(|left| left.is_none_or(|left| left.is_gone())) {
            unlinkat(&self.copies, &self.name, AtFlags::empty()).unwrap_or_default();
        }
    }
}

/// What a note names.
struct Left {
    path: HostPath,
    inode: u64,
}

/// Reads a note; none of one in which nothing was noted, or nothing that can be meant.
fn left(note: &OwnedFd) -> Result<Option<Left>, Errno> {
    let mut text = vec![0; LONGEST];
    let length = pread(note, &mut text, 0)?;
    text.truncate(length);
    Ok(parse(&text))
}

fn parse(text: &[u8]) -> Option<Left> {
    let (inode, rest) = text.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let path = HostPath::new(OsStr::from_bytes(rest.get(..length)?)).ok()?;
    Some(Left { path, inode: u64::from_le_bytes(*inode) })
}

impl Left {
    /// Its directory, which is the one that was noted and no link to another; and its name there.
    fn place(&self) -> Result<Option<(OwnedFd, CString)>, Errno> {
        let (Some(parent), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Ok(None);
        };
        let name = CString::new(name.as_encoded_bytes()).map_err(|_| Errno::INVAL)?;
        match open_host(parent.as_path()).map_err(|errno| Errno::from_raw_os_error(errno.raw())) {
            Ok(parent) => Ok(Some((parent, name))),
            // The directory went, or something else is there now.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn is_gone(&self) -> bool {
        self.place().is_ok_and(|place| {
            place.is_none_or(|(parent, name)| {
                let stat = statat(parent, &name, AtFlags::SYMLINK_NOFOLLOW);
                stat.is_err_and(|errno| errno == Errno::NOENT)
            })
        })
    }

    fn remove(&self) -> Result<(), StateError> {
        let failed =
            |at: Text, source| StateError::RemoveCopy { path: self.path.clone(), at, source };
        let here = |source| failed(Text::default(), source);
        let Some((parent, name)) = self.place().map_err(here)? else { return Ok(()) };
        let stat = match statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(source) => return Err(here(source)),
        };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        match unlinkat(&parent, &name, flags) {
            Err(Errno::NOTEMPTY | Errno::EXIST) if stat.st_ino == self.inode => {
                remove_whole(parent.as_fd(), &name).map_err(|(at, source)| failed(at, source))
            }
            // Somebody put it there.
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(source) => Err(here(source)),
        }
    }
}
