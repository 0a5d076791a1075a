//! Rewrites the marks of a layer before some of it is applied, so that what stays in it still means the same.
//!
//! # Theory of operation
//! What a layer and the host show together must not change when a path moves from the one to the other.
//! An opaque directory hides all that the host has in it: as soon as one of its entries is to become the
//! host's, what it hides is written down name by name. First every name that only the host has gets a
//! whiteout, and every directory that both have is made opaque itself; both say nothing new as long as the
//! directory is opaque. Then the mark is taken away. So each step can be the last one.
//!
//! # Decisions
//! - A whiteout is the character device 0:0 for both kinds of overlay: fuse-overlayfs understands it too.
//! - A directory that its owner may not write in is opened up for the time of the apply; what it was stands
//!   in the journal.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags, mknodat, openat, unlinkat};
use rustix::io::Errno;

use super::journal::{Journal, Line, Opened};
use super::places::{Entry, Places, Side};
use super::seen::Seen;
use super::stage::chmod;
use super::tree::names_in;
use crate::changes::FileKind;
use crate::changes::marks::Marks;
use crate::plan::step::{Backend, LayerNumber};
use crate::spec::HostPath;

const READ: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Attributes that make a directory opaque.
const OPAQUE: [&str; 2] = ["user.overlay.opaque", "user.fuseoverlayfs.opaque"];
/// Names by which fuse-overlayfs makes a directory opaque.
const OPAQUE_NAMES: [&CStr; 2] = [c".wh..wh..opq", c".wh..opq"];

/// Directories of layers of which it is known that nothing in or above them is opaque.
#[derive(Debug, Default)]
pub(super) struct Unsealed(HashSet<(LayerNumber, Vec<u8>)>);

/// Opens up directories that their owner may not write in.
pub(super) struct Opener<'a> {
    pub(super) journal: &'a Journal,
    /// What was opened, to be closed at the end.
    pub(super) opened: &'a mut Vec<Opened>,
}

impl Opener<'_> {
    /// Makes a directory of the caller's one that can be written in.
    pub(super) fn open_up(
        &mut self,
        side: Side,
        layer: LayerNumber,
        path: &HostPath,
        directory: impl AsFd,
    ) -> Result<(), Errno> {
        let seen = Seen::of(&directory)?;
        if seen.mode & 0o300 == 0o300 {
            return Ok(());
        }
        let user = rustix::process::geteuid().as_raw();
        if seen.owner != user || user == 0 {
            return Ok(());
        }
        let opened = Opened { side, layer, path: path.clone(), mode: seen.permissions() };
        self.journal.add(&Line::Opened(opened.clone()))?;
        chmod(directory, seen.permissions() | 0o700)?;
        self.opened.push(opened);
        Ok(())
    }
}

impl Unsealed {
    /// Makes sure that no directory from the layer's root to `relative` is opaque.
    pub(super) fn unseal(
        &mut self,
        places: &mut Places,
        opener: &mut Opener<'_>,
        layer: LayerNumber,
        relative: &[u8],
    ) -> Result<(), Errno> {
        if self.0.contains(&(layer, relative.to_vec())) {
            return Ok(());
        }
        let ends = relative.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let ends: Vec<usize> = [0].into_iter().chain(ends).chain([relative.len()]).collect();
        for end in ends {
            let part = relative[..end].to_vec();
            if self.0.contains(&(layer, part.clone())) {
                continue;
            }
            unseal_one(places, opener, layer, &part)?;
            self.0.insert((layer, part));
        }
        Ok(())
    }
}

fn unseal_one(
    places: &mut Places,
    opener: &mut Opener<'_>,
    layer: LayerNumber,
    relative: &[u8],
) -> Result<(), Errno> {
    let backend = places.backend(layer)?;
    let upper = places.directory(Side::Layer, layer, relative)?;
    let upper = openat(&*upper, ".", READ, Mode::empty())?;
    let by_name = backend == Backend::Fuse && Seen::at(&upper, OPAQUE_NAMES[0])?.is_some();
    if !by_name && !Marks::of_upper(&upper, backend)?.opaque {
        return Ok(());
    }
    let root = places.layer(layer).map(|layer| layer.root.clone()).ok_or(Errno::NOENT)?;
    let path = root.join(OsStr::from_bytes(relative)).map_err(|_| Errno::NAMETOOLONG)?;
    opener.open_up(Side::Layer, layer, &path, &upper)?;
    match places.directory(Side::Host, layer, relative) {
        Ok(host) => write_down(&upper, &openat(&*host, ".", READ, Mode::empty())?, backend)?,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
        Err(error) => return Err(error),
    }
    for mark in OPAQUE {
        match rustix::fs::fremovexattr(&upper, mark) {
            Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(error) => return Err(error),
        }
    }
    for name in OPAQUE_NAMES.iter().filter(|_| backend == Backend::Fuse) {
        unlink_if_there(upper.as_fd(), name)?;
    }
    Ok(())
}

/// Hides each name of the host's directory by itself.
fn write_down(upper: &OwnedFd, host: &OwnedFd, backend: Backend) -> Result<(), Errno> {
    for name in names_in(host)? {
        match Seen::at(upper, &name)? {
            Some(seen) if seen.is_directory() => {
                if Seen::at(host, &name)?.is_some_and(|host| host.is_directory()) {
                    make_opaque(upper, &name, backend)?;
                }
            }
            Some(_) => {}
            None if has_whiteout_name(upper.as_fd(), &name, backend)? => {}
            None => {
                mknodat(upper, &*name, FileType::CharacterDevice, Mode::empty(), 0)?;
            }
        }
    }
    Ok(())
}

fn make_opaque(upper: &OwnedFd, name: &CStr, backend: Backend) -> Result<(), Errno> {
    let directory = openat(upper, name, READ, Mode::empty())?;
    let mark = match backend {
        Backend::Kernel => OPAQUE[0],
        Backend::Fuse => OPAQUE[1],
    };
    rustix::fs::fsetxattr(&directory, mark, b"y", XattrFlags::empty())
}

/// Takes out of a layer what it has at a name: a file, or what hides the host's.
pub(super) fn forget(entry: &Entry, backend: Backend) -> Result<(), Errno> {
    let directory = entry.directory.as_fd();
    match Seen::at(directory, &entry.name)? {
        // Directories go when they are empty, at the end.
        Some(seen) if seen.is_directory() => {}
        _ => unlink_if_there(directory, &entry.name)?,
    }
    match whiteout_name(&entry.name, backend) {
        Some(name) => unlink_if_there(directory, &name),
        None => Ok(()),
    }
}

/// Whether a layer hides what the host has at a name.
pub(super) fn is_hidden(entry: &Entry, backend: Backend) -> Result<bool, Errno> {
    let device = Seen::at(&*entry.directory, &entry.name)?
        .is_some_and(|seen| seen.kind() == FileKind::Device);
    Ok(device || has_whiteout_name(entry.directory.as_fd(), &entry.name, backend)?)
}

fn whiteout_name(name: &CStr, backend: Backend) -> Option<CString> {
    let name = (backend == Backend::Fuse).then(|| [b".wh.", name.to_bytes()].concat())?;
    CString::new(name).ok()
}

fn has_whiteout_name(upper: BorrowedFd<'_>, name: &CStr, backend: Backend) -> Result<bool, Errno> {
    match whiteout_name(name, backend) {
        Some(name) => Ok(Seen::at(upper, &name)?.is_some()),
        None => Ok(false),
    }
}

fn unlink_if_there(directory: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match unlinkat(directory, name, AtFlags::empty()) {
        // fuse-overlayfs takes any kind of file for a whiteout by its name.
        Err(Errno::ISDIR) => match unlinkat(directory, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => Ok(()),
            Err(error) => Err(error),
        },
        Ok(()) | Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes directories of a layer that hold nothing any more, `path` and those above it, but for those that
/// `keeps` says differ by themselves.
pub(super) fn prune(
    places: &mut Places,
    layer: LayerNumber,
    path: &HostPath,
    keeps: &dyn Fn(&HostPath) -> bool,
) -> Result<(), Errno> {
    let root = match places.layer(layer) {
        Some(layer) => layer.root.clone(),
        None => return Ok(()),
    };
    let mut path = path.clone();
    while path.is_below(&root) && !keeps(&path) {
        places.forget();
        let Entry { directory, name } = match places.entry(Side::Layer, layer, &path) {
            Ok(entry) => entry,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(error),
        };
        match unlinkat(&*directory, &*name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::ACCESS) => return Ok(()),
            Err(error) => return Err(error),
        }
        let Some(above) = path.parent() else { return Ok(()) };
        path = above;
    }
    Ok(())
}
