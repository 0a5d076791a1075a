//! A layer, opened together with what it lies over.

use std::ffi::OsString;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::ChangesError;
use crate::plan::step::{Backend, LayerNumber};
use crate::spec::{HostPath, SandboxPath};
use crate::state::record::LayerRecord;

/// A layer, ready to be read.
#[derive(Debug)]
pub(super) struct OpenLayer {
    pub(super) number: LayerNumber,
    /// The paths of changes begin with this.
    pub(super) root: HostPath,
    pub(super) backend: Backend,
    pub(super) upper: OwnedFd,
    /// None when it began empty, or the host's directory is gone.
    pub(super) below: Option<OwnedFd>,
    pub(super) places: Vec<Place>,
}

/// A relative place in a layer that is not the layer's own matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) names: Vec<OsString>,
    pub(super) why: Why,
}

/// What is special about a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The host has something there that the sandbox was not shown.
    Masked,
    /// Another tree stood there.
    Covered,
}

impl OpenLayer {
    /// Opens what the layer lies over. A layer that began empty is shown where the sandbox saw it.
    pub(super) fn new(
        number: LayerNumber,
        record: &LayerRecord,
        upper: OwnedFd,
    ) -> Result<Self, ChangesError> {
        let layer = &record.layer;
        let below = match &layer.over {
            Some(over) => open_host(over)?,
            None => None,
        };
        let place = |why| {
            move |path: &SandboxPath| Place {
                names: path.names().map(OsString::from).collect(),
                why,
            }
        };
        let covered = layer.covered.iter().map(place(Why::Covered));
        Ok(Self {
            number,
            root: layer.over.clone().unwrap_or_else(|| layer.at.same_on_host()),
            backend: layer.backend,
            upper,
            below,
            places: covered.chain(record.masked.iter().map(place(Why::Masked))).collect(),
        })
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
