//! Lists a directory once instead of asking for a hundred names that it does not have.
//!
//! # Theory of operation
//! A home is asked for a hundred names of which it has five. One listing costs as much as some ten
//! looks; so after a few looks in the same directory it is listed once. A name that is not in the list
//! is not there. A name that is in it is looked at all the same.
//!
//! # Decisions
//! A list is believed only where it is certain to tell of everything that can be looked up:
//! - on file systems known for it (not on those that mount or make up files when they are asked for);
//! - in a directory in which names that differ in case are different names, which is tried;
//! - when it is short enough to be read at once.

use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use foldhash::{HashSet, HashSetExt as _};

use crate::spec::HostPath;
use crate::sys::stat::FsType;

use super::entries::{each_entry, open_directory};
use super::resolve::{Seen, look};

/// How many looks a listing is worth.
const WORTH: u32 = 8;
/// Most entries that are read.
const MOST: usize = 2048;

/// File systems that list what can be looked up. All but overlay and tmpfs may fold case, which is
/// tried wherever it matters.
const CERTAIN: [FsType; 8] = [
    FsType::EXT4,
    FsType::XFS,
    FsType::BTRFS,
    FsType::F2FS,
    FsType::NFS,
    FsType::TMPFS,
    FsType::OVERLAYFS,
    FsType::ZFS,
];

/// What is known of one directory's names.
#[derive(Debug)]
pub(super) enum Listing {
    /// It was asked for this many names.
    Asked(u32),
    /// All of its names.
    Names(HashSet<OsString>),
    /// It must be asked for each.
    Uncertain,
}

impl Default for Listing {
    fn default() -> Self {
        Self::Asked(0)
    }
}

impl Listing {
    /// Whether `name` is certainly not there.
    pub(super) fn excludes(&self, name: &OsStr) -> bool {
        matches!(self, Self::Names(names) if !names.contains(name))
    }

    /// Counts a look in the directory at this real path. True when it has just been listed.
    pub(super) fn is_now_worth(&mut self, directory: &HostPath) -> bool {
        let Self::Asked(times) = self else { return false };
        *times += 1;
        if *times <= WORTH {
            return false;
        }
        *self = read(directory).map_or(Self::Uncertain, Self::Names);
        true
    }
}

fn read(directory: &HostPath) -> Option<HashSet<OsString>> {
    let dir = open_directory(directory).ok()?;
    if !CERTAIN.contains(&crate::sys::stat::fs_type(&dir).ok()?) {
        return None;
    }
    let mut names = HashSet::new();
    let mut too_many = false;
    let listed = each_entry(&dir, |name, _| {
        too_many = names.len() == MOST;
        names.insert(OsStr::from_bytes(name.to_bytes()).to_owned());
        if too_many { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if too_many || listed.is_err() {
        return None;
    }
    tells_case_apart(&dir, &names).then_some(names)
}

/// Whether a name with a letter, spelt in the other case, is another name. Where no name has a letter,
/// a listing cannot miss one either.
fn tells_case_apart(dir: impl std::os::fd::AsFd, names: &HashSet<OsString>) -> bool {
    let other_case = |name: &OsString| {
        let mut bytes = name.as_bytes().to_vec();
        let letter = bytes.iter_mut().find(|b| b.is_ascii_alphabetic())?;
        *letter ^= 0x20;
        Some(OsString::from_vec(bytes)).filter(|other| !names.contains(other))
    };
    match names.iter().find_map(other_case) {
        Some(other) => look(dir, other.as_os_str()) == Seen::Absent,
        None => !names.iter().any(|name| name.as_bytes().iter().any(u8::is_ascii_alphabetic)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(directory: &HostPath, listing: &mut Listing, times: u32) -> bool {
        (0..times).fold(false, |_, _| listing.is_now_worth(directory))
    }

    #[test]
    fn a_directory_is_listed_once_it_is_worth_it() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = HostPath::new(std::fs::canonicalize(dir.path()).unwrap()).unwrap();
        std::fs::write(path.as_path().join("there"), "").unwrap();
        let mut listing = Listing::default();
        assert!(!asked(&path, &mut listing, WORTH) && !listing.excludes(OsStr::new("gone")));
        assert!(asked(&path, &mut listing, 1) && listing.excludes(OsStr::new("gone")));
        assert!(!listing.excludes(OsStr::new("there")) && !asked(&path, &mut listing, 1));
    }

    #[test]
    fn a_file_system_that_makes_up_files_is_asked_each_time() {
        let path = HostPath::new("/proc").unwrap();
        let mut listing = Listing::default();
        assert!(asked(&path, &mut listing, WORTH + 1));
        assert!(matches!(listing, Listing::Uncertain));
    }

    #[test]
    fn a_directory_that_cannot_be_read_or_is_too_long_is_asked_each_time() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = HostPath::new(std::fs::canonicalize(dir.path()).unwrap()).unwrap();
        for n in 0..=MOST {
            std::fs::write(path.as_path().join(format!("f{n}")), "").unwrap();
        }
        assert_eq!(read(&path), None);
        std::fs::remove_file(path.as_path().join("f0")).unwrap();
        assert_eq!(read(&path).unwrap().len(), MOST);
        assert_eq!(read(&path.join("nowhere").unwrap()), None);
    }

    #[test]
    fn names_without_letters_need_no_trial_of_case() {
        let dir = open_directory(&HostPath::root()).unwrap();
        let names = |names: &[&str]| names.iter().map(OsString::from).collect();
        assert!(tells_case_apart(&dir, &names(&["1", "_"])));
        assert!(tells_case_apart(&dir, &names(&["usr"])));
        // As on a file system that folds case: the other spelling is there.
        assert!(!tells_case_apart(&dir, &names(&["Usr"])));
    }
}
