//! `--report FILE`: opened before the run, written after it.
//!
//! # Theory of operation
//! A file that cannot be written has to be an error before anything runs. And a payload that may write
//! the directory the file is in could put a link in its place meanwhile, to have the record written over
//! a file of the host: what is written is what was opened, and whether it still stands there is looked
//! at afterwards.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use crate::report::Explain;
use crate::spec::HostPath;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReportError {
    /// Before the run.
    #[error("cannot open `{path}` for the report")]
    Open {
        /// Which file.
        path: HostPath,
        /// Why.
        #[source]
        source: io::Error,
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
    /// Something else stands there now.
    #[error("cannot leave the report at `{path}`: another file took its place during the run")]
    Replaced {
        /// Which file.
        path: HostPath,
    },
}

impl Explain for ReportError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Replaced { .. } => Some("name a file where the payload cannot write".to_owned()),
            Self::Open { .. } | Self::Write { .. } => None,
        }
    }
}

/// The file, open.
#[derive(Debug)]
pub(super) struct ReportFile {
    path: HostPath,
    file: File,
    /// Made by us: it goes away when there is no run.
    made: bool,
}

impl ReportFile {
    /// Opens it, at a number above those that are to be passed: these have to be the caller's own.
    pub(super) fn open(path: &HostPath, passed: &[u32]) -> Result<Self, ReportError> {
        let failed = |source| ReportError::Open { path: path.clone(), source };
        // What a run was asked and given is nobody else's business.
        let options = || {
            let mut options = OpenOptions::new();
            options.write(true).mode(0o600);
            options
        };
        let (file, made) = match options().create_new(true).open(path.as_path()) {
            Ok(file) => (file, true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (options().open(path.as_path()).map_err(failed)?, false)
            }
            Err(error) => return Err(failed(error)),
        };
        let above = passed.iter().max().map_or(0, |number| number + 1);
        let above = i32::try_from(above).unwrap_or(i32::MAX);
        let moved = rustix::io::fcntl_dupfd_cloexec(&file, above);
        let moved: OwnedFd = moved.map_err(|errno| failed(errno.into()))?;
        Ok(Self { path: path.clone(), file: File::from(moved), made })
    }

    /// Writes it.
    pub(super) fn write(mut self, text: &str) -> Result<(), ReportError> {
        let Self { path, file, .. } = &mut self;
        let failed = |source| ReportError::Write { path: path.clone(), source };
        let opened = file.metadata().map_err(failed)?;
        if !opened.is_file() {
            return file.write_all(text.as_bytes()).map_err(failed);
        }
        file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).map_err(failed)?;
        match std::fs::metadata(path.as_path()) {
            Ok(now) if (now.dev(), now.ino()) == (opened.dev(), opened.ino()) => Ok(()),
            _ => Err(ReportError::Replaced { path: path.clone() }),
        }
    }

    /// Takes it away again when there was no run. What cannot be removed is an empty file.
    pub(super) fn discard(self) {
        let same = |now: &std::fs::Metadata| {
            self.file
                .metadata()
                .is_ok_and(|opened| (now.dev(), now.ino()) == (opened.dev(), opened.ino()))
        };
        if self.made && std::fs::symlink_metadata(self.path.as_path()).is_ok_and(|now| same(&now)) {
            std::fs::remove_file(self.path.as_path()).unwrap_or_default();
        }
    }
}
