//! The freezer of a group: no process in it runs until it is thawed.
//!
//! A frozen process still dies of SIGKILL, and of whatever else its kernel kills it with: nothing that ends a
//! sandbox has to thaw it first. What it had begun in the kernel is finished first, so a freeze takes a moment.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::SANDBOX;
use super::files::{open, open_directory, read, read_at_start, write};
use crate::spec::HostPath;
use crate::sys::errno::{Errno, Result};
use crate::sys::event::Poller;

const ASKED: &str = "cgroup.freeze";
const EVENTS: &str = "cgroup.events";

/// Freezes and thaws one group.
#[derive(Debug)]
pub struct Freezer(OwnedFd);

/// Whether processes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motion {
    /// None does.
    Frozen,
    /// They do.
    Free,
}

impl Freezer {
    pub(super) fn new(directory: &OwnedFd) -> Result<Self> {
        Ok(Self(rustix::io::fcntl_dupfd_cloexec(directory, 3)?))
    }

    /// Asks for it; see [`wait_until_frozen`].
    pub fn set(&self, motion: Motion) -> Result<()> {
        let value = if motion == Motion::Frozen { "1" } else { "0" };
        match write(&self.0, ASKED, value) {
            // Gone, and with it whatever was in it.
            Err(Errno::ENODEV | Errno::ENOENT) if motion == Motion::Free => Ok(()),
            other => other,
        }
    }
}

/// The part of a run's group that its sandbox is in.
fn open_inner(group: &HostPath) -> Result<OwnedFd> {
    open(open_directory(group)?, SANDBOX, OFlags::DIRECTORY | OFlags::RDONLY)
}

/// Whether somebody asked that nothing in the sandbox of a group run. One that is not seen from here is not frozen.
pub fn is_frozen(group: &HostPath) -> bool {
    open_inner(group).and_then(|group| read(&group, ASKED)).is_ok_and(|asked| asked.trim() == "1")
}

/// Waits so long until nothing in the sandbox of a group runs; whether that was so.
pub fn wait_until_frozen(group: &HostPath, patience: Duration) -> Result<bool> {
    let until = Instant::now() + patience;
    let events = open(open_inner(group)?, EVENTS, OFlags::RDONLY)?;
    loop {
        if read_at_start(&events)?.lines().any(|line| line == "frozen 1") {
            return Ok(true);
        }
        let mut poller = Poller::new();
        poller.out_of_band((), events.as_fd());
        if poller.wait(Some(until.saturating_duration_since(Instant::now())))?.is_empty() {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_is_read_back_and_a_group_that_is_gone_is_free() {
        let outer = tempfile::tempdir().unwrap();
        let group = HostPath::new(outer.path()).unwrap();
        let folder = outer.path().join(SANDBOX);
        std::fs::create_dir(&folder).unwrap();
        let freezer = Freezer::new(&open_inner(&group).unwrap()).unwrap();
        assert!(!is_frozen(&group));
        assert_eq!(freezer.set(Motion::Frozen), Err(Errno::ENOENT));
        assert_eq!(freezer.set(Motion::Free), Ok(()));
        std::fs::write(folder.join(ASKED), "0\n").unwrap();
        freezer.set(Motion::Frozen).unwrap();
        assert!(is_frozen(&group));
        freezer.set(Motion::Free).unwrap();
        assert!(!is_frozen(&group));
        std::fs::write(folder.join(EVENTS), "populated 1\nfrozen 1\n").unwrap();
        assert_eq!(wait_until_frozen(&group, Duration::ZERO), Ok(true));
    }

    /// By the kernel's own freezer, where this process may make a group and sit in it.
    #[test]
    fn a_frozen_process_does_not_run_and_still_dies() {
        let Some(mount) = std::fs::read_to_string("/proc/self/mounts").ok().and_then(|mounts| {
            let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?;
            line.split(' ').nth(1).map(str::to_owned)
        }) else {
            return;
        };
        let path = format!("{mount}/bryo-test-{}", std::process::id());
        if std::fs::create_dir(&path).is_err() {
            return;
        }
        let inner = format!("{path}/{SANDBOX}");
        std::fs::create_dir(&inner).unwrap();
        let group = HostPath::new(&path).unwrap();
        let freezer = Freezer::new(&open_inner(&group).unwrap()).unwrap();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        std::fs::write(format!("{inner}/cgroup.procs"), child.id().to_string()).unwrap();
        assert_eq!(wait_until_frozen(&group, Duration::ZERO), Ok(false));
        freezer.set(Motion::Frozen).unwrap();
        assert_eq!(wait_until_frozen(&group, Duration::from_secs(30)), Ok(true));
        child.kill().unwrap();
        child.wait().unwrap();
        super::super::base::remove_when_empty(
            &open_directory(&HostPath::new(&mount).unwrap()).unwrap(),
            path.rsplit('/').next().unwrap(),
            Duration::from_secs(30),
        )
        .unwrap();
        assert_eq!(freezer.set(Motion::Free), Ok(()));
    }
}
