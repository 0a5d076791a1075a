//! Where in the run's group its processes are.
//!
//! # Theory of operation
//! ```text
//! bryo-ID              the limits
//! ├── helpers          what serves the sandbox from outside
//! └── sandbox          what is frozen
//!     ├── payload      pid 1 and the payload: the root of their cgroup namespace
//!     └── entered      what enters later
//! ```
//! So it is where the payload may make groups itself. Every file of `payload` is its own, those above are out of
//! its sight: neither the limits nor the freezer are in its reach, and it cannot look frozen. It has to
//! have processes moved before it turns on controllers, and is then in nobody's way: others enter beside it.
//!
//! Where it may not, `sandbox` has no groups in it, and what serves it is in the run's group itself.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, mkdirat};

use super::SANDBOX;
use super::files::{open, write};
use crate::plan::facts::Controller;
use crate::sys::errno::{Errno, Result};

const PAYLOAD: &str = "payload";
const ENTERED: &str = "entered";
const HELPERS: &str = "helpers";

/// See the module.
#[derive(Debug)]
pub(super) struct Inner {
    sandbox: OwnedFd,
    parts: Option<Parts>,
}

#[derive(Debug)]
struct Parts {
    payload: OwnedFd,
    entered: OwnedFd,
    helpers: OwnedFd,
}

/// A group, and its path below the run's.
pub(super) type Place<'a> = (&'a OwnedFd, &'static str);

impl Inner {
    pub(super) fn make(group: &OwnedFd) -> Result<Self> {
        Ok(Self { sandbox: make(group, SANDBOX)?, parts: None })
    }

    /// Makes the groups in it.
    pub(super) fn divide(&mut self, group: &OwnedFd) -> Result<()> {
        let helpers = make(group, HELPERS)?;
        let payload = make(&self.sandbox, PAYLOAD)?;
        let entered = make(&self.sandbox, ENTERED)?;
        self.parts = Some(Parts { payload, entered, helpers });
        Ok(())
    }

    /// Lets the payload's group have these controllers; those that are on in the base.
    pub(super) fn delegate(&self, group: &OwnedFd, controllers: &[Controller]) -> Result<()> {
        let groups = [group, &self.sandbox];
        groups.into_iter().try_for_each(|group| {
            let mut each = controllers.iter();
            each.try_for_each(|one| write(group, "cgroup.subtree_control", &format!("+{one}")))
        })
    }

    /// What is frozen.
    pub(super) fn top(&self) -> &OwnedFd {
        &self.sandbox
    }

    /// Where pid 1 is.
    pub(super) fn home(&self) -> &OwnedFd {
        self.parts.as_ref().map_or(&self.sandbox, |parts| &parts.payload)
    }

    /// Where others enter.
    pub(super) fn entrance(&self) -> Place<'_> {
        match &self.parts {
            Some(parts) => (&parts.entered, "/sandbox/entered"),
            None => (&self.sandbox, "/sandbox"),
        }
    }

    /// Where its helpers are; none where that is the run's group.
    pub(super) fn helpers(&self) -> Option<Place<'_>> {
        self.parts.as_ref().map(|parts| (&parts.helpers, "/helpers"))
    }
}

impl AsFd for Inner {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.home().as_fd()
    }
}

fn make(group: &OwnedFd, name: &str) -> Result<OwnedFd> {
    mkdirat(group, name, Mode::from_raw_mode(0o755)).map_err(Errno::from)?;
    open(group, name, OFlags::DIRECTORY | OFlags::RDONLY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_that_may_divide_its_group_is_apart_from_what_bounds_it() {
        let folder = tempfile::tempdir().unwrap();
        let open_at = |path: &str| open(rustix::fs::CWD, folder.path().join(path), OFlags::RDONLY);
        let group = open_at("").unwrap();
        let mut inner = Inner::make(&group).unwrap();
        assert_eq!((inner.entrance().1, inner.helpers().is_none()), ("/sandbox", true));
        inner.divide(&group).unwrap();
        let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
        for (fd, path) in [
            (inner.top(), "/sandbox"),
            (inner.home(), "/sandbox/payload"),
            inner.entrance(),
            inner.helpers().unwrap(),
        ] {
            assert_eq!(inode(fd), inode(&open_at(&path[1..]).unwrap()), "{path}");
        }
        // Each controller, where the kernel looks for it.
        for path in ["cgroup.subtree_control", "sandbox/cgroup.subtree_control"] {
            std::fs::write(folder.path().join(path), "").unwrap();
        }
        inner.delegate(&group, &[Controller::Pids]).unwrap();
        for path in ["cgroup.subtree_control", "sandbox/cgroup.subtree_control"] {
            assert_eq!(std::fs::read_to_string(folder.path().join(path)).unwrap(), "+pids");
        }
        assert!(!folder.path().join("sandbox/payload/cgroup.subtree_control").exists());
    }
}
