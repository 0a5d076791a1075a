//! Work in a user namespace with the caller's subordinate ids, where what a payload with those ids wrote can
//! be removed.
//!
//! # Theory of operation
//! The new process has every capability over files whose owners are mapped, and its descriptors; nothing else
//! is new, and no program is executed. It waits until its ids are mapped. When the caller ends first it ends
//! too: what it was doing is gone on with by the next command.

use rustix::pipe::{PipeFlags, pipe_with};

use super::{LaunchError, ids};
use crate::plan::step::IdsStep;
use crate::sys::clone::{self, CloneFlags, Cloned};
use crate::sys::pidfd::{self, Exit};
use crate::sys::process;
use crate::sys::signal::SignalNumber;

/// Does `work` with these ids; whether it gave true.
///
/// Only in a process with one thread: [`LaunchError::Threads`] otherwise.
pub fn within(maps: &[IdsStep], work: impl FnOnce() -> bool) -> Result<bool, LaunchError> {
    clone::assert_single_threaded().map_err(LaunchError::Threads)?;
    let (wait, go) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| LaunchError::Connect(e.into()))?;
    match clone::clone3(CloneFlags::NEW_USER, None).map_err(LaunchError::Clone)? {
        Cloned::Child => {
            drop(go);
            let mut byte = [0];
            let told = matches!(rustix::io::read(&wait, &mut byte), Ok(1));
            process::exit_now(u8::from(!(told && work())))
        }
        Cloned::Parent { pid, pidfd } => {
            drop(wait);
            let mapped = maps.iter().try_for_each(|step| ids::map(pid, step));
            if mapped.is_ok() {
                rustix::io::write(&go, b"1").map_err(|e| LaunchError::Connect(e.into()))?;
            } else {
                // Nothing was begun: at the end of the pipe it ends by itself.
                pidfd::send_signal(&pidfd, SignalNumber::KILL).unwrap_or_default();
            }
            let ended = pidfd::wait(&pidfd).map_err(LaunchError::Connect)?;
            mapped.map(|()| ended == Exit::Code(0))
        }
    }
}
