//! `bryo attach`: a terminal or pipes at a sandbox that runs without a caller.

use std::os::fd::OwnedFd;
use std::time::Instant;

use super::control::{ANSWER, Heard, PAUSE, Supervisor, line, lost, no_answer};
use super::error::OpsError;
use super::stop::refusal;
use super::sweep::sweep;
use crate::state::events::What;
use crate::state::log::{Follow, Position, Reader};
use crate::state::{Found, Line, SandboxId, Stores, Which};
use crate::supervise::attach::Attachment;
pub use crate::supervise::attach::{DetachKeys, Left};
use crate::supervise::protocol::{Reply, Request};
use crate::supervise::{self, Signals, block_signals};

/// How one attaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Whether our input is passed on.
    pub input: bool,
    /// Whether signals are.
    pub signals: bool,
    /// What is typed to leave.
    pub keys: DetachKeys,
}

/// Attaches until it ends, or somebody leaves.
pub fn attach(stores: &Stores, which: Which<'_>, wanted: Wanted) -> Result<Left, OpsError> {
    sweep(stores)?;
    let found = stores.choose_running(which)?;
    let socket = socket_of(&found)?;
    // Signals first: one that comes meanwhile is for the payload.
    let signals = block_signals()?;
    let log = found.read_log()?;
    let Some(follow) = Follow::new(&found, &log)? else { return Err(not_running(&found)) };
    let supervisor = Supervisor::new(socket);
    let asked = supervisor.ask(&Request::Attach);
    stay(&found, (supervisor, asked), (log, follow), wanted, &signals)
}

/// The way to its supervisor. One without a caller that has no socket is about to have one, or ends.
fn socket_of(found: &Found) -> Result<OwnedFd, OpsError> {
    let until = Instant::now() + ANSWER;
    loop {
        match line(found, "attach to", None)? {
            Line::Socket(socket) => return Ok(socket),
            Line::Ended => return Err(not_running(found)),
            Line::Process(_) if found.record()?.spec.lifetime.detached.is_none() => {
                return Err(OpsError::Foreground { verb: "attach to", id: found.id() });
            }
            Line::Process(_) if Instant::now() > until => {
                return Err(no_answer(found, "attach to"));
            }
            Line::Process(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Stays attached to one that was just started with the other end of `socket` at its station: it may have ended
/// by now, and what it wrote is shown all the same.
pub fn attach_from_start(
    stores: &Stores,
    id: SandboxId,
    socket: OwnedFd,
    wanted: Wanted,
) -> Result<Left, OpsError> {
    let signals = block_signals()?;
    let found = stores.find(id.as_str().as_bytes())?;
    let log = found.read_log()?;
    let follow = Follow::of_changes(&log);
    let supervisor = Supervisor::of_pair(socket);
    let greeted = supervisor.hear_soon();
    stay(&found, (supervisor, greeted), (log, follow), wanted, &signals)
}

fn stay(
    found: &Found,
    (supervisor, answer): (Supervisor, crate::sys::errno::Result<Heard>),
    (mut log, follow): (Reader, Follow),
    wanted: Wanted,
    signals: &Signals,
) -> Result<Left, OpsError> {
    let failed = |source| OpsError::Supervisor { id: found.id(), source };
    let (terminal, input) = match answer.map_err(failed)? {
        Heard::Reply(Reply::Attached { terminal, input, log_file, log_offset }) => {
            let from = Position { file: log_file, offset: log_offset };
            log.seek(from)
                .map_err(|source| crate::state::StateError::ReadLog { id: found.id(), source })?;
            (terminal, input)
        }
        Heard::Gone => return Err(lost(found, &supervisor, "attach to")),
        Heard::Nothing => return Err(no_answer(found, "attach to")),
        Heard::Reply(reply) => return Err(refusal(reply, "attach to", found)),
    };
    found.tell_as_called(What::Attach, &[]);
    let attachment = Attachment {
        socket: supervisor.into_socket(),
        log,
        follow,
        terminal,
        input: input && wanted.input,
        signals: wanted.signals,
        keys: wanted.keys,
    };
    let left = supervise::attach::attach(attachment, signals)?;
    if matches!(left, Left::Detached | Left::Signalled(_) | Left::Closed) {
        found.tell_as_called(What::Detach, &[]);
    }
    Ok(left)
}

fn not_running(found: &Found) -> OpsError {
    OpsError::NotRunning { verb: "attach to", id: found.id() }
}
