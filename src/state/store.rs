//! The store: a directory of the caller's alone that holds every sandbox's record and layers.
//!
//! # Theory of operation
//! ```text
//! STORE/            0700, the caller's, not a link: checked at each opening
//!   live/ID/        a sandbox whose directory is locked by its launcher, or that nobody swept yet
//!     record.json   written before the payload starts
//!     upper-N work-N  the directories of layer N, or
//!     layer-N/        upper and work of a layer that fuse-overlayfs serves
//!   kept/ID/        a sandbox that ended and left something: never locked for longer than a command
//!   names/NAME      a symbolic link to an id, which nobody ever follows
//!   trash/ID        being removed
//!   seccomp/        policies that were compiled, for the next runs
//!   spare/K         directories of runs that wrote nothing, for the next ones
//!   copies/K        what a copy to the host has not yet put in its place
//!   written/HASH-K  what runs could write on the host, for later ones: `host::written` writes and reads it
//! ```
//! A sandbox moves from `live` to `kept` with one rename, so the time that sweeping takes depends on
//! what runs and not on what was kept. Everything is reached by descriptors from the store's own, and no
//! link is followed on the way.
//!
//! # Decisions
//! - The lock is `flock(2)` on the sandbox's directory: no file has to be made for it, it ends with the
//!   last process that has it open, however that ends, and it goes along when the directory is renamed.
//! - A directory that was made and not yet locked can be taken by a sweeper. It locks first and removes
//!   then, so its maker finds the lock taken or the directory unlinked, and makes another.
//! - `live` is marked as the top of unrelated trees (`chattr +T`), so that ext4 spreads what is made in it
//!   over the disk's groups of blocks, each with inodes of its own: runs at the same time, and one after
//!   the other, do not search the same ones.
//! - `names` is itself locked while a name is given or taken away: a stale name could otherwise be
//!   replaced twice.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, IFlags, Mode, OFlags, flock, fstat, ioctl_getflags,
    ioctl_setflags, mkdirat, openat, readlinkat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::directory::{self, names_in};
use super::error::StateError;
use super::id::SandboxId;
use super::sandbox::SandboxDirectory;
use crate::spec::HostPath;

/// An opened store.
#[derive(Debug, Clone)]
pub struct Store(pub(super) Arc<Opened>);

/// Its descriptors.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) path: HostPath,
    pub(super) root: OwnedFd,
    pub(super) live: OwnedFd,
}

/// Where in the store a sandbox's directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Locked, or not yet swept.
    Live,
    /// Ended.
    Kept,
}

impl Place {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Kept => "kept",
        }
    }
}

pub(super) const NAMES: &str = "names";
pub(super) const TRASH: &str = "trash";
const SECCOMP: &str = "seccomp";

impl Store {
    /// Opens the store, and makes it where it is missing.
    pub fn open(path: &HostPath) -> Result<Self, StateError> {
        let failed = |source| StateError::OpenStore { store: path.clone(), source };
        let found = open_checked(path)?;
        let is_new = found.is_none();
        let root = if let Some(root) = found {
            root
        } else {
            make(path).map_err(|source| StateError::MakeStore { store: path.clone(), source })?;
            open_checked(path)?.ok_or_else(|| failed(Errno::NOENT))?
        };
        let live = directory::ensure(&root, Place::Live.name()).map_err(failed)?;
        if is_new {
            // Other file systems have no such flag, and lose nothing.
            spread(&live).unwrap_or_default();
            // Where sandboxes go at their end: to be had when the disk is full, too.
            for name in [Place::Kept.name(), TRASH] {
                directory::ensure(&root, name).map_err(failed)?;
            }
        }
        Ok(Self(Arc::new(Opened { path: path.clone(), root, live })))
    }

    /// Opens the store; none where there is none.
    pub fn open_existing(path: &HostPath) -> Result<Option<Self>, StateError> {
        match open_checked(path)? {
            Some(_) => Self::open(path).map(Some),
            None => Ok(None),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &HostPath {
        &self.0.path
    }

    /// Where compiled policies are kept; made where it is missing.
    pub fn policies(&self) -> Result<HostPath, StateError> {
        let failed = |source| StateError::OpenStore { store: self.0.path.clone(), source };
        directory::ensure(&self.0.root, SECCOMP).map_err(failed)?;
        self.0.path.join(SECCOMP).map_err(|_| failed(Errno::NAMETOOLONG))
    }

    /// Makes and locks the directory of a new sandbox with one layer, and takes the name for it.
    pub fn create(&self, name: Option<&str>) -> Result<SandboxDirectory, StateError> {
        self.create_for(name, 1)
    }

    /// The same with so many layers that are to be the kernel's.
    pub fn create_for(
        &self,
        name: Option<&str>,
        layers: u16,
    ) -> Result<SandboxDirectory, StateError> {
        let failed = |source| StateError::Create { store: self.0.path.clone(), source };
        loop {
            let id = SandboxId::random().map_err(failed)?;
            if let Some(directory) =
                SandboxDirectory::from_spare(self, id, layers).map_err(failed)?
            {
                return self.name_it(directory, name);
            }
            match mkdirat(&self.0.live, id.as_str(), Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(source) => return Err(failed(source)),
            }
            let Some(directory) = SandboxDirectory::lock_new(self, id).map_err(failed)? else {
                continue;
            };
            return self.name_it(directory, name);
        }
    }

    /// Takes the name for a sandbox that was just made; without it the sandbox is removed again.
    fn name_it(
        &self,
        directory: SandboxDirectory,
        name: Option<&str>,
    ) -> Result<SandboxDirectory, StateError> {
        if let Some(name) = name
            && let Err(error) = self.claim(name, directory.id())
        {
            directory.remove()?;
            return Err(error);
        }
        Ok(directory.with_name(name.map(str::to_owned)))
    }

    /// The ids in one place, in no order. What is no id is passed over.
    pub(super) fn ids(&self, place: Place) -> Result<Vec<SandboxId>, StateError> {
        let failed = |source| StateError::List { store: self.0.path.clone(), source };
        let Some(directory) = self.open_place(place).map_err(failed)? else {
            return Ok(Vec::new());
        };
        let names = names_in(&directory).map_err(failed)?;
        Ok(names.iter().filter_map(|name| SandboxId::parse(name.to_bytes()).ok()).collect())
    }

    /// Opens the directory of a place for reading; none if it was never made.
    pub(super) fn open_place(&self, place: Place) -> Result<Option<OwnedFd>, Errno> {
        directory::open_if_there(&self.0.root, place.name())
    }

    /// Gives `name` to a sandbox, unless another that still exists has it, or has it as its id.
    pub(super) fn claim(&self, name: &str, id: SandboxId) -> Result<(), StateError> {
        let failed = |source| StateError::Name { name: name.into(), source };
        if let Ok(other) = SandboxId::parse(name.as_bytes())
            && self.exists(other).map_err(failed)?
        {
            return Err(StateError::NameIsId(other));
        }
        let names = directory::ensure(&self.0.root, NAMES).map_err(failed)?;
        flock(&names, FlockOperation::LockExclusive).map_err(failed)?;
        match symlinkat(id.as_str(), &names, name) {
            Err(Errno::EXIST) => {}
            other => return other.map_err(failed),
        }
        if let Some(holder) = read_name(&names, name).map_err(failed)?
            && self.exists(holder).map_err(failed)?
        {
            return Err(StateError::NameTaken { name: name.to_owned(), id: holder });
        }
        unlinkat(&names, name, AtFlags::empty()).map_err(failed)?;
        symlinkat(id.as_str(), &names, name).map_err(failed)
    }

    /// Gives a sandbox the name `new` in place of any that it has.
    pub(super) fn rename(&self, new: &str, id: SandboxId) -> Result<(), StateError> {
        let failed = |source| StateError::Name { name: new.into(), source };
        if self.named(new).map_err(failed)? == Some(id) {
            return Ok(());
        }
        self.claim(new, id)?;
        for old in self.names().map_err(failed)? {
            if old != new {
                self.release(&old, id)?;
            }
        }
        Ok(())
    }

    /// Takes `name` away from a sandbox that has it.
    pub(super) fn release(&self, name: &str, id: SandboxId) -> Result<(), StateError> {
        let failed = |source| StateError::Name { name: name.into(), source };
        let Some(names) = directory::open_if_there(&self.0.root, NAMES).map_err(failed)? else {
            return Ok(());
        };
        flock(&names, FlockOperation::LockExclusive).map_err(failed)?;
        if read_name(&names, name).map_err(failed)? == Some(id) {
            unlinkat(&names, name, AtFlags::empty()).map_err(failed)?;
        }
        Ok(())
    }

    /// Which sandbox has this name.
    pub(super) fn named(&self, name: &str) -> Result<Option<SandboxId>, Errno> {
        match directory::open_if_there(&self.0.root, NAMES)? {
            Some(names) => read_name(&names, name),
            None => Ok(None),
        }
    }

    pub(super) fn exists(&self, id: SandboxId) -> Result<bool, Errno> {
        Ok(self.find(id)?.is_some())
    }

    /// Where a sandbox is. It moves from `live` to `kept`, and back when it is started again: looked for in this order it
    /// is not missed.
    pub(super) fn find(&self, id: SandboxId) -> Result<Option<Place>, Errno> {
        for place in [Place::Live, Place::Kept, Place::Live] {
            let Some(directory) = self.open_place(place)? else { continue };
            if directory::file_type(&directory, id.as_str())? == Some(FileType::Directory) {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }
}

/// The id that a name's link holds; none if there is no such link, or it holds something else.
fn read_name(names: &OwnedFd, name: &str) -> Result<Option<SandboxId>, Errno> {
    match readlinkat(names, name, Vec::new()) {
        Ok(target) => Ok(SandboxId::parse(target.to_bytes()).ok()),
        Err(Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens the store and refuses it unless it is a directory of the caller's that nobody else may enter.
fn open_checked(path: &HostPath) -> Result<Option<OwnedFd>, StateError> {
    let foreign = |fault| StateError::ForeignStore { store: path.clone(), fault };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = match openat(CWD, path.as_path(), flags, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::NOTDIR | Errno::LOOP) => return Err(foreign(StoreFault::NoDirectory)),
        Err(source) => return Err(StateError::OpenStore { store: path.clone(), source }),
    };
    let failed = |source| StateError::OpenStore { store: path.clone(), source };
    let stat = fstat(root.as_fd()).map_err(failed)?;
    if stat.st_uid != geteuid().as_raw() {
        return Err(foreign(StoreFault::Owner(stat.st_uid)));
    }
    if stat.st_mode & 0o077 != 0 {
        return Err(foreign(StoreFault::Open(stat.st_mode & 0o7777)));
    }
    Ok(Some(root))
}

/// Asks the file system to put what is made in `directory` far from each other.
fn spread(directory: &OwnedFd) -> Result<(), Errno> {
    ioctl_setflags(directory, ioctl_getflags(directory)? | IFlags::TOPDIR)
}

/// Makes a directory of bryo's own, and what is missing above it, where it is not there.
pub fn make_own(path: &HostPath) -> Result<(), StateError> {
    make(path).map_err(|source| StateError::MakeOwn { path: path.clone(), source })
}

/// Makes the store, and what is missing above it, entered by the caller alone.
fn make(path: &HostPath) -> Result<(), Errno> {
    match mkdirat(CWD, path.as_path(), Mode::RWXU) {
        Err(Errno::NOENT) => {
            let parent = path.parent().ok_or(Errno::NOENT)?;
            make(&parent)?;
            match mkdirat(CWD, path.as_path(), Mode::RWXU) {
                Err(Errno::EXIST) => Ok(()),
                other => other,
            }
        }
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// What is wrong with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// It is a link, or no directory.
    NoDirectory,
    /// It belongs to this user.
    Owner(u32),
    /// Others may enter it; the permission bits.
    Open(u32),
}

impl std::fmt::Display for StoreFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoDirectory => f.write_str("it is a link or no directory"),
            Self::Owner(uid) => write!(f, "it belongs to user {uid}"),
            Self::Open(mode) => write!(f, "others may enter it (mode {mode:04o})"),
        }
    }
}
