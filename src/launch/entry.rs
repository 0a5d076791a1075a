//! One more process in a sandbox that runs.
//!
//! # Theory of operation
//! ```text
//! supervisor ──fork──▶ entering process: undumpable, joins the namespaces, session
//!    │                         │──fork──▶ payload's process: the steps of the payload, exec
//!    │ ◀─────── InitReady ──── │ as init: confined, reaps, tells         │
//!    │ ◀──────────────────── Confined (+ listener) ──────────────────────┤
//!    ▼
//! whoever asked  ◀──── Stopped, Exited, Killed; orders ────▶ entering process
//! ```
//!
//! The same messages, the same code and the same filters as at the start of a sandbox, but for what is there
//! already. The entering process stays in the pid namespace of the launcher, where nothing inside sees it; it
//! was undumpable before it could be seen by anybody in the user namespace, and holds nothing but its socket.
//! It ends with the supervisor, with whoever holds the other end of its socket, or with its payload; what its
//! payload has left behind ends with the sandbox.

use std::borrow::Cow;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::process::Pid;

use super::joinable::Joinable;
use super::launcher::Start;
use super::wire::ToSandbox;
use super::{Host, LaunchError, Running, StepError, channel, payload, sandbox};
use crate::limits::group::Group;
use crate::plan::step::Plan;
use crate::spec::text::escape;
use crate::sys::clone::{self, Cloned};
use crate::sys::errno::{Errno, Result as SysResult};
use crate::sys::process::{self, exit_now};
use crate::sys::pty::Likeness;
use crate::sys::signal::SignalNumber;
use crate::sys::{heap, pidfd, socket};

/// An entry whose payload was not yet executed.
pub struct Entering<'a>(Start<'a>);

/// Starts an entry: `plan` is one of [`crate::plan::entry::plan_entry`], `stdio` what its payload has at 0 to 2, and
/// `group` the sandbox's control group: what enters is bounded with it.
pub fn enter<'a>(
    plan: Plan,
    host: &'a Host<'a>,
    namespaces: &Joinable,
    stdio: &[OwnedFd; 3],
    group: Option<&Group>,
) -> Result<Entering<'a>, LaunchError> {
    clone::assert_single_threaded().map_err(LaunchError::Threads)?;
    let (control, inside_control) = socket::pair().map_err(LaunchError::Connect)?;
    let (report, inside_report) = socket::pair().map_err(LaunchError::Connect)?;
    // For every later entry too; where they are not found this one says so.
    process::find_arguments().unwrap_or_default();
    heap::leave_used();
    match clone::fork().map_err(LaunchError::Clone)? {
        Cloned::Child => {
            drop((control, report));
            let sockets = sandbox::Sockets {
                control: channel::Inside(inside_control),
                report: channel::Inside(inside_report),
            };
            // It forks nothing that would not be in the group.
            let is_admitted = || match sockets.control.order() {
                Ok(Some(ToSandbox::Go)) => Ok(()),
                _ => Err(Errno::ECANCELED),
            };
            match group.map_or(Ok(()), |_| is_admitted()).and_then(|()| begin(stdio)) {
                Ok(()) => {
                    let payload = payload::Prepared::new(&plan, host, Vec::new());
                    let terminal = stdio.iter().find_map(|fd| Likeness::of(fd).ok());
                    let terminal = terminal.as_ref();
                    sandbox::run_entry(&plan, host, payload, sockets, (namespaces, terminal))
                }
                Err(_) => exit_now(1),
            }
        }
        Cloned::Parent { pid, pidfd } => {
            drop((inside_control, inside_report));
            if let Some(Err(error)) = group.map(|group| admit(group, pid, &control)) {
                drop(control);
                pidfd::wait(&pidfd).map_err(LaunchError::Connect)?;
                return Err(error);
            }
            Ok(Entering(Start::of_entry(Cow::Owned(plan), host, (pid, pidfd), (control, report))))
        }
    }
}

/// Whoever is not admitted ends when it sees the end of its socket.
fn admit(group: &Group, pid: Pid, control: &OwnedFd) -> Result<(), LaunchError> {
    group.admit(pid).map_err(|failure| {
        LaunchError::Admit(StepError { errno: failure.errno, said: escape(failure.said) })
    })?;
    channel::send(control, ToSandbox::Go).map_err(|_| LaunchError::Lost)
}

/// The first things: nothing outlives the supervisor, and descriptors 0 to 2 are the entry's.
fn begin(stdio: &[OwnedFd; 3]) -> SysResult<()> {
    process::set_parent_death_signal(Some(SignalNumber::KILL))?;
    let [input, output, errors] = stdio;
    rustix::stdio::dup2_stdin(input)?;
    rustix::stdio::dup2_stdout(output)?;
    rustix::stdio::dup2_stderr(errors).map_err(Errno::from)
}

impl Entering<'_> {
    /// Readable when [`Self::go_on`] has something to do.
    pub fn sockets(&self) -> [BorrowedFd<'_>; 2] {
        self.0.sockets()
    }

    /// Hears what has come, and waits for nothing; whether the payload is executed by now.
    pub fn go_on(&mut self) -> Result<bool, LaunchError> {
        self.0.listen(Some(Duration::ZERO))?;
        Ok(self.0.is_complete())
    }

    /// What the supervisor of the entry needs, once it is complete.
    pub fn into_running(self) -> Running {
        self.0.into_running(Vec::new())
    }

    /// Has it end by itself, as [`Self::give_up`] does, and waits for nothing: the end of what it says tells of it.
    pub fn call_off(&self) {
        for socket in self.sockets() {
            // One that has ended already hears nothing.
            rustix::net::shutdown(socket, rustix::net::Shutdown::Write).unwrap_or_default();
        }
    }

    /// Ends what was started; the error is what the caller hears.
    pub fn give_up(self, error: LaunchError) -> LaunchError {
        self.0.leave(error)
    }
}
