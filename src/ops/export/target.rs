//! The file that an export is written to.
//!
//! # Theory of operation
//! A new file is made beside the place, with a name nobody knows, and takes the place when it is complete: a
//! reader sees the whole of it or what was there before. What stands there is never opened, and only a regular
//! file is replaced. The directory is held open from the beginning to the end.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::ExportError;
use crate::ops::asked;
use crate::spec::HostPath;

/// What a sandbox wrote is nobody else's business.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A file that is being written.
pub(super) struct Target {
    path: HostPath,
    directory: OwnedFd,
    name: OsString,
    beside: OsString,
    pub(super) file: File,
}

impl Target {
    pub(super) fn create(path: &HostPath) -> Result<Self, ExportError> {
        let failed =
            |source: Errno| ExportError::Open { path: path.clone(), source: source.into() };
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(ExportError::Occupied(path.clone()));
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, above.as_path(), flags, Mode::empty()).map_err(failed)?;
        asked::refuse_opened("--output", &above, &directory)?;
        match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => {
                return Err(ExportError::Occupied(path.clone()));
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed(error)),
        }
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .map_err(failed)?;
        let beside: OsString = format!(".bryo-export-{:016x}", u64::from_ne_bytes(random)).into();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = openat(&directory, &beside, flags | OFlags::CLOEXEC, PRIVATE).map_err(failed)?;
        let (path, name) = (path.clone(), name.to_owned());
        Ok(Self { path, directory, name, beside, file: file.into() })
    }

    /// Puts it in its place.
    pub(super) fn complete(self) -> Result<(), ExportError> {
        let failed = |source: io::Error| ExportError::Open { path: self.path.clone(), source };
        self.file.sync_all().map_err(failed)?;
        let moved = renameat(&self.directory, &self.beside, &self.directory, &self.name);
        moved.map_err(|error| {
            let error = failed(error.into());
            // The first error is the one to tell.
            self.remove().unwrap_or_default();
            error
        })
    }

    /// Leaves nothing.
    pub(super) fn give_up(self) -> io::Result<()> {
        Ok(self.remove()?)
    }

    fn remove(&self) -> Result<(), Errno> {
        unlinkat(&self.directory, &self.beside, AtFlags::empty())
    }
}
