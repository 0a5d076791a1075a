//! Signals to the supervisor: which are taken, and what each is answered with.
//!
//! # Theory of operation
//! They are blocked before the clone, so that none is lost between it and the loop, and read from a
//! descriptor. What the caller has set to be ignored, as `nohup` does, stays ignored: a signal that is blocked
//! comes all the same, and whether it is ignored is asked when it does, and not of each of them at every start.
//! Those that a fault raises, and those that cannot be blocked, are left alone.
//!
//! | signal | answer |
//! |---|---|
//! | `WINCH` | with a pty: the new size is passed on; without, what a person sent goes to the payload |
//! | `TSTP`, `TTIN`, `TTOU` | the payload's group is stopped; when it is, the supervisor stops itself |
//! | `CONT` | the payload goes on |
//! | `XFSZ` | nothing: the write that was too large fails |
//! | [`KNOCK`], queued with its value | the supervisor listens for orders from now on |
//! | all others | sent to the payload |
//!
//! # Decisions
//! * The third `INT`, `QUIT` or `TERM` within two seconds kills the sandbox: somebody insists.
//!   With a pty the keys send none of these, they go to the payload as bytes.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::SuperviseError;
use crate::sys::errno::Result;
use crate::sys::signal::{self, Received, SignalFd, SignalNumber, SignalSet};

/// So many, within this time, mean that somebody insists.
const INSISTING: usize = 3;
const INSISTING_WITHIN: Duration = Duration::from_secs(2);

/// Left alone: cannot be blocked, come from a fault, are the C library's own (32 and 33), or have
/// their own way of being heard (`CHLD`: the pidfd; `PIPE`: the failing write).
const LEFT_ALONE: &[i32] = &[
    SignalNumber::KILL.raw(),
    SignalNumber::STOP.raw(),
    SignalNumber::ILL.raw(),
    SignalNumber::TRAP.raw(),
    SignalNumber::ABRT.raw(),
    SignalNumber::BUS.raw(),
    SignalNumber::FPE.raw(),
    SignalNumber::SEGV.raw(),
    SignalNumber::SYS.raw(),
    SignalNumber::XCPU.raw(),
    SignalNumber::CHLD.raw(),
    SignalNumber::PIPE.raw(),
    32,
    33,
];

/// The signals of the calling process, blocked, to be read one by one.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

/// Blocks the signals that [`supervise`](super::supervise) takes. To be called before the launch, so that a signal
/// that arrives while the sandbox starts is not lost; the calling process must have one thread.
pub fn block_signals() -> std::result::Result<Signals, SuperviseError> {
    Signals::block().map_err(SuperviseError::Signals)
}

impl Signals {
    fn block() -> Result<Self> {
        let taken: Vec<_> =
            SignalNumber::all().filter(|signal| !LEFT_ALONE.contains(&signal.raw())).collect();
        Ok(Self { fd: SignalFd::new(&SignalSet::of(&taken))? })
    }

    /// The next one that is not ignored, if there is one now.
    pub(super) fn next(&self) -> Result<Option<Received>> {
        while let Some(received) = self.fd.read()? {
            if !signal::is_ignored(received.signal)? {
                return Ok(Some(received));
            }
        }
        Ok(None)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Who is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// The supervisor's process group, as a key at the terminal does.
    Group,
    /// The supervisor alone.
    Own,
}

/// Stops the calling process, or its whole group, as `signal` would have if it were not blocked;
/// returns when it goes on. Nothing happens where the kernel lets nothing happen: in a group
/// that nobody could continue, or when the signal is ignored.
pub(super) fn stop_calling(signal: SignalNumber, whom: Whom) -> Result<()> {
    let blocked = SignalSet::of(&[]).block()?;
    let others: Vec<_> =
        SignalNumber::all().filter(|one| *one != signal && blocked.contains(*one)).collect();
    SignalSet::of(&others).replace_mask()?;
    let sent = match whom {
        Whom::Group => signal::kill_group(rustix::process::getpgrp(), signal),
        Whom::Own => signal::raise(signal),
    };
    blocked.replace_mask()?;
    sent
}

/// By this signal, with this value, a command says that it wants to speak with the supervisor of a run in the
/// foreground: a socket for that costs every start, and is seldom wanted.
pub const KNOCK: (SignalNumber, i32) = (SignalNumber::RTMAX, 0x6272_796f);

/// Whether somebody knocks: the caller's own processes alone can.
pub(super) fn is_knock(received: &Received) -> bool {
    let (signal, value) = KNOCK;
    (received.signal, received.code, received.value) == (signal, libc::SI_QUEUE, value)
}

/// What a signal is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    /// It is sent to the payload.
    Forward,
    /// The pty gets the size of the caller's terminal.
    Resize,
    /// The payload is stopped, and then we are.
    Stop(Whom),
    /// The payload goes on.
    Continue,
    /// Nothing.
    Ignore,
}

/// Where output goes and keys come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The payload has a pty.
    Pty,
    /// It has none.
    Bare,
}

/// The table above. `code` is the signal's `si_code`.
pub(super) fn react(signal: SignalNumber, code: i32, stage: Stage) -> Reaction {
    let by_kernel = code == libc::SI_KERNEL;
    match signal {
        SignalNumber::WINCH if stage == Stage::Pty => Reaction::Resize,
        SignalNumber::WINCH if by_kernel => Reaction::Ignore,
        SignalNumber::TSTP | SignalNumber::TTIN | SignalNumber::TTOU => {
            Reaction::Stop(if by_kernel { Whom::Group } else { Whom::Own })
        }
        SignalNumber::CONT => Reaction::Continue,
        SignalNumber::XFSZ => Reaction::Ignore,
        _ => Reaction::Forward,
    }
}

/// Whether a signal asks for an end.
pub(super) fn asks_for_an_end(signal: SignalNumber) -> bool {
    [SignalNumber::INT, SignalNumber::QUIT, SignalNumber::TERM, SignalNumber::HUP].contains(&signal)
}

/// Whether a signal means nothing where there is no terminal.
pub(super) fn is_about_a_terminal(signal: SignalNumber) -> bool {
    [
        SignalNumber::TSTP,
        SignalNumber::TTIN,
        SignalNumber::TTOU,
        SignalNumber::CONT,
        SignalNumber::WINCH,
        SignalNumber::XFSZ,
    ]
    .contains(&signal)
}

/// Notices that somebody insists; see the module.
#[derive(Debug, Default)]
pub(super) struct Insistence(Vec<Instant>);

impl Insistence {
    /// Counts a signal; true when that was one too many.
    pub(super) fn is_too_much(&mut self, signal: SignalNumber, now: Instant) -> bool {
        if signal == SignalNumber::HUP || !asks_for_an_end(signal) {
            return false;
        }
        self.0.retain(|then| now.saturating_duration_since(*then) <= INSISTING_WITHIN);
        self.0.push(now);
        self.0.len() >= INSISTING
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::alone;

    const BY_USER: i32 = libc::SI_USER;
    const BY_KEY: i32 = libc::SI_KERNEL;

    #[test]
    fn what_the_caller_ignores_stays_ignored() {
        alone(module_path!(), "what_the_caller_ignores_stays_ignored", || {
            signal::ignore(SignalNumber::HUP).unwrap();
            let signals = Signals::block().unwrap();
            for signal in [SignalNumber::HUP, SignalNumber::USR1] {
                signal::raise(signal).unwrap();
            }
            let next = || signals.next().unwrap().map(|received| received.signal);
            assert_eq!((next(), next()), (Some(SignalNumber::USR1), None));
        });
    }

    #[test]
    fn a_signal_that_is_not_about_the_terminal_is_forwarded() {
        for signal in ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "IO", "34", "64"] {
            let signal = signal.parse().unwrap();
            for stage in [Stage::Pty, Stage::Bare] {
                assert_eq!(react(signal, BY_USER, stage), Reaction::Forward);
                assert_eq!(react(signal, BY_KEY, stage), Reaction::Forward);
            }
        }
    }

    #[test]
    fn a_change_of_size_is_passed_on_by_the_pty_only() {
        assert_eq!(react(SignalNumber::WINCH, BY_KEY, Stage::Pty), Reaction::Resize);
        assert_eq!(react(SignalNumber::WINCH, BY_KEY, Stage::Bare), Reaction::Ignore);
        assert_eq!(react(SignalNumber::WINCH, BY_USER, Stage::Bare), Reaction::Forward);
    }

    #[test]
    fn a_stop_is_for_whom_it_was_meant() {
        assert_eq!(react(SignalNumber::TSTP, BY_KEY, Stage::Bare), Reaction::Stop(Whom::Group));
        assert_eq!(react(SignalNumber::TSTP, BY_USER, Stage::Pty), Reaction::Stop(Whom::Own));
        assert_eq!(react(SignalNumber::CONT, BY_USER, Stage::Pty), Reaction::Continue);
    }

    #[test]
    fn the_third_time_within_two_seconds_is_too_much() {
        let start = Instant::now();
        let mut insistence = Insistence::default();
        let mut at =
            |signal, seconds| insistence.is_too_much(signal, start + Duration::from_secs(seconds));
        assert!(!at(SignalNumber::INT, 0));
        assert!(!at(SignalNumber::INT, 1));
        assert!(!at(SignalNumber::INT, 4));
        assert!(!at(SignalNumber::USR1, 4));
        assert!(!at(SignalNumber::HUP, 4));
        assert!(!at(SignalNumber::TERM, 5));
        assert!(at(SignalNumber::INT, 6));
    }
}
