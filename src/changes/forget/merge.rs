//! Turns an opaque directory of a layer into one that is merged with the host's, and shows the same as before.
//!
//! # Theory of operation
//! Each name that only the host has gets a whiteout; each directory of the layer's for which the host
//! has one is marked opaque itself. While the directory above is opaque none of that is seen. Then the
//! mark is taken away, and nothing else is seen than before. It goes from the root down: the next
//! directory on the way has its own mark by then.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, XattrFlags, fchmod, fremovexattr, fsetxattr, fstat, mknodat,
    openat, unlinkat,
};
use rustix::io::Errno;

use super::super::change::FileKind;
use super::super::directory::{Entry, Names};
use super::super::entry::stat;
use super::super::layer::Why;
use super::super::walk::READ;
use super::names_in;
use super::way::{Way, is_whiteout_device, whiteout_file};
use crate::plan::step::Backend;

/// Marks that make a directory opaque, by who sets them; the other names are obeyed by nobody.
const KERNELS: &[&str] = &["user.overlay.opaque"];
const SERVERS: &[&str] = &["user.fuseoverlayfs.opaque", "user.overlay.opaque"];
const OPAQUE_NAME: &CStr = c".wh..wh..opq";

impl Way<'_> {
    /// Makes every directory of the way merged, from the root down.
    pub(super) fn merge_all(&mut self) -> Result<(), Errno> {
        let mut way = std::mem::take(&mut self.levels);
        let mut names: Vec<CString> = Vec::new();
        let mut result = Ok(());
        let mut above_was_opaque = false;
        for level in way.drain(..) {
            if !self.levels.is_empty() {
                names.push(level.name().to_owned());
            }
            self.levels.push(level);
            let Some(last) = self.levels.last_mut() else { continue };
            // Marked while the one above was made merged, or by the overlay.
            last.opaque |= above_was_opaque;
            above_was_opaque = last.opaque;
            if last.opaque && result.is_ok() {
                result = self.merge(&names);
            }
        }
        result
    }

    /// Makes the directory at the end of the way merged.
    fn merge(&mut self, names: &[CString]) -> Result<(), Errno> {
        let Some(host) = self.levels.last().and_then(|level| level.host.as_ref()) else {
            return Ok(());
        };
        let host = openat(host, c".", READ, Mode::empty())?;
        let here = names_in(self)?;
        let mut theirs = Names::default();
        theirs.add_host(&host)?;
        theirs.sort();
        let mut index = 0;
        while let Some((name, _)) = theirs.get(index) {
            index += 1;
            let place: Vec<CString> = names.iter().cloned().chain([name.to_owned()]).collect();
            let why = self.why(&place);
            if why == Some(Why::Covered) {
                continue;
            }
            match here.binary_search_by(|(own, _)| own.as_c_str().cmp(name)) {
                Ok(found) if here[found].1 == Entry::Whiteout => {}
                Ok(_) => self.mark_directory(name, &host)?,
                // It is hidden by the sandbox's own masks.
                Err(_) if why == Some(Why::Masked) => {}
                Err(_) => self.whiteout(name)?,
            }
        }
        self.unmark()
    }

    /// Marks a directory opaque for which the host has one too.
    fn mark_directory(&self, name: &CStr, host: impl AsFd) -> Result<(), Errno> {
        let is_directory = |found: Option<rustix::fs::Stat>| {
            found.is_some_and(|found| FileKind::of(&found) == FileKind::Directory)
        };
        if is_directory(stat(self.upper(), name)?) && is_directory(stat(host, name)?) {
            mark(self.upper(), name, self.backend())?;
        }
        Ok(())
    }

    fn whiteout(&self, name: &CStr) -> Result<(), Errno> {
        let device = FileType::CharacterDevice;
        match mknodat(self.upper(), name, device, Mode::empty(), 0) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) if is_whiteout_device(self.upper(), name)? => Ok(()),
            Err(Errno::PERM) if self.backend() == Backend::Fuse => {
                let mark = whiteout_file(name).ok_or(Errno::NAMETOOLONG)?;
                make_file(self.upper(), &mark)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the marks of the directory at the end of the way away.
    fn unmark(&mut self) -> Result<(), Errno> {
        let backend = self.backend();
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        for name in names_of_marks(backend) {
            match fremovexattr(&level.upper, *name) {
                Ok(()) | Err(Errno::NODATA) => {}
                Err(error) => return Err(error),
            }
        }
        if backend == Backend::Fuse {
            match unlinkat(&level.upper, OPAQUE_NAME, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
        level.opaque = false;
        Ok(())
    }
}

fn names_of_marks(backend: Backend) -> &'static [&'static str] {
    match backend {
        Backend::Kernel => KERNELS,
        Backend::Fuse => SERVERS,
    }
}

/// Marks a directory opaque, whatever its permission bits.
fn mark(parent: BorrowedFd<'_>, name: &CStr, backend: Backend) -> Result<(), Errno> {
    let directory = match openat(parent, name, READ, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let before = stat(parent, name)?.ok_or(Errno::NOENT)?.st_mode & 0o7777;
            crate::state::make_accessible(parent, name)?;
            let directory = openat(parent, name, READ, Mode::empty())?;
            let marked = mark_open(directory.as_fd(), backend);
            return fchmod(&directory, Mode::from_raw_mode(before)).and(marked);
        }
        other => other?,
    };
    let mode = fstat(&directory)?.st_mode & 0o7777;
    if mode & 0o200 != 0 {
        return mark_open(directory.as_fd(), backend);
    }
    fchmod(&directory, Mode::from_raw_mode(mode | 0o200))?;
    let marked = mark_open(directory.as_fd(), backend);
    fchmod(&directory, Mode::from_raw_mode(mode)).and(marked)
}

fn mark_open(directory: BorrowedFd<'_>, backend: Backend) -> Result<(), Errno> {
    let Some(name) = names_of_marks(backend).first() else { return Ok(()) };
    match fsetxattr(directory, *name, b"y", XattrFlags::empty()) {
        Err(Errno::NOTSUP | Errno::PERM) if backend == Backend::Fuse => {
            make_file(directory, OPAQUE_NAME)
        }
        other => other,
    }
}

fn make_file(directory: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::RUSR | Mode::WUSR).map(drop)
}
