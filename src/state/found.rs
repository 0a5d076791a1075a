//! A sandbox that was found: what it is, whether it runs, and how to take it.
//!
//! # Decisions
//! - Whether it runs, its lock tells, which is on its directory: process ids come again, records may be
//!   old.
//! - To look at a lock is to take it for a moment, shared. Whoever needs it for itself tries for a while.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, openat, statat};
use rustix::io::Errno;
use rustix::process::Pid;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::copying::Copying;
use super::directory;
use super::error::StateError;
use super::id::SandboxId;
use super::launcher::Launcher;
use super::layer;
use super::record::Record;
use super::sandbox::{RECORD, SandboxDirectory, try_lock};
use super::store::{Place, Store};
use super::summary::Summary;
use super::worker::Worker;
use crate::plan::step::LayerNumber;
use crate::spec::HostPath;

/// Longest record that is read: far above any that is written.
const LONGEST: u64 = 64 << 20;
/// How long a lock is tried for that another command may hold to look at it.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long everything in a sandbox may take to end after its launcher was killed.
const ENDING: Duration = Duration::from_secs(10);
/// How long a command that starts it again, and holds it from the beginning on, may take until it says who it is.
const STARTING: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(2);

/// A sandbox that was found; not locked, so it may end or go at any time.
#[derive(Debug, Clone)]
pub struct Found {
    store: Store,
    id: SandboxId,
    name: Option<String>,
}

impl Found {
    pub(super) fn new(store: &Store, id: SandboxId) -> Self {
        Self { store: store.clone(), id, name: None }
    }

    /// One that was found by its name.
    pub(super) fn called(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Its name, where it was found by that.
    pub fn wanted_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Notes what a copy out of it makes on the host, for as long as that is held.
    pub fn begin_copy(&self) -> Result<Copying, StateError> {
        self.store.begin_copy()
    }

    /// Its id.
    pub fn id(&self) -> SandboxId {
        self.id
    }

    /// The store that holds it.
    pub fn store_path(&self) -> &HostPath {
        self.store.path()
    }

    /// Its directory, wherever it is now, and where that was; none if it is gone.
    pub(super) fn open(&self) -> Result<Option<(OwnedFd, Place)>, Errno> {
        // One that is started again moves back: where it is not in the second place, it may be in the first by now.
        for place in [Place::Live, Place::Kept, Place::Live] {
            let Some(parent) = self.store.open_place(place)? else { continue };
            if let Some(directory) = directory::open_if_there(&parent, self.id.as_str())? {
                return Ok(Some((directory, place)));
            }
        }
        Ok(None)
    }

    fn directory(&self) -> Result<(OwnedFd, Place), StateError> {
        self.open()
            .map_err(|source| StateError::ReadRecord { id: self.id, source })?
            .ok_or_else(|| self.is_gone())
    }

    /// By the word that it was found by, where that is its name.
    pub(super) fn is_gone(&self) -> StateError {
        StateError::NotFound(self.name.as_deref().unwrap_or(self.id.as_str()).into())
    }

    /// What listings show; none for one that is starting, was never begun, or is gone.
    pub fn summary(&self) -> Result<Option<Summary>, StateError> {
        let directory =
            self.open().map_err(|source| StateError::ReadRecord { id: self.id, source });
        match directory? {
            Some((directory, _)) => read_json(&directory, self.id),
            None => Ok(None),
        }
    }

    /// Whether it still exists.
    pub fn is_there(&self) -> Result<bool, StateError> {
        let failed = |source| StateError::ReadRecord { id: self.id, source };
        self.open().map(|directory| directory.is_some()).map_err(failed)
    }

    /// Its record.
    pub fn record(&self) -> Result<Record, StateError> {
        let (directory, place) = self.directory()?;
        match read_record(&directory, self.id) {
            // Somebody removed it meanwhile; or it begins, or leaves nothing, which those that were kept do not.
            Err(StateError::ReadRecord { source: Errno::NOENT, .. })
                if place == Place::Live || !self.is_there()? =>
            {
                Err(self.is_gone())
            }
            other => other,
        }
    }

    /// Whether some process of it holds the lock.
    pub fn is_running(&self) -> Result<bool, StateError> {
        let failed = |source| StateError::Lock { id: self.id, source };
        let Some((directory, Place::Live)) = self.open().map_err(failed)? else {
            return Ok(false);
        };
        match flock(&directory, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(source) => Err(failed(source)),
        }
    }

    /// Opens the upper directory of a layer for reading, locked or not; none if it is empty.
    pub fn open_upper(&self, number: LayerNumber) -> Result<Option<OwnedFd>, StateError> {
        layer::open_upper(self.directory()?.0, self.id, number)
    }

    /// Locks it. Errors: it runs, it is gone.
    pub fn lock(&self) -> Result<SandboxDirectory, StateError> {
        self.lock_within(PATIENCE)
    }

    /// Waits until nobody holds its lock, or for so long: what ends with a launcher that was killed may hold it for a
    /// moment longer.
    pub fn await_free(&self, patience: Duration) {
        drop(self.lock_within(patience));
    }

    fn lock_within(&self, patience: Duration) -> Result<SandboxDirectory, StateError> {
        let end = Instant::now() + patience;
        loop {
            match self.lock_now() {
                Err(StateError::Running(_) | StateError::AtWork { .. }) if Instant::now() < end => {
                    std::thread::sleep(PAUSE);
                }
                Err(StateError::AtWork { id, .. }) => {
                    return Err(StateError::AtWork { id, by: self.worker() });
                }
                other => return other,
            }
        }
    }

    /// Locks it, or gives up at once.
    pub(super) fn lock_now(&self) -> Result<SandboxDirectory, StateError> {
        let failed = |source| StateError::Lock { id: self.id, source };
        loop {
            let (directory, place) = self.directory()?;
            if !try_lock(&directory).map_err(failed)? {
                return Err(match place {
                    Place::Kept => StateError::AtWork { id: self.id, by: None },
                    Place::Live => StateError::Running(self.id),
                });
            }
            // Between opening and locking it may have been moved or removed.
            if self.is_at(place, &directory).map_err(failed)? {
                let made = fstat(&directory).map_err(failed)?;
                let name = self.name().map_err(failed)?;
                let store = self.store.clone();
                return Ok(
                    SandboxDirectory::new(store, self.id, place, directory, made).with_name(name)
                );
            }
        }
    }

    /// Who has it now.
    fn worker(&self) -> Option<Worker> {
        let (directory, _) = self.open().ok()??;
        Worker::of(&fstat(&directory).ok()?)
    }

    /// Its launcher, and a descriptor of it by which it can be told whether it still is.
    pub fn launcher(&self) -> Result<(Pid, OwnedFd), StateError> {
        let launcher = self.summary()?.map(|summary| summary.launcher);
        let found = launcher.and_then(|launcher| {
            let pid = i32::try_from(launcher.pid).ok().and_then(Pid::from_raw)?;
            Some((pid, launcher.open()?))
        });
        found.ok_or(StateError::NoLauncher(self.id))
    }

    /// Kills its launcher, with which everything in it ends, and locks it.
    pub fn kill_and_lock(&self) -> Result<SandboxDirectory, StateError> {
        // At once: what runs is not waited for.
        let found = self.once_known(|| match self.lock_now() {
            Err(StateError::Running(_)) => {
                let launcher = self.summary()?.map(|summary| summary.launcher);
                Ok(launcher.and_then(|launcher| Some(Err((launcher.open()?, launcher.pid)))))
            }
            Err(StateError::AtWork { .. }) => self.lock().map(|directory| Some(Ok(directory))),
            other => other.map(|directory| Some(Ok(directory))),
        })?;
        let (process, pid) = match found {
            Ok(directory) => return Ok(directory),
            Err(launcher) => launcher,
        };
        Launcher::kill(&process).map_err(|source| StateError::Kill { id: self.id, pid, source })?;
        wait_for_exit(&process);
        match self.lock_within(ENDING) {
            Err(StateError::Running(_)) => Err(StateError::StillThere(self.id)),
            other => other,
        }
    }

    /// What `look` finds of one that runs and whose launcher cannot be seen. It may be about to end by itself, or another
    /// command is about to start it again; else it is in a place that is not ours to look into.
    pub(super) fn once_known<T>(
        &self,
        look: impl Fn() -> Result<Option<T>, StateError>,
    ) -> Result<T, StateError> {
        let end = Instant::now() + STARTING;
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            if Instant::now() >= end {
                return Err(StateError::NoLauncher(self.id));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn is_at(&self, place: Place, directory: &OwnedFd) -> Result<bool, Errno> {
        let Some(parent) = self.store.open_place(place)? else { return Ok(false) };
        let opened = fstat(directory)?;
        match statat(parent, self.id.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) => Ok((there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The name that it has now; none also where that cannot be known.
    pub fn name_now(&self) -> Option<String> {
        self.name().unwrap_or_default()
    }

    /// Its name, by the names that are kept and not by its record, which may be unreadable.
    fn name(&self) -> Result<Option<String>, Errno> {
        for name in self.store.names()? {
            if self.store.named(&name)? == Some(self.id) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }
}

/// A killed process ends soon; a pidfd is readable then.
fn wait_for_exit(process: &OwnedFd) {
    let mut waited = [PollFd::new(process, PollFlags::IN)];
    let seconds = i64::try_from(ENDING.as_secs()).unwrap_or(i64::MAX);
    let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
    // Whatever this gives, the lock is what counts.
    while poll(&mut waited, Some(&timeout)) == Err(Errno::INTR) {}
}

/// Reads the record in a sandbox's directory.
pub(super) fn read_record(directory: impl AsFd, id: SandboxId) -> Result<Record, StateError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let missing = || match statat(&directory, RECORD, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => StateError::TornRecord(id),
        Err(source) => StateError::ReadRecord { id, source },
    };
    let Versioned { version } = read_json(&directory, id)?.ok_or_else(missing)?;
    if version > Record::VERSION {
        return Err(StateError::NewerRecord { id, version });
    }
    read_json(&directory, id)?.ok_or_else(missing)
}

/// Reads some form of the record; none when there is none, or only its beginning.
pub(super) fn read_json<T: DeserializeOwned>(
    directory: impl AsFd,
    id: SandboxId,
) -> Result<Option<T>, StateError> {
    let text = match read_file(directory) {
        Ok(text) => text,
        Err(Errno::NOENT) => return Ok(None),
        Err(source) => return Err(StateError::ReadRecord { id, source }),
    };
    match serde_json::from_slice(&text) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_eof() => Ok(None),
        Err(source) => Err(StateError::ParseRecord { id, source }),
    }
}

fn read_file(directory: impl AsFd) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(directory, RECORD, flags, Mode::empty())?;
    let size = u64::try_from(fstat(&file)?.st_size).unwrap_or(0);
    if size > LONGEST {
        return Err(Errno::FBIG);
    }
    let mut text = vec![0; usize::try_from(size).unwrap_or(0)];
    let mut filled = 0;
    while filled < text.len() {
        match rustix::io::read(&file, &mut text[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    text.truncate(filled);
    Ok(text)
}
