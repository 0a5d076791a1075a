//! Where a path of the host leads, link by link, each name looked at once.
//!
//! # Theory of operation
//! A default run asks for some four hundred paths that mostly share their parents and mostly do not
//! exist. So each directory is resolved once, whatever is asked in it, and below one that is not there
//! nothing is asked at all. A directory in which many names are asked is listed: what is not in the
//! list is not there, and costs no system call (see [`listing`](super::listing)).
//!
//! # Decisions
//! - What changes between two looks is not noticed here: whoever acts opens the path anew, without
//!   following links, and the kernel decides.
//! - Nothing is mounted by looking: `lstat(2)` of an automount point does not trigger it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use foldhash::HashMap;
use rustix::fs::{Access, AtFlags, CWD, FileType, Stat};
use rustix::io::Errno;

use crate::plan::facts::Kind;
use crate::spec::HostPath;

use super::listing::Listing;
use super::trusted::way_by;

/// As the kernel has it.
pub(super) const MOST_LINKS: usize = 40;

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
    /// What stands at `real`.
    pub(super) kind: Kind,
    /// Of what stands at `real`.
    pub(super) status: Option<Status>,
    /// Where it could not be looked further: a directory that may not be entered, or something of which
    /// nothing can be said (a dead mount).
    pub(super) forbidden_at: Option<HostPath>,
    /// Whether something can appear at `real`: not below a file.
    pub(super) can_appear: bool,
}

impl Found {
    pub(super) fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    fn there(real: HostPath, status: Status) -> Self {
        let kind = kind_of(&status, &real);
        Self { real, kind, status: Some(status), forbidden_at: None, can_appear: true }
    }

    fn absent(real: HostPath, can_appear: bool) -> Self {
        Self { real, kind: Kind::Absent, status: None, forbidden_at: None, can_appear }
    }

    fn forbidden(real: HostPath, at: HostPath) -> Self {
        let forbidden_at = Some(at);
        Self { real, kind: Kind::Forbidden, status: None, forbidden_at, can_appear: true }
    }

    /// What is below something that is no directory to be entered.
    fn below(self, name: &OsStr) -> Self {
        let real = self.real.join(name).unwrap_or(self.real);
        match (self.status, self.forbidden_at) {
            // A file, or a link that leads to one.
            (Some(_), _) => Self::absent(real, false),
            (None, Some(at)) => Self::forbidden(real, at),
            (None, None) => Self::absent(real, self.can_appear),
        }
    }
}

/// What was seen in one directory.
#[derive(Debug, Default)]
struct Directory {
    seen: HashMap<OsString, Seen>,
    listing: Listing,
}

impl Directory {
    /// Looks at `real`, which is `name` in this directory, whose path is `parent`.
    fn look(&mut self, parent: &HostPath, name: &OsStr, real: &HostPath) -> Seen {
        if self.listing.excludes(name) {
            return Seen::Absent;
        }
        if let Some(seen) = self.seen.get(name) {
            return *seen;
        }
        if self.listing.is_now_worth(parent) && self.listing.excludes(name) {
            return Seen::Absent;
        }
        let seen = look(CWD, real.as_path());
        self.seen.insert(name.to_owned(), seen);
        seen
    }
}

/// Where the path of a directory led.
#[derive(Debug)]
struct Led {
    found: Found,
    /// Its index, when it is one.
    directory: Option<usize>,
}

/// Looks at names and remembers.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    directories: Vec<Directory>,
    /// Index of a directory, by its real path.
    by_path: HashMap<HostPath, usize>,
    /// Where the directories that were asked for lead, by their path as it was asked.
    led: HashMap<Vec<u8>, Rc<Led>>,
    /// What stood in the links that were followed.
    targets: HashMap<HostPath, OsString>,
}

impl Resolver {
    /// Where `path` leads.
    pub(super) fn resolve(&mut self, path: &HostPath, last: Last) -> Found {
        self.resolve_bytes(path.as_bytes(), last)
    }

    /// The same for the bytes of an absolute, normal path.
    pub(super) fn resolve_bytes(&mut self, path: &[u8], last: Last) -> Found {
        self.walk(path, last, &mut 0)
    }

    /// Looks at entries of a directory that has just been listed, and remembers what was seen.
    pub(super) fn look_at_all(&mut self, parent: &HostPath, entries: Vec<HostPath>) -> Vec<Found> {
        let index = self.index(parent);
        let directory = &mut self.directories[index];
        let looked = entries.into_iter().map(|path| {
            let seen = look(CWD, path.as_path());
            let name = path.file_name().unwrap_or_default().to_owned();
            directory.seen.insert(name, seen);
            match seen {
                Seen::There(status) => Found::there(path, status),
                Seen::Absent => Found::absent(path, true),
                Seen::Forbidden => Found::forbidden(path.clone(), path),
            }
        });
        looked.collect()
    }

    /// `links` counts those that were followed.
    fn walk(&mut self, path: &[u8], last: Last, links: &mut usize) -> Found {
        let Some((parent, name)) = split_last(path) else {
            return root();
        };
        let parent = self.lead(parent, links);
        match parent.directory {
            Some(directory) => self.step((&parent.found.real, directory), name, last, links),
            None => parent.found.clone().below(name),
        }
    }

    /// Where a directory leads; each is resolved once.
    fn lead(&mut self, path: &[u8], links: &mut usize) -> Rc<Led> {
        if let Some(led) = self.led.get(path) {
            return Rc::clone(led);
        }
        let before = *links;
        let found = self.walk(path, Last::Follow, links);
        let directory = found.is_directory().then(|| self.index(&found.real));
        let led = Rc::new(Led { found, directory });
        // What was cut short as there were too many links before is no answer for others.
        if before == 0 {
            self.led.insert(path.to_owned(), Rc::clone(&led));
        }
        led
    }

    /// The index of a directory at a real path.
    fn index(&mut self, real: &HostPath) -> usize {
        if let Some(index) = self.by_path.get(real) {
            return *index;
        }
        self.directories.push(Directory::default());
        let index = self.directories.len() - 1;
        self.by_path.insert(real.clone(), index);
        index
    }

    /// One name in a directory, given by its real path and its index.
    fn step(
        &mut self,
        (parent, directory): (&HostPath, usize),
        name: &OsStr,
        last: Last,
        links: &mut usize,
    ) -> Found {
        let Ok(real) = parent.join(name) else {
            // Longer than the kernel takes: nothing can be there.
            return Found::absent(parent.clone(), false);
        };
        match self.directories[directory].look(parent, name, &real) {
            Seen::Absent => Found::absent(real, true),
            Seen::Forbidden => {
                let at = if may_enter(parent) { real.clone() } else { parent.clone() };
                Found::forbidden(real, at)
            }
            Seen::There(status)
                if status.file_type == FileType::Symlink && last == Last::Follow =>
            {
                *links += 1;
                match self.target(&real).filter(|_| *links <= MOST_LINKS) {
                    Some(target) => self.follow(parent, &target, links),
                    // A loop leads nowhere, and what is put in its place is not the host's.
                    None => Found::absent(real, false),
                }
            }
            Seen::There(status) => Found::there(real, status),
        }
    }

    /// What stands in a link, read once: which links were followed can be told afterwards, whatever was put in their
    /// places meanwhile.
    fn target(&mut self, link: &HostPath) -> Option<OsString> {
        if let Some(target) = self.targets.get(link) {
            return Some(target.clone());
        }
        let target = read_link(link.as_path())?;
        self.targets.insert(link.clone(), target.clone());
        Some(target)
    }

    /// The links that were followed to where `path` led, which was asked for before; each below a parent without links.
    pub(super) fn followed(&self, path: &HostPath) -> Vec<HostPath> {
        way_by(path, |link| self.targets.get(link).cloned()).links
    }

    /// The target of a link that stands in `parent`; `..` climbs from where links led.
    fn follow(&mut self, parent: &HostPath, target: &OsStr, links: &mut usize) -> Found {
        let from_root = target.as_bytes().starts_with(b"/");
        let begin = if from_root { HostPath::root() } else { parent.clone() };
        let mut found = self.walk(begin.as_bytes(), Last::Keep, links);
        for name in target.as_bytes().split(|b| *b == b'/') {
            found = match name {
                b"" | b"." => continue,
                b".." => match found.real.parent() {
                    Some(above) => self.walk(above.as_bytes(), Last::Keep, links),
                    None => continue,
                },
                name if found.is_directory() => {
                    let directory = self.index(&found.real);
                    let name = OsStr::from_bytes(name);
                    self.step((&found.real, directory), name, Last::Follow, links)
                }
                name => found.below(OsStr::from_bytes(name)),
            };
        }
        found
    }

    /// Permission bits of a directory at a real path; none when there is none.
    pub(super) fn directory_mode(&mut self, path: &HostPath) -> Option<u32> {
        self.mode_of(path.as_bytes())
    }

    /// The same for the bytes of an absolute, normal path.
    pub(super) fn mode_of(&mut self, path: &[u8]) -> Option<u32> {
        let of = |found: &Found| found.status.filter(|_| found.is_directory());
        let status = match self.led.get(path) {
            Some(led) if led.found.real.as_bytes() == path => of(&led.found),
            _ => of(&self.resolve_bytes(path, Last::Keep)),
        };
        status.map(|status| status.mode)
    }
}

fn may_enter(directory: &HostPath) -> bool {
    rustix::fs::accessat(CWD, directory.as_path(), Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

fn root() -> Found {
    match look(CWD, "/") {
        Seen::There(status) => Found::there(HostPath::root(), status),
        Seen::Absent | Seen::Forbidden => Found::forbidden(HostPath::root(), HostPath::root()),
    }
}

/// The parent of an absolute, normal path and its last name; none for `/`.
pub(super) fn split_last(path: &[u8]) -> Option<(&[u8], &OsStr)> {
    let slash = path.iter().rposition(|b| *b == b'/')?;
    let name = path.get(slash + 1..).filter(|name| !name.is_empty())?;
    Some((if slash == 0 { b"/" } else { &path[..slash] }, OsStr::from_bytes(name)))
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
mod tests;
