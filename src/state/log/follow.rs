//! Waits for more in a log, and for the end of who writes it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};

use super::Reader;
use crate::state::error::StateError;
use crate::state::found::Found;
use crate::sys::errno::Result;
use crate::sys::event::Poller;

/// See the module.
#[derive(Debug)]
pub struct Follow {
    /// Tells of every change of the directory's files; none where there are too many of these.
    changes: Option<OwnedFd>,
    /// Who writes; none where its end is told otherwise.
    process: Option<OwnedFd>,
}

impl Follow {
    /// How often to look where the kernel does not tell: a user may have so many watchers at a time.
    pub const LOOK: Duration = Duration::from_millis(200);

    /// For a sandbox that runs; none for one that ended.
    pub fn new(found: &Found, reader: &Reader) -> std::result::Result<Option<Self>, StateError> {
        let Some(process) = found.process()? else { return Ok(None) };
        Ok(Some(Self { process: Some(process), ..Self::of_changes(reader) }))
    }

    /// For one whose end is told otherwise: it may have ended by now.
    pub fn of_changes(reader: &Reader) -> Self {
        Self { changes: watch(reader).ok(), process: None }
    }

    /// Whether nobody writes to it any more.
    pub fn is_over(&self) -> bool {
        let Some(process) = &self.process else { return true };
        let mut poller = Poller::new();
        poller.readable((), process.as_fd());
        poller.wait(Some(Duration::ZERO)).is_ok_and(|ready| !ready.is_empty())
    }

    /// Waits until there is more, or may be.
    pub fn wait(&self) -> Result<()> {
        let mut poller = Poller::new();
        if let Some(process) = &self.process {
            poller.readable((), process.as_fd());
        }
        if let Some(changes) = &self.changes {
            poller.readable((), changes.as_fd());
        }
        poller.wait(self.changes.is_none().then_some(Self::LOOK))?;
        self.forget()
    }

    /// What tells of changes, to wait for beside other things.
    pub fn changes(&self) -> Option<&OwnedFd> {
        self.changes.as_ref()
    }

    /// What was told so far is known.
    pub fn forget(&self) -> Result<()> {
        let Some(changes) = &self.changes else { return Ok(()) };
        let mut events = [0; 4096];
        loop {
            match rustix::io::read(changes, &mut events) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

fn watch(reader: &Reader) -> Result<OwnedFd> {
    let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let directory = std::os::fd::AsRawFd::as_raw_fd(&reader.directory());
    let flags = WatchFlags::MODIFY | WatchFlags::MOVED_TO;
    add_watch(&inotify, format!("/proc/self/fd/{directory}"), flags)?;
    Ok(inotify)
}
