//! Directories by descriptor, no link ever followed.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, mkdirat, openat, statat};
use rustix::io::Errno;

/// Bytes of directory entries read at once.
const BUFFER: usize = 16 * 1024;

const OPEN: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory.
pub(super) fn open<P: rustix::path::Arg>(parent: impl AsFd, name: P) -> Result<OwnedFd, Errno> {
    openat(parent, name, OPEN, Mode::empty())
}

/// Opens a directory; none if there is nothing of that name.
pub(super) fn open_if_there(parent: impl AsFd, name: &str) -> Result<Option<OwnedFd>, Errno> {
    match open(parent, name) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a directory, and makes it if there is none.
pub(super) fn ensure(parent: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    match open(parent.as_fd(), name) {
        Err(Errno::NOENT) => {
            match mkdirat(parent.as_fd(), name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            open(parent, name)
        }
        other => other,
    }
}

/// What stands at a name; none if nothing.
pub(super) fn file_type(parent: impl AsFd, name: &str) -> Result<Option<FileType>, Errno> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Calls `visit` with each entry but `.` and `..`, until it gives false.
pub(super) fn each_entry(
    directory: impl AsFd,
    mut visit: impl FnMut(&CStr, FileType) -> Result<bool, Errno>,
) -> Result<(), Errno> {
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") && !visit(name, entry.file_type())? {
            break;
        }
    }
    Ok(())
}

/// All names, in no order.
pub(super) fn names_in(directory: impl AsFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    each_entry(directory, |name, _| {
        names.push(name.to_owned());
        Ok(true)
    })?;
    Ok(names)
}

/// Whether there is nothing in it.
pub(super) fn is_empty(directory: impl AsFd) -> Result<bool, Errno> {
    let mut empty = true;
    each_entry(directory, |_, _| {
        empty = false;
        Ok(false)
    })?;
    Ok(empty)
}
