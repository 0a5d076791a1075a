//! Files of the host that a command itself reads or writes for a flag: none is reached through a link that an earlier payload
//! may have planted.
//!
//! # Theory of operation
//! The file, or the directory of one that is to be made, is opened first and looked up afterwards, link by link. Where it
//! was opened and where its path leads have to be one place: then nobody exchanged a link between the two, and the links
//! are those that were followed.
//!
//! # Not here
//! What a payload is shown, which the plan looks at (`plan::planted`); what `bryo cp` copies (`cp::writable`).

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::ffi::OsStrExt as _;

use crate::host::{HostError, LookInto, Probe};
use crate::plan::{PlanError, refuse_planted};
use crate::report::Explain;
use crate::spec::HostPath;
use crate::sys::errno::Errno;

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum AskedError {
    /// Looking at this machine.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Through which link.
    #[error(transparent)]
    Planted(#[from] PlanError),
    /// The kernel does not say where it is.
    #[error("cannot tell where `{path}` was opened")]
    Where {
        /// As it was asked for.
        path: HostPath,
        /// Why.
        #[source]
        source: Errno,
    },
    /// It leads elsewhere than a moment ago.
    #[error("cannot use `{path}` with {flag}: what is on the way to it changes meanwhile")]
    Moving {
        /// As it was asked for.
        path: HostPath,
        /// The flag.
        flag: &'static str,
    },
}

impl Explain for AskedError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Host(error) => error.hint(),
            Self::Planted(error) => error.hint(),
            Self::Where { .. } => None,
            Self::Moving { .. } => Some("name a place that nobody else writes".to_owned()),
        }
    }
}

/// Refuses a path through such a link.
pub fn refuse_way(flag: &'static str, path: &HostPath) -> Result<(), AskedError> {
    led(flag, path).map(|_| ())
}

/// The same of what was opened at it: a file or a directory. What has no path, a pipe, is nobody's link.
pub fn refuse_opened(
    flag: &'static str,
    path: &HostPath,
    opened: impl AsFd,
) -> Result<(), AskedError> {
    let own = format!("/proc/self/fd/{}", opened.as_fd().as_raw_fd());
    let place = rustix::fs::readlink(&own, Vec::new())
        .map_err(|errno| AskedError::Where { path: path.clone(), source: errno.into() })?;
    let Ok(place) = HostPath::new(OsStr::from_bytes(place.as_bytes())) else { return Ok(()) };
    if led(flag, path)? == place {
        Ok(())
    } else {
        Err(AskedError::Moving { path: path.clone(), flag })
    }
}

/// Where a path leads.
fn led(flag: &'static str, path: &HostPath) -> Result<HostPath, AskedError> {
    // What `/proc` tells of a process is nothing to a path.
    let mut probe = Probe::blind();
    probe.mounts()?;
    probe.store_places()?;
    probe.place(path, LookInto::Nothing);
    probe.links()?;
    let facts = probe.finish();
    let place = facts.place(path).ok_or(PlanError::Unprobed("places"))?;
    refuse_planted(place, flag, &facts)?;
    Ok(place.real.clone())
}
