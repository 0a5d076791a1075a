//! The caller's terminal: raw while the payload has it, as it was otherwise.
//!
//! # Theory of operation
//! The payload has a pty of its own, with its own line discipline; the caller's terminal only carries
//! bytes, so it is raw: Ctrl-C, Ctrl-Z and Ctrl-\ reach the pty as bytes, and become signals there. It is
//! raw only while the supervisor's process group is in the foreground. Its modes are read anew each
//! time, since the caller may change them while we are stopped.
//!
//! `VMIN` is 0: a read never waits, even if another program was faster.
//!
//! # Decisions
//! * Modes are set at once, not when the output is drained (`TCSADRAIN`): a terminal stopped with
//!   Ctrl-S would stop the supervisor. What was written was processed when it was written.
//! * A SIGKILL of the supervisor leaves the terminal raw: no other process of ours may touch it.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp,
    tcgetwinsize, tcsetattr, tcsetwinsize,
};

use super::port::{Got, Port, of_caller};
use crate::sys::errno::{Errno, Result};
use crate::sys::event::Poller;

/// A terminal that was asked something is given this long to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Asks whether the terminal is well, to which it says [`WELL`]: answers come in order, so whatever it
/// was asked before is answered then.
const ARE_YOU_WELL: &[u8] = b"\x1b[5n";
const WELL: &[u8] = b"\x1b[0n";

/// Who else uses the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Nobody.
    Alone,
    /// Other programs of the same pipeline write to it, and are to be reached by its keys.
    Shared,
}

/// Why it is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    /// For a while: keys that were not read yet are kept, unless there may be answers among them.
    Stop,
    /// For good: they were for what has ended.
    End,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Console {
    /// Which of the caller's descriptors 0 to 2 it is.
    number: u8,
    usage: Use,
    /// The modes to restore, while it is raw.
    before: Option<Termios>,
}

impl Console {
    pub(super) fn new(number: u8, usage: Use) -> Self {
        Self { number, usage, before: None }
    }

    /// Whether it has hung up, so that nothing works with it any more.
    pub(super) fn is_gone(&self) -> bool {
        tcgetattr(of_caller(self.number)).is_err()
    }

    /// Whether our process group may read it and change its modes. One that is not our controlling
    /// terminal has no notion of that.
    pub(super) fn is_foreground(&self) -> bool {
        match tcgetpgrp(of_caller(self.number)) {
            Ok(group) => group == rustix::process::getpgrp(),
            Err(errno) => errno == rustix::io::Errno::NOTTY,
        }
    }

    /// Whether it is raw.
    pub(super) fn is_raw(&self) -> bool {
        self.before.is_some()
    }

    /// Makes it raw. In the foreground only: the caller has checked.
    pub(super) fn enter_raw(&mut self) -> Result<()> {
        let fd = of_caller(self.number);
        let before = tcgetattr(fd)?;
        let mut modes = before.clone();
        modes.make_raw();
        if self.usage == Use::Shared {
            modes.output_modes = before.output_modes;
            modes.local_modes |= before.local_modes & LocalModes::ISIG;
        }
        modes.special_codes[SpecialCodeIndex::VMIN] = 0;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(fd, OptionalActions::Now, &modes)?;
        self.before = Some(before);
        Ok(())
    }

    /// Gives it back as it was. Where it was `asked` something its answers are waited for and dropped: the shell would
    /// take them for keys.
    pub(super) fn give_back(&mut self, asked: bool, leaving: Leaving) -> Result<()> {
        let was_raw = self.is_raw();
        if (was_raw || asked) && self.is_foreground() {
            // One that can be neither asked nor flushed is to have its modes all the same.
            if asked {
                if !was_raw {
                    // Its keys were for others, and its answers would wait for the end of a line.
                    self.enter_raw().unwrap_or_default();
                }
                self.wait_for_answers().unwrap_or_default();
            }
            if asked || leaving == Leaving::End {
                self.flush_input().unwrap_or_default();
            }
        }
        hung_up_is_fine(self.leave_raw())
    }

    /// Gives it its modes back, if it is raw and still ours.
    fn leave_raw(&mut self) -> Result<()> {
        match self.before.take() {
            Some(before) if self.is_foreground() => {
                Ok(tcsetattr(of_caller(self.number), OptionalActions::Now, &before)?)
            }
            _ => Ok(()),
        }
    }

    /// Somebody else has it, and its modes, by now.
    pub(super) fn forget(&mut self) {
        self.before = None;
    }

    /// Forgets keys that were typed but not read.
    fn flush_input(&self) -> Result<()> {
        Ok(rustix::termios::tcflush(of_caller(self.number), QueueSelector::IFlush)?)
    }

    /// Waits until the terminal has answered whatever the payload asked it.
    fn wait_for_answers(&self) -> Result<()> {
        let terminal = Port::caller(self.number)?;
        terminal.write(ARE_YOU_WELL)?;
        let until = Instant::now() + ANSWER;
        let mut heard = Vec::new();
        let mut bytes = [0; 1024];
        while !heard.windows(WELL.len()).any(|window| window == WELL) {
            let left = until.saturating_duration_since(Instant::now());
            let mut poller = Poller::new();
            poller.readable((), terminal.as_fd());
            if left.is_zero() || poller.wait(Some(left))?.is_empty() {
                break;
            }
            match terminal.read(&mut bytes)? {
                Got::Bytes(length) => {
                    heard.extend_from_slice(bytes.get(..length).unwrap_or_default());
                }
                Got::Nothing | Got::End => break,
            }
        }
        Ok(())
    }

    /// Gives the pty the terminal's size.
    pub(super) fn copy_size(&self, master: impl AsFd) -> Result<()> {
        Ok(tcsetwinsize(master, tcgetwinsize(of_caller(self.number))?)?)
    }
}

/// A terminal that is gone has no modes.
pub(super) fn hung_up_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(Errno::EIO | Errno::ENXIO | Errno::ENOTTY) => Ok(()),
        other => other,
    }
}
