//! Which process started a sandbox, so that another command can find and kill it.
//!
//! A process id alone may by now be somebody else's: the kernel's start time and the boot's id make
//! it unique, and a pidfd keeps it so between the check and the signal.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::error::StateError;

/// A process, told apart from every other that ever had its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launcher {
    /// Its process id, in the PID namespace it was started in.
    pub pid: u32,
    /// When it started, in clock ticks since boot: field 22 of `/proc/PID/stat`.
    pub start_ticks: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

impl Launcher {
    /// The calling process.
    pub fn this() -> Result<Self, StateError> {
        let pid = getpid();
        let start_ticks = start_ticks(pid)
            .map_err(|source| StateError::Proc { path: "/proc/self/stat", source })?;
        let boot_id = boot_id().map_err(|source| StateError::Proc { path: BOOT_ID, source })?;
        Ok(Self { pid: pid.as_raw_nonzero().get().unsigned_abs(), start_ticks, boot_id })
    }

    /// A descriptor of the process, if it is still there and visible from here.
    pub(super) fn open(&self) -> Option<OwnedFd> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw)?;
        if boot_id().ok()? != self.boot_id {
            return None;
        }
        // The descriptor first: should the number pass to another process now, the start time tells.
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        (start_ticks(pid).ok()? == self.start_ticks).then_some(process)
    }

    /// Kills a process that [`Launcher::open`] gave. One that ended meanwhile is no error.
    pub(super) fn kill(process: &OwnedFd) -> Result<(), Errno> {
        match pidfd_send_signal(process, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn boot_id() -> Result<String, Errno> {
    let text = read_small(BOOT_ID)?;
    Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
}

fn start_ticks(pid: Pid) -> Result<u64, Errno> {
    let text = read_small(&format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    parse_start_ticks(&text).ok_or(Errno::PROTO)
}

/// Field 22. The second field is the program's name, which may hold spaces and parentheses: what
/// counts is behind the last one.
fn parse_start_ticks(stat: &[u8]) -> Option<u64> {
    let behind = stat.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(&stat[behind + 1..]).ok()?;
    text.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// What one read gives: these files are short.
fn read_small(path: &str) -> Result<Vec<u8>, Errno> {
    let file = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut buffer = [0_u8; 1024];
    let length = rustix::io::read(&file, &mut buffer)?;
    Ok(buffer[..length].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_program_name() {
        let fields = "S 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        for name in ["bash", "a b", ") ) 1 2 (", "x) S 1"] {
            let stat = format!("77 ({name}) {fields}");
            assert_eq!(parse_start_ticks(stat.as_bytes()), Some(987_654), "{name}");
        }
        assert_eq!(parse_start_ticks(b"77 (a) S 1"), None);
        assert_eq!(parse_start_ticks(b""), None);
    }

    #[test]
    fn this_process_is_found_again_and_another_start_time_is_not() {
        let this = Launcher::this().unwrap();
        assert!(this.open().is_some());
        assert!(Launcher { start_ticks: this.start_ticks + 1, ..this.clone() }.open().is_none());
        assert!(Launcher { boot_id: "another".to_owned(), ..this }.open().is_none());
    }
}
