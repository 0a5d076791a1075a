//! The directory of one sandbox, locked: its layers, its record, its end.
//!
//! # Theory of operation
//! The launcher holds the lock from [`Store::create`] until it has written the final record. The
//! descriptor is closed on exec, but a process that is cloned and does not exec (pid 1) keeps the lock
//! too, unless it closes the descriptor: then the lock says that the launcher lives, and else that
//! launcher or pid 1 lives. Both are right; a sweeper takes what nobody holds.
//!
//! A run that writes nothing gives its directories to the next one (`spare`).
//!
//! # Decisions
//! - What is removed leaves its place with one rename; where the disk has no room for that, its record goes first,
//!   so that nothing takes the rest for a sandbox.
//! - Nothing is synced. After a power cut the newest layers may be missing data as any file that was
//!   just written; ext4 and btrfs order the rename after the data of the record.
//! - The upper directory has the permission bits of the directory that it covers, because they are
//!   what the payload sees. A run that only changes those is not untouched.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, Stat, chmodat, flock, fstat, mkdirat, openat,
    renameat, statat, unlinkat,
};
use rustix::io::Errno;

use super::directory;
use super::error::StateError;
use super::id::SandboxId;
use super::layer::{self, Made, Names, open_upper};
use super::record::{Mark, Record};
use super::remove::remove_tree;
use super::spare::{self, Left, Taken};
use super::store::{NAMES, Place, Store, TRASH};
use super::timestamp::Timestamp;
use super::usage::Usage;
use crate::plan::step::{Backend, Layer, LayerNumber};
use crate::spec::HostPath;

/// Of a record.
pub(super) const RECORD: &str = "record.json";

/// A sandbox's directory, locked by this process.
#[derive(Debug)]
pub struct SandboxDirectory {
    store: Store,
    id: SandboxId,
    pub(super) place: Place,
    directory: OwnedFd,
    pub(super) made: Stat,
    name: Option<String>,
    pub(super) layers: Vec<Made>,
    /// The directories of so many layers, from the first, were there already.
    spare: u16,
}

/// The two directories of a layer.
#[derive(Debug, Clone)]
pub struct LayerDirectories {
    /// What is written goes here.
    pub upper: HostPath,
    /// The overlay's own.
    pub work: HostPath,
    /// For [`Beginning::marks`](super::record::Beginning).
    pub mark: Mark,
}

impl SandboxDirectory {
    /// Locks a directory that was just made; none when a sweeper was faster.
    pub(super) fn lock_new(store: &Store, id: SandboxId) -> Result<Option<Self>, Errno> {
        let directory = match directory::open(&store.0.live, id.as_str()) {
            Err(Errno::NOENT) => return Ok(None),
            other => other?,
        };
        if !try_lock(&directory)? {
            return Ok(None);
        }
        let made = fstat(&directory)?;
        Ok((made.st_nlink > 0).then(|| Self::new(store.clone(), id, Place::Live, directory, made)))
    }

    /// Takes a spare directory for so many layers; none when there is none.
    pub(super) fn from_spare(
        store: &Store,
        id: SandboxId,
        layers: u16,
    ) -> Result<Option<Self>, Errno> {
        let taken = spare::take(store, id, layers)?;
        Ok(taken.map(|Taken { directory, made, layers }| {
            let new = Self::new(store.clone(), id, Place::Live, directory, made);
            Self { spare: layers, ..new }
        }))
    }

    pub(super) fn new(
        store: Store,
        id: SandboxId,
        place: Place,
        directory: OwnedFd,
        made: Stat,
    ) -> Self {
        let (name, layers) = (None, Vec::new());
        Self { store, id, place, directory, made, name, layers, spare: 0 }
    }

    pub(super) fn with_name(self, name: Option<String>) -> Self {
        Self { name, ..self }
    }

    /// Where it is.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Which sandbox.
    pub fn id(&self) -> SandboxId {
        self.id
    }

    /// The name that it has now: somebody may have given it another one since it was taken here.
    pub fn name_now(&self) -> Option<String> {
        // All names are looked through only when the directory that holds them was written to since.
        let is_as_before = match statat(&self.store.0.root, NAMES, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(names) => {
                let since = (self.made.st_ctime, self.made.st_ctime_nsec);
                (names.st_mtime, names.st_mtime_nsec) < since
            }
            Err(error) => error == Errno::NOENT,
        };
        if is_as_before { self.name.clone() } else { self.as_found().name_now() }
    }

    /// When it was made: the change time of its directory, so by the clock of the store's file system.
    pub fn created(&self) -> Timestamp {
        Timestamp::from_parts(self.made.st_ctime, self.made.st_ctime_nsec)
    }

    /// The descriptor that holds the lock: whoever forks without an exec and must not hold it closes it.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Makes the directories of a layer.
    pub fn make_layer(
        &mut self,
        number: LayerNumber,
        layer: &Layer,
    ) -> Result<LayerDirectories, StateError> {
        let failed = |source| StateError::Layer { id: self.id, number, source };
        let mode = layer.mode & 0o7777;
        let names = Names::new(number, layer.backend);
        if let Some(own) = &names.own {
            mkdirat(&self.directory, own, Mode::RWXU).map_err(failed)?;
            self.drop_spare(number).map_err(failed)?;
        }
        if names.own.is_some() || number.0 >= self.spare {
            mkdirat(&self.directory, &names.work, Mode::RWXU).map_err(failed)?;
            mkdirat(&self.directory, &names.upper, Mode::from_raw_mode(mode)).map_err(failed)?;
        }
        // The umask took some bits away.
        let is =
            statat(&self.directory, &names.upper, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        if is.st_mode & 0o7777 != mode {
            chmodat(&self.directory, &names.upper, Mode::from_raw_mode(mode), AtFlags::empty())
                .map_err(failed)?;
        }
        let mark = layer.over.as_ref().map(|over| self.mark(over)).unwrap_or_default();
        let (upper, work) =
            (self.place_of(number, &names.upper)?, self.place_of(number, &names.work)?);
        let directories = LayerDirectories { upper, work, mark };
        self.layers.push(Made { names, mode });
        Ok(directories)
    }

    /// Removes the layer of the kernel's that came with a spare, where one with a server takes its number.
    fn drop_spare(&self, number: LayerNumber) -> Result<(), Errno> {
        if number.0 >= self.spare {
            return Ok(());
        }
        let names = Names::new(number, Backend::Kernel);
        spare::clear_work(&self.directory, &names.work)?;
        unlinkat(&self.directory, &names.upper, AtFlags::REMOVEDIR)?;
        unlinkat(&self.directory, &names.work, AtFlags::REMOVEDIR)
    }

    /// Where something of it is while it runs.
    pub(super) fn place_of(&self, number: LayerNumber, name: &str) -> Result<HostPath, StateError> {
        let relative = format!("{}/{}/{name}", Place::Live.name(), self.id);
        let long = StateError::Layer { id: self.id, number, source: Errno::NAMETOOLONG };
        self.store.path().join(relative).map_err(|_| long)
    }

    /// What `over` is now, and the change time that a file gets now on its file system. A file without a
    /// name is made for it, which nothing on that file system shows.
    pub(super) fn mark(&self, over: &HostPath) -> Mark {
        let Ok(below) = statat(CWD, over.as_path(), AtFlags::SYMLINK_NOFOLLOW) else {
            return Mark::default();
        };
        let touched = || {
            let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
            fstat(openat(CWD, over.as_path(), flags, Mode::RUSR).ok()?).ok()
        };
        let touched = if below.st_dev == self.made.st_dev { Some(self.made) } else { touched() };
        let time = touched.map(|stat| Timestamp::from_parts(stat.st_ctime, stat.st_ctime_nsec));
        Mark { time, root: Some(below.st_ino) }
    }

    /// Writes the first record. The payload may start only after this: a sandbox without a record holds
    /// nothing that a payload wrote.
    pub fn begin(&self, record: &Record) -> Result<(), StateError> {
        self.write_record(RECORD, record)
    }

    /// What all of it takes of the disk.
    pub fn usage(&self) -> Usage {
        Usage::of(&self.directory)
    }

    /// Reads the record.
    pub fn record(&self) -> Result<Record, StateError> {
        super::found::read_record(&self.directory, self.id)
    }

    /// Opens the upper directory of a layer; none if there is none, which is the same as empty.
    pub fn open_upper(&self, number: LayerNumber) -> Result<Option<OwnedFd>, StateError> {
        open_upper(&self.directory, self.id, number)
    }

    /// Whether nothing is in any layer, as far as the directory tells without a record.
    pub(super) fn all_uppers_are_empty(&self) -> Result<bool, StateError> {
        let failed = |source| StateError::ReadRecord { id: self.id, source };
        layer::all_are_empty(&self.directory).map_err(failed)
    }

    /// Ends the run and keeps its record and layers.
    pub fn keep(mut self, record: &Record) -> Result<(), StateError> {
        self.write_end(record)?;
        layer::clear_work(&self.directory).map_err(|source| StateError::Move {
            id: self.id,
            to: Place::Kept.name(),
            source,
        })?;
        self.shelve()
    }

    /// Moves it to where ended sandboxes are.
    pub(super) fn shelve(&mut self) -> Result<(), StateError> {
        if self.place == Place::Kept {
            return Ok(());
        }
        self.move_to(Place::Kept.name())?;
        self.place = Place::Kept;
        Ok(())
    }

    fn move_to(&self, to: &'static str) -> Result<(), StateError> {
        let failed = |source| StateError::Move { id: self.id, to, source };
        let root = &self.store.0.root;
        let place =
            self.store.open_place(self.place).map_err(failed)?.ok_or(failed(Errno::NOENT))?;
        let there = directory::ensure(root, to).map_err(failed)?;
        renameat(&place, self.id.as_str(), &there, self.id.as_str()).map_err(failed)
    }

    /// Removes a sandbox whose layers were not written to, and gives back one whose layers were.
    ///
    /// Not written to: nothing is in the upper directory, and it has the permission bits it was made with
    /// and no attributes. Whether something in it makes a difference to the host is for `changes` to
    /// tell.
    pub fn remove_if_untouched(self) -> Result<Option<Self>, StateError> {
        let mut all_plain = true;
        for Made { names, mode } in &self.layers {
            let at = || names.upper.as_str().into();
            let left = spare::look(&self.directory, &names.upper, *mode);
            match left.map_err(|source| StateError::Remove { id: self.id, at: at(), source })? {
                Left::Changes => return Ok(Some(self)),
                Left::Traces => all_plain = false,
                Left::Nothing => {}
            }
        }
        if all_plain && self.give_back()? {
            return self.release_name().map(|()| None);
        }
        self.remove_parts().map(|()| None)
    }

    /// Makes the directory a spare, where it is like one and there are not enough.
    fn give_back(&self) -> Result<bool, StateError> {
        // Those of a spare that no layer was made of are as they came.
        let layers = self.spare.max(u16::try_from(self.layers.len()).unwrap_or(u16::MAX));
        let is_like_one = (0..)
            .zip(&self.layers)
            .all(|(number, made)| made.names == Names::new(LayerNumber(number), Backend::Kernel));
        if self.place != Place::Live || !is_like_one || !spare::is_kind(layers) {
            return Ok(false);
        }
        self.drop_record()?;
        let given = spare::give_back(&self.store, self.id, &self.directory, layers);
        given.map_err(|source| StateError::Move { id: self.id, to: "spare", source })
    }

    fn release_name(&self) -> Result<(), StateError> {
        match self.name_now() {
            Some(name) => self.store.release(&name, self.id),
            None => Ok(()),
        }
    }

    /// Removes an untouched sandbox, by the names that every run has where that is all there is.
    fn remove_parts(self) -> Result<(), StateError> {
        let expected = |name: &str, flags| match unlinkat(&self.directory, name, flags) {
            Ok(()) | Err(Errno::NOENT) => true,
            Err(_) => false,
        };
        let mut all = expected(RECORD, AtFlags::empty());
        // A spare may have had more layers than were made of it.
        let all_of_spare = (0..self.spare).map(|n| Names::new(LayerNumber(n), Backend::Kernel));
        let spare: Vec<Names> = all_of_spare.collect();
        for Names { own, upper, work } in self.layers.iter().map(|layer| &layer.names).chain(&spare)
        {
            all &= spare::clear_work(&self.directory, work).is_ok();
            all &= expected(upper, AtFlags::REMOVEDIR) && expected(work, AtFlags::REMOVEDIR);
            all &= own.as_ref().is_none_or(|own| expected(own, AtFlags::REMOVEDIR));
        }
        let removed = all
            && self.place == Place::Live
            && unlinkat(&self.store.0.live, self.id.as_str(), AtFlags::REMOVEDIR).is_ok();
        if removed { self.release_name() } else { self.remove() }
    }

    /// Removes the sandbox and all it holds.
    ///
    /// It leaves its place at once: when this is interrupted, the next sweep removes the rest.
    pub fn remove(self) -> Result<(), StateError> {
        let mut all = u64::MAX;
        self.remove_some(&mut all).map(|_| ())
    }

    /// As [`SandboxDirectory::remove`], but with a limit; gives whether all is gone.
    pub(super) fn remove_some(self, budget: &mut u64) -> Result<bool, StateError> {
        let moved = match self.move_to(TRASH) {
            // It gives a file back, which may be the one that was wanting.
            Err(error) if wants_room(&error) => {
                self.drop_record()?;
                self.move_to(TRASH)
            }
            moved => moved,
        };
        let place = match moved {
            Ok(()) => TRASH,
            Err(error) if wants_room(&error) => self.place.name(),
            Err(error) => return Err(error),
        };
        self.release_name()?;
        let parent = directory::open(&self.store.0.root, place)
            .map_err(|source| StateError::Move { id: self.id, to: TRASH, source })?;
        remove_tree(parent.as_fd(), self.id, budget)
    }

    fn drop_record(&self) -> Result<(), StateError> {
        match unlinkat(&self.directory, RECORD, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(source) => Err(StateError::Remove { id: self.id, at: RECORD.into(), source }),
        }
    }
}

/// Whether a move failed for want of room: that for a name in the directory it goes to, or for that directory.
fn wants_room(error: &StateError) -> bool {
    matches!(error, StateError::Move { source: Errno::NOSPC | Errno::DQUOT, .. })
}

/// Whether the lock was free and is now held.
pub(super) fn try_lock(directory: impl AsFd) -> Result<bool, Errno> {
    match flock(directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
