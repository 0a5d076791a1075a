//! The entries of directories: read in one buffer, without a second look at each.

use std::ffi::{CStr, OsStr, OsString};
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir};

use crate::spec::HostPath;
use crate::spec::order;

use super::HostError;

/// Room for some two hundred names per system call.
const BUFFER: usize = 8192;

/// Opens a directory at a real path for reading.
pub(super) fn open_directory(path: &HostPath) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(CWD, path.as_path(), flags, Mode::empty())
}

/// Hands every name but `.` and `..` to `take`, with its type where the file system tells it, until
/// `take` breaks off. A name is not longer than 255 bytes, so the buffer always holds one.
pub(super) fn each_entry(
    dir: impl AsFd,
    mut take: impl FnMut(&CStr, FileType) -> ControlFlow<()>,
) -> rustix::io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut entries = RawDir::new(dir, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let dot = matches!(entry.file_name().to_bytes(), b"." | b"..");
        if !dot && take(entry.file_name(), entry.file_type()).is_break() {
            break;
        }
    }
    Ok(())
}

/// The entries of a directory, sorted; more than `limit` is an error.
pub(super) fn list(path: &HostPath, limit: usize) -> Result<Vec<HostPath>, HostError> {
    let names = list_names(path, limit)?;
    // Only a path too long for the kernel is not taken: nobody can ask for it either.
    let mut paths: Vec<HostPath> =
        names.into_iter().filter_map(|name| path.join(name).ok()).collect();
    order::sort(&mut paths);
    Ok(paths)
}

/// The names in a directory, in no order.
pub(super) fn list_names(path: &HostPath, limit: usize) -> Result<Vec<OsString>, HostError> {
    let failed = |source| HostError::List { path: path.clone(), source };
    let dir = open_directory(path).map_err(failed)?;
    let mut names = Vec::new();
    let mut too_many = false;
    let listed = each_entry(&dir, |name, _| {
        too_many = names.len() == limit;
        if too_many {
            return ControlFlow::Break(());
        }
        names.push(OsStr::from_bytes(name.to_bytes()).to_owned());
        ControlFlow::Continue(())
    });
    listed.map_err(failed)?;
    if too_many {
        return Err(HostError::TooManyEntries { path: path.clone(), limit });
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn a_directory_with_too_many_entries_is_an_error() {
        let (_dir, root) = scratch();
        for n in 0..5 {
            std::fs::write(root.join(n.to_string()), "").unwrap();
        }
        let path = HostPath::new(&root).unwrap();
        assert_eq!(list(&path, 5).unwrap().len(), 5);
        assert_eq!(list(&path, 4), Err(HostError::TooManyEntries { path: path.clone(), limit: 4 }));
    }

    #[test]
    fn more_names_than_one_buffer_holds_are_all_there() {
        let (_dir, root) = scratch();
        let name = |n: usize| format!("{n:0>200}");
        for n in 0..300 {
            std::fs::write(root.join(name(n)), "").unwrap();
        }
        let names = list_names(&HostPath::new(&root).unwrap(), 1000).unwrap();
        assert_eq!(names.len(), 300);
        assert!(names.contains(&name(299).into()));
    }
}
