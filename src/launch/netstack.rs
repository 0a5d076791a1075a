//! The netstack's process: asked for by the sandbox process, started and ended by the launcher.
//!
//! # Theory of operation
//!
//! ```text
//! sandbox                        launcher                    netstack
//!    │ makes the interface          │
//!    │ ────── Link, its end ──────▶ │ ─────────fork──────────▶ │ closes all but that end and a socket
//!    │ goes on building             │                          │ confines itself
//!    │                              │ ◀─────── Confined ────── │
//!    ▼                              ▼                          │ packets ↔ sockets of the host
//!  payload                      supervisor ─────Finish───────▶ │ lets the last bytes leave, ends
//! ```
//!
//! It stays in the host's namespaces, where its sockets have to be, and is a copy of the launcher: all it is to
//! do is in the plan. Before it reads the first packet it has no file to open and no program to start, no
//! capability, little memory, and a system call filter that knows sockets and nothing else; nobody but root may
//! look into it.
//!
//! *Death.* The payload's processes end first, then the servers of overlays; then the supervisor says
//! `Finish`: the payload's kernel may still hold what was written before a `close`, and the end of
//! the interface keeps that kernel's network alive. When the launcher dies, the socket's other end closes,
//! which ends it at once; it has also asked for SIGKILL. When it dies first, the
//! interface is gone: new connections find the network unreachable, and those that were made, of which the payload's
//! kernel would wait for an answer for a quarter of an hour or for ever, the supervisor has aborted. The run goes on, and
//! its end tells ([`End::Lost`]).
//!
//! *Programs of others* ([`tool`]) take its place where the plan says so.
//!
//! # Not here
//! The engine (`net::user`); what may leave (`net::egress`).

mod gate;
pub(super) mod orders;
mod process;
mod tool;
pub(super) mod uplink;
mod within;

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::process::Pid;

pub(super) use tool::hand_over;
pub(super) use within::act;

use super::channel::Inside;
use super::holder::{receive, send};
use super::{Host, LaunchError};
use crate::plan::step::Plan;
use crate::plan::traffic::Traffic;
use crate::sys::clone::{self, Cloned};
use crate::sys::errno::{Errno, Result};
use crate::sys::event::Poller;
use crate::sys::pidfd::{self, Exit};
use crate::sys::socket;
use orders::{Order, Said};

/// Most that it tells: a bounded list of short lines.
const TOLD: usize = 1 << 20;

/// How long one that was killed is waited for.
const KILLED: Duration = Duration::from_secs(5);

/// The netstack of a run.
#[derive(Debug)]
pub struct Netstack {
    pid: Pid,
    pidfd: OwnedFd,
    control: OwnedFd,
    /// What was refused, told at its end; of a program of others, what it says when something is wrong.
    told: OwnedFd,
    tool: Option<tool::Started>,
}

/// How a netstack ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// When it was told to.
    Complete,
    /// Before: from then on there was no network.
    Lost(Exit),
    /// It had to be killed: what the payload sent last may not have left.
    Killed,
}

impl Netstack {
    /// Starts it with what the sandbox process sent: the end of the interface, or its namespaces.
    pub(super) fn start(
        plan: &Plan,
        host: &Host<'_>,
        mut fds: Vec<OwnedFd>,
    ) -> std::result::Result<Self, LaunchError> {
        if let Some(wanted) = tool::wanted(plan) {
            return tool::start(wanted, fds);
        }
        let link = fds.pop().ok_or(LaunchError::Lost)?;
        let filter = host.netstack_filter.as_deref();
        let filter = filter.ok_or(LaunchError::Connect(Errno::EINVAL))?;
        let capture = host.capture.map(OwnedFd::try_clone);
        let capture = capture.transpose().map_err(|_| LaunchError::Connect(Errno::EMFILE))?;
        let (control, inside) = socket::pair().map_err(LaunchError::Connect)?;
        let (told, tells) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|errno| LaunchError::Connect(errno.into()))?;
        let launcher = rustix::process::getpid();
        match clone::fork().map_err(LaunchError::Connect)? {
            Cloned::Child => {
                let control = Inside(inside);
                let told = tells;
                let published = host.published.take();
                process::run(process::Start {
                    plan,
                    link,
                    control,
                    told,
                    published,
                    capture,
                    filter,
                    launcher,
                })
            }
            Cloned::Parent { pid, pidfd } => Ok(Self { pid, pidfd, control, told, tool: None }),
        }
    }

    /// Its number, until it is waited for.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// What it says while it starts.
    pub(super) fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// Listens to a program of others, which has said something or ended; none for our own.
    pub(super) fn hear_tool(&self, plan: &Plan) -> Option<std::result::Result<(), LaunchError>> {
        self.tool.as_ref().map(|tool| tool.hear(self).and_then(|()| tool.complete(plan)))
    }

    /// Whether the payload has to wait for it.
    pub(super) fn is_waited_for(plan: &Plan) -> bool {
        tool::wanted(plan).is_some()
    }

    /// How long it may still take until it is ready; for ever, for our own.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.tool.as_ref().map(tool::Started::patience)
    }

    /// Whether it asks for what changes on the host; a program of others does not.
    pub(super) fn asks(&self) -> bool {
        self.tool.is_none()
    }

    /// Hears that it asks to look which servers the host asks, or of a flow; an error when it has ended, or says
    /// something else.
    pub(super) fn hear_said(&self) -> Result<super::Said> {
        match receive::<Said>(&self.control)? {
            Some((Said::Look, None)) => Ok(super::Said::Look),
            Some((Said::Flow(_, flow), None)) => Ok(super::Said::Flow(flow)),
            _ => Err(Errno::EPROTO),
        }
    }

    /// Tells it which servers the host asks for names now.
    pub(super) fn servers_are(&self, servers: &[SocketAddr]) -> Result<()> {
        send(&self.control, &Order::Servers(servers.to_vec()), None)
    }

    /// Readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Tells it to end once the last bytes have left. A program of others is not told.
    pub fn finish(&self) -> Result<()> {
        if self.tool.is_some() {
            return Ok(());
        }
        match send(&self.control, &Order::Finish, None) {
            // Gone, or already on its way.
            Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Tells it to end once the last bytes have left, and waits for that; kills it when it takes longer than
    /// `patience`.
    pub fn end(self, patience: Duration) -> Result<(End, Option<Traffic>)> {
        if self.tool.is_some() {
            return tool::end(self).map(|end| (end, None));
        }
        if let Err(errno) = self.finish() {
            return self.kill().and(Err(errno));
        }
        let told = self.hear(patience)?;
        if !pidfd::has_ended(&self.pidfd, patience)? {
            return self.kill().map(|()| (End::Killed, told));
        }
        match pidfd::wait(&self.pidfd)? {
            Exit::Code(0) => Ok((End::Complete, told)),
            exit => Ok((End::Lost(exit), told)),
        }
    }

    /// What it tells at its end; nothing when that is not whole, or not what it should be.
    fn hear(&self, within: Duration) -> Result<Option<Traffic>> {
        let until = Instant::now() + within;
        let mut bytes = Vec::new();
        let mut room = [0; 4096];
        while bytes.len() < TOLD {
            let mut poller = Poller::new();
            poller.readable((), self.told.as_fd());
            let left = until.saturating_duration_since(Instant::now());
            if poller.wait(Some(left))?.is_empty() {
                return Ok(None);
            }
            match rustix::io::retry_on_intr(|| rustix::io::read(&self.told, &mut room))? {
                0 => return Ok(serde_json::from_slice(&bytes).ok()),
                length => bytes.extend_from_slice(room.get(..length).unwrap_or_default()),
            }
        }
        Ok(None)
    }

    /// Kills and reaps it.
    pub fn kill(self) -> Result<()> {
        pidfd::kill_and_reap(&self.pidfd, KILLED)
    }
}
