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
//! - Trees may be of any depth: of the way down only the last [`OPEN`] directories are open; one above is opened again
//!   through the one below it, and has to be the same. Nothing in the layer moves meanwhile: it is locked.
//! - What the payload closed, and what is in it, is left alone: nobody looks below.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, chmod, fstat, openat, removexattr, statat};
use rustix::io::Errno;

use super::super::directory::Names;
use super::super::walk::READ;
use crate::plan::step::Backend;

const ORIGIN: &str = "user.fuseoverlayfs.origin";
/// Directories that are open at once.
const OPEN: usize = 100;

/// Of everything in a layer that fuse-overlayfs served.
pub fn take_origins(upper: impl AsFd) -> Result<(), Errno> {
    let mut stack = vec![Directory::open(upper.as_fd(), c".")?];
    while let Some(last) = stack.last_mut() {
        match last.step()? {
            Step::On => {}
            Step::Down(below) => {
                stack.push(below);
                if let Some(far) = stack.len().checked_sub(OPEN + 1) {
                    stack[far].upper = None;
                }
            }
            Step::Up => {
                let done = stack.pop();
                if let (Some(done), Some(above)) = (done, stack.last_mut()) {
                    above.reopen(&done)?;
                }
            }
        }
    }
    Ok(())
}

struct Directory {
    /// None while it is far above.
    upper: Option<OwnedFd>,
    inode: (u64, u64),
    names: Names,
    next: usize,
}

/// What comes after a name.
enum Step {
    On,
    Down(Directory),
    Up,
}

impl Directory {
    fn open(parent: BorrowedFd<'_>, name: &CStr) -> Result<Self, Errno> {
        let upper = openat(parent, name, READ, Mode::empty())?;
        let (names, _) = Names::read_upper(&upper, Backend::Fuse)?;
        let inode = inode(&upper)?;
        Ok(Self { upper: Some(upper), inode, names, next: 0 })
    }

    /// Opens it again, through one below it.
    fn reopen(&mut self, below: &Self) -> Result<(), Errno> {
        let (None, Some(below)) = (&self.upper, &below.upper) else { return Ok(()) };
        let upper = openat(below, c"..", READ, Mode::empty())?;
        if inode(&upper)? != self.inode {
            return Err(Errno::STALE);
        }
        self.upper = Some(upper);
        Ok(())
    }

    /// Looks at the next name.
    fn step(&mut self) -> Result<Step, Errno> {
        let index = self.next;
        self.next += 1;
        let Some((name, _)) = self.names.get(index) else { return Ok(Step::Up) };
        let upper = self.upper.as_ref().ok_or(Errno::STALE)?;
        let found = match statat(upper, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::ACCESS) => return Ok(Step::On),
            Err(error) => return Err(error),
        };
        let kind = FileType::from_raw_mode(found.st_mode);
        // Nothing else can have attributes of users.
        if matches!(kind, FileType::RegularFile | FileType::Directory) {
            take_origin(upper.as_fd(), name)?;
        }
        if kind != FileType::Directory {
            return Ok(Step::On);
        }
        match Self::open(upper.as_fd(), name) {
            Ok(below) => Ok(Step::Down(below)),
            Err(Errno::ACCESS) => Ok(Step::On),
            Err(error) => Err(error),
        }
    }
}

fn inode(directory: &OwnedFd) -> Result<(u64, u64), Errno> {
    fstat(directory).map(|found| (found.st_dev, found.st_ino))
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

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: usize = 700;

    /// Whether the files at each level have the note still; the last first.
    fn noted(mut at: OwnedFd) -> Vec<bool> {
        let mut noted = Vec::new();
        while let Ok(below) = openat(&at, c"d", READ, Mode::empty()) {
            let path = format!("/proc/self/fd/{}/f", at.as_raw_fd());
            noted.push(rustix::fs::getxattr(&path, ORIGIN, &mut [0_u8; 8][..]).is_ok());
            at = below;
        }
        noted.reverse();
        noted
    }

    #[test]
    fn notes_are_taken_from_trees_of_any_depth() {
        let root = tempfile::tempdir().unwrap();
        let open = |path: &std::path::Path| OwnedFd::from(std::fs::File::open(path).unwrap());
        let mut at = open(root.path());
        for _ in 0..LEVELS {
            let path = format!("/proc/self/fd/{}/f", at.as_raw_fd());
            std::fs::write(&path, "").unwrap();
            let set = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(&path, ORIGIN, b"x", set).unwrap();
            rustix::fs::mkdirat(&at, c"d", Mode::RWXU).unwrap();
            at = openat(&at, c"d", READ, Mode::empty()).unwrap();
        }
        assert_eq!(noted(open(root.path())), vec![true; LEVELS]);
        take_origins(open(root.path())).unwrap();
        assert_eq!(noted(open(root.path())), vec![false; LEVELS]);
    }
}
