//! What a walk makes of one name: the layer's file against the host's.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;

use super::change::{Aspect, Aspects, Change, FileKind, Kind, Node, Trouble};
use super::compare::{Pair, by_stat, open_file};
use super::directory::Names;
use super::marks::Marks;
use super::walk::{Frame, HostSide, LOOK_UP, READ, Walk};
use crate::plan::step::Backend;
use crate::spec::Text;

/// The two sides of one name, and what is known of the place.
struct Found<'a> {
    name: &'a CStr,
    now: Stat,
    was: Option<Stat>,
    /// The host has something there that the sandbox was not shown.
    hidden: bool,
    /// The host's side cannot be looked at.
    blind: bool,
    /// Places below, as indices.
    places: Vec<usize>,
}

impl Walk {
    /// The layer's root.
    pub(super) fn enter_root(&mut self) -> Result<Option<Change>, Errno> {
        let now = fstat(&self.layer.upper)?;
        self.allocated.add(&now);
        let was = self.layer.below.as_ref().map(fstat).transpose()?;
        let places = (0..self.layer.places.len()).collect();
        let name = c".";
        // What the host does not have began as an empty directory, which the payload did not make.
        let is_new = was.is_none();
        let found = Found { name, now, was, hidden: false, blind: false, places };
        let upper = match open_upper(&self.layer.upper, name, &found.now) {
            Err(Errno::ACCESS) => return Ok(self.closed_directory(&found)),
            other => other?,
        };
        let host = self.layer.below.as_ref().map(|below| open_host_directory(below, name));
        let change = self.enter(found, upper, host)?;
        Ok(change.filter(|_| !is_new))
    }

    /// Something that only the host has.
    pub(super) fn deleted(&self, name: &CStr, places: &[usize]) -> Result<Option<Change>, Errno> {
        let Some(host) = self.host() else { return Ok(None) };
        let was = match stat(host, name) {
            Ok(Some(was)) => node(host, name, &was),
            Ok(None) => return Ok(None),
            Err(Errno::ACCESS) => {
                let trouble = Some(Trouble::Unreadable);
                return Ok(self.change(Kind::Deleted).map(|change| Change { trouble, ..change }));
            }
            Err(error) => return Err(error),
        };
        let hidden = was.kind == FileKind::Directory && self.hides(places);
        let stale = self.layer.is_stale(Some(&was));
        let was = Some(was);
        Ok(self.change(Kind::Deleted).map(|change| Change { was, hidden, stale, ..change }))
    }

    /// Something that the layer has.
    pub(super) fn upper_entry(
        &mut self,
        name: &CStr,
        masked: bool,
        places: Vec<usize>,
    ) -> Result<Option<Change>, Errno> {
        let Some(now) = stat(self.upper(), name)? else { return Ok(None) };
        self.allocated.add(&now);
        let (was, blind) = match self.host().map(|host| stat(host, name)) {
            Some(Ok(was)) => (was, false),
            Some(Err(Errno::ACCESS)) => (None, true),
            Some(Err(error)) => return Err(error),
            None => (None, false),
        };
        let hidden = masked && was.is_some() || self.stack.last().is_some_and(|f| f.hidden);
        let was = was.filter(|_| !masked);
        let found = Found { name, now, was, hidden, blind, places };
        if FileKind::of(&now) != FileKind::Directory {
            return self.leaf(&found);
        }
        let upper = match open_upper(self.upper(), name, &found.now) {
            Ok(upper) => upper,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(Errno::ACCESS) => return Ok(self.closed_directory(&found)),
            Err(error) => return Err(error),
        };
        let is_directory = found.was.is_some_and(|was| FileKind::of(&was) == FileKind::Directory);
        let host = self.host().filter(|_| is_directory).map(|host| open_host_directory(host, name));
        self.enter(found, upper, host)
    }

    /// Something that is no directory.
    fn leaf(&mut self, found: &Found<'_>) -> Result<Option<Change>, Errno> {
        let Some(was) = found.was else {
            let kind = if found.blind { Kind::Changed } else { Kind::Added };
            let trouble = if found.blind { Some(Trouble::Unreadable) } else { self.forged(found) };
            return Ok(self.of(found, kind, Aspects::default(), trouble));
        };
        let mut differs = by_stat(&found.now, &was, self.layer.backend);
        let mut trouble = self.forged(found).or_else(|| self.miscopied(found, &was));
        if !differs.has(Aspect::Type) {
            let mut budget = self.budget;
            let looked = match self.host() {
                Some(host) => {
                    let (upper, host) = ((self.upper(), found.name), (host, found.name));
                    let pair = Pair { upper, host, backend: self.layer.backend };
                    pair.look_inside(&found.now, &mut differs, &mut budget)
                }
                None => Ok(()),
            };
            self.budget = budget;
            match looked {
                Ok(()) => {}
                Err(Errno::NOENT | Errno::STALE | Errno::LOOP | Errno::INVAL) => return Ok(None),
                Err(Errno::ACCESS | Errno::PERM) => trouble = Some(Trouble::Unreadable),
                Err(error) => return Err(error),
            }
        }
        if differs.is_empty() && trouble.is_none() {
            return Ok(None);
        }
        Ok(self.of(found, Kind::Changed, differs, trouble))
    }

    /// A directory of the layer's that cannot be read.
    fn closed_directory(&self, found: &Found<'_>) -> Option<Change> {
        let differs = found.was.map(|was| by_stat(&found.now, &was, self.layer.backend));
        let kind = if found.was.is_some() { Kind::Changed } else { Kind::Added };
        self.of(found, kind, differs.unwrap_or_default(), Some(Trouble::Unreadable))
    }

    /// A mark that makes a file's content that of another: only a file without any data can carry it.
    fn forged(&self, found: &Found<'_>) -> Option<Trouble> {
        let empty = found.now.st_size > 0 && found.now.st_blocks == 0;
        if !empty || FileKind::of(&found.now) != FileKind::File {
            return None;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(self.upper(), found.name, flags, Mode::empty()).ok()?;
        let marks = Marks::of_upper(&file, self.layer.backend).ok()?;
        marks.forged.then_some(Trouble::Forged)
    }

    /// Where the host has neither a file nor a link, a file that says it was copied from that: whoever puts a file there
    /// on purpose makes one without that mark. fuse-overlayfs (1.10 tried) leaves it when it is to copy a FIFO, empty, and
    /// answers `EIO` once; from then on it shows that file.
    fn miscopied(&self, found: &Found<'_>, was: &Stat) -> Option<Trouble> {
        let uncopied =
            matches!(FileKind::of(was), FileKind::Fifo | FileKind::Socket | FileKind::Device);
        if self.layer.backend != Backend::Fuse
            || !uncopied
            || FileKind::of(&found.now) != FileKind::File
        {
            return None;
        }
        let marks = open_file((self.upper(), found.name))
            .and_then(|file| Marks::of_upper(&file, self.layer.backend));
        // What cannot be opened tells nothing; an empty file of that kind is not worth a pipe.
        let is_copy = marks.map_or(found.now.st_size == 0, |marks| marks.copied);
        is_copy.then_some(Trouble::Miscopied)
    }

    /// The change of something that the layer has.
    fn of(
        &self,
        found: &Found<'_>,
        kind: Kind,
        differs: Aspects,
        trouble: Option<Trouble>,
    ) -> Option<Change> {
        let now = Some(node(self.upper(), found.name, &found.now));
        let host = self.host().unwrap_or_else(|| self.upper());
        let was = found.was.map(|was| node(host, found.name, &was));
        // In the place of a directory: what the sandbox was not shown of it would go too.
        let replaces = was.as_ref().is_some_and(|was| was.kind == FileKind::Directory)
            && differs.has(Aspect::Type);
        let hidden = found.hidden || replaces && self.hides(&found.places);
        let stale = self.layer.is_stale(was.as_ref());
        let known = |change| Change { differs, now, was, hidden, stale, trouble, ..change };
        self.change(kind).map(known)
    }

    /// Goes into a directory of the layer's. `host` is the host's directory of that name, if there is
    /// one and the sandbox was shown it.
    fn enter(
        &mut self,
        found: Found<'_>,
        upper: OwnedFd,
        host: Option<Result<OwnedFd, Errno>>,
    ) -> Result<Option<Change>, Errno> {
        let backend = self.layer.backend;
        let marks = Marks::of_upper(&upper, backend)?;
        let (mut names, opaque_by_name) = Names::read_upper(&upper, backend)?;
        let above = self.stack.last().is_some_and(|frame| frame.replaced);
        let replaced = above || marks.opaque || opaque_by_name;
        let mut differs =
            found.was.map(|was| by_stat(&found.now, &was, backend)).unwrap_or_default();
        let mut trouble = marks.forged.then_some(Trouble::Forged);
        let side = match host {
            Some(Ok(host)) => {
                let read = compare_directories(&marks, &upper, &host, &mut differs)
                    .and_then(|()| if replaced { names.add_host(&host) } else { Ok(()) });
                match read {
                    Ok(()) => {}
                    Err(Errno::BADF | Errno::ACCESS) if !replaced => {}
                    Err(Errno::BADF | Errno::ACCESS) => trouble = Some(Trouble::Unreadable),
                    Err(error) => return Err(error),
                }
                HostSide::There(Some(host))
            }
            // There is none, or no more.
            None | Some(Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => HostSide::Absent,
            Some(Err(error)) => return Err(error),
        };
        names.sort();
        let kind = if found.was.is_some() { Kind::Changed } else { Kind::Added };
        let differs_or_new = kind == Kind::Added || !differs.is_empty() || trouble.is_some();
        let change = if differs_or_new { self.of(&found, kind, differs, trouble) } else { None };
        self.push(Frame {
            names,
            next: 0,
            upper: Some(upper),
            host: side,
            replaced,
            hidden: found.hidden,
            length: self.length(),
            places: found.places,
            too_deep: false,
        });
        Ok(change)
    }
}

/// Opens a directory of the layer's in which names can be both read and looked up.
fn open_upper(parent: impl AsFd, name: &CStr, now: &Stat) -> Result<OwnedFd, Errno> {
    let directory = openat(parent, name, READ, Mode::empty())?;
    if now.st_mode & 0o100 == 0 {
        statat(&directory, c".", AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(directory)
}

/// Compares the attributes of a directory that both have.
fn compare_directories(
    marks: &Marks,
    upper: &OwnedFd,
    host: &OwnedFd,
    differs: &mut Aspects,
) -> Result<(), Errno> {
    let same = marks.same_as(upper, &Marks::of_host(host)?, host)?;
    differs.set(Aspect::Attributes, !same);
    Ok(())
}

/// Opens a directory of the host for reading, or else to look up names in it.
fn open_host_directory(parent: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    match openat(&parent, name, READ, Mode::empty()) {
        Err(Errno::ACCESS) => openat(&parent, name, LOOK_UP, Mode::empty()),
        other => other,
    }
}

/// What stands at a name; none if nothing. Nothing is mounted by looking.
pub(super) fn stat(directory: impl AsFd, name: &CStr) -> Result<Option<Stat>, Errno> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
        Ok(stat) => Ok(Some(stat)),
        // A name that this file system cannot have is not there.
        Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(None),
        Err(error) => Err(error),
    }
}

/// One side of a change.
pub(super) fn node(directory: impl AsFd, name: &CStr, stat: &Stat) -> Node {
    let target = (FileKind::of(stat) == FileKind::Link)
        .then(|| readlinkat(directory, name, Vec::new()).ok())
        .flatten()
        .map(|target| Text::from(OsStr::from_bytes(target.to_bytes()).to_owned()));
    Node::new(stat, target)
}
