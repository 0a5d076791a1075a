//! Where a path of the host leads, link by link, each name looked at once.
//!
//! # Theory of operation
//! A default run asks for some hundred paths that mostly share their parents and mostly do not
//! exist. So names are looked at one by one from the root, and what was seen is remembered: below a
//! directory that is not there nothing is asked again. The answer also says how far a path that does
//! not exist goes.
//!
//! # Decisions
//! - What changes between two looks is not noticed here: whoever acts opens the path anew, without
//!   following links, and the kernel decides.
//! - Nothing is mounted by looking: `lstat(2)` of an automount point does not trigger it.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;

use crate::plan::facts::Kind;
use crate::spec::HostPath;

/// As the kernel has it.
const MOST_LINKS: usize = 40;

/// Whether a link at the last name is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// It is.
    Follow,
    /// It is what was asked for.
    Keep,
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status {
    /// User it belongs to.
    pub(super) uid: u32,
    /// Group it belongs to.
    pub(super) gid: u32,
    /// Permission bits, set-id and sticky included.
    pub(super) mode: u32,
    /// Bytes.
    pub(super) size: u64,
    /// Device and inode.
    pub(super) id: (u64, u64),
    /// What it is.
    pub(super) file_type: FileType,
}

impl From<Stat> for Status {
    fn from(stat: Stat) -> Self {
        Self {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            id: (stat.st_dev, stat.st_ino),
            file_type: FileType::from_raw_mode(stat.st_mode),
        }
    }
}

/// Looks at a name without following it.
pub(super) fn look(dir: impl std::os::fd::AsFd, name: impl rustix::path::Arg) -> Seen {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Seen::There(stat.into()),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Seen::Absent,
        // Not only EACCES: a dead network or FUSE file system answers with others.
        Err(_) => Seen::Forbidden,
    }
}

/// What one look gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Absent,
    Forbidden,
    There(Status),
}

/// Where a path led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Links resolved, as far as it exists; the names that do not exist follow as they are.
    pub(super) real: HostPath,
    /// The directory at which it went no further; `real` itself when it is there.
    pub(super) reached: HostPath,
    /// What stands at `real`.
    pub(super) kind: Kind,
    /// Of what stands at `real`.
    pub(super) status: Option<Status>,
    /// Whether something can appear at `real`: not below a file.
    pub(super) can_appear: bool,
}

impl Found {
    pub(super) fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }
}

/// Looks at names and remembers.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    seen: HashMap<PathBuf, Seen>,
}

impl Resolver {
    /// Where `path` leads.
    pub(super) fn resolve(&mut self, path: &HostPath, last: Last) -> Found {
        let mut pending: Vec<OsString> = path.names().map(OsStr::to_owned).collect();
        pending.reverse();
        let mut real = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == ".." {
                real.pop();
                continue;
            }
            let next = real.join(&name);
            let is_last = pending.is_empty();
            let status = match self.look(&next) {
                Seen::There(status) => status,
                Seen::Absent => return stop(path, &real, &next, pending, Kind::Absent),
                Seen::Forbidden => return stop(path, &real, &next, pending, Kind::Forbidden),
            };
            if status.file_type == FileType::Symlink && !(is_last && last == Last::Keep) {
                links += 1;
                let Some(target) = read_link(&next).filter(|_| links <= MOST_LINKS) else {
                    // A loop leads nowhere: as for the kernel, nobody can look there.
                    return stop(path, &real, &next, pending, Kind::Forbidden);
                };
                if target.as_bytes().starts_with(b"/") {
                    real = PathBuf::from("/");
                }
                push_names(&mut pending, &target);
            } else if !is_last && status.file_type != FileType::Directory {
                // Below a file nothing can be.
                let found = stop(path, &real, &next, pending, Kind::Absent);
                return Found { can_appear: false, ..found };
            } else {
                real = next;
            }
        }
        self.arrive(path, real)
    }

    /// The whole path was walked.
    fn arrive(&mut self, asked: &HostPath, real: PathBuf) -> Found {
        let seen = self.look(&real);
        let real = host_path(real, asked);
        let (kind, status) = match seen {
            Seen::There(status) => (kind_of(&status, &real), Some(status)),
            Seen::Absent => (Kind::Absent, None),
            Seen::Forbidden => (Kind::Forbidden, None),
        };
        Found { reached: real.clone(), real, kind, status, can_appear: true }
    }

    /// Permission bits of a directory at a real path; none when there is none.
    pub(super) fn directory_mode(&mut self, path: &HostPath) -> Option<u32> {
        match self.look(path.as_path()) {
            Seen::There(status) if status.file_type == FileType::Directory => Some(status.mode),
            _ => None,
        }
    }

    fn look(&mut self, path: &Path) -> Seen {
        if let Some(seen) = self.seen.get(path) {
            return *seen;
        }
        let seen = look(rustix::fs::CWD, path);
        self.seen.insert(path.to_owned(), seen);
        seen
    }
}

/// Ends in the directory `reached`, at `real`, behind which `pending` was still to come.
fn stop(
    asked: &HostPath,
    reached: &Path,
    real: &Path,
    pending: Vec<OsString>,
    kind: Kind,
) -> Found {
    let mut real = real.to_owned();
    for name in pending.into_iter().rev() {
        if name == ".." {
            real.pop();
        } else {
            real.push(name);
        }
    }
    let reached = host_path(reached.to_owned(), asked);
    Found { real: host_path(real, asked), reached, kind, status: None, can_appear: true }
}

/// A path that was put together from names is absolute and normal; where links made it too long for
/// the kernel, nothing can be there, and it is called as it was asked for.
fn host_path(path: PathBuf, asked: &HostPath) -> HostPath {
    HostPath::new(path).unwrap_or_else(|_| asked.clone())
}

fn push_names(pending: &mut Vec<OsString>, target: &OsStr) {
    let names = target.as_bytes().split(|b| *b == b'/');
    pending.extend(
        names
            .filter(|name| !name.is_empty() && *name != b".")
            .map(|name| OsStr::from_bytes(name).to_owned())
            .rev(),
    );
}

fn read_link(path: &Path) -> Option<OsString> {
    let target = rustix::fs::readlink(path, Vec::new()).ok()?;
    Some(OsStr::from_bytes(target.as_bytes()).to_owned())
}

/// What stands at `path`, of which `status` is known.
pub(super) fn kind_of(status: &Status, path: &HostPath) -> Kind {
    match status.file_type {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File,
        FileType::Symlink => Kind::Link(read_link(path.as_path()).unwrap_or_default().into()),
        FileType::Socket => Kind::Socket,
        FileType::Fifo => Kind::Fifo,
        _ => Kind::Device,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn at(dir: &tempfile::TempDir, path: &str) -> HostPath {
        let root = std::fs::canonicalize(dir.path()).unwrap();
        HostPath::new(root.join(path)).unwrap()
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/f"), "x").unwrap();
        symlink("b/../f", root.join("a/up")).unwrap();
        symlink(root.join("a"), root.join("abs")).unwrap();
        symlink("loop2", root.join("loop1")).unwrap();
        symlink("loop1", root.join("loop2")).unwrap();
        symlink("a/gone/x", root.join("dangling")).unwrap();
        dir
    }

    #[test]
    fn links_are_followed_wherever_they_stand() {
        let dir = tree();
        let mut resolver = Resolver::default();
        for (asked, real) in [("abs/up", "a/f"), ("abs/b", "a/b"), ("a/b", "a/b"), ("abs", "a")] {
            let found = resolver.resolve(&at(&dir, asked), Last::Follow);
            assert_eq!(found.real, at(&dir, real), "{asked}");
            assert!(found.status.is_some());
        }
        let kept = resolver.resolve(&at(&dir, "abs/up"), Last::Keep);
        assert_eq!((kept.real, kept.kind), (at(&dir, "a/up"), Kind::Link("b/../f".into())));
    }

    #[test]
    fn what_does_not_exist_says_how_far_it_goes() {
        let dir = tree();
        let mut resolver = Resolver::default();
        for (asked, real, reached) in
            [("abs/x/y", "a/x/y", "a"), ("dangling/z", "a/gone/x/z", "a"), ("a/f/y", "a/f/y", "a")]
        {
            let found = resolver.resolve(&at(&dir, asked), Last::Follow);
            assert_eq!(found.kind, Kind::Absent, "{asked}");
            assert_eq!((found.real, found.reached), (at(&dir, real), at(&dir, reached)), "{asked}");
        }
    }

    #[test]
    fn a_loop_of_links_ends() {
        let dir = tree();
        let found = Resolver::default().resolve(&at(&dir, "loop1/x"), Last::Follow);
        assert_eq!((found.kind, found.status), (Kind::Forbidden, None));
        let kept = Resolver::default().resolve(&at(&dir, "loop1"), Last::Keep);
        assert_eq!(kept.kind, Kind::Link("loop2".into()));
    }

    #[test]
    fn a_directory_that_cannot_be_entered_forbids_what_is_below() {
        let dir = tree();
        let locked = at(&dir, "a");
        std::fs::set_permissions(locked.as_path(), PermissionsExt::from_mode(0o000)).unwrap();
        let found = Resolver::default().resolve(&at(&dir, "a/f"), Last::Follow);
        // Root enters all the same.
        if !rustix::process::geteuid().is_root() {
            assert_eq!((found.kind, found.reached), (Kind::Forbidden, locked.clone()));
        }
        std::fs::set_permissions(locked.as_path(), PermissionsExt::from_mode(0o700)).unwrap();
    }
}
