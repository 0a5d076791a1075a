//! `--report FILE`: tried before the run, written after it.
//!
//! # Theory of operation
//! A file that cannot be written has to be an error before anything runs, so one is made and removed
//! beside it. The report is written to a new file, which then takes the place of what stands there: a
//! reader sees the whole of it or the one before, and nothing that stood there is followed or opened.
//! The directory is held open meanwhile: a payload that may write above it could put a link in its
//! place. What stands there afterwards is looked at.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};

use crate::ops::asked::{self, AskedError};
use crate::report::Explain;
use crate::spec::HostPath;

/// What a run was asked and given is nobody else's business.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReportError {
    /// Before the run.
    #[error("cannot write a report to `{path}`")]
    Open {
        /// Which file.
        path: HostPath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Before the run: the way to its directory.
    #[error(transparent)]
    Asked(#[from] AskedError),
    /// Something stands there that is no regular file.
    #[error("cannot write a report to `{path}`: {kind} stands there")]
    Occupied {
        /// Which file.
        path: HostPath,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// After the run.
    #[error("cannot write the report to `{path}`")]
    Write {
        /// Which file.
        path: HostPath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// After the run, and a part of it is left.
    #[error("cannot write the report to `{path}`, nor remove `{}` beside it", .beside.display())]
    Leftover {
        /// Which file.
        path: HostPath,
        /// What was to take its place.
        beside: OsString,
        /// Why it could not be written.
        #[source]
        source: io::Error,
    },
    /// Its directory is not what it was.
    #[error("cannot leave the report at `{path}`: its directory was replaced during the run")]
    Replaced {
        /// Which file.
        path: HostPath,
    },
}

impl Explain for ReportError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Asked(error) => error.hint(),
            Self::Open { .. } => Some("name a file in a directory that you may write".to_owned()),
            Self::Occupied { .. } => {
                Some("name a regular file, or one that is not there".to_owned())
            }
            Self::Replaced { .. } => Some("name a file where the payload cannot write".to_owned()),
            Self::Write { .. } | Self::Leftover { .. } => None,
        }
    }
}

/// Where the report will stand.
#[derive(Debug)]
pub(super) struct ReportFile {
    path: HostPath,
    directory: OwnedFd,
    name: OsString,
    /// Of the file that it replaces.
    mode: Mode,
}

impl ReportFile {
    /// Opens its directory, at a number above those that are to be passed: these have to be the
    /// caller's own.
    pub(super) fn open(path: &HostPath, passed: &[u32]) -> Result<Self, ReportError> {
        let failed = |source| ReportError::Open { path: path.clone(), source };
        let occupied = |kind| ReportError::Occupied { path: path.clone(), kind };
        let (Some(parent), Some(name)) = (path.as_path().parent(), path.as_path().file_name())
        else {
            return Err(occupied("a directory"));
        };
        let open = || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = rustix::fs::openat(CWD, parent, flags, Mode::empty())?;
            let above = passed.iter().max().map_or(0, |number| number + 1);
            let above = i32::try_from(above).unwrap_or(i32::MAX);
            Ok::<_, io::Error>(rustix::io::fcntl_dupfd_cloexec(&directory, above)?)
        };
        let directory = open().map_err(failed)?;
        if let Some(parent) = path.parent() {
            asked::refuse_opened("--report", &parent, &directory)?;
        }
        let mode = match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => match kind_of(FileType::from_raw_mode(stat.st_mode)) {
                Some(kind) => return Err(occupied(kind)),
                None => Mode::from_raw_mode(stat.st_mode) & Mode::from_raw_mode(0o666),
            },
            Err(rustix::io::Errno::NOENT) => PRIVATE,
            Err(errno) => return Err(failed(errno.into())),
        };
        let report = Self { path: path.clone(), directory, name: name.to_owned(), mode };
        let tried = report.beside().and_then(|(_, beside)| report.remove(&beside));
        tried.map(|()| report).map_err(failed)
    }

    /// Writes it.
    pub(super) fn write(self, text: &str) -> Result<(), ReportError> {
        let failed = |source| ReportError::Write { path: self.path.clone(), source };
        let (mut file, beside) = self.beside().map_err(failed)?;
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| Ok(rustix::fs::fchmod(&file, self.mode)?))
            .and_then(|()| self.take_place(&beside));
        if let Err(source) = written {
            return Err(match self.remove(&beside) {
                Ok(()) => failed(source),
                Err(_) => ReportError::Leftover { path: self.path, beside, source },
            });
        }
        let own = file.metadata().map_err(failed)?;
        match std::fs::symlink_metadata(self.path.as_path()) {
            Ok(now) if (now.dev(), now.ino()) == (own.dev(), own.ino()) => Ok(()),
            _ => Err(ReportError::Replaced { path: self.path.clone() }),
        }
    }

    /// A new file of the caller's own in the same directory, and its name.
    fn beside(&self) -> io::Result<(File, OsString)> {
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let name: OsString = format!(".bryo-report-{:016x}", u64::from_ne_bytes(random)).into();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, &name, flags | OFlags::NOFOLLOW, PRIVATE)?;
        Ok((File::from(file), name))
    }

    fn take_place(&self, beside: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.directory, beside, &self.directory, &self.name)?)
    }

    fn remove(&self, beside: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.directory, beside, AtFlags::empty())?)
    }
}

/// What a file is that no report can replace.
fn kind_of(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::RegularFile => None,
        FileType::Directory => Some("a directory"),
        FileType::Symlink => Some("a symbolic link"),
        FileType::Fifo => Some("a FIFO"),
        FileType::Socket => Some("a socket"),
        _ => Some("a device"),
    }
}
