//! What a layer is called in a sandbox's directory, and how it is found there.
//!
//! # Decisions
//! - A layer that fuse-overlayfs serves has a directory of its own, `layer-N/upper` and `layer-N/work`:
//!   its server renames from the one to the other, so it must get both on one mount, and nothing else.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::directory;
use super::error::StateError;
use super::id::SandboxId;
use super::spare;
use crate::plan::step::{Backend, LayerNumber};

const UPPER: &str = "upper-";
const WORK: &str = "work-";
/// What holds `upper` and `work` of a layer with a server.
const SERVED: &str = "layer-";

/// A layer that this process made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) names: Names,
    /// Permission bits of the upper directory.
    pub(super) mode: u32,
}

/// What a layer consists of, relative to the sandbox's directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// A directory that only holds the two others.
    pub(super) own: Option<String>,
    pub(super) upper: String,
    pub(super) work: String,
}

impl Names {
    pub(super) fn new(number: LayerNumber, backend: Backend) -> Self {
        let number = number.0;
        match backend {
            Backend::Kernel => Self {
                own: None,
                upper: format!("{UPPER}{number}"),
                work: format!("{WORK}{number}"),
            },
            Backend::Fuse => Self {
                own: Some(format!("{SERVED}{number}")),
                upper: format!("{SERVED}{number}/upper"),
                work: format!("{SERVED}{number}/work"),
            },
        }
    }
}

/// What a layer of the sandbox whose directory is given is called there. One with a server has a directory of its
/// own; whatever else has its number is then another run's.
pub(super) fn names_there(directory: impl AsFd, number: LayerNumber) -> Result<Names, Errno> {
    let served = Names::new(number, Backend::Fuse);
    let own = served.own.as_deref().unwrap_or_default();
    let is_served = directory::file_type(directory, own)?.is_some();
    Ok(if is_served { served } else { Names::new(number, Backend::Kernel) })
}

/// Opens the upper directory of a layer of the sandbox whose directory is given; only to look at it
/// where it cannot be read.
pub(super) fn open_upper(
    directory: impl AsFd,
    id: SandboxId,
    number: LayerNumber,
) -> Result<Option<OwnedFd>, StateError> {
    let failed = |source| StateError::OpenLayer { id, number, source };
    let name = names_there(&directory, number).map_err(failed)?.upper;
    let opened = match directory::open_if_there(&directory, &name) {
        // The payload closed it to everybody, which is one more change.
        Err(Errno::ACCESS) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(&directory, name, flags, Mode::empty()).map(Some)
        }
        other => other,
    };
    opened.map_err(failed)
}

/// Clears the work directories of all layers of the kernel's: what an overlay leaves there is of no use to
/// the next one and in the way of a user's `rm -r`.
pub(super) fn clear_work(sandbox: impl AsFd) -> Result<(), Errno> {
    for name in directory::names_in(directory::open(&sandbox, ".")?)? {
        if let Ok(name) = name.to_str()
            && name.starts_with(WORK)
        {
            spare::clear_work(&sandbox, name)?;
        }
    }
    Ok(())
}

/// Whether nothing is in any upper directory of the sandbox whose directory is given, as far as the names
/// in it tell.
pub(super) fn all_are_empty(sandbox: impl AsFd) -> Result<bool, Errno> {
    for name in directory::names_in(directory::open(&sandbox, ".")?)? {
        let bytes = name.to_bytes();
        let upper = if bytes.starts_with(UPPER.as_bytes()) {
            Some(directory::open(&sandbox, name.as_c_str())?)
        } else if bytes.starts_with(SERVED.as_bytes()) {
            directory::open_if_there(directory::open(&sandbox, name.as_c_str())?, "upper")?
        } else {
            None
        };
        if let Some(upper) = upper
            && !directory::is_empty(&upper)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}
