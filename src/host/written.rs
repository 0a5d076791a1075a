//! Notes which directories of the host runs could write, and tells later runs.
//!
//! # Theory of operation
//! A payload that writes a directory straight to the host can put a link there, which leads wherever it likes. A later run
//! that is told a path through it would be shown, or given, that place. So each run notes in its store what its payload
//! can write, before there is one:
//! ```text
//! STORE/written/HASH-K     a symbolic link to the directory; nobody ever follows it
//! ```
//! What one run could write has one hash and is numbered by K. A later run that followed a link on the way to what it
//! was asked for reads the notes, after it looked: no payload that can have put the link there began after that.
//!
//! # Decisions
//! - A link holds a path of any length and is there whole or not at all, after a power cut too. A run of the same places finds its
//!   notes and says by their time that they are in use.
//! - Notes stay when a sandbox is removed: what it put on the host does too. There are [`MOST`] at most; those of directories that
//!   are gone make room first, then those that were not used for longest.
//! - What cannot be read is an error, and so is what cannot be noted: the run that would not be told of it might be any.
//! - With `refuted` this is what `host` writes.
//!
//! # Not here
//! Which links are refused: `plan::planted`.

use std::ffi::{CStr, OsStr};
use std::fmt::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, RawDir, Timespec, Timestamps, UTIME_NOW,
    UTIME_OMIT, flock, fstat, mkdirat, openat, readlinkat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::plan::facts::{Kind, Written};
use crate::plan::step::Named;
use crate::spec::{HostPath, order};

use super::place::LookInto;
use super::{HostError, Probe, twins};

/// Its name in the store.
const NAME: &str = "written";
/// Most notes of one store.
const MOST: usize = 1000;
/// How many there are once room was made.
const LEFT: usize = 900;
/// Hexadecimal digits of a name: half of the hash.
const DIGITS: usize = 32;
/// Bytes of directory entries read at once.
const BUFFER: usize = 16 * 1024;

impl Probe {
    /// Leaves out what the sandbox named that goes on: it was looked at when that was made, and has to lead where it led.
    #[must_use]
    pub fn knowing(mut self, named: &[Named]) -> Self {
        self.known = named.to_vec();
        self
    }

    /// The links that were followed to what was asked for, and who could have put them there. After
    /// [`Probe::mounts`], [`Probe::stores`] and all places.
    pub fn links(&mut self) -> Result<(), HostError> {
        if let Some(spelt) = self.facts.caller.workdir_spelt.clone() {
            self.place(&spelt, LookInto::Nothing);
        }
        let known = &self.known;
        let leads = |asked: &HostPath, real: &HostPath| {
            asked != real && !known.iter().any(|was| was.asked == *asked)
        };
        let facts = &mut self.facts;
        let places = &mut facts.places;
        let mut linked = places
            .iter_mut()
            .filter(|place| place.kind != Kind::Absent && leads(&place.asked, &place.real))
            .peekable();
        if linked.peek().is_none() {
            return Ok(());
        }
        let mut written = Vec::new();
        for store in &facts.stores {
            written.extend(recall(&store.path)?);
        }
        if written.is_empty() {
            return Ok(());
        }
        for place in linked {
            let links = self.resolver.followed(&place.asked);
            let twins = links.iter().flat_map(|link| twins::names_of(link, &facts.twins));
            let twins: Vec<HostPath> = twins.collect();
            place.links = links.into_iter().chain(twins).collect();
        }
        order::sort(&mut written);
        written.dedup();
        facts.written = written;
        Ok(())
    }
}

/// What the runs of a store could write. Nothing where there is no store of the caller's alone.
pub fn recall(store: &HostPath) -> Result<Vec<Written>, HostError> {
    let failed = |source| HostError::Recall { store: store.clone(), source };
    let Some(notes) = open_notes(store).map_err(failed)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for name in names(&notes).map_err(failed)? {
        let target = match readlinkat(&notes, &*name, Vec::new()) {
            Ok(target) => target,
            // Another run has made room; or it is none of ours.
            Err(Errno::NOENT | Errno::INVAL) => continue,
            Err(error) => return Err(failed(error)),
        };
        if let Ok(place) = HostPath::new(OsStr::from_bytes(target.to_bytes())) {
            let run = name.to_bytes().get(..DIGITS).unwrap_or_default().to_vec();
            found.push((run, place));
        }
    }
    order::sort(&mut found);
    let runs = found.chunk_by(|one, other| one.0 == other.0);
    let places = |run: &[(Vec<u8>, HostPath)]| run.iter().map(|(_, place)| place.clone()).collect();
    Ok(runs.map(|run| Written { places: places(run) }).collect())
}

/// Notes in a store, which is there, what a run is about to be able to write.
pub fn note(store: &HostPath, places: &[HostPath]) -> Result<(), HostError> {
    let failed = |source| HostError::Note { store: store.clone(), source };
    let notes = ensure_notes(store).map_err(failed)?;
    // Nobody makes room meanwhile.
    flock(&notes, FlockOperation::LockExclusive).map_err(failed)?;
    let run = hash_of(places);
    let mut is_new = false;
    for (number, place) in places.iter().enumerate() {
        let name = format!("{run}-{number}");
        match symlinkat(place.as_path(), &notes, &name) {
            Ok(()) => is_new = true,
            Err(Errno::EXIST) => use_now(&notes, &name).map_err(failed)?,
            Err(error) => return Err(failed(error)),
        }
    }
    if is_new { make_room(&notes, &run).map_err(failed) } else { Ok(()) }
}

/// A name by what the notes say.
fn hash_of(places: &[HostPath]) -> String {
    let mut hash = Sha256::new();
    for place in places {
        hash.update(place.as_bytes());
        // No path holds a NUL.
        hash.update(b"\0");
    }
    let mut name = String::with_capacity(DIGITS);
    for byte in hash.finalize().iter().take(DIGITS / 2) {
        write!(name, "{byte:02x}").unwrap_or_default();
    }
    name
}

fn use_now(notes: &OwnedFd, name: &str) -> Result<(), Errno> {
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps { last_access: time(UTIME_OMIT), last_modification: time(UTIME_NOW) };
    utimensat(notes, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

/// Removes notes where there are too many: of what is gone, then the oldest, and none of this run's.
fn make_room(notes: &OwnedFd, run: &str) -> Result<(), Errno> {
    let names = names(notes)?;
    if names.len() <= MOST {
        return Ok(());
    }
    let mut others = Vec::new();
    for name in names.iter().filter(|name| !name.to_bytes().starts_with(run.as_bytes())) {
        let stat = statat(notes, &**name, AtFlags::SYMLINK_NOFOLLOW)?;
        // What may only be out of reach for now is there.
        let is_there = !matches!(statat(notes, &**name, AtFlags::empty()), Err(Errno::NOENT));
        others.push((is_there, stat.st_mtime, stat.st_mtime_nsec, name));
    }
    order::sort(&mut others);
    for (.., name) in others.iter().take(names.len() - LEFT) {
        unlinkat(notes, &***name, AtFlags::empty())?;
    }
    Ok(())
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The notes of a store; none where there are none, or the store is not the caller's alone.
fn open_notes(store: &HostPath) -> Result<Option<OwnedFd>, Errno> {
    let store = match openat(CWD, store.as_path(), DIRECTORY, Mode::empty()) {
        Ok(store) => store,
        // No store, or one that is never used.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => return Ok(None),
        Err(error) => return Err(error),
    };
    let stat = fstat(&store)?;
    if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o077 != 0 {
        return Ok(None);
    }
    match openat(&store, NAME, DIRECTORY, Mode::empty()) {
        Ok(notes) => Ok(Some(notes)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn ensure_notes(store: &HostPath) -> Result<OwnedFd, Errno> {
    let store = openat(CWD, store.as_path(), DIRECTORY, Mode::empty())?;
    match openat(&store, NAME, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => {
            match mkdirat(&store, NAME, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            openat(&store, NAME, DIRECTORY, Mode::empty())
        }
        other => other,
    }
}

/// The names of all notes.
fn names(notes: impl AsFd) -> Result<Vec<Box<CStr>>, Errno> {
    let mut names = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut entries = RawDir::new(notes, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().into());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn store() -> (tempfile::TempDir, HostPath) {
        let dir = tempfile::tempdir().unwrap();
        let path = HostPath::new(std::fs::canonicalize(dir.path()).unwrap()).unwrap();
        std::fs::set_permissions(path.as_path(), PermissionsExt::from_mode(0o700)).unwrap();
        (dir, path)
    }

    fn paths(names: &[&str]) -> Vec<HostPath> {
        names.iter().map(|name| HostPath::new(name).unwrap()).collect()
    }

    #[test]
    fn what_runs_could_write_is_known_afterwards_run_by_run() {
        let (_dir, store) = store();
        assert_eq!(recall(&store).unwrap(), []);
        let long = format!("/{}", "x/".repeat(2000));
        let runs = [paths(&["/data/a", "/data/b"]), paths(&["/data/a"]), paths(&[&long])];
        for run in runs.iter().chain(&runs) {
            note(&store, run).unwrap();
        }
        let mut known: Vec<_> = recall(&store).unwrap().into_iter().map(|run| run.places).collect();
        let mut expected = runs.to_vec();
        known.sort();
        expected.sort();
        assert_eq!(known, expected);
    }

    #[test]
    fn a_store_that_others_may_enter_tells_nothing_and_a_broken_one_is_an_error() {
        let (_dir, store) = store();
        note(&store, &paths(&["/data"])).unwrap();
        let set = |mode| {
            std::fs::set_permissions(store.as_path(), PermissionsExt::from_mode(mode)).unwrap();
        };
        set(0o755);
        assert_eq!(recall(&store).unwrap(), []);
        set(0o700);
        assert_eq!(recall(&store).unwrap().len(), 1);
        assert_eq!(recall(&HostPath::new("/nowhere/at/all").unwrap()).unwrap(), []);
        std::fs::rename(store.as_path().join(NAME), store.as_path().join("kept")).unwrap();
        std::os::unix::fs::symlink("kept", store.as_path().join(NAME)).unwrap();
        assert!(recall(&store).is_err() && note(&store, &paths(&["/data"])).is_err());
    }

    #[test]
    fn notes_of_what_is_gone_make_room_first_then_the_oldest() {
        let (_dir, store) = store();
        let there = store.join("there").unwrap();
        std::fs::create_dir(there.as_path()).unwrap();
        note(&store, std::slice::from_ref(&there)).unwrap();
        for number in 0..MOST - 1 {
            note(&store, &paths(&[&format!("/gone/{number}")])).unwrap();
        }
        assert_eq!(recall(&store).unwrap().len(), MOST);
        note(&store, &paths(&["/gone/last"])).unwrap();
        let left = recall(&store).unwrap();
        assert_eq!(left.len(), LEFT);
        let knows = |place: &HostPath| left.iter().any(|run| run.places == [place.clone()]);
        assert!(knows(&there) && knows(&paths(&["/gone/last"])[0]));
        assert!(!knows(&paths(&["/gone/0"])[0]) && knows(&paths(&["/gone/998"])[0]));
    }
}
