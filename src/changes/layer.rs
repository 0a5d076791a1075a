//! A layer, opened together with what it lies over.

use std::ffi::{CString, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::ChangesError;
use super::change::Node;
use crate::plan::step::{Backend, Copied, LayerNumber};
use crate::spec::{HostPath, SandboxPath};
use crate::state::Timestamp;
use crate::state::record::LayerRecord;

/// A layer, ready to be read.
#[derive(Debug)]
pub(super) struct OpenLayer {
    pub(super) number: LayerNumber,
    /// The paths of changes begin with this.
    pub(super) root: HostPath,
    pub(super) backend: Backend,
    pub(super) upper: OwnedFd,
    /// Permission bits that its root was made with.
    pub(super) mode: u32,
    /// None when the host has no such directory.
    pub(super) below: Option<OwnedFd>,
    pub(super) places: Vec<Place>,
    /// The sandbox was shown nothing of the host's directory but the places that say so.
    pub(super) only_shown: bool,
    /// Files of the host that were copied to a place with another name.
    pub(super) aliases: Vec<Copied>,
    /// What of the host's changed later than this changed since the sandbox started.
    pub(super) mark: Option<Timestamp>,
    /// The number of the directory that it lay over at the start.
    pub(super) started_over: Option<u64>,
}

/// A relative place in a layer that is not the layer's own matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) names: Vec<OsString>,
    pub(super) why: Why,
}

/// What is special about a place; when several are, the first of these counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// Another tree stood there.
    Covered,
    /// The host has something there that the sandbox was not shown.
    Masked,
    /// It was in the shadow that the sandbox was shown instead of the host's directory.
    Shown,
}

impl OpenLayer {
    /// Opens what the layer lies over: for one that began empty, what the host has in that place.
    pub(super) fn new(
        number: LayerNumber,
        record: &LayerRecord,
        upper: OwnedFd,
    ) -> Result<Self, ChangesError> {
        let layer = &record.layer;
        let root = layer.over.clone().unwrap_or_else(|| layer.at.same_on_host());
        let below = open_host(&root)?;
        let place = |why| {
            move |path: &SandboxPath| Place {
                names: path.names().map(OsString::from).collect(),
                why,
            }
        };
        let is_alias = |copied: &&Copied| {
            copied
                .path
                .relative_to(&SandboxPath::root())
                .is_none_or(|path| copied.from.relative_to(&root) != Some(path))
        };
        let aliases: Vec<Copied> = layer.copied.iter().filter(is_alias).cloned().collect();
        let mut places: Vec<Place> = layer.covered.iter().map(place(Why::Covered)).collect();
        places.extend(aliases.iter().map(|copied| &copied.path).map(place(Why::Covered)));
        places.extend(record.masked.iter().map(place(Why::Masked)));
        places.extend(record.shown.iter().flatten().map(place(Why::Shown)));
        let (backend, mode, only_shown) = (layer.backend, layer.mode, record.shown.is_some());
        let (mark, started_over) = (record.mark, record.root);
        Ok(Self {
            number,
            root,
            backend,
            upper,
            mode,
            below,
            places,
            only_shown,
            aliases,
            mark,
            started_over,
        })
    }

    /// Where in the layer the change of a host's path lies: relative, empty for the layer's own root.
    pub(super) fn relative(&self, path: &HostPath) -> Option<Vec<u8>> {
        let alias = self.aliases.iter().find(|copied| copied.from == *path);
        match alias {
            Some(copied) => copied.path.as_bytes().get(1..).map(<[u8]>::to_vec),
            None => path.relative_to(&self.root).map(|path| path.as_os_str().as_bytes().to_vec()),
        }
    }

    /// Whether what the host has in a place was changed since the sandbox started.
    pub(super) fn is_stale(&self, was: Option<&Node>) -> bool {
        matches!((self.mark, was), (Some(mark), Some(was)) if was.changed > mark)
    }
}

/// Opens a directory of the host, to look up names in it.
fn open_host(path: &HostPath) -> Result<Option<OwnedFd>, ChangesError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(CWD, path.as_path(), flags, Mode::empty()) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(source) => Err(ChangesError::OpenHost { path: path.clone(), source }),
    }
}

/// A path from a layer's root as the directory it lies in and its name there: `.` for the root itself.
pub(super) fn split(relative: &[u8]) -> Result<(&[u8], CString), Errno> {
    let cut = relative.iter().rposition(|byte| *byte == b'/');
    let (above, name) = match cut {
        Some(slash) => (&relative[..slash], &relative[slash + 1..]),
        None => (&[][..], relative),
    };
    let name = if name.is_empty() { b"." } else { name };
    Ok((above, CString::new(name).map_err(|_| Errno::INVAL)?))
}
