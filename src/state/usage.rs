//! How much of the disk a directory of the store takes.
//!
//! # Theory of operation
//! Every directory is read once; its directories are remembered by name and read when its other entries
//! were added. Only the highest [`OPEN`] of a path are held open: on the way back a directory is found as
//! `..` of the one below it, and taken only when it is the one that was left.
//!
//! Nothing is changed: what may not be read is not counted, and [`Usage::complete`] says so.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Stat, fstat, statat, unlinkat};
use rustix::io::Errno;

use super::directory;
use super::error::StateError;
use super::found::Found;
use super::store::Store;

/// Directories that are open at once.
const OPEN: usize = 64;
/// Unit of `st_blocks`: stat(2).
const BLOCK: u64 = 512;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Of the disk; a file with several names counts once.
    pub bytes: u64,
    /// Files, directories and whatever else, without the directory itself.
    pub entries: u64,
    /// Whether all could be read.
    pub complete: bool,
}

impl Default for Usage {
    fn default() -> Self {
        Self { bytes: 0, entries: 0, complete: true }
    }
}

impl Usage {
    /// Of a directory and all below it.
    pub(super) fn of(directory: impl AsFd) -> Self {
        let mut measuring = Measuring::default();
        if measuring.run(directory.as_fd()).is_err() {
            measuring.usage.complete = false;
        }
        measuring.usage
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            entries: self.entries.saturating_add(other.entries),
            complete: self.complete && other.complete,
        }
    }
}

/// What a store holds beside sandboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Directories of runs that wrote nothing, for the next ones.
    Spare,
    /// What is being removed, or could not be.
    Trash,
    /// What hides places of the host's tree.
    Masks,
    /// Compiled policies of system calls.
    Policies,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Spare, Self::Trash, Self::Masks, Self::Policies];

    /// The directory's name in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spare => super::spare::SPARE,
            Self::Trash => super::store::TRASH,
            Self::Masks => super::mask::MASKS,
            Self::Policies => POLICIES,
        }
    }
}

/// See `confine::seccomp`, which keeps them.
const POLICIES: &str = "seccomp";

impl Store {
    /// What a part of it takes; nothing where it is not there.
    pub fn usage(&self, part: Part) -> Result<Usage, StateError> {
        let failed = |source| StateError::List { store: self.path().clone(), source };
        let directory = directory::open_if_there(&self.0.root, part.name()).map_err(failed)?;
        Ok(directory.map_or_else(Usage::default, Usage::of))
    }

    /// Removes what the next runs would make again: spare directories and compiled policies. What a run
    /// holds just now stays. Masks stay always: a run may have one mounted, and what goes away in it would
    /// show what it hides.
    pub fn remove_remakeable(&self) -> Result<(), StateError> {
        let failed = |source| StateError::List { store: self.path().clone(), source };
        super::spare::remove_all(self).map_err(failed)?;
        let policies = directory::open_if_there(&self.0.root, POLICIES).map_err(failed)?;
        let Some(policies) = policies else { return Ok(()) };
        for name in directory::names_in(&policies).map_err(failed)? {
            match unlinkat(&policies, name.as_c_str(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT | Errno::ISDIR | Errno::PERM) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}

impl Found {
    /// What all of it takes; nothing when it is gone.
    pub fn usage(&self) -> Result<Usage, StateError> {
        let failed = |source| StateError::ReadRecord { id: self.id(), source };
        let opened = self.open().map_err(failed)?;
        Ok(opened.map_or_else(Usage::default, |(directory, _)| Usage::of(directory)))
    }
}

#[derive(Default)]
struct Measuring {
    usage: Usage,
    levels: Vec<Level>,
    /// Files with several names that were counted.
    linked: HashSet<(u64, u64)>,
}

struct Level {
    /// None while it is far above.
    directory: Option<OwnedFd>,
    /// Device and inode.
    identity: (u64, u64),
    /// Directories in it that are still to be read.
    below: Vec<CString>,
}

impl Measuring {
    fn run(&mut self, top: BorrowedFd<'_>) -> Result<(), Errno> {
        let opened = directory::open(top, c".")?;
        self.add(&fstat(&opened)?);
        self.enter(opened)?;
        while let Some(level) = self.levels.last_mut() {
            let Some(name) = level.below.pop() else {
                self.leave()?;
                continue;
            };
            let Some(here) = &level.directory else { return Err(Errno::BADF) };
            match directory::open(here, name.as_c_str()) {
                Ok(opened) => self.enter(opened)?,
                // Removed meanwhile, or exchanged.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(Errno::ACCESS) => self.usage.complete = false,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn enter(&mut self, opened: OwnedFd) -> Result<(), Errno> {
        let stat = fstat(&opened)?;
        let mut below = Vec::new();
        for name in directory::names_in(&opened)? {
            self.look(&opened, &name, &mut below)?;
        }
        let identity = (stat.st_dev, stat.st_ino);
        self.levels.push(Level { directory: Some(opened), identity, below });
        let far = self.levels.len().checked_sub(OPEN + 1);
        if let Some(level) = far.and_then(|index| self.levels.get_mut(index)) {
            level.directory = None;
        }
        Ok(())
    }

    /// Goes up, and opens again what was closed.
    fn leave(&mut self) -> Result<(), Errno> {
        let Some(left) = self.levels.pop() else { return Ok(()) };
        let Some(above) = self.levels.last_mut().filter(|level| level.directory.is_none()) else {
            return Ok(());
        };
        let below = left.directory.ok_or(Errno::BADF)?;
        let opened = directory::open(&below, c"..")?;
        let stat = fstat(&opened)?;
        if (stat.st_dev, stat.st_ino) != above.identity {
            return Err(Errno::STALE);
        }
        above.directory = Some(opened);
        Ok(())
    }

    fn look(
        &mut self,
        directory: &OwnedFd,
        name: &CStr,
        below: &mut Vec<CString>,
    ) -> Result<(), Errno> {
        match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                self.usage.entries += 1;
                self.add(&stat);
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    below.push(name.to_owned());
                }
            }
            Err(Errno::NOENT) => {}
            Err(Errno::ACCESS) => self.usage.complete = false,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn add(&mut self, stat: &Stat) {
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_directory || stat.st_nlink < 2 || self.linked.insert((stat.st_dev, stat.st_ino)) {
            let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
            self.usage.bytes = self.usage.bytes.saturating_add(blocks.saturating_mul(BLOCK));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn usage(path: &std::path::Path) -> Usage {
        Usage::of(fs::File::open(path).unwrap())
    }

    #[test]
    fn a_tree_is_measured_as_du_does_it_however_deep() {
        let directory = tempfile::tempdir().unwrap();
        let mut path = directory.path().to_owned();
        for _ in 0..3 * OPEN {
            path.push("d");
            fs::create_dir(&path).unwrap();
            fs::write(path.join("file"), [1; 5000]).unwrap();
            fs::create_dir(path.join("side")).unwrap();
        }
        fs::hard_link(path.join("file"), directory.path().join("other")).unwrap();
        let sparse = fs::File::create(directory.path().join("sparse")).unwrap();
        sparse.set_len(1 << 40).unwrap();
        let found = usage(directory.path());
        let mut du = std::process::Command::new("du");
        let du = du.args(["-s", "-B1"]).arg(directory.path()).output().unwrap();
        let du = String::from_utf8(du.stdout).unwrap();
        let expected: u64 = du.split_whitespace().next().unwrap().parse().unwrap();
        assert_eq!(found.bytes, expected);
        assert_eq!(found.entries, 3 * OPEN as u64 * 3 + 2);
        assert!(found.complete && fs::metadata(path.join("file")).unwrap().nlink() == 2);
    }
}
