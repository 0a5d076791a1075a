//! Init: pid 1 after the payload was forked.
//!
//! # Theory of operation
//! It reaps, passes on what the launcher orders, and tells how the payload ended; then it exits, and
//! the kernel kills whatever else is left in its pid namespace. It holds at most three descriptors: its
//! socket to the launcher, its signals, and the session's terminal, whose foreground it gives and
//! takes when the launcher is told so by the caller's terminal. Nothing inside can order it about: SIGKILL and SIGSTOP from
//! inside its pid namespace do not reach it, every other signal is blocked, it cannot be traced, and
//! its own filter leaves it some twenty system calls.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::Pid;
use rustix::termios::{tcgetpgrp, tcsetpgrp};

use super::Host;
use super::channel::Inside;
use super::sandbox::{Failed, PayloadPid};
use super::wire::{FromSandbox, ToSandbox};
use crate::confine::capabilities;
use crate::plan::step::{Action, ConfineStep, Plan, Stage};
use crate::sys::errno::{Errno, Result};
use crate::sys::event::Poller;
use crate::sys::pidfd::{self, Change, Changes, Exit};
use crate::sys::process::{self, exit_now};
use crate::sys::seccomp;
use crate::sys::signal::{self, SignalFd, SignalNumber, SignalSet};

/// Pid 1 beside its payload.
pub(super) struct Init {
    payload: PayloadPid,
    /// From then on its number may be somebody else's.
    is_reaped: Cell<bool>,
    control: Inside,
    /// The session's terminal. While it is open here, the master does not read as hung up when the
    /// payload has closed it everywhere.
    terminal: Option<OwnedFd>,
    /// The group to which the foreground is given back.
    foreground: Cell<Pid>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Control,
    Children,
}

impl Init {
    pub(super) fn new(payload: PayloadPid, control: Inside, terminal: Option<OwnedFd>) -> Self {
        let (is_reaped, foreground) = (Cell::new(false), Cell::new(payload));
        Self { payload, is_reaped, control, terminal, foreground }
    }

    /// Until the payload has ended or the launcher is gone.
    pub(super) fn run(self, plan: &Plan, host: &Host<'_>) -> ! {
        let children = match self.confine(plan, host) {
            Ok(children) => children,
            Err(failed) => {
                let told = self.control.tell(&failed.message(), None);
                self.abandon(u8::from(told.is_err()) + 1)
            }
        };
        let served = self
            .control
            .tell(&FromSandbox::InitReady, None)
            .and_then(|()| self.serve(&children))
            .and_then(|()| self.linger(plan));
        match served {
            Ok(()) => exit_now(0),
            Err(_) => self.abandon(1),
        }
    }

    /// Whatever went wrong, the exit of a pid 1 ends the sandbox, and the launcher sees it. In an entry nobody else
    /// would end the payload, nor reap it.
    pub(super) fn abandon(&self, status: u8) -> ! {
        match self.end_payload() {
            Ok(()) => exit_now(status),
            Err(_) => exit_now(u8::MAX),
        }
    }

    /// Takes init's steps. All signals are blocked: only SIGCHLD is looked at.
    fn confine(&self, plan: &Plan, host: &Host<'_>) -> std::result::Result<SignalFd, Failed> {
        let last = plan.of(Stage::Init).last().map_or(0, |(step, _)| step);
        let at_last = |errno| Failed::new(last, errno);
        SignalSet::full().block().map_err(at_last)?;
        let children = SignalFd::new(&SignalSet::of(&[SignalNumber::CHLD])).map_err(at_last)?;
        let mut keep = vec![self.control.as_fd(), children.as_fd()];
        keep.extend(self.terminal.as_ref().map(AsFd::as_fd));
        process::irrevocably_close_from(0, &keep).map_err(at_last)?;
        for (step, action) in plan.of(Stage::Init) {
            let Action::Confine(confine) = action else {
                return Err(Failed::new(step, Errno::EINVAL));
            };
            let failed = |failure: crate::confine::Failure| Failed {
                step,
                errno: failure.errno,
                said: failure.said,
            };
            match confine {
                ConfineStep::Securebits => {
                    capabilities::irrevocably_lock_securebits().map_err(failed)?;
                }
                ConfineStep::Capabilities { keep } => {
                    capabilities::irrevocably_drop_capabilities(keep).map_err(failed)?;
                }
                ConfineStep::NoNewPrivs => {
                    process::irrevocably_set_no_new_privs()
                        .map_err(|errno| Failed::new(step, errno))?;
                }
                ConfineStep::Seccomp { .. } => {
                    let filter = host
                        .init_filter
                        .as_deref()
                        .ok_or_else(|| Failed::new(step, Errno::EINVAL))?;
                    // Asked for once more: dropping capabilities may have cleared it.
                    process::set_parent_death_signal(Some(SignalNumber::KILL))
                        .map_err(|errno| Failed::new(step, errno))?;
                    seccomp::irrevocably_install_filter(filter)
                        .map_err(|errno| Failed::new(step, errno))?;
                }
                ConfineStep::Keyring | ConfineStep::Landlock(_) | ConfineStep::ShortAttributes => {
                    return Err(Failed::new(step, Errno::EINVAL));
                }
            }
        }
        Ok(children)
    }

    fn serve(&self, children: &SignalFd) -> Result<()> {
        loop {
            if let Some(last_word) = self.reap()? {
                return self.control.tell(&last_word, None);
            }
            let mut poller = Poller::new();
            poller
                .readable(Source::Control, self.control.as_fd())
                .readable(Source::Children, children.as_fd());
            for (source, _) in poller.wait(None)? {
                match source {
                    Source::Children => while children.read()?.is_some() {},
                    Source::Control => match self.control.order()? {
                        Some(order) => self.carry_out(order)?,
                        None => return self.end_payload(),
                    },
                }
            }
        }
    }

    /// The launcher is gone, or whoever asked for this entry, or something failed.
    fn end_payload(&self) -> Result<()> {
        if self.is_reaped.get() {
            return Ok(());
        }
        // What it runs at a prompt or in a pipe has no other end: its group may have been left by now.
        signal::kill_group(self.payload, SignalNumber::KILL).unwrap_or_default();
        match signal::kill(self.payload, SignalNumber::KILL) {
            Err(Errno::ESRCH) => return Ok(()),
            other => other?,
        }
        // Reaped here: its next parent would be a pid 1 of the host's, which may be slow to.
        pidfd::wait_child(self.payload).map(drop)
    }

    /// A control group is gone with its last process, which this is: the launcher says when it has looked at
    /// it for the last time.
    fn linger(&self, plan: &Plan) -> Result<()> {
        let is_group = |(_, action): (usize, &Action)| matches!(action, Action::Group(_));
        if plan.of(Stage::Launch).any(is_group) {
            while !matches!(self.control.order()?, None | Some(ToSandbox::Finish)) {}
        }
        Ok(())
    }

    /// Reaps what has ended; the message when it was the payload.
    fn reap(&self) -> Result<Option<FromSandbox>> {
        loop {
            let (pid, change) = match pidfd::wait_any(Changes::All) {
                Ok(Some(found)) => found,
                Ok(None) | Err(Errno::ECHILD) => return Ok(None),
                Err(errno) => return Err(errno),
            };
            if pid != self.payload {
                continue;
            }
            self.is_reaped.set(matches!(change, Change::Ended(_)));
            match change {
                Change::Ended(Exit::Code(code)) => return Ok(Some(FromSandbox::Exited { code })),
                Change::Ended(Exit::Signal { number, .. }) => {
                    return Ok(Some(FromSandbox::Killed { signal: byte(number) }));
                }
                Change::Stopped(signal) => {
                    self.control.tell(&FromSandbox::Stopped { signal: byte(signal) }, None)?;
                }
                Change::Continued => {}
            }
        }
    }

    fn carry_out(&self, order: ToSandbox) -> Result<()> {
        let sent = match order {
            ToSandbox::Signal { signal: number } => {
                let signal = SignalNumber::new(i32::from(number)).ok_or(Errno::EPROTO)?;
                if is_for_group(signal) {
                    signal::kill_group(self.payload, signal)
                } else {
                    signal::kill(self.payload, signal)
                }
            }
            ToSandbox::Continue => signal::kill_group(self.payload, SignalNumber::CONT),
            ToSandbox::Foreground => {
                self.give_foreground();
                signal::kill_group(self.payload, SignalNumber::CONT)
            }
            ToSandbox::Background => self.take_foreground(),
            ToSandbox::Go | ToSandbox::Recorded | ToSandbox::Finish => return Err(Errno::EPROTO),
        };
        match sent {
            // It has just ended, which the next reaping tells.
            Err(Errno::ESRCH) => Ok(()),
            other => other,
        }
    }

    /// To the group that had it, or to the payload's when that group is no more. SIGTTOU, which stops
    /// a background group that does this, is blocked.
    fn give_foreground(&self) {
        let Some(terminal) = &self.terminal else { return };
        // Both fail only when both groups are no more, which the next reaping tells.
        let groups = [self.foreground.get(), self.payload];
        groups.iter().any(|group| tcsetpgrp(terminal, *group).is_ok());
    }

    fn take_foreground(&self) -> Result<()> {
        let Some(terminal) = &self.terminal else { return Ok(()) };
        let own = rustix::process::getpid();
        // Without any group in the foreground there is nothing to remember.
        if let Ok(group) = tcgetpgrp(terminal)
            && group != own
        {
            self.foreground.set(group);
        }
        Ok(tcsetpgrp(terminal, own)?)
    }
}

/// Signals that keys send go to the whole foreground group, as a terminal sends them; others to the
/// payload alone, as `docker kill` does.
fn is_for_group(signal: SignalNumber) -> bool {
    [
        SignalNumber::INT,
        SignalNumber::QUIT,
        SignalNumber::TSTP,
        SignalNumber::CONT,
        SignalNumber::WINCH,
    ]
    .contains(&signal)
}

/// Signal numbers are 1 to 64.
fn byte(signal: SignalNumber) -> u8 {
    u8::try_from(signal.raw()).unwrap_or(u8::MAX)
}
