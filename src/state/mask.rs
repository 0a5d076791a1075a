//! Masks that are kept: the whiteouts of a sandbox are the same from run to run.
//!
//! # Theory of operation
//! A default run hides some two hundred places of the home, most of which are not there; to make as many
//! whiteouts costs a millisecond, a third of a start. A mask holds nothing but directories and
//! whiteouts and is only ever a lower layer, which the kernel does not write to: so it is made once and
//! named by the hash of what it holds, in `masks/HASH` of the store.
//!
//! A mask is built under a name of its own and renamed when it is complete; what is found under its hash
//! is complete. Whoever builds one removes what a crash left of others.
//!
//! # Decisions
//! - Masks are not removed: one is the lower layer of whatever sandbox runs now, and a whiteout that
//!   goes away would show what it hides. They take a directory's blocks each and differ only when
//!   profile or home do.
//! - The store is entered by the caller alone and hidden in every sandbox, like the layers: no payload
//!   can take a whiteout away.

use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, FileType, Mode, RenameFlags, chmodat, fstat, mkdirat, mknodat, renameat_with,
};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::directory;
use super::error::StateError;
use super::id::SandboxId;
use super::remove::remove_tree;
use super::sandbox::try_lock;
use super::store::Store;
use crate::plan::step::ScratchEntry;
use crate::spec::{HostPath, SandboxPath};

/// Where they are, in the store.
pub(super) const MASKS: &str = "masks";
/// Changes when the same entries would be made otherwise.
const VERSION: &[u8] = b"bryo-mask 1";
/// Hexadecimal digits of a name: half of the hash. Never as many as an id has.
const DIGITS: usize = 32;

impl Store {
    /// The directory that holds these entries, made when there is none yet. Only directories and
    /// whiteouts can be kept: `EINVAL` for anything else.
    pub fn mask(&self, mode: u32, entries: &[ScratchEntry]) -> Result<HostPath, StateError> {
        let failed = |source| StateError::Mask { store: self.path().clone(), source };
        let name = name_of(mode, entries).map_err(failed)?;
        let masks = directory::ensure(&self.0.root, MASKS).map_err(failed)?;
        if directory::file_type(&masks, &name).map_err(failed)? != Some(FileType::Directory) {
            remove_abandoned(&masks);
            make(&masks, &name, mode, entries).map_err(failed)?;
        }
        self.path().join(format!("{MASKS}/{name}")).map_err(|_| failed(Errno::NAMETOOLONG))
    }
}

/// A name by what the mask holds.
fn name_of(mode: u32, entries: &[ScratchEntry]) -> Result<String, Errno> {
    let mut hash = Sha256::new();
    hash.update(VERSION);
    hash.update(mode.to_le_bytes());
    for entry in entries {
        match entry {
            ScratchEntry::Directory { path, mode } => {
                hash.update(b"d");
                hash.update(mode.to_le_bytes());
                hash.update(path.as_bytes());
            }
            ScratchEntry::Whiteout { path } => {
                hash.update(b"w");
                hash.update(path.as_bytes());
            }
            _ => return Err(Errno::INVAL),
        }
        // No path holds a NUL.
        hash.update(b"\0");
    }
    let digest = hash.finalize();
    let mut name = String::with_capacity(DIGITS);
    for byte in digest.iter().take(DIGITS / 2) {
        write!(name, "{byte:02x}").map_err(|_| Errno::INVAL)?;
    }
    Ok(name)
}

/// Builds a mask beside its place and moves it there, unless somebody else was faster.
fn make(masks: &OwnedFd, name: &str, mode: u32, entries: &[ScratchEntry]) -> Result<(), Errno> {
    let (id, building) = begin(masks)?;
    fill(&building, entries)?;
    chmodat(masks, id.as_str(), Mode::from_raw_mode(mode & 0o7777), AtFlags::empty())?;
    match renameat_with(masks, id.as_str(), masks, name, RenameFlags::NOREPLACE) {
        // The next who makes a mask takes ours away.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A directory to build in, locked so that nobody takes it for abandoned.
fn begin(masks: &OwnedFd) -> Result<(SandboxId, OwnedFd), Errno> {
    loop {
        let id = SandboxId::random()?;
        match mkdirat(masks, id.as_str(), Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => continue,
            Err(error) => return Err(error),
        }
        let building = match directory::open(masks, id.as_str()) {
            Err(Errno::NOENT) => continue,
            other => other?,
        };
        // Somebody may have removed it before it was locked.
        if try_lock(&building)? && fstat(&building)?.st_nlink > 0 {
            return Ok((id, building));
        }
    }
}

/// Makes the entries; directories get their modes when everything in them is made.
fn fill(building: &OwnedFd, entries: &[ScratchEntry]) -> Result<(), Errno> {
    let mut directories = Vec::new();
    for entry in entries {
        match entry {
            ScratchEntry::Directory { path, mode } => {
                mkdirat(building, relative(path), Mode::RWXU)?;
                directories.push((path, *mode));
            }
            ScratchEntry::Whiteout { path } => {
                mknodat(building, relative(path), FileType::CharacterDevice, Mode::empty(), 0)?;
            }
            _ => return Err(Errno::INVAL),
        }
    }
    for (path, mode) in directories.into_iter().rev() {
        let mode = Mode::from_raw_mode(mode & 0o7777);
        chmodat(building, relative(path), mode, AtFlags::empty())?;
    }
    Ok(())
}

/// A place in a mask as a name below its root. Nobody else writes there while it is built.
fn relative(path: &SandboxPath) -> &std::ffi::OsStr {
    std::ffi::OsStr::from_bytes(path.as_bytes().get(1..).unwrap_or_default())
}

/// Removes what was never completed.
fn remove_abandoned(masks: &OwnedFd) {
    let Ok(names) = directory::names_in(masks) else { return };
    for name in names {
        let Ok(id) = SandboxId::parse(name.to_bytes()) else { continue };
        let Ok(left) = directory::open(masks, id.as_str()) else { continue };
        if try_lock(&left) == Ok(true) {
            // What stays is tried again by whoever makes the next mask.
            drop(remove_tree(masks.as_fd(), id, &mut u64::from(u32::MAX)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

    use super::*;

    fn place(path: &str) -> SandboxPath {
        SandboxPath::new(path).unwrap()
    }

    fn entries() -> Vec<ScratchEntry> {
        vec![
            ScratchEntry::Directory { path: place("/.config"), mode: 0o500 },
            ScratchEntry::Whiteout { path: place("/.config/gh") },
            ScratchEntry::Whiteout { path: place("/.ssh") },
        ]
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let path = std::fs::canonicalize(dir.path()).unwrap().join("store");
        let store = Store::open(&HostPath::new(path).unwrap()).unwrap();
        (dir, store)
    }

    fn names(store: &Store) -> Vec<String> {
        let masks = std::fs::read_dir(store.path().as_path().join(MASKS)).unwrap();
        masks.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_mask_holds_what_it_says_with_its_modes() {
        let (_dir, store) = store();
        let mask = store.mask(0o750, &entries()).unwrap();
        let at = |name: &str| std::fs::symlink_metadata(mask.as_path().join(name)).unwrap();
        assert_eq!(at("").permissions().mode() & 0o7777, 0o750);
        assert_eq!(at(".config").permissions().mode() & 0o7777, 0o500);
        for whiteout in [".ssh", ".config/gh"] {
            assert!(at(whiteout).file_type().is_char_device(), "{whiteout}");
            assert_eq!(at(whiteout).rdev(), 0);
        }
    }

    #[test]
    fn the_same_mask_is_made_once_and_another_beside_it() {
        let (_dir, store) = store();
        let first = store.mask(0o750, &entries()).unwrap();
        let inode = std::fs::metadata(first.as_path()).unwrap().ino();
        assert_eq!(store.mask(0o750, &entries()).unwrap(), first);
        assert_eq!(std::fs::metadata(first.as_path()).unwrap().ino(), inode);
        assert_ne!(store.mask(0o700, &entries()).unwrap(), first);
        assert_ne!(store.mask(0o750, &entries()[..2]).unwrap(), first);
        assert_eq!(names(&store).len(), 3);
    }

    #[test]
    fn what_a_crash_left_is_removed_and_what_is_being_built_is_not() {
        let (_dir, store) = store();
        let masks = directory::ensure(&store.0.root, MASKS).unwrap();
        let (left, lock) = begin(&masks).unwrap();
        fill(&lock, &entries()).unwrap();
        drop(lock);
        let (building, _lock) = begin(&masks).unwrap();
        store.mask(0o750, &entries()).unwrap();
        let names = names(&store);
        assert!(!names.contains(&left.to_string()), "{names:?}");
        assert!(names.contains(&building.to_string()), "{names:?}");
        assert_eq!(names.len(), 2);
    }

    #[test]
    fn files_are_not_kept() {
        let (_dir, store) = store();
        let from = HostPath::new("/etc/hostname").unwrap();
        let copy = [ScratchEntry::Copy { path: place("/x"), from }];
        assert!(matches!(store.mask(0o755, &copy), Err(StateError::Mask { .. })));
        assert!(!store.path().as_path().join(MASKS).exists());
    }
}
