//! Finds the user and network namespaces of a sandbox that runs, and opens them for one that is to share its network.
//!
//! # Theory of operation
//! Pid 1 of a sandbox cannot be looked at, but the programs in it can, by who owns their user namespace: from
//! `/proc` of one of them come descriptors of both namespaces. What a payload could have done to its own process
//! is no matter: the user namespace must be one that this user made just so far below our own, and own the network
//! namespace. A payload without capabilities can neither enter another such one nor make one.
//!
//! # Decisions
//! - A sandbox that is still being made has no program yet: it is waited for, a moment.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, openat};
use rustix::process::Pid;

use crate::sys::errno::{Errno, Result};
use crate::sys::namespace::{self, Namespace};

/// How long a payload may take to be executed.
const STARTING: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// Namespaces to make a sandbox in.
#[derive(Debug)]
pub struct Door {
    /// The user namespace.
    pub(super) user: OwnedFd,
    /// The network namespace; none where the new one has its own.
    pub(super) net: Option<OwnedFd>,
}

/// Where the user namespace of a sandbox lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Below {
    /// Below our own.
    Ours,
    /// Below that of the holder of its network, which lies below our own.
    Holder,
}

/// A process as `/proc` tells of it.
struct Process {
    directory: OwnedFd,
    parent: i32,
    /// Its number in the innermost pid namespace, and in how many it is seen from here.
    inner: (i32, usize),
}

impl Door {
    /// Those of the sandbox that `launcher` started; none when no program of it is found in time.
    ///
    /// Errors: `/proc` cannot be read. That the launcher is the one it should be, the caller makes sure of, before
    /// and after.
    pub fn of_sandbox(launcher: Pid, below: Below) -> Result<Option<Self>> {
        Ok(Self::with_init(launcher, below)?.map(|(door, _)| door))
    }

    /// The same, and its pid 1.
    pub fn with_init(launcher: Pid, below: Below) -> Result<Option<(Self, OwnedFd)>> {
        let end = Instant::now() + STARTING;
        loop {
            if let Some(door) = Self::look(launcher.as_raw_nonzero().get(), below)? {
                return Ok(Some(door));
            }
            if Instant::now() > end {
                return Ok(None);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The network namespace; that of pid 1 where it is not entered.
    pub fn network(&self) -> BorrowedFd<'_> {
        self.net.as_ref().unwrap_or(&self.user).as_fd()
    }

    fn look(launcher: i32, below: Below) -> Result<Option<(Self, OwnedFd)>> {
        let all = processes()?;
        let is_init =
            |process: &Process| process.parent == launcher && matches!(process.inner, (1, 2..));
        for (init, _) in all.iter().filter(|(_, process)| is_init(process)) {
            let mut inside = all.iter().filter(|(pid, _)| descends(&all, *pid, *init));
            let Some(door) = inside.find_map(|(_, process)| Self::through(process, below)) else {
                continue;
            };
            if let Some(init) = hold(*init, is_init) {
                return Ok(Some((door, init)));
            }
        }
        Ok(None)
    }

    /// By one of its programs; none for one that has namespaces of its own, has ended, or may not be looked at
    /// as it runs a program that cannot be read.
    fn through(process: &Process, below: Below) -> Option<Self> {
        let user = namespace::open_ns(&process.directory, Namespace::User).ok()?;
        let net = namespace::open_ns(&process.directory, Namespace::Net).ok()?;
        let own = namespace::ns_inode(own_directory().ok()?, Namespace::User).ok()?;
        let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).ok().map(|stat| stat.st_ino);
        let above = namespace::owner(&user).ok()?;
        let above = match below {
            Below::Ours => above,
            Below::Holder => namespace::owner(above).ok()?,
        };
        let is_below_ours = inode(&above)? == own;
        let is_this_users =
            namespace::owner_uid(&user).ok()? == rustix::process::geteuid().as_raw();
        let owns_network = inode(&namespace::owner(&net).ok()?)? == inode(&user)?;
        (is_below_ours && is_this_users && owns_network).then_some(Self { user, net: Some(net) })
    }
}

fn own_directory() -> Result<OwnedFd> {
    namespace::open_proc_dir(rustix::process::getpid())
}

/// A descriptor of a process that is what it was taken for also now that its number cannot be another's.
fn hold(pid: i32, is_it: impl Fn(&Process) -> bool) -> Option<OwnedFd> {
    let pid = Pid::from_raw(pid)?;
    let held = crate::sys::pidfd::open(pid).ok()?;
    look_at(pid).filter(is_it).map(|_| held)
}

/// A process as it is now; none when it has ended.
fn look_at(pid: Pid) -> Option<Process> {
    let directory = namespace::open_proc_dir(pid).ok()?;
    let (parent, inner) = parse_status(&status(directory.as_fd())?)?;
    Some(Process { directory, parent, inner })
}

/// Whether a process was started by another, directly or not. Numbers come again, so a chain could be a circle.
fn descends(all: &[(i32, Process)], pid: i32, from: i32) -> bool {
    let parent_of =
        |pid: i32| all.iter().find(|(known, _)| *known == pid).map(|(_, process)| process.parent);
    std::iter::successors(parent_of(pid), |pid| parent_of(*pid)).take(64).any(|pid| pid == from)
}

/// Everything that can be seen. What ends meanwhile is passed over.
fn processes() -> Result<Vec<(i32, Process)>> {
    let failed = |error: std::io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { continue };
        found.extend(look_at(pid).map(|process| (pid.as_raw_nonzero().get(), process)));
    }
    Ok(found)
}

fn status(directory: impl AsFd) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(directory, "status", flags, Mode::empty()).ok()?;
    let mut text = vec![0; 4096];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut text)).ok()?;
    text.truncate(length);
    Some(text)
}

/// `PPid`, and the last of `NSpid` with how many there are.
fn parse_status(status: &[u8]) -> Option<(i32, (i32, usize))> {
    let line = |key: &[u8]| status.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(key));
    let numbers = |line: &[u8]| -> Option<Vec<i32>> {
        std::str::from_utf8(line).ok()?.split_ascii_whitespace().map(|n| n.parse().ok()).collect()
    };
    let parent = *numbers(line(b"PPid:")?)?.first()?;
    let pids = numbers(line(b"NSpid:")?)?;
    Some((parent, (*pids.last()?, pids.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_and_the_inner_number_are_read() {
        let status = b"Name:\tPPid:\t9\nPid:\t7\nPPid:\t5\nNSpid:\t7\t1\n";
        assert_eq!(parse_status(status), Some((5, (1, 2))));
        for rubbish in ["", "PPid:\t\nNSpid:\t1\n", "PPid:\t1\n", "PPid:\tx\nNSpid:\t1\n"] {
            assert_eq!(parse_status(rubbish.as_bytes()), None, "{rubbish}");
        }
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let process = |parent| {
            let directory = openat(rustix::fs::CWD, "/", OFlags::PATH, Mode::empty()).unwrap();
            Process { directory, parent, inner: (1, 1) }
        };
        let all = [(2, process(3)), (3, process(2)), (4, process(3)), (5, process(1))];
        assert!(descends(&all, 4, 2) && descends(&all, 4, 3));
        assert!(!descends(&all, 4, 5) && !descends(&all, 5, 4));
    }

    #[test]
    fn a_launcher_without_a_sandbox_has_no_door() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        assert!(Door::look(own, Below::Ours).unwrap().is_none());
    }
}
