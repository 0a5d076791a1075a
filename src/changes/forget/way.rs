//! Opens the directories from a layer's root down to a path that is dropped, and gives them back their modes and times.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, Mode, OFlags, Stat, Timespec, Timestamps, chmod, fchmod, fremovexattr, fstat,
    futimens, openat, unlinkat,
};
use rustix::io::Errno;

use super::super::alias::is_whiteout;
use super::super::change::FileKind;
use super::super::compare::by_stat;
use super::super::entry::stat;
use super::super::layer::{OpenLayer, Why};
use super::super::marks::Marks;
use super::super::walk::{LOOK_UP, READ};
use super::{Forgot, Here, Sight, names_in};
use crate::plan::step::Backend;
use crate::spec::HostPath;
use crate::state::Bin;

/// A directory of the layer, and the host's beside it.
pub(super) struct Level {
    /// In the directory above.
    name: CString,
    pub(super) upper: OwnedFd,
    /// As it was found.
    before: Stat,
    /// As far as the sandbox saw it.
    pub(super) host: Option<OwnedFd>,
    /// It says so itself that nothing of the host's is seen through it.
    pub(super) opaque: bool,
}

/// Why a way ends before its last name.
pub(super) enum Stop {
    /// Neither layer nor host have such a directory there.
    NotThere,
    /// Another tree stood there.
    NotOurs,
    /// The layer deleted this, or has no directory there any more.
    Above(HostPath),
}

/// The directories that are open, from the layer's root on.
pub(super) struct Way<'a> {
    pub(super) layer: &'a OpenLayer,
    bin: &'a Bin,
    sight: Sight,
    pub(super) levels: Vec<Level>,
}

impl<'a> Way<'a> {
    /// At the root of the layer.
    pub(super) fn new(layer: &'a OpenLayer, bin: &'a Bin, sight: Sight) -> Result<Self, Errno> {
        let host = match &layer.below {
            Some(below) if sight == Sight::Host => {
                Some(openat(below, c".", LOOK_UP, Mode::empty())?)
            }
            _ => None,
        };
        let mut way = Self { layer, bin, sight, levels: Vec::new() };
        let level = way.level(layer.upper.as_fd(), c".", host)?;
        way.levels.push(level);
        Ok(way)
    }

    pub(super) fn backend(&self) -> Backend {
        self.layer.backend
    }

    /// The layer's directory at the end of the way.
    pub(super) fn upper(&self) -> BorrowedFd<'_> {
        self.levels.last().map_or(self.layer.upper.as_fd(), |level| level.upper.as_fd())
    }

    /// The same, to be read from its beginning.
    pub(super) fn readable(&self) -> Result<OwnedFd, Errno> {
        openat(self.upper(), c".", READ, Mode::empty())
    }

    /// Whether nothing of the host's directory is seen at the end of the way.
    fn is_replaced(&self) -> bool {
        self.levels.iter().any(|level| level.opaque)
    }

    pub(super) fn has_whiteout_file(&self, name: &CStr) -> Result<bool, Errno> {
        match whiteout_file(name).filter(|_| self.backend() == Backend::Fuse) {
            Some(mark) => Ok(stat(self.upper(), &mark)?.is_some()),
            None => Ok(false),
        }
    }

    /// Opens a directory of the layer's, with all rights on it for now.
    fn level(
        &self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        host: Option<OwnedFd>,
    ) -> Result<Level, Errno> {
        let look = openat(parent, name, LOOK_UP, Mode::empty())?;
        let before = fstat(&look)?;
        if before.st_mode & 0o700 != 0o700 {
            // The descriptor itself cannot change modes; its name in /proc leads to the same directory.
            let mode = Mode::from_raw_mode(before.st_mode & 0o7777 | 0o700);
            chmod(format!("/proc/self/fd/{}", look.as_raw_fd()), mode)?;
        }
        let upper = openat(&look, c".", READ, Mode::empty())?;
        let opaque = Marks::of_upper(&upper, self.backend())?.opaque
            || self.backend() == Backend::Fuse && stat(&upper, c".wh..wh..opq")?.is_some();
        Ok(Level { name: name.to_owned(), upper, before, host, opaque })
    }

    /// Forgets what is at the end of `names`.
    pub(super) fn forget(&mut self, names: &[CString]) -> Result<Forgot, Errno> {
        self.forget_but(names, &[])
    }

    /// As [`Way::forget`], but for these places below it.
    pub(super) fn forget_but(
        &mut self,
        names: &[CString],
        kept: &[Vec<CString>],
    ) -> Result<Forgot, Errno> {
        let result = self.forget_there(names, kept);
        let back = self.go_back();
        let result = result?;
        back.map(|()| result)
    }

    fn forget_there(&mut self, names: &[CString], kept: &[Vec<CString>]) -> Result<Forgot, Errno> {
        let Some((last, above)) = names.split_last() else { return Ok(Forgot::Nothing) };
        for (depth, name) in above.iter().enumerate() {
            if let Some(stop) = self.go_down(&names[..=depth], name)? {
                return Ok(stop.into());
            }
        }
        let why = self.why(names);
        if why == Some(Why::Covered) && self.sight == Sight::Host {
            return Ok(Forgot::Nothing);
        }
        let here = Here::look(self, last)?;
        let host = self.levels.last().and_then(|level| level.host.as_ref());
        let is_on_host = match host {
            Some(host) if why != Some(Why::Masked) => stat(host, last)?.is_some(),
            _ => false,
        };
        if is_on_host && self.is_replaced() {
            self.merge_all()?;
        } else if matches!(here, Here::Nothing) {
            return Ok(Forgot::Nothing);
        }
        if kept.is_empty() {
            self.take(last)?;
        } else if self.go_down(names, last)?.is_none() {
            self.empty(kept)?;
        }
        Ok(Forgot::Path)
    }

    /// Goes into a directory; `names` leads to it from the root.
    pub(super) fn go_down(
        &mut self,
        names: &[CString],
        name: &CStr,
    ) -> Result<Option<Stop>, Errno> {
        let why = self.why(names);
        if why == Some(Why::Covered) && self.sight == Sight::Host {
            return Ok(Some(Stop::NotOurs));
        }
        let host = self.levels.last().and_then(|level| level.host.as_ref());
        let was = match host.filter(|_| why != Some(Why::Masked)) {
            Some(host) => stat(host, name)?,
            None => None,
        };
        match Here::look(self, name)? {
            Here::Entry(found) if FileKind::of(&found) == FileKind::Directory => {}
            Here::Entry(_) | Here::Whiteout => return Ok(Some(self.above(names))),
            Here::Nothing if was.is_some() && self.is_replaced() => {
                return Ok(Some(self.above(names)));
            }
            Here::Nothing => return Ok(Some(Stop::NotThere)),
        }
        let is_directory = was.is_some_and(|was| FileKind::of(&was) == FileKind::Directory);
        let host = match host.filter(|_| is_directory) {
            Some(host) => Some(openat(host, name, LOOK_UP, Mode::empty())?),
            None => None,
        };
        let level = self.level(self.upper(), name, host)?;
        self.levels.push(level);
        Ok(None)
    }

    fn above(&self, names: &[CString]) -> Stop {
        let relative = names.iter().map(|name| name.to_bytes()).collect::<Vec<_>>().join(&b'/');
        match self.layer.root.join(OsStr::from_bytes(&relative)) {
            Ok(path) => Stop::Above(path),
            Err(_) => Stop::NotThere,
        }
    }

    /// What is special about a place, by its names from the root.
    pub(super) fn why(&self, names: &[CString]) -> Option<Why> {
        let is_it = |place: &&super::super::layer::Place| {
            place.names.len() == names.len()
                && place.names.iter().zip(names).all(|(a, b)| a.as_bytes() == b.to_bytes())
        };
        let exact = self.layer.places.iter().filter(is_it).map(|place| place.why).min();
        exact.or(self.layer.only_shown.then_some(Why::Masked))
    }

    /// Takes what stands under a name out of the layer.
    fn take(&self, name: &CStr) -> Result<(), Errno> {
        let take = |name: &CStr| match self.bin.take(self.upper(), name) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error),
        };
        take(name)?;
        match whiteout_file(name).filter(|_| self.backend() == Backend::Fuse) {
            Some(mark) => take(&mark),
            None => Ok(()),
        }
    }

    /// Empties the directory at the end of the way, but for these places in it. Gives whether there was
    /// anything.
    pub(super) fn empty(&mut self, kept: &[Vec<CString>]) -> Result<bool, Errno> {
        let mut any = false;
        for (name, _) in names_in(self)? {
            let below: Vec<Vec<CString>> = kept
                .iter()
                .filter_map(|place| place.strip_prefix(std::slice::from_ref(&name)))
                .map(<[_]>::to_vec)
                .collect();
            if below.is_empty() {
                self.take(&name)?;
                any = true;
            } else if below.iter().all(|place| !place.is_empty())
                && let Here::Entry(found) = Here::look(self, &name)?
                && FileKind::of(&found) == FileKind::Directory
            {
                let level = self.level(self.upper(), &name, None)?;
                self.levels.push(level);
                any |= self.empty(&below)?;
                self.leave()?;
            }
        }
        Ok(any)
    }

    /// Gives the layer's root the permission bits and attributes of what it covers. Gives whether that
    /// changed anything.
    pub(super) fn plain_root(&mut self) -> Result<bool, Errno> {
        let Some(root) = self.levels.first_mut() else { return Ok(false) };
        let mode = match &root.host {
            Some(host) => fstat(host)?.st_mode & 0o7777,
            None => self.layer.mode,
        };
        let mut changed = mode != root.before.st_mode & 0o7777;
        root.before.st_mode = root.before.st_mode & !0o7777 | mode;
        let marks = Marks::of_upper(&root.upper, self.layer.backend)?;
        for name in marks.stored() {
            fremovexattr(&root.upper, name)?;
            changed = true;
        }
        self.go_back()?;
        Ok(changed)
    }

    /// Goes back to the root; what was for the way alone goes.
    fn go_back(&mut self) -> Result<(), Errno> {
        while self.levels.len() > 1 {
            self.leave()?;
        }
        self.levels.first().map_or(Ok(()), Level::restore)
    }

    /// Leaves the last directory, and removes it when it is empty and as the host's.
    fn leave(&mut self) -> Result<(), Errno> {
        let Some(level) = self.levels.pop() else { return Ok(()) };
        level.restore()?;
        if level.is_for_the_way(self.backend())? {
            match unlinkat(self.upper(), &level.name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Level {
    pub(super) fn name(&self) -> &CStr {
        &self.name
    }

    /// Permission bits and times as they were found.
    fn restore(&self) -> Result<(), Errno> {
        let now = fstat(&self.upper)?;
        if now.st_mode & 0o7777 != self.before.st_mode & 0o7777 {
            fchmod(&self.upper, Mode::from_raw_mode(self.before.st_mode & 0o7777))?;
        }
        let time = |seconds, nanoseconds: u64| Timespec {
            tv_sec: seconds,
            tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
        };
        let before = &self.before;
        let times = Timestamps {
            last_access: time(before.st_atime, before.st_atime_nsec),
            last_modification: time(before.st_mtime, before.st_mtime_nsec),
        };
        futimens(&self.upper, &times)
    }

    /// Whether it is no different from the host's, as far as itself goes.
    fn is_for_the_way(&self, backend: Backend) -> Result<bool, Errno> {
        let Some(host) = self.host.as_ref().filter(|_| !self.opaque) else { return Ok(false) };
        if !by_stat(&self.before, &fstat(host)?, backend).is_empty() {
            return Ok(false);
        }
        let host = match openat(host, c".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            // Its attributes cannot be read, so they were not compared when it was listed.
            Err(Errno::ACCESS) => return Ok(true),
            other => other?,
        };
        Marks::of_upper(&self.upper, backend)?.same_as(&self.upper, &Marks::of_host(&host)?, &host)
    }
}

/// The name by which fuse-overlayfs marks another as deleted; none where it would be too long.
pub(super) fn whiteout_file(name: &CStr) -> Option<CString> {
    let mark = [b".wh.", name.to_bytes()].concat();
    CString::new(mark).ok().filter(|mark| mark.to_bytes().len() <= 255)
}

/// Whether the layer marks a name as deleted with a device.
pub(super) fn is_whiteout_device(directory: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    Ok(stat(directory, name)?.as_ref().is_some_and(is_whiteout))
}
