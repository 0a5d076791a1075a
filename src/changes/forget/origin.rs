//! Takes away what fuse-overlayfs notes of where a file of the layer came from.
//!
//! # Theory of operation
//! It keeps the path of the host's file in an attribute, so that a file has the same inode number before
//! and after it was copied. When it is mounted again and the host has a file at that path that the layer
//! does not cover any more, two names get one number, and the kernel shows the attributes of one for the
//! other; where a FIFO stands there, it waits for ever (both with 1.10). Without the note every file has
//! a number of its own.
//!
//! # Decisions
//! - What lies deeper than [`DEEPEST`] directories keeps its notes: a number is all it is about.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, chmod, fstat, openat, removexattr, statat};
use rustix::io::Errno;

use super::super::directory::Names;
use super::super::walk::READ;
use crate::plan::step::Backend;

const ORIGIN: &str = "user.fuseoverlayfs.origin";
const DEEPEST: usize = 200;

/// Of everything in a layer that fuse-overlayfs served.
pub fn take_origins(upper: impl AsFd) -> Result<(), Errno> {
    let mut stack = vec![Directory::open(upper.as_fd(), c".")?];
    while let Some(last) = stack.last_mut() {
        let index = last.next;
        last.next += 1;
        let Some((name, _)) = last.names.get(index) else {
            stack.pop();
            continue;
        };
        let found = match statat(&last.upper, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error),
        };
        let kind = FileType::from_raw_mode(found.st_mode);
        // Nothing else can have attributes of users.
        if matches!(kind, FileType::RegularFile | FileType::Directory) {
            take_origin(last.upper.as_fd(), name)?;
        }
        if kind == FileType::Directory && stack.len() < DEEPEST {
            let opened = stack.last().map(|last| Directory::below(last, index)).transpose();
            match opened {
                Ok(opened) => stack.extend(opened.flatten()),
                // The payload closed it: nobody looks below.
                Err(Errno::ACCESS) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

struct Directory {
    upper: OwnedFd,
    names: Names,
    next: usize,
}

impl Directory {
    fn open(parent: BorrowedFd<'_>, name: &CStr) -> Result<Self, Errno> {
        let upper = openat(parent, name, READ, Mode::empty())?;
        let (names, _) = Names::read_upper(&upper, Backend::Fuse)?;
        Ok(Self { upper, names, next: 0 })
    }

    fn below(&self, index: usize) -> Result<Option<Self>, Errno> {
        match self.names.get(index) {
            Some((name, _)) => Self::open(self.upper.as_fd(), name).map(Some),
            None => Ok(None),
        }
    }
}

/// Of one file, whatever its permission bits.
fn take_origin(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(parent, name, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match removexattr(&path, ORIGIN) {
        Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        Err(Errno::ACCESS) => {
            let mode = fstat(&file)?.st_mode & 0o7777;
            chmod(&path, Mode::from_raw_mode(mode | 0o600))?;
            let removed = removexattr(&path, ORIGIN);
            chmod(&path, Mode::from_raw_mode(mode))?;
            match removed {
                Ok(()) | Err(Errno::NODATA) => Ok(()),
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}
