//! What other commands use of a detached sandbox while it runs: its log, and the socket of its supervisor.
//!
//! # Theory of operation
//! ```text
//! live/ID/control   where the supervisor listens; nobody but the store's owner comes as far as the directory
//! live/ID/log…      see `log`
//! ```
//! Both move along when the sandbox ends; what is in the way of the next run is removed by it.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;

use super::directory;
use super::error::StateError;
use super::found::Found;
use super::launcher::Launcher;
use super::log;
use super::sandbox::SandboxDirectory;
use super::store::Place;
use crate::sys::errno::Errno as SysErrno;
use crate::sys::socket;

/// Of the socket.
const CONTROL: &str = "control";

/// How a sandbox that runs can be reached.
#[derive(Debug)]
pub enum Line {
    /// By its supervisor's socket.
    Socket(OwnedFd),
    /// By signals to its launcher alone: it runs in somebody's foreground.
    Process(OwnedFd),
    /// It does not run.
    Ended,
}

impl SandboxDirectory {
    /// Opens the log for writing. `bound` is in bytes.
    pub fn log(&self, bound: u64) -> Result<log::Writer, StateError> {
        log::Writer::open(self.descriptor(), bound)
            .map_err(|source| StateError::WriteLog { id: self.id(), source })
    }

    /// Listens for orders.
    pub fn listen(&self) -> Result<OwnedFd, StateError> {
        let failed = |source| StateError::Listen { id: self.id(), source };
        match unlinkat(self.descriptor(), CONTROL, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed(error.into())),
        }
        socket::listen_at(self.descriptor(), CONTROL).map_err(failed)
    }

    /// Nobody listens any more.
    pub fn close_line(&self) -> Result<(), StateError> {
        match unlinkat(self.descriptor(), CONTROL, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(source) => Err(StateError::Listen { id: self.id(), source: source.into() }),
        }
    }

    /// The same sandbox, as one that anybody may take once this is dropped.
    pub fn as_found(&self) -> Found {
        Found::new(self.store(), self.id())
    }
}

impl Found {
    /// The way to whoever watches over it.
    pub fn line(&self) -> Result<Line, StateError> {
        self.once_known(|| self.line_now())
    }

    /// None where it runs, and nobody is seen who watches over it.
    fn line_now(&self) -> Result<Option<Line>, StateError> {
        if !self.is_running()? {
            return Ok(Some(Line::Ended));
        }
        let opened = self.open().map_err(|source| StateError::ReadRecord { id: self.id(), source });
        let Some((directory, Place::Live)) = opened? else { return Ok(Some(Line::Ended)) };
        match socket::connect_at(&directory, CONTROL) {
            Ok(socket) => return Ok(Some(Line::Socket(socket))),
            // It has no socket, or its supervisor has just ended.
            Err(SysErrno::ENOENT | SysErrno::ECONNREFUSED) => {}
            Err(source) => return Err(StateError::Connect { id: self.id(), source }),
        }
        Ok(self.process()?.map(Line::Process))
    }

    /// Its launcher or supervisor; none when that has ended or cannot be seen from here.
    pub fn process(&self) -> Result<Option<OwnedFd>, StateError> {
        let launcher = self.summary()?.map(|summary| summary.launcher);
        Ok(launcher.as_ref().and_then(Launcher::open))
    }

    /// Gives it another name. Of one that ended the record says so too; of one that runs, at its end.
    pub fn rename(&self, new: &str) -> Result<(), StateError> {
        if !self.is_there()? {
            return Err(self.is_gone());
        }
        self.store().rename(new, self.id())?;
        match self.lock() {
            Ok(directory) => match directory.record() {
                Ok(mut record) => {
                    record.name = Some(new.to_owned());
                    directory.replace_record(&record)
                }
                // What cannot be read is called so all the same.
                Err(_) => Ok(()),
            },
            Err(StateError::Running(_) | StateError::AtWork { .. }) => Ok(()),
            // Removed meanwhile: its name goes with it.
            Err(error @ StateError::NotFound(_)) => {
                self.store().release(new, self.id()).and(Err(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Its log; one that is not there when it ran in the foreground.
    pub fn read_log(&self) -> Result<log::Reader, StateError> {
        let failed = |source| StateError::ReadLog { id: self.id(), source };
        let (opened, _) = self.open().map_err(failed)?.ok_or_else(|| self.is_gone())?;
        // Not the description that a lock would be on.
        let log = log::Reader::new(directory::open(&opened, ".").map_err(failed)?);
        let log = log.map_err(failed)?;
        if !log.is_there() && !self.is_kept_or_has_record()? {
            return Err(self.is_gone());
        }
        Ok(log)
    }

    /// Not so where it begins, or is removed: file by file, once it has left its place.
    fn is_kept_or_has_record(&self) -> Result<bool, StateError> {
        match self.open().map_err(|source| StateError::ReadRecord { id: self.id(), source })? {
            None => Ok(false),
            // Of half a one all else is still there.
            Some((_, Place::Kept)) => Ok(true),
            Some((_, Place::Live)) => self.summary().map(|summary| summary.is_some()),
        }
    }
}
