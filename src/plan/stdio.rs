//! Plans descriptors 0 to 2 and the terminal, from what stands there.
//!
//! # Decisions
//! Each descriptor is looked at on its own: a terminal on one of them says nothing about the others.
//! What can be handed over as it is, is; a relay costs a copy of every byte.
//!
//! - A regular file is relayed, also one that is open for reading only: whoever holds a descriptor of
//!   a file of the caller's can change its mode, times and attributes, and through one that can be
//!   written, `O_APPEND` or not, all of it.
//! - A socket is relayed: the descriptor would be a way to its peer that no policy sees.
//! - A detached payload has no descriptor of a caller: its output goes to the supervisor, which keeps it in
//!   a log, through a pipe for each stream, so that the two can be told apart.
//! - A directory, an `O_PATH` descriptor, or a device is refused: a directory as standard input opens
//!   the host's whole tree to `openat(0, "..")`.

use super::error::PlanError;
use super::facts::{Facts, Stdio};
use super::step::StdioPlan;
use crate::spec::{Detached, Spec, Terminal};

/// Whether the sandbox gets a pty. A detached one only when it is asked for: there is no caller's.
pub(super) fn has_pty(spec: &Spec, stdio: [Stdio; 3]) -> bool {
    match spec.command.terminal {
        terminal if spec.lifetime.detached.is_some() => terminal == Terminal::Always,
        terminal => is_at_terminal(terminal, stdio),
    }
}

/// The same for what has a caller.
pub(super) fn is_at_terminal(terminal: Terminal, stdio: [Stdio; 3]) -> bool {
    match terminal {
        Terminal::Auto => stdio.contains(&Stdio::Terminal),
        Terminal::Always => true,
        Terminal::Never => false,
    }
}

/// Whether the payload begins in the foreground of its pty, and so has the caller's keys.
///
/// In the background the keys are not ours to give. In a pipeline another program may be the one that
/// reads the terminal, as in `… | less`. In both the payload begins in the background, and gets the
/// keys when it wants them.
pub(super) fn begins_in_foreground(spec: &Spec, facts: &Facts) -> bool {
    let terminal = spec.command.terminal;
    if spec.lifetime.detached.is_some() {
        return terminal == Terminal::Always;
    }
    has_keys(terminal, facts.stdio, facts.background)
}

/// The same for what has a caller, who may be in the background.
pub(super) fn has_keys(terminal: Terminal, stdio: [Stdio; 3], background: bool) -> bool {
    let [input, output, _] = stdio;
    let by_terminal = input == Stdio::Terminal;
    let piped = matches!(output, Stdio::Pipe | Stdio::Socket);
    match terminal {
        Terminal::Auto => by_terminal && !piped && !background,
        Terminal::Always => !(by_terminal && background),
        Terminal::Never => false,
    }
}

/// What the payload gets at `number`.
pub(super) fn plan_stdio(number: u8, stands: Stdio, spec: &Spec) -> Result<StdioPlan, PlanError> {
    let terminal = spec.command.terminal;
    if let Some(detached) = &spec.lifetime.detached {
        return Ok(apart(number, terminal, detached));
    }
    plan_callers(number, stands, terminal)
}

/// The same for what has a caller.
pub(super) fn plan_callers(
    number: u8,
    stands: Stdio,
    terminal: Terminal,
) -> Result<StdioPlan, PlanError> {
    if let Stdio::Directory | Stdio::Path | Stdio::Other = stands {
        return Err(PlanError::UnsuitableStdio { number, stands });
    }
    if terminal == Terminal::Always {
        return Ok(StdioPlan::Pty);
    }
    Ok(match stands {
        Stdio::Terminal if terminal == Terminal::Never => StdioPlan::Relay,
        Stdio::Terminal => StdioPlan::Pty,
        Stdio::Pipe | Stdio::Null => StdioPlan::Keep,
        Stdio::Closed => StdioPlan::Null,
        _ => StdioPlan::Relay,
    })
}

/// Without a caller: to and from the supervisor, whatever stands at its own descriptors.
fn apart(number: u8, terminal: Terminal, detached: &Detached) -> StdioPlan {
    match (terminal, number) {
        (Terminal::Always, _) => StdioPlan::Pty,
        (_, 0) if !detached.input => StdioPlan::Null,
        _ => StdioPlan::Relay,
    }
}
