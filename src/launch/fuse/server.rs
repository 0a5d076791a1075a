//! The server's process, from its fork to its exec.
//!
//! Its life is a chain of consumed values, so that no other order compiles: [`Forked`] (a copy of the
//! launcher, without its descriptors) → [`Joined`] (every capability of the sandbox's user namespace,
//! and mounts of its own) → [`Rooted`] (sees its layers and libraries alone) → exec, confined.
//!
//! What is wrong is said on the standard error output, as the program itself would do it.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;

use super::root::{self, Root};
use super::{Received, confinement};
use crate::spec::HostPath;
use crate::sys::clone::{self, CloneFlags};
use crate::sys::errno::Errno;
use crate::sys::process::{self, ExecImage, exit_now};
use crate::sys::seccomp::Instruction;
use crate::sys::signal;

/// What the launcher gives along.
pub(super) struct Order<'a> {
    /// The program.
    pub(super) program: &'a HostPath,
    /// The value of its `-o`.
    pub(super) options: CString,
    /// From the sandbox process.
    pub(super) wanted: Received<'a>,
    /// Which Landlock; none where the payload has none.
    pub(super) landlock_abi: Option<u32>,
    /// The filter of system calls.
    pub(super) filter: &'a [Instruction],
    /// Where it says what is wrong.
    pub(super) words: OwnedFd,
    /// Whose death is its own.
    pub(super) launcher: Pid,
}

/// What failed, as a verb and its operand, and why.
pub(in crate::launch) struct Failed(
    pub(in crate::launch) &'static str,
    pub(in crate::launch) String,
);

pub(in crate::launch) type Outcome<T = ()> = Result<T, Failed>;

/// Names the failure of a call.
pub(in crate::launch) fn cannot<T, E: Into<Errno>>(
    what: &'static str,
    result: Result<T, E>,
) -> Outcome<T> {
    result.map_err(|error| Failed(what, error.into().to_string()))
}

/// Becomes the server.
pub(super) fn run(order: &Order<'_>) -> ! {
    let failed = Forked(order)
        .leave_launcher()
        .and_then(Forked::join)
        .and_then(Joined::root)
        .and_then(Rooted::exec)
        .map_or_else(|failed| failed, |never| match never {});
    // A pipe that nobody reads any more: the exit is all there is.
    let said = writeln!(std::io::stderr(), "cannot {}: {}", failed.0, failed.1);
    exit_now(if said.is_ok() { 1 } else { 2 })
}

/// A copy of the launcher.
struct Forked<'a>(&'a Order<'a>);

impl<'a> Forked<'a> {
    /// Keeps nothing of the launcher: descriptors, terminal, signals.
    fn leave_launcher(self) -> Outcome<Self> {
        let Order { wanted, words, .. } = self.0;
        let null = OFlags::RDWR | OFlags::CLOEXEC;
        let null = cannot("open /dev/null", rustix::fs::open("/dev/null", null, Mode::empty()))?;
        cannot("replace standard input", rustix::stdio::dup2_stdin(&null))?;
        cannot("replace standard output", rustix::stdio::dup2_stdout(&null))?;
        cannot("replace standard error", rustix::stdio::dup2_stderr(words))?;
        std::mem::forget(null);
        let keep: Vec<BorrowedFd<'_>> = wanted.descriptors().collect();
        cannot("close descriptors", process::irrevocably_close_from(3, &keep))?;
        // Keys typed at the terminal are for the payload.
        cannot("make a session", rustix::process::setsid())?;
        cannot("reset signals", signal::reset_all())?;
        Ok(self)
    }

    fn join(self) -> Outcome<Joined<'a>> {
        let Received { user, net, .. } = &self.0.wanted;
        cannot("join the user namespace", clone::setns(user, CloneFlags::NEW_USER))?;
        if let Some(net) = net {
            cannot("join the network namespace", clone::setns(net, CloneFlags::NEW_NET))?;
        }
        root::check(&self.0.wanted.lowers)?;
        cannot("make a mount namespace", clone::unshare(CloneFlags::NEW_MOUNT))?;
        Ok(Joined(self.0))
    }
}

/// In the sandbox's user namespace, with a copy of the host's mounts.
struct Joined<'a>(&'a Order<'a>);

impl<'a> Joined<'a> {
    /// Builds the root and goes there.
    fn root(self) -> Outcome<Rooted<'a>> {
        let Received { layer, lowers, .. } = &self.0.wanted;
        // Copied first: afterwards the new root lies over `/`, and would be in a copy of it.
        let lowers = lowers.iter().map(root::lower_tree).collect::<Outcome<Vec<_>>>()?;
        let layer = layer.as_ref().map(root::layer_tree).transpose()?;
        let root = Root::mount()?;
        for (number, lower) in lowers.iter().enumerate() {
            root.put_tree(lower.as_fd(), Path::new(&root::lower_path(number)))?;
        }
        if let Some(layer) = layer {
            root.put_tree(layer.as_fd(), Path::new(root::LAYER))?;
        }
        root.put_libraries()?;
        root.put_program(self.0.program.as_path())?;
        root.put_proc()?;
        root.enter()?;
        Ok(Rooted(self.0))
    }
}

/// Sees its own root alone.
struct Rooted<'a>(&'a Order<'a>);

impl Rooted<'_> {
    /// Confines itself and becomes the program.
    fn exec(self) -> Outcome<Infallible> {
        let order = self.0;
        let image = ExecImage::new(arguments(order)?, Vec::new());
        let program = CString::new(order.program.as_path().as_os_str().as_bytes());
        let program = cannot("name the program", program.map_err(|_| Errno::EINVAL))?;
        let number = u32::try_from(order.wanted.device.as_raw_fd()).map_err(|_| Errno::EBADF);
        cannot("keep the device", number.and_then(process::keep_on_exec))?;
        confinement::confine(order)?;
        Err(Failed("execute the program", image.exec_path(&program).to_string()))
    }
}

fn arguments(order: &Order<'_>) -> Outcome<Vec<CString>> {
    let device = format!("/dev/fd/{}", order.wanted.device.as_raw_fd());
    let device = cannot("name the device", CString::new(device).map_err(|_| Errno::EINVAL))?;
    let fixed = |text: &CStr| text.to_owned();
    Ok(vec![fixed(c"fuse-overlayfs"), fixed(c"-f"), fixed(c"-o"), order.options.clone(), device])
}
