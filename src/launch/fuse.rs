//! The fuse-overlayfs processes: asked for by the sandbox process, started and ended by the launcher.
//!
//! # Theory of operation
//!
//! ```text
//! sandbox                          launcher                      server
//!    │ opens /dev/fuse and makes the  │
//!    │ mount                          │
//!    │ ── FuseWanted, descriptors ──▶ │ ────────fork───────────▶ │ joins user and network namespace
//!    │ goes on building               │                          │ own mounts: layers, libraries
//!    │ before the pivot: statfs       │                          │ limits, no_new_privs, capabilities,
//!    │   │                            │                          │ parent's death, Landlock, seccomp
//!    │   ╰──── the kernel waits for the first answer ──────────▶ │ exec
//! ```
//!
//! The server's root is a tmpfs with its layers, the libraries that its program may need, and three
//! files of `/proc`, all read-only but the layer directory. It is not in the sandbox's pid namespace:
//! the payload has no number for it, so it can neither signal nor trace it.
//!
//! *Death.* The server reads its device. When the last mount of the overlay is gone, because the
//! sandbox's mount namespace is, the kernel writes back what is cached and then answers `ENODEV`, and
//! the server ends. So whoever wants the layer waits for the server after init: [`Server::end`]. It
//! is killed when the launcher dies. When it dies first, every access to the overlay fails with
//! `ENOTCONN`.
//!
//! `FuseWanted` carries, in this order: the device, the user namespace, the network namespace if the
//! plan makes one, the layer directory if the upper is in the scratch file system or held, and a tree for each
//! lower layer that is there. Layers of the host the server opens by itself, after it has made sure,
//! still in the host's mount namespace, that they are on the mounts that the plan saw.
//!
//! # Decisions
//! - It does not join the sandbox's mount namespace: the root there is the half-built tree by now. A
//!   copy of the host's mounts, made in the sandbox's user namespace, is where its libraries are.
//! - `/proc/self` of its own process alone: it reads extended attributes through `/proc/self/fd`.
//! - No polling and no message that it is ready: the kernel makes whoever needs it wait.
//! - What it says goes into a pipe that is read only when it failed. The end that it writes to does
//!   not block, so a talkative server loses words instead of stopping.
//!
//! # Not here
//! The mount and the layers (`rootfs::fuse`); what an upper written by fuse-overlayfs means (`changes`).

pub(super) mod confinement;
pub(super) mod root;
pub(super) mod server;
#[cfg(test)]
mod tests;

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::process::Pid;

use super::channel::Inside;
use super::wire::FromSandbox;
use super::{Host, LaunchError, action};
use crate::plan::step::{
    Action, ConfineStep, FsStep, LayerNumber, Lower, OverlayServer, Plan, Stage, Upper,
};
use crate::rootfs::Layers as _;
use crate::rootfs::fuse::{UPPER, WORK, Wanted};
use crate::spec::text::escape;
use crate::spec::{HostPath, SandboxPath, Text};
use crate::sys::clone::{self, Cloned};
use crate::sys::errno::{Errno, Result};
use crate::sys::pidfd::{self, Exit};

/// How long a server that was killed is waited for; only one that sleeps in the kernel for a lower
/// layer that does not answer takes any time.
const KILLED: Duration = Duration::from_secs(5);

/// How long a server whose overlay failed is waited for, to know why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Bytes of what a server said first that are told.
const SAID: usize = 512;

/// It says so at every start: its `/proc` is a directory with what it needs of one.
const EXPECTED: &str = "file system type found on /proc";

/// A fuse-overlayfs process.
#[derive(Debug)]
pub struct Server {
    at: Text,
    program: Text,
    pid: Pid,
    pidfd: OwnedFd,
    /// What it says on its standard error output.
    words: OwnedFd,
}

/// How a server ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// By itself, with its overlay: what was written is in the layer.
    Complete,
    /// Before its overlay, or with an error: the layer may lack something.
    Failed {
        /// Where the overlay was.
        at: Text,
        /// How the process ended.
        exit: Exit,
        /// Its last words, often none.
        said: Text,
    },
    /// It had to be killed: it did not end within the time it was given.
    Killed {
        /// Where the overlay was.
        at: Text,
    },
}

impl Server {
    /// Starts the server of the overlay of `step`, for which the sandbox process sent `fds`.
    pub(super) fn start(
        plan: &Plan,
        host: &Host<'_>,
        step: usize,
        fds: Vec<OwnedFd>,
    ) -> std::result::Result<Self, LaunchError> {
        let overlay = overlay(plan, step).ok_or(LaunchError::Lost)?;
        let wanted = Received::new(plan, host, &overlay, fds).ok_or(LaunchError::Lost)?;
        let options = options(&overlay).ok_or(LaunchError::Lost)?;
        let (words, said) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
            .map_err(|errno| LaunchError::Connect(errno.into()))?;
        let filter = host.server_filter.as_deref().ok_or(LaunchError::Connect(Errno::EINVAL))?;
        let launcher = rustix::process::getpid();
        match clone::fork().map_err(LaunchError::Connect)? {
            Cloned::Child => server::run(&server::Order {
                program: overlay.program,
                options,
                wanted,
                landlock_abi: landlock_abi(plan),
                filter,
                words: said,
                launcher,
            }),
            Cloned::Parent { pid, pidfd } => Ok(Self {
                pid,
                at: Text::from(overlay.at.as_path().as_os_str().to_owned()),
                program: Text::from(overlay.program.as_path().as_os_str().to_owned()),
                pidfd,
                words,
            }),
        }
    }

    /// Where its overlay is, as the payload sees it.
    pub fn at(&self) -> &Text {
        &self.at
    }

    /// Its number, until it is waited for.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Readable when it has ended. While the payload runs, that is a failure.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits until it has ended, which it does by itself once the sandbox is gone; kills it when that
    /// takes longer than `patience`.
    pub fn end(self, patience: Duration) -> Result<End> {
        if !pidfd::has_ended(&self.pidfd, patience)? {
            let at = self.at.clone();
            return self.kill().map(|()| End::Killed { at });
        }
        match pidfd::wait(&self.pidfd)? {
            Exit::Code(0) => Ok(End::Complete),
            exit => Ok(End::Failed { said: self.last_words(), at: self.at, exit }),
        }
    }

    /// Kills it without waiting: whoever waits for an answer of it gets an error instead. A process that
    /// does cannot be killed as long as the server neither answers nor ends.
    pub fn abort(&self) -> Result<()> {
        pidfd::kill(&self.pidfd)
    }

    /// Kills and reaps it, whatever it is doing. `ETIMEDOUT` when it does not die.
    pub fn kill(self) -> Result<()> {
        pidfd::kill_and_reap(&self.pidfd, KILLED)
    }

    /// What it said, its lines joined. It says less than a pipe holds, or the rest is lost.
    fn last_words(&self) -> Text {
        let mut bytes = [0; SAID];
        // `EAGAIN` when it said nothing and something else holds the other end.
        let said = rustix::io::read(&self.words, &mut bytes).unwrap_or_default();
        let said = String::from_utf8_lossy(bytes.get(..said).unwrap_or_default());
        let lines = said.lines().filter(|line| !line.is_empty() && !line.contains(EXPECTED));
        let lines: Vec<String> = lines.map(|line| escape(line.as_bytes())).collect();
        Text::from(lines.join("; "))
    }
}

/// The error of a server that has ended, when `errno` is what its overlay answers from then on.
pub(super) fn failure(servers: &[Server], errno: Errno) -> Option<LaunchError> {
    if ![Errno::ENOTCONN, Errno::ECONNABORTED, Errno::ECONNREFUSED, Errno::EIO].contains(&errno) {
        return None;
    }
    // The device is closed a moment before the process can be waited for.
    let ended =
        servers.iter().find(|server| pidfd::has_ended(&server.pidfd, LAST_WORDS) == Ok(true))?;
    Some(LaunchError::Server {
        at: ended.at.clone(),
        program: ended.program.clone(),
        said: Some(ended.last_words())
            .filter(|said| !said.as_bytes().is_empty())
            .unwrap_or_else(|| Text::from("nothing")),
    })
}

/// Asks the launcher for the server of the overlay of `step`, which is mounted already.
pub(super) fn want_server(
    plan: &Plan,
    step: usize,
    wanted: Wanted,
    control: &Inside,
) -> Result<()> {
    let namespace = |name: &str| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::open(format!("/proc/self/ns/{name}"), flags, Mode::empty())
    };
    let mut fds = vec![wanted.device, namespace("user")?];
    if has_network(plan) {
        fds.push(namespace("net")?);
    }
    fds.extend(wanted.layer);
    fds.extend(wanted.lowers);
    let step = u16::try_from(step).map_err(|_| Errno::EOVERFLOW)?;
    let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    control.tell_with(&FromSandbox::FuseWanted { step }, &borrowed)
}

/// An overlay's step, taken apart.
struct Overlay<'a> {
    at: &'a SandboxPath,
    program: &'a HostPath,
    squash: Option<(u32, u32)>,
    lower: &'a [Lower],
    upper: Option<Upper>,
}

fn overlay(plan: &Plan, step: usize) -> Option<Overlay<'_>> {
    match action(plan, step)? {
        Action::Fs(FsStep::Overlay {
            at,
            lower,
            upper,
            server: OverlayServer::Fuse { program, squash },
            ..
        }) => Some(Overlay { at, program, squash: *squash, lower, upper: *upper }),
        _ => None,
    }
}

fn has_network(plan: &Plan) -> bool {
    plan.of(Stage::Launch)
        .any(|(_, action)| matches!(action, Action::Clone(namespaces) if namespaces.net))
}

/// The server's Landlock has the rights of the payload's.
fn landlock_abi(plan: &Plan) -> Option<u32> {
    plan.of(Stage::Payload).find_map(|(_, action)| match action {
        Action::Confine(ConfineStep::Landlock(rules)) => Some(rules.abi),
        _ => None,
    })
}

/// What the server gets: from the sandbox process, and by the plan.
struct Received<'a> {
    device: OwnedFd,
    user: OwnedFd,
    net: Option<OwnedFd>,
    layer: Option<Source<'a>>,
    lowers: Vec<Source<'a>>,
}

/// Where a layer comes from.
enum Source<'a> {
    /// A tree of the scratch file system.
    Sent(OwnedFd),
    /// A directory of the host, and the mount that it must be on.
    Host(&'a HostPath, u64),
    /// The directory that holds an upper and its work directory.
    Layer(HostPath),
}

impl<'a> Received<'a> {
    /// None when there are more or fewer descriptors than there must be.
    fn new(plan: &Plan, host: &Host<'_>, overlay: &Overlay<'a>, fds: Vec<OwnedFd>) -> Option<Self> {
        let mut fds = fds.into_iter();
        let (device, user) = (fds.next()?, fds.next()?);
        let net = if has_network(plan) { Some(fds.next()?) } else { None };
        let layer = match overlay.upper {
            Some(Upper::Scratch { .. } | Upper::Held(_)) => Some(Source::Sent(fds.next()?)),
            Some(Upper::Layer(layer)) => Some(Source::Layer(directory(host, layer)?)),
            None => None,
        };
        let lower = |lower: &'a Lower| match lower {
            Lower::Host { path, mount } => Some(Source::Host(path, *mount)),
            Lower::Scratch(_) => fds.next().map(Source::Sent),
        };
        let lowers = overlay.lower.iter().map(lower).collect::<Option<Vec<_>>>()?;
        fds.next().is_none().then_some(Self { device, user, net, layer, lowers })
    }

    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let sent = self.layer.iter().chain(&self.lowers).filter_map(|source| match source {
            Source::Sent(tree) => Some(tree),
            Source::Host(..) | Source::Layer(_) => None,
        });
        [&self.device, &self.user].into_iter().chain(&self.net).chain(sent).map(AsFd::as_fd)
    }
}

/// What holds [`UPPER`] and [`WORK`] of a layer, which are on one mount so.
fn directory(host: &Host<'_>, layer: LayerNumber) -> Option<HostPath> {
    let (upper, work) = host.layers.directories(layer)?;
    let parent = upper.parent()?;
    let is = |path: &HostPath, name: &str| {
        path.parent().as_ref() == Some(&parent) && path.file_name() == Some(OsStr::new(name))
    };
    (is(upper, UPPER) && is(work, WORK)).then_some(parent)
}

/// The value of `-o`. Paths are of the server's own root.
fn options(overlay: &Overlay<'_>) -> Option<CString> {
    let lowers: Vec<String> = (0..overlay.lower.len()).map(root::lower_path).collect();
    let mut options = vec![format!("lowerdir={}", lowers.join(":"))];
    if overlay.upper.is_some() {
        options.push(format!("upperdir={}/{UPPER}", root::LAYER));
        options.push(format!("workdir={}/{WORK}", root::LAYER));
    }
    if matches!(overlay.upper, Some(Upper::Held(_))) {
        // What is written later cannot tell the writer that there is no room, and of a write that was cut short the
        // kernel then says nothing at all.
        options.push("writeback=0".to_owned());
    }
    if let Some((uid, gid)) = overlay.squash {
        options.push(format!("squash_to_uid={uid},squash_to_gid={gid}"));
    }
    CString::new(options.join(",")).ok()
}
