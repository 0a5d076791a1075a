//! The directories of both sides, opened so that nobody can lead an apply astray.
//!
//! # Theory of operation
//! A layer has two roots, its own and the directory of the host that it lies over. The host's is opened by
//! its path without following any link; everything below either by descriptor, no link followed, no other
//! file system entered. What was opened last on each side is kept, for actions come sorted.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use serde::{Deserialize, Serialize};

use super::item::Since;
use super::journal::Own;
use super::seen::Seen;
use crate::changes::ChangesError;
use crate::changes::layer::{OpenLayer, split};
use crate::plan::step::{Backend, LayerNumber};
use crate::spec::HostPath;
use crate::state::Timestamp;
use crate::state::record::LayerRecord;
use crate::sys::open::{open_host, openat2};
use crate::sys::stat::{FsType, fs_type};

/// How a directory is opened to look up names in it.
const LOOK_UP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW);

/// One side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Side {
    Layer,
    Host,
}

/// A directory and a name in it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) directory: Rc<OwnedFd>,
    pub(super) name: CString,
}

/// The layers of a sandbox and what they lie over.
#[derive(Debug)]
pub(super) struct Places {
    places: Vec<Option<Place>>,
    last: [Option<Last>; 2],
}

/// The directory that was opened last on one side: its layer and its path from that layer's root.
type Last = (LayerNumber, Vec<u8>, Rc<OwnedFd>);

#[derive(Debug)]
struct Place {
    layer: OpenLayer,
    upper: Rc<OwnedFd>,
    /// None where the host has no such directory, or a link in the way.
    host: Option<Rc<OwnedFd>>,
    /// What of the host's changed later than this changed since the sandbox started.
    mark: Option<Timestamp>,
}

impl Places {
    /// Over these layers of a sandbox that was made at `created`. `open` gives the upper directory of each;
    /// none where it is empty.
    pub(super) fn open<E: From<ChangesError>>(
        layers: &[LayerRecord],
        created: Timestamp,
        mut open: impl FnMut(LayerNumber) -> Result<Option<OwnedFd>, E>,
    ) -> Result<Self, E> {
        let mut places = Vec::new();
        for (number, record) in (0..).map(LayerNumber).zip(layers) {
            let Some(upper) = open(number)? else {
                places.push(None);
                continue;
            };
            let layer = OpenLayer::new(number, record, upper)?;
            let failed =
                |source: Errno| ChangesError::OpenHost { path: layer.root.clone(), source };
            let upper = layer.upper.try_clone().map_err(|_| failed(Errno::MFILE))?;
            let host = match open_host(layer.root.as_path()).map_err(plain) {
                Ok(host) => Some(Rc::new(host)),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
                Err(source) => return Err(failed(source).into()),
            };
            let mark =
                layer.mark.or_else(|| host.as_ref().filter(|h| is_local(h)).map(|_| created));
            places.push(Some(Place { layer, upper: Rc::new(upper), host, mark }));
        }
        Ok(Self { places, last: [None, None] })
    }

    fn place(&self, layer: LayerNumber) -> Result<&Place, Errno> {
        self.places.get(usize::from(layer.0)).and_then(Option::as_ref).ok_or(Errno::NOENT)
    }

    /// The layer, as it was opened.
    pub(super) fn layer(&self, layer: LayerNumber) -> Option<&OpenLayer> {
        self.place(layer).ok().map(|place| &place.layer)
    }

    /// Whether something of the host's changed since the sandbox started.
    pub(super) fn since(&self, own: &Own, layer: LayerNumber, seen: &Seen) -> Since {
        match self.place(layer).ok().and_then(|place| place.mark) {
            _ if own.explains(seen) => Since::Unchanged,
            None => Since::Unknown,
            Some(mark) if seen.changed_at() > mark => Since::Changed,
            Some(_) => Since::Unchanged,
        }
    }

    /// Whether another directory than the one that the sandbox saw stands where a layer lay over it. Where numbers
    /// of directories do not last, nothing says so.
    pub(super) fn is_replaced(&self, layer: LayerNumber) -> bool {
        let Ok(place) = self.place(layer) else { return false };
        let host = place.host.as_ref().filter(|host| is_local(host) && !is_overlay(host));
        let now = host.and_then(|host| Seen::of(&**host).ok());
        place.layer.started_over.zip(now).is_some_and(|(was, now)| was != now.inode.number)
    }

    /// Whether a directory of the host's was renamed, or changed in another way than by its entries, since
    /// the sandbox started.
    pub(super) fn is_moved(&self, own: &Own, layer: LayerNumber, seen: &Seen) -> bool {
        let mark = self.place(layer).ok().and_then(|place| place.mark);
        let (seconds, nanoseconds) = seen.modified;
        self.since(own, layer, seen) == Since::Changed
            && mark.is_some_and(|mark| Timestamp::from_parts(seconds, nanoseconds) <= mark)
    }

    pub(super) fn backend(&self, layer: LayerNumber) -> Result<Backend, Errno> {
        self.place(layer).map(|place| place.layer.backend)
    }

    /// The host's directories that layers lie over.
    pub(super) fn hosts(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.places.iter().flatten().filter_map(|place| place.host.as_ref().map(|h| h.as_fd()))
    }

    /// The directory that a path stands in, on one side, and its name there: `.` for a layer's own root.
    ///
    /// Errors: `ENOENT`, `ENOTDIR`, `ELOOP` and `EXDEV` as `openat2(2)` has them.
    pub(super) fn entry(
        &mut self,
        side: Side,
        layer: LayerNumber,
        path: &HostPath,
    ) -> Result<Entry, Errno> {
        let relative = self.relative(side, layer, path)?;
        let (above, name) = split(&relative)?;
        if self.is_alias(side, layer, path) {
            let above = path.parent().ok_or(Errno::INVAL)?;
            let directory = open_host(above.as_path()).map_err(plain)?;
            return Ok(Entry { directory: Rc::new(directory), name });
        }
        Ok(Entry { directory: self.directory(side, layer, above)?, name })
    }

    /// A directory by its path from a layer's root; the root itself where that is empty.
    pub(super) fn directory(
        &mut self,
        side: Side,
        layer: LayerNumber,
        relative: &[u8],
    ) -> Result<Rc<OwnedFd>, Errno> {
        let place = self.place(layer)?;
        let root = match side {
            Side::Layer => &place.upper,
            Side::Host => place.host.as_ref().ok_or(Errno::NOENT)?,
        };
        if relative.is_empty() {
            return Ok(Rc::clone(root));
        }
        if let Some((number, path, directory)) = &self.last[side as usize]
            && *number == layer
            && path == relative
        {
            return Ok(Rc::clone(directory));
        }
        let opened = Rc::new(open_below(root, OsStr::from_bytes(relative), LOOK_UP)?);
        self.last[side as usize] = Some((layer, relative.to_vec(), Rc::clone(&opened)));
        Ok(opened)
    }

    /// Forgets what was opened last: a directory may have got another place.
    pub(super) fn forget(&mut self) {
        self.last = [None, None];
    }

    /// The path from the root of one side.
    pub(super) fn relative(
        &self,
        side: Side,
        layer: LayerNumber,
        path: &HostPath,
    ) -> Result<Vec<u8>, Errno> {
        let layer = &self.place(layer)?.layer;
        match side {
            Side::Layer => layer.relative(path).ok_or(Errno::NOENT),
            Side::Host => match path.relative_to(&layer.root) {
                Some(relative) => Ok(relative.as_os_str().as_bytes().to_vec()),
                None => Ok(path.file_name().unwrap_or_default().as_bytes().to_vec()),
            },
        }
    }

    /// Whether the host's file lies elsewhere than below the directory that the layer lies over.
    fn is_alias(&self, side: Side, layer: LayerNumber, path: &HostPath) -> bool {
        side == Side::Host
            && self.layer(layer).is_some_and(|layer| {
                layer.aliases.iter().any(|copied| copied.from == *path)
                    || !path.starts_with(&layer.root)
            })
    }
}

/// Whether the clock of a file system is this machine's. A network's has its server's.
fn is_local(directory: impl AsFd) -> bool {
    const LOCAL: [FsType; 8] = [
        FsType::BTRFS,
        FsType::EXT4,
        FsType::F2FS,
        FsType::OVERLAYFS,
        FsType::RAMFS,
        FsType::TMPFS,
        FsType::XFS,
        FsType::ZFS,
    ];
    fs_type(directory).is_ok_and(|kind| LOCAL.contains(&kind))
}

/// Whether a directory lies in an overlay, which may give it another number when it is looked up again.
fn is_overlay(directory: impl AsFd) -> bool {
    fs_type(directory).is_ok_and(|kind| kind == FsType::OVERLAYFS)
}

/// Opens below a directory: no link, no way out, no other file system.
pub(super) fn open_below(
    directory: impl AsFd,
    relative: &OsStr,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    openat2(directory, relative, flags, Mode::empty(), resolve).map_err(plain)
}

/// The same number as the library has it.
pub(super) fn plain(errno: crate::sys::errno::Errno) -> Errno {
    Errno::from_raw_os_error(errno.raw())
}
